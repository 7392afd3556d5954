//! Many at once.

use super::*;

fn all_end_well(mut commands: Vec<Command>) {
    let quiet = || std::process::Stdio::null();
    let children: Vec<_> =
        commands.iter_mut().map(|command| command.stdout(quiet()).spawn().unwrap()).collect();
    for mut child in children {
        let ended = child.wait().unwrap();
        assert!(ended.success(), "{ended:?}");
    }
}

#[test]
fn many_start_at_once_and_are_joined_at_once() {
    let place = Place::new("many");
    let names: Vec<_> = (0..40).map(|n| format!("many{n}")).collect();
    let start = |name: &String| place.rubber(&["run", "-d", "--name", name, "busybox", "sleep", "1000"]);
    all_end_well(names.iter().map(start).collect());
    assert_eq!(place.say(&["ps", "-q"]).lines().count(), 40);
    all_end_well((0..40).map(|_| place.rubber(&["exec", "many7", "true"])).collect());
    // Of one name there can be only one, however many ask for it.
    let twins = (0..8).map(|_| place.rubber(&["run", "-d", "--name", "twin", "busybox", "sleep", "1000"]));
    let mut twins: Vec<_> =
        twins.map(|mut twin| twin.stderr(std::process::Stdio::null()).spawn().unwrap()).collect();
    let born = twins.iter_mut().filter_map(|twin| twin.wait().unwrap().success().then_some(())).count();
    assert_eq!(born, 1);
}
