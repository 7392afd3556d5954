//! What a learner does, in a checkout of its own: builds, reads, goes from red to green. What a check finds in
//! every exercise and every mistake is the `workshop` tests' business, which build nothing.

#[path = "../lab/chapters.rs"]
mod chapters;
#[path = "../lab/mod.rs"]
mod lab;

mod bench;

use bench::Bench;
use std::fs;

/// What of an exercise is not the lesson is the shipped file's, word for word.
#[test]
fn learn_exercises_differ_from_the_layers_only_in_their_steps() {
    for chapter in bench::chapters() {
        let shipped = bench::shipped(chapter);
        for function in bench::functions(&chapter.exercise) {
            let is_lesson = function.contains("not_yet(");
            assert!(is_lesson || shipped.contains(function), "{}: {function}", chapter.id);
        }
        for step in chapter.steps() {
            let stop = format!("not_yet({step})");
            assert_eq!(chapter.exercise.matches(&stop).count(), 1, "{}: {stop}", chapter.id);
        }
    }
}

/// One build with every exercise in it, and no warning.
#[test]
fn learn_exercises_compile_without_a_warning() {
    let Some(bench) = Bench::lock() else { return };
    for chapter in bench::chapters() {
        bench.solve(chapter, &chapter.exercise);
    }
    let features: Vec<_> =
        bench::chapters().iter().map(|chapter| format!("exercise-{}", chapter.layer)).collect();
    let mut cargo = std::process::Command::new("cargo");
    cargo.args(["build", "--bin", "rubber", "--config", "profile.dev.debug=false"]);
    cargo.args(["--config", "build.build-dir='target'", "--target-dir", "target/learn"]);
    let output = cargo.args(["--features", &features.join(",")]).current_dir(&bench.root).output().unwrap();
    let said = lab::text(&output.stderr);
    assert!(output.status.success() && !said.contains("warning"), "{said}");
}

/// What a learner types, from the start: each command and its exit code.
#[test]
fn learn_goes_from_red_to_green() {
    let Some(bench) = Bench::lock() else { return };
    let uts = bench::of("uts");
    bench.solve(uts, &uts.exercise);
    let expect = |words: &[&str], code: i32, part: &str| {
        let output = bench.learn(words);
        let said = lab::text(&output.stdout) + &lab::text(&output.stderr);
        assert_eq!(lab::code(&output), code, "{words:?}: {said}");
        assert!(said.contains(part), "{words:?}: {said}");
    };
    expect(&["start", "uts"], 0, "workshop/05_uts/exercise.rs");
    expect(&["list"], 0, "> 05 uts");
    expect(&["check"], 1, "not yet: step 1, leave the host's UTS namespace");
    expect(&["hint"], 0, "hint 1 of 3");
    expect(&["hint"], 0, "CLONE_NEWUTS");
    bench.solve(uts, &bench.spliced(uts, "no-newuts.rs"));
    let told = if lab::is_root() {
        "the host's hostname changed too"
    } else {
        "the kernel refused to rename the host"
    };
    expect(&["check"], 1, told);
    bench.solve(uts, "this is no Rust");
    expect(&["check"], 1, "error");
    bench.solve(uts, &bench::shipped(uts));
    expect(&["check", "05"], 0, "the kernel confirms it");
    expect(&["solution", "05"], 0, "sethostname");
    // What is random is masked, so nothing is told but what the layer does.
    let calls = "system calls\n  + unshare(CLONE_NEWUTS)\n  + sethostname(\"NAME\", 6)\n\nfacts\n";
    expect(&["diff", "04", "05"], 0, calls);
    expect(&["diff", "05", "04"], 2, "name the earlier first");
    expect(&["check", "nonsense"], 2, "no chapter");
    expect(&["nonsense"], 2, "neither a command");
    // A chapter that was named and is not right is where one is from then on.
    bench.solve(uts, &uts.exercise);
    expect(&["check", "05"], 1, "not yet: step 1");
    expect(&["hint"], 0, "05 uts");
    fs::remove_file(bench.root.join("workshop/05_uts/exercise.rs")).unwrap();
    expect(&["check"], 2, "rubber learn reset 05");
    bench.solve(uts, &uts.exercise);
}

