//! What breaks off: it is gone on with, tried again, and what has come is never asked for twice.

use super::{
    command, lab,
    place::{Place, entries},
    pty::Terminal,
    rubber,
    site::*,
    tars::Tar,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

const LARGE: usize = 3 << 20;

/// An image of one layer of three megabytes and more, and that layer's digest and blob.
fn large() -> (Content, String, Vec<u8>) {
    let mut content = Content::default();
    let layer = Tar::new().entry(tar::EntryType::Regular, b"noise", b"", &noise(LARGE)).bytes();
    let document = content.image("latest", here(), &[layer]);
    let digest = document["layers"][0]["digest"].as_str().unwrap().to_owned();
    let blob = content.blobs[&digest].clone();
    (content, digest, blob)
}

fn is_whole(place: &Place) {
    assert_eq!(fs::read(place.layer().join("noise")).unwrap(), noise(LARGE));
    assert_eq!(entries(&place.store().join("tmp")).len(), 0);
}

/// The first bytes that were asked for, of each question for the layer.
fn starts(site: &Site, digest: &str) -> Vec<usize> {
    let asked = site.asked().into_iter().filter(|asked| asked.path.ends_with(digest));
    let start = |asked: Asked| {
        let range =
            asked.headers.get("range").map(|range| range["bytes=".len()..].trim_end_matches('-').to_owned());
        range.map_or(0, |from| from.parse().unwrap())
    };
    asked.map(start).collect()
}

#[test]
fn a_broken_layer_goes_on_where_it_broke() {
    let (content, digest, blob) = large();
    let (name, size) = (digest.clone(), blob.len());
    let site = Site::new(content, move |asked, count| {
        let cut = Answer::Raw(head("200 OK", &[], Some(size), &blob[..1 << 20]));
        (asked.path.ends_with(&name) && count == 1).then_some(cut)
    });
    let place = Place::new();
    let ended = rubber(&place, &["pull", &site.name()]).good();
    assert!(
        ended.err.contains("breaks off at 1048576 of")
            && ended.err.contains("trying again in 0.5 s (1 of 4)"),
        "{}",
        ended.err
    );
    assert_eq!(starts(&site, &digest), [0, 1 << 20]);
    is_whole(&place);
}

#[test]
fn a_registry_without_ranges_begins_again() {
    let (content, digest, blob) = large();
    let (name, size) = (digest.clone(), blob.len());
    let site = Site::new(content, move |asked, count| {
        let cut = Answer::Raw(head("200 OK", &[], Some(size), &blob[..1 << 20]));
        asked.path.ends_with(&name).then(|| if count == 1 { cut } else { plain("200 OK", &blob[..]) })
    });
    let place = Place::new();
    rubber(&place, &["pull", &site.name()]).good();
    is_whole(&place);
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    let (content, digest, blob) = large();
    let site = Site::new(content, move |asked, count| {
        let cut = Answer::Raw(head("200 OK", &[], Some(blob.len()), &blob[..1 << 20]));
        let range = vec![header("Content-Range", "bytes 7-9/10")];
        let wrong = Answer::Whole("206 Partial Content", range, blob[1 << 20..].to_vec());
        asked.path.ends_with(&digest).then_some(if count == 1 { cut } else { wrong })
    });
    let place = Place::new();
    let ended = rubber(&place, &["pull", &site.name()]);
    assert!(ended.err.contains("the registry sends \"bytes 7-9/10\""), "{}", ended.err);
    assert_eq!((ended.code, place.layers().len()), (Some(125), 0));
}

#[test]
fn a_killed_pull_is_gone_on_with_by_the_next() {
    let (content, digest, blob) = large();
    let (name, size) = (digest.clone(), blob.len());
    let site = Site::new(content, move |asked, count| {
        let half = Answer::Stall(head("200 OK", &[], Some(size), &blob[..2 << 20]));
        (asked.path.ends_with(&name) && count == 1).then_some(half)
    });
    let place = Place::new();
    let partial = place.store().join("tmp").join(digest.replace("sha256:", "blob-"));
    let mut child = command(&place, &["pull", &site.name()]).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while fs::metadata(&partial).map_or(0, |about| about.len()) < 2 << 20 {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing came");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let ended = rubber(&place, &["pull", &site.name()]).good();
    assert!(ended.err.contains("of which 2.1 MB were here already"), "{}", ended.err);
    assert_eq!(starts(&site, &digest), [0, 2 << 20]);
    is_whole(&place);
}

#[test]
fn what_was_left_and_is_wrong_is_got_again() {
    let (content, digest, _) = large();
    let site = Site::honest(content);
    let place = Place::new();
    rubber(&place, &["images"]).good();
    fs::create_dir_all(place.store().join("tmp")).unwrap();
    fs::write(place.store().join("tmp").join(digest.replace("sha256:", "blob-")), [7; 1000]).unwrap();
    let ended = rubber(&place, &["pull", &site.name()]).good();
    assert!(ended.err.contains("once more, from the beginning"), "{}", ended.err);
    assert_eq!(starts(&site, &digest), [1000, 0]);
    is_whole(&place);
}

#[test]
fn a_busy_registry_is_asked_again_and_not_for_ever() {
    for status in ["429 Too Many Requests", "503 Service Unavailable", "500 Internal Server Error"] {
        let (content, _, _) = large();
        let site = Site::new(content, move |asked, count| {
            let busy = Answer::Whole(status, vec![header("Retry-After", "0")], Vec::new());
            (asked.path != "/v2/" && count <= 2).then_some(busy)
        });
        let place = Place::new();
        let ended = rubber(&place, &["pull", &site.name()]).good();
        assert!(
            ended.err.contains(&format!("answers {status}: trying again in 0.0 s (2 of 4)")),
            "{}",
            ended.err
        );
        is_whole(&place);
    }
    let always =
        |asked: &Asked, _: usize| (asked.path != "/v2/").then(|| plain("503 Service Unavailable", ""));
    let site = Site::new(Content::default(), always);
    let ended = rubber(&Place::new(), &["pull", "--retry", "1", &site.name()]);
    assert!(ended.err.contains("tried 2 times: ") && ended.err.contains("answers 503"), "{}", ended.err);
    assert_eq!(site.asked().iter().filter(|asked| asked.path.contains("manifests")).count(), 2);
}

#[test]
fn what_is_here_is_not_asked_for() {
    let (content, digest, _) = large();
    let site = Site::honest(content);
    let place = Place::new();
    let first = rubber(&place, &["pull", &site.name()]).good();
    let second = rubber(&place, &["pull", &site.name()]).good();
    assert_eq!((first.out, second.err.as_str()), (second.out, ""));
    assert_eq!(starts(&site, &digest).len(), 1);
    let quiet = rubber(&place, &["pull", "-q", &site.name()]).good();
    assert!(
        quiet.out.starts_with("sha256:") && quiet.out.lines().count() == 1 && quiet.err.is_empty(),
        "{}",
        quiet.out
    );
}

#[test]
fn a_terminal_gets_a_bar_for_each_layer_and_is_left_in_order() {
    let mut content = Content::default();
    let layers: Vec<_> = (0..3).map(|number| Tar::new().file(&number.to_string(), "x").bytes()).collect();
    let document = content.image("latest", here(), &layers);
    let site = Site::new(content, |asked, _| {
        std::thread::sleep(Duration::from_millis(if asked.path.contains("/blobs/") { 300 } else { 0 }));
        None
    });
    let place = Place::new();
    let mut command = command(&place, &["pull", &site.name()]);
    let terminal = Terminal::start_sized(command.env("TERM", "xterm"), 100, 30);
    let (code, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
    for layer in document["layers"].as_array().unwrap() {
        assert!(seen.contains(&layer["digest"].as_str().unwrap()[7..19]), "{seen:?}");
    }
    assert!(seen.contains("downloading") && seen.contains("all layers"), "{seen:?}");
    assert!(
        !seen.contains("\u{1b}[?25l") || seen.rfind("\u{1b}[?25h") > seen.rfind("\u{1b}[?25l"),
        "the cursor is hidden"
    );
    let last = seen.trim_end().lines().last().unwrap();
    assert!(last.contains(&site.name()), "{seen:?}");
}

#[test]
fn an_interrupted_pull_says_so_and_keeps_what_came() {
    let (content, digest, blob) = large();
    let name = digest.clone();
    let site = Site::new(content, move |asked, count| {
        let half = Answer::Stall(head("200 OK", &[], Some(blob.len()), &blob[..2 << 20]));
        (asked.path.ends_with(&name) && count == 1).then_some(half)
    });
    let place = Place::new();
    let mut terminal =
        Terminal::start_sized(command(&place, &["pull", &site.name()]).env("TERM", "xterm"), 100, 30);
    terminal.wait_for("downloading");
    let partial = place.store().join("tmp").join(digest.replace("sha256:", "blob-"));
    let began = Instant::now();
    while fs::metadata(&partial).map_or(0, |about| about.len()) < 2 << 20 {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing came");
        std::thread::sleep(Duration::from_millis(5));
    }
    terminal.type_in("\u{3}");
    let (code, seen) = terminal.end();
    assert_eq!(code, 128 + 2, "{seen}");
    assert!(
        seen.trim_end()
            .ends_with("interrupted: what has come is kept, and the same command goes on from there"),
        "{seen:?}"
    );
    assert_eq!((place.layers().len(), entries(&place.store().join("images")).len()), (0, 0));
    rubber(&place, &["pull", &site.name()]).good();
    assert_eq!(starts(&site, &digest), [0, 2 << 20]);
    is_whole(&place);
}

#[test]
fn an_interrupted_unpacking_leaves_only_the_blob() {
    let mut content = Content::default();
    // Long enough to be interrupted, and compressed no better than honest files are.
    let block = [noise(8 << 10), vec![0; 56 << 10]].concat();
    let file = block.repeat(3 << 10);
    let layer = Tar::new().entry(tar::EntryType::Regular, b"file", b"", &file).bytes();
    let document = content.image("latest", here(), &[layer]);
    let digest = document["layers"][0]["digest"].as_str().unwrap().to_owned();
    let site = Site::honest(content);
    let place = Place::new();
    let mut terminal =
        Terminal::start_sized(command(&place, &["pull", &site.name()]).env("TERM", "xterm"), 100, 30);
    terminal.wait_for("unpacking");
    let began = Instant::now();
    terminal.type_in("\u{3}");
    let (code, seen) = terminal.end();
    assert_eq!(code, 128 + 2, "{seen}");
    for part in ["tmp", "layers", "images"] {
        assert_eq!(
            entries(&place.store().join(part)),
            [] as [PathBuf; 0],
            "in {part} after {:?}",
            began.elapsed()
        );
    }
    rubber(&place, &["pull", &site.name()]).good();
    assert_eq!(starts(&site, &digest), [0]);
    assert_eq!(fs::metadata(place.layer().join("file")).unwrap().len(), file.len() as u64);
}

#[test]
fn a_run_that_is_ended_ends_its_pull() {
    let (content, digest, blob) = large();
    let site = Site::new(content, move |asked, _| {
        let half = Answer::Stall(head("200 OK", &[], Some(blob.len()), &blob[..2 << 20]));
        asked.path.ends_with(&digest).then_some(half)
    });
    let place = Place::new();
    let mut child = command(&place, &["run", &site.name(), "true"]).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while !site.asked().iter().any(|asked| asked.path.contains("/blobs/sha256")) {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing was asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let pull: i32 = children.trim().parse().expect("one process pulls");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    let began = Instant::now();
    while fs::metadata(format!("/proc/{pull}")).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "it goes on pulling");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Two hundred times with RUBBER_TEST_KILLS=200.
#[test]
fn a_pull_killed_anywhere_leaves_nothing_or_the_whole() {
    let kills: u32 =
        std::env::var("RUBBER_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(25);
    let mut content = Content::default();
    let layer = |n: usize| {
        let mut tar = Tar::new();
        for file in 0..100 {
            tar = tar.entry(tar::EntryType::Regular, format!("{n}-{file}").as_bytes(), b"", &noise(2000));
        }
        tar.bytes()
    };
    content.image("latest", here(), &[layer(0), layer(1), layer(2)]);
    let site = Site::honest(content);
    let place = Place::new();
    let began = Instant::now();
    rubber(&place, &["pull", &site.name()]).good();
    let takes = began.elapsed();
    let whole: Vec<_> = place.layers();
    let blobs = |place: &Place| entries(&place.store().join("blobs/sha256"));
    let (all, mut seen) = (blobs(&place), std::collections::BTreeSet::new());
    for n in 0..kills {
        let _ = fs::remove_dir_all(place.store()); // one that was killed early has made none
        let mut child = command(&place, &["pull", "-q", &site.name()]).stdout(Stdio::null()).spawn().unwrap();
        // Its end is where the names appear.
        std::thread::sleep(takes * (n + kills / 4) / kills);
        child.kill().unwrap();
        child.wait().unwrap();
        let (layers, blobs) = (place.layers(), blobs(&place));
        assert!(layers.iter().all(|layer| whole.contains(layer)), "{layers:?}");
        assert!(layers.iter().all(|layer| entries(layer).len() == 100), "{layers:?}");
        assert!(blobs.iter().all(|blob| all.contains(blob)), "{blobs:?}");
        let is_named = entries(&place.store().join("images")).len() == 1;
        assert!(!is_named || layers.len() == 3, "an image is not there before its layers are");
        seen.insert((layers.len(), is_named));
        if is_named {
            // What is there is whole to the last byte: nothing is asked for again.
            let asked = site.asked().iter().filter(|asked| asked.path.contains("/blobs/")).count();
            rubber(&place, &["pull", &site.name()]).good();
            let more = site.asked().iter().filter(|asked| asked.path.contains("/blobs/")).count() - asked;
            assert!(more <= 1, "its config alone is asked for again, not {more} blobs");
        }
    }
    lab::note(&format!("{kills} killed pulls left {seen:?} (layers, named)"));
    rubber(&place, &["pull", &site.name()]).good();
    assert_eq!(place.layers(), whole);
    assert_eq!(entries(&place.store().join("tmp")).len(), 0);
    assert_eq!(rubber(&place, &["doctor", "--store"]).code, rubber(&place, &["doctor"]).code);
    rubber(&place, &["rmi", &site.name()]).good();
    rubber(&place, &["clean"]).good();
    place.assert_empty_store();
    assert_eq!(blobs(&place).len(), 0);
}

#[test]
fn damage_is_told_of_an_image_that_was_pulled_and_mended_by_pulling_it_again() {
    let place = Place::new();
    let mut content = Content::default();
    let layers = [Tar::new().directory("some").file("some/a", "a"), Tar::new().file("some/b", "b")];
    content.image("latest", here(), &layers.map(Tar::bytes));
    let site = Site::honest(content);
    rubber(&place, &["pull", &site.name()]).good();
    let examined = || rubber(&place, &["doctor", "--store", "--format", "json"]).out;
    let sound = examined();
    assert!(!sound.contains("is damaged") && !sound.contains("nothing to compare"), "{sound}");
    for layer in place.layers() {
        fs::write(layer.join("added"), "").unwrap();
        let told = examined();
        assert!(told.contains("is damaged: in the layer") && told.contains("/added"), "{told}");
        rubber(&place, &["pull", &site.name()]).good();
        assert!(!examined().contains("is damaged"));
    }
}

/// Where no more threads are allowed, an error says so, and what has come is kept for the next time.
#[test]
fn a_pull_without_threads_is_told_and_leaves_nothing_half_made() {
    let Some(crowd) = crate::crowd::Crowd::new() else {
        return lab::skip_this("no cgroup here that counts processes");
    };
    let (content, ..) = large();
    let site = Site::new(content, |_, _| None);
    let place = Place::new();
    for most in crowd.limits() {
        let mut command = command(&place, &["pull", &site.name()]);
        crowd.put(&mut command, most);
        let output = command.output().unwrap();
        let said = lab::text(&output.stderr);
        let is_told = said.contains("EAGAIN") && said.contains("ulimit -u");
        assert!(lab::code(&output) == 0 || lab::code(&output) == 125 && is_told, "{most}: {output:?}");
        let left = entries(&place.store().join("tmp"));
        assert!(left.iter().all(|path| !path.to_string_lossy().contains("new-")), "{most}: {left:?}");
    }
    rubber(&place, &["pull", &site.name()]).good();
    is_whole(&place);
}
