//! What strace(1) saw of each process, and what that process told of it.
//!
//! strace writes a file for each process, and in it the lines of the narration
//! stand as write(2) calls between the calls they tell of: so each call can be
//! held against the line that follows it.

use super::words::{split, unquote, without_paths};
use serde_json::Value;
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// What a call gave back: a number, or the name of an errno.
pub type Answer = Result<i64, String>;

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A call, in the words of the narration. `quiet` ones need not be told.
    Made { text: String, answer: Answer, path: Option<String>, quiet: bool },
    /// A line of the narration on a call; without an answer it comes before the call.
    Told { text: String, answer: Option<Answer> },
    /// A line of the narration on something else, and whole.
    Note(String),
}

#[derive(Debug, Default)]
pub struct Process {
    pub pid: String,
    /// Who it says it is.
    pub who: Vec<String>,
    pub events: Vec<Event>,
    /// Each write(2) to stderr.
    pub writes: Vec<String>,
    pub raw: String,
}

/// Runs `command`, words and all, below strace. `None` where strace cannot.
pub fn strace(before: &[&str], rubber: &Command, dir: &Path) -> Option<(Output, Vec<Process>)> {
    let mut words: Vec<_> = before.iter().map(Into::into).collect();
    words.extend(["strace", "-ff", "-y", "-s", "4096", "-o"].map(Into::into));
    words.push(dir.join("trace").into_os_string());
    words.push(rubber.get_program().to_owned());
    words.extend(rubber.get_args().map(ToOwned::to_owned));
    let output = Command::new(&words[0]).args(&words[1..]).stdin(Stdio::null()).output().ok()?;
    let files = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    let mut processes: Vec<_> =
        files.filter(|file| file.extension().is_some()).map(|file| read(&file)).collect();
    // In the order in which they spoke first; pids may have started over.
    processes.sort_by_key(|process| (process.pid.len(), process.pid.clone()));
    Some((output, processes)).filter(|(_, processes)| !processes.is_empty())
}

