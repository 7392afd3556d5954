//! What is shown: chapters of beats, read from workshop/NN_layer/demo.toml and carried in the binary.

use super::bundle;
use crate::layers::Layer;
use anyhow::{Context, Result, bail};
use serde::Deserialize;

const DEMOS: &[(Layer, &str)] = &[
    (Layer::Process, include_str!("../../../workshop/00_process/demo.toml")),
    (Layer::Chroot, include_str!("../../../workshop/01_chroot/demo.toml")),
    (Layer::Mount, include_str!("../../../workshop/02_mount/demo.toml")),
    (Layer::PivotRoot, include_str!("../../../workshop/03_pivot_root/demo.toml")),
    (Layer::Overlay, include_str!("../../../workshop/04_overlay/demo.toml")),
    (Layer::Uts, include_str!("../../../workshop/05_uts/demo.toml")),
    (Layer::Pid, include_str!("../../../workshop/06_pid/demo.toml")),
    (Layer::Net, include_str!("../../../workshop/07_net/demo.toml")),
    (Layer::Cpu, include_str!("../../../workshop/08_cpu/demo.toml")),
    (Layer::Memory, include_str!("../../../workshop/09_memory/demo.toml")),
    (Layer::User, include_str!("../../../workshop/10_user/demo.toml")),
    (Layer::Capabilities, include_str!("../../../workshop/11_capabilities/demo.toml")),
    (Layer::Seccomp, include_str!("../../../workshop/12_seccomp/demo.toml")),
    (Layer::Userns, include_str!("../../../workshop/13_userns/demo.toml")),
    (Layer::Ipc, include_str!("../../../workshop/14_ipc/demo.toml")),
];

pub struct Chapter {
    /// None in the last one, which has a config.json instead: see `bundle`.
    pub layer: Option<Layer>,
    pub title: String,
    pub beats: Vec<Beat>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    beat: Vec<Beat>,
}

/// Where one side of a beat is.
#[derive(Clone, Copy)]
pub enum Stage {
    /// On a host without rubber.
    Host,
    /// In a container with the layers up to this one.
    Until(Layer),
    /// Beside a bundle of which there is a container, or was.
    Bundle(bundle::Moment),
}

/// One thing to show: a script that runs at the stage before the layer and at the layer's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beat {
    /// What happens, in one line.
    pub does: String,
    /// A question to the audience, before anything is shown.
    pub ask: Option<String>,
    /// For `sh -c` in the container; on the host beside a bundle.
    pub run: String,
    /// For `sh -c` on the host, when `run` is done and the container still there.
    pub host: Option<String>,
    /// For `rubber run`, at both stages.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Beside a bundle: the command of rubber-oci's that only the right side has been given.
    pub step: Option<String>,
    /// Beside a bundle: the lines of config.json that make it so. Where there is no `step`, the left side lacks them.
    #[serde(default)]
    pub lines: Vec<String>,
    /// Lines that must come in this order; in one, `[..]` is any text and `[<1.5]` or `[>1.5]` such a number.
    /// None of them may come at the other stage.
    pub before: String,
    pub after: String,
    /// Facts of the process that must differ between the stages, such as `ns.uts`; with `host.` in front, the host's.
    #[serde(default)]
    pub changes: Vec<String>,
    /// Facts that must not.
    #[serde(default)]
    pub stays: Vec<String>,
    /// Why an ordinary user cannot be shown it.
    pub root_only: Option<String>,
    /// What the instructor says.
    pub notes: String,
}

/// All chapters, in their order.
pub fn all() -> Result<Vec<Chapter>> {
    let read = |(layer, text): (Option<Layer>, &str)| {
        let file: File = toml::from_str(text).with_context(|| format!("{layer:?}: demo.toml"))?;
        Ok(Chapter { layer, title: file.title, beats: file.beat })
    };
    let layers = DEMOS.iter().map(|(layer, text)| (Some(*layer), *text));
    layers.chain([(None, bundle::DEMO)]).map(read).collect()
}

/// Where in `chapters` the one called `word` is: `05`, `5`, `uts` or `05_uts`.
pub fn find(chapters: &[Chapter], word: &str) -> Result<usize> {
    let number = word.parse::<u8>().ok();
    let known = |chapter: &Chapter| {
        let id = format!("{:02}_{}", chapter.number(), chapter.word());
        chapter.word() == word || Some(chapter.number()) == number || id == word
    };
    let names: Vec<_> = chapters.iter().map(Chapter::name).collect();
    match chapters.iter().position(known) {
        Some(place) => Ok(place),
        None => bail!("no demo of {word:?}: there are {}", names.join(", ")),
    }
}

impl Chapter {
    /// As people read it: `05 uts`.
    pub fn name(&self) -> String {
        format!("{:02} {}", self.number(), self.word())
    }

    fn number(&self) -> u8 {
        self.layer.map_or(bundle::CHAPTER.0, Layer::number)
    }

    fn word(&self) -> &'static str {
        self.layer.map_or(bundle::CHAPTER.1, Layer::name)
    }

    /// Where both sides of a beat are: without this layer and with it.
    pub fn stages(&self, beat: &Beat) -> [Stage; 2] {
        let Some(own) = self.layer else { return bundle::moments(beat).map(Stage::Bundle) };
        let before = Layer::ALL.into_iter().rfind(|layer| *layer < own);
        [before.map_or(Stage::Host, Stage::Until), Stage::Until(own)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chapter_has_beats_that_promise_something() {
        let chapters = all().unwrap();
        assert_eq!(
            chapters.iter().map(Chapter::number).collect::<Vec<_>>(),
            Vec::from_iter((0..=14).chain([20]))
        );
        for chapter in chapters {
            assert!(chapter.beats.len() >= 2, "{}", chapter.name());
            for beat in &chapter.beats {
                let promised = !beat.before.is_empty() && !beat.after.is_empty() && !beat.notes.is_empty();
                assert!(promised && !beat.does.contains('\n'), "{}: {}", chapter.name(), beat.does);
            }
        }
    }
}
