//! At a terminal: attach, leave it running, come back, and find one's own terminal as it was.

use super::{pty::Terminal, *};

#[test]
fn a_shell_is_left_running_and_come_back_to() {
    let place = Place::new("keys");
    let mut terminal = Terminal::start(&mut place.rubber(&["run", "-it", "--name", "box", "busybox", "sh"]));
    terminal.wait_for("# ");
    terminal.type_in("kept=7; tty\n");
    terminal.wait_for("/dev/pts/0");
    terminal.type_in("\x10\x11");
    let (ended, said) = terminal.end();
    assert_eq!(ended, 0, "{said}");
    assert!(said.contains("rubber attach box"), "{said}");
    assert_eq!(place.list()[0]["state"], "running");
    let mut terminal = Terminal::start(&mut place.rubber(&["attach", "box"]));
    terminal.type_in("echo again$kept\n");
    terminal.wait_for("again7");
    terminal.type_in("exit 9\n");
    let (ended, said) = terminal.end();
    assert_eq!(ended, 9, "{said}");
    assert_eq!(place.say(&["wait", "box"]), "9");
    assert!(place.fails(&["attach", "box"], 125).contains("has ended (exit code 9)"));
}

#[test]
fn typed_words_reach_a_container_in_the_background() {
    let place = Place::new("typed");
    place.say(&[
        "run",
        "-d",
        "-i",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "while read word; do echo got $word; done",
    ]);
    let mut attach = place.rubber(&["attach", "box"]);
    let mut attach =
        attach.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(attach.stdin.as_mut().unwrap(), b"one\ntwo\n").unwrap();
    wait_until("the answer", || place.say(&["logs", "box"]).contains("got two"));
    place.say(&["kill", "box"]);
    let output = attach.wait_with_output().unwrap();
    assert_eq!((code(&output), text(&output.stdout)), (137, "got one\ngot two\n".into()));
}

/// Raw mode is taken back, whoever is killed.
#[test]
fn the_callers_terminal_is_as_it_was() {
    let place = Place::new("stty");
    let stty = |flags: &str| format!("stty -a | sha256sum; {flags}; stty -a | sha256sum; echo done");
    for inner in ["exit 0", "kill -9 $$", "kill -9 1"] {
        let run = format!("{} --root {} run -it busybox sh -c '{inner}'", lab::RUBBER, place.root.display());
        let mut command = Command::new("sh");
        command.args(["-c", &stty(&run)]);
        let (_, said) = Terminal::start(&mut command).end();
        let sums: Vec<_> = said.lines().filter(|line| line.trim_end().ends_with("  -")).collect();
        assert!(sums.len() == 2 && sums[0] == sums[1] && said.contains("done"), "{inner}: {said}");
    }
}
