//! What passes a chapter's checks and is wrong nevertheless: the attacks find it.

use crate::bench::Bench;

/// Nothing asks for the device nodes of a container, until somebody writes to /dev/null.
#[test]
fn learn_attacks_find_what_no_check_asks_for() {
    let Some(bench) = Bench::lock() else { return };
    let mount = bench.chapters().into_iter().find(|chapter| chapter.layer == "mount").unwrap();
    let shipped = bench.shipped(&mount);
    let wrong = crate::bench::splice(&shipped, "pub fn dev(_: &Config) -> Result<()> {\n    Ok(())\n}\n");
    bench.solve(&mount, &wrong);
    let found = bench.check(&mount);
    assert_eq!(found["result"]["diagnosis"], "attack.null", "{}", found["result"]);
    assert!(found["screen"].as_str().unwrap().lines().count() <= 12, "{}", found["screen"]);
    bench.solve(&mount, &shipped);
}
