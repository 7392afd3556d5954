//! What is wrong is told in words, and nothing is done.

use super::*;

#[test]
fn wrong_words_are_told_what_is_right() {
    let place = Place::of_this_test();
    place.start("it", &[], "");
    place.write("in", "in");
    let wrong: &[(&[&str], &str)] = &[
        (&["cp", "in", "out"], "one of the two must be in a container"),
        (&["cp", "it:/etc", "it:/tmp"], "rubber cp it:... - | rubber cp - it:..."),
        (&["cp", "it:/nosuch", "."], "no file \"/nosuch\""),
        (&["cp", "it:/etc/passwd/x", "."], "ENOTDIR"),
        (&["cp", "it:/etc/passwd/", "."], "ENOTDIR"),
        (&["cp", "it:/etc/passwd", "nosuch/x"], "no directory"),
        (&["cp", "nosuch", "it:/"], "no file"),
        (&["cp", "in", "it:/nosuch/x"], "no directory \"/nosuch\""),
        (&["cp", "in", "is:/"], "did you mean it?"),
        (&["cp", "", "it:/"], "a path of no length"),
        (&["cp", "-", "it:/etc/passwd"], "no directory"),
        (&["cp", "-", "it:/etc"], "the archive is empty"),
        (&["diff", "nosuch"], "no container \"nosuch\""),
        (&["commit", "it", "UPPER"], "bad image name"),
        (&["commit", "it", "rubber"], "is taken"),
        (&["commit", "nosuch", "x"], "no container"),
        (&["export", "nosuch"], "no container"),
        (&["export", "it", "-o", "/nosuch/file"], "cannot write \"/nosuch/file\""),
        (&["top", "nosuch"], "no container"),
        (&["stats", "nosuch"], "no container"),
        (&["pause", "nosuch"], "no container"),
        (&["unpause", "it"], "not paused (running)"),
        (&["rename", "nosuch", "x"], "no container"),
        (&["rename", "it", "-x"], "unexpected argument"),
        (&["rename", "it", ""], "is no name for a container"),
        (&["cp", "it:/etc"], "required"),
    ];
    for (words, expected) in wrong {
        let said = place.fails(words);
        assert!(said.contains(expected), "{words:?}: {said}");
        // One of the two processes of a copy tells, and the other is silent.
        assert!(said.matches("rubber: ").count() <= 1, "{words:?}: {said}");
    }
    place.balance();
}

#[test]
fn what_takes_a_running_container_says_that_it_has_ended() {
    let place = Place::of_this_test();
    place.start("it", &[], "");
    place.end("it");
    for words in [["top", "it"], ["stats", "it"], ["pause", "it"]] {
        assert!(place.fails(&words).contains("not running (exited)"), "{words:?}");
    }
    if lab::on_overlay() {
        for words in [&["cp", "it:/etc", "."][..], &["diff", "it"], &["commit", "it", "x"], &["export", "it"]]
        {
            assert!(place.fails(words).contains("in memory"), "{words:?}");
        }
    }
    place.balance();
}

#[test]
fn a_container_without_a_root_of_its_own_has_no_files() {
    let place = Place::of_this_test();
    let flags = ["--without", "chroot,mount,pivot_root,overlay"];
    let words = [&["run", "-d", "--name", "bare"], &flags[..], &["/bin/sleep", "100"]].concat();
    if !place.output(&words).status.success() {
        lab::skip_this("there is no such container here");
        return place.balance();
    }
    for words in
        [&["cp", "bare:/etc", "."][..], &["diff", "bare"], &["commit", "bare", "x"], &["export", "bare"]]
    {
        assert!(place.fails(words).contains("no files of its own"), "{words:?}");
    }
    place.balance();
}

#[test]
fn a_copied_root_has_no_layer_to_compare() {
    let place = Place::of_this_test();
    place.start("it", &["--until", "chroot"], "echo x >/x");
    assert!(place.fails(&["diff", "it"]).contains("that takes the overlay layer"));
    place.say(&["commit", "it", "whole"]);
    assert_eq!(place.say(&["run", "whole", "cat", "/x"]), "x");
    place.balance();
}
