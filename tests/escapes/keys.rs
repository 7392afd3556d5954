//! The caller's session keyring, which passes from process to process: whichever way a command comes into a container,
//! it has another.

use crate::{bundle::Bundle, lab};
use serde_json::json;
use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

const KEY: &std::ffi::CStr = c"rubber-tests-keys";

/// What `attack keyring` says where there is no such key. (A keyring without any is revoked or not there.)
const REFUSED: &str = "keyctl: ENOKEY";

/// Its caller has a session keyring of its own, with a key in it. What it prints comes from there.
fn said(command: &mut Command) -> String {
    // SAFETY: system calls only, with what is constant.
    unsafe {
        command.pre_exec(|| {
            libc::syscall(libc::SYS_keyctl, 1_i64, std::ptr::null::<i8>());
            libc::syscall(
                libc::SYS_add_key,
                c"user".as_ptr(),
                KEY.as_ptr(),
                c"secret".as_ptr(),
                6_usize,
                -3_i64,
            );
            Ok(())
        });
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = lab::text(&output.stdout) + &lab::text(&output.stderr);
    text.lines().find(|line| line.contains("keyctl") || line.contains("got")).unwrap_or(&text).trim().into()
}

#[test]
fn keys_of_the_caller_stay_outside_whichever_way_a_command_comes_in() {
    let Some(dir) = crate::stage::attack() else { return };
    let attack = ["/shared/attack", "keyring", KEY.to_str().unwrap()];
    let bare = said(Command::new(dir.path().join("shared/attack")).args(&attack[1..]));
    assert_eq!(bare, "got the caller's key", "the attack proves nothing");

    let (volume, name) =
        (format!("{}/shared:/shared:ro", dir.path().display()), format!("keys-{}", std::process::id()));
    let open = ["-v", &volume, "--security-opt=seccomp=unconfined"];
    let run = lab::rubber([&["run"], &open[..], &["busybox"], &attack].concat());
    assert_eq!(said(&mut { run }), REFUSED, "run");
    let box_of = [&["run", "-d", "--rm", "--name", &name], &open[..], &["busybox", "sleep", "600"]].concat();
    assert!(lab::rubber(box_of).stdout(Stdio::null()).status().unwrap().success());
    let joined = format!("--pid=container:{name}");
    let run = lab::rubber([&["run", &joined], &open[..], &["busybox"], &attack].concat());
    let exec = lab::rubber([&["exec", &name], &attack[..]].concat());
    let told = [said(&mut { run }), said(&mut { exec })];
    lab::rubber(["rm", "-f", &name]).stdout(Stdio::null()).status().unwrap();
    assert_eq!(told, [REFUSED, REFUSED], "run --pid=container:NAME, and exec");

    let Some(bundle) = Bundle::new() else { return };
    fs::create_dir(bundle.root().join("shared")).unwrap();
    fs::copy(dir.path().join("shared/attack"), bundle.root().join("shared/attack")).unwrap();
    bundle.edit(|config| config["linux"]["seccomp"] = json!(null));
    bundle.edit(|config| config["process"]["args"] = json!(attack));
    assert_eq!(said(&mut bundle.rubber(&["run", "c"])), REFUSED, "rubber-oci run");
    bundle.command("sleep 600");
    bundle.ok(&["run", "--detach", "c"]);
    assert_eq!(said(bundle.rubber(&["exec", "c"]).args(attack)), REFUSED, "rubber-oci exec");
}
