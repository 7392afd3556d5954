//! `--security-opt seccomp=FILE`: each action and each comparison does what it says, and a bad file is told in a line.

use super::{
    PODMANS, all_numbers, i386,
    judge::{self, Profile},
    lab::{code, rubber, run, skip_this, text},
    named,
    probe::{self, ALLOWED, answers, plain},
};
use nix::libc;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn write(dir: &Path, profile: &Value) -> String {
    let file: PathBuf = dir.join("profile.json");
    std::fs::write(&file, profile.to_string()).unwrap();
    format!("seccomp={}", file.display())
}

/// All is allowed but what `rules` say.
fn with(rules: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
}

#[test]
fn seccomp_takes_podmans_profile_as_podman_means_it() {
    if !Path::new(PODMANS).exists() {
        return skip_this("podman's profile is missing: apt-get install golang-github-containers-common");
    }
    let option = format!("seccomp={PODMANS}");
    let profile = Profile::read(PODMANS);
    let mut questions = plain(named().into_keys());
    let arguments = [[8, 0, 0, 0, 0], [16, 3, 9, 0, 0], [0x4_0000, 0, 0, 0, 0], [1, 1, 9, 0, 0]];
    for name in ["personality", "socket"] {
        questions.extend(arguments.map(|arguments| (judge::number(name), arguments)));
    }
    for (flags, capabilities) in [
        (vec![], probe::DEFAULT_CAPABILITIES.to_vec()),
        (vec!["--cap-drop", "AUDIT_WRITE", "--cap-drop", "SYS_CHROOT"], {
            let dropped = |name: &&&str| !["CAP_AUDIT_WRITE", "CAP_SYS_CHROOT"].contains(*name);
            probe::DEFAULT_CAPABILITIES.iter().filter(dropped).copied().collect()
        }),
    ] {
        let flags = [&["--security-opt", &option], &flags[..]].concat();
        let answers = answers(&flags, &questions).unwrap();
        let of_i386 = all_numbers(judge::numbers_of_i386());
        let answers_to_i386 =
            probe::answers_to_i386(&flags, &plain(of_i386.keys().copied())).unwrap_or_default();
        for (names, answers) in [(named(), answers), (of_i386, answers_to_i386)] {
            for ((number, arguments), answer) in answers {
                let name = &names[&number];
                let [a, b, c, d, e] = arguments;
                // What is beyond its last call is not there, whatever it says of the rest.
                let expected = profile.answer(name, &[a, b, c, d, e, 0], &capabilities);
                assert_eq!(answer, expected, "{name} ({number}) {arguments:?} {flags:?}");
            }
        }
    }
}

