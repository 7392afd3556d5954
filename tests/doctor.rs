//! `rubber doctor` under conditions that are made for real, in namespaces of the test's own.

mod lab;

use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// An ordinary user in a user namespace of the test's own, still with every capability there; and
/// the end of them. The limits in /proc/sys/user are counted for each user namespace.
const OWN: &str = "unshare -U --map-user=1000 --map-group=1000 --keep-caps";
const ORDINARY: &str = "exec setpriv --inh-caps -all --ambient-caps -all";

const NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

/// A directory everyone can reach, with the program in it: the one in target/ may lie in somebody's home.
struct Bed {
    dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Bed {
        let dir = tempfile::Builder::new().prefix("rubber-test-").tempdir().expect("a temporary directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        lab::copy_program(lab::RUBBER, dir.path().join("rubber"));
        fs::create_dir(dir.path().join("store")).expect("mkdir");
        fs::set_permissions(dir.path().join("store"), fs::Permissions::from_mode(0o777)).expect("chmod");
        Bed { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a shell script in the bed's directory; `$R` is the doctor with an own store.
    fn sh(&self, script: &str) -> Output {
        let doctor =
            format!("{} --root {} doctor", self.path("rubber").display(), self.path("store").display());
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(self.dir.path());
        command.env("R", doctor).env("LC_ALL", "C").output().expect("sh")
    }

    /// The same, for a script whose output is the doctor's JSON.
    fn report(&self, script: &str) -> Report {
        let output = self.sh(script);
        let error = || panic!("no JSON from {script}: {output:?}");
        Report {
            json: serde_json::from_slice(&output.stdout).unwrap_or_else(|_| error()),
            code: output.status.code(),
        }
    }
}

struct Report {
    json: Value,
    code: Option<i32>,
}

impl Report {
    fn check(&self, id: &str) -> (&str, &str, &str) {
        let checks = self.json["checks"].as_array().expect("checks");
        let check = checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no check {id}"));
        let text = |key: &str| check[key].as_str().unwrap_or("");
        (text("state"), text("found"), text("fix"))
    }

    fn runs(&self, chapter: &str) -> bool {
        let chapters = self.json["chapters"].as_array().expect("chapters");
        let row = chapters.iter().find(|row| row["chapter"] == chapter);
        row.unwrap_or_else(|| panic!("no chapter {chapter}"))["runs"] == true
    }
}

/// Whether the machine allows what the test needs; says so when it does not.
fn possible(script: &str) -> bool {
    let output = Command::new("sh").args(["-c", script]).output().expect("sh");
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        lab::skip_this(&format!("`{script}` does not work here: {}", error.trim()));
    }
    output.status.success()
}

fn root() -> bool {
    possible("test $(id -u) = 0 && unshare -m true")
}

#[test]
fn json_has_every_chapter_and_a_fix_for_whatever_is_not_ok() {
    let report = Bed::new().report("$R --format json");
    for check in report.json["checks"].as_array().expect("checks") {
        assert_eq!(check["state"] == "ok", check["fix"].is_null(), "{check}");
        assert!(!check["found"].as_str().expect("found").is_empty(), "{check}");
        assert_ne!(check["fix"], "", "{check}");
    }
    let chapters = report.json["chapters"].as_array().expect("chapters");
    let numbers: Vec<_> = chapters.iter().map(|row| row["chapter"].as_str().expect("number")).collect();
    assert_eq!(numbers, (0..17).map(|n| format!("{n:02}")).collect::<Vec<_>>());
    assert!(report.runs("00"));
    assert!(chapters.iter().all(|row| row["runs"] == true || row["why"] != ""), "{chapters:?}");
}

#[test]
fn no_user_namespaces_is_said_first_and_the_fix_mends_it() {
    if !possible(&format!("{OWN} sh -c 'echo 0 > /proc/sys/user/max_user_namespaces' && command -v sysctl")) {
        return;
    }
    let script = |fix: &str| {
        format!("{OWN} sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; {fix}; {ORDINARY} $R'")
    };
    let bed = Bed::new();
    let output = bed.sh(&script("true"));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut lines = text.lines();
    let why = "rubber run cannot work here: user namespace: user.max_user_namespaces is 0";
    assert_eq!((lines.next(), output.status.code()), (Some(why), Some(1)), "{text}");
    let fix = lines.next().and_then(|line| line.strip_prefix("fix: sudo ")).expect("a fix");
    assert_eq!(fix, "sysctl -w user.max_user_namespaces=15000");
    let mended = bed.sh(&script(&format!("{fix} >&2")));
    let text = String::from_utf8_lossy(&mended.stdout).into_owned();
    assert_eq!(mended.status.code(), Some(0), "{text}");
    assert!(text.starts_with("rubber run works here\n"), "{text}");
}

#[test]
fn one_missing_namespace_costs_one_chapter() {
    if !possible("unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_uts_namespaces'") {
        return;
    }
    let report =
        Bed::new().report("unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_uts_namespaces; $R --format json'");
    let (state, found, fix) = report.check("ns.uts");
    assert_eq!((state, fix), ("no", "sysctl -w user.max_uts_namespaces=15000"), "{found}");
    assert_eq!([report.runs("05"), report.runs("06"), report.runs("07")], [false, true, true]);
    assert_eq!(report.code, Some(1));
}

#[test]
fn a_proc_with_hidden_parts_cannot_be_mounted_anew() {
    let hide = format!("{OWN} -mpf sh -c 'mount -t proc proc /proc; mount -t tmpfs none /proc/driver");
    if !possible(&format!("{hide}'")) {
        return;
    }
    let report = Bed::new().report(&format!("{hide}; {ORDINARY} $R --format json'"));
    let (state, found, fix) = report.check("proc");
    assert!(
        state == "no" && found.contains("hides parts") && fix.contains("systempaths=unconfined"),
        "{found}"
    );
    assert_eq!([report.runs("06"), report.runs("05")], [false, true]);
}

#[test]
fn an_ordinary_user_gets_a_container_and_nothing_is_left_in_the_store() {
    if !root() || !possible(&format!("{NOBODY} unshare -Ur true")) {
        return;
    }
    let bed = Bed::new();
    let report = bed.report(&format!("{NOBODY} $R --format json"));
    assert_eq!((report.code, report.check("overlay").0), (Some(0), "ok"));
    assert!(report.check("overlay").1.ends_with("userxattr"), "{:?}", report.check("overlay"));
    assert!(report.json["host"].to_string().contains("(uid 65534), an ordinary user"));
    assert_eq!(fs::read_dir(bed.path("store")).expect("the store").count(), 0);
}

#[test]
fn ranges_of_ids_are_missing_present_or_powerless() {
    if !root() || !possible(&format!("{NOBODY} unshare -Ur true && test -u /usr/bin/newuidmap")) {
        return;
    }
    let bed = Bed::new();
    let with = |lines: &str, before: &str| {
        bed.report(&format!(
            "printf '{lines}' > sub; cp /usr/bin/newuidmap plain; chmod 755 plain; unshare -m sh -ec \
             'mount --bind sub /etc/subuid; mount --bind sub /etc/subgid; {before}; {NOBODY} $R --format json'"
        ))
    };
    let missing = with("somebody:100000:65536\\n", "true");
    let fix = "sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 nobody";
    assert_eq!((missing.check("ids").0, missing.check("ids").2), ("no", fix));
    assert_eq!((missing.runs("10"), missing.code), (false, Some(0)));

    let present = with("nobody:300000:65536\\n", "true");
    assert_eq!(present.check("ids").0, "ok", "{:?}", present.check("ids"));
    assert!(present.check("ids").1.starts_with("65536 more from 300000"), "{:?}", present.check("ids"));

    let powerless = with("65534:300000:65536\\n", "mount --bind plain /usr/bin/newuidmap");
    let (state, found, fix) = powerless.check("ids");
    assert_eq!((state, fix), ("no", "sudo chmod u+s /usr/bin/newuidmap /usr/bin/newgidmap"), "{found}");
}

#[test]
fn busybox_must_be_there_and_static() {
    let bed = Bed::new();
    let none = bed.report("mkdir bin; PATH=$PWD/bin $R --format json");
    assert!(none.check("busybox").0 == "limited" && none.check("busybox").1.starts_with("not installed"));
    assert!(none.check("busybox").2.contains("busybox"), "{:?}", none.check("busybox"));
    let linked = bed.report("cp $(command -v env) bin/busybox; PATH=$PWD/bin $R --format json");
    assert!(linked.check("busybox").1.contains("is linked to libraries"), "{:?}", linked.check("busybox"));
    let own = bed.report("cp rubber bin/busybox; PATH=$PWD/bin $R --format json");
    assert_eq!(own.check("busybox").0, if cfg!(target_feature = "crt-static") { "ok" } else { "limited" });
}

/// Runs the doctor with a mount over its store, in a mount namespace that nobody else sees.
fn with_store_mounted(mount: &str, then: &str) -> Option<Report> {
    let unshare = if nix::unistd::geteuid().is_root() { "unshare -m" } else { "unshare -Urm" };
    let bed = Bed::new();
    let script =
        format!("{unshare} sh -ec 'mkdir t; mount -t tmpfs t t; mkdir t/l t/u t/w; {mount}; {then}'");
    let there = possible(&format!("cd {} && {script}", bed.dir.path().display()).replace(then, "true"));
    fs::remove_dir(bed.path("t")).ok();
    there.then(|| bed.report(&script))
}

const ASK: &str = "$R --format json";

#[test]
fn a_store_on_an_overlay_gets_a_tmpfs() {
    let mount = "mount -t overlay -o lowerdir=t/l,upperdir=t/u,workdir=t/w o store";
    let Some(report) = with_store_mounted(mount, ASK) else { return };
    let (state, found, fix) = report.check("overlay");
    assert!(found.starts_with("the store lies on an overlay itself"), "{found}");
    assert!(
        found.ends_with("rubber then uses a tmpfs, which is memory") && fix.contains("--root"),
        "{found} {fix}"
    );
    assert_eq!((state, report.runs("04"), report.code), ("limited", true, Some(0)));
    assert!(report.check("store").1.contains("on overlayfs"), "{:?}", report.check("store"));
}

#[test]
fn a_read_only_store_stops_everything() {
    let Some(report) = with_store_mounted("mount -t tmpfs -o ro s store", ASK) else { return };
    let (state, found, fix) = report.check("store");
    assert!(state == "no" && found.contains("is on a read-only filesystem; "), "{found}");
    assert!(fix.starts_with("rubber --root /") && report.code == Some(1), "{fix}");
    assert_eq!([report.runs("03"), report.runs("04")], [true, false]);
}

#[test]
fn a_store_without_exec_is_mended_by_its_fix() {
    let mount = "mount -t tmpfs -o noexec s store";
    let Some(report) = with_store_mounted(mount, ASK) else { return };
    let (state, found, fix) = report.check("store");
    assert!(state == "limited" && found.contains("noexec"), "{found}");
    assert!(fix.starts_with("mount -o remount,bind,exec /") && fix.ends_with("/store"), "{fix}");
    let obey = format!("$R | grep -o \"mount -o remount.*\" | sh -e; {ASK}");
    let Some(mended) = with_store_mounted(mount, &obey) else { return };
    assert_eq!(mended.check("store").0, "ok");
}

#[test]
fn a_full_store_is_not_writable_enough() {
    let fill = "mount -t tmpfs -o size=64k s store; head -c 65536 /dev/zero > store/f 2>/dev/null || true";
    let Some(report) = with_store_mounted(fill, ASK) else { return };
    assert!(report.check("store").0 == "no" && report.check("store").1.contains("is full"));
    assert_eq!(report.code, Some(1));
}

#[test]
fn an_ignored_sigchld_changes_no_answer() {
    let bed = Bed::new();
    let (plain, ignoring) = (bed.report(ASK), bed.report("trap '' CHLD; exec $R --format json"));
    assert_eq!(plain.json["chapters"], ignoring.json["chapters"]);
}

#[test]
fn a_terminal_gets_80_columns_and_colour_and_a_pipe_neither() {
    if !possible("script -qec true /dev/null") {
        return;
    }
    let bed = Bed::new();
    let long = "very-long-name-".repeat(12);
    let on_terminal = |variable: &str| {
        let script = format!(
            "export TERM=xterm; unset NO_COLOR; {variable} script -qec \
             \"stty cols 120; ./rubber --root $PWD/{long} doctor\" /dev/null </dev/null"
        );
        String::from_utf8(bed.sh(&script).stdout).expect("UTF-8").replace('\r', "")
    };
    let plain = on_terminal("NO_COLOR=1");
    let widest = plain.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    assert!(!plain.contains('\x1b') && plain.contains("14 ipc"), "{plain}");
    assert!((60..=80).contains(&widest), "{widest} columns:\n{plain}");
    assert!(on_terminal("").contains("\x1b[32mok"));
    let piped =
        String::from_utf8(bed.sh(&format!("./rubber --root $PWD/{long} doctor")).stdout).expect("UTF-8");
    assert!(!piped.contains('\x1b') && piped.lines().any(|line| line.contains(&long)), "{piped}");
}

#[test]
fn control_characters_in_a_name_do_not_reach_the_terminal() {
    let bed = Bed::new();
    let output = bed.sh("d=$(printf 'a\\033[2Jb'); mkdir \"$d\"; ./rubber --root \"$PWD/$d\" doctor");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("a\\u{1b}[2Jb") && !text.contains('\x1b'), "{text}");
}

#[test]
fn a_full_disk_under_the_output_is_an_error() {
    let output = Bed::new().sh("$R > /dev/full");
    assert_eq!(output.status.code(), Some(125));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.starts_with("rubber: cannot write the report: "), "{error}");
}

