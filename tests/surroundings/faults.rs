//! Every system call of a start fails once: it ends all the same, says so, leaves nothing, and if the command
//! has begun, then in the very container that was asked for.
//!
//! A part of them by default, the same each time; with RUBBER_TEST_FAULTS=all all of them, or with the name of a call
//! in place of `all` each of those.

use super::*;
use std::{collections::BTreeMap, fs::File, os::unix::fs::FileExt};
use tracer::{Fault, Place, Traced, trace};

/// What the command ends with: nobody else does.
const ITS_CODE: i32 = 7;

const ERRORS: [i32; 3] = [libc::EIO, libc::ENOMEM, libc::EINTR];

/// How many faults a way gets by default.
const SOME: usize = 120;

/// What the C library and Rust do before and beside our own code, and an end: nobody can answer for a failure there.
#[rustfmt::skip]
const NOT_OURS: &[&str] =
    &["exit_group", "exit", "getrandom", "rt_sigreturn", "close", "munmap", "brk", "mmap", "mprotect", "mremap", "madvise"];

struct Start {
    store: PathBuf,
    words: Vec<String>,
    told: File,
}

impl Start {
    fn new(name: &str, flags: &str) -> Start {
        let store = lab::scratch().join(format!("faults-{name}"));
        let words = format!("run --cidfile {} {flags} busybox sh -c", store.with_extension("id").display());
        let words = words.split_whitespace().chain(["exit 7"]).map(str::to_owned).collect();
        let start = Start { store, words, told: tempfile() };
        let made = start.rubber(["run", "busybox", "true"]).stderr(Stdio::null()).status().unwrap();
        assert!(made.success());
        start
    }

    fn rubber<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(RUBBER);
        command.arg("--root").arg(&self.store).args(words).stdin(Stdio::null()).env_clear();
        command.env("HOME", lab::scratch()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    fn traced(&self, fault: Option<Fault>) -> Option<Traced> {
        self.told.set_len(0).unwrap();
        let _ = fs::remove_file(self.id_file());
        let mut command = self.rubber(self.words.iter().map(String::as_str));
        command.stdout(self.told.try_clone().unwrap()).stderr(self.told.try_clone().unwrap());
        trace(&mut command, fault, 20)
    }

    /// Where it writes its id, when it has one.
    fn id_file(&self) -> PathBuf {
        self.store.with_extension("id")
    }

    /// Its groups, in all trees.
    fn groups(&self) -> Vec<PathBuf> {
        let Ok(id) = fs::read_to_string(self.id_file()) else { return vec![] };
        let root = PathBuf::from("/sys/fs/cgroup");
        let trees = fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.path());
        let groups = trees.chain([root]).map(|tree| tree.join(format!("rubber-{id}")));
        groups.filter(|group| !id.is_empty() && group.exists()).collect()
    }

    fn said(&self) -> String {
        let mut bytes = vec![0; self.told.metadata().unwrap().len() as usize];
        self.told.read_exact_at(&mut bytes, 0).unwrap();
        text(&bytes)
    }

    fn left(&self) -> Vec<String> {
        let dir = fs::read_dir(self.store.join("containers")).into_iter().flatten().flatten();
        dir.map(|entry| text(entry.file_name().as_encoded_bytes())).collect()
    }

    /// What is wrong with how it went.
    fn judge(&self, traced: &Traced, picture: &str) -> Vec<String> {
        let said = self.said();
        let mut wrong = vec![];
        if ["panicked", "RUST_BACKTRACE", "Os {", "Err("].iter().any(|word| said.contains(word)) {
            wrong.push("a panic".into());
        }
        let code = traced.status.map(|status| match libc::WIFEXITED(status) {
            true => libc::WEXITSTATUS(status),
            false => 1000 + libc::WTERMSIG(status),
        });
        match code {
            None => wrong.push("it hangs".into()),
            Some(ITS_CODE) if traced.picture.is_none() => wrong.push("a success without a command".into()),
            Some(ITS_CODE) => {}
            Some(125..=127) if said.starts_with("rubber: ") => {}
            Some(code) => wrong.push(format!("ends with {code}")),
        }
        if let Some(begun) = traced.picture.as_ref().filter(|begun| *begun != picture) {
            let pairs = picture.lines().zip(begun.lines()).filter(|(asked, got)| asked != got);
            let pairs: Vec<_> = pairs.take(2).map(|(asked, got)| format!("{got:?} for {asked:?}")).collect();
            wrong.push(format!("another container: {pairs:?}"));
        }
        // What it could not remove itself the next command can.
        if !self.left().is_empty() {
            let swept = self.rubber(["clean"]).output().unwrap();
            if !swept.status.success() || !self.left().is_empty() {
                wrong.push(format!("left: {:?} {swept:?}", self.left()));
            }
        }
        if !self.groups().is_empty() {
            wrong.push(format!("left: {:?}", self.groups()));
        }
        wrong
    }

