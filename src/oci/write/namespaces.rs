//! Whose namespaces they are, who is who in them, and what time it is.

use crate::{
    config::Config,
    ids::{Ids, Range},
    layers::{
        Layer,
        namespaces::{Namespace, Whose},
    },
};
use anyhow::{Context, Result};
use nix::unistd::{getegid, geteuid};
use serde_json::{Value, json};
use std::{fs::read_to_string, os::fd::AsRawFd};

pub fn has(config: &Config, kind: Namespace) -> bool {
    config.layers.contains(kind.layer()) && *config.namespaces.of(kind) != Whose::Host
}

pub fn all(config: &Config) -> Result<Vec<Value>> {
    // Without one of these there is no container of OCI's.
    let mut all = vec![json!({ "type": "mount" })];
    for kind in Namespace::ALL.into_iter().filter(|kind| has(config, *kind)) {
        all.push(match config.namespaces.of(kind) {
            Whose::Container(id) => {
                let path = format!("/proc/{}/ns/{}", first(config, id)?, kind.name());
                json!({ "type": word(kind), "path": path })
            }
            _ => json!({ "type": word(kind) }),
        });
    }
    if !config.clocks.is_empty() {
        all.push(json!({ "type": "time" }));
    }
    Ok(all)
}

fn word(kind: Namespace) -> &'static str {
    if kind == Namespace::Net { "network" } else { kind.name() }
}

/// The first process of a container that is joined: proc_pid_fdinfo(5) tells whose descriptor it is.
fn first(config: &Config, id: &str) -> Result<i32> {
    let donor =
        config.donors.iter().find(|donor| donor.id == id).context("the container to join has ended")?;
    let about = read_to_string(format!("/proc/self/fdinfo/{}", donor.pidfd.as_raw_fd()))?;
    let pid = about.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|pid| *pid > 0).context("the container to join has ended")
}

pub fn ids_and_clocks(config: &Config, linux: &mut Value) {
    if has(config, Namespace::User) && config.namespaces.is_own(Namespace::User) {
        let (uids, gids) = maps(&config.ids);
        linux["uidMappings"] = uids.iter().map(mapping).collect();
        linux["gidMappings"] = gids.iter().map(mapping).collect();
    }
    for (clock, seconds) in &config.clocks {
        linux["timeOffsets"][clock] = json!({ "secs": seconds, "nanosecs": 0 });
    }
}

fn mapping(range: &Range) -> Value {
    json!({ "containerID": range.inside, "hostID": range.outside, "size": range.count })
}

fn maps(ids: &Ids) -> (Vec<Range>, Vec<Range>) {
    let only = |outside| vec![Range { inside: 0, outside, count: 1 }];
    match ids {
        Ids::Ranges { uids, gids, .. } => (uids.clone(), gids.clone()),
        _ => (only(geteuid().as_raw()), only(getegid().as_raw())),
    }
}

/// `rubber run` shows the image with other owners; a root of a bundle has those it has.
pub fn unsaid(config: &Config) -> Option<String> {
    let Ids::Ranges { uids, gids, programs: None } = &config.ids else { return None };
    let root = |ranges: &[Range]| ranges.iter().find(|range| range.inside == 0).map(|range| range.outside);
    (config.layers.contains(Layer::Userns) && config.namespaces.is_own(Namespace::User)).then(|| {
        format!(
            "the root has to belong to its ids, as it does not show the files with others: \
             chown -R {}:{} rootfs gives all of it to its root",
            root(uids).unwrap_or_default(),
            root(gids).unwrap_or_default()
        )
    })
}
