//! pause and resume: all of a group stands still, and goes on.

use super::cgroup::Group;
use crate::sys;
use anyhow::{Context, Result, bail};
use std::{
    fs::read_to_string,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

pub fn is_paused(groups: &[Group]) -> bool {
    let Some((dir, v1)) = freezer(groups) else { return false };
    let file = if v1 { "freezer.self_freezing" } else { "cgroup.freeze" };
    read_to_string(dir.join(file)).is_ok_and(|text| text.trim() == "1")
}

pub fn freeze(groups: &[Group]) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let (dir, v1) = freezer(groups).context("this container has no cgroup with a freezer")?;
    let begin = Instant::now();
    loop {
        sys::write(
            &dir.join(if v1 { "freezer.state" } else { "cgroup.freeze" }),
            if v1 { "FROZEN" } else { "1" },
        )?;
        let (file, done) = if v1 { ("freezer.state", "FROZEN\n") } else { ("cgroup.events", "frozen 1") };
        if read_to_string(dir.join(file))?.contains(done) {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            thaw(groups)?;
            bail!("it does not stand still after {} s: it goes on", PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(1));
    }
}

pub fn thaw(groups: &[Group]) -> Result<()> {
    let (dir, v1) = freezer(groups).context("this container has no cgroup with a freezer")?;
    sys::write(&dir.join(if v1 { "freezer.state" } else { "cgroup.freeze" }), if v1 { "THAWED" } else { "0" })
}

/// And whether it is version 1's.
fn freezer(groups: &[Group]) -> Option<(&Path, bool)> {
    let v1 = groups.iter().find(|group| group.controllers.is_some() && group.has("freezer"));
    let v2 = groups.iter().find(|group| group.controllers.is_none());
    v1.map(|group| (group.dir.as_path(), true)).or(v2.map(|group| (group.dir.as_path(), false)))
}