fn read(file: &PathBuf) -> Process {
    let raw = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
    let pid = file.extension().unwrap().to_string_lossy().into_owned();
    let mut process = Process { pid, raw, ..Process::default() };
    // What each descriptor was opened as: /proc/self/x, where -y says /proc/123/x.
    let mut opened = HashMap::new();
    for (n, line) in process.raw.clone().lines().enumerate() {
        let Some(call) = Call::parse(line) else { continue };
        // strace's own execve of rubber is the first line of the first process.
        if call.name == "execve" && n == 0 {
            continue;
        }
        let text = call.args.get(1).map(|text| unquote(text)).unwrap_or_default();
        // With -t, 2 becomes the container's terminal, and the story goes on where 2 was.
        let told = call.fd() == "2" || text.starts_with(r#"{"who""#) || text.starts_with(r#"{"step""#);
        if call.name == "write" && told {
            process.tell(&text);
            process.writes.push(text);
            continue;
        }
        if call.name == "openat"
            && let Ok(fd) = &call.answer
        {
            opened.insert(fd.to_string(), unquote(&call.args[1]));
        }
        process.events.extend(call.event(&opened));
        if call.name == "execve" && call.answer.is_ok() {
            // From here on it is the command.
            break;
        }
    }
    process
}

impl Process {
    fn tell(&mut self, text: &str) {
        let Ok(line) = serde_json::from_str::<Value>(text) else { return };
        let who = line["who"].as_str().unwrap_or_default().to_owned();
        if !self.who.contains(&who) {
            self.who.push(who);
        }
        let event = match line["call"].as_str() {
            None => Event::Note(line["note"].as_str().unwrap_or_default().into()),
            Some(call) => Event::Told {
                text: tidy(call),
                answer: line["result"].as_i64().map(|number| match line["errno"].as_str() {
                    Some(errno) => Err(errno.into()),
                    None => Ok(number),
                }),
            },
        };
        self.events.push(event);
    }
}

struct Call {
    name: String,
    args: Vec<String>,
    answer: Answer,
}

impl Call {
    /// `name(args) = answer`; nothing for `+++ exited +++` and calls that never answered.
    fn parse(line: &str) -> Option<Call> {
        let (name, rest) = line.split_once('(')?;
        let (args, answer) = rest
            .rsplit_once(" = ")
            .filter(|_| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))?;
        let args = args.trim_end().strip_suffix(')')?;
        let mut words = answer.split([' ', '<']);
        let (number, errno) = (words.next()?, words.next());
        let answer = match (name, number) {
            (_, "-1") => Err(errno?.to_owned()),
            ("umask", octal) => Ok(i64::from_str_radix(octal, 8).ok()?),
            _ => Ok(number.parse().unwrap_or(0)),
        };
        Some(Call { name: name.into(), args: split(args), answer })
    }

    /// The descriptor that comes first, without what -y says of it.
    fn fd(&self) -> String {
        self.args.first().map(|arg| without_paths(arg)).unwrap_or_default()
    }

    /// The call in the narration's words, for those that do something to the
    /// container or the host. Quiet is what may go untold.
    fn event(&self, opened: &HashMap<String, String>) -> Option<Event> {
        let args = &self.args;
        let named = opened.get(&self.fd()).cloned().unwrap_or_default();
        let plain = || {
            format!(
                "{}({})",
                self.name,
                args.iter().map(|arg| without_paths(arg)).collect::<Vec<_>>().join(", ")
            )
        };
        let here = |n: usize| without_paths(&args[n]) == "AT_FDCWD";
        let (text, quiet) = match self.name.as_str() {
            // Looking for who ended, and finding nobody, is no news.
            "wait4" => (format!("wait4(-1, {})", ended(&args[1])), true),
            "socket" => (plain(), true),
            // A file of the kernel's that cannot be opened is a write that failed.
            "openat" if self.answer.is_err() && args[2].contains("O_WRONLY") => {
                (format!("write({}", args[1]), true)
            }
            "openat" => (plain(), true),
            // Told as one line: which numbers are in use, is not the same each time.
            "close_range" if args[2] == "0" => (plain(), true),
            // Its flags in braces are in an order of their own, and O_RDONLY is none.
            "openat2" => (plain().replace("flags=O_RDONLY|", "flags="), true),
            // Of no change strace does not know the name.
            "mount_setattr" => (plain().replace(" /* MS_??? */", ""), false),
            // Asking for a limit is no news.
            "prlimit64" if args[2] != "NULL" => (plain(), false),
            // (A number may be a pipe's by now.)
            "write" if is_kernels(&named) && !args[0].contains("<pipe:") => {
                (format!("write({named:?}, {}, {})", args[1], args[2]), false)
            }
            "write" => return None,
            "clone" | "clone3" | "fork" | "vfork" => match is_fork(&args.join("|")) {
                true => ("fork()".into(), false),
                false => (plain(), false),
            },
            "mknodat" if here(0) && args.len() == 3 => (format!("mknod({}, {}, 0)", args[1], args[2]), false),
            "mknodat" if here(0) => (format!("mknod({})", args[1..].join(", ")), false),
            "mkdirat" if here(0) => (format!("mkdir({})", args[1..].join(", ")), false),
            "symlinkat" if here(1) => (format!("symlink({}, {})", args[0], args[2]), false),
            "unlinkat" if args[2] != "AT_REMOVEDIR" => return None,
            // Nothing there to remove is no news either.
            "unlinkat" if here(0) => (format!("rmdir({})", args[1]), self.answer == Err("ENOENT".into())),
            // A copy of an image, told as one line, gives away each of its files.
            "chown" | "fchown" => (plain(), true),
            // Told by its length.
            "seccomp" => {
                let length = args[2].split(',').next().unwrap_or_default().trim_end_matches('}');
                (format!("seccomp({}, {}, {length}}})", args[0], args[1]), false)
            }
            // Of its attributes those are told that say what it does.
            "bpf" => {
                let told = ["prog_type=", "insn_cnt=", "attach_type="];
                let fields = args[1].trim_matches(['{', '}']).split(", ");
                let fields: Vec<_> =
                    fields.filter(|field| told.iter().any(|name| field.starts_with(name))).collect();
                (format!("bpf({}, {{{}}})", args[0], fields.join(", ")), false)
            }
            "capset" => (capset(&args[1]).unwrap_or_else(plain), false),
            "execve" => (execve(args), false),
            "kill" => (format!("kill({}, {})", args[0], signal(&args[1])), false),
            "ioctl" if args[1] == "TIOCGPTPEER" => {
                (format!("ioctl({}, {}, {:#x})", self.fd(), args[1], open_flags(&args[2])), false)
            }
            "ioctl"
                if args[1].starts_with("TIOCS") && args[1] != "TIOCSWINSZ"
                    || args[1].starts_with("SIOCS") =>
            {
                (plain(), false)
            }
            "ioctl" => return None,
            "prctl" if PRCTLS.contains(&args[0].as_str()) => (plain(), false),
            name if MUST.contains(&name) => (plain(), false),
            _ => return None,
        };
        Some(Event::Made { text: tidy(&text), answer: self.answer.clone(), path: self.path(), quiet })
    }

    /// The file that a call makes or takes away, by its full name.
    fn path(&self) -> Option<String> {
        let (dir, name) = match self.name.as_str() {
            "mkdir" | "rmdir" | "mknod" => (None, &self.args[0]),
            "mkdirat" | "mknodat" | "unlinkat" => (Some(&self.args[0]), &self.args[1]),
            "symlinkat" => (Some(&self.args[1]), &self.args[2]),
            "linkat" => (Some(&self.args[2]), &self.args[3]),
            _ => return None,
        };
        let name = unquote(name);
        let dir = dir.and_then(|dir| dir.split_once('<')?.1.rsplit_once('>')).map_or("", |(dir, _)| dir);
        Some(if name.starts_with('/') { name } else { format!("{dir}/{name}") })
    }
}

