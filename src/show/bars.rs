//! How far the layers of an image have come: a bar for each on a terminal, a line for each in a pipe.
//!
//! They move when bytes come: a ticker of its own would be one more thread.

use crate::{
    image::list::{human, short},
    narrate,
};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    collections::HashMap,
    io::{self, IsTerminal, Read, stderr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Bars,
    Lines,
    Silent,
}

pub struct Bars {
    form: Form,
    /// What brings the bytes here.
    verb: &'static str,
    all: MultiProgress,
    total: ProgressBar,
    layers: Mutex<HashMap<String, Layer>>,
}

struct Layer {
    bar: ProgressBar,
    began: Instant,
    /// Bytes of it that had come before, and that have come by now.
    first: Option<u64>,
    here: u64,
    is_unpacking: bool,
}

impl Bars {
    pub fn new() -> Bars {
        Bars::of(if is_terminal() { Form::Bars } else { Form::Lines })
    }

    /// Of an archive's layers, which come from a file.
    pub fn of_copies() -> Bars {
        Bars { verb: "copying", ..Bars::new() }
    }

    /// The same on the way to a command, whose stderr is its own where that is no terminal.
    pub fn of_copies_of_a_run() -> Bars {
        if is_terminal() { Bars::of_copies() } else { Bars::silent() }
    }

    pub fn silent() -> Bars {
        Bars::of(Form::Silent)
    }

    fn of(form: Form) -> Bars {
        let target = match form {
            Form::Bars => ProgressDrawTarget::stderr_with_hz(10),
            _ => ProgressDrawTarget::hidden(),
        };
        let all = MultiProgress::with_draw_target(target);
        let total = styled(
            ProgressBar::new(0),
            "{prefix:12}  {wide_bar} {decimal_bytes:>9}/{decimal_total_bytes:9}  {decimal_bytes_per_sec:11}",
        );
        Bars {
            form,
            verb: "downloading",
            all,
            total: total.with_prefix("all layers"),
            layers: Mutex::default(),
        }
    }

    /// A layer of `size` bytes will come.
    pub fn add(&self, digest: &str, size: u64) {
        let mut layers = self.layers();
        if layers.contains_key(digest) {
            return;
        }
        if layers.is_empty() {
            self.all.add(self.total.clone());
        }
        self.total.inc_length(size);
        let bar = self.all.add(ProgressBar::new(size));
        let bar = styled(bar, "{prefix:12}  {wide_bar} {decimal_bytes:>9}/{decimal_total_bytes:9}  {msg:11}");
        bar.set_prefix(short(digest).to_owned());
        bar.set_message("waiting");
        let layer = Layer { bar, began: Instant::now(), first: None, here: 0, is_unpacking: false };
        layers.insert(digest.to_owned(), layer);
    }

    /// So many bytes of it have come.
    pub fn downloaded(&self, digest: &str, here: u64) {
        let mut layers = self.layers();
        let Some(layer) = layers.get_mut(digest) else { return };
        if layer.first.is_none() {
            (layer.first, layer.began) = (Some(here), Instant::now());
            layer.bar.set_message(self.verb);
        }
        match here.checked_sub(layer.here) {
            Some(more) => self.total.inc(more),
            // It had to begin again.
            None => self.total.dec(layer.here - here),
        }
        layer.here = here;
        layer.bar.set_position(here);
    }

    /// All of it has come.
    pub fn is_here(&self, digest: &str) {
        let layers = self.layers();
        let Some(layer) = layers.get(digest) else { return };
        layer.bar.set_message("here");
        if self.form == Form::Lines {
            let (size, first) = (layer.here, layer.first.unwrap_or(0));
            let what = match first {
                0 => format!("{} in {:.1} s", human(size), layer.began.elapsed().as_secs_f64()),
                _ if first == size => format!("{}, here already", human(size)),
                _ => format!("{}, of which {} were here already", human(size), human(first)),
            };
            narrate::warn(format_args!("layer {}: {what}", short(digest)));
        }
    }

    /// All of it is here, and nothing had to be done for it.
    pub fn was_here(&self, digest: &str, size: u64) {
        self.add(digest, size);
        self.downloaded(digest, size);
        self.is_here(digest);
    }

    /// `more` bytes of it have been unpacked.
    pub fn unpacked(&self, digest: &str, more: u64) {
        let mut layers = self.layers();
        let Some(layer) = layers.get_mut(digest) else { return };
        if !layer.is_unpacking {
            layer.is_unpacking = true;
            layer.bar.set_position(0);
            layer.bar.set_message("unpacking");
        }
        layer.bar.inc(more);
    }

    pub fn is_unpacking(&self) -> bool {
        self.layers().values().any(|layer| layer.is_unpacking)
    }

    /// A bar for what is read from beginning to end, as it is, of `size` bytes if that is known.
    pub fn whole<R: Read>(&self, source: R, size: Option<u64>) -> Whole<R> {
        let template = match size {
            Some(_) => "unpacking {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}",
            None => "unpacking {spinner} {decimal_bytes} {decimal_bytes_per_sec}",
        };
        let bar = size.map_or_else(ProgressBar::no_length, ProgressBar::new);
        Whole { source, bar: styled(self.all.add(bar), template) }
    }

    /// Says something, and the bars stay below it.
    pub fn say(&self, text: &str) {
        self.all.suspend(|| narrate::warn(format_args!("{text}")));
    }

    /// The terminal is as it was.
    pub fn clear(&self) {
        // Nothing is left to do if it is gone.
        let _ = self.all.clear();
        self.layers().values().for_each(|layer| layer.bar.finish_and_clear());
        self.total.finish_and_clear();
    }

    fn layers(&self) -> MutexGuard<'_, HashMap<String, Layer>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See `Bars::whole`.
pub struct Whole<R> {
    source: R,
    bar: ProgressBar,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into)?;
        self.bar.inc(count as u64);
        Ok(count)
    }
}

impl<R> Drop for Whole<R> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn is_terminal() -> bool {
    stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    bar.with_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()))
}