    /// Each call of ours, in each process.
    fn places(&self, usual: &Traced) -> Vec<(Place, String)> {
        let names = names();
        let main = (libc::SYS_rt_sigaction, libc::SIGCHLD as u64);
        let mut places = vec![];
        for (born, calls) in usual.calls.iter().enumerate() {
            let mut is_ours = born > 0;
            for (n, call) in calls.iter().enumerate() {
                let name = names.get(&call.0).cloned().unwrap_or(call.0.to_string());
                // It is the first thing main does; after an execve(2) main comes anew.
                is_ours |= *call == main;
                if is_ours && !NOT_OURS.contains(&name.as_str()) {
                    places.push(((born, n), name.clone()));
                }
                is_ours &= !name.starts_with("execve");
            }
        }
        places
    }
}

/// It has no name and is its holder's alone.
fn tempfile() -> File {
    let name = format!("told-{}-{:?}", std::process::id(), std::thread::current().id());
    let path = lab::scratch().join(name);
    let file = fs::OpenOptions::new().read(true).append(true).create(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    file
}

/// The names of this machine's calls, as our own table has them.
fn names() -> BTreeMap<i64, String> {
    let table = include_str!("../../src/filter/calls.rs").split("(\"").skip(1);
    let entry = |entry: &str| {
        let mut words = entry.split(')').next()?.split(", ");
        let name = words.next()?.trim_end_matches('"').to_owned();
        Some((words.next()?.parse().ok()?, name))
    };
    table.filter_map(entry).collect()
}

/// Has one call after the other fail, with one error after the other.
fn all_fail(way: &str, flags: &str) {
    if !lab::is_root() {
        return lab::skip_this(NOT_THEIRS);
    }
    let start = Start::new(way, flags);
    let Some(usual) = start.traced(None) else { return lab::skip_this("nobody may trace here") };
    let picture = usual.picture.clone().expect("a command");
    assert_eq!(start.judge(&usual, &picture), Vec::<String>::new(), "{}", start.said());
    let mut places = start.places(&usual);
    assert!(usual.calls.len() > 1 && places.len() > 300, "{} calls", places.len());
    let asked = std::env::var("RUBBER_TEST_FAULTS").ok();
    places.retain(|(_, name)| asked.as_ref().is_none_or(|asked| asked == "all" || asked == name));
    let stride = if asked.is_some() { 1 } else { places.len() * ERRORS.len() / SOME };
    // One that has no factor in common with the errors meets each of them.
    let stride = stride + usize::from(stride > 1 && stride.is_multiple_of(ERRORS.len()));
    let mut wrong = vec![];
    for turn in (0..places.len() * ERRORS.len()).step_by(stride) {
        let ((place, name), errno) = (&places[turn / ERRORS.len()], ERRORS[turn % ERRORS.len()]);
        let traced = start.traced(Some(Fault { place: *place, errno })).unwrap();
        for what in start.judge(&traced, &picture) {
            let errno = nix::errno::Errno::from_raw(errno);
            wrong.push(format!("{way}: {name} {place:?} {errno}: {what}: {:?}", start.said()));
            lab::note(wrong.last().unwrap());
        }
    }
    assert!(wrong.is_empty(), "{} of {} went wrong: {wrong:#?}", wrong.len(), places.len() * ERRORS.len());
    let _ = fs::remove_file(start.id_file());
    fs::remove_dir_all(start.store).unwrap();
}

#[test]
fn faults_of_a_usual_start() {
    all_fail("usual", "");
}

#[test]
fn faults_of_a_start_with_much_asked_for() {
    let shared = lab::scratch().join("faults-shared");
    fs::create_dir_all(&shared).unwrap();
    let flags = format!(
        "-v {}:/v:ro --tmpfs /t -w /w/x -u 1000:1000 --device /dev/zero:/dev/nul --ulimit nofile=100 --sysctl net.ipv4.ip_forward=1 --read-only \
         --security-opt no-new-privileges --init -e A=b",
        shared.display()
    );
    all_fail("much", &flags);
}
