//! `rubber run`: a command line becomes a `Config`, and the `Config` a container.

mod config;

use super::{limits, mounts, namespaces};
use crate::{
    config::{CPU_PERIOD, Config},
    container::{
        self, lent, name,
        record::{self, Record, Stop},
        streams::{Pipes, Streams},
        volume,
        waiter::{self, Fate},
    },
    facts,
    image::{self, Image, Pull, Store},
    layers::{Layer, Layers, namespaces::Namespace},
    narrate::{self, Form, Narrator},
    oci, run, seal,
    show::portrait::{Asked, Outside},
    sys,
};
use anyhow::{Context, Result, bail};
use caps::{CapSet, Capability};
use nix::{libc, unistd::geteuid};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{IsTerminal, Seek, Write, stderr, stdin, stdout},
    os::unix::{ffi::OsStrExt, net::UnixStream},
    path::{Path, PathBuf},
};

/// Run a command in a new container
///
/// Without an IMAGE the container describes itself. A first word that starts with a slash is a command for the
/// default image (busybox).
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Run {
    /// Image, then the command and its arguments
    #[arg(value_name = "IMAGE] [COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
    /// When to get the image from a registry: always, missing (it is neither here nor can be made here), or never
    #[arg(long, value_enum, value_name = "WHEN", default_value = "missing", hide_possible_values = true)]
    pull: Pull,
    /// Use a directory as the image (nothing in it is changed)
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,

    /// Keep stdin open for the command (without -t it always is)
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal of its own
    #[arg(short, long)]
    tty: bool,
    /// Print the container's id and leave it in the background
    #[arg(short, long, conflicts_with_all = ["step", "dry_run"])]
    detach: bool,
    /// Name it; it is kept when it has ended, until rubber rm
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Remove it when it ends (without -d and --name it always is)
    #[arg(long)]
    rm: bool,
    /// Write its id to a file that is not there yet
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    /// Attach a note to it, KEY=VALUE
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Signal that asks it to end [default: the image's, else TERM]
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds it has to end, before it is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    stop_timeout: u64,
    /// Run a small init as pid 1, which collects zombies and passes signals on
    #[arg(long)]
    init: bool,
    /// Set a variable, NAME=VALUE; NAME alone takes the caller's value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Set the variables of a file, one NAME=VALUE or NAME a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Directory to start in, made if it is missing
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// User and group, names (the image's) or numbers
    #[arg(short, long, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    user: Option<String>,
    /// Be in another group as well, a name (the image's) or a number
    #[arg(long, value_name = "GROUP", allow_hyphen_values = true)]
    group_add: Vec<String>,
    /// What new files are not, as in 0022
    #[arg(long, value_name = "MODE")]
    umask: Option<String>,
    /// Hostname [default: the container's id]
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<OsString>,
    /// Program to run instead of the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<OsString>,

    /// Print help (-h is the hostname, as in docker)
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,

    #[command(flatten)]
    limits: limits::Args,
    #[command(flatten)]
    mounts: mounts::Mounts,
    #[command(flatten)]
    namespaces: namespaces::Modes,
    /// Set a kernel parameter of its own namespaces, as in net.ipv4.ip_forward=1
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Privileges")]
    sysctl: Vec<String>,

    /// Give a capability beyond the default fourteen, as in NET_ADMIN, or ALL
    #[arg(long, value_name = "CAP", help_heading = "Privileges")]
    cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "CAP", help_heading = "Privileges")]
    cap_drop: Vec<String>,
    /// no-new-privileges, seccomp=FILE (a profile, as docker's) or unconfined, systempaths=unconfined, apparmor=PROFILE,
    /// label=PART:VALUE
    #[arg(long, value_name = "OPTION", help_heading = "Privileges")]
    security_opt: Vec<String>,
    /// Make its root the host's: all capabilities, all devices, no filter, /proc, /sys and the cgroups writable
    #[arg(long, help_heading = "Privileges")]
    privileged: bool,

    /// Stop after this layer of isolation (a name or a number, see rubber layers)
    #[arg(long, value_name = "LAYER", help_heading = "Learning")]
    until: Option<String>,
    /// Leave layers out
    #[arg(long, value_name = "LAYER,...", value_delimiter = ',', help_heading = "Learning")]
    without: Vec<String>,
    /// Tell each step and each system call, with its result, on stderr
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "text", help_heading = "Learning")]
    explain: Option<Explain>,
    /// Wait before each step; offers a shell at exactly this stage of isolation
    #[arg(long, help_heading = "Learning")]
    step: bool,
    /// Tell all of it and do none of it
    #[arg(long, help_heading = "Learning")]
    dry_run: bool,
    /// With --dry-run: print it as the config.json of an OCI bundle, for rubber-oci, runc and others
    #[arg(long, value_enum, value_name = "FORM", requires = "dry_run", conflicts_with_all = ["explain", "step"], help_heading = "Learning")]
    format: Option<Shape>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Explain {
    Text,
    Json,
}

