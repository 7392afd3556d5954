//! Where no more processes and threads may be made: an error in words, and nothing half made is left.

use super::*;
use crate::crowd::Crowd;

struct Place {
    place: tempfile::TempDir,
    crowd: Crowd,
}

impl Place {
    fn new(test: &str) -> Option<Place> {
        if !has_busybox(test) {
            return None;
        }
        let Some(crowd) = Crowd::new() else {
            lab::skip(test, "no cgroup here that counts processes");
            return None;
        };
        let place = Place { place: tempfile::tempdir_in(lab::scratch()).unwrap(), crowd };
        fs::create_dir_all(place.path("tree/etc")).unwrap();
        fs::write(place.path("tree/etc/file"), "content").unwrap();
        place.free("run -d --name box busybox sh -c|echo printed; exec sleep 1000");
        place.free("run --name ended busybox true");
        place.free("save -o image.tar busybox");
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Words, and what is one word behind a bar.
    fn command(&self, words: &str) -> Command {
        let (words, last) = words.split_once('|').map_or((words, None), |(words, last)| (words, Some(last)));
        let mut command = Command::new(RUBBER);
        command.arg("--root").arg(self.path("store")).args(words.split(' ')).args(last);
        command.current_dir(self.place.path()).stdin(Stdio::null());
        command
    }

    fn free(&self, words: &str) {
        let output = self.command(words).output().unwrap();
        assert_eq!(code(&output), 0, "{words}: {output:?}");
    }

    /// With so few processes that the program itself is one of them. Not by pipes: what stays in the background would keep
    /// them open.
    fn crowded(&self, words: &str, most: u32) -> Output {
        let file = |name: &str| fs::File::create(self.path(name)).unwrap();
        let mut command = self.command(words);
        command.stdout(file("out")).stderr(file("err"));
        self.crowd.put(&mut command, most);
        let status = command.status().unwrap();
        let read = |name: &str| fs::read(self.path(name)).unwrap();
        Output { status, stdout: read("out"), stderr: read("err") }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for name in ["box", "ended", "new"] {
            let _ = self.command(&format!("rm -f {name}")).output();
        }
    }
}

/// Each word of it that makes threads or processes. Those that wait for ever are given their end from within.
const COMMANDS: &[&str] = &[
    "import tree new",
    "import image.tar new",
    "save -o other.tar busybox",
    "commit ended new",
    "commit box new",
    "export -o root.tar box",
    "run busybox true",
    "run --init busybox true",
    "run -d --name new busybox true",
    "run --name new -v data:/data busybox true",
    "run --until chroot busybox true",
    "exec box true",
    "exec -d box true",
    "diff box",
    "cp box:/etc/passwd copied",
    "cp tree box:/tree",
    "top box",
    "stats --no-stream box",
    "logs box",
    "pause box",
    "ps -a",
    "inspect box",
    "wait ended",
    "facts",
    "images",
    "volume ls",
    "clean",
];

#[test]
fn where_no_process_can_be_made_an_error_says_so_and_nothing_is_left() {
    let test = "where_no_process_can_be_made_an_error_says_so_and_nothing_is_left";
    let Some(place) = Place::new(test) else { return };
    let (mut refused, begin) = (0, std::time::Instant::now());
    // Only root has a freezer everywhere.
    for words in COMMANDS.iter().filter(|words| is_root() || !words.starts_with("pause")) {
        for most in place.crowd.limits() {
            let output = place.crowded(words, most);
            let said = text(&output.stderr);
            let what = format!("{words}, {most}: {output:?}");
            match code(&output) {
                0 => {}
                125 => {
                    refused += 1;
                    assert!(said.starts_with("rubber: ") && !said.contains("panicked"), "{what}");
                    assert!(said.contains("EAGAIN") && said.contains("ulimit -u"), "{what}");
                }
                _ => panic!("{what}"),
            }
            let left: Vec<_> =
                fs::read_dir(place.path("store/tmp")).into_iter().flatten().flatten().collect();
            assert!(left.is_empty(), "{what}: {left:?}");
            // One that is just ending is held by its rubber for a moment.
            while code(&place.command("rm -f new").output().unwrap()) != 0 {
                assert!(begin.elapsed().as_secs() < 240, "{what}: it cannot be removed");
            }
            for words in ["rmi new", "unpause box"] {
                let _ = place.command(words).output();
            }
            let _ = fs::remove_file(place.path("other.tar"));
            let _ = fs::remove_file(place.path("root.tar"));
        }
    }
    assert!(refused > 5, "{refused}");
    // An image is made first, by a shell or by a rubber of its own.
    let mut command = Command::new(RUBBER);
    command.arg("--root").arg(place.path("fresh")).args(["run", "busybox", "true"]).stdin(Stdio::null());
    place.crowd.put(&mut command, *place.crowd.limits().start());
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    let is_told = said.contains("EAGAIN") && said.contains("ulimit -u") && !said.contains("panicked");
    assert!(code(&output) == 125 && is_told, "{output:?}");
    let left = fs::read_dir(place.path("fresh/tmp")).unwrap().count();
    assert_eq!(left, 0);
    place.free("exec box true");
    let ids = text(&place.command("ps -aq").output().unwrap().stdout);
    assert_eq!(ids.lines().count(), 2, "what could not be made is gone: {ids}");
}

/// What is on a terminal, and what waits.
#[test]
fn where_no_process_can_be_made_a_terminal_is_told() {
    let test = "where_no_process_can_be_made_a_terminal_is_told";
    let Some(place) = Place::new(test) else { return };
    for words in
        ["run -it busybox true", "run -t busybox true", "exec -it box true", "logs -f ended", "attach ended"]
    {
        for most in place.crowd.limits() {
            let mut command = place.command(words);
            place.crowd.put(&mut command, most);
            let terminal = crate::pty::Terminal::start(&mut command);
            let (code, said) = terminal.end();
            let is_told = said.contains("EAGAIN") || words.starts_with("attach");
            assert!(code == 0 || code == 125 && is_told, "{words}, {most}: {code}: {said}");
            assert!(!said.contains("panicked"), "{words}, {most}: {said}");
        }
    }
}
