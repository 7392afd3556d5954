//! The attacks: each a word of attack.c's, what it is aimed at, and the lock that stops it.

/// How it is carried out.
#[derive(Clone, Copy, PartialEq)]
pub enum How {
    /// By the container's command.
    Inside,
    /// The same, with a terminal of the caller's for stdin and none of its own.
    AtTerminal,
    /// It is the container's command itself, with no shell before it.
    AsCommand,
    /// With a file of the caller's for stdout that only its owner may read.
    IntoFile,
    /// With a directory of the caller's for stdin.
    FromDirectory,
    /// By a container's process, against another that the runtime brings into its pid namespace meanwhile.
    Newcomers,
    /// No flag takes the lock off, so that it works is seen without any container.
    NoContainer,
}

impl How {
    pub fn reads_stdin(self) -> bool {
        matches!(self, How::AtTerminal | How::FromDirectory)
    }
}

pub struct Attack {
    /// What it tries, as the table says it.
    pub name: &'static str,
    pub how: How,
    /// For attack.c; a word such as `{canary}` is a thing of the stage's.
    pub words: &'static [&'static str],
    /// For `rubber run`, where the lock is one that has to be asked for; the name tells it.
    pub with: &'static [&'static str],
    /// A file that a kernel without such a thing does not have.
    pub needs: &'static str,
    /// For `rubber run`, to take the lock off.
    pub without: &'static [&'static str],
}

/// Which attacks can be tried in one container, with the flags that any of them wants: what comes of each tells nothing
/// of another's. Making a container is what takes the time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Company {
    Plain,
    /// With flags for what each process is.
    Asking,
    /// With those that take a cgroup, which not every user has.
    Limited,
    /// In a plain one that is there already, or in one of its own.
    Alone,
}

impl Company {
    pub const SHARED: [Company; 3] = [Company::Plain, Company::Asking, Company::Limited];
}

impl Attack {
    /// How the lock is taken off, as the table says it.
    pub fn lock(&self) -> String {
        match (self.how, self.without) {
            (How::Inside, []) => "not asked for".into(),
            (How::Inside, flags) => format!("`{}`", flags.join(" ")),
            _ => "no container".into(),
        }
    }

    pub fn company(&self) -> Company {
        match (self.how, self.with) {
            (How::Inside | How::NoContainer, []) => Company::Plain,
            (_, ["-m" | "--pids-limit", ..]) => Company::Limited,
            (_, ["-w", ..]) => Company::Alone,
            (How::Inside | How::NoContainer, _) => Company::Asking,
            _ => Company::Alone,
        }
    }
}

