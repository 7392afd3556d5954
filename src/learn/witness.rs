//! The witness: runs the learner's rubber in the arena, and looks at its container from the arena's side.
//!
//! The probe's stdin is one end of a socket, on which the kernel itself says who sent a message
//! (SO_PASSCRED, unix(7)). So what is looked at is the process that answered, whoever it says it is.

use super::{
    arena::Attempt,
    asked,
    attack::{self, Told},
    expect, ground,
    probe::{Answer, HELLO, LONGEST, Question},
    targets::Targets,
};
use crate::{
    container,
    facts::{self, Facts, Mount},
    sys,
};
use anyhow::{Context, Result};
use caps::CapSet;
use nix::{
    cmsg_space,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        socket::{
            AddressFamily, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType, UnixCredentials,
            recvmsg, send, setsockopt, shutdown, socketpair, sockopt::PassCred,
        },
        wait::WaitPidFlag,
    },
};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{IoSliceMut, Read, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long an attempt may take: a warm container takes hundredths of a second.
const PATIENCE: Duration = Duration::from_secs(8);

/// The same on a machine that is known to be slow: RUBBER_LEARN_SECONDS.
pub fn patience() -> Duration {
    let asked = std::env::var("RUBBER_LEARN_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    asked.map_or(PATIENCE, Duration::from_secs)
}
/// How much it may print.
const MOST: usize = 1 << 20;

struct Watch {
    socket: OwnedFd,
    question: Question,
    /// What no container should learn of the host.
    secret: String,
    targets: Option<Targets>,
    /// The learner's rubber.
    rubber: i32,
    /// Who said hello.
    probe: Option<i32>,
    facts: Value,
    said: [Vec<u8>; 2],
}

/// Runs the attempt to its end.
pub fn watch(attempt: &Attempt) -> Result<Value> {
    let (nonce, secret) = (container::new_id()?, container::new_id()?);
    let run = asked::run(&nonce, &secret);
    sys::sethostname(format!("lab-{}", &nonce[4..6]).as_ref())?;
    let code = run["expected_code"].as_u64().unwrap_or(64) as u8;
    fs::write(ground::CANARY, &secret)?;
    // Forked before there is a socket whose ends it would hold open.
    let targets = match attempt.attacks.is_empty() {
        true => None,
        false => Some(Targets::new(&attempt.attacks, &nonce, &secret)?),
    };
    let (socket, stdin) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let image = fs::metadata(ground::IMAGE)?.ino();
    setsockopt(&socket, PassCred, &true)?;
    let mut watch = Watch {
        socket,
        question: Question { nonce, canary: ground::CANARY.into(), code },
        secret,
        targets,
        rubber: 0,
        probe: None,
        facts: json!({"run": run, "before": {"host": host()}}),
        said: [vec![], vec![]],
    };
    watch.facts["run"]["image_inode"] = image.into();
    watch.run(attempt, stdin)?;
    watch.look_after();
    Ok(watch.facts)
}

/// The group of each controller that a process is in, as /proc/PID/cgroup names it below what is shown.
pub fn groups(facts: &Value) -> Value {
    let paths = &facts["cgroup"]["paths"];
    let path = |controller| {
        let path = paths.get(controller).or(paths.get("unified"))?.as_str()?;
        Some(ground::below_what_is_shown(path).to_owned())
    };
    json!({"cpu": path("cpu"), "memory": path("memory"), "pids": path("pids")})
}

/// What we ourselves see, without what is nobody's business.
pub fn host() -> Value {
    let own = Facts { env: None, command: None, fds: None, rlimits: None, ..facts::own() };
    serde_json::to_value(own).unwrap_or_default()
}

impl Watch {
    fn run(&mut self, attempt: &Attempt, stdin: OwnedFd) -> Result<()> {
        let mut child = self.command(attempt, stdin)?.spawn().context("cannot start the learner's rubber")?;
        let out = File::from(OwnedFd::from(child.stdout.take().context("no stdout")?));
        let err = File::from(OwnedFd::from(child.stderr.take().context("no stderr")?));
        let deadline = Instant::now() + patience();
        let pid = child.id() as i32;
        self.rubber = pid;
        let mut open = [true; 3];
        let mut code = None;
        // After its end only for what is still in the pipes: somebody it left behind may hold them open.
        while code.is_none() || self.has_more(&out, &err)? {
            self.hear([&out, &err], &mut open)?;
            while code.is_none() {
                match sys::wait4(WaitPidFlag::WNOHANG)? {
                    Some((ended, ended_with)) if ended.as_raw() == pid => code = Some(ended_with),
                    Some(_) => {}
                    None => break,
                }
            }
            self.facts["run"]["flood"] = (self.said.iter().map(Vec::len).sum::<usize>() > MOST).into();
            self.facts["run"]["timeout"] = (Instant::now() > deadline).into();
            if self.facts["run"]["flood"] == true || self.facts["run"]["timeout"] == true {
                break;
            }
        }
        self.facts["run"]["code"] = json!(code);
        Ok(())
    }

    fn command(&self, attempt: &Attempt, stdin: OwnedFd) -> Result<Command> {
        let mut command = self.container(attempt);
        command.args(["learn", "probe"]).env_clear();
        // Each a thing of the host's that should not come along.
        command.env(attack::VARIABLE, &self.secret).current_dir(ground::DISK);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let secret = File::open(ground::CANARY)?;
        let is_root = nix::unistd::geteuid().is_root();
        let groups = ground::lists_of_members()?;
        if is_root {
            // Where our own root lacks it, there is nothing to pass on.
            let _ = [CapSet::Inheritable, CapSet::Ambient]
                .map(|set| caps::raise(None, set, asked::HOSTS_CAPABILITY));
        }
        // SAFETY: write(2), fcntl(2) and setgroups(2) only, between fork and exec.
        unsafe {
            command.pre_exec(move || {
                for mut members in &groups {
                    members.write_all(b"0")?;
                }
                nix::fcntl::fcntl(&secret, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
                if is_root {
                    nix::unistd::setgroups(&[asked::HOSTS_GROUP.into()])?;
                }
                Ok(())
            });
        }
        command.stdin(Stdio::from(stdin)).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// How the probe is started: by itself, or by the learner's rubber.
    fn container(&self, attempt: &Attempt) -> Command {
        let Some(layer) = attempt.layer.as_deref() else { return Command::new(ground::PROBE) };
        let mut command = Command::new(ground::LEARNERS);
        command.args(["--root", ground::STORE, "run", "--explain=json", "--until", layer]);
        command.args(attempt.flags.iter().map(|flag| expect::fill(flag, &self.facts)));
        match layer {
            // There is no image yet: a program of the host's runs.
            "process" => command.arg(ground::PROBE),
            _ => command.args(["--rootfs", ground::IMAGE, "/bin/rubber"]),
        };
        command
    }

    fn has_more(&self, out: &File, err: &File) -> Result<bool> {
        let mut fds = [out, err].map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN));
        poll(&mut fds, PollTimeout::ZERO)?;
        Ok(fds.iter().any(|fd| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLIN))))
    }

    /// Takes what has come, or waits a moment.
    fn hear(&mut self, pipes: [&File; 2], open: &mut [bool; 3]) -> Result<()> {
        let ready: Vec<usize> = {
            let all = [self.socket.as_fd(), pipes[0].as_fd(), pipes[1].as_fd()];
            let asked = (0..3).filter(|n| open[*n]);
            let mut fds: Vec<_> = asked.clone().map(|n| PollFd::new(all[n], PollFlags::POLLIN)).collect();
            poll(&mut fds, 5_u8)?;
            asked.zip(&fds).filter(|(_, fd)| fd.any() != Some(false)).map(|(n, _)| n).collect()
        };
        for n in ready {
            open[n] = match n {
                0 => self.hear_socket()?,
                n => {
                    let mut buffer = vec![0; 1 << 16];
                    let mut pipe = pipes[n - 1];
                    let length = pipe.read(&mut buffer)?;
                    self.said[n - 1].extend_from_slice(&buffer[..length]);
                    length > 0
                }
            };
        }
        Ok(())
    }

    /// One message, or the end: then nobody is left who could send one.
    fn hear_socket(&mut self) -> Result<bool> {
        let mut bytes = vec![0; LONGEST];
        let mut credentials = cmsg_space!(UnixCredentials);
        let (length, sender) = {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let heard = recvmsg::<()>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut credentials),
                MsgFlags::MSG_DONTWAIT,
            );
            let Ok(heard) = heard else { return Ok(false) };
            let sender = heard.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::ScmCredentials(sender) => Some(sender.pid()),
                _ => None,
            });
            (heard.bytes, sender)
        };
        let (Some(sender), false) = (sender, length == 0) else { return Ok(false) };
        self.take(sender, &bytes[..length])?;
        Ok(true)
    }

    fn take(&mut self, sender: i32, message: &[u8]) -> Result<()> {
        if message == HELLO && self.probe.is_none() {
            self.probe = Some(sender);
            self.facts["run"]["met"] = true.into();
            let question = serde_json::to_vec(&self.question)?;
            // It may have ended since, which is a finding and no error.
            let _ = send(self.socket.as_raw_fd(), &question, MsgFlags::MSG_NOSIGNAL);
            return Ok(());
        }
        if let Ok(told) = serde_json::from_slice::<Told>(message) {
            return self.note(sender, told);
        }
        let Ok(answer) = serde_json::from_slice::<Answer>(message) else { return Ok(()) };
        self.look_at(sender);
        let is_probe = is_probe(sender) && self.probe == Some(sender) && answer.nonce == self.question.nonce;
        // Where in the tree it believes to be, of each controller.
        let seen = answer.inside["cgroup"]["paths"].as_object();
        let seen: Vec<_> =
            seen.into_iter().flat_map(|paths| paths.values()).filter_map(Value::as_str).collect();
        self.facts["run"]["groups_seen"] = seen.join(" ").into();
        self.facts["inside"] = answer.inside;
        self.facts["host"] = host();
        if let Ok(rubber) = facts::of(&self.rubber.to_string()) {
            let rubber = serde_json::to_value(rubber).unwrap_or_default();
            self.facts["host"]["group"] = groups(&rubber);
            self.facts["host"]["limits"] = rubber["limits"].clone();
        }
        self.facts["run"]["genuine"] = (is_probe && self.agree()).into();
        match &self.targets {
            Some(targets) => {
                let orders = serde_json::to_vec(&targets.orders)?;
                let _ = send(self.socket.as_raw_fd(), &orders, MsgFlags::MSG_NOSIGNAL);
            }
            None => shutdown(self.socket.as_raw_fd(), Shutdown::Write)?,
        }
        Ok(())
    }

    /// How an attack went, as far as the attacker knows. After the last of them we look at the targets.
    fn note(&mut self, sender: i32, told: Told) -> Result<()> {
        let Some(targets) = self.targets.as_ref().filter(|_| self.probe == Some(sender)) else {
            return Ok(());
        };
        self.facts["attack"][&told.attack] = json!({"got": told.got, "refused": told.refused});
        if targets.orders.attacks.last() == Some(&told.attack) {
            let mut after = targets.look(sender);
            after["host"] = host();
            self.facts["attacked"] = after;
            shutdown(self.socket.as_raw_fd(), Shutdown::Write)?;
        }
        Ok(())
    }

    /// What the kernel says of it, while it holds still.
    fn look_at(&mut self, pid: i32) {
        let found = facts::of(&pid.to_string()).map(|facts| serde_json::to_value(facts).unwrap_or_default());
        if let (Ok(Value::Object(found)), Value::Object(all)) = (found, &mut self.facts) {
            all.extend(found);
        }
        self.facts["group"] = groups(&self.facts);
        let limits = &self.facts["limits"];
        let share = limits.get("cpu_shares").or(limits.get("cpu_weight")).cloned();
        self.facts["run"]["share"]["got"] = json!(share);
        self.facts["run"]["groups_made"] = ground::containers_groups().into();
        let table = table(pid).unwrap_or_default();
        self.facts["run"]["mounts"] = table.len().into();
        let hosts = facts::own().root.map(|root| root.device);
        let is_hosts = |mount: &Mount| Some(&mount.device) == hosts.as_ref() && mount.root == "/";
        self.facts["run"]["hosts_root_mounted"] = table.iter().any(is_hosts).into();
        self.facts["run"]["root_propagation"] = json!(table.first().map(|mount| &mount.propagation));
        // The one furthest from private: that is where mounts could still travel.
        let open = table.iter().find(|mount| mount.propagation != "private").or(table.first());
        self.facts["run"]["propagation"] = json!(open.map(|mount| &mount.propagation));
    }

    /// Whether what it claims is what the kernel says of it. A claim it cannot make (without a /proc) is
    /// no lie, and in a user namespace of its own its ids have other numbers.
    fn agree(&self) -> bool {
        let (claims, kernel) = (&self.facts["inside"], &self.facts);
        let same = |claim: &Value, fact: &Value| claim.is_null() || fact.is_null() || claim == fact;
        let ids = if kernel["ns"]["user"] == kernel["host"]["ns"]["user"] { 3 } else { 0 };
        facts::NAMESPACES.iter().all(|(kind, _)| same(&claims["ns"][kind], &kernel["ns"][kind]))
            && same(&claims["hostname"], &kernel["hostname"])
            && ["uid", "gid", "groups"].iter().take(ids).all(|name| same(&claims[name], &kernel[name]))
    }

    /// What is different once all has ended.
    fn look_after(&mut self) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]).into_owned();
        let (told, plain): (Vec<_>, Vec<_>) = text(&self.said[1])
            .lines()
            .map(str::to_owned)
            .partition(|line| line.starts_with("{\"who\"") || line.starts_with("{\"step\""));
        let error = plain.join("\n");
        self.facts["run"]["refusal"] = refusal(&error).into();
        self.facts["run"]["error"] = error.into();
        self.facts["run"]["output"] = text(&self.said[0]).into();
        let told: Vec<Value> = told.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let by_host =
            told.iter().filter(|line| line["who"] == "host").filter_map(|line| line["call"].as_str());
        self.facts["run"]["told_by_host"] = by_host.collect::<Vec<_>>().join("\n").into();
        let calls = told.iter().filter_map(|line| line["call"].as_str());
        self.facts["run"]["told"] = calls.collect::<Vec<_>>().join("\n").into();
        self.facts["run"]["calls"] = told.into();
        self.facts["run"]["image_written"] = Path::new(ground::IMAGE).join("written").exists().into();
        let left = |dir: &str| fs::read_dir(dir).map_or(0, |entries| entries.count());
        self.facts["run"]["left_in_store"] = left("/tmp/store/containers").into();
        self.facts["after"] = json!({"host": host(), "groups": ground::containers_groups()});
    }
}

