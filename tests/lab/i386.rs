//! A program for 32-bit x86, made of bytes, as no compiler for it need be here.
#![allow(dead_code)]

use crate::lab;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// What it prints.
pub const SAYS: &str = "hello\n";

/// How it ends where nobody refuses mount(2): EFAULT, as the name of the directory is at address 0.
pub const UNFILTERED: i32 = nix::libc::EFAULT;

pub const NOT_HERE: &str = "this kernel does not run 32-bit x86 programs";

const BASE: u32 = 0x0804_8000;
const HEADERS: u32 = 52 + 32;

/// It writes, tries to mount, and ends with the errno of that.
fn code(text: u32) -> Vec<u8> {
    let set = |register: u8, value: u32| [&[0xb8 + register][..], &value.to_le_bytes()].concat();
    let (eax, ecx, edx, ebx) = (0, 1, 2, 3);
    let call: &[u8] = &[0xcd, 0x80];
    let all: [&[u8]; 13] = [
        &set(eax, 4),
        &set(ebx, 1),
        &set(ecx, text),
        &set(edx, SAYS.len() as u32),
        call,
        &set(eax, 21),
        &set(ebx, 0),
        &set(ecx, 0),
        &[0x31, 0xd2, 0x31, 0xf6, 0x31, 0xff], // xor edx, edx; xor esi, esi; xor edi, edi
        call,
        &[0x89, 0xc3, 0xf7, 0xdb], // mov ebx, eax; neg ebx
        &set(eax, 1),
        call,
    ];
    all.concat()
}

/// elf(5): a header, one segment that is all of the file, and in it the code and the text.
fn elf() -> Vec<u8> {
    let begin = BASE + HEADERS;
    let code = code(begin + code(0).len() as u32);
    let size = HEADERS + (code.len() + SAYS.len()) as u32;
    let halves = |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let words = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    [
        b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(),
        halves(&[2, 3]),
        words(&[1, begin, 52, 0, 0]),
        halves(&[52, 32, 1, 40, 0, 0]),
        words(&[1, 0, BASE, BASE, size, size, 5, 0x1000]),
        code,
        SAYS.into(),
    ]
    .concat()
}

/// Puts it there; whether this kernel runs it.
pub fn program(path: &Path) -> bool {
    let bytes: PathBuf = path.with_extension("bytes");
    fs::write(&bytes, elf()).unwrap();
    fs::set_permissions(&bytes, fs::Permissions::from_mode(0o755)).unwrap();
    lab::copy_program(&bytes, path);
    fs::remove_file(bytes).unwrap();
    Command::new(path).output().is_ok_and(|output| output.status.code() == Some(UNFILTERED))
}

/// The name of an image that is made for 32-bit x86, with the program and a shell in it; none, and loudly, where this
/// kernel does not run it.
pub fn image() -> Option<&'static str> {
    const NAME: &str = "i386";
    static RUNS: OnceLock<bool> = OnceLock::new();
    let made = RUNS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let runs = program(&dir.path().join("i386"));
        if runs {
            make(dir.path(), NAME);
        }
        runs
    });
    if !made {
        lab::skip_this(NOT_HERE);
    }
    made.then_some(NAME)
}

/// As `docker save` has it: a layer, a config that names its digest, and a manifest.
fn make(dir: &Path, name: &str) {
    let script = r#"
        mkdir -p root/bin root/tmp root/proc root/sys root/dev root/etc
        cp i386 "$(command -v busybox)" root/bin
        ln -s busybox root/bin/sh
        tar -C root -cf layer.tar .
        sum=$(sha256sum layer.tar | cut -d' ' -f1)
        echo '{"architecture":"386","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:'$sum'"]}}' >config.json
        echo '[{"Config":"config.json","RepoTags":["i386:latest"],"Layers":["layer.tar"]}]' >manifest.json
        tar -cf image.tar manifest.json config.json layer.tar"#;
    let made = Command::new("sh").args(["-ec", script]).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let archive = dir.join("image.tar");
    let words = ["import", "-q", "--platform", "linux/386", archive.to_str().unwrap(), name];
    let imported = lab::rubber(words).output().unwrap();
    assert!(imported.status.success(), "{imported:?}");
}