const fn row(name: &'static str, words: &'static [&'static str], without: &'static [&'static str]) -> Attack {
    Attack { name, how: How::Inside, words, with: &[], needs: "/", without }
}

impl Attack {
    const fn how(self, how: How) -> Attack {
        Attack { how, ..self }
    }

    const fn needs(self, needs: &'static str) -> Attack {
        Attack { needs, ..self }
    }

    const fn with(self, with: &'static [&'static str]) -> Attack {
        Attack { with, ..self }
    }
}

/// Without what a filter or a set of capabilities forbids.
const POWERS: &[&str] = &["--without", "capabilities"];
/// For what the filter lets nobody do, whatever powers there are.
const POWERS_AND_FILTER: &[&str] = &["--without", "capabilities,seccomp"];

#[rustfmt::skip]
pub const ATTACKS: &[Attack] = &[
    // Files of the host's.
    row("leave a chroot by a second one",           &["breakout", "{canary}"],           &["--without", "pivot_root"]),
    row("a file through /proc/PID/root",            &["open", "{root}/{canary}"],        &["--without", "pid,capabilities"]),
    row("a descriptor left open (CVE-2024-21626)",  &["descriptor"],                     &[]).how(How::NoContainer),
    row("a working directory left open (CVE-2024-21626)", &["directory", "{canary}"],    &[]).how(How::NoContainer),
    row("`-w /proc/self/fd/7` (CVE-2024-21626)",    &["directory", "{canary}"],          &[]).how(How::NoContainer).with(&["-w", "/proc/self/fd/7"]),
    row("`/proc/self/fd/7/PROGRAM` as the command (CVE-2024-21626)", &["/proc/self/fd/7/shared/attack", "program"], &[]).how(How::AsCommand),
    row("a file by its number, open_by_handle_at",  &["by_handle", "/shared", "{handle}"], &["--cap-add", "dac_read_search"]),
    row("mknod and open of a disk",                 &["disk", "{disk}"],                 &["--without", "devices"]),
    row("read /proc/timer_list",                    &["reads", "/proc/timer_list"],      &["--privileged"]).needs("/proc/timer_list"),
    row("write core_pattern",                       &["writes", "/proc/sys/kernel/core_pattern"], &["--privileged"]),
    row("write a kernel parameter of the host's",   &["writes", "/proc/sys/kernel/printk_ratelimit_burst"], &["--privileged"]),
    row("write sysrq-trigger",                      &["writes", "/proc/sysrq-trigger"],  &["--privileged"]).needs("/proc/sysrq-trigger"),
    row("write a setting in /sys",       &["writes", "/sys/kernel/mm/transparent_hugepage/enabled"], &["--privileged"]),
    row("take off a limit of its own cgroup",       &["writes", "{limit}"],              &["--privileged"]),
    row("release_agent of a cgroup tree",           &["release_agent"],                  &["--without", "capabilities,ipc"]),
    row("rubber itself through /proc/1/exe, `--init --cap-add sys_ptrace` (CVE-2019-5736)", &["chmods", "{init}"], &[]).how(How::NoContainer).with(&["--init", "--cap-add", "sys_ptrace"]),
    row("read again the 0600 file that stdout is",  &["reopens"],                        &[]).how(How::IntoFile),
    row("a file in the directory that stdin is",    &["looks_around", "canary"],         &[]).how(How::FromDirectory),
    // Mounts.
    row("mount a filesystem",                       &["mounts", "/tmp"],                 POWERS),
    row("make a read-only volume writable",         &["remounts", "/shared"],            POWERS),
    row("umount what hides a part of /proc",        &["unmounts", "/proc/sys"],          POWERS),
    // Processes, keys and queues of the host's.
    row("signal a process",                         &["kills", "{sleeper}"],             &["--without", "pid"]),
    row("ptrace a process",                         &["traces", "{sleeper}"],            &["--without", "pid,capabilities"]),
    row("connect to an abstract socket",            &["socket", "{socket}"],             &["--without", "net"]),
    row("open a POSIX message queue",               &["queue", "{queue}"],               &["--without", "ipc"]),
    row("read the caller's session keyring",        &["keyring", "{key}"],               &[]).how(How::NoContainer),
    row("read that keyring, `--security-opt seccomp=unconfined`", &["keyring", "{key}"],          &[]).how(How::NoContainer).with(&["--security-opt", "seccomp=unconfined"]),
    row("type at the caller's terminal (TIOCSTI)",  &["types"],                          &[]).how(How::AtTerminal),
    row("type there, with rubbish in the command's upper half", &["types_wide"],           &[]).how(How::AtTerminal),
    row("seize a process on its way into the same pid namespace, `--pid host`", &["newcomers", "{mark}", "{canary}"], &[]).how(How::Newcomers).with(&["--pid", "host"]),
    // The kernel, of which there is one.
    row("bpf",                                      &["bpf"],                            POWERS),
    row("perf_event_open on all processes",         &["perf"],                           POWERS),
    row("kexec_load",                               &["kexec"],                          POWERS_AND_FILTER).needs("/sys/kernel/kexec_loaded"),
    row("init_module",                              &["module"],                         POWERS).needs("/proc/modules"),
    row("read the kernel's log",                    &["log"],                            POWERS),
    row("reboot",                                   &["restart"],                        POWERS),
    row("swapon",                                   &["swap"],                           POWERS_AND_FILTER),
    row("set the clock",                            &["clock"],                          POWERS),
    // More than it was given.
    row("all capabilities in a new user namespace", &["userns"],                         &["--without", "seccomp"]),
    row("a socket to the machine's host, with rubbish in the family's upper half", &["vsock"], &["--without", "seccomp"]),
    row("a packet socket, `--cap-drop net_raw`",     &["raw"],                             &["--cap-add", "net_raw"]).with(&["--cap-drop", "net_raw"]),
    row("root through a set-user-ID program, `--security-opt no-new-privileges`", &["setuid"], &[]).with(&["--security-opt", "no-new-privileges"]),
    row("an inheritable capability of the caller's (CVE-2022-29162)", &["inheritable"],  POWERS),
    // What there is only so much of.
    row("a fork bomb, `--pids-limit 50`",                              &["forks", "200"],                   &["--without", "memory"]).with(&["--pids-limit", "50"]),
    row("memory, `-m 32m`",                                   &["memory", "96"],                   &["--without", "memory"]).with(&["-m", "32m", "--memory-swap", "32m"]),
    row("descriptors, `--ulimit nofile=100`",                              &["descriptors", "200"],             &[]).with(&["--ulimit", "nofile=100"]),
    row("message queues, `--ulimit msgqueue=100000`", &["queues", "5"],                  &[]).with(&["--ulimit", "msgqueue=100000"]),
    row("more of /dev/shm than 64 MiB",                  &["fills", "/dev/shm/much", "80"],   &["--shm-size", "128m"]),
];
