//! How much of an argument is looked at: as much as the kernel does. What is above that is the caller's to fill.

use super::{
    PODMANS, judge,
    lab::{is_root, rubber, skip_this, text},
    probe::{self, ALLOWED, Answers, Question, answers},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

/// What is put above the lower half: one bit, all, and what a careless program leaves there.
const RUBBISH: [u64; 3] = [0x1_0000_0000, 0xffff_ffff_0000_0000, 0xdead_beef_0000_0000];

/// The arguments that the rules of a profile ask for, as (name, index, values that tell it from its neighbours).
fn asked_for(profile: &Value) -> BTreeMap<(String, usize), BTreeSet<u64>> {
    let mut all: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
    for entry in profile["syscalls"].as_array().unwrap() {
        for argument in entry["args"].as_array().into_iter().flatten() {
            let index = argument["index"].as_u64().unwrap() as usize;
            let value = argument["value"].as_u64().unwrap();
            for name in entry["names"].as_array().unwrap() {
                let values = all.entry((name.as_str().unwrap().to_owned(), index)).or_default();
                let near =
                    [0, value, value.wrapping_add(1), value.wrapping_sub(1), value & value.wrapping_neg()];
                values.extend(near.map(|value| value & 0xffff_ffff));
            }
        }
    }
    all
}

/// Every value of every rule, with all that the call's other rules ask for: without rubbish, and with it.
fn pairs(profile: &Value) -> Vec<(Question, Question)> {
    let asked = asked_for(profile);
    let names: BTreeSet<_> = asked.keys().map(|(name, _)| name.clone()).collect();
    let mut pairs = Vec::new();
    for name in names {
        let Some(number) = judge::number_here(&name) else { continue };
        let mut clean = vec![[0_u64; 5]];
        for ((_, index), values) in asked.iter().filter(|((known, _), _)| *known == name) {
            let with = |arguments: &[u64; 5]| {
                let one = |value: &u64| {
                    let mut arguments = *arguments;
                    arguments[*index] = *value;
                    arguments
                };
                values.iter().map(one).collect::<Vec<_>>()
            };
            clean = clean.iter().flat_map(with).collect();
        }
        let indexes: Vec<_> =
            asked.keys().filter(|(known, _)| *known == name).map(|(_, index)| *index).collect();
        for arguments in clean {
            for (index, rubbish) in indexes.iter().flat_map(|index| RUBBISH.map(|rubbish| (*index, rubbish)))
            {
                let mut dirty = arguments;
                dirty[index] |= rubbish;
                pairs.push(((number, arguments), (number, dirty)));
            }
        }
    }
    pairs
}

fn assert_same(flags: &[&str], profile: &Value) {
    let pairs = pairs(profile);
    assert!(pairs.len() > 20, "{profile}");
    let questions: BTreeSet<_> = pairs.iter().flat_map(|(clean, dirty)| [*clean, *dirty]).collect();
    let Some(answers) = answers(flags, &questions.into_iter().collect::<Vec<_>>()) else { return };
    let names = judge::numbers();
    let differ = |(clean, dirty): &&(Question, Question)| answers[clean] != answers[dirty];
    let told = |(clean, dirty): &(Question, Question)| {
        format!(
            "{}: {:x?} is {}, {:x?} is {}",
            names[&clean.0], clean.1, answers[clean], dirty.1, answers[dirty]
        )
    };
    let wrong: Vec<_> = pairs.iter().filter(differ).map(told).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), pairs.len(), wrong.join("\n"));
    // And the rules are not all for nothing.
    let verdicts: BTreeSet<_> = pairs.iter().map(|(clean, _)| (clean.0, answers[clean])).collect();
    assert!(verdicts.iter().any(|one| one.1 == ALLOWED) && verdicts.iter().any(|one| one.1 != ALLOWED));
}

/// Each rule of the default that looks at an argument, as `--format oci` prints them all.
#[test]
fn seccomp_default_says_the_same_with_rubbish_above_what_the_kernel_takes() {
    let printed = rubber(["run", "--dry-run", "--format", "oci", "busybox", "true"]).output().unwrap();
    let config: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let names: BTreeSet<_> =
        asked_for(&config["linux"]["seccomp"]).into_keys().map(|(name, _)| name).collect();
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["clone", "personality", "socket"]);
    assert_same(&[], &config["linux"]["seccomp"]);
    // And runtimes that compare 64 bits of all refuse what is refused.
    let (profile, numbers) = (judge::Profile::of(config["linux"]["seccomp"].clone()), judge::numbers());
    let answer = |(number, arguments): Question| {
        let [a, b, c, d, e] = arguments;
        profile.answer(&numbers[&number], &[a, b, c, d, e, 0], probe::DEFAULT_CAPABILITIES)
    };
    for (clean, dirty) in pairs(&config["linux"]["seccomp"]) {
        assert!(answer(clean) == ALLOWED || answer(dirty) != ALLOWED, "{}: {dirty:x?}", numbers[&clean.0]);
    }
    assert_eq!(answer((judge::number("socket"), [40, 0, 0, 0, 0])), 1);
    assert_eq!(answer((judge::number("socket"), [41, 0, 0, 0, 0])), ALLOWED);
}

