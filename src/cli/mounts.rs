//! What is shared with a container, as people type it.

use super::{
    ends::{anonymous, destination, is_connected, is_device, is_path, make_source, named, old_source},
    limits::size,
};
use crate::{
    config::{Attribute, Device, DeviceRule, Mount, Propagation, What},
    image::Store,
    layers::{Layer, Layers},
    narrate,
};
use anyhow::{Context, Result, bail};
use nix::sys::stat::SFlag;
use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
};

#[derive(clap::Args)]
#[command(next_help_heading = "Files")]
pub struct Mounts {
    /// Share a path (/DIR, ./DIR), a named volume, or one of its own (DST alone); options: ro, U, nosuid, noexec, dev, rslave, rshared
    #[arg(short, long, value_name = "[SRC:]DST[:OPTIONS]")]
    volume: Vec<OsString>,
    /// The same in words: type=bind|volume|tmpfs,src=SRC,dst=DST,readonly
    #[arg(long, value_name = "KEY=VALUE,...")]
    mount: Vec<OsString>,
    /// Memory at DST; options: size=64m, mode=1777, uid, gid, nr_inodes, ro, exec, suid, dev
    #[arg(long, value_name = "DST[:OPTIONS]")]
    tmpfs: Vec<OsString>,
    /// Make the root read-only (not /dev, nor what is mounted)
    #[arg(long)]
    read_only: bool,
    /// Size of /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    shm_size: Option<String>,
    /// Give a device of the host's, to read, write and make nodes of (rwm)
    #[arg(long, value_name = "SRC[:DST[:rwm]]")]
    device: Vec<OsString>,
    /// Allow devices whose nodes come later, as in 'c 189:* rw' (c, b or a; * is any)
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<String>,
}

impl Mounts {
    /// Those that come above others first, as each is mounted on what is there by then.
    /// `of_image` are the places at which the image wants volumes.
    pub fn mounts(
        &self,
        store: Option<&Store>,
        layers: Layers,
        privileged: bool,
        of_image: &[String],
    ) -> Result<Vec<Mount>> {
        let asked = [&self.volume, &self.mount, &self.tmpfs].iter().any(|words| !words.is_empty());
        let asked = asked || self.shm_size.is_some();
        let (Some(store), true) = (store, layers.contains(Layer::Volumes)) else {
            warn_without(Layer::Volumes, asked || self.read_only);
            return Ok(vec![]);
        };
        let mut mounts = Vec::new();
        for word in &self.volume {
            mounts.push(in_short(word, store).with_context(|| format!("--volume {word:?}"))?);
        }
        for word in &self.mount {
            mounts.push(in_words(word, store).with_context(|| format!("--mount {word:?}"))?);
        }
        for word in &self.tmpfs {
            mounts.push(memory(word).with_context(|| format!("--tmpfs {word:?}"))?);
        }
        mounts.extend(self.shm_size.as_deref().map(shared_memory).transpose()?);
        let mut targets: BTreeSet<_> = mounts.iter().map(|mount| mount.target.clone()).collect();
        for place in of_image {
            let mount = Mount::new(anonymous(store)?, OsStr::new(place));
            let mount = mount.with_context(|| format!("the image wants a volume at {place:?}"))?;
            // What was asked for comes in its place; and it may be named twice.
            if targets.insert(mount.target.clone()) {
                mounts.push(mount);
            }
        }
        if privileged {
            mounts.iter_mut().for_each(|mount| mount.forbid(Attribute::Nodev, false));
        }
        mounts.sort_by_key(|mount| mount.target.components().count());
        check(&mounts, layers)?;
        Ok(mounts)
    }

    pub fn devices(&self, layers: Layers) -> Result<Vec<Device>> {
        if !layers.contains(Layer::Devices) {
            warn_without(Layer::Devices, !self.device.is_empty());
            return Ok(vec![]);
        }
        self.device.iter().map(|word| device(word).with_context(|| format!("--device {word:?}"))).collect()
    }

