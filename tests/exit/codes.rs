//! Exit codes, and the ways not to run in words.

use super::*;

#[test]
fn the_exit_code_is_the_commands_own() {
    for wanted in (0..=255).step_by(if lab::few() { 51 } else { 1 }) {
        assert_eq!(code(&run(&[], &format!("exit {wanted}"))), wanted);
    }
    for flags in WAYS {
        for wanted in part(&[0, 126, 255, 1, 42, 125, 127, 128, 137], 3) {
            assert_eq!(code(&run(flags, &format!("exit {wanted}"))), *wanted, "{flags:?}");
        }
    }
}

#[test]
fn a_command_ended_by_signal_n_is_128_and_n() {
    // No SIGQUIT: the shell ignores it. 34 and 64 are the first and the last of the real-time signals that programs use.
    for signal in part(&[1, 9, 15, 34, 2, 4, 6, 7, 8, 10, 11, 13, 14, 24, 31, 40, 64], 4) {
        // Pid 1 of a namespace cannot end itself with a signal, so it is a child of init's or has no namespace.
        for flags in &WAYS[1..] {
            let output = run(flags, &format!("kill -{signal} $$; sleep 1; exit 0"));
            assert_eq!(code(&output), 128 + signal, "{flags:?}: {output:?}");
        }
    }
    // From pid 1's own child, by way of the shell.
    assert_eq!(code(&run(&[], "sh -c 'kill -9 $$'; exit $?")), 137);
}

/// A root filesystem with programs that cannot be run, each in its own way.
fn broken_programs() -> PathBuf {
    let dir = lab::scratch().join(format!("broken-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("bin")).unwrap();
    let busybox = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|place| place.join("busybox"))
        .find(|file| file.is_file())
        .expect("busybox");
    lab::copy_program(busybox, dir.join("bin/busybox"));
    std::os::unix::fs::symlink("busybox", dir.join("bin/sh")).unwrap();
    let file = |name: &str, mode, content: &[u8]| {
        fs::write(dir.join("bin").join(name), content).unwrap();
        fs::set_permissions(dir.join("bin").join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    file("script", 0o755, b"#!/bin/sh\necho the script ran\n");
    file("plain", 0o644, b"#!/bin/sh\n");
    file("garbage", 0o755, b"\x00\x01\x02\x03 neither this nor that");
    file("empty", 0o755, b"");
    file("orphan", 0o755, b"#!/nosuch/interpreter -x\n");
    file("crlf", 0o755, b"#!/bin/sh\r\necho hi\r\n");
    file("loaderless", 0o755, &elf_without_loader());
    std::os::unix::fs::symlink("loop", dir.join("bin/loop")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.join("bin/dangling")).unwrap();
    dir
}

/// The start of a 64-bit program whose loader is not there: a header and one PT_INTERP.
fn elf_without_loader() -> Vec<u8> {
    let loader = b"/lib/nosuch-loader.so.1\0";
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2_u16, machine].map(u16::to_le_bytes).concat());
    elf.extend(1_u32.to_le_bytes());
    elf.extend([0x40_0078_u64, 64, 0].map(u64::to_le_bytes).concat());
    elf.extend(0_u32.to_le_bytes());
    elf.extend([64_u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    elf.extend([3_u32, 4].map(u32::to_le_bytes).concat());
    let length = loader.len() as u64;
    elf.extend([120, 0x40_0078, 0x40_0078, length, length, 1].map(u64::to_le_bytes).concat());
    elf.extend(loader);
    elf
}

#[test]
fn ways_not_to_run_are_told_apart() {
    if !lab::has("busybox") {
        return lab::skip("ways_not_to_run_are_told_apart", "no busybox on this machine");
    }
    let dir = broken_programs();
    let cases: &[(&str, i32, &str)] = &[
        ("nosuch", 127, "not found in PATH"),
        ("/bin/nosuch", 127, "not found"),
        ("/bin/dangling", 127, "not found"),
        ("/bin/busybox/x", 127, "not a directory"),
        ("/bin", 126, "directory"),
        ("/bin/plain", 126, "not executable"),
        ("plain", 126, "not executable"),
        ("/bin/garbage", 126, "exec format"),
        ("/bin/empty", 126, "exec format"),
        ("/bin/loop", 126, "ELOOP"),
        ("/bin/orphan", 127, "interpreter \"/nosuch/interpreter\" is missing"),
        ("/bin/loaderless", 127, "interpreter \"/lib/nosuch-loader.so.1\" is missing"),
        ("", 127, "cannot run \"\""),
    ];
    for flags in part(WAYS, 1) {
        for (command, expected, words) in cases {
            let output = with_root(flags, &dir, &[command]);
            let said = text(&output.stderr);
            assert_eq!(code(&output), *expected, "{command:?} {flags:?}: {output:?}");
            assert!(said.starts_with("rubber: cannot run ") && said.contains(words), "{command:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{command:?}: {said}");
        }
    }
    // The carriage return is part of the name, and nothing that a terminal obeys may be printed.
    let output = with_root(&[], &dir, &["/bin/crlf"]);
    assert_eq!(code(&output), 127, "{output:?}");
    assert!(
        text(&output.stderr).contains("interpreter") && !text(&output.stderr).contains('\r'),
        "{output:?}"
    );
    let output = with_root(&[], &dir, &["script"]);
    assert_eq!((code(&output), text(&output.stdout)), (0, "the script ran\n".into()), "{output:?}");
    fs::remove_dir_all(dir).unwrap();
}

fn with_root(flags: &[&str], dir: &std::path::Path, command: &[&str]) -> Output {
    let words = [&["run"], flags, &["--rootfs", dir.to_str().unwrap()], command].concat();
    rubber(words).output().unwrap()
}
