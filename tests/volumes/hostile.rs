//! Images and volumes that want rubber to mount, or to make, something outside.

use super::*;
use std::{
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, Ordering},
};

/// Ways in which links in an image may name a place of the host's: through rubber's own descriptors, as in
/// CVE-2024-21626, and through the host's root, as long as that is in reach.
fn ways_out(to: &Path) -> Vec<PathBuf> {
    let below = to.strip_prefix("/").unwrap();
    let up = "../".repeat(30);
    let mut ways = vec![to.to_owned(), Path::new(&up).join(below), Path::new("/proc/self/cwd").join(below)];
    ways.extend((0..24).map(|fd| Path::new(&format!("/proc/self/fd/{fd}/{up}")).join(below)));
    ways
}

/// A root with a shell and not much else.
fn small_root(place: &Place) -> PathBuf {
    say(&[], "true");
    let root = place.path("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    let layers = fs::read_dir(store().join("layers")).unwrap().flatten();
    let busybox = layers.map(|layer| layer.path().join("bin/busybox")).find(|file| file.is_file()).unwrap();
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for applet in ["sh", "cat", "ls", "mount", "true", "readlink"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    root
}

fn assert_untouched(place: &Place, what: &str) {
    let found: Vec<_> =
        fs::read_dir(place.path("victim")).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(found.is_empty(), "{what}: {found:?}");
}

/// CVE-2021-30465: a destination is the container's, whatever links say.
#[test]
fn hostile_links_lead_no_mount_out() {
    if cannot() {
        return;
    }
    let place = Place::new();
    let root = small_root(&place);
    let links = place.path("links");
    fs::create_dir(&links).unwrap();
    let share = place.at("links", "/links");
    for (n, way) in ways_out(&place.path("victim")).iter().enumerate() {
        symlink(way, root.join(format!("way{n}"))).unwrap();
        symlink(way, links.join(format!("way{n}"))).unwrap();
        // In the image, and in a volume, where the image is one whose layers rubber holds.
        for (n, in_image) in [(n, true), (n, false)] {
            let target = if in_image { format!("/way{n}/made") } else { format!("/links/way{n}/made") };
            let (dir, file) = (place.at("data", &target), place.at("data/file", &target));
            let device = format!("/dev/null:{target}");
            let all =
                [["-v", &dir], ["-v", &file], ["--tmpfs", &target], ["--device", &device], ["-w", &target]];
            for flags in if n < 4 { &all[..] } else { &all[..1] } {
                let output = match in_image {
                    true => with_root(flags, &root, "true"),
                    false => run(&[&["-v", &share], &flags[..]].concat(), "true"),
                };
                assert_untouched(&place, &format!("{flags:?}: {way:?}: {output:?}"));
                // A magic link leads nowhere; the others to a place of that name inside.
                assert_eq!(
                    output.status.success(),
                    !way.starts_with("/proc"),
                    "{flags:?}: {way:?}: {output:?}"
                );
            }
        }
    }
    let inside = format!("cat {}/made/file", place.path("victim").display());
    for target in ["/way0/made", "/way1/made"] {
        let output = with_root(&["-v", &place.at("data", target)], &root, &inside);
        assert_eq!(text(&output.stdout), "outside\n", "{output:?}");
    }
}

/// What rubber adds unasked must not be led out either, and not stop the container.
#[test]
fn hostile_links_in_etc_are_left_alone() {
    if cannot() {
        return;
    }
    let place = Place::new();
    let root = small_root(&place);
    for way in ways_out(&place.path("victim")) {
        let _ = fs::remove_file(root.join("etc"));
        symlink(&way, root.join("etc")).unwrap();
        let output = with_root(&[], &root, "echo ran");
        assert_eq!(text(&output.stdout), "ran\n", "{output:?}");
        assert_untouched(&place, &format!("{way:?}"));
    }
    for make in [|etc: &Path| fs::write(etc, "").unwrap(), |etc: &Path| symlink("etc", etc).unwrap()] {
        fs::remove_file(root.join("etc")).unwrap();
        make(&root.join("etc"));
        let output = with_root(&[], &root, "echo ran");
        assert_eq!(text(&output.stdout), "ran\n", "{output:?}");
    }
    fs::remove_file(root.join("etc")).unwrap();
    fs::create_dir(root.join("etc")).unwrap();
    fs::create_dir(root.join("etc/hosts")).unwrap();
    // As in many an image made from a machine that was running.
    symlink("../run/of/resolver/stub.conf", root.join("etc/resolv.conf")).unwrap();
    let output =
        with_root(&["-h", "me"], &root, "cat /etc/hostname; readlink /etc/resolv.conf; ls /run/of/resolver");
    assert_eq!(text(&output.stdout), "me\n../run/of/resolver/stub.conf\nstub.conf\n", "{output:?}");
}

/// CVE-2021-30465 as it was: the volume is shared, and whoever has the other end turns a directory into a link
/// and back as fast as can be.
#[test]
fn hostile_swapping_of_a_directory_and_a_link_leads_no_mount_out() {
    if cannot() {
        return;
    }
    let place = Place::new();
    let (directory, link) = (place.path("data/t"), place.path("data/link"));
    fs::create_dir(&directory).unwrap();
    let stop = AtomicBool::new(false);
    let mut seen = [0, 0];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Those that would do, were it not for what rubber does against them.
            let ways = ways_out(&place.path("victim"));
            for way in [1, 6, 7, 8].iter().map(|n| &ways[*n]).cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let _ = fs::remove_file(&link);
                symlink(way, &link).unwrap();
                for _ in 0..100 {
                    exchange(&directory, &link);
                }
            }
        });
        for n in 0..40 {
            let made = format!("/shared/t/made-{n}");
            let flags = ["-v", &place.at("data", "/shared"), "-v", &place.at("data", &made)];
            let output = run(&flags, "true");
            seen[usize::from(output.status.success())] += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_untouched(&place, &format!("{seen:?} failed and ran"));
}

