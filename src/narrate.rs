//! The narrator: the only file that tells what happens, and it never acts.
//!
//! `run` announces each step and who is speaking, `sys` reports each call with
//! its result, in the words strace(1) uses. Each line is one write(2), so that
//! the lines of two processes never mix.

use crate::{
    run::Step,
    show::{columns, json},
};
use nix::errno::Errno;
use std::{
    cell::{Cell, RefCell},
    fmt::{Arguments, Write as _},
    fs::File,
    io::{IsTerminal, Write as _, stderr},
    os::fd::{AsFd, AsRawFd, RawFd},
};

/// How the story is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Not at all.
    #[default]
    Silent,
    /// One line a call, aligned; coloured where stderr is a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Narrator {
    pub form: Form,
    /// Tell what would be called, and call nothing.
    pub dry: bool,
    /// Wait before each step, so that a room can look around.
    pub pause: bool,
}

thread_local! {
    // There is one thread in each of our processes, and each speaks for itself.
    static NARRATOR: Cell<Narrator> = const { Cell::new(Narrator { form: Form::Silent, dry: false, pause: false }) };
    static SPEAKER: Cell<&'static str> = const { Cell::new("host") };
    static LISTENER: RefCell<Option<File>> = const { RefCell::new(None) };
    static COLOUR: Cell<bool> = const { Cell::new(false) };
}

pub fn start(narrator: Narrator) {
    NARRATOR.set(narrator);
    COLOUR.set(stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()));
}

/// From here on stderr is the container's, and the story, or why it ends here, still has to be told where
/// the caller wants it.
pub fn keep_listener() {
    if LISTENER.with_borrow(Option::is_none) {
        LISTENER.set(stderr().as_fd().try_clone_to_owned().ok().map(File::from));
    }
}

/// Where the story is told once stderr is the container's.
pub fn listener() -> Option<RawFd> {
    LISTENER.with_borrow(|listener| listener.as_ref().map(AsRawFd::as_raw_fd))
}

pub fn let_go_of_listener() {
    LISTENER.take();
}

pub fn is_dry() -> bool {
    NARRATOR.get().dry
}

pub fn is_speaking() -> bool {
    NARRATOR.get().form != Form::Silent
}

/// Whether each step waits for the room.
pub fn pauses() -> bool {
    NARRATOR.get().pause && !is_dry()
}

pub fn pause_no_more() {
    NARRATOR.set(Narrator { pause: false, ..NARRATOR.get() });
}

/// Says why a container ended with 137, which the number alone does not.
pub fn out_of_memory(limit: Option<u64>) {
    let limit = limit.map_or(String::new(), |bytes| format!(" (limit {})", columns::bytes(bytes)));
    warn(format_args!("killed by the kernel: out of memory{limit}"));
}

/// `text` as people are shown it: with nothing in it that a terminal would obey, and the two ends of what has none.
pub fn readable(text: &str) -> String {
    let shown: Vec<char> =
        text.chars().map(|c| if columns::is_hidden(c) && c != '\n' { '\u{fffd}' } else { c }).collect();
    let part = |range: &[char]| range.iter().collect::<String>();
    match shown.len() {
        0..=4000 => part(&shown),
        length => format!("{} … {}", part(&shown[..3000]), part(&shown[length - 900..])),
    }
}

/// Says something to whoever called us, asked or not. (`eprintln!` takes a write(2) for each of its parts.)
pub fn warn(text: Arguments) {
    say(&format!("rubber: {}\n", readable(&text.to_string())));
}

/// In one write(2), to who called us.
pub fn say(text: &str) {
    let _ = LISTENER.with_borrow_mut(|listener| match listener {
        Some(listener) => listener.write_all(text.as_bytes()),
        None => stderr().write_all(text.as_bytes()),
    });
}

/// Asks without ending the line.
pub fn prompt(question: &str) {
    let (bold, _, end) = colours("\x1b[1m", "");
    let _ = stderr().write_all(format!("         {bold}{question}{end}").as_bytes());
}

/// From here on it is `name` who speaks: host, child, pid 1 or init.
pub fn speaker(name: &'static str) {
    SPEAKER.set(name);
}

pub fn who() -> &'static str {
    SPEAKER.get()
}

/// Announces a step.
pub fn step(step: &Step) {
    let (layer, does) = (step.layer, step.does);
    match NARRATOR.get().form {
        Form::Silent => {}
        Form::Text => {
            let (bold, dim, end) = colours("\x1b[1;36m", "\x1b[2m");
            tell(format_args!(
                "\n{bold}{:02} {:<12}{end} {does} {dim}({}){end}",
                layer.number(),
                layer.name(),
                who()
            ));
        }
        Form::Json => tell(format_args!(
            r#"{{"step":{},"layer":{},"who":{}}}"#,
            quote(does),
            quote(layer.name()),
            quote(who())
        )),
    }
}

/// Tells of a call and what the kernel answered: a number, or an errno.
pub fn call(text: Arguments, result: Result<i64, Errno>) {
    match NARRATOR.get().form {
        Form::Silent => {}
        Form::Text => {
            let (red, dim, end) = colours("\x1b[31m", "\x1b[2m");
            let text = shown(text);
            match result {
                Ok(number) => line(format_args!("{text} {dim}= {number}{end}")),
                Err(errno) => line(format_args!("{text} {red}= -1 {errno:?} ({}){end}", errno.desc())),
            }
        }
        Form::Json => match result {
            Ok(number) => object(text, format_args!(r#","result":{number}"#)),
            Err(errno) => object(text, format_args!(r#","result":-1,"errno":"{errno:?}""#)),
        },
    }
}

/// Tells of a call before it is made, because it will not return (execve), or
/// because it will not be made at all (a dry run).
pub fn intent(text: Arguments) {
    match NARRATOR.get().form {
        Form::Silent => {}
        Form::Text => line(format_args!("{}", shown(text))),
        Form::Json => object(text, format_args!("")),
    }
}

/// Something worth knowing that is not a call: why a step was left out.
pub fn note(text: Arguments) {
    match NARRATOR.get().form {
        Form::Silent => {}
        Form::Text => line(format_args!("-- {}", shown(text))),
        Form::Json => {
            tell(format_args!(r#"{{"who":{},"note":{}}}"#, quote(who()), quote(&text.to_string())));
        }
    }
}

fn line(text: Arguments) {
    let (_, dim, end) = colours("", "\x1b[2m");
    tell(format_args!("{dim}{:>7}{end}  {text}", who()));
}

fn object(text: Arguments, rest: Arguments) {
    tell(format_args!(r#"{{"who":{},"call":{}{rest}}}"#, quote(who()), quote(&text.to_string())));
}

fn colours(first: &'static str, second: &'static str) -> (&'static str, &'static str, &'static str) {
    if COLOUR.get() { (first, second, "\x1b[0m") } else { ("", "", "") }
}

/// It comes quoted, see `sys`; but what has no ink, and is a letter all the same, is in those quotes as it was.
fn shown(text: Arguments) -> String {
    columns::escape(&text.to_string())
}

fn quote(text: &str) -> String {
    json::line(&text).unwrap_or_default()
}

/// One write(2) per line. (Text from outside comes quoted, see `sys`, so no
/// control character of an image or a file name reaches the terminal.)
fn tell(text: Arguments) {
    let mut line = String::with_capacity(160);
    let _ = writeln!(line, "{text}");
    say(&line);
}
