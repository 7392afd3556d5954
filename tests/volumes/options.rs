//! What else a container is given or held to: names, limits of its own, parameters, devices, a directory to start in.

use super::*;

#[test]
fn options_set_the_environment_from_a_file() {
    if cannot() {
        return;
    }
    let place = Place::new();
    let file = place.path("env");
    fs::write(&file, "# a comment\n\nA=1\nB='two words' # all of it\r\n  C=x=y\nFROM_CALLER\nGONE\nE=\n")
        .unwrap();
    let words = ["run", "-e", "A=last", "--env-file", file.to_str().unwrap(), "busybox", "env"];
    let output = rubber(words).env("FROM_CALLER", "here").env_remove("GONE").output().unwrap();
    let env = text(&output.stdout);
    for expected in ["A=last", "B='two words' # all of it", "C=x=y", "FROM_CALLER=here", "E="] {
        assert!(env.lines().any(|line| line == expected), "{expected} in {env}");
    }
    assert!(!env.contains("GONE") && !env.contains("comment"), "{env}");
}

#[test]
fn options_limit_each_process() {
    if cannot() {
        return;
    }
    let flags = ["--ulimit", "nofile=10:20", "--ulimit", "core=0"];
    assert_eq!(say(&flags, "ulimit -n; ulimit -Hn; ulimit -c"), "10\n20\n0");
    // With so few nothing more can be opened, and the user is still found and the command run.
    let twice = ["--ulimit", "nofile=10", "--ulimit", "core=0", "--ulimit", "nofile=12:20"];
    assert_eq!(say(&twice, "ulimit -n; ulimit -Hn"), "12\n20", "the last one counts");
    assert_eq!(say(&["--ulimit", "nofile=3", "-u", "root"], "echo $HOME"), "/root");
    let same = say(&["--ulimit", "nofile=10:20", "--init"], "ulimit -n");
    assert_eq!(same, "10");
    if caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_RESOURCE).unwrap() {
        assert_eq!(say(&["--ulimit", "memlock=-1", "-u", "guest"], "ulimit -l"), "unlimited");
    } else {
        fails(&["--ulimit", "nofile=1:99999999"], "true", &["prlimit64", "EPERM"]);
    }
}

#[test]
fn options_set_scores_masks_and_groups() {
    if cannot() {
        return;
    }
    assert_eq!(say(&["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj"), "500");
    assert_eq!(say(&["--umask", "077"], "umask; touch /f; stat -c %a /f"), "0077\n600");
    assert_eq!(say(&[], "umask"), "0022");
    assert_eq!(say(&["--shm-size", "1m"], "df -k /dev/shm | awk 'NR>1 {print $2}'"), "1024");
    if is_root() {
        assert_eq!(say(&["--group-add", "tty", "--group-add", "77", "-u", "guest"], "id -G"), "1000 5 77");
    } else if say(&[], "cat /proc/self/uid_map").lines().count() == 1 {
        fails(&["--group-add", "5"], "true", &["--group-add", "one id"]);
    }
}

#[test]
fn options_set_parameters_of_its_own_namespaces_alone() {
    if cannot() {
        return;
    }
    let files = ["net/ipv4/ip_forward", "kernel/msgmax", "fs/mqueue/msg_max", "net/ipv4/ping_group_range"];
    let read = || files.map(|file| fs::read_to_string(Path::new("/proc/sys").join(file)).unwrap_or_default());
    let before = read();
    let net = ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "net.ipv4.ping_group_range=0 0"];
    assert_eq!(say(&net, "cat /proc/sys/net/ipv4/ip_forward"), "1");
    let ipc = ["--sysctl", "kernel.msgmax=4096", "--sysctl", "fs.mqueue.msg_max=7"];
    if is_root() {
        assert_eq!(say(&ipc, "cat /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max"), "4096\n7");
        assert_eq!(
            say(&["--sysctl", "kernel.domainname=of.test"], "cat /proc/sys/kernel/domainname"),
            "of.test"
        );
    }
    assert_eq!(read(), before);
}

#[test]
fn options_give_devices() {
    if cannot() {
        return;
    }
    let before = fs::metadata("/dev/zero").unwrap().mode();
    let flags = [
        "--device",
        "/dev/null:/dev/mine",
        "--device",
        "/dev/zero:/opt/deep/zero:rwm",
        "--device",
        "/dev/full:rw",
    ];
    let script = "test -c /dev/mine && echo x >/dev/mine && head -c 3 /opt/deep/zero | wc -c; chmod 600 /opt/deep/zero";
    let output = run(&flags, script);
    assert_eq!(text(&output.stdout), "3\n", "{output:?}");
    // The node is the host's, and nobody in there changes it.
    assert!(text(&output.stderr).contains("Read-only"), "{output:?}");
    assert_eq!(fs::metadata("/dev/zero").unwrap().mode(), before);
}

#[test]
fn options_make_the_directory_to_start_in() {
    if cannot() {
        return;
    }
    assert_eq!(say(&["-w", "/new/place"], "pwd; touch x && ls /new"), "/new/place\nplace");
    let place = Place::new();
    assert_eq!(say(&["-v", &place.at("data", "/x"), "-w", "/x/made"], "pwd"), "/x/made");
    assert!(place.path("data/made").is_dir());
    fails(&["-w", "/etc/passwd/x"], "true", &["ENOTDIR"]);
}

#[test]
fn options_tell_names() {
    if cannot() {
        return;
    }
    let script = "cat /etc/hostname; grep -c localhost /etc/hosts; ping -c 1 localhost >/dev/null && echo more >>/etc/hosts";
    assert_eq!(say(&["-h", "named"], script), "named\n2");
    let hosts = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert_eq!(say(&[], "cat /etc/resolv.conf"), hosts.trim());
    // Without a network of its own it has the host's names.
    if let (true, Ok(hosts)) = (is_root(), fs::read_to_string("/etc/hosts")) {
        assert_eq!(say(&["--without", "net"], "cat /etc/hosts"), hosts.trim());
    }
    // What somebody mounts there is theirs, and nothing is made in it.
    let place = Place::new();
    assert_eq!(say(&["-v", &place.at("data/file", "/etc/hosts")], "cat /etc/hosts"), "outside");
    assert_eq!(say(&["-v", &place.at("data", "/etc"), "-u", "0"], "ls /etc"), "file\nsub");
    assert_eq!(fs::read_dir(place.path("data")).unwrap().count(), 2);
}
