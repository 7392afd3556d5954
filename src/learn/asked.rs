//! What an attempt is asked for: other names and numbers each time, so that nobody can know them before.

use super::ground;
use crate::layers::{
    cgroup::{self, Version},
    cpu,
};
use serde_json::{Value, json};

/// A group the caller is in, that the container should not be.
pub const HOSTS_GROUP: u32 = 4242;

/// All of it comes out of `nonce`; what no container should learn is the `secret`.
pub fn run(nonce: &str, secret: &str) -> Value {
    let number = |from: usize| u32::from_str_radix(&nonce[from..from + 2], 16).unwrap_or(0);
    let mut run = asked_limits([number(0), number(2), number(10)]);
    run["id"] = format!("c-{}", &nonce[..4]).into();
    run["uid"] = (1000 + number(4)).into();
    run["gid"] = (2000 + number(6)).into();
    run["hosts_group"] = HOSTS_GROUP.into();
    run["expected_code"] = (64 + number(8) % 32).into();
    run["nonce"] = nonce.into();
    run["secret"] = secret.into();
    run
}

/// Limits to ask for, another each time, and what the kernel should make of them: bytes, microseconds.
fn asked_limits([a, b, c]: [u32; 3]) -> Value {
    let (shares, hundredths, memory) = (302 + 4 * b, 20 + c % 40, (32 + a % 16) << 20);
    let weight = cpu::weight(shares.into());
    let (version, share) = match cgroup::version() {
        Version::V1 => ("v1", json!({"file": "cpu.shares", "usual": 1024, "asked": shares})),
        Version::V2 => ("v2", json!({"file": "cpu.weight", "usual": 100, "asked": weight})),
    };
    json!({
        "cgroup": version,
        "controllers": ground::controllers(),
        "counts_swap": ground::counts_swap(),
        "cpu_shares": shares,
        "share": share,
        "cpus": format!("0.{hundredths}"),
        "cpu_quota": hundredths * 1000,
        "memory": memory,
        // As much swap as memory, where nobody asks for more or less.
        "memory_swap": 2 * memory,
        "memory_and_sum": 3 * memory,
        "pids": 16 + a % 16,
    })
}