    pub fn device_rules(&self) -> Result<Vec<DeviceRule>> {
        let rule = |word: &String| {
            device_rule(word)
                .with_context(|| format!("--device-cgroup-rule {word:?} is not as in 'c 189:* rw'"))
        };
        self.device_cgroup_rule.iter().map(rule).collect()
    }

    pub fn read_only(&self, layers: Layers) -> Result<bool> {
        if self.read_only && !layers.any(&[Layer::PivotRoot, Layer::Overlay]) {
            bail!("--read-only needs a root that is a mount: leave pivot_root or overlay on");
        }
        Ok(self.read_only)
    }
}

fn warn_without(layer: Layer, asked: bool) {
    if asked {
        narrate::warn(format_args!(
            "the {0} layer is off, so what asks for {0} does nothing here",
            layer.name()
        ));
    }
}

fn check(mounts: &[Mount], layers: Layers) -> Result<()> {
    let mut targets = BTreeSet::new();
    for mount in mounts {
        if !targets.insert(&mount.target) {
            bail!("two mounts at {:?}: only the later would be seen", mount.target);
        }
        if mount.propagation != Propagation::Private && layers.contains(Layer::Userns) {
            bail!(
                "{:?}: only root's containers can be told of the host's later mounts: leave rslave and rshared out",
                mount.target
            );
        }
    }
    Ok(())
}

// ---- one of them ---------------------------------------------------------------

impl Mount {
    /// Device nodes do nothing in what is shared, or a container's root could make some for the host's disks.
    fn new(what: What, target: &OsStr) -> Result<Mount> {
        let is_device = match &what {
            What::Bind { source } => is_device(source),
            _ => false,
        };
        let attributes = if is_device { vec![] } else { vec![Attribute::Nodev] };
        let target = destination(target)?;
        Ok(Mount { what, target, attributes, propagation: Propagation::Private, chown: false, idmap: false })
    }

    fn forbid(&mut self, attribute: Attribute, on: bool) {
        self.attributes.retain(|other| *other != attribute);
        if on {
            self.attributes.push(attribute);
        }
    }

    /// A word that all kinds of mounts have in common, or false.
    fn take(&mut self, word: &str) -> bool {
        match word {
            "ro" | "readonly" => self.forbid(Attribute::Ro, true),
            "rw" => self.forbid(Attribute::Ro, false),
            "nosuid" => self.forbid(Attribute::Nosuid, true),
            "suid" => self.forbid(Attribute::Nosuid, false),
            "nodev" => self.forbid(Attribute::Nodev, true),
            "dev" => self.forbid(Attribute::Nodev, false),
            "noexec" => self.forbid(Attribute::Noexec, true),
            "exec" => self.forbid(Attribute::Noexec, false),
            _ => return false,
        }
        true
    }

    /// One for what comes from elsewhere.
    fn take_shared(&mut self, word: &str) -> bool {
        match (word, &mut self.what) {
            ("private" | "rprivate", _) => self.propagation = Propagation::Private,
            ("slave" | "rslave", _) => self.propagation = Propagation::Slave,
            ("shared" | "rshared", _) => self.propagation = Propagation::Shared,
            ("U" | "chown", _) => self.chown = true,
            ("idmap", _) => self.idmap = true,
            ("rbind", What::Bind { .. }) | ("z" | "Z", _) => {}
            ("nocopy", What::Volume { fill, .. }) => *fill = false,
            _ => return self.take(word),
        }
        true
    }
}

/// `[SRC:]DST[:OPTIONS]`
fn in_short(word: &OsStr, store: &Store) -> Result<Mount> {
    let (source, target, options) = match parts(word, b':')[..] {
        [target] if is_path(target) => return Mount::new(anonymous(store)?, target),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, text(options)?),
        [_] => bail!(
            "SRC:DST is what it takes: a path or a volume's name, and where it is seen in the container"
        ),
        _ => bail!("too many colons; --mount takes names that have some"),
    };
    let what = match is_path(source) {
        true => What::Bind { source: make_source(source)? },
        false => named(store, source)?,
    };
    let mut mount = Mount::new(what, target)?;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        if !mount.take_shared(option) {
            bail!(
                "no option {option:?}: there are ro, rw, U, idmap, nosuid, noexec, nodev, dev, nocopy, \
                 and (r)private, (r)slave, (r)shared"
            );
        }
    }
    is_connected(&mount)?;
    Ok(mount)
}

