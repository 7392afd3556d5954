//! What an attempt is asked for: other names and numbers each time, so that nobody can know them before.

use super::ground;
use crate::layers::{
    cgroup::{self, Version},
    cpu,
};
use caps::Capability;
use nix::unistd::{getegid, geteuid};
use serde_json::{Value, json};

/// A group the caller is in, that the container should not be.
pub const HOSTS_GROUP: u32 = 4242;
/// What root passes on to all it starts (inheritable and ambient), and should not to a container.
pub const HOSTS_CAPABILITY: Capability = Capability::CAP_SYSLOG;
/// Two of these are asked for: no attack gets on with them.
const CAPABILITIES: [Capability; 7] = [
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_AUDIT_WRITE,
    Capability::CAP_SETFCAP,
];

/// All of it comes out of `nonce`; what no container should learn is the `secret`.
pub fn run(nonce: &str, secret: &str) -> Value {
    let number = |from: usize| u32::from_str_radix(&nonce[from..from + 2], 16).unwrap_or(0);
    let mut run = asked_limits([number(0), number(2), number(10)]);
    run["id"] = format!("c-{}", &nonce[..4]).into();
    run["uid"] = (1000 + number(4)).into();
    run["gid"] = (2000 + number(6)).into();
    run["hosts_group"] = HOSTS_GROUP.into();
    run["caller"] = if geteuid().is_root() { "root" } else { "user" }.into();
    run["ids"] = ids(number(4), number(6));
    // Two clocks that are ahead, by another number of seconds each.
    run["monotonic"] = (100_000 + 1000 * number(8)).into();
    run["boottime"] = (10_000_000 + 1000 * number(10)).into();
    run["hosts_capability"] = HOSTS_CAPABILITY.to_string().into();
    run["capabilities"] = two_of(number(0) as usize, number(2) as usize);
    run["expected_code"] = (64 + number(8) % 32).into();
    run["nonce"] = nonce.into();
    run["secret"] = secret.into();
    run
}

/// Who root and the others inside are to be. Only root may give away other ids than its own.
fn ids(a: u32, b: u32) -> Value {
    let (uid, gid, count) = match geteuid().is_root() {
        true => (1_000_000 + (a << 16), 100_000_000 + (b << 16), 1 << 16),
        false => (geteuid().as_raw(), getegid().as_raw(), 1),
    };
    let map = |outside: u32| format!("0:{outside}:{count}");
    json!({
        "uid": uid,
        "gid": gid,
        "count": count,
        "uidmap": map(uid),
        "gidmap": map(gid),
        "one": format!("\"0 {uid} 1\""),
        "swapped": format!("{uid} 0 {count}"),
        "setgroups": if count == 1 { "deny" } else { "allow" },
    })
}

/// In the kernel's order.
fn two_of(a: usize, b: usize) -> Value {
    let first = a % CAPABILITIES.len();
    let second = (first + 1 + b % (CAPABILITIES.len() - 1)) % CAPABILITIES.len();
    let two = [first.min(second), first.max(second)];
    json!(two.map(|number| CAPABILITIES[number].to_string()))
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