/// What must not go unsaid, beside those that have an arm of their own above.
const MUST: &[&str] = &[
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "chdir",
    "fchdir",
    "unshare",
    "setns",
    "mkdir",
    "rmdir",
    "mknod",
    "symlink",
    "mkdirat",
    "mknodat",
    "symlinkat",
    "unlinkat",
    "sethostname",
    "setdomainname",
    "setsid",
    "setpgid",
    "setgroups",
    "setgid",
    "setuid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "close_range",
    "umask",
    "link",
    "linkat",
    "rename",
    "renameat",
    "renameat2",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "move_mount",
    "open_tree",
    "mount_setattr",
    "setrlimit",
    "keyctl",
    "tgkill",
    "pidfd_send_signal",
];

const PRCTLS: &[&str] = &[
    "PR_CAPBSET_DROP",
    "PR_SET_PDEATHSIG",
    "PR_SET_DUMPABLE",
    "PR_SET_NO_NEW_PRIVS",
    "PR_SET_SECUREBITS",
    "PR_CAP_AMBIENT",
    "PR_SET_SECCOMP",
];

fn is_kernels(path: &str) -> bool {
    path.starts_with("/sys/") || path.starts_with("/proc/")
}

/// fork(3) is clone(2) with no flags but those with which the C library keeps its books.
fn is_fork(args: &str) -> bool {
    let flags = args.split("flags=").nth(1).unwrap_or_default();
    let flags =
        flags.split([',', '|', '}']).take_while(|flag| flag.starts_with("CLONE_") || *flag == "SIGCHLD");
    let flags: Vec<_> = flags.collect();
    !flags.is_empty()
        && flags.iter().all(|flag| ["CLONE_CHILD_CLEARTID", "CLONE_CHILD_SETTID", "SIGCHLD"].contains(flag))
}

fn ended(status: &str) -> String {
    let number =
        |text: &str| status.split(text).nth(1).map(|rest| rest.trim_end_matches(['}', ']']).to_owned());
    match (number("WEXITSTATUS(s) == "), number("WTERMSIG(s) == ")) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(name)) => format!("signal {}", signal(name.split(' ').next().unwrap_or_default())),
        _ => status.into(),
    }
}

fn signal(name: &str) -> String {
    name.parse::<nix::sys::signal::Signal>().map_or(name.into(), |signal| (signal as i32).to_string())
}

fn open_flags(names: &str) -> i32 {
    use nix::fcntl::OFlag;
    let flag = |name: &str| {
        name.strip_prefix("0x").map_or_else(
            || OFlag::from_name(name).map_or(0, |flag| flag.bits()),
            |hex| i32::from_str_radix(hex, 16).unwrap_or(0),
        )
    };
    names.split('|').map(flag).fold(0, |all, one| all | one)
}

/// `{effective=1<<CAP_CHOWN|..., permitted=..., inheritable=0}` as masks, the two equal ones said once.
fn capset(sets: &str) -> Option<String> {
    let mask = |name: &str| {
        let set = split(sets.trim_matches(['{', '}']))
            .into_iter()
            .find_map(|set| Some(set.strip_prefix(name)?.strip_prefix('=')?.to_owned()))?;
        let bit = |word: &str| match word.strip_prefix("1<<") {
            Some(name) => name.parse::<caps::Capability>().ok().map(|capability| capability.bitmask()),
            None => {
                word.strip_prefix("0x").map_or(word.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
            }
        };
        set.split('|').map(bit).try_fold(0, |all, one| Some(all | one?))
    };
    let (effective, permitted, inheritable) = (mask("effective")?, mask("permitted")?, mask("inheritable")?);
    (effective == permitted)
        .then(|| format!("capset(effective = permitted = {effective:#x}, inheritable = {inheritable})"))
}

/// strace counts the environment in a comment: `0x... /* 3 vars */`.
fn execve(args: &[String]) -> String {
    let count = args[2].split_whitespace().nth(2).unwrap_or("?");
    format!("execve({}, {}, {count} variables)", args[0], args[1])
}

/// One way to write what can be written in several: flags in order, octal and
/// hexadecimal numbers without leading zeros, O_RDONLY (which is 0) left out.
fn tidy(text: &str) -> String {
    let Some((name, args)) =
        text.split_once('(').and_then(|(name, rest)| Some((name, rest.strip_suffix(')')?)))
    else {
        return text.into();
    };
    let word = |arg: String| {
        let is_flags = arg.contains('|')
            && arg.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"_|".contains(&b));
        if is_flags {
            let mut flags: Vec<_> = arg.split('|').filter(|flag| *flag != "O_RDONLY").collect();
            flags.sort();
            return flags.join("|");
        }
        match arg.strip_prefix('0').filter(|_| ["mkdir", "umask"].contains(&name)) {
            Some(octal) => format!("0{}", octal.trim_start_matches('0')),
            None => arg.replace("0x0)", "0)"),
        }
    };
    format!("{name}({})", split(args).into_iter().map(word).collect::<Vec<_>>().join(", "))
}
