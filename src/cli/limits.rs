//! Limits as people type them, and as the kernel counts.

use crate::{
    config::{CPU_PERIOD, Limits, Rlimit},
    layers::{Layer, Layers, rlimits},
    narrate,
};
use anyhow::{Context, Result, bail};

/// As docker: with less, most programs cannot even start.
const LEAST_MEMORY: u64 = 6 << 20;

/// As podman: enough for any program, and too little for a fork bomb to reach the host's own limit.
pub const PIDS: i64 = 2048;

/// The physical addresses of a machine of today have 52 bits. A limit beyond is
/// a slip of the finger, and the kernel would take it without a word.
const MOST_MEMORY: u64 = 1 << 52;

#[derive(clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct Args {
    /// Memory, as in 64m or 1g (b, k, m, g; at least 6m)
    #[arg(short = 'm', long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<String>,
    /// Memory and swap together; -1 is all the swap there is [default: twice the memory]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Memory the kernel leaves us when it gets short
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_reservation: Option<String>,
    /// Weight when there is not enough CPU for all: 2 to 262144, where 1024 is usual
    #[arg(short = 'c', long, value_name = "N", allow_hyphen_values = true)]
    cpu_shares: Option<String>,
    /// CPUs' worth of time at most, as in 0.5
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    cpus: Option<String>,
    /// CPUs to run on, as in 0-2,5
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    cpuset_cpus: Option<String>,
    /// Processes and threads at most; -1 is no limit [default: 2048, where we have a cgroup]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pids_limit: Option<String>,
    /// Limit of each process, as in nofile=1024:4096; -1 is none (setrlimit(2))
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,
    /// How likely the kernel is to kill it when memory is short: -1000 to 1000
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    oom_score_adj: Option<String>,
}

impl Args {
    pub fn limits(&self) -> Result<Limits> {
        let memory = self.memory.as_deref().map(|text| size("--memory", text)).transpose()?;
        if let Some(bytes) = memory.filter(|bytes| *bytes < LEAST_MEMORY) {
            bail!("--memory {bytes} bytes is too little for any program to start: at least 6m");
        }
        let limits = Limits {
            memory,
            memory_and_swap: self.memory_swap.as_deref().map(|text| swap(text, memory)).transpose()?,
            memory_reservation: self
                .memory_reservation
                .as_deref()
                .map(|text| size("--memory-reservation", text))
                .transpose()?,
            cpu_shares: self.cpu_shares.as_deref().map(shares).transpose()?,
            cpu_quota: self.cpus.as_deref().map(quota).transpose()?,
            cpuset: self.cpuset_cpus.as_deref().map(cpuset).transpose()?,
            pids: self.pids_limit.as_deref().map(pids).transpose()?,
            rlimits: rlimits(&self.ulimit)?,
            oom_score_adj: self.oom_score_adj.as_deref().map(oom_score).transpose()?,
        };
        Ok(limits)
    }
}

/// `128m` in bytes. A suffix may be upper case and followed by `b`, as in `128MB`.
pub fn size(flag: &str, text: &str) -> Result<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => bail!("{flag} {text:?} is not a size: a number and b, k, m or g, as in 128m"),
    };
    let wrong = || format!("{flag} {text:?} is not a size: a number and b, k, m or g, as in 128m");
    let number: u64 = digits.parse().ok().filter(|_| !digits.starts_with('+')).with_context(wrong)?;
    match number.checked_mul(unit).filter(|bytes| *bytes <= MOST_MEMORY) {
        Some(bytes) => Ok(bytes),
        None => bail!("{flag} {text:?} is more than any machine has: at most {}t", MOST_MEMORY >> 40),
    }
}

fn swap(text: &str, memory: Option<u64>) -> Result<i64> {
    let Some(memory) = memory else {
        bail!("--memory-swap is memory and swap together, so it needs --memory as well");
    };
    if text == "-1" {
        return Ok(-1);
    }
    let sum = size("--memory-swap", text)?;
    if sum < memory {
        bail!("--memory-swap {text:?} is memory and swap together, so it cannot be less than --memory");
    }
    Ok(sum as i64)
}

