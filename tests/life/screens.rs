//! Full-screen programs: they draw, follow the window, and leave the caller's terminal as it was, whoever is killed.

use super::{pty::Terminal, *};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A shell that runs rubber, and tells what `stty -a` says before and after.
fn shell(place: &Place, words: &str) -> Terminal {
    let script = format!(
        "stty -a >{0}/before; {1} --root {0} {words}; echo ended $?; stty -a >{0}/after; echo told",
        place.root.display(),
        lab::RUBBER
    );
    let mut command = Command::new("sh");
    Terminal::start_sized(command.args(["-c", &script]), 80, 24)
}

/// Its exit code, when the terminal is as it was.
fn restored(place: &Place, mut terminal: Terminal) -> i32 {
    terminal.wait_for("ended ");
    let code = terminal.wait_for("\r\n").trim().parse().unwrap();
    terminal.wait_for("told");
    let said = |file| std::fs::read_to_string(place.root.join(file)).unwrap();
    // The window was made larger meanwhile.
    let modes =
        |text: String| text.split_once(';').map(|(_, rest)| rest.split_once("columns").unwrap().1.to_owned());
    let (before, after) = (modes(said("before")), modes(said("after")));
    let rest = |text: Option<String>| text.unwrap().split_once(';').unwrap().1.to_owned();
    assert_eq!(rest(before), rest(after));
    code
}

fn first(place: &Place) -> Pid {
    Pid::from_raw(place.list()[0]["pid"].as_i64().unwrap() as i32)
}

#[test]
fn an_editor_draws_follows_the_window_and_ends() {
    let place = Place::new("vi");
    let mut terminal = shell(&place, "run -it --name box busybox vi /etc/passwd");
    // busybox's vi tells on its last line what it has opened.
    terminal.wait_for("\x1b[24;1H");
    terminal.wait_for("/etc/passwd");
    terminal.resize(100, 40);
    // On a key it looks how large the window is, and its last line is another one now.
    terminal.type_in("\x0c");
    terminal.wait_for("\x1b[40;1H");
    terminal.type_in("Oby hand\x1b");
    // It waits for a moment whether the escape is a key of several bytes.
    terminal.wait_for("- /etc/passwd [Modified]");
    terminal.type_in(":wq\r");
    assert_eq!(restored(&place, terminal), 0);
    assert!(place.say(&["diff", "box"]).contains("C /etc/passwd"));
}

#[test]
fn a_pager_and_a_monitor_draw_and_end_by_their_keys() {
    let place = Place::new("less");
    let mut terminal = shell(&place, "run -it --rm --name box busybox sh -c 'seq 500 | less; top'");
    // As many lines as there are rows but one.
    terminal.wait_for("22\r\n\x1b[K23\r\n");
    terminal.type_in("G");
    terminal.wait_for("500");
    terminal.type_in("q");
    terminal.wait_for("Mem:");
    terminal.wait_for("COMMAND");
    terminal.type_in("q");
    assert_eq!(restored(&place, terminal), 0);
}

type End = fn(&Place, &mut Terminal);

/// The terminal is raw while vi runs; each of these ends that in a way of its own.
#[test]
fn the_terminal_is_as_it_was_whoever_is_killed() {
    let place = Place::new("raw");
    let ends: [(&str, i32, End); 4] = [
        ("the command", 137, |place, _| kill(first(place), Signal::SIGKILL).unwrap()),
        ("rubber's child", 137, |place, terminal| {
            let child = supervisor(first(place).as_raw());
            assert_ne!(child, terminal.pid() as i32);
            kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
        }),
        // To its pid 1, which has no handler for it: said the first time, and killed the second.
        ("rubber", 137, |place, _| {
            let waiter = parent(supervisor(first(place).as_raw()));
            kill(Pid::from_raw(waiter), Signal::SIGTERM).unwrap();
            sleep(Duration::from_millis(300));
            kill(Pid::from_raw(waiter), Signal::SIGTERM).unwrap();
        }),
        ("detach", 0, |_, terminal| terminal.type_in("\x10\x11")),
    ];
    for (who, expected, end) in ends {
        let mut terminal = shell(&place, "run -it --name box busybox sh -c 'vi /etc/passwd; sleep 1000'");
        terminal.wait_for("/etc/passwd");
        end(&place, &mut terminal);
        assert_eq!(restored(&place, terminal), expected, "{who}");
        place.run(&["rm", "-f", "box"]);
        wait_until("the end", || place.left().is_empty());
    }
}

/// What the keys mean is the command's affair, as in docker: rubber itself goes on.
#[test]
fn control_keys_reach_the_command() {
    let place = Place::new("control");
    let mut terminal = shell(&place, "run -it --rm --name box busybox sh");
    terminal.wait_for("# ");
    terminal.type_in("sleep 1000\n");
    let sleeps = || {
        let is_asleep = |line: &str| line.contains("sleeping") && line.ends_with("sleep 1000");
        place.say(&["top", "box"]).lines().any(is_asleep)
    };
    wait_until("the sleep", sleeps);
    terminal.type_in("\x1a");
    terminal.wait_for("Stopped");
    terminal.type_in("fg\n");
    // It has the terminal back before it goes on.
    wait_until("going on", sleeps);
    terminal.type_in("\x03");
    terminal.type_in("echo code $?\n");
    terminal.wait_for("code 130");
    terminal.wait_for("# ");
    terminal.type_in("\x04");
    assert_eq!(restored(&place, terminal), 0);
}

/// In a real terminal emulator, which shows what a person would see.
#[test]
fn in_tmux_the_screen_is_as_it_should_be() {
    if !lab::has("tmux") {
        return lab::skip_this("tmux is not installed");
    }
    let place = Place::new("tmux");
    let server = Server(place.root.join("tmux"));
    let tmux = |words: &[&str]| {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(&server.0)
            .args(["-f", "/dev/null"])
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        text(&output.stdout)
    };
    let rubber = format!("{} --root {}", lab::RUBBER, place.root.display());
    tmux(&["new-session", "-d", "-x", "80", "-y", "24", "env PS1='host> ' sh"]);
    let screen = || tmux(&["capture-pane", "-p"]);
    let shows = |what: &str| {
        let begin = std::time::Instant::now();
        while !screen().contains(what) {
            let is_late = begin.elapsed() > std::time::Duration::from_secs(60);
            assert!(!is_late, "{what:?} does not come to be on the screen: {}", screen());
        }
    };
    tmux(&["send-keys", &format!("clear; {rubber} run -it --rm --name box busybox sh"), "Enter"]);
    shows("/ #");
    tmux(&["send-keys", "seq 100 >/n; vi /n", "Enter"]);
    wait_until("the first page", || screen().starts_with("1\n2\n") && screen().contains("\n23\n"));
    tmux(&["resize-window", "-x", "60", "-y", "12"]);
    tmux(&["send-keys", "C-l"]);
    wait_until("a smaller page", || screen().contains("\n11\n") && !screen().contains("\n12\n"));
    tmux(&["send-keys", ":q", "Enter"]);
    tmux(&["send-keys", "clear; less /n", "Enter"]);
    wait_until("a page of less", || screen().starts_with("1\n2\n") && screen().contains("\n11\n"));
    tmux(&["send-keys", "q", "C-d"]);
    shows("host>");
    tmux(&["send-keys", "stty -a | tr '\\n' ' ' | grep -c ' icanon .* echo '; echo mark", "Enter"]);
    shows("1\nmark");
}

/// Whose end is the end of all that runs in it.
struct Server(PathBuf);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.0).arg("kill-server").status();
    }
}
