//! Whose namespaces a container has: its own, the host's, or another container's. The kernel's numbers tell.

#[path = "../lab/mod.rs"]
mod lab;

mod ids;

use lab::{RUBBER, code, is_root, rubber, run, say, skip_this, store, text};
use std::{collections::BTreeMap, fs, process::Command};

/// As `--NAME` and as /proc/PID/ns/NAME.
const MODES: [(&str, &str); 6] = [
    ("network", "net"),
    ("pid", "pid"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroupns", "cgroup"),
    ("userns", "user"),
];

const LOOK: &str = "for kind in net pid ipc uts cgroup user; do readlink /proc/self/ns/$kind; done";

type Spaces = BTreeMap<String, String>;

fn spaces(lines: &str) -> Spaces {
    let links = lines.lines().filter_map(|line| line.split_once(':'));
    links.map(|(kind, number)| (kind.into(), number.into())).collect()
}

fn hosts() -> Spaces {
    let link = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    spaces(&MODES.map(|(_, kind)| link(kind)).join("\n"))
}

/// A container in the background, which is gone when this is dropped.
struct Neighbour(String);

impl Neighbour {
    fn start(flags: &[&str]) -> Neighbour {
        let words = [&["run", "-d"], flags, &["busybox", "sleep", "600"]].concat();
        let output = rubber(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Neighbour(text(&output.stdout).trim().to_owned())
    }

    fn mode(&self) -> String {
        format!("container:{}", self.0)
    }

    fn say(&self, script: &str) -> String {
        let output = rubber(["exec", &self.0, "sh", "-c", script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = rubber(["kill", &self.0]).output();
        let _ = rubber(["wait", &self.0]).output();
        let _ = rubber(["rm", &self.0]).output();
    }
}

/// Why there are no containers here at all.
fn cannot() -> bool {
    let tried = run(&[], "true");
    if !tried.status.success() {
        skip_this(&text(&tried.stderr));
    }
    !tried.status.success()
}

fn refused(flags: &[&str], words: &[&str]) {
    let output = run(flags, "true");
    let said = text(&output.stderr);
    assert_eq!(code(&output), 125, "{flags:?}: {said}");
    assert!(words.iter().all(|word| said.contains(word)), "{flags:?}: {said}");
    assert!(said.lines().count() <= 2, "{said}");
}

#[test]
fn namespaces_are_the_hosts_where_that_is_asked_for() {
    if cannot() {
        return;
    }
    let hosts = hosts();
    for (flag, kind) in MODES.iter().filter(|(_, kind)| *kind != "user") {
        let found = spaces(&say(&[&format!("--{flag}"), "host"], LOOK));
        for (_, other) in MODES.iter().filter(|(_, kind)| *kind != "user") {
            let is_hosts = found[*other] == hosts[*other];
            assert_eq!(is_hosts, other == kind, "--{flag} host and the {other} namespace: {found:?}");
        }
    }
    // As if the layer were off: no link but those of the host, its name, its processes.
    let links = |flags: &[&str]| say(flags, "ls /sys/class/net");
    assert_eq!(links(&["--net", "host"]), links(&["--without", "net"]));
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let said = say(&["--uts", "host"], "hostname; echo $HOSTNAME; cat /etc/hostname");
    assert_eq!(said, [name.trim(); 3].join("\n"));
    assert_eq!(
        say(&["--pid", "host"], &format!("test -d /proc/{} && echo sees", std::process::id())),
        "sees"
    );
    // Its own are what there is without a word.
    let own = spaces(&say(&["--network", "none", "--pid", "private", "--uts", "private"], LOOK));
    assert!(["net", "pid", "uts", "ipc", "cgroup"].iter().all(|kind| own[*kind] != hosts[*kind]), "{own:?}");
}

#[test]
fn namespaces_of_another_container_are_joined() {
    if cannot() {
        return;
    }
    let neighbour = Neighbour::start(&["-h", "neighbour"]);
    let theirs = spaces(&neighbour.say(LOOK));
    let hosts = hosts();
    for (flag, kind) in MODES {
        let found = spaces(&say(&[&format!("--{flag}"), &neighbour.mode()], LOOK));
        // To an ordinary user the others are open only from within the user namespace that owns them.
        let shared: Vec<_> =
            MODES.iter().map(|(_, kind)| *kind).filter(|kind| found[*kind] == theirs[*kind]).collect();
        let user = theirs["user"] != hosts["user"] || kind == "user" || found["user"] == hosts["user"];
        let expected: Vec<_> = MODES
            .iter()
            .map(|(_, kind)| *kind)
            .filter(|other| *other == kind || *other == "user" && user)
            .collect();
        assert_eq!(shared, expected, "--{flag}");
    }
    let said = say(&["--uts", &neighbour.mode()], "hostname; echo $HOSTNAME; cat /etc/hostname");
    assert_eq!(said, "neighbour\nneighbour\nneighbour");
    // Pid 1 is the neighbour's, and ends for both.
    let said = say(&["--pid", &neighbour.mode()], "cat /proc/1/comm; test $$ -gt 1 && echo second");
    assert_eq!(said, "sleep\nsecond");
    // What one says on 127.0.0.1 the other answers.
    let answering = rubber(["exec", &neighbour.0, "nc", "-l", "-p", "4000", "-e", "cat"]).spawn();
    let ask = "n=0; until echo hello | nc -w 10 127.0.0.1 4000; do n=$((n+1)); test $n -lt 50 || exit 1; sleep 0.1; done";
    assert_eq!(say(&["--network", &neighbour.mode()], ask), "hello");
    assert!(answering.unwrap().wait().unwrap().success());
    // Its record and the kernel say so, and others are let in where it is.
    let guest = Neighbour::start(&["--network", &neighbour.mode()]);
    let about = text(&rubber(["inspect", &guest.0]).output().unwrap().stdout);
    let about: serde_json::Value = serde_json::from_str(&about).unwrap();
    assert_eq!(about[0]["config"]["namespaces"]["net"]["container"], neighbour.0.as_str(), "{about}");
    assert_eq!(about[0]["config"]["namespaces"]["uts"], "own", "{about}");
    let net = format!("[{}]", about[0]["kernel"]["ns"]["net"]);
    assert_eq!(
        (spaces(&guest.say(LOOK))["net"].as_str(), net.as_str()),
        (theirs["net"].as_str(), theirs["net"].as_str())
    );
}

#[test]
fn namespaces_of_what_has_ended_or_never_was_are_refused() {
    if cannot() {
        return;
    }
    let neighbour = Neighbour::start(&[]);
    // A record that names another process than its own: a number alone opens nothing.
    let record = store().join("containers").join(format!("{}.pid", neighbour.0));
    let was = fs::read_to_string(&record).unwrap();
    let mut sleeper = Command::new("sleep").arg("600").spawn().unwrap();
    fs::write(&record, format!("{} 1\n", sleeper.id())).unwrap();
    refused(&["--pid", &neighbour.mode()], &["--pid container:", "is not running"]);
    fs::write(&record, was).unwrap();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!(say(&["--pid", &neighbour.mode()], "cat /proc/1/comm"), "sleep");
    rubber(["kill", &neighbour.0]).output().unwrap();
    rubber(["wait", &neighbour.0]).output().unwrap();
    refused(&["--network", &neighbour.mode()], &["--network container:", "is not running (exited)"]);
    refused(&["--network", "container:nobody-here"], &["no container \"nobody-here\""]);
}

#[test]
fn namespaces_that_make_no_sense_are_refused() {
    refused(&["--network", "bridge"], &["no bridge yet"]);
    refused(&["--network", "container:"], &["there are none, host and container:NAME"]);
    for (flag, _) in &MODES[1..] {
        refused(&[&format!("--{flag}"), "nonsense"], &["there are private, host and container:NAME"]);
    }
    refused(&["--uts", "host", "-h", "x"], &["would be the host's"]);
    refused(&["--without", "net", "--network", "none"], &["the net layer is off"]);
    refused(&["--until", "uts", "--pid", "private"], &["the pid layer is off"]);
    refused(&["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"], &["would be the host's"]);
    refused(&["--ipc", "host", "--sysctl", "kernel.msgmax=4096"], &["would be the host's"]);
    if !is_root() {
        refused(&["--userns", "host"], &["only root"]);
    }
    if cannot() {
        return;
    }
    let neighbour = Neighbour::start(&[]);
    refused(&["--uts", &neighbour.mode(), "-h", "x"], &["the name is that container's"]);
    refused(&["--network", &neighbour.mode(), "--sysctl", "net.ipv4.ip_forward=1"], &["its own --sysctl"]);
    if !is_root() {
        refused(&["--network", &neighbour.mode(), "--userns", "private"], &["only root can join"]);
    }
    // Its own network's parameters it sets without the ipc layer as well.
    let flags = ["--without", "ipc", "--sysctl", "net.ipv4.ip_forward=1"];
    assert_eq!(say(&flags, "cat /proc/sys/net/ipv4/ip_forward"), "1");
    assert!(
        text(&Command::new(RUBBER).args(["run", "--help"]).output().unwrap().stdout)
            .contains("--cgroupns <MODE>")
    );
}

/// Seconds since the machine started: of both clocks, as the script below prints them.
const UPTIME: &str = "cut -d. -f1 /proc/uptime; readlink /proc/self/ns/time; grep -v ' 0  *0$' /proc/self/timens_offsets | tr -s ' '";

#[test]
fn time_is_another_where_that_is_asked_for() {
    if cannot() {
        return;
    }
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        refused(&["--timens", "monotonic=1"], &["no time namespaces"]);
        return skip_this("this kernel has no time namespaces");
    }
    let host =
        || fs::read_to_string("/proc/uptime").unwrap().split('.').next().unwrap().parse::<i64>().unwrap();
    let ours = fs::read_link("/proc/self/ns/time").unwrap().display().to_string();
    let before = host();
    let said = say(&["--timens", "monotonic=2d,boottime=+3h"], UPTIME);
    let lines: Vec<_> = said.lines().collect();
    let shifted = lines[0].parse::<i64>().unwrap() - 3 * 3600;
    assert!((before..=host()).contains(&shifted), "{before} {shifted}");
    assert_ne!(lines[1], ours);
    assert_eq!(lines[2..], ["monotonic 172800 0", "boottime 10800 0"]);
    // Backwards as well, and nothing where nothing is asked for.
    let said = say(&["--timens", "boottime=-1"], UPTIME);
    assert!(said.lines().next().unwrap().parse::<i64>().unwrap() < host(), "{said}");
    assert!(said.ends_with("boottime -1 0"), "{said}");
    assert_eq!(say(&[], UPTIME).lines().nth(1), Some(ours.as_str()));
    // Whoever is let in later has the same clocks, and facts and inspect tell of them.
    let neighbour = Neighbour::start(&["--timens", "monotonic=5"]);
    let joined = neighbour.say(UPTIME);
    assert!(joined.ends_with("monotonic 5 0\n") && !joined.contains(&ours), "{joined}");
    let about = text(&rubber(["inspect", &neighbour.0]).output().unwrap().stdout);
    let about: serde_json::Value = serde_json::from_str(&about).unwrap();
    assert_eq!(about[0]["config"]["clocks"]["monotonic"], 5, "{about}");
    assert_eq!(about[0]["kernel"]["time_offsets"]["monotonic"], 5.0, "{about}");
    let portrait = rubber(["run", "--timens", "monotonic=5"]).output().unwrap();
    assert!(text(&portrait.stdout).contains("monotonic +5 s"), "{portrait:?}");
    refused(
        &["--timens", "boottime=-999999999"],
        &["timens_offsets", "ERANGE", "no clock shows less than 0"],
    );
}

#[test]
fn time_offsets_that_make_no_sense_are_refused() {
    for word in [
        "",
        "5",
        "realtime=5",
        "monotonic",
        "monotonic=",
        "monotonic=x",
        "monotonic=1w",
        "boottime=1d2",
        "boottime=9223372036854775808",
        "boottime=9223372036854775807d",
    ] {
        refused(&["--timens", word], &["--timens"]);
    }
    let off = run(&["--without", "ipc", "--timens", "monotonic=1"], "true");
    assert!(off.status.success() && text(&off.stderr).contains("the ipc layer is off"), "{off:?}");
}