#[test]
fn seccomp_profiles_say_the_same_with_rubbish_above_what_the_kernel_takes() {
    if !Path::new(PODMANS).exists() {
        return skip_this("podman's profile is missing: apt-get install golang-github-containers-common");
    }
    let option = format!("seccomp={PODMANS}");
    let profile = serde_json::from_slice(&std::fs::read(PODMANS).unwrap()).unwrap();
    assert_same(&["--security-opt", &option], &profile);
    assert_same(&["--security-opt", &option, "--cap-drop", "AUDIT_WRITE"], &profile);
    // And what people write to keep the caller's terminal from being typed into, sockets from being made, and so on.
    let dir = tempfile::tempdir().unwrap();
    let rule = |name: &str, index: u8, op: &str, value: u64, second: u64| {
        let args = json!([{"index": index, "value": value, "valueTwo": second, "op": op}]);
        json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args})
    };
    let rules = json!([
        rule("ioctl", 1, "SCMP_CMP_EQ", 0x5412, 0),
        rule("socket", 0, "SCMP_CMP_GT", 2, 0),
        rule("prctl", 0, "SCMP_CMP_EQ", 22, 0),
        rule("keyctl", 0, "SCMP_CMP_LE", 5, 0),
        rule("fcntl", 1, "SCMP_CMP_GE", 1024, 0),
        rule("clone", 0, "SCMP_CMP_MASKED_EQ", 0x1000_0000, 0x1000_0000),
        rule("setns", 1, "SCMP_CMP_LT", 7, 0),
        rule("seccomp", 0, "SCMP_CMP_NE", 1, 0),
        rule("fchmodat", 2, "SCMP_CMP_MASKED_EQ", 0o4000, 0o4000),
    ]);
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    let file = dir.path().join("profile.json");
    std::fs::write(&file, profile.to_string()).unwrap();
    assert_same(&["--security-opt", &format!("seccomp={}", file.display())], &profile);
}

