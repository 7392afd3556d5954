//! A container is removed while somebody looks at it.

use super::{pty::Terminal, *};

#[test]
fn who_looks_at_one_that_is_removed_comes_to_an_end() {
    let place = Place::new("watched");
    let script = "while :; do echo line; sleep 0.05; done";
    place.say(&["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
    let mut stats = Terminal::start(&mut place.rubber(&["stats", "box"]));
    stats.wait_for("box");
    let logs = place.rubber(&["logs", "-f", "box"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let attach = place.rubber(&["attach", "box"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let copy = place.rubber(&["export", "box"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let looks = std::thread::scope(|scope| {
        let tops = scope.spawn(|| {
            let mut last = place.run(&["top", "box"]);
            while last.status.success() {
                last = place.run(&["top", "box"]);
            }
            last
        });
        let export = scope.spawn(move || copy.wait_with_output().unwrap());
        sleep(Duration::from_millis(200));
        assert_eq!(place.say(&["rm", "-f", "box"]), "box");
        (tops.join().unwrap(), export.join().unwrap())
    });
    let (ended, said) = stats.end();
    assert_eq!(ended, 0, "{said}");
    assert!(said.contains("rubber: box: ended"), "{said}");
    let logs = logs.wait_with_output().unwrap();
    assert!(logs.status.success() && text(&logs.stdout).ends_with("line\n"), "{logs:?}");
    assert_eq!(code(&attach.wait_with_output().unwrap()), 137);
    let said = text(&looks.0.stderr);
    assert!(code(&looks.0) == 125 && said.starts_with("rubber: ") && !said.contains("panicked"), "{said}");
    // The archive is whole, or it says that it is not.
    assert!([0, 125].contains(&code(&looks.1)), "{:?}", text(&looks.1.stderr));
    assert_eq!(place.left(), [""; 0]);
}