#[test]
fn seccomp_profiles_compare_all_64_bits() {
    let big = 0x2_0000_0005_u64;
    let dir = tempfile::tempdir().unwrap();
    let getpid = judge::number("getpid");
    let near = [0, 4, 5, 6, 0x2_0000_0004, big, 0x2_0000_0006, 0x1_ffff_ffff, 0x3_0000_0000, u64::MAX];
    type Holds = fn(u64, u64) -> bool;
    let cases: [(&str, Holds); 6] = [
        ("SCMP_CMP_EQ", |is, value| is == value),
        ("SCMP_CMP_NE", |is, value| is != value),
        ("SCMP_CMP_LT", |is, value| is < value),
        ("SCMP_CMP_LE", |is, value| is <= value),
        ("SCMP_CMP_GT", |is, value| is > value),
        ("SCMP_CMP_GE", |is, value| is >= value),
    ];
    for value in [big, 5] {
        for (op, holds) in cases {
            let args = json!([{"index": 2, "value": value, "op": op}, {"index": 4, "value": 7, "op": "SCMP_CMP_EQ"}]);
            let rule =
                json!([{"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args}]);
            let option = write(dir.path(), &with(rule));
            let questions: Vec<_> =
                near.iter().flat_map(|is| [7, 8].map(|last| (getpid, [0, 0, *is, 0, last]))).collect();
            for ((_, arguments), answer) in answers(&["--security-opt", &option], &questions).unwrap() {
                let expected = if holds(arguments[2], value) && arguments[4] == 7 { 77 } else { ALLOWED };
                assert_eq!(answer, expected, "{:#x} {op} {value:#x}, {}", arguments[2], arguments[4]);
            }
        }
    }
    let masked = json!([{"index": 0, "value": 0xf_0000_00f0_u64, "valueTwo": 0x3_0000_0020_u64, "op": "SCMP_CMP_MASKED_EQ"}]);
    let rule = json!([{"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": masked}]);
    let option = write(dir.path(), &with(rule));
    let cases = [(0x3_0000_0020, 77), (0x13_1234_0f2f, 77), (0x20, ALLOWED), (0x3_0000_0030, ALLOWED)];
    let questions = cases.map(|(is, _)| (getpid, [is, 0, 0, 0, 0]));
    let answers = answers(&["--security-opt", &option], &questions).unwrap();
    for (is, expected) in cases {
        assert_eq!(answers[&(getpid, [is, 0, 0, 0, 0])], expected, "{is:#x}");
    }
}

#[test]
fn seccomp_profiles_end_calls_and_processes_as_they_say() {
    let dir = tempfile::tempdir().unwrap();
    // The shell's child makes it, so that what is killed is seen from outside.
    let ends = |rule: Value| {
        let option = write(dir.path(), &with(json!([rule])));
        let output = run(&["--security-opt", &option], "mkdir /tmp/x; echo $?");
        let said = text(&output.stdout).trim().to_owned();
        (said, text(&output.stderr))
    };
    let names = json!(["mkdir", "mkdirat", "no_such_call"]);
    let rule = |action: &str| json!({"names": names, "action": action, "args": null, "includes": {}, "excludes": null});
    assert_eq!(ends(rule("SCMP_ACT_ALLOW")).0, "0");
    let (code, said) = ends(rule("SCMP_ACT_ERRNO"));
    assert!(code == "1" && said.contains("Operation not permitted"), "{said}");
    let (code, said) = ends(json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 28}));
    assert!(code == "1" && said.contains("No space left"), "{said}");
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        assert_eq!(ends(rule(action)).0, (128 + libc::SIGSYS).to_string(), "{action}");
    }
    // Nobody traces it, so there is nobody to ask.
    let (code, said) = ends(rule("SCMP_ACT_TRACE"));
    assert!(code == "1" && said.contains("Function not implemented"), "{said}");
    assert_eq!(ends(rule("SCMP_ACT_LOG")).0, "0");
    // The old spelling with one name, and a condition of docker's that is not met.
    let one = json!({"name": "mkdir", "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}});
    assert_eq!(ends(one).0, "0");
    let new = json!({"names": names, "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "99.0"}});
    assert_eq!(ends(new).0, "0");
    let old = json!({"names": names, "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "4.8"}});
    assert_eq!(ends(old).0, "1");
    let elsewhere = json!({"names": names, "action": "SCMP_ACT_ERRNO", "includes": {"arches": ["s390x"]}});
    assert_eq!(ends(elsewhere).0, "0");
}

/// Of the rules for one call the one without arguments counts; several for one argument are choices.
#[test]
fn seccomp_profiles_weigh_rules_as_libseccomp_does() {
    let dir = tempfile::tempdir().unwrap();
    let getpid = judge::number("getpid");
    let equals = |value: u64| json!({"index": 0, "value": value, "op": "SCMP_CMP_EQ"});
    let rules = json!([
        {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 10, "args": [equals(1), equals(2)]},
        {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 11, "args": [equals(3)]},
        {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 12, "args": [equals(1)]},
        {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
    ]);
    let option = write(dir.path(), &with(rules));
    let getppid = judge::number("getppid");
    let asked = [
        (getpid, 0, ALLOWED),
        (getpid, 1, 10),
        (getpid, 2, 10),
        (getpid, 3, 11),
        (getppid, 1, 13),
        (getppid, 2, 13),
    ];
    let questions = asked.map(|(number, is, _)| (number, [is, 0, 0, 0, 0]));
    let answers = answers(&["--security-opt", &option], &questions).unwrap();
    for (number, is, expected) in asked {
        assert_eq!(answers[&(number, [is, 0, 0, 0, 0])], expected, "{number} {is}");
    }
}

/// As docker has them: a list, or one list for each machine that it could be.
#[test]
fn seccomp_profiles_say_whose_calls_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("i386");
    if !i386::program(&program) {
        return skip_this(i386::NOT_HERE);
    }
    let volume = format!("{}:/i386:ro", program.display());
    let family = |machine: &str| json!([{"architecture": machine, "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}]);
    let rules = json!([
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "includes": {"arches": ["amd64"]}},
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 78, "includes": {"arches": ["x86"]}},
        {"names": ["write"], "action": "SCMP_ACT_ERRNO", "excludes": {"arches": ["amd64"]}},
    ]);
    for (key, value, expected) in [
        ("architectures", json!(["SCMP_ARCH_X86"]), "hello\n77"),
        ("architectures", json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]), "159"),
        ("archMap", family("SCMP_ARCH_X86_64"), "hello\n77"),
        ("archMap", family("SCMP_ARCH_AARCH64"), "159"),
        ("archMap", json!([{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": null}]), "159"),
        ("archMap", json!(null), "159"),
    ] {
        let mut profile = with(rules.clone());
        profile[key] = value;
        let option = write(dir.path(), &profile);
        let output = run(&["-v", &volume, "--security-opt", &option], "/i386; echo $?");
        assert_eq!(text(&output.stdout).trim(), expected, "{profile}");
    }
}

/// A rule for a call is one for the other ways to make it: for socketcall(2) and ipc(2), where the number of the call
/// is the first argument; and what it compares has 32 bits.
#[test]
fn seccomp_profiles_mean_each_way_a_32_bit_program_has() {
    let dir = tempfile::tempdir().unwrap();
    let is = |index: u8, value: u64| json!([{"index": index, "value": value, "op": "SCMP_CMP_EQ"}]);
    let mut profile = with(json!([
        {"names": ["bind"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77},
        {"names": ["shmat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 78},
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 79, "args": is(0, libc::AF_VSOCK as u64)},
        {"names": ["listen"], "action": "SCMP_ACT_ERRNO", "errnoRet": 80, "args": is(1, 5)},
        {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 81, "args": is(2, u64::MAX)},
    ]));
    profile["architectures"] = json!(["SCMP_ARCH_X86"]);
    let option = write(dir.path(), &profile);
    let number = judge::number_of_i386;
    let vsock = libc::AF_VSOCK as u64;
    let asked = [
        (number("bind"), [0; 5], 77),
        (number("socketcall"), [2, 0, 0, 0, 0], 77),
        (number("socketcall"), [3, 0, 0, 0, 0], ALLOWED),
        (number("shmat"), [0; 5], 78),
        (number("ipc"), [21, 0, 0, 0, 0], 78),
        (number("ipc"), [22, 0, 0, 0, 0], ALLOWED),
        (number("socket"), [vsock, 0, 0, 0, 0], 79),
        (number("socket"), [1, 0, 0, 0, 0], ALLOWED),
        // Which socket it is to be nobody sees here: refused for one, it is for all.
        (number("socketcall"), [1, 0, 0, 0, 0], 79),
        (number("listen"), [0, 5, 0, 0, 0], 80),
        (number("socketcall"), [4, 5, 0, 0, 0], 80),
        (number("socketcall"), [4, 6, 0, 0, 0], ALLOWED),
        (number("getpid"), [0, 0, 0xffff_ffff, 0, 0], 81),
        (number("getpid"), [0, 0, 0xffff_fffe, 0, 0], ALLOWED),
    ];
    let questions = asked.map(|(number, arguments, _)| (number, arguments));
    let Some(answers) = probe::answers_to_i386(&["--security-opt", &option], &questions) else { return };
    for (number, arguments, expected) in asked {
        assert_eq!(answers[&(number, arguments)], expected, "{number} {arguments:?}");
    }
}

#[test]
fn seccomp_profiles_that_are_none_are_told_in_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("profile.json");
    let refused = |option: &str| {
        let output = rubber(["run", "--security-opt", option, "busybox", "true"]).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(code(&output), 125, "{option}: {said}");
        assert!(said.starts_with("rubber: --security-opt ") && said.lines().count() == 1, "{option}: {said}");
        said
    };
    let of = |content: &str| {
        std::fs::write(&file, content).unwrap();
        refused(&format!("seccomp={}", file.display()))
    };
    let cases = [
        ("", "EOF while parsing"),
        ("{", "line 1 column 1"),
        ("[]", "line 1 column"),
        ("null", "line 1 column"),
        ("{}", "missing field `defaultAction`"),
        ("{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n \"syscalls\": [{\"names\": [1]}]}", "line 2 column"),
        ("{\"defaultAction\": \"ALLOW\"}", "unknown variant `ALLOW`"),
        ("{\"defaultAction\": \"\u{1b}[31m\"}", "control character"),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_ABACUS"]}"#,
            r#""SCMP_ARCH_ABACUS" is not known"#,
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86_64"}]}"#,
            "architectures and archMap",
        ),
        ("{\"defaultAction\": \"SCMP_ACT_NOTIFY\"}", "leaves each call to another process"),
        ("{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 5000}", "no errno above 4095"),
        ("{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": -1}", "line 1 column"),
    ];
    for (content, expected) in cases {
        let said = of(content);
        assert!(said.contains(expected) && !said.contains('\u{1b}'), "{content}: {said}");
    }
    let entries = [
        (r#"{"names": [], "action": "SCMP_ACT_ALLOW"}"#, "syscalls[0] names no call"),
        (r#"{"names": ["a"], "action": "SCMP_ACT_NOTIFY"}"#, r#"syscalls[0] ("a"): SCMP_ACT_NOTIFY leaves"#),
        (
            r#"{"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}"#,
            "no argument 6",
        ),
        (
            r#"{"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]}"#,
            "line 1 column",
        ),
        (
            r#"{"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "<"}]}"#,
            "unknown variant `<`",
        ),
        (r#"{"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "new"}}"#, "minKernel"),
    ];
    for (entry, expected) in entries {
        let said = of(&format!("{{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{entry}]}}"));
        assert!(said.contains(expected), "{entry}: {said}");
    }
    assert!(refused("seccomp=/nowhere/profile.json").contains("No such file"));
    assert!(refused("seccomp=/").contains("directory"));
    assert!(refused("seccomp=/dev/zero").contains("more than 4 MiB"));
    assert!(refused("seccomp").contains("seccomp=FILE"));
    assert!(refused("no-new-privileges=perhaps").contains("there are no-new-privileges"));
    assert!(refused("").contains("there are no-new-privileges"));
    // A profile no program can be made of: as many instructions as the kernel does not take.
    let many: Vec<_> = (0..1000_u64)
        .map(|value| json!({"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]}))
        .collect();
    std::fs::write(&file, with(json!(many)).to_string()).unwrap();
    assert!(refused(&format!("seccomp={}", file.display())).contains("the kernel takes 4096"));
}

#[test]
fn apparmor_and_selinux_are_refused_where_the_kernel_lacks_them() {
    let apparmor = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    let selinux = Path::new("/sys/fs/selinux/enforce").exists();
    for (is_there, option) in
        [(apparmor.trim() == "Y", "apparmor=no-such-profile"), (selinux, "label=type:container_t")]
    {
        let output = run(&["--security-opt", option], "true");
        let said = text(&output.stderr);
        assert_eq!(code(&output), 125, "{said}");
        match is_there {
            true => assert!(said.contains("is loaded") || said.contains("label"), "{said}"),
            false => assert!(said.contains("this kernel does not have"), "{said}"),
        }
    }
    for option in ["apparmor=unconfined", "label=disable"] {
        assert_eq!(code(&run(&["--security-opt", option], "true")), 0, "{option}");
    }
}
