//! `rubber run --dry-run --format oci`: the config.json it prints starts the container that `rubber run` would, under
//! rubber-oci, runc and crun. Each container tells what it sees, and all have to tell the same.

use crate::{bundle::Bundle, bundle::bundle, i386, lab};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

/// Of /proc only what cannot differ between two runs. What is mounted: the last one at each place, by its type and by
/// what is forbidden there; names of what rubber alone adds, and of single cgroup trees, are left out.
const FACTS: &str = r#"
grep -E '^(Uid|Gid|Groups|Cap|NoNew|Seccomp:|Umask|Cpus_allowed_list|Sig(Blk|Ign))' /proc/self/status
grep -v -e SHLVL -e HOSTNAME /proc/1/environ | tr '\0' '\n' | sort
pwd; hostname
sed 's/  */ /g' /proc/self/limits
cat /proc/self/uid_map /proc/self/gid_map /proc/self/oom_score_adj
cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax
for one in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$one; done
ls -l /dev | grep -v -e total -e ' console' -e ' mqueue' | awk '{ print $1, $3, $4, $5 ~ /,/ ? $5 $6 : "", $NF }'
tail -n +1 /v/f /x 2>/dev/null; df -k /dev/shm /x 2>/dev/null | awk '{ print $2, $NF }'
awk '$2 != "/" && $2 !~ "^/etc/|^/sys/fs/cgroup/|^/dev/(console|null|zero|full|random|urandom|tty)$" { split($4, o, ","); s = ""
    for (i in o) if (o[i] ~ /^(ro|nosuid|nodev|noexec)$/) s = s " " o[i]
    type = $2 ~ "^/(proc|sys)/" ? "" : $3; at[$2] = type s } END { for (t in at) print t, at[t] }' /proc/mounts |
    sed '/^.proc.\(keys\|interrupts\|timer_list\|acpi\|scsi\|kcore\)\|^.sys.firmware\|^.sys.devices/s/ .*//' |
    while read -r line; do echo $(echo $line | tr ' ' '\n' | sort); done | sort
for one in keys interrupts; do head -c 1 /proc/$one | wc -c; done; ls /sys/firmware | wc -l
for try in 'touch /made' 'touch /v/made' 'mknod /tmp/n c 10 229' 'cat /tmp/n' 'unshare -U true' 'chown 5 /tmp' \
    'ip link set lo down' 'echo 1 >/proc/sys/kernel/panic_on_oops' 'mount -t tmpfs none /mnt' 'mkdir /sys/fs/cgroup/pids/x'; do
    sh -c "$try" >/dev/null 2>&1 && echo "$try: yes" || echo "$try: no"
done
rm -rf /made /tmp/n /v/made
cd /sys/fs/cgroup 2>/dev/null && tail -n +1 pids/pids.max memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes \
    memory/memory.soft_limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_quota_us  pids.max memory.max \
    memory.swap.max cpu.max cpu.weight 2>/dev/null
"#;

/// What others do in their own way, whatever a config.json says: runc and crun leave the directory of version 1's trees
/// writable (not the trees), crun forgets what else is forbidden when it makes a part of /proc read-only, gives the user
/// the node that is its stdin, and links /dev/core; both have the caller's ignored signals ignored.
const OWN_WAYS: &[(&str, &[&str])] = &[
    ("runc", &["/sys/fs/cgroup nodev noexec nosuid", "SigIgn:", " /proc/kcore", "Max open files "]),
    (
        "crun",
        &[
            "SigIgn:",
            "/sys/fs/cgroup nodev noexec nosuid",
            "/proc/bus ",
            "/proc/fs ",
            "/proc/irq ",
            "/proc/sys ",
            "/proc/sysrq-trigger ",
            " /proc/kcore",
            " 1,3 null",
        ],
    ),
];

/// The flags, and who starts it beside rubber-oci.
const CASES: &[(&[&str], &[&str])] = &[
    (&["-h", "box"], &["runc", "crun"]),
    (
        &["-h", "box", "-u", "1000:1000", "--group-add", "7", "-w", "/tmp", "-e", "A=b c", "--umask", "0077"],
        &["runc", "crun"],
    ),
    (&["-h", "box", "-u", "guest", "-w", "/made/here"], &["runc", "crun"]),
    (
        &["-h", "box", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--security-opt", "no-new-privileges"],
        &["runc", "crun"],
    ),
    (
        &[
            "-h",
            "box",
            "-m",
            "64m",
            "--memory-swap",
            "96m",
            "--memory-reservation",
            "32m",
            "--pids-limit",
            "40",
            "--cpus",
            "0.5",
            "-c",
            "512",
            "--cpuset-cpus",
            "0",
        ],
        &["runc", "crun"],
    ),
    (
        &[
            "-h",
            "box",
            "-m",
            "48m",
            "--ulimit",
            "nofile=100:200",
            "--ulimit",
            "core=0",
            "--oom-score-adj",
            "500",
        ],
        &["runc", "crun"],
    ),
    (
        &["-h", "box", "--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=1234"],
        &["runc", "crun"],
    ),
    (
        &[
            "-h",
            "box",
            "-v",
            "SHARED:/v:ro",
            "--tmpfs",
            "/x:size=1m",
            "--read-only",
            "--shm-size",
            "2m",
            "--device",
            "/dev/null:/dev/hole",
        ],
        &["runc", "crun"],
    ),
    (&["--network", "host", "--ipc", "host", "--uts", "host"], &["runc", "crun"]),
    (&["-h", "box", "--pid", "host", "--cgroupns", "host"], &["runc"]),
    (&["-h", "box", "--uidmap", "0:100000:65536"], &["runc"]),
    (
        &["-h", "box", "--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined"],
        &["runc", "crun"],
    ),
    (&["-h", "box", "--security-opt", "seccomp=PROFILE"], &["runc", "crun"]),
    (&["-h", "box", "--timens", "boottime=9000"], &[]),
];

const PROFILE: &str = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
    { "names": ["chown", "fchownat", "lchown"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 },
    { "names": ["unshare"], "action": "SCMP_ACT_ERRNO", "excludes": { "caps": ["CAP_CHOWN"] } } ] }"#;