/// `type=bind,src=SRC,dst=DST,...`
fn in_words(word: &OsStr, store: &Store) -> Result<Mount> {
    let pairs: Vec<_> = parts(word, b',').into_iter().map(pair).collect();
    let find = |keys: &[&str]| pairs.iter().rev().find(|(key, _)| keys.contains(&&**key)).map(|pair| pair.1);
    let Some(target) = find(&["dst", "destination", "target"]).flatten() else {
        bail!("dst= is missing: where it is seen in the container");
    };
    let source = find(&["src", "source"]).flatten();
    let kind = find(&["type"]).flatten().unwrap_or(OsStr::new("volume"));
    let what = match (text(kind)?, source) {
        ("bind", Some(source)) => What::Bind { source: old_source(source)? },
        ("volume", Some(source)) if !is_path(source) => named(store, source)?,
        ("volume", Some(_)) => bail!("src= is a path: type=bind is what shares one"),
        ("tmpfs", None) => What::Tmpfs { options: vec![("mode".into(), "1777".into())] },
        ("tmpfs", Some(_)) => bail!("memory has no source: leave src= out"),
        ("volume", None) => anonymous(store)?,
        ("bind", None) => bail!("src= is missing: a path of the host's"),
        (other, _) => bail!("no type {other:?}: there are bind, volume and tmpfs"),
    };
    let mut mount = Mount::new(what, target)?;
    for (key, value) in &pairs {
        key_and_value(&mut mount, key, value.map(text).transpose()?)?;
    }
    is_connected(&mount)?;
    Ok(mount)
}

const PROPAGATIONS: &[&str] = &["private", "rprivate", "slave", "rslave", "shared", "rshared"];

fn key_and_value(mount: &mut Mount, key: &str, value: Option<&str>) -> Result<()> {
    let is_on = !matches!(value, Some("false" | "0"));
    let is_tmpfs = matches!(mount.what, What::Tmpfs { .. });
    let known = match (key, value) {
        ("type" | "src" | "source" | "dst" | "destination" | "target", Some(_)) => true,
        ("readonly" | "ro", None | Some("true" | "1" | "false" | "0")) => {
            mount.take(if is_on { "ro" } else { "rw" })
        }
        ("bind-propagation", Some(word)) if !is_tmpfs && PROPAGATIONS.contains(&word) => {
            mount.take_shared(word)
        }
        ("volume-nocopy", _) if is_on => mount.take_shared("nocopy"),
        ("volume-nocopy", _) => true,
        ("tmpfs-size", Some(value)) if is_tmpfs => return tmpfs_option(mount, "size", value),
        ("tmpfs-mode", Some(value)) if is_tmpfs => return tmpfs_option(mount, "mode", value),
        (word, None) if is_tmpfs => mount.take(word),
        (word, None) => mount.take_shared(word),
        _ => false,
    };
    if !known {
        bail!(
            "no key {key:?} with this value here: there are type, src, dst, readonly, bind-propagation, \
             volume-nocopy, tmpfs-size, tmpfs-mode, and the options of --volume"
        );
    }
    Ok(())
}

/// `DST[:OPTIONS]`
fn memory(word: &OsStr) -> Result<Mount> {
    let (target, options) = match parts(word, b':')[..] {
        [target] => (target, ""),
        [target, options] => (target, text(options)?),
        _ => bail!("too many colons: DST:OPTION,OPTION is what it takes"),
    };
    let mut mount = Mount::new(What::Tmpfs { options: vec![("mode".into(), "1777".into())] }, target)?;
    mount.attributes = vec![Attribute::Nosuid, Attribute::Nodev, Attribute::Noexec];
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some((key, value)) => tmpfs_option(&mut mount, key, value)?,
            None if mount.take(option) => {}
            None => bail!("no option {option:?}: there are {TMPFS_OPTIONS}, ro, rw, exec, suid, dev"),
        }
    }
    Ok(mount)
}