fn shares(text: &str) -> Result<u64> {
    match text.parse() {
        Ok(shares @ 2..=262_144) => Ok(shares),
        _ => bail!("--cpu-shares {text:?} is not a number from 2 to 262144"),
    }
}

/// The kernel gives out a CPU in slices, and takes no quota below a millisecond.
fn quota(text: &str) -> Result<u64> {
    let cpus: f64 = text
        .parse()
        .ok()
        .filter(|cpus: &f64| cpus.is_finite() && !text.contains(['e', 'E']))
        .with_context(|| format!("--cpus {text:?} is not a number such as 0.5"))?;
    if !(0.01..=1e6).contains(&cpus) {
        bail!("--cpus {text:?} is out of range: from 0.01 up");
    }
    Ok((cpus * CPU_PERIOD as f64).round() as u64)
}

fn cpuset(text: &str) -> Result<String> {
    let is_range = |range: &str| {
        let ends: Vec<_> = range.split('-').map(str::parse::<u32>).collect();
        matches!(ends.as_slice(), [Ok(_)])
            || matches!(ends.as_slice(), [Ok(first), Ok(last)] if first <= last)
    };
    if !text.split(',').all(is_range) {
        bail!("--cpuset-cpus {text:?} is not a list of CPUs such as 0-2,5");
    }
    Ok(text.into())
}

fn pids(text: &str) -> Result<i64> {
    match text.parse() {
        Ok(0) | Ok(-1) => Ok(-1),
        Ok(limit) if (1..=4_194_304).contains(&limit) => Ok(limit),
        _ => bail!("--pids-limit {text:?} is not a number from 1 to 4194304, or -1 for no limit"),
    }
}

/// Of two for one thing the last one counts. (Set one after the other, the first could not be raised again.)
fn rlimits(words: &[String]) -> Result<Vec<Rlimit>> {
    let mut limits: Vec<Rlimit> = vec![];
    for word in words {
        let limit = rlimit(word)?;
        limits.retain(|other| other.name != limit.name);
        limits.push(limit);
    }
    Ok(limits)
}

fn rlimit(word: &str) -> Result<Rlimit> {
    let Some((name, limits)) = word.split_once('=') else {
        bail!("--ulimit {word:?} is not NAME=SOFT:HARD, as in nofile=1024:4096");
    };
    if !rlimits::NAMES.iter().any(|(known, _)| *known == name) {
        let names: Vec<_> = rlimits::NAMES.iter().map(|(known, _)| *known).collect();
        bail!("--ulimit {word:?}: no limit {name:?}, there are {}", names.join(", "));
    }
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        text if text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() < 20 => Ok(text.parse::<u64>()?),
        _ => bail!("--ulimit {word:?}: {text:?} is not a number (-1 is no limit)"),
    };
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    if soft.is_empty() || hard.is_empty() {
        bail!("--ulimit {word:?}: a limit is missing, as in nofile=1024:4096");
    }
    let (soft, hard) = (number(soft)?, number(hard)?);
    if soft > hard {
        bail!("--ulimit {word:?}: the soft limit cannot be above the hard one");
    }
    Ok(Rlimit { name: name.into(), soft, hard })
}

fn oom_score(text: &str) -> Result<i32> {
    match text.parse() {
        Ok(score) if (-1000..=1000).contains(&score) => Ok(score),
        _ => bail!("--oom-score-adj {text:?} is not a number from -1000 to 1000"),
    }
}

impl Limits {
    /// A limit whose layer is switched off does nothing, and that should not go unsaid.
    pub fn warn_without(&self, layers: Layers) {
        let memory = self.memory.is_some() || self.memory_reservation.is_some() || self.pids.is_some();
        let cpu = self.cpu_shares.is_some() || self.cpu_quota.is_some() || self.cpuset.is_some();
        for (asked, layer) in [(memory, Layer::Memory), (cpu, Layer::Cpu)] {
            if asked && !layers.contains(layer) {
                narrate::warn(format_args!(
                    "the {0} layer is off, so the {0} limits do nothing here",
                    layer.name()
                ));
            }
        }
    }
}
