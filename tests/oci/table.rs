//! Tables of cases: what people do with an engine, and what it prints with rubber in runc's place. What fails with rubber
//! has to fail with runc, too.

use crate::lab;
use std::{
    process::Output,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Its name, what is done, and what that prints.
pub type Case = (&'static str, &'static str, &'static str);

#[derive(Clone, Copy)]
pub enum Runtime {
    Rubber,
    Runc,
}

/// All of them if `variable` says "all", or the one that it names; or else one of so many, and of even more where everything is slow.
pub fn part<'a>(all: &'a [Case], variable: &str, [share, small_share]: [usize; 2]) -> Vec<&'a Case> {
    let wanted = std::env::var(variable).unwrap_or_default();
    let share = match &*wanted {
        "all" => 1,
        _ if lab::few() => small_share,
        _ => share,
    };
    let named: Vec<_> = all.iter().filter(|case| case.0 == wanted).collect();
    if named.is_empty() { all.iter().step_by(share).collect() } else { named }
}

/// `run` takes the runtime, a name for what is made, and what is done. Most of the time of each is the engine waiting.
pub fn try_all(all: &[Case], cases: Vec<&Case>, run: impl Fn(Runtime, &str, &str) -> Output + Sync) {
    let (next, good) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let wrong = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let number = all.iter().position(|other| other == *case).unwrap();
                    match judge(&run, number, case) {
                        Verdict::Good => drop(good.fetch_add(1, Ordering::Relaxed)),
                        Verdict::AsBadAsRunc => {}
                        Verdict::Wrong(why) => wrong.lock().unwrap().push(why),
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    // Where hardly anything works with runc, it is not the runtime that was tried.
    let good = good.into_inner();
    assert!(
        good * 2 >= cases.len(),
        "{good} of {} cases do what they should, with whatever runtime",
        cases.len()
    );
}

enum Verdict {
    Good,
    AsBadAsRunc,
    Wrong(String),
}

/// What is wrong with it; what is wrong with runc as well is only told.
fn judge(
    run: &impl Fn(Runtime, &str, &str) -> Output,
    number: usize,
    (name, script, expected): &Case,
) -> Verdict {
    let try_with = |runtime: Runtime, container: &str| {
        let output = run(runtime, container, script);
        let printed = lab::text(&output.stdout).trim().replace(container, "C");
        (printed, lab::text(&output.stderr))
    };
    let (printed, error) = try_with(Runtime::Rubber, &format!("c{number}"));
    if printed == *expected {
        return Verdict::Good;
    }
    let (runcs, why) = match lab::has("runc") {
        true => try_with(Runtime::Runc, &format!("r{number}")),
        false => (String::new(), "there is no runc".into()),
    };
    if runcs == *expected || runcs == printed && !printed.is_empty() {
        return Verdict::Wrong(format!(
            "{name}: {printed:?} instead of {expected:?} (runc: {runcs:?}): {error}"
        ));
    }
    let theirs = format!("{runcs:?}: {}", why.trim());
    lab::note(&format!("{name}: {printed:?} ({}) fails with runc, too ({theirs})", error.trim()));
    Verdict::AsBadAsRunc
}