fn exchange(a: &Path, b: &Path) {
    let here = nix::fcntl::AT_FDCWD;
    nix::fcntl::renameat2(here, a, here, b, nix::fcntl::RenameFlags::RENAME_EXCHANGE).unwrap();
}

/// CVE-2019-16884: what lies over /proc/self/attr, say, could tell a program that it is confined.
#[test]
fn hostile_targets_in_proc_are_refused() {
    if cannot() {
        return;
    }
    let place = Place::new();
    let root = small_root(&place);
    for name in ["/proc", "/proc/self/attr", "/proc/sys/kernel"] {
        symlink(name, root.join(name.replace('/', "-"))).unwrap();
    }
    for target in [
        "/proc",
        "/proc/sys",
        "/proc/new",
        "/x/../proc/sys",
        "/-proc",
        "/-proc/sys",
        "/-proc/new",
        "/-proc-self-attr",
    ] {
        for flags in [
            ["-v", &place.at("data", target)],
            ["--tmpfs", target],
            ["--device", &format!("/dev/null:{target}")],
        ] {
            let output = with_root(&flags, &root, "true");
            let said = text(&output.stderr);
            assert!(code(&output) == 125 && said.contains("/proc"), "{flags:?}: {output:?}");
        }
    }
    let output = with_root(&["-v", &place.at("data", "/-proc-sys-kernel")], &root, "true");
    assert_eq!(code(&output), 125, "{output:?}");
}

/// A chain of links, and one that never ends.
#[test]
fn hostile_links_without_end_are_an_error() {
    if cannot() {
        return;
    }
    let place = Place::new();
    let root = small_root(&place);
    symlink("loop", root.join("loop")).unwrap();
    for n in 0..60 {
        symlink(format!("chain{}/x", n + 1), root.join(format!("chain{n}"))).unwrap();
    }
    symlink("/nowhere/..", root.join("dots")).unwrap();
    for target in ["/loop", "/loop/x", "/chain0", "/dots/x"] {
        let output = with_root(&["-v", &place.at("data", target)], &root, "true");
        assert_eq!(code(&output), 125, "{target}: {output:?}");
        assert!(!text(&output.stderr).contains("panicked"), "{output:?}");
    }
    symlink("/some/where", root.join("new")).unwrap();
    let output = with_root(&["-v", &place.at("data", "/new/in")], &root, "cat /some/where/in/file");
    assert_eq!(text(&output.stdout), "outside\n", "{output:?}");
}