#[test]
fn nothing_of_the_host_changes() {
    let facts = || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let names = Path::new("/proc/sys/kernel/hostname");
        (mounts, fs::read_to_string(names).expect("hostname"))
    };
    let (bed, before) = (Bed::new(), facts());
    bed.sh("$R");
    assert_eq!(facts(), before);
    assert_eq!(fs::read_dir(bed.path("store")).expect("the store").count(), 0);
    if possible("strace -V") {
        let writes = "mkdir|O_WRONLY|O_RDWR|O_CREAT|rmdir|unlink";
        let traced = bed.sh(&format!(
            "strace -fo calls -e trace=%file $R >&2; grep /sys/fs/cgroup calls | grep -cE '{writes}' || true"
        ));
        assert_eq!(String::from_utf8_lossy(&traced.stdout).trim(), "0");
        assert!(fs::read_to_string(bed.path("calls")).expect("calls").contains("/sys/fs/cgroup"));
    }
}

#[test]
fn without_any_cgroup_tree_the_fix_mounts_one() {
    // In a cgroup namespace of its own, where mounting cgroup2 does not change the host's options.
    let unmounted = "unshare -mC --propagation private sh -ec 'umount -l -R /sys/fs/cgroup";
    if !root() || !possible(&format!("{unmounted}'")) {
        return;
    }
    let bed = Bed::new();
    let before = bed.report(&format!("{unmounted}; $R --format json'"));
    let fix = before.check("cgroup.cpu").2.to_string();
    assert_eq!((before.check("cgroup").0, before.runs("08"), before.code), ("no", false, Some(0)));
    let after = bed.report(&format!("{unmounted}; {fix}; $R --format json'"));
    assert_eq!(after.check("cgroup.cpu").0, "ok", "{fix}: {:?}", after.check("cgroup.cpu"));
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let output = Bed::new().sh("$R 2>said | true; $R 2>>said >&-; cat said");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

/// In a chroot nobody makes a user namespace, whatever the switches say: so they can be set to what a
/// distribution has them at, over a /proc/sys/kernel that is ours.
fn with_switch(name: &str, value: &str) -> Option<Report> {
    let prepare = format!(
        "mkdir r; mount --rbind / r; mount -t tmpfs k r/proc/sys/kernel; echo {value} >r/proc/sys/kernel/{name}"
    );
    let tried = format!("d=$(mktemp -d); trap 'rmdir $d/r $d' EXIT; cd $d; unshare -m sh -ec '{prepare}'");
    if !root() || !possible(&tried) {
        return None;
    }
    let bed = Bed::new();
    Some(bed.report(&format!("unshare -m sh -ec '{prepare}; exec chroot r {NOBODY} $R --format json'")))
}

#[test]
fn debians_switch_for_user_namespaces_is_named() {
    let Some(report) = with_switch("unprivileged_userns_clone", "0") else { return };
    let (state, found, fix) = report.check("userns");
    assert_eq!((state, fix), ("no", "sudo sysctl -w kernel.unprivileged_userns_clone=1"), "{found}");
    assert!(found.starts_with("kernel.unprivileged_userns_clone is 0"), "{found}");
    assert!(!report.runs("13") && report.code == Some(1));
}

#[test]
fn ubuntus_apparmor_gets_a_profile_for_this_very_program() {
    let Some(report) = with_switch("apparmor_restrict_unprivileged_userns", "1") else { return };
    let (state, found, fix) = report.check("userns");
    assert!(
        state == "no" && found.starts_with("AppArmor allows user namespaces only to programs"),
        "{found}"
    );
    let words = ["userns,", "/rubber\"", "| sudo tee /etc/apparmor.d/rubber", "apparmor_parser -r"];
    assert!(words.iter().all(|word| fix.contains(word)) && fix.lines().count() == 1, "{fix}");
}

#[test]
fn cgroups_that_are_not_delegated_are_told_with_the_way_to_get_them() {
    if !root() {
        return;
    }
    let report = Bed::new().report(&format!("{NOBODY} $R --format json"));
    let (state, found, fix) = report.check("cgroup.memory");
    assert_eq!(state, "no", "{found}");
    match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        true => assert!(found.contains("not delegated to you") && fix.lines().count() == 1, "{found}: {fix}"),
        false => assert!(!fix.is_empty() && fix.lines().count() == 1, "{found}: {fix}"),
    }
    assert!(!report.runs("09") && report.runs("13"), "{found}");
}
