//! Very many of what an image may bring any number of: it ends soon, or is refused in words. What went through the
//! whole list for each entry of it would not have ended by now.

use super::{
    layout::{busybox, write},
    *,
};
use serde_json::json;

struct Image {
    name: String,
    _place: tempfile::TempDir,
}

/// A small image with this configuration.
fn image(name: &str, config: serde_json::Value) -> Image {
    let place = tempfile::tempdir().unwrap();
    let name = format!("many-{name}-{}", std::process::id());
    write(place.path(), &format!("{name}:1"), &[busybox()], config);
    let output =
        rubber([OsStr::new("import"), place.path().as_os_str(), OsStr::new(&name)]).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    Image { name, _place: place }
}

impl Image {
    fn run(&self, flags: &[&str], script: &str) -> Output {
        rubber([&["run"], flags, &[&self.name, "/bin/sh", "-c", script]].concat()).output().unwrap()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = rubber(["rmi", &self.name]).output();
    }
}

#[test]
fn an_image_may_have_60000_variables_and_the_last_of_each_name_counts() {
    let mut env: Vec<_> = (0..60_000).map(|n| format!("V{n}={n}")).collect();
    env.extend(["V7=again".to_owned(), "PATH=/bin".to_owned()]);
    let image = image("variables", json!({"Env": env}));
    let count = "/bin/env | /bin/busybox grep -c ^V; echo $V7 $V59999";
    let output = image.run(&["-e", "V59999=mine"], count);
    assert_eq!(text(&output.stdout), "60000\nagain mine\n", "{}", text(&output.stderr));
    // And who joins it has as many.
    let name = format!("variables-{}", std::process::id());
    let started = rubber(["run", "-d", "--name", &name, &image.name, "sleep", "60"]).output().unwrap();
    assert_eq!(code(&started), 0, "{}", text(&started.stderr));
    let joined = rubber(["exec", "-e", "V7=here", &name, "sh", "-c", count]).output().unwrap();
    assert_eq!(code(&rubber(["rm", "-f", &name]).output().unwrap()), 0);
    assert_eq!(text(&joined.stdout), "60000\nhere 59999\n", "{}", text(&joined.stderr));
}

/// In the order in which they were said, as before.
#[test]
fn variables_keep_their_order() {
    let image = image("order", json!({"Env": ["A=1", "B=1", "A=2", "C=1"]}));
    let output = image.run(
        &["-e", "B=2", "-e", "D=1", "-e", "C=2"],
        "/bin/busybox cat /proc/1/environ | /bin/busybox tr '\\0' ' '",
    );
    let said = text(&output.stdout);
    assert!(said.contains(" A=2 B=2 D=1 C=2 "), "{said}");
}

/// execve(2), "Limits on size of arguments and environment": before anything is made, and not by an errno at its end.
#[test]
fn what_execve_does_not_take_is_refused_in_words() {
    let told = |image: &Image, flags: &[&str], words: &[&str]| {
        let output = image.run(flags, "true");
        assert_told(&output, 125, words, &format!("{} {flags:?}", image.name));
    };
    let env: Vec<_> = (0..150_000).map(|n| format!("V{n}=x")).collect();
    let many = image("too-many", json!({"Env": env}));
    // A quarter of this; each variable counts with its end, and with its pointer.
    told(&many, &["--ulimit", "stack=8388608"], &["variables", "execve(2) takes 2097152", "--ulimit stack="]);
    told(&many, &["--ulimit", "stack=1048576"], &["execve(2) takes 262144"]);
    let output = many.run(&["--ulimit", "stack=33554432"], "/bin/env | /bin/busybox grep -c ^V");
    assert_eq!(text(&output.stdout), "150000\n", "{}", text(&output.stderr));
    let env: Vec<_> = (0..40).map(|n| format!("L{n}={}", "x".repeat(100_000))).collect();
    let big = image("too-big", json!({"Env": env}));
    told(&big, &["--ulimit", "stack=8388608"], &["take 4", "execve(2) takes 2097152"]);
    let long = image("too-long", json!({"Env": [format!("LONG={}", "x".repeat(131_067))]}));
    told(&long, &[], &["\"LONG=xxx", "131072 bytes", "131071 in one"]);
    let just = image("just-not", json!({"Env": [format!("LONG={}", "x".repeat(131_066))]}));
    let output = just.run(&[], "echo ${#LONG}");
    assert_eq!(text(&output.stdout), "131066\n", "{}", text(&output.stderr));
    let words = image("words", json!({"Entrypoint": ["echo", "x".repeat(131_072)]}));
    told(&words, &[], &["131072 bytes", "one argument"]);
    let limit = "stack=8388608";
    let name = format!("too-many-{}", std::process::id());
    let start = ["run", "-d", "--ulimit", limit, "--name", &name, &just.name, "sleep", "60"];
    assert_eq!(code(&rubber(start).output().unwrap()), 0);
    let file = lab::scratch().join(&name);
    fs::write(&file, (0..150_000).map(|n| format!("V{n}=x\n")).collect::<String>()).unwrap();
    let output = rubber(["exec", "--env-file", file.to_str().unwrap(), &name, "true"]).output().unwrap();
    fs::remove_file(file).unwrap();
    assert_eq!(code(&rubber(["rm", "-f", &name]).output().unwrap()), 0);
    assert_told(&output, 125, &["execve(2) takes 2097152"], "exec");
}

/// Each is a directory, a mount and a name in every record.
#[test]
fn an_image_may_want_4000_volumes() {
    let most = if lab::few() { 400 } else { 4000 };
    let volumes: serde_json::Map<_, _> = (0..most).map(|n| (format!("/v/{n}"), json!({}))).collect();
    let image = image("volumes", json!({"Volumes": volumes}));
    let (soft, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let output = image.run(&[], "/bin/busybox grep -c ' /v/' /proc/mounts");
    if soft < 2 * most {
        // Each of them is held open for a moment.
        return assert_told(&output, 125, &["EMFILE"], "4000 volumes");
    }
    assert_eq!(text(&output.stdout), format!("{most}\n"), "{}", text(&output.stderr));
    let left = fs::read_dir(store().join("volumes")).map_or(0, |all| all.flatten().count()) as u64;
    assert!(left < most, "{left} volumes are left");
}