/// The call and its errno: of an error of ours, what follows "cannot do this: ".
fn refusal(error: &str) -> &str {
    let line = error.lines().next().unwrap_or_default();
    let line = line.strip_prefix("rubber: ").unwrap_or(line);
    line.strip_prefix("cannot ").and_then(|line| line.split_once(": ")).map_or(line, |(_, call)| call)
}

/// Whether process `pid` runs the very bytes of our own binary.
fn is_probe(pid: i32) -> bool {
    let theirs = fs::read(format!("/proc/{pid}/exe"));
    let ours = fs::read(ground::PROBE);
    matches!((theirs, ours), (Ok(theirs), Ok(ours)) if theirs == ours)
}

/// The whole mount table that process `pid` lives on. (Its own mountinfo leaves out what is not below its
/// root directory.) A child goes there to look.
fn table(pid: i32) -> Result<Vec<Mount>> {
    let door = File::open(format!("/proc/{pid}/ns/mnt"))?;
    let (mut reader, writer) = std::io::pipe()?;
    let scout = sys::fork("scout", move || {
        use nix::{
            fcntl::{AT_FDCWD, OFlag, openat},
            sched::{CloneFlags, setns},
            sys::stat::Mode,
        };
        // Opened on this side, as there need be no /proc on the other that knows us.
        let own = openat(AT_FDCWD, "/proc/self", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        setns(door, CloneFlags::CLONE_NEWNS)?;
        let file = openat(&own, "mountinfo", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        std::io::copy(&mut File::from(file), &mut &writer)?;
        Ok(0)
    })?;
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    nix::sys::wait::waitpid(scout, None)?;
    Ok(facts::mounts_in(&text))
}
