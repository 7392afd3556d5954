//! Words that are wrong: each is named, and what would be right.

use super::*;

#[test]
fn words_that_are_wrong_are_told_with_what_would_be_right() {
    if cannot() {
        return;
    }
    let place = Place::new();
    let file = place.path("bad.env");
    fs::write(&file, "GOOD=1\nbad name=2\n").unwrap();
    let (file, dir) = (file.to_str().unwrap().to_owned(), place.path("data").display().to_string());
    let at = |rest: &str| format!("{dir}:{rest}");
    let bind = |rest: &str| format!("type=bind,src={dir},{rest}");
    for (words, expected) in [
        (vec!["-v", "x"], &["--volume \"x\"", "SRC:DST"][..]),
        (vec!["-v", ""], &["--volume \"\"", "SRC:DST"]),
        (vec!["-v", "a:b:c:d"], &["too many colons"]),
        (vec!["-v", &at("relative")], &["\"relative\"", "slash"]),
        (vec!["-v", &at("/")], &["whole root"]),
        (vec!["-v", &at("/a/..")], &["whole root"]),
        (vec!["-v", &at("/x:nosuch")], &["\"nosuch\"", "nosuid"]),
        (vec!["-v", &at("/x:nocopy")], &["\"nocopy\""]),
        (vec!["-v", "bad name:/x"], &["\"bad name\"", "volume"]),
        (vec!["-v", ":/x"], &["\"\"", "volume"]),
        (vec!["-v", "some/where:/x"], &["./some/where"]),
        (vec!["-v", &at("/x"), "-v", &at("/x/../x")], &["two mounts at \"/x\""]),
        (vec!["-v", &at("/x"), "--tmpfs", "/x"], &["two mounts at \"/x\""]),
        (vec!["--mount", &bind("ro")], &["dst= is missing"]),
        (vec!["--mount", &bind("dst=/x,nosuch=1")], &["\"nosuch\"", "readonly"]),
        (vec!["--mount", &bind("dst=/x,bind-propagation=U")], &["bind-propagation"]),
        (vec!["--mount", "type=bind,dst=/x"], &["src= is missing"]),
        (vec!["--mount", "type=bind,src=relative,dst=/x"], &["no path"]),
        (vec!["--mount", "type=nfs,src=a,dst=/x"], &["\"nfs\"", "bind, volume and tmpfs"]),
        (vec!["--mount", "type=tmpfs,src=a,dst=/x"], &["no source"]),
        (vec!["--mount", &format!("src={dir},dst=/x")], &["type=bind"]),
        (vec!["--tmpfs", "x"], &["slash"]),
        (vec!["--tmpfs", "/x:size=many"], &["size \"many\""]),
        (vec!["--tmpfs", "/x:size=101%"], &["size \"101%\""]),
        (vec!["--tmpfs", "/x:mode=9"], &["mode \"9\""]),
        (vec!["--tmpfs", "/x:uid=root"], &["uid \"root\""]),
        (vec!["--tmpfs", "/x:nosuch"], &["\"nosuch\"", "size="]),
        (vec!["--tmpfs", "/x:U"], &["\"U\""]),
        (vec!["--shm-size", "x"], &["--shm-size", "\"x\""]),
        (vec!["--shm-size", "0"], &["--shm-size"]),
        (vec!["--device", "/dev/nosuch"], &["--device", "No such file"]),
        (vec!["--device", "/etc/passwd"], &["not a device"]),
        (vec!["--device", "/dev/null:/dev/x:q"], &["SRC:DST:rwm"]),
        (vec!["--device", "/dev/null:/proc/x"], &["/proc"]),
        (vec!["--ulimit", "nofile"], &["NAME=SOFT"]),
        (vec!["--ulimit", "nosuch=1"], &["\"nosuch\"", "nofile"]),
        (vec!["--ulimit", "nofile=x"], &["\"x\""]),
        (vec!["--ulimit", "nofile=-2"], &["\"-2\""]),
        (vec!["--ulimit", "nofile=2:1"], &["above"]),
        (vec!["--ulimit", "nofile=:1"], &["missing"]),
        (vec!["--ulimit", "nofile=99999999999999999999"], &["not a number"]),
        (vec!["--oom-score-adj", "1001"], &["-1000 to 1000"]),
        (vec!["--oom-score-adj", "x"], &["-1000 to 1000"]),
        (vec!["--umask", "8"], &["--umask", "octal"]),
        (vec!["--umask", "01000"], &["--umask", "octal"]),
        (vec!["--sysctl", "net.x"], &["NAME=VALUE"]),
        (vec!["--sysctl", "kernel.pid_max=5"], &["whole machine"]),
        (vec!["--sysctl", "kernel.hostname=x"], &["whole machine"]),
        (vec!["--sysctl", "vm.swappiness=1"], &["whole machine"]),
        (vec!["--sysctl", "fs.file-max=1"], &["whole machine"]),
        (vec!["--sysctl", "net/ipv4/ip_forward=1"], &["no name"]),
        (vec!["--sysctl", "net...kernel.pid_max=1"], &["no name"]),
        (vec!["--sysctl", "=1"], &["no name"]),
        (vec!["--sysctl", "net.nosuch=1"], &["/proc/sys/net/nosuch"]),
        (vec!["--without", "net", "--sysctl", "net.ipv4.ip_forward=1"], &["net namespace is the host's"]),
        (vec!["--env-file", "/no/such"], &["--env-file /no/such"]),
        (vec!["--env-file", &file], &["line 2", "bad name"]),
        (vec!["--group-add", "nosuch"], &[if is_root() { "no group \"nosuch\"" } else { "group" }]),
        (vec!["--group-add", "-1"], &[if is_root() { "-1 is not an id" } else { "id" }]),
        (vec!["--until", "chroot", "--read-only"], &["--read-only", "pivot_root"]),
    ] {
        let output = rubber([&["run"], &words[..], &["busybox", "true"]].concat()).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(code(&output), 125, "{words:?}: {output:?}");
        assert!(said.starts_with("rubber: ") && said.lines().count() <= 2, "{words:?}: {said}");
        assert!(expected.iter().all(|word| said.contains(word)), "{words:?}: {expected:?} in {said}");
        assert!(!said.contains("panicked") && !said.contains("Os {"), "{said}");
    }
}

#[test]
fn words_for_a_layer_that_is_off_do_nothing_and_say_so() {
    if cannot() {
        return;
    }
    for (flags, layer) in [(["--tmpfs", "/x"], "volumes"), (["--device", "/dev/null:/x"], "devices")] {
        let output = run(&[&["--until", "ipc"][..], &flags].concat(), "ls -d /x");
        assert!(text(&output.stderr).contains(&format!("the {layer} layer is off")), "{output:?}");
        assert_ne!(code(&output), 0, "{output:?}");
    }
}
