//! The table of archives that wish us ill: what each is called, how it is made, and what must become of it.

use super::tars::Tar;
use std::io::Write;
use tar::{EntryType, Header};

/// What must become of an archive.
pub enum Then {
    /// One line with these words in it, and nothing left of it.
    Refused(&'static str),
    /// The same where the kernel lets us try (as root); an ordinary user does without the attribute.
    RefusedToRoot(&'static str),
    /// It is unpacked, and means less than it says.
    Harmless,
}
use Then::*;

pub struct Attack {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub then: Then,
    /// Variables of the environment.
    pub limits: &'static [(&'static str, &'static str)],
}

fn attack(name: &'static str, then: Then, tar: Tar) -> Attack {
    raw(name, then, tar.bytes())
}

fn raw(name: &'static str, then: Then, bytes: Vec<u8>) -> Attack {
    Attack { name, bytes, then, limits: &[] }
}

fn limited(
    name: &'static str,
    words: &'static str,
    limits: &'static [(&str, &str)],
    bytes: Vec<u8>,
) -> Attack {
    Attack { name, bytes, then: Refused(words), limits }
}

fn one() -> Tar {
    Tar::new().file("good", "good")
}

/// All of them. `outside` is an absolute directory that must stay as it is: it has a file `canary` in it.
pub fn all(outside: &str) -> Vec<Attack> {
    let mut all = names(outside);
    all.extend(links(outside));
    all.extend(numbers());
    all.extend(extensions());
    all.extend(sparse());
    all.extend(attributes());
    all.extend(compression());
    all.extend(oddities());
    all
}

fn names(outside: &str) -> Vec<Attack> {
    let absolute = format!("{outside}/canary");
    let deep = "d/".repeat(100_000);
    vec![
        attack("..", Refused(".."), one().file("../canary", "bad")),
        attack(".. in the middle", Refused(".."), one().file("a/../../canary", "bad")),
        attack(".. as a directory", Refused(".."), one().directory("..")),
        attack(".. as a link's name", Refused(".."), one().symlink("../canary", "x")),
        attack(".. behind many dots", Refused(".."), one().file("./././../canary", "bad")),
        attack("absolute", Refused("absolute"), one().file("/canary", "bad")),
        attack("absolute, the canary", Refused("absolute"), one().long(&absolute).file("x", "bad")),
        attack("no name", Refused("the name is empty"), one().file("", "bad")),
        attack("the root as a file", Refused("root directory"), one().file(".", "bad")),
        attack("the root as a link", Refused("root directory"), one().symlink(".", outside)),
        attack("the root as a fifo", Refused("root directory"), one().entry(EntryType::Fifo, b".", b"", b"")),
        attack("NUL in a name", Refused("NUL"), one().pax(&[("path", b"a\0b")]).file("a", "")),
        attack("NUL in a GNU name", Refused("NUL"), one().long("a\0b").file("a", "")),
        attack(
            "a part of 256 bytes",
            Refused("File name too long"),
            one().long(&"n".repeat(256)).file("a", ""),
        ),
        attack("a name of 4 KiB", Refused("File name too long"), one().long(&"n".repeat(4096)).file("a", "")),
        attack(
            "a path of 4 KiB",
            Refused("File name too long"),
            one().long(&"abc/".repeat(1100)).file("a", ""),
        ),
        attack("100,000 levels", Refused("File name too long"), one().long(&deep).directory("d")),
        attack(
            "100,000 levels, PAX",
            Refused("File name too long"),
            one().pax(&[("path", deep.as_bytes())]).file("d", ""),
        ),
        attack("newline", Harmless, one().file("new\nline", "")),
        attack("escape characters", Harmless, one().file("\x1b[2J\x1b]0;title\x07", "")),
        attack("escape characters, refused", Refused(".."), one().file("../\x1b[2J\r\n", "")),
        attack("not UTF-8", Harmless, one().entry(EntryType::Regular, b"\xff\xfe\x80", b"", b"")),
        attack(
            "as our own temporary directory",
            Harmless,
            one().directory("rootfs").file("new-abcdef/rootfs/x", ""),
        ),
        attack(
            "as the store",
            Harmless,
            one().file("layers/x", "").file("lock", "").file("images/it.json", "{"),
        ),
        attack("whiteouts outside a layer", Harmless, one().file(".wh.good", "").file("d/.wh..wh..opq", "")),
        attack(
            "names that differ by case",
            Harmless,
            one().file("A/x", "").symlink("a", "A").file("a/x", "").directory("b").symlink("B", outside),
        ),
    ]
}

fn links(outside: &str) -> Vec<Attack> {
    let inside = outside.trim_start_matches('/');
    let mut chain = one();
    for n in 0..1000 {
        let last = if n == 0 { "good".to_owned() } else { format!("l{}", n - 1) };
        chain = chain.hard_link(&format!("l{n}"), &last);
    }
    let mut ring = one();
    for n in 0..100 {
        ring = ring.symlink(&format!("s{n}"), &format!("s{}", (n + 1) % 100));
    }
    vec![
        attack("hard link to ..", Refused(".."), one().hard_link("stolen", "../canary")),
        attack(
            "hard link to an absolute name",
            Refused("absolute"),
            one().hard_link("stolen", "/etc/passwd"),
        ),
        attack(
            "hard link through a link",
            Refused("no such entry"),
            one().symlink("x", outside).hard_link("stolen", "x/canary"),
        ),
        attack(
            "hard link through a link, to a directory that is there",
            Refused("no such entry"),
            one().long(inside).directory("i").symlink("x", outside).hard_link("stolen", "x/canary"),
        ),
        attack("hard link to what is not there", Refused("no such entry"), one().hard_link("a", "b")),
        attack("hard link to a directory", Refused("directory"), one().directory("d").hard_link("e", "d")),
        attack("hard link to the root", Refused("hard link to"), one().hard_link("e", ".")),
        attack("NUL in a hard link", Refused("NUL"), one().pax(&[("linkpath", b"a\0b")]).hard_link("a", "b")),
        attack(
            "NUL in a link",
            Refused("not possible"),
            one().pax(&[("linkpath", b"a\0b")]).symlink("a", "b"),
        ),
        attack("a link without a target", Refused("not possible"), one().symlink("a", "")),
        attack(
            "a link's target of 4 KiB",
            Refused("File name too long"),
            one().long_link(&"t".repeat(4096)).symlink("a", "b"),
        ),
        attack(
            "a file through a link that leads nowhere",
            Refused("leads nowhere"),
            one().symlink("x", "/no/such").file("x/y", "bad"),
        ),
        attack("a file through a ring of links", Refused("ELOOP"), ring.file("s0/z", "bad")),
        attack("a file where a directory is needed", Refused("Not a directory"), one().file("good/y", "")),
        attack(
            "link, then write through it",
            Harmless,
            one().symlink("x", &format!("{outside}/canary")).file("x", "bad"),
        ),
        attack(
            "link to a directory, then write in it",
            Harmless,
            one().long(inside).directory("i").symlink("x", outside).file("x/canary", "bad"),
        ),
        attack(
            "link to /proc/self/root",
            Refused("leads nowhere"),
            one().symlink("x", "/proc/self/root").file("x/canary", "bad"),
        ),
        attack(
            "link with .. beyond the root",
            Harmless,
            one().symlink("x", "../../../../..").file("x/canary", "bad"),
        ),
        attack(
            "link, then a fifo through it",
            Harmless,
            one().symlink("x", "/").entry(EntryType::Fifo, b"x/canary", b"", b""),
        ),
        attack(
            "link, then a directory in its place",
            Harmless,
            one().symlink("x", outside).directory("x").file("x/canary", ""),
        ),
        attack("link, then removed through", Harmless, one().symlink("x", outside).file("x", "")),
        attack(
            "hard link to a link that leads out",
            Harmless,
            one().symlink("x", &format!("{outside}/canary")).hard_link("y", "x").file("y", "bad"),
        ),
        attack("a chain of 1000 hard links", Harmless, chain),
        attack("hard link to itself", Harmless, one().hard_link("good", "good")),
        attack(
            "a fifo, then written to",
            Harmless,
            one().entry(EntryType::Fifo, b"p", b"", b"").file("p", "x"),
        ),
        attack(
            "a fifo, then filled",
            Refused("Not a directory"),
            one().entry(EntryType::Fifo, b"p", b"", b"").file("p/x", ""),
        ),
    ]
}

fn numbers() -> Vec<Attack> {
    let size = |field: [u8; 12]| move |header: &mut Header| header.as_old_mut().size = field;
    let file = |change: &dyn Fn(&mut Header)| one().odd(EntryType::Regular, "f", b"", change);
    let base256 = |bytes: [u8; 8], first: u8| {
        let mut field = [if first == 0xff { 0xff } else { 0 }; 12];
        field[4..].copy_from_slice(&bytes);
        field[0] = first;
        field
    };
    vec![
        attack("a negative size", Refused("negative"), file(&size(base256((-512i64).to_be_bytes(), 0xff)))),
        attack(
            "a size of 2^63",
            Refused("more than 64 bits"),
            file(&size(base256([0x80, 0, 0, 0, 0, 0, 0, 0], 0x80))),
        ),
        attack(
            "a size of 2^64 + 1, which is 1 to some",
            Refused("more than 64 bits"),
            file(&size([0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1])),
        ),
        attack(
            "a size of 2^63 - 1",
            Refused("it says that it has"),
            file(&size(base256(i64::MAX.to_be_bytes(), 0x80))),
        ),
        attack("a size of 8 GiB, and no content", Refused("cut off"), file(&size(*b"77777777777\0"))),
        attack("a size that is no number", Refused("a number with"), file(&size(*b"00000009x00\0"))),
        attack("a size with a minus", Refused("a number with"), file(&size(*b"-0000000100\0"))),
        attack(
            "a mode that is no number",
            Refused("its mode"),
            file(&|h| h.as_old_mut().mode = *b"rwxrwxrw"),
        ),
        attack("user -1", Refused("no user or group id"), file(&|h| h.set_uid(u32::MAX.into()))),
        attack("group 2^40", Refused("no user or group id"), file(&|h| h.set_gid(1 << 40))),
        attack(
            "user 2^32, which is root to some",
            Refused("no user or group id"),
            file(&|h| h.set_uid(1 << 32)),
        ),
        attack(
            "user -2 of base 256",
            Refused("no user or group id"),
            file(&|h| h.as_old_mut().uid = (-2i64).to_be_bytes()),
        ),
        attack(
            "user 2^63 in PAX",
            Refused("bad PAX uid"),
            one().pax(&[("uid", b"9223372036854775808")]).file("f", ""),
        ),
        attack("user -1 in PAX", Refused("no user or group id"), one().pax(&[("uid", b"-1")]).file("f", "")),
        attack(
            "a time before 1970",
            Harmless,
            file(&|h| h.as_old_mut().mtime = base256((-1i64).to_be_bytes(), 0xff)),
        ),
        attack("a time after the sun", Harmless, file(&|h| h.as_old_mut().mtime = base256([0x3f; 8], 0x80))),
        attack(
            "a time that is no number",
            Refused("its time"),
            file(&|h| h.as_old_mut().mtime = *b"yesterday\0\0\0"),
        ),
        attack(
            "a PAX time that is no number",
            Refused("bad PAX mtime"),
            one().pax(&[("mtime", b"1e9")]).file("f", ""),
        ),
        raw("a wrong checksum", Refused("checksum"), {
            let mut bytes = one().file("f", "").bytes();
            bytes[1024 + 100] ^= 1;
            bytes
        }),
    ]
}

fn extensions() -> Vec<Attack> {
    let pax = |content: &[u8]| one().entry(EntryType::XHeader, b"pax", b"", content).file("f", "x");
    let global = |pairs: &[(&str, &[u8])]| one().global(pairs).file("f", "x");
    // A record in a record: a reader that looks for newlines finds a path in the value of something else.
    let hidden = b"user.note\n20 path=../canary\n";
    vec![
        attack(
            "a long name of 2 MiB",
            Refused("more than 1 MiB"),
            one().long(&"n".repeat(2 << 20)).file("a", ""),
        ),
        attack("a PAX header of 2 MiB", Refused("more than 1 MiB"), pax(&vec![b'x'; 2 << 20])),
        attack(
            "a PAX header that says 8 GiB",
            Refused("more than 1 MiB"),
            one().odd(EntryType::XHeader, "p", b"", |h| h.set_size(8 << 30)).file("f", ""),
        ),
        attack(
            "a long name of negative size",
            Refused("negative"),
            one().odd(EntryType::GNULongName, "p", b"", |h| h.as_old_mut().size = [0xff; 12]).file("f", ""),
        ),
        attack("a long name at the end", Refused("no next entry"), one().long("name")),
        attack("a PAX header at the end", Refused("no next entry"), one().pax(&[("path", b"name")])),
        attack("two long names", Refused("two headers"), one().long("a").long("b").file("c", "")),
        attack(
            "two long links",
            Refused("two headers"),
            one().long_link("a").long_link("b").symlink("c", "d"),
        ),
        attack(
            "two PAX headers",
            Refused("two headers"),
            one().pax(&[("path", b"a")]).pax(&[("path", b"b")]).file("c", ""),
        ),
        attack(
            "a GNU name without its NUL",
            Harmless,
            one().entry(EntryType::GNULongName, b"l", b"", b"named").file("x", ""),
        ),
        attack("a PAX record of length 0", Refused("bad PAX header"), pax(b"0 path=x\n")),
        attack("a PAX record of negative length", Refused("bad PAX header"), pax(b"-9 path=x\n")),
        attack("a PAX record that is too long", Refused("bad PAX header"), pax(b"99 path=x\n")),
        attack("a PAX record of 2^64 + 10", Refused("bad PAX header"), pax(b"18446744073709551626 path=x\n")),
        attack("a PAX record without a newline", Refused("bad PAX header"), pax(b"10 path=xy")),
        attack("a PAX record without =", Refused("bad PAX header"), pax(b"9 pathxx\n")),
        attack(
            "a PAX size beyond the archive",
            Refused("cut off"),
            one().pax(&[("size", b"8589934592")]).file("f", "x"),
        ),
        attack(
            "a PAX size of 2^63",
            Refused("bad PAX size"),
            one().pax(&[("size", b"9223372036854775808")]).file("f", "x"),
        ),
        attack("a negative PAX size", Refused("negative"), one().pax(&[("size", b"-1")]).file("f", "x")),
        // The next "header" is the content of this file: to a reader that ignores the size, an entry of its own.
        attack("a PAX size that hides an entry", Harmless, {
            let evil = Tar::new().file("../canary", "bad").unfinished();
            let size = evil.len().to_string();
            one()
                .pax(&[("size", size.as_bytes())])
                .odd(EntryType::Regular, "f", b"", |h| h.set_size(0))
                .append(&evil)
        }),
        attack("a path in a PAX value", Harmless, one().pax(&[("comment", hidden)]).file("f", "")),
        attack(
            "a global header that names",
            Refused("some readers obey it"),
            global(&[("path", b"../canary")]),
        ),
        attack(
            "a global header that links",
            Refused("some readers obey it"),
            global(&[("linkpath", b"/etc")]),
        ),
        attack("a global header with a size", Refused("some readers obey it"), global(&[("size", b"0")])),
        attack("a global header that comments", Harmless, global(&[("comment", b"52 bytes")])),
        attack(
            "a directory with content",
            Refused("has content"),
            one().entry(EntryType::Directory, b"d", b"", &Tar::new().file("../canary", "").unfinished()),
        ),
        attack(
            "a link with content",
            Refused("has content"),
            one().entry(EntryType::Symlink, b"l", b"good", &[0; 512]),
        ),
        attack(
            "a hard link with content",
            Refused("has content"),
            one().entry(EntryType::Link, b"l", b"good", b"bad"),
        ),
        attack(
            "a fifo with content",
            Refused("has content"),
            one().entry(EntryType::Fifo, b"l", b"", b"bad"),
        ),
        attack(
            "a device with content",
            Refused("has content"),
            one().entry(EntryType::Char, b"l", b"", b"bad"),
        ),
        attack(
            "a file that ends with a slash and has content",
            Refused("has content"),
            one().file("d/", "bad"),
        ),
    ]
}

fn sparse() -> Vec<Attack> {
    // Parts as offset and length, and the size of the whole.
    let file = |parts: &[(u64, u64)], whole: u64, content: &[u8]| {
        one().odd(EntryType::GNUSparse, "holes", content, |header| {
            let gnu = header.as_gnu_mut().unwrap();
            gnu.set_real_size(whole);
            for (place, (offset, length)) in gnu.sparse.iter_mut().zip(parts) {
                place.set_offset(*offset);
                place.set_length(*length);
            }
        })
    };
    let content = [1; 512];
    vec![
        attack("holes of a gibibyte", Harmless, file(&[(1 << 30, 512)], (1 << 30) + 512, &content)),
        limited(
            "holes that are too large together",
            "RUBBER_MAX_UNPACKED",
            &[("RUBBER_MAX_UNPACKED", "1m")],
            [
                file(&[(0, 512)], 700 << 10, &content).unfinished(),
                file(&[(0, 512)], 700 << 10, &content).bytes(),
            ]
            .concat(),
        ),
        attack(
            "holes of 8 EiB",
            Refused("it says that it has"),
            file(&[(0, 512)], i64::MAX as u64, &content),
        ),
        attack(
            "a sparse file that ends before its parts",
            Refused("do not agree"),
            file(&[(1024, 512)], 512, &content),
        ),
        attack(
            "a sparse file of less than its parts",
            Refused("do not agree"),
            file(&[(0, 1024)], 1024, &content),
        ),
        attack(
            "a sparse file of more than its parts",
            Refused("do not agree"),
            file(&[(0, 512)], 1024, &[1; 1024]),
        ),
        attack(
            "sparse parts that overlap",
            Refused("overlap"),
            file(&[(512, 512), (0, 512)], 1024, &[1; 1024]),
        ),
        attack(
            "sparse parts of odd size",
            Refused("overlap"),
            file(&[(0, 100), (512, 100)], 1024, &[1; 200]),
        ),
        attack(
            "a sparse part of 2^63",
            Refused("do not agree"),
            file(&[(0, i64::MAX as u64)], 1024, &content),
        ),
        attack(
            "a sparse part beyond all",
            Refused("more than 64 bits"),
            file(&[(1 << 62, 512), (i64::MAX as u64, i64::MAX as u64 + 1)], 1 << 62, &content),
        ),
        raw("a sparse file that goes on for ever", Refused("too many parts"), {
            let mut block = [0; 512];
            for part in block.chunks_exact_mut(24).take(21) {
                part.copy_from_slice(b"00000000000\x0000000000000\0");
            }
            block[504] = 1;
            let header =
                one().odd(EntryType::GNUSparse, "s", b"", |h| h.as_gnu_mut().unwrap().isextended = [1]);
            [header.unfinished(), block.repeat(3000)].concat()
        }),
        raw("a sparse file whose list is cut off", Refused("cut off"), {
            one()
                .odd(EntryType::GNUSparse, "s", b"", |h| h.as_gnu_mut().unwrap().isextended = [1])
                .unfinished()
        }),
        attack(
            "sparse in PAX",
            Refused("sparse"),
            one().pax(&[("GNU.sparse.major", b"1")]).file("GNUSparseFile.0/f", ""),
        ),
    ]
}

fn attributes() -> Vec<Attack> {
    let with =
        |name: &str, value: &[u8]| one().pax(&[(&format!("SCHILY.xattr.{name}"), value)]).file("f", "x");
    vec![
        attack(
            "a malformed file capability",
            RefusedToRoot("security.capability"),
            with("security.capability", b"all of them"),
        ),
        attack(
            "a file capability of 60 KiB",
            RefusedToRoot("security.capability"),
            with("security.capability", &[2; 60 << 10]),
        ),
        attack(
            "an attribute of 70 KiB",
            RefusedToRoot("more than this filesystem keeps"),
            with("user.big", &[b'x'; 70 << 10]),
        ),
        attack(
            "an attribute with a name of 300 bytes",
            RefusedToRoot("more than this filesystem keeps"),
            with(&format!("user.{}", "n".repeat(300)), b"x"),
        ),
        attack("an attribute with NUL in its name", RefusedToRoot("user.a"), with("user.a\0b", b"x")),
        attack(
            "overlayfs's attributes",
            Harmless,
            one()
                .pax(&[
                    ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                    ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                    ("SCHILY.xattr.trusted.overlay.metacopy", b""),
                    ("SCHILY.xattr.user.overlay.redirect", b"/etc"),
                    ("SCHILY.xattr.user.overlay.opaque", b"y"),
                ])
                .directory("d"),
        ),
        // Where the entry's owner cannot be given, what else cannot be is not insisted on either.
        attack(
            "an access list that is none",
            if super::lab::is_root() { Refused("posix_acl_access") } else { Harmless },
            with("system.posix_acl_access", &[2, 0, 0, 0, 1, 0, 7, 0, 0xff, 0xff, 0xff, 0xff]),
        ),
        attack(
            "somebody's security label",
            Harmless,
            with("security.selinux", b"system_u:object_r:shadow_t:s0"),
        ),
        attack("trust of others", Harmless, with("trusted.anything", b"x")),
        attack(
            "a setuid program of somebody else",
            Harmless,
            one().odd(EntryType::Regular, "su", b"#!", |h| {
                h.set_mode(0o6755);
                h.set_uid(0);
            }),
        ),
    ]
}

fn compression() -> Vec<Attack> {
    let tar = one().bytes();
    let zeros = vec![0; 64 << 20];
    let (gzipped, zipped) = (gzip(&tar), zstd(&tar));
    let spoiled = |mut bytes: Vec<u8>, from_end: usize| {
        let at = bytes.len() - from_end;
        bytes[at] ^= 0xff;
        bytes
    };
    vec![
        raw("gzip, cut off", Refused("cut off"), gzipped[..gzipped.len() - 12].to_vec()),
        raw("gzip, a wrong checksum", Refused("cut off or damaged"), spoiled(gzipped.clone(), 8)),
        raw("gzip, a wrong length", Refused("cut off or damaged"), spoiled(gzipped.clone(), 1)),
        raw("gzip, something behind it", Refused("cut off or damaged"), [&gzipped[..], b"garbage"].concat()),
        raw("gzip, two members", Harmless, [gzip(&tar[..700]), gzip(&tar[700..])].concat()),
        raw("zstd, cut off", Refused("cut off"), zipped[..zipped.len() - 5].to_vec()),
        raw("zstd, a wrong checksum", Refused("checksum"), spoiled(zipped.clone(), 1)),
        raw("zstd, something behind it", Refused("cut off or damaged"), [&zipped[..], b"garbage"].concat()),
        raw(
            "zstd, two frames and one to skip",
            Harmless,
            [&zstd(&tar[..700])[..], b"\x53\x2a\x4d\x18\x03\0\0\0abc", &zstd(&tar[700..])].concat(),
        ),
        raw(
            "zstd, a frame to skip that is longer than all",
            Refused("cut off"),
            [&zipped[..], b"\x53\x2a\x4d\x18\xff\xff\xff\xffabc"].concat(),
        ),
        // A frame header: window descriptor 0xb8 is 2^33 bytes.
        raw(
            "zstd, a window of 8 GiB",
            Refused("window of 8192 MiB"),
            b"\x28\xb5\x2f\xfd\0\xb8\x01\0\0".to_vec(),
        ),
        raw(
            "zstd, a dictionary",
            Refused("not a tar archive"),
            b"\x28\xb5\x2f\xfd\x01\x58\x07\x01\0\0".to_vec(),
        ),
        raw("gzip, a bomb", Refused("RUBBER_MAX_RATIO"), [gzip(&tar), gzip(&zeros).repeat(17)].concat()),
        raw("zstd, a bomb", Refused("RUBBER_MAX_RATIO"), [zstd(&tar), zstd(&zeros).repeat(17)].concat()),
        limited("gzip in gzip", "not a tar archive", &[], gzip(&gzipped)),
        limited(
            "more than may come out of it",
            "RUBBER_MAX_UNPACKED",
            &[("RUBBER_MAX_UNPACKED", "1m")],
            gzip(&Tar::new().file("f", &"x".repeat(1 << 20)).bytes()),
        ),
        limited(
            "more than may come out of it, plain",
            "RUBBER_MAX_UNPACKED",
            &[("RUBBER_MAX_UNPACKED", "1m")],
            Tar::new().file("f", &"x".repeat((1 << 20) - 512)).bytes(),
        ),
        limited(
            "more entries than there may be",
            "RUBBER_MAX_ENTRIES",
            &[("RUBBER_MAX_ENTRIES", "2")],
            one().file("a", "").file("b", "").bytes(),
        ),
        limited(
            "a limit that is none",
            "RUBBER_MAX_RATIO=\"much\" is no number",
            &[("RUBBER_MAX_RATIO", "much")],
            tar.clone(),
        ),
        limited(
            "a limit beyond all",
            "is no number",
            &[("RUBBER_MAX_UNPACKED", "99999999999999999999g")],
            tar,
        ),
    ]
}

fn oddities() -> Vec<Attack> {
    let kind = |byte: u8| one().entry(EntryType::new(byte), b"odd", b"", b"");
    vec![
        attack("type Q", Refused("type 'Q'"), kind(b'Q')),
        attack("a socket", Refused("type 's'"), kind(b's')),
        attack("a part of another volume", Refused("type 'M'"), kind(b'M')),
        attack("a device over a file", Harmless, one().entry(EntryType::Block, b"good", b"", b"")),
        attack(
            "a device through a link",
            Harmless,
            one().symlink("x", "/").entry(EntryType::Char, b"x/canary", b"", b""),
        ),
        attack("a directory, then a file in its place", Harmless, one().file("d/e/f", "").file("d", "")),
        attack("the same entry a hundred times", Harmless, {
            (0..100).fold(one(), |tar, n| tar.file("again", &n.to_string()).directory("d").symlink("l", "d"))
        }),
        attack(
            "the same name as everything",
            Harmless,
            one()
                .directory("x")
                .file("x", "")
                .symlink("x", "good")
                .entry(EntryType::Fifo, b"x", b"", b"")
                .hard_link("x", "good")
                .entry(EntryType::Char, b"x", b"", b"")
                .directory("x")
                .file("x/y", ""),
        ),
        raw("something behind the end", Harmless, [one().bytes(), b"garbage".repeat(1000)].concat()),
        raw(
            "another archive behind the end",
            Harmless,
            [one().bytes(), Tar::new().file("../canary", "bad").bytes()].concat(),
        ),
        raw("cut off between two entries", Refused("cut off"), one().unfinished()),
        raw("cut off in a header", Refused("cut off"), one().file("f", "").unfinished()[..1324].to_vec()),
        raw("zeros", Refused("empty"), vec![0; 10240]),
        raw("nothing", Refused("empty"), vec![]),
    ]
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}