/// Over the one that each container has, of 64 MiB.
fn shared_memory(text: &str) -> Result<Mount> {
    match size("--shm-size", text)? {
        0 => bail!("--shm-size 0 would be no limit at all: at least 1k"),
        bytes => memory(OsStr::new(&format!("/dev/shm:size={bytes}"))),
    }
}

const TMPFS_OPTIONS: &str = "size=, mode=, uid=, gid=, nr_inodes=";

fn tmpfs_option(mount: &mut Mount, key: &str, value: &str) -> Result<()> {
    let What::Tmpfs { options } = &mut mount.what else { bail!("{key} is for tmpfs") };
    let is_number = value.parse::<i32>().is_ok_and(|number| number >= 0) && !value.starts_with('+');
    let is_mode = u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o7777) && !value.starts_with('+');
    let percent = value.strip_suffix('%').and_then(|number| number.parse::<u8>().ok());
    let value = match key {
        "size" if percent.is_some_and(|percent| (1..=100).contains(&percent)) => value.to_owned(),
        "size" => size("size", value)?.to_string(),
        "mode" if is_mode => value.to_owned(),
        "uid" | "gid" | "nr_inodes" if is_number => value.to_owned(),
        "mode" => bail!("mode {value:?} is not one such as 1777"),
        "uid" | "gid" | "nr_inodes" => bail!("{key} {value:?} is not a number"),
        _ => bail!("no option \"{key}=\": there are {TMPFS_OPTIONS}, ro, rw, exec, suid, dev"),
    };
    options.retain(|(other, _)| other != key);
    options.push((key.into(), value));
    Ok(())
}

/// `SRC[:DST[:rwm]]`, or `SRC:rwm`, as docker has it.
fn device(word: &OsStr) -> Result<Device> {
    let is_mode = |word: &OsStr| !word.is_empty() && word.as_bytes().iter().all(|byte| b"rwm".contains(byte));
    let (source, target, mode) = match parts(word, b':')[..] {
        [source] => (source, source, None),
        [source, mode] if is_mode(mode) => (source, source, Some(mode)),
        [source, target] => (source, target, None),
        [source, target, mode] if is_mode(mode) => (source, target, Some(mode)),
        _ => bail!("SRC:DST:rwm is what it takes"),
    };
    let about = fs::metadata(source).context("cannot be found on the host")?;
    if !about.file_type().is_char_device() && !about.file_type().is_block_device() {
        bail!("it is not a device: --volume shares files and directories");
    }
    let access = mode.map_or(Ok("rwm"), text)?.to_owned();
    let kind = SFlag::from_bits_truncate(about.mode() & SFlag::S_IFMT.bits());
    let rule = DeviceRule { access, ..DeviceRule::of(kind, about.rdev()) };
    Ok(Device { source: std::path::absolute(source)?, target: destination(target)?, rule })
}

fn device_rule(word: &str) -> Option<DeviceRule> {
    let [kind, numbers, access] = word.split(' ').collect::<Vec<_>>()[..] else { return None };
    let (major, minor) = numbers.split_once(':')?;
    let number = |text: &str| match text {
        "*" => Some(None),
        text => text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?.map(Some),
    };
    let kind = kind.parse().ok().filter(|kind| ['a', 'b', 'c'].contains(kind))?;
    let is_access = !access.is_empty() && access.bytes().all(|byte| b"rwm".contains(&byte));
    let access = is_access.then(|| access.to_owned())?;
    Some(DeviceRule { kind, major: number(major)?, minor: number(minor)?, access })
}

// ---- words -----------------------------------------------------------------------

pub fn parts(word: &OsStr, at: u8) -> Vec<&OsStr> {
    word.as_bytes().split(|byte| *byte == at).map(OsStr::from_bytes).collect()
}

fn pair(word: &OsStr) -> (String, Option<&OsStr>) {
    let mut halves = word.as_bytes().splitn(2, |byte| *byte == b'=').map(OsStr::from_bytes);
    let key = halves.next().unwrap_or_default().to_string_lossy().into_owned();
    (key, halves.next())
}

pub fn text(word: &OsStr) -> Result<&str> {
    word.to_str().with_context(|| format!("{word:?} is not plain text"))
}