/// What a plan is printed as.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Shape {
    Oci,
}

impl Run {
    pub fn main(self, root: Option<PathBuf>) -> Result<u8> {
        let layers = self.layers()?;
        // Before the story begins: it is told by who goes on.
        if self.is_seen_inside()? && !self.dry_run {
            seal::seal_program()?;
        }
        narrate::start(self.narrator());
        let (name, words) = self.image_and_command();
        if name.as_bytes().starts_with(b"-") {
            bail!("no flag {name:?}: rubber run --help lists them");
        }
        // The first stage has no image, and leaves nothing that must be written down.
        let needs_store = has_image(layers) || layers.any(&[Layer::Cpu, Layer::Memory]);
        let open = if self.dry_run { Store::named } else { Store::open };
        let store = needs_store.then(|| open(root)).transpose()?;
        let image = match &store {
            Some(store) if has_image(layers) && self.rootfs.is_none() => Some(self.image(store, name)?),
            _ => None,
        };
        let id = container::new_id()?;
        // Before anything is opened that the one who waits would hold open, too.
        let waiter = match self.may_be_left() {
            true => waiter::split(self.name.as_deref().unwrap_or(&name::of(&id)))?,
            false => Ok(None),
        };
        let waiter = match waiter {
            Ok(waiter) => waiter,
            Err(fate) => return self.waited(&id, fate),
        };
        let config = self.config(id, layers, store.as_ref(), image.as_ref(), words)?;
        *config.streams.waiter.borrow_mut() = waiter;
        if let Some(Shape::Oci) = self.format {
            oci::write::ensure_known(&config, name)?;
            return oci::write::print(&config, &self.filling(name));
        }
        self.say_what_is_open();
        if (self.detach || self.name.is_some()) && store.is_none() {
            bail!(
                "there is nothing to keep at this stage: -d and --name want a layer with an image or a cgroup"
            );
        }
        if self.describes_itself() && !self.tty && !self.dry_run {
            hand_over_facts(&config)?;
        }
        // Under a caller's 077 nobody but root could enter the container's root directory.
        sys::umask(0o022)?;
        match store {
            Some(store) if !self.dry_run => self.run_recorded(config, &store, image.as_ref()),
            _ => run::run(&config),
        }
    }

    /// What puts the files of the image into the root of a bundle.
    fn filling(&self, name: &OsStr) -> String {
        let name = Path::new(name).display();
        match &self.rootfs {
            Some(dir) => format!("cp -a {} rootfs", dir.display()),
            None if self.describes_itself() => {
                "mkdir rootfs; rubber run --name root; rubber export root | tar -xpC rootfs".into()
            }
            None => {
                format!(
                    "mkdir rootfs; rubber run --name root {name} true; rubber export root | tar -xpC rootfs"
                )
            }
        }
    }

