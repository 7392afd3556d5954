//! Words that only look wrong.

use super::*;

#[test]
fn bytes_that_are_no_text_pass_through_untouched() {
    // A NUL ends every argument of execve(2), so nobody can send one: all other bytes.
    let odd = OsString::from_vec((1..=255).collect());
    let words = |words: &[&OsStr]| rubber(words.iter()).output().unwrap();
    let os = OsStr::new;
    let output = words(&[os("run"), os("busybox"), os("printf"), os("%s"), &odd]);
    assert!(output.status.success() && output.stdout == odd.as_bytes(), "argument: {output:?}");

    let mut variable = OsString::from("ODD=");
    variable.push(&odd);
    let script = "printf %s \"$ODD\"";
    let output = words(&[os("run"), os("-e"), &variable, os("busybox"), os("sh"), os("-c"), os(script)]);
    assert!(output.status.success() && output.stdout == odd.as_bytes(), "variable: {output:?}");
    let mut command = rubber(["run", "-e", "ODD", "busybox", "sh", "-c", script]);
    let output = command.env("ODD", &odd).output().unwrap();
    assert!(output.status.success() && output.stdout == odd.as_bytes(), "the caller's variable: {output:?}");

    let root = small_root("odd");
    let name = OsString::from_vec(b"a\xff\n b".to_vec());
    fs::create_dir(root.join(&name)).unwrap();
    let mut dir = OsString::from("/");
    dir.push(&name);
    let output = words(&[os("run"), os("--rootfs"), root.as_os_str(), os("-w"), &dir, os("pwd")]);
    assert_eq!(output.stdout, [dir.as_bytes(), b"\n"].concat(), "workdir: {output:?}");
    // In a message they are escaped.
    let output = words(&[os("run"), os("busybox"), os("-w"), &dir]);
    assert_told(&output, 127, &["cannot run \"-w\""], "a flag after the image is the command");
    let output = words(&[os("run"), os("busybox"), &name]);
    assert_told(&output, 127, &["\"a\\xFF\\n b\""], "an odd command");
    let output = words(&[os("run"), &name, os("true")]);
    assert_told(&output, 125, &["\"a\\xFF\\n b\""], "an odd image");
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_mebibyte_of_arguments_arrives() {
    let part = "x".repeat(100_000);
    let parts = vec![part.as_str(); 10];
    let words =
        [&["run", "busybox", "sh", "-c", "echo $# ${#1} ${#10}; echo \"$*\" | wc -c", "sh"][..], &parts]
            .concat();
    let output = rubber(words).output().unwrap();
    assert_eq!(text(&output.stdout), "10 100000 100000\n1000010\n", "{:?}", text(&output.stderr));
    let many = vec!["y"; 100_000];
    let output =
        rubber([&["run", "busybox", "sh", "-c", "echo $#", "sh"][..], &many].concat()).output().unwrap();
    assert_eq!(text(&output.stdout), "100000\n");
}

#[test]
fn words_after_the_image_are_the_commands() {
    for (words, expected) in [
        (&["busybox", "echo", "-m", "1", "--user", "x"][..], "-m 1 --user x\n"),
        (&["busybox", "echo", "--help"], "--help\n"),
        (&["-i", "busybox", "--", "/bin/echo", "a"], "a\n"),
        (&["busybox", "--", "echo", "a", "--", "b"], "a -- b\n"),
        (&["--", "busybox", "echo", "hi"], "hi\n"),
        (&["/bin/echo", "hello"], "hello\n"),
        (&["/bin/echo", "--", "hello"], "-- hello\n"),
        (&["-i", "--rm", "/bin/echo", "-n", "--root"], "--root"),
        (&["--entrypoint", "/bin/echo", "busybox", "a"], "a\n"),
        (&["--entrypoint", "", "busybox", "echo", "a"], "a\n"),
    ] {
        let output = rubber([&["run"], words].concat()).output().unwrap();
        let said = text(&output.stdout);
        // What echo(1) makes of its own `--` is its affair.
        assert_eq!(
            said.trim_start_matches("-- "),
            expected.trim_start_matches("-- "),
            "{words:?}: {output:?}"
        );
    }
    let output = rubber(["run", "-i", "busybox", "--", "/bin/ls", "/"]).output().unwrap();
    assert!(text(&output.stdout).lines().any(|line| line == "proc"), "{output:?}");
}