fn prepared(bundle: &Bundle, flags: &[&str]) -> Vec<String> {
    let (shared, profile) = (bundle.dir.join("shared"), bundle.dir.join("profile.json"));
    fs::create_dir_all(&shared).unwrap();
    fs::write(shared.join("f"), "shared\n").unwrap();
    fs::write(&profile, PROFILE).unwrap();
    let filled = |word: &&str| {
        word.replace("SHARED", shared.to_str().unwrap()).replace("PROFILE", profile.to_str().unwrap())
    };
    flags.iter().map(filled).collect()
}

/// What it prints goes into the bundle; what it tells is returned.
fn write(bundle: &Bundle, flags: &[String], script: &str) -> String {
    let words = ["run", "--dry-run", "--format", "oci"].map(String::from);
    let command = ["busybox", "sh", "-c", script].map(String::from);
    let output = lab::rubber(words.iter().chain(flags).chain(&command)).output().unwrap();
    assert!(output.status.success(), "{flags:?}: {output:?}");
    fs::write(bundle.dir.join("config.json"), &output.stdout).unwrap();
    lab::text(&output.stderr)
}

/// The root as the note on stderr says, and then its ids' where they are others.
fn fill(bundle: &Bundle) {
    let name = format!("root-{}", bundle.group());
    let root = bundle.root();
    fs::remove_dir_all(&root).unwrap();
    fs::create_dir(&root).unwrap();
    assert!(lab::rubber(["run", "--name", &name, "busybox", "true"]).status().unwrap().success());
    let tar = bundle.dir.join("root.tar");
    let exported = lab::rubber(["export", &name, "-o", tar.to_str().unwrap()]).status().unwrap();
    assert!(lab::rubber(["rm", &name]).output().unwrap().status.success() && exported.success());
    let unpacked = Command::new("tar").arg("-xpf").arg(tar).arg("-C").arg(&root).status().unwrap();
    assert!(unpacked.success());
}

fn give(bundle: &Bundle, told: &str) {
    let owner = told.lines().find_map(|line| line.split_once("chown -R ")?.1.split(' ').next());
    let owner = owner.unwrap_or("0:0");
    assert!(Command::new("chown").args(["-R", owner]).arg(bundle.root()).status().unwrap().success());
}

/// In a mount table of its own: there the bundle is where other users may go as well, and for crun, which wants a
/// machine of one version of cgroups, the other one's tree is gone.
fn start(bundle: &Bundle, runtime: &str) -> Output {
    let (program, states) = match runtime {
        "rubber-oci" => ("./rubber-oci", "states"),
        other => (other, "states-of-others"),
    };
    let script = "mount --bind . /mnt && cd /mnt && chmod 755 . && umount ${2:-/none} 2>/dev/null
        rm -rf rootfs/v rootfs/x rootfs/made rootfs/tmp/n
        exec $0 --root $1 run $3";
    let tree = if runtime == "crun" { "/sys/fs/cgroup/unified" } else { "" };
    let id = format!("{}-{runtime}", bundle.group());
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, program, states, tree, &id]);
    command.current_dir(&bundle.dir).stdin(Stdio::null()).output().unwrap()
}

/// Namespaces by whether they are the host's, as the numbers of others are new each time.
fn facts(output: &Output) -> String {
    let text = lab::text(&output.stdout);
    let name = |line: &str| match line.split_once(":[") {
        Some((kind, _)) => {
            let hosts = fs::read_link(Path::new("/proc/self/ns").join(kind)).unwrap_or_default();
            format!("{kind} {}", if hosts.as_os_str() == line { "the host's" } else { "its own" })
        }
        None => line.to_owned(),
    };
    text.lines().map(|line| name(line) + "\n").collect()
}