/// -1 has 64 ones in a profile, and 32 or 16 in an argument.
#[test]
fn seccomp_profiles_compare_negative_numbers_as_the_kernel_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("profile.json");
    let args = json!([{"index": 0, "value": u64::MAX, "op": "SCMP_CMP_EQ"}]);
    let rule = json!({"names": ["setuid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args});
    let profile =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": [rule]});
    std::fs::write(&file, profile.to_string()).unwrap();
    let option = format!("seccomp={}", file.display());
    let flags = ["--security-opt", &option];
    let same = |answers: Answers, asked: &[(Question, i32)]| {
        asked.iter().for_each(|(question, is)| assert_eq!(answers[question], *is, "{question:x?}"));
    };
    let setuid = judge::number("setuid");
    let asked = [(0xffff_ffff, 77), (u64::MAX, 77), (0xffff, ALLOWED), (0xffff_fffe, ALLOWED)]
        .map(|(uid, is)| ((setuid, [uid, 0, 0, 0, 0]), is));
    let Some(found) = answers(&flags, &asked.map(|one| one.0)) else { return };
    same(found, &asked);
    // The old call of 32-bit programs takes 16.
    let setuid = judge::number_of_i386("setuid");
    let asked = [(0xffff_ffff, 77), (0x1_ffff, 77), (0xffff, 77), (0xfffe, ALLOWED)]
        .map(|(uid, is)| ((setuid, [uid, 0, 0, 0, 0]), is));
    let Some(found) = probe::answers_to_i386(&flags, &asked.map(|one| one.0)) else { return };
    same(found, &asked);
}

/// A call's name, and the indexes and bits of its arguments.
type Kernels = (String, Vec<(usize, u64)>);

/// Of each call the arguments that are numbers, and the bits of each, as the kernel tells a tracer.
fn kernels() -> Option<Vec<Kernels>> {
    let script = "mount -t tracefs t /mnt && cd /mnt/events/syscalls && grep -H field: sys_enter_*/format";
    let told = Command::new("unshare").args(["-m", "sh", "-c", script]).output().ok()?;
    if !told.status.success() {
        return None;
    }
    let mut calls: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text(&told.stdout).lines() {
        let (file, rest) = line.split_once("/format:").unwrap();
        let field = rest.trim().strip_prefix("field:").unwrap().split(';').next().unwrap();
        let fields = calls.entry(file.strip_prefix("sys_enter_").unwrap().to_owned()).or_default();
        if !field.contains(" common_") && !field.contains("__syscall_nr") && !field.contains("__data_loc") {
            fields.push(field.rsplit_once(' ').unwrap().0.replace("const ", ""));
        }
    }
    let bits = |kind: &String| match kind.as_str() {
        "umode_t" => Some(16),
        "unsigned long" | "long" | "size_t" | "loff_t" | "off_t" | "aio_context_t" | "__u64" => Some(64),
        "int"
        | "unsigned int"
        | "unsigned"
        | "pid_t"
        | "uid_t"
        | "gid_t"
        | "u32"
        | "__u32"
        | "__s32"
        | "clockid_t"
        | "timer_t"
        | "mqd_t"
        | "key_t"
        | "key_serial_t"
        | "rwf_t"
        | "qid_t"
        | "enum landlock_rule_type" => Some(32),
        pointer => {
            assert!(pointer.contains('*') || pointer.starts_with("cap_user_"), "what is a {pointer}?");
            None
        }
    };
    let number = |(index, kind): (usize, &String)| Some((index, bits(kind)?));
    let numbers = |(name, kinds): (String, Vec<String>)| {
        (name, kinds.iter().enumerate().filter_map(number).filter(|(index, _)| *index < 5).collect())
    };
    Some(calls.into_iter().map(numbers).collect())
}

/// The kernel's names for some of its functions are not those of the calls.
fn called(function: &str) -> &str {
    match function {
        "newstat" => "stat",
        "newlstat" => "lstat",
        "newfstat" => "fstat",
        "newuname" => "uname",
        "sendfile64" => "sendfile",
        "umount" => "umount2",
        other => other,
    }
}

/// The table of widths is the kernel's: one rule for each argument that is a number, of each call that there is.
#[test]
fn seccomp_profiles_look_at_as_much_of_each_argument_as_this_kernel_takes() {
    if !is_root() {
        return skip_this("only root can mount the kernel's list of its calls");
    }
    let Some(kernels) = kernels() else {
        return skip_this("this kernel does not tell the types of its calls (CONFIG_FTRACE_SYSCALLS)");
    };
    const VALUE: u64 = 0x5a5a;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("profile.json");
    let option = format!("seccomp={}", file.display());
    let calls: Vec<_> = kernels
        .iter()
        .filter_map(|(function, numbers)| {
            Some((called(function), judge::number_here(called(function))?, numbers))
        })
        .filter(|(name, _, numbers)| !name.ends_with("probe") && !numbers.is_empty())
        .collect();
    assert!(calls.len() > 200, "{}", calls.len());
    let mut wrong = Vec::new();
    for part in calls.chunks(60) {
        let args = |numbers: &[(usize, u64)]| {
            // Two for one argument are choices: so one rule is enough, and none of its conditions needs another.
            let one =
                |(index, _): &(usize, u64)| json!({"index": index, "value": VALUE, "op": "SCMP_CMP_EQ"});
            numbers.iter().chain(&numbers[..1]).map(one).collect::<Vec<_>>()
        };
        let rule = |(name, _, numbers): &(&str, u32, &Vec<(usize, u64)>)| json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args(numbers)});
        let rules: Vec<_> = part.iter().map(rule).collect();
        std::fs::write(&file, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}).to_string())
            .unwrap();
        let mut asked = BTreeMap::new();
        for (name, number, numbers) in part {
            for (index, bits) in numbers.iter() {
                for (above, least) in [(1 << 16, 16), (1 << 32, 32), (1 << 63, 32)] {
                    let mut arguments = [0; 5];
                    arguments[*index] = VALUE | above;
                    // Of clone's flags it drops the upper half after the call has begun.
                    let bits = if (*name, *index) == ("clone", 0) { 32 } else { *bits };
                    let is = if bits <= least { 77 } else { ALLOWED };
                    asked.insert(
                        (*number, arguments),
                        (format!("{name}, argument {index} of {bits} bits"), is),
                    );
                }
            }
        }
        let questions: Vec<_> = asked.keys().copied().collect();
        let answers = answers(&["--security-opt", &option], &questions).unwrap();
        for (question, (what, is)) in asked {
            if answers[&question] != is {
                wrong.push(format!("{what}: {:x?} is {}", question.1, answers[&question]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
