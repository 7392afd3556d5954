//! The whole workshop in a room without a network, by somebody who has a rubber and nothing else of ours.

use crate::{lab, pty::Terminal, writes::init};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

/// Whether there is a cargo, and a way to be without a network; if not, that is told as a skip.
fn can_do_without() -> bool {
    let is_emulated = std::env::var("RUBBER_TEST_LANE").is_ok_and(|lane| lane.starts_with("vm"));
    let cargo = without_network("cargo").arg("--version").output();
    let why_not = match cargo {
        _ if is_emulated => "nobody waits for cargo on an emulated processor",
        Ok(output) if output.status.success() => return true,
        _ => "there is no cargo, or no unshare(1) that takes the network away",
    };
    lab::skip_this(why_not);
    false
}

/// An ordinary user stays one: --map-current-user.
fn without_network(program: &str) -> Command {
    let mut command = Command::new("unshare");
    let flags: &[&str] = if lab::is_root() { &["-n", "--"] } else { &["-c", "-n", "--"] };
    command.args(flags).arg(program);
    command
}

/// The room: a directory of its own, with the checkout in it, and a cargo that has never fetched anything.
struct Room {
    place: tempfile::TempDir,
}

impl Room {
    /// None where there cannot be one, which is told as a skip.
    fn new() -> Option<Room> {
        if !can_do_without() {
            return None;
        }
        let room = Room { place: tempfile::tempdir_in(lab::scratch()).unwrap() };
        symlink(lab::RUBBER, room.place.path().join("rubber")).unwrap();
        let output = init(&["--vendor"], &room.checkout());
        if lab::code(&output) == 3 {
            lab::skip_this("the crates cannot be fetched");
            return None;
        }
        assert!(output.status.success(), "{output:?}");
        assert!(lab::text(&output.stdout).contains(" crates, "), "{output:?}");
        Some(room)
    }

    fn checkout(&self) -> PathBuf {
        self.place.path().join("checkout")
    }

    /// `program` with no network, and with nothing in cargo's cache.
    fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = without_network(program);
        command.current_dir(self.checkout());
        command.env("PATH", format!("{}:{path}", self.place.path().display()));
        command.env("CARGO_HOME", self.place.path().join("cargo")).env("CARGO_NET_OFFLINE", "true");
        // Of this very run.
        for name in std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CARGO_")) {
            if !["CARGO_HOME", "CARGO_NET_OFFLINE"].contains(&name.as_str()) {
                command.env_remove(name);
            }
        }
        command
    }

    /// `rubber learn` and `words`; `part` must come of it.
    fn learn(&self, words: &[&str], code: i32, part: &str) -> String {
        let output = self.command("rubber").arg("learn").args(words).output().unwrap();
        let said = lab::text(&output.stdout) + &lab::text(&output.stderr);
        assert!(lab::code(&output) == code && said.contains(part), "{words:?}: {said}");
        said
    }

    fn chapters(&self) -> Vec<String> {
        let entries = fs::read_dir(self.checkout().join("workshop")).unwrap().flatten();
        let is_chapter = |dir: &PathBuf| dir.join("exercise.rs").is_file();
        let dirs = entries.map(|entry| entry.path()).filter(is_chapter);
        let mut names: Vec<_> =
            dirs.map(|dir| lab::text(dir.file_name().unwrap().as_encoded_bytes())).collect();
        names.sort();
        names
    }

    /// The shipped layer is a solution.
    fn solve(&self, chapter: &str) {
        let layer = chapter.split_once('_').unwrap().1;
        let layer = self.checkout().join("src/layers").join(layer).with_extension("rs");
        let text = fs::read(layer).unwrap();
        fs::write(self.checkout().join("workshop").join(chapter).join("exercise.rs"), text).unwrap();
    }

    /// As somebody would who leaves `rubber learn` open beside the editor. False where the machine cannot.
    fn work_through(&self, chapter: &str) -> bool {
        self.learn(&["start", chapter], 0, "rubber learn");
        let mut terminal = Terminal::start(self.command("rubber").arg("learn"));
        let seen = terminal.wait_for("waiting for");
        if seen.contains("this machine cannot tell") {
            return false;
        }
        assert!(seen.contains("not yet: step 1"), "{chapter}: {seen}");
        self.solve(chapter);
        let seen = terminal.wait_for("waiting for");
        assert!(seen.contains("the kernel confirms it"), "{chapter}: {seen}");
        terminal.type_in("\x03");
        true
    }
}