fn differences(runtime: &str, ours: &str, theirs: &str) -> Vec<String> {
    let ways = OWN_WAYS.iter().filter(|(name, _)| *name == runtime).flat_map(|(_, ways)| *ways);
    let is_own = |line: &String| ways.clone().any(|way| line.contains(way));
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (ours, theirs) = (lines(ours), lines(theirs));
    let missing = ours.iter().filter(|line| !theirs.contains(line)).map(|line| format!("- {line}"));
    let more = theirs.iter().filter(|line| !ours.contains(line)).map(|line| format!("+ {line}"));
    missing.chain(more).filter(|line| !is_own(line)).collect()
}

/// The filter of an image of 32-bit programs is for those as well, and for other runtimes.
#[test]
fn a_printed_config_json_says_whose_calls_are_answered() {
    let bundle = bundle!();
    let Some(image) = i386::image() else { return };
    let filter = |image: &str| {
        let output = lab::rubber(["run", "--dry-run", "--format", "oci", image, "true"]).output().unwrap();
        let config: Value = serde_json::from_slice(&output.stdout).unwrap();
        config["linux"]["seccomp"].clone()
    };
    let here = if cfg!(target_arch = "x86_64") { "SCMP_ARCH_X86_64" } else { "SCMP_ARCH_AARCH64" };
    assert_eq!(filter("busybox")["architectures"], json!([here]));
    let written = filter(image);
    assert_eq!(written["architectures"], json!([here, "SCMP_ARCH_X86"]));
    assert!(i386::program(&bundle.root().join("i386")));
    bundle.edit(|config| {
        config["linux"]["seccomp"] = written;
        // crun knows no newer one.
        config["ociVersion"] = json!("1.0.0");
    });
    bundle.command("/i386; echo $?");
    for runtime in ["rubber-oci", "runc", "crun"] {
        if runtime == "rubber-oci" || lab::has(runtime) {
            let output = start(&bundle, runtime);
            assert_eq!(lab::text(&output.stdout), format!("{}1\n", i386::SAYS), "{runtime}: {output:?}");
        }
    }
}

#[test]
fn a_printed_config_json_starts_the_container_that_run_would() {
    let bundle = bundle!();
    fill(&bundle);
    let mut wrong = Vec::new();
    for (flags, others) in CASES {
        let flags = prepared(&bundle, flags);
        give(&bundle, &write(&bundle, &flags, FACTS));
        let words: Vec<_> = flags.iter().map(String::as_str).collect();
        let ours = lab::run(&words, FACTS);
        let expected = facts(&ours);
        assert!(expected.contains("Uid:") && expected.contains("mkdir /sys"), "{flags:?}: {ours:?}");
        for runtime in ["rubber-oci"].iter().chain(*others) {
            if *runtime != "rubber-oci" && !lab::has(runtime) {
                continue;
            }
            let theirs = start(&bundle, runtime);
            let different = differences(runtime, &expected, &facts(&theirs));
            if !different.is_empty() {
                wrong.push(format!(
                    "{flags:?} under {runtime}: {different:#?}\n{}",
                    lab::text(&theirs.stderr)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a config.json cannot say is told in one line each, with what to do; and stdout is the file alone.
#[test]
fn what_a_config_json_cannot_say_is_told_on_stderr() {
    let told = |flags: &[&str]| {
        lab::say(&[], "true");
        let words = [&["run", "--dry-run", "--format", "oci"], flags, &["busybox", "true"]].concat();
        let output = lab::rubber(words).output().unwrap();
        assert!(output.status.success(), "{flags:?}: {output:?}");
        serde_json::from_slice::<oci_spec::runtime::Spec>(&output.stdout).expect("a config.json");
        lab::text(&output.stderr)
    };
    for (flags, line) in [
        (&[][..], "rubber export root | tar -xpC rootfs"),
        (&["--init"], "--init: a config.json has no init"),
        (&[], "write rootfs/etc/hosts"),
        (&["--until", "chroot"], "every OCI runtime makes a mount namespace"),
        (&["-v", "nowhere-yet:/data"], "mkdir -p"),
        (&["-v", "/etc:/data:ro,U"], "cannot give files away (U)"),
    ] {
        let text = told(flags);
        assert!(text.contains(line), "{flags:?}: {text}");
        assert!(text.lines().all(|line| line.starts_with("rubber: ")), "{flags:?}: {text}");
    }
}

#[test]
fn a_config_json_is_printed_of_what_is_known_alone() {
    lab::say(&[], "true");
    let fails = |words: &[&str]| {
        let output = lab::rubber(words).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{words:?}: {output:?}");
        lab::text(&output.stderr)
    };
    let missing = fails(&["run", "--dry-run", "--format", "oci", "nobody-has-this", "true"]);
    assert!(
        missing.contains("is not here yet") && missing.contains("rubber run nobody-has-this"),
        "{missing}"
    );
    assert!(fails(&["run", "--format", "oci", "busybox", "true"]).contains("--dry-run"));
    let odd = lab::rubber(
        ["run", "--dry-run", "--format", "oci", "busybox", "echo"]
            .map(std::ffi::OsString::from)
            .into_iter()
            .chain([std::os::unix::ffi::OsStringExt::from_vec(vec![0xff])]),
    )
    .output()
    .unwrap();
    assert!(lab::text(&odd.stderr).contains("is not UTF-8"), "{odd:?}");
}
