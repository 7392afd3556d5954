//! What was typed, and what the image asks for, become a `Config`.

use super::{
    super::{
        environment::{last_of_each, refuse_too_much, set_all, set_file, set_terminal},
        limits, names,
        namespaces::{self, Found},
        privileges, security, sysctls,
    },
    Run,
};
use crate::{
    config::Config,
    filter::Filter,
    ids::Ids,
    image::{Image, Store},
    layers::{
        Layer, Layers,
        cgroup::Place,
        namespaces::{Namespace, Whose},
    },
    oci,
};
use anyhow::{Context, Result, bail};
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};
use std::{
    ffi::{OsStr, OsString},
    io::{IsTerminal, stdout},
    path::{Path, PathBuf},
};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Run {
    /// Checks what does not go together on the way; makes nothing.
    pub(super) fn config(
        &self,
        id: String,
        layers: Layers,
        store: Option<&Store>,
        image: Option<&Image>,
        words: &[OsString],
    ) -> Result<Config> {
        let mut limits = self.limits.limits()?;
        limits.warn_without(layers);
        let defaults = image.and_then(|image| image.config.config().clone()).unwrap_or_default();
        let usual = if self.privileged { Filter::Unconfined } else { Filter::Default };
        let made_for = image.map(|image| image.config.architecture().to_string()).unwrap_or_default();
        let found = self.namespaces.find(layers, store)?;
        let hostname = self.hostname(&id, &found)?;
        // Whoever may do all may open all devices.
        let limiting = if self.privileged { layers.without(Layer::Devices) } else { layers };
        let cgroup = Place::find(&id, limiting, &limits)?;
        if limits.pids.is_none() && cgroup.counts_processes()? {
            limits.pids = Some(limits::PIDS);
        }
        let security = security::parse(&self.security_opt, layers)?;
        let workdir = self.workdir.clone().or(defaults.working_dir().clone().map(PathBuf::from));
        let workdir = workdir.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or("/".into());
        if !workdir.is_absolute() {
            bail!("--workdir {workdir:?} must start with a slash: it is a directory of the container's");
        }
        let ids = match found.ids {
            Some(ids) => ids,
            None if layers.contains(Layer::Userns) => self.namespaces.ids()?,
            None => Ids::of_surroundings(),
        };
        let mounts = self.mounts.mounts(
            store,
            layers,
            self.privileged,
            defaults.volumes().as_deref().unwrap_or_default(),
        )?;
        namespaces::check(&ids, layers, &mounts)?;
        let (command, env) = (self.command(words, &defaults)?, self.environment(&defaults, &hostname)?);
        refuse_too_much(&command, &env, &limits)?;
        Ok(Config {
            command,
            env,
            image: self.image_directories(image)?,
            dir: store.map(|store| store.containers().join(&id)).unwrap_or_default(),
            upper_in_memory: store.is_some_and(|store| is_overlay(store.root())),
            workdir,
            // The steps after the terminal was taken are asked for on that terminal.
            interactive: self.interactive || self.step,
            streams: self.streams(layers)?,
            target: None,
            tty: self.tty,
            keep: self.keeps(),
            init: self.init,
            names: names::of(&hostname, layers)?,
            hostname,
            user: [&self.user, defaults.user()]
                .into_iter()
                .flatten()
                .find(|user| !user.is_empty())
                .cloned()
                .unwrap_or("0".into()),
            ids,
            first: Default::default(),
            is_born_in_group: Default::default(),
            capabilities: privileges::capabilities(&self.cap_add, &self.cap_drop, self.privileged, layers)?,
            seccomp: security.seccomp.unwrap_or(usual).for_programs_of(&made_for),
            no_new_privileges: security.no_new_privileges,
            apparmor: security.apparmor,
            selinux: security.selinux,
            privileged: self.privileged,
            open_paths: self.privileged || security.open_paths,
            mounts,
            held: Default::default(),
            devices: self.mounts.devices(layers)?,
            device_rules: self.mounts.device_rules()?,
            read_only: self.mounts.read_only(layers)?,
            umask: self.umask.as_deref().map_or(Ok(0o022), umask)?,
            groups: self.group_add.clone(),
            sysctls: sysctls::parse(&self.sysctl, &found.namespaces)?,
            namespaces: found.namespaces,
            clocks: self.namespaces.clocks(layers)?,
            donors: found.donors,
            cgroup,
            limits,
            layers,
            id,
            bundle: oci::Bundle::default(),
        })
    }

    /// Its own, that of whose namespace it is in, or else its id.
    fn hostname(&self, id: &str, found: &Found) -> Result<OsString> {
        let name = match (&self.hostname, found.namespaces.of(Namespace::Uts), &found.hostname) {
            (Some(_), Whose::Host, _) if self.namespaces.mode(Namespace::Uts)?.is_some() => {
                bail!("--hostname: with --uts host the name would be the host's: leave one of them out")
            }
            (Some(_), Whose::Container(_), _) => {
                bail!(
                    "--hostname: with --uts container:NAME the name is that container's: leave one of them out"
                )
            }
            (Some(name), ..) | (None, _, Some(name)) => name.clone(),
            (None, Whose::Host, _) if self.namespaces.mode(Namespace::Uts)?.is_some() => {
                nix::unistd::gethostname()?
            }
            (None, ..) => id.into(),
        };
        if !(1..=64).contains(&name.len()) {
            bail!("--hostname {name:?} has {} bytes: a hostname has 1 to 64", name.len());
        }
        Ok(name)
    }

    fn image_directories(&self, image: Option<&Image>) -> Result<Vec<PathBuf>> {
        match (&self.rootfs, image) {
            (Some(dir), _) => {
                let dir = dir.canonicalize().with_context(|| format!("--rootfs {}", dir.display()))?;
                if !dir.is_dir() {
                    bail!("--rootfs {} is not a directory", dir.display());
                }
                Ok(vec![dir])
            }
            (None, Some(image)) => Ok(image.layers.clone()),
            (None, None) => Ok(vec![]),
        }
    }

    /// As docker: words replace the image's command and are arguments of its entrypoint.
    fn command(&self, words: &[OsString], defaults: &oci_spec::image::Config) -> Result<Vec<OsString>> {
        let strings =
            |list: &Option<Vec<String>>| list.iter().flatten().map(OsString::from).collect::<Vec<_>>();
        let mut command = match &self.entrypoint {
            // As docker: an empty one takes the image's away.
            Some(program) => {
                vec![program.clone()].into_iter().filter(|program| !program.is_empty()).collect()
            }
            None => strings(defaults.entrypoint()),
        };
        match words {
            [] if self.entrypoint.is_some() => {}
            [] => command.extend(strings(defaults.cmd())),
            words => command.extend_from_slice(words),
        }
        if command.is_empty() && self.describes_itself() {
            // Without an image of our own to be found in, we are still who we are.
            return Ok(vec!["/proc/self/exe".into(), "portrait".into()]);
        }
        if command.is_empty() {
            bail!("nothing to run: name a command after the image, as in rubber run busybox ls");
        }
        Ok(command)
    }

    /// Nothing of the caller's but what was asked for with `-e`.
    fn environment(&self, defaults: &oci_spec::image::Config, hostname: &OsStr) -> Result<Vec<OsString>> {
        let mut env = vec![OsString::from(format!("PATH={PATH}"))];
        let mut own = OsString::from("HOSTNAME=");
        own.push(hostname);
        env.push(own);
        if self.tty || stdout().is_terminal() {
            set_terminal(&mut env);
        }
        if self.words.is_empty() && std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            // The portrait is rubber's own output, and rubber honours it.
            env.push("NO_COLOR=1".into());
        }
        env.extend(defaults.env().iter().flatten().map(OsString::from));
        for file in &self.env_file {
            set_file(&mut env, file)?;
        }
        set_all(&mut env, &self.env)?;
        Ok(last_of_each(&env))
    }
}

fn umask(text: &str) -> Result<u32> {
    match u32::from_str_radix(text, 8) {
        Ok(mask) if mask <= 0o777 && !text.starts_with('+') => Ok(mask),
        _ => bail!("--umask {text:?} is not an octal number such as 0022"),
    }
}

/// An overlay takes no other overlay as its upper layer (Documentation/filesystems/overlayfs.rst).
fn is_overlay(path: &Path) -> bool {
    statfs(path).is_ok_and(|about| about.filesystem_type() == OVERLAYFS_SUPER_MAGIC)
}