#[test]
fn offline_the_workshop_goes_from_nothing_to_the_last_chapter() {
    let Some(room) = Room::new() else { return };
    let devices = room.command("cat").arg("/proc/net/dev").output().unwrap();
    assert_eq!(lab::text(&devices.stdout).matches(':').count(), 1, "more than a loopback: {devices:?}");
    room.learn(&["list"], 0, "> 00 process");
    room.learn(&["start", "05"], 0, "workshop/05_uts/exercise.rs");
    room.learn(&["check"], 1, "not yet: step 1");
    room.learn(&["hint"], 0, "hint 1 of 3");
    room.learn(&["solution"], 1, "not passed yet");
    room.solve("05_uts");
    room.learn(&["check"], 0, "the kernel confirms it");
    room.learn(&["solution", "05"], 0, "sethostname");
    room.learn(&["diff", "04", "05"], 0, "+ unshare(CLONE_NEWUTS)");
    room.learn(&["reset", "05"], 0, "as it came");
    let chapters = worked_through(room.chapters());
    let cannot: Vec<_> = chapters.iter().filter(|chapter| !room.work_through(chapter)).cloned().collect();
    if !cannot.is_empty() {
        lab::skip_this(&format!("this machine cannot tell of {}", cannot.join(", ")));
    }
    let list = room.learn(&["list"], 0, "done");
    assert_eq!(list.matches(" done\n").count() + cannot.len(), chapters.len(), "{list}");
    hands_on_no_solution(&room);
}

/// Each chapter's rubber takes half a minute to build, so these: the first, one amid the others, the last; all with
/// RUBBER_TEST_CHAPTERS=all. (That every shipped layer passes its chapter's checks is tests/workshop's.)
fn worked_through(mut chapters: Vec<String>) -> Vec<String> {
    let last = chapters.last().cloned();
    if std::env::var("RUBBER_TEST_CHAPTERS").is_ok_and(|which| which == "all") {
        return chapters;
    }
    chapters.retain(|chapter| {
        chapter.starts_with("00") || chapter.starts_with("05") || Some(chapter) == last.as_ref()
    });
    chapters
}

/// A rubber that is built where the exercises were solved, and where no git knows how they had been.
fn hands_on_no_solution(room: &Room) {
    fs::remove_dir_all(room.checkout().join(".git")).unwrap();
    let built = room.command("cargo").args(["build", "--quiet"]).output().unwrap();
    assert!(built.status.success() && built.stderr.is_empty(), "{built:?}");
    let other = room.place.path().join("other");
    room.learn(&["init", &other.display().to_string()], 0, "chapters");
    let own = find(&room.checkout().join("target"), "rubber").expect("a rubber was built");
    let output = Command::new(own).args(["learn", "init"]).arg(other.with_extension("2")).output().unwrap();
    assert_eq!(lab::code(&output), 3, "{output:?}");
    assert!(lab::text(&output.stderr).contains("was solved where this rubber was built"), "{output:?}");
    let config = fs::read_to_string(other.with_extension("2").join(".cargo/config.toml")).unwrap();
    assert!(!config.contains("vendor"), "{config}");
}

/// target/TRIPLE/debug/NAME
fn find(target: &Path, name: &str) -> Option<PathBuf> {
    let dirs = fs::read_dir(target).unwrap().flatten().map(|entry| entry.path().join("debug").join(name));
    dirs.into_iter().find(|path| path.is_file())
}

/// Nothing is half done: it says what there is, and what to do.
#[test]
fn offline_init_cannot_fetch_the_crates_and_says_so() {
    if !can_do_without() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let mut command = without_network(lab::RUBBER);
    command.args(["learn", "init", "--vendor"]).arg(place.path().join("checkout"));
    let output = command.env("CARGO_HOME", place.path().join("cargo")).env("CARGO_NET_RETRY", "0").output();
    let output = output.unwrap();
    let said = lab::text(&output.stderr);
    assert_eq!(lab::code(&output), 3, "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("rubber: cargo vendor failed") && last.contains("try again"), "{said}");
}
