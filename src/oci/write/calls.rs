//! The filter of system calls in a config.json's words.

use crate::{
    config::Config,
    filter::{
        Comparison::{self, *},
        Condition, Filter,
        calls::{Call, GROUPS, Verdict},
        machine::{self, Machine},
    },
    layers::Layer,
};
use anyhow::Result;
use caps::Capability;
use nix::libc;
use serde_json::{Value, json};

pub fn filter(config: &Config) -> Result<Option<Value>> {
    let capabilities = match config.layers.contains(Layer::Capabilities) {
        true => config.capabilities.clone(),
        false => caps::all().into_iter().collect(),
    };
    Ok(match &config.seccomp {
        Filter::Unconfined => None,
        Filter::Default => Some(by_default(&capabilities, &[machine::HERE])),
        Filter::DefaultOfAll => Some(by_default(&capabilities, machine::ALL)),
        Filter::Profile(profile) => Some(profile.plain(&capabilities)?),
    })
}

/// `filter::default_policy`, turned round: a config.json has one answer for the rest, which is EPERM here, as that is
/// what a call with the wrong argument gets. Calls that nobody knows are beyond the list, and there a runtime answers
/// ENOSYS by itself.
fn by_default(capabilities: &[Capability], machines: &[Machine]) -> Value {
    let has = |one_of: &[Capability]| one_of.iter().any(|capability| capabilities.contains(capability));
    let (mut allowed, mut missing, mut conditional) = (vec![], vec![], vec![]);
    for group in GROUPS {
        let is_here = |call: &&Call| machines.iter().any(|machine| machine.number(call).is_some());
        let names = group.calls.iter().filter(is_here).map(|call| call.0);
        match group.verdict {
            Verdict::Allowed => allowed.extend(names),
            Verdict::With(one_of) | Verdict::If(_, one_of) | Verdict::Missing(one_of) if has(one_of) => {
                allowed.extend(names)
            }
            Verdict::With(_) | Verdict::Denied => {}
            Verdict::If(conditions, _) => {
                let names: Vec<_> = names.collect();
                let entry = |one: &Condition| json!({ "names": names, "action": "SCMP_ACT_ALLOW", "args": [argument(one)] });
                conditional.extend(conditions.iter().flat_map(in_any_runtime).map(|one| entry(&one)));
            }
            Verdict::Missing(_) => missing.extend(names),
        }
    }
    let mut entries = vec![json!({ "names": allowed, "action": "SCMP_ACT_ALLOW" })];
    entries.extend(conditional);
    if !missing.is_empty() {
        entries.push(json!({ "names": missing, "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS }));
    }
    let machines: Vec<_> = machines.iter().copied().map(Machine::name).collect();
    json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": libc::EPERM, "architectures": machines, "syscalls": entries
    })
}

/// Others compare 64 bits, and the kernel takes 32 of what the default looks at. What has to be equal is refused with
/// rubbish above them; what must not be equal differs in one of the 32.
fn in_any_runtime(one: &Condition) -> Vec<Condition> {
    let bit = |value: u64, bit: u64| Masked { mask: bit, value: !value & bit };
    match one.is {
        NotEqual(value) => (0..32).map(|n| Condition::new(one.argument, bit(value, 1 << n))).collect(),
        _ => vec![*one],
    }
}

fn argument(Condition { argument, is, .. }: &Condition) -> Value {
    let (op, value, second) = compared(*is);
    json!({ "index": argument, "value": value, "valueTwo": second, "op": op })
}

fn compared(is: Comparison) -> (&'static str, u64, u64) {
    match is {
        Equal(value) => ("SCMP_CMP_EQ", value, 0),
        NotEqual(value) => ("SCMP_CMP_NE", value, 0),
        Less(value) => ("SCMP_CMP_LT", value, 0),
        LessOrEqual(value) => ("SCMP_CMP_LE", value, 0),
        Greater(value) => ("SCMP_CMP_GT", value, 0),
        GreaterOrEqual(value) => ("SCMP_CMP_GE", value, 0),
        Masked { mask, value } => ("SCMP_CMP_MASKED_EQ", mask, value),
    }
}
