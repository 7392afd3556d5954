//! What the attacks are aimed at: stand-ins for things of the host's, gone with the stage.

use crate::{
    attacks::{Attack, How},
    lab,
    pty::Terminal,
};
use std::{
    ffi::CString,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::{
        fd::AsRawFd,
        linux::net::SocketAddrExt,
        unix::{
            fs::{MetadataExt, PermissionsExt},
            net::{SocketAddr, UnixListener},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard},
    time::Instant,
};

pub struct Stage {
    dir: tempfile::TempDir,
    /// Holds still, and bears signals.
    sleeper: Child,
    _socket: UnixListener,
    socket: String,
    /// A loop device over the secret.
    disk: Option<PathBuf>,
    _only_one: MutexGuard<'static, ()>,
}

impl Stage {
    /// None where there is no compiler.
    pub fn new() -> Option<Stage> {
        static ONLY_ONE: Mutex<()> = Mutex::new(());
        let only_one = ONLY_ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let dir = attack()?;
        fs::write(dir.path().join("canary"), format!("secret{:600}\n", "")).unwrap();
        let sleeper =
            Command::new("sh").args(["-c", "trap : USR1; while :; do sleep 1; done"]).spawn().unwrap();
        let socket = format!("rubber-attacks-{}", std::process::id());
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&socket).unwrap()).unwrap();
        let disk = lab::is_root().then(|| loop_over(&dir.path().join("canary"))).flatten();
        make_queue();
        // Built, and its image made, before anything is looked at.
        lab::say(&[], "true");
        Some(Stage { dir, sleeper, _socket: listener, socket, disk, _only_one: only_one })
    }

    fn canary(&self) -> PathBuf {
        self.dir.path().join("canary")
    }

    fn shared(&self) -> PathBuf {
        self.dir.path().join("shared")
    }

    /// What came of it: `got …`, or the call that was refused. None, and said, where it cannot be tried here.
    pub fn try_out(&self, attack: &Attack, flags: &[&str]) -> Option<String> {
        let words = self.words_here(attack)?;
        let result = match attack.how {
            How::Newcomers => {
                let attacker = self.inside(flags, &["sh", "-c", &format!("exec /shared/attack {words}")]);
                self.meets(attacker, self.inside(&[], &["/shared/attack", &newcomer()]))
            }
            how => {
                let stdin: &[&str] = if how.reads_stdin() { &["-i"] } else { &[] };
                let script = format!("{PREPARE}; exec /shared/attack {words}");
                let words = if how == How::AsCommand { attack.words } else { &["sh", "-c", &script] };
                self.says(how, self.inside(&[stdin, flags].concat(), words))
            }
        };
        if_made(attack, told(attack, &result))
    }

    /// The attack with no container around it.
    pub fn bare(&self, attack: &Attack) -> Option<String> {
        let mut command = Command::new("sh");
        // The first process there is none of ours.
        let words = self.words(attack)?.join(" ").replace("/proc/1/", "/proc/self/");
        let attack_itself = format!("{}/attack ", self.shared().display());
        let program = if attack.how == How::AsCommand { "" } else { &attack_itself };
        command.args(["-c", &format!("exec {program}{words}")]);
        self.as_caller(&mut command);
        let said = match attack.how {
            How::Newcomers => self.meets(command, self.inside(&[], &["/shared/attack", &newcomer()])),
            how => self.says(how, command),
        };
        Some(told(attack, &said))
    }

    /// The same, as one line of a shell's. None, and said, where this machine has no such thing.
    pub fn words_here(&self, attack: &Attack) -> Option<String> {
        let words = self.words(attack).filter(|_| Path::new(attack.needs).exists());
        if words.is_none() {
            lab::note(&format!("not tried: {}: this machine has no such thing to attack", attack.name));
        }
        Some(words?.join(" "))
    }

    /// `rubber run FLAGS busybox WORDS`
    pub fn inside(&self, flags: &[&str], words: &[&str]) -> Command {
        let volume = format!("{}:/shared:ro", self.shared().display());
        self.called(lab::rubber([&["run", "-v", &volume][..], flags, &["busybox"], words].concat()))
    }

    /// By a caller with something to lose.
    pub fn called(&self, mut command: Command) -> Command {
        self.as_caller(&mut command);
        command
    }

    /// Runs it to its end, and has all that it said.
    pub fn says(&self, how: How, mut command: Command) -> String {
        match how {
            How::AtTerminal => return Terminal::start(&mut command).end().1,
            How::FromDirectory => command.stdin(File::open(self.dir.path()).unwrap()),
            _ => command.stdin(Stdio::null()),
        };
        let lent = self.dir.path().join("lent");
        if how == How::IntoFile {
            fs::write(&lent, "secret\n").unwrap();
            fs::set_permissions(&lent, fs::Permissions::from_mode(0o600)).unwrap();
            command.stdout(File::options().append(true).open(&lent).unwrap());
        } else {
            command.stdout(Stdio::piped());
        }
        let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let into_file = if how == How::IntoFile { fs::read_to_string(lent).unwrap() } else { String::new() };
        into_file + &lab::text(&output.stdout) + &lab::text(&output.stderr)
    }

    /// What an attacker says that looks out for newcomers, and has enough of them.
    pub fn meets(&self, mut attacker: Command, mut newcomer: Command) -> String {
        let mut attacker = attacker.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(attacker.stdout.take().unwrap());
        let mut text = String::new();
        said.read_line(&mut text).unwrap();
        assert_eq!(text, "ready\n");
        let begin = Instant::now();
        while attacker.try_wait().unwrap().is_none() {
            newcomer.output().unwrap();
            if begin.elapsed().as_secs() > 120 {
                let _ = attacker.kill();
                panic!("an attacker does not see enough of the newcomers");
            }
        }
        said.read_to_string(&mut text).unwrap();
        text
    }

    /// Its caller has a secret open, stands in a directory, and passes on what should not come along.
    fn as_caller(&self, command: &mut Command) {
        let (file, dir) = (File::open(self.canary()).unwrap(), File::open(self.dir.path()).unwrap());
        let key = CString::new(key()).unwrap();
        command.current_dir(self.dir.path());
        // SAFETY: system calls only, with what is ours.
        unsafe {
            command.pre_exec(move || {
                libc::dup2(dir.as_raw_fd(), 7);
                libc::dup2(file.as_raw_fd(), 8);
                // A session keyring of its own, with a key in it.
                libc::syscall(libc::SYS_keyctl, 1_i64, std::ptr::null::<i8>());
                libc::syscall(
                    libc::SYS_add_key,
                    c"user".as_ptr(),
                    key.as_ptr(),
                    c"secret".as_ptr(),
                    6_usize,
                    -3_i64,
                );
                if lab::is_root() {
                    let _ = caps::raise(None, caps::CapSet::Inheritable, caps::Capability::CAP_NET_RAW);
                }
                Ok(())
            });
        }
    }

    /// With what they stand for; None where there is no such thing here.
    fn words(&self, attack: &Attack) -> Option<Vec<String>> {
        let mut all = Vec::new();
        for word in attack.words {
            all.push(match *word {
                "{canary}" => self.canary().display().to_string(),
                "{root}/{canary}" => format!("/proc/{}/root{}", self.sleeper.id(), self.canary().display()),
                "{sleeper}" => self.sleeper.id().to_string(),
                "{socket}" => self.socket.clone(),
                "{queue}" => QUEUE.into(),
                "{limit}" if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() => {
                    "/sys/fs/cgroup/pids.max".into()
                }
                "{limit}" => "/sys/fs/cgroup/pids/pids.max".into(),
                "{init}" => "/proc/1/exe".into(),
                "{key}" => key(),
                // Root may open what it has made a node of, and that must be ours.
                "{disk}" if lab::is_root() => number(self.disk.as_ref()?),
                "{disk}" => "7:0".into(),
                "{mark}" => std::process::id().to_string(),
                "{handle}" => handle(&self.canary())?,
                word => word.into(),
            });
        }
        Some(all)
    }
}