    /// Runs what could leave something behind: written down first, and nobody removes its image meanwhile.
    fn run_recorded(&self, config: Config, store: &Store, image: Option<&Image>) -> Result<u8> {
        let _hold = image.map(Image::hold).transpose()?;
        let record = self.record(config, image)?;
        let claim = record::claim(&record, store).map_err(|error| store.explain(error))?;
        let outcome = self
            .write_id(&record.config.id)
            .and_then(|()| volume::make_anonymous(store, &record.config))
            .and_then(|()| run::run(&record.config));
        let ran = record.config.streams.runs().get();
        let settled = match &outcome {
            Ok(code) if record.config.keep && ran => claim.keep(*code),
            _ => claim.release(store, &record.config),
        };
        outcome.and_then(|code| settled.map(|()| code))
    }

    /// What whoever typed the command is told, and its exit code.
    fn waited(&self, id: &str, fate: Fate) -> Result<u8> {
        match fate {
            Fate::Ended(code) => return Ok(code),
            Fate::LetGo if self.detach => writeln!(stdout(), "{id}")?,
            Fate::LetGo => {
                let name = self.name.clone().unwrap_or(name::of(id));
                narrate::warn(format_args!("{name} goes on in the background: rubber attach {name}"));
            }
        }
        Ok(0)
    }

    /// Whether it may go on without the process that was typed.
    fn may_be_left(&self) -> bool {
        self.detach || self.tty && self.interactive && !self.step && stdin().is_terminal()
    }

    fn write_id(&self, id: &str) -> Result<()> {
        let Some(file) = &self.cidfile else { return Ok(()) };
        let write = || File::create_new(file)?.write_all(id.as_bytes());
        write().with_context(|| format!("--cidfile {}", file.display()))
    }

    fn record(&self, config: Config, image: Option<&Image>) -> Result<Record> {
        let of_image = image.and_then(|image| image.config.config().clone()).unwrap_or_default();
        let labels = self.label.iter().map(|label| label.split_once('=').unwrap_or((label, "")));
        let own = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let signal = self.stop_signal.clone().or(of_image.stop_signal().clone());
        Ok(Record {
            version: record::VERSION,
            name: self.name.clone(),
            image: image.map(|image| image.name.clone()).unwrap_or_default(),
            created: record::now(),
            labels: of_image.labels().clone().unwrap_or_default().into_iter().chain(own).collect(),
            stop: Stop {
                signal: signal.map_or(Ok(libc::SIGTERM), |word| container::signal(&word))?,
                timeout: self.stop_timeout,
            },
            config,
        })
    }

    fn streams(&self, layers: Layers) -> Result<Streams> {
        let keep = self.keeps();
        let mut streams = Streams {
            terminal: self.tty.then(UnixStream::pair).transpose()?,
            is_logged: keep || self.detach,
            in_background: self.detach,
            ..Streams::default()
        };
        if self.step && !self.tty && lent::is_file(0)? {
            bail!("--step reads what you answer from a terminal or a pipe: cat FILE | rubber run --step …");
        }
        streams.pipes = match () {
            () if self.tty => None,
            () if self.detach => Some(Pipes::of_background(self.interactive)?),
            () if streams.is_logged => Some(Pipes::logged()?),
            // At the first stage the command has all of the host's files by their names.
            () if self.dry_run || !has_image(layers) => None,
            () => Pipes::lent()?,
        };
        if keep || self.detach {
            streams.tell_start()?;
        }
        Ok(streams)
    }

    /// To a person, and not to a script: what a pipe gets on stderr is the command's.
    fn say_what_is_open(&self) {
        let text = "--privileged leaves open all capabilities, all devices, all system calls, and /proc, /sys and the \
                    cgroups to be written: its root can do to this machine what you can";
        if self.privileged {
            narrate::note(format_args!("{text}"));
            if stderr().is_terminal() && self.explain.is_none() && !self.step && !self.dry_run {
                narrate::warn(format_args!("{text}"));
            }
        }
    }

    /// Whether somebody inside may come to see rubber itself in /proc, whose file is the host's.
    fn is_seen_inside(&self) -> Result<bool> {
        Ok(self.init || matches!(self.namespaces.mode(Namespace::Pid)?, Some(namespaces::Mode::Container(_))))
    }

    fn keeps(&self) -> bool {
        (self.detach || self.name.is_some()) && !self.rm && !self.dry_run
    }