/// `rubber learn` checks at once and after each save, and stays where it is after a pass.
#[test]
fn learn_watches_the_exercise() {
    use std::io::{BufRead, BufReader};
    let Some(bench) = Bench::lock() else { return };
    let uts = bench::of("uts");
    assert!(bench.learn(&["start", "uts"]).status.success());
    bench.solve(uts, &uts.exercise);
    let mut watch = std::process::Command::new(lab::RUBBER);
    watch.arg("learn").current_dir(&bench.root).stdout(std::process::Stdio::piped());
    let mut watch = watch.stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut until_waiting =
        || lines.by_ref().take_while(|line| !line.starts_with("waiting for")).collect::<Vec<_>>();
    let first = until_waiting().join("\n");
    // As an editor does that writes a new file: for a moment there is none, and that is no save.
    fs::remove_file(bench.root.join("workshop/05_uts/exercise.rs")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    bench.solve(uts, &bench::shipped(uts));
    let second = until_waiting().join("\n");
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(first.contains("It begins red") && first.contains("not yet: step 1"), "{first}");
    assert!(second.contains("05 uts   the kernel confirms it"), "{second}");
}

/// After a pass comes the next chapter, wherever the learner has begun; who starts one anew is there.
#[test]
fn learn_goes_on_from_the_chapter_that_passed() {
    let bench = Bench::lock_without_cargo();
    let is_at = |progress: &str, name: &str| {
        fs::write(bench.root.join(".rubber-learn"), progress).unwrap();
        let list = lab::text(&bench.learn(&["list"]).stdout);
        assert!(list.contains(&format!("> {name} ")), "{progress}\n{list}");
        assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
    };
    is_at("", "00 process");
    is_at("06_pid passed 1\ncurrent 06_pid passed\n", "07 net");
    is_at("06_pid passed 1\n07_net passed 1\ncurrent 06_pid passed\n", "08 cpu");
    is_at("06_pid passed 1\ncurrent 06_pid\n", "06 pid");
    // The chapter without a layer comes after all those with one, and ends the row.
    let last = &bench::chapters().last().unwrap().id;
    is_at(&format!("{last} passed 1\ncurrent {last} passed\n"), "20 oci");
    is_at("20_oci passed 1\ncurrent 20_oci passed\n", "00 process");
}

/// An exercise that was deleted is no error of the compiler's.
#[test]
fn learn_brings_a_lost_exercise_back() {
    let bench = Bench::lock_without_cargo();
    let uts = bench::of("uts");
    fs::remove_file(bench.exercise(uts)).unwrap();
    let output = bench.learn(&["check", "uts"]);
    assert_eq!(lab::code(&output), 2);
    assert!(lab::text(&output.stderr).contains("rubber learn reset 05"), "{output:?}");
    assert!(bench.learn(&["reset", "uts"]).status.success());
    assert_eq!(fs::read_to_string(bench.exercise(uts)).unwrap(), uts.exercise);
}

/// The exercise comes back, and what was written is kept.
#[test]
fn learn_resets_with_a_backup() {
    let bench = Bench::lock_without_cargo();
    let uts = bench::of("uts");
    bench.solve(uts, &uts.exercise);
    let git = |words: &[&str]| {
        let who = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
        let mut git = std::process::Command::new("git");
        assert!(
            git.args(who).args(words).current_dir(&bench.root).output().unwrap().status.success(),
            "{words:?}"
        );
    };
    git(&["init", "-q"]);
    git(&["add", "workshop"]);
    git(&["commit", "-qm", "as it comes"]);
    bench.solve(uts, "mine");
    let output = bench.learn(&["reset", "uts"]);
    std::fs::remove_dir_all(bench.root.join(".git")).unwrap();
    assert!(output.status.success(), "{output:?}");
    let dir = bench.root.join("workshop/05_uts");
    assert_eq!(std::fs::read_to_string(dir.join("exercise.rs")).unwrap(), uts.exercise);
    assert_eq!(std::fs::read_to_string(dir.join("exercise.rs.1")).unwrap(), "mine");
}

/// A solution is shown after a pass, or to who gives up, and that is written down.
#[test]
fn learn_shows_no_solution_unasked() {
    let bench = Bench::lock_without_cargo();
    std::fs::remove_file(bench.root.join(".rubber-learn")).unwrap();
    let output = bench.learn(&["solution", "uts"]);
    assert_eq!((lab::code(&output), output.stdout.len()), (1, 0));
    let output = bench.learn(&["solution", "uts", "--give-up"]);
    assert!(output.status.success() && lab::text(&output.stdout).contains("sethostname"));
    assert!(lab::text(&bench.learn(&["list"]).stdout).contains("solution seen"));
}

/// Outside of a checkout there is nothing to learn with, and that is said.
#[test]
fn learn_says_where_the_exercises_are() {
    let place = tempfile::tempdir().unwrap();
    let binary = place.path().join("rubber");
    lab::copy_program(lab::RUBBER, &binary);
    let output =
        std::process::Command::new(&binary).args(["learn", "list"]).current_dir(&place).output().unwrap();
    assert_eq!(lab::code(&output), 2);
    assert!(lab::text(&output.stderr).contains("cd into a checkout"), "{output:?}");
}

#[test]
fn learn_has_a_mistake_for_every_diagnosis_and_no_mistake_without() {
    for chapter in bench::chapters() {
        let named = |list| bench::diagnoses(chapter, list).into_iter().flat_map(|(_, mistakes)| mistakes);
        let mut files: Vec<_> = fs::read_dir(chapter.dir.join("mistakes"))
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        files.sort();
        let mut sorted: Vec<_> = named("mistakes").collect();
        sorted.sort();
        assert_eq!(sorted, files, "{}", chapter.id);
        assert!(named("as_user").all(|file| files.contains(&file)), "{}", chapter.id);
        let lists = ["mistakes", "as_user"].map(|list| bench::diagnoses(chapter, list));
        for ((id, roots), (_, users)) in lists[0].iter().zip(&lists[1]) {
            assert!(!roots.is_empty() || !users.is_empty(), "{}: {id} has no mistake", chapter.id);
        }
    }
}