/// The command of one that comes in, for the attacker to know it by.
pub fn newcomer() -> String {
    format!("newcomer-{}", std::process::id())
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.sleeper.kill();
        let _ = self.sleeper.wait();
        if let Some(disk) = &self.disk {
            let _ = Command::new("losetup").arg("-d").arg(disk).status();
        }
        // SAFETY: a name of ours.
        unsafe { libc::mq_unlink(CString::new(QUEUE).unwrap().as_ptr()) };
    }
}

/// Its own copy may be set-user-ID, which a volume's cannot be.
pub const PREPARE: &str = "cp /shared/attack /tmp/gift; chmod 4755 /tmp/gift";
pub const NO_CGROUP: &str = "rubber: cannot make a cgroup";
const REFUSALS: [&str; 2] = ["rubber: ", "rubber-oci: "];

const QUEUE: &str = "/rubber-attacks";

fn make_queue() {
    let name = CString::new(QUEUE).unwrap();
    // SAFETY: no attributes are given.
    unsafe {
        let queue = libc::mq_open(
            name.as_ptr(),
            libc::O_CREAT | libc::O_RDONLY,
            0o644,
            std::ptr::null::<libc::mq_attr>(),
        );
        libc::close(queue);
    }
}

fn key() -> String {
    format!("rubber-attacks-{}", std::process::id())
}