    /// Nothing was named to run.
    fn describes_itself(&self) -> bool {
        self.words.is_empty() && self.rootfs.is_none()
    }

    fn image(&self, store: &Store, name: &OsStr) -> Result<Image> {
        let Some(name) = name.to_str() else { bail!("no image {name:?}: a name is plain text") };
        if self.dry_run { image::plan(store, name) } else { image::resolve(store, name, self.pull) }
    }

    fn layers(&self) -> Result<Layers> {
        let last = self.until.as_deref().map_or(Ok(Layer::LAST), Layer::parse)?;
        let mut layers = Layers::until(last);
        for word in &self.without {
            layers = layers.without(Layer::parse(word)?);
        }
        layers.check()?;
        layers = self.namespaces.layers(layers)?;
        if !layers.contains(Layer::Mount) {
            // They are nothing but mounts, and nobody has to name them to do without.
            layers = layers.without(Layer::Volumes).without(Layer::Devices);
        }
        // Root needs no user namespace, and nobody else gets any other without one.
        let needs_it = !is_able() && last != Layer::Process;
        if needs_it && self.namespaces.mode(Namespace::User)? == Some(namespaces::Mode::Host) {
            bail!(
                "--userns host: only root may make the other namespaces without a user namespace: user_namespaces(7)"
            );
        }
        let wants_it = self.namespaces.wants_ids()? && layers.contains(Layer::Userns);
        Ok(if needs_it || wants_it { layers.with(Layer::Userns) } else { layers.without(Layer::Userns) })
    }

    fn narrator(&self) -> Narrator {
        let form = match self.explain {
            Some(Explain::Json) => Form::Json,
            Some(Explain::Text) => Form::Text,
            None if self.format.is_some() => Form::Silent,
            None if self.step || self.dry_run => Form::Text,
            None => Form::Silent,
        };
        Narrator { form, dry: self.dry_run, pause: self.step }
    }

    /// The first word is the image, unless it is a program: then the default image is meant.
    fn image_and_command(&self) -> (&OsStr, &[OsString]) {
        let (name, words) = match self.words.split_first() {
            _ if self.rootfs.is_some() => (OsStr::new(""), &self.words[..]),
            None => (OsStr::new(image::builtin::NAME), &[][..]),
            Some((first, _)) if first.as_bytes().starts_with(b"/") => {
                (OsStr::new("busybox"), &self.words[..])
            }
            Some((image, words)) => (image.as_os_str(), words),
        };
        // As in `rubber run ubuntu -- /bin/ls`.
        let words = if words.first().is_some_and(|word| word == "--") { &words[1..] } else { words };
        (name, words)
    }
}

/// Whether we may make namespaces without a user namespace. The root of a container may not: that one lacks
/// what making one and bringing its loopback up take.
pub fn is_able() -> bool {
    let may = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    geteuid().is_root() && may(Capability::CAP_SYS_ADMIN) && may(Capability::CAP_NET_ADMIN)
}

fn has_image(layers: Layers) -> bool {
    layers.any(&[Layer::Chroot, Layer::PivotRoot, Layer::Overlay])
}

/// The portrait shows the host's value beside the container's, and cannot see the host: it gets
/// what it may know on stdin.
fn hand_over_facts(config: &Config) -> Result<()> {
    let asked = Asked {
        memory: config.limits.memory,
        memory_swap: config.limits.memory_and_swap.and_then(|sum| sum.try_into().ok()),
        cpus: config.limits.cpu_quota.map(|quota| quota as f64 / CPU_PERIOD as f64),
        pids: config.limits.pids.and_then(|pids| pids.try_into().ok()),
    };
    let outside = Outside { host: Some(facts::own().for_inside()), asked: Some(asked) };
    let mut file = tempfile::tempfile().or_else(|_| tempfile::tempfile_in("/dev/shm"))?;
    file.write_all(&serde_json::to_vec(&outside)?)?;
    file.rewind()?;
    Ok(nix::unistd::dup2_stdin(file)?)
}
