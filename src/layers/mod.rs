//! One file per layer of isolation, one layer per chapter of the workshop.

#[cfg_attr(feature = "exercise-process", path = "../../workshop/00_process/exercise.rs")]
pub mod process;

#[cfg_attr(feature = "exercise-chroot", path = "../../workshop/01_chroot/exercise.rs")]
pub mod chroot;
#[cfg_attr(feature = "exercise-mount", path = "../../workshop/02_mount/exercise.rs")]
pub mod mount;
#[cfg_attr(feature = "exercise-overlay", path = "../../workshop/04_overlay/exercise.rs")]
pub mod overlay;
#[cfg_attr(feature = "exercise-pivot_root", path = "../../workshop/03_pivot_root/exercise.rs")]
pub mod pivot_root;

pub mod idmap;
#[cfg_attr(feature = "exercise-ipc", path = "../../workshop/14_ipc/exercise.rs")]
pub mod ipc;
pub mod lower;
#[cfg_attr(feature = "exercise-net", path = "../../workshop/07_net/exercise.rs")]
pub mod net;
#[cfg_attr(feature = "exercise-pid", path = "../../workshop/06_pid/exercise.rs")]
pub mod pid;
#[cfg_attr(feature = "exercise-userns", path = "../../workshop/13_userns/exercise.rs")]
pub mod userns;
#[cfg_attr(feature = "exercise-uts", path = "../../workshop/05_uts/exercise.rs")]
pub mod uts;

pub mod cgroup;
#[cfg_attr(feature = "exercise-cpu", path = "../../workshop/08_cpu/exercise.rs")]
pub mod cpu;
#[cfg_attr(feature = "exercise-memory", path = "../../workshop/09_memory/exercise.rs")]
pub mod memory;

pub mod devices;
pub mod volumes;

pub mod confinement;
pub mod masks;
pub mod namespaces;
pub mod rlimits;

#[cfg_attr(feature = "exercise-capabilities", path = "../../workshop/11_capabilities/exercise.rs")]
pub mod capabilities;
#[cfg_attr(feature = "exercise-seccomp", path = "../../workshop/12_seccomp/exercise.rs")]
pub mod seccomp;
#[cfg_attr(feature = "exercise-user", path = "../../workshop/10_user/exercise.rs")]
pub mod user;

use Layer::*;
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// The layers, numbered and named as the chapters of the workshop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Layer {
    /// fork, exec and wait: nothing is isolated yet.
    Process = 0,
    Chroot,
    Mount,
    PivotRoot,
    Overlay,
    Uts,
    Pid,
    Net,
    Cpu,
    Memory,
    User,
    Capabilities,
    Seccomp,
    Userns,
    Ipc,
    Volumes,
    Devices,
    // 17 bridge has its place here.
}

impl Layer {
    pub const ALL: [Layer; 17] = [
        Process,
        Chroot,
        Mount,
        PivotRoot,
        Overlay,
        Uts,
        Pid,
        Net,
        Cpu,
        Memory,
        User,
        Capabilities,
        Seccomp,
        Userns,
        Ipc,
        Volumes,
        Devices,
    ];

    pub const LAST: Layer = Devices;

    /// The number of its chapter.
    pub fn number(self) -> u8 {
        self as u8
    }

    pub fn name(self) -> &'static str {
        match self {
            Process => "process",
            Chroot => "chroot",
            Mount => "mount",
            PivotRoot => "pivot_root",
            Overlay => "overlay",
            Uts => "uts",
            Pid => "pid",
            Net => "net",
            Cpu => "cpu",
            Memory => "memory",
            User => "user",
            Capabilities => "capabilities",
            Seccomp => "seccomp",
            Userns => "userns",
            Ipc => "ipc",
            Volumes => "volumes",
            Devices => "devices",
        }
    }

    /// The layer called `word`: its name or its number.
    pub fn parse(word: &str) -> Result<Layer> {
        let number = word.parse::<u8>().ok();
        let known = |layer: &Layer| layer.name() == word || Some(layer.number()) == number;
        if let Some(layer) = Layer::ALL.into_iter().find(known) {
            return Ok(layer);
        }
        let names: Vec<_> = Layer::ALL.iter().map(|layer| layer.name()).collect();
        bail!("no layer {word:?}: there are {} (or their numbers, see rubber layers)", names.join(", "))
    }

    /// Each line is a choice of which at least one must be on for this layer to
    /// make sense.
    fn needs(self) -> &'static [&'static [Layer]] {
        match self {
            Process => &[],
            // What it mounts goes below a root of our own, never over the host's.
            Mount => &[&[Process], &[Chroot, PivotRoot]],
            // It swaps mounts, and does so for everybody who shares the mount table.
            PivotRoot => &[&[Process], &[Mount], &[Chroot, Overlay]],
            // It is a mount, and of no use to who does not make it the root.
            Overlay => &[&[Process], &[Mount], &[Chroot, PivotRoot]],
            _ => &[&[Process]],
        }
    }
}

/// A set of layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Layer>", into = "Vec<Layer>")]
pub struct Layers(u32);

impl From<Vec<Layer>> for Layers {
    fn from(layers: Vec<Layer>) -> Layers {
        layers.into_iter().fold(Layers(0), Layers::with)
    }
}

impl From<Layers> for Vec<Layer> {
    fn from(layers: Layers) -> Vec<Layer> {
        Layer::ALL.into_iter().filter(|layer| layers.contains(*layer)).collect()
    }
}

impl Layers {
    /// All layers up to `last` in the workshop's order.
    pub fn until(last: Layer) -> Layers {
        Layers((2 << last.number()) - 1)
    }

    pub fn with(self, layer: Layer) -> Layers {
        Layers(self.0 | 1 << layer.number())
    }

    pub fn without(self, layer: Layer) -> Layers {
        Layers(self.0 & !(1 << layer.number()))
    }

    pub fn contains(self, layer: Layer) -> bool {
        self.0 & 1 << layer.number() != 0
    }

    fn last(self) -> Layer {
        Layer::ALL.into_iter().rfind(|layer| self.contains(*layer)).unwrap_or(Process)
    }

    pub fn any(self, choice: &[Layer]) -> bool {
        choice.iter().any(|layer| self.contains(*layer))
    }

    /// The first layer that is on without what it needs, and that need.
    fn lack(self) -> Option<(Layer, &'static [Layer])> {
        Layer::ALL.into_iter().filter(|layer| self.contains(*layer)).find_map(|layer| {
            layer.needs().iter().find(|choice| !self.any(choice)).map(|need| (layer, *need))
        })
    }

    /// Refuses a combination that cannot work, and says what would.
    pub fn check(self) -> Result<()> {
        let Some((layer, need)) = self.lack() else { return Ok(()) };
        if !self.contains(Process) {
            bail!("every layer needs process: without it there is nobody to isolate");
        }
        let need = need.iter().map(|layer| layer.name()).collect::<Vec<_>>().join(" or ");
        let mut less = self;
        while let Some((layer, _)) = less.lack() {
            less = less.without(layer);
        }
        let off = |layer: &Layer| !less.contains(*layer) && *layer < self.last();
        let off: Vec<_> = Layer::ALL.iter().filter(|layer| off(layer)).map(|layer| layer.name()).collect();
        bail!("{} needs {need}\n        leave both out: --without {}", layer.name(), off.join(","))
    }
}