/// A directory with the attacks in `shared/attack`. None where there is no compiler.
pub fn attack() -> Option<tempfile::TempDir> {
    if !lab::has("gcc") {
        lab::skip_this("there is no gcc to build the attacks with");
        return None;
    }
    let dir = tempfile::tempdir_in(lab::scratch()).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.path().join("shared")).unwrap();
    build(&dir.path().join("shared/attack"));
    Some(dir)
}

fn build(program: &Path) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/escapes/attack.c");
    let built = Command::new("gcc").args(["-static", "-O1", "-o"]).arg(program).arg(source).status().unwrap();
    assert!(built.success(), "gcc {source}");
}

/// The last line is the attack's, or rubber's.
pub fn told(attack: &Attack, text: &str) -> String {
    // At a terminal what it typed may stand before it.
    let is_told = |line: &str| line.find("got ").or(line.contains(": E").then_some(0));
    let told = text.lines().map(str::trim).filter_map(|line| Some(&line[is_told(line)?..])).next_back();
    let refusal = || text.lines().find(|line| REFUSALS.iter().any(|begin| line.starts_with(begin)));
    told.or_else(refusal)
        .unwrap_or_else(|| panic!("{}: it said nothing of itself: {text}", attack.name))
        .into()
}

/// An ordinary user may have no cgroup to limit anything in; and then there is no container.
pub fn if_made(attack: &Attack, result: String) -> Option<String> {
    if result.starts_with(NO_CGROUP) {
        lab::note(&format!("not tried: {}: {result}", attack.name));
        return None;
    }
    Some(result)
}

fn loop_over(file: &Path) -> Option<PathBuf> {
    let output = Command::new("losetup").args(["--find", "--show", "--read-only"]).arg(file).output().ok()?;
    output.status.success().then(|| lab::text(&output.stdout).trim().into())
}

fn number(device: &Path) -> String {
    let device = fs::metadata(device).unwrap().rdev();
    format!("{}:{}", libc::major(device), libc::minor(device))
}

/// What the kernel calls the file by, wherever it is seen from: its type, and its bytes.
fn handle(file: &Path) -> Option<String> {
    let name = CString::new(file.to_str()?).ok()?;
    let (mut handle, mut mount) = ([0_u8; 136], 0);
    handle[0] = 128;
    // SAFETY: struct file_handle is two ints and then as many bytes as the first of them says.
    let done = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            name.as_ptr(),
            handle.as_mut_ptr(),
            &raw mut mount,
            0,
        )
    };
    let bytes =
        || handle[8..8 + usize::from(handle[0])].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    (done == 0).then(|| format!("{} {}", handle[4], bytes()))
}
