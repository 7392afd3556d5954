//! process.scheduler, process.ioPriority and linux.personality: what a process passes on to all it starts.

use crate::{
    config::Config,
    sys::{self, schedule::Turn},
};
use anyhow::{Context, Result, bail, ensure};
use nix::sched::CpuSet;
use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxSchedulerFlag as Flag, LinuxSchedulerPolicy as Policy, Scheduler,
};
use serde_json::Value;

#[derive(Clone, Debug, Default)]
pub struct Schedule {
    pub turn: Option<Turn>,
    /// The class and the number in it.
    pub disk: Option<(u8, u8)>,
    pub personality: Option<u64>,
    /// Of who joins a container: on which processors, before it is in its cgroups and from then on.
    pub first: Option<Processors>,
    pub in_group: Option<Processors>,
}

/// As they are written, "0-3,7".
#[derive(Clone, Debug)]
pub struct Processors(String, CpuSet);

impl Schedule {
    /// SCHED_RESET_ON_FORK is for who asked alone, and SCHED_DEADLINE lets nobody fork: sched(7).
    pub fn is_inherited(&self) -> bool {
        const DEADLINE: u32 = 6;
        self.turn.as_ref().is_none_or(|turn| turn.flags & 1 == 0 && turn.policy != DEADLINE)
    }
}

pub fn any(config: &Config) -> bool {
    let Schedule { turn, disk, personality, .. } = &config.bundle.schedule;
    turn.is_some() || disk.is_some() || personality.is_some()
}

/// While CAP_SYS_NICE is still there.
pub fn take(config: &Config) -> Result<()> {
    let Schedule { turn, disk, personality, .. } = &config.bundle.schedule;
    turn.as_ref().map_or(Ok(()), sys::schedule::sched_setattr)?;
    disk.map_or(Ok(()), |(class, number)| sys::schedule::ioprio_set(class, number))?;
    personality.map_or(Ok(()), sys::schedule::personality)
}

pub fn place_first(config: &Config) -> Result<()> {
    config.bundle.schedule.first.as_ref().map_or(Ok(()), place)
}

pub fn any_in_group(config: &Config) -> bool {
    config.bundle.schedule.in_group.is_some()
}

/// Not before it is in its cpuset: whoever comes into one may run on all there is in it.
pub fn place_in_group(config: &Config) -> Result<()> {
    config.bundle.schedule.in_group.as_ref().map_or(Ok(()), place)
}

fn place(Processors(list, set): &Processors) -> Result<()> {
    sys::schedule::sched_setaffinity(list, set)
}

/// process.execCPUAffinity's words.
pub fn processors(list: &str) -> Result<Processors> {
    let mut set = CpuSet::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |word: &str| word.parse::<usize>().ok().filter(|number| *number < CpuSet::count());
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            bail!("process.execCPUAffinity {list:?}: it is numbers of processors, as in 0-3,7")
        };
        ensure!(first <= last, "process.execCPUAffinity {list:?}: {first} is beyond {last}");
        (first..=last).try_for_each(|number| set.set(number))?;
    }
    Ok(Processors(list.into(), set))
}

pub fn turn(given: &Scheduler) -> Result<Turn> {
    // As in linux/sched.h.
    let policy = match given.policy() {
        Policy::SchedOther => 0,
        Policy::SchedFifo => 1,
        Policy::SchedRr => 2,
        Policy::SchedBatch => 3,
        Policy::SchedIso => 4,
        Policy::SchedIdle => 5,
        Policy::SchedDeadline => 6,
    };
    let bit = |flag: &Flag| match flag {
        Flag::SchedResetOnFork => Ok(1),
        Flag::SchedFlagReclaim => Ok(2),
        Flag::SchedFlagDLOverrun => Ok(4),
        Flag::SchedFlagKeepPolicy => Ok(8),
        Flag::SchedFlagKeepParams => Ok(0x10),
        // There is no number to go with them in a config.json.
        Flag::SchedFlagUtilClampMin | Flag::SchedFlagUtilClampMax => {
            bail!("process.scheduler: the flag {flag} is not supported")
        }
    };
    let flags = given.flags().iter().flatten().map(bit).sum::<Result<u64>>()?;
    Ok(Turn {
        policy,
        flags,
        nice: given.nice().unwrap_or(0),
        priority: u32::try_from(given.priority().unwrap_or(0)).context("process.scheduler.priority")?,
        runtime: given.runtime().unwrap_or(0),
        deadline: given.deadline().unwrap_or(0),
        period: given.period().unwrap_or(0),
    })
}

pub fn disk(given: &LinuxIOPriority) -> Result<(u8, u8)> {
    let class = match given.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let number = given.priority();
    ensure!((0..8).contains(&number), "process.ioPriority.priority {number}: it is 0 to 7");
    Ok((class, number as u8))
}

/// config-linux.md, "Personality": flags are for the future.
pub fn personality(raw: &Value) -> Result<Option<u64>> {
    let given = &raw["linux"]["personality"];
    let has_flags = given["flags"].as_array().is_some_and(|flags| !flags.is_empty());
    ensure!(!has_flags, "linux.personality.flags: the specification has none");
    match given["domain"].as_str() {
        None => Ok(None),
        Some("LINUX") => Ok(Some(0)),
        Some("LINUX32") => Ok(Some(8)),
        Some(other) => bail!("linux.personality.domain {other:?}: it is LINUX or LINUX32"),
    }
}
