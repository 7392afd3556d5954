//! rubber with more power than its caller: it refuses.

use crate::lab;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output},
};

/// A copy that `make` has made dangerous, called by nobody (65534) with all of its words.
fn called(make: &[&str]) -> Option<Output> {
    // Not in /tmp, which often is nosuid.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if is_nosuid(dir.path().into()) {
        lab::skip_this("there is no place for a set-user-ID file: /var/tmp is nosuid");
        return None;
    }
    let copy = dir.path().join("rubber");
    lab::copy_program(lab::RUBBER, &copy);
    assert!(Command::new(make[0]).args(&make[1..]).arg(&copy).status().unwrap().success());
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&copy);
    nobody.arg("--root").arg(dir.path().join("store")).arg("images").current_dir("/");
    let output = nobody.output().unwrap();
    assert!(!dir.path().join("store").exists(), "{make:?}: it made a store");
    Some(output)
}

fn is_nosuid(dir: PathBuf) -> bool {
    let flags = nix::sys::statvfs::statvfs(&dir).unwrap().flags();
    flags.contains(nix::sys::statvfs::FsFlags::ST_NOSUID)
}

#[test]
fn setuid_setgid_or_with_file_capabilities_it_refuses() {
    if !lab::is_root() {
        return lab::skip_this("only root can make a file that lends root's power");
    }
    for (make, says) in [
        (&["chmod", "4755"][..], "uid 65534 called it, and it would be uid 0"),
        (&["chmod", "2755"], "gid 65534 called it, and it would be gid 0"),
        (&["setcap", "cap_sys_admin+ep"], "its file has capabilities"),
    ] {
        let Some(output) = called(make) else { return };
        let error = lab::text(&output.stderr);
        assert_eq!(lab::code(&output), 125, "{make:?}: {output:?}");
        assert!(error.contains("refuses to lend its caller power") && error.contains(says), "{error}");
        assert!(output.stdout.is_empty() && error.lines().count() == 2, "{output:?}");
    }
    // As it comes it is as good as any program.
    let output = called(&["chmod", "755"]);
    assert!(
        output.is_none_or(|output| lab::code(&output) != 125 || !lab::text(&output.stderr).contains("lend"))
    );
}
