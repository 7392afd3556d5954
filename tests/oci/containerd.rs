//! containerd as it comes from Debian, with rubber in runc's place: a table of what people do with ctr(8).
//!
//! It runs in mount and pid namespaces of the tests' own, with /run of its own: what it leaves running (a shim for
//! each container) ends with the first process in there. The image is an archive made here.

use crate::{
    lab,
    table::{Case, Runtime, part, try_all},
};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// What is done, in bash, and what it prints. (ctr itself does not tell of an end of stdin that comes before the start has
/// returned, so nothing waits for one.) `c` is ctr; `r` is ctr run --rm of the image, as $C and in a cgroup of the
/// test's, with words of ctr's up to `--`; `d` is the same in the background; `x` executes in it.
#[rustfmt::skip]
pub const CASES: &[Case] = &[
    ("a command", "r -- echo hello", "hello"),
    ("its exit code", "r -- sh -c 'exit 7'; echo $?", "7"),
    ("a signal's exit code", "r -- sh -c 'sh -c \"kill -TERM \\$\\$\"; exit $?'; echo $?", "143"),
    ("no such command", "r -- nope 2>&1 | grep -c 'executable file not found in $PATH'", "1"),
    ("a command that is a directory", "r -- /etc 2>&1 | grep -c 'permission denied'", "1"),
    ("stdin", "echo typed | r -- head -n 1", "typed"),
    ("stdout and stderr apart", "r -- sh -c 'echo out; echo err >&2' 2>/dev/null", "out"),
    ("the environment", "r --env COLOUR=red --env A=b -- sh -c 'echo $COLOUR $A'", "red b"),
    ("a working directory", "r --cwd /home/guest -- pwd", "/home/guest"),
    ("a user of the image's and its own", "r -- id -u", "0"),
    ("the capabilities ctr gives", "r -- grep CapEff /proc/self/status | xargs", "CapEff: 00000000a80425fb"),
    ("a capability more", "r --cap-add CAP_SYS_TIME -- grep CapBnd /proc/self/status | xargs", "CapBnd: 00000000aa0425fb"),
    ("a capability less", "r --cap-drop CAP_CHOWN -- grep CapEff /proc/self/status | xargs", "CapEff: 00000000a80425fa"),
    ("no new privileges", "r -- grep NoNewPrivs /proc/self/status | xargs", "NoNewPrivs: 1"),
    ("new privileges", "r --allow-new-privs -- grep NoNewPrivs /proc/self/status | xargs", "NoNewPrivs: 0"),
    ("a filter of system calls", "r --seccomp -- sh -c 'grep Seccomp: /proc/self/status | xargs; unshare -n true 2>/dev/null || echo refused'", "Seccomp: 2\nrefused"),
    ("a profile of its own", "echo '{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":13}]}' >$T/p; r --seccomp --seccomp-profile $T/p -- mkdir /x 2>&1", "mkdir: can't create directory '/x': Permission denied"),
    ("no filter of system calls", "r -- grep Seccomp: /proc/self/status | xargs", "Seccomp: 0"),
    ("pid 1", "r -- sh -c 'echo $$'", "1"),
    ("the host's network", "test $(r --net-host -- readlink /proc/self/ns/net) = $(readlink /proc/self/ns/net) && echo same", "same"),
    ("a loopback of its own", "r -- ip -o link | wc -l", "1"),
    ("a network it is given", "d -- sleep 60; r2 --with-ns network:/proc/$(pid)/ns/net -- readlink /proc/self/ns/net >$T/a; x readlink /proc/self/ns/net | cmp - $T/a && echo same", "same"),
    ("pids of another's", "d -- sleep 60; r2 --with-ns pid:/proc/$(pid)/ns/pid -- ps | grep -c 'sleep 60'", "1"),
    ("ids of its own", "r --uidmap 0:100000:5000 --gidmap 0:100000:5000 -- sh -c 'id -u; cat /proc/self/uid_map' | xargs", "0 0 100000 5000"),
    ("a read-only root", "r --read-only -- touch /x 2>&1", "touch: /x: Read-only file system"),
    ("a volume", "echo theirs >$T/f; r --mount type=bind,src=$T,dst=/data,options=rbind:rw -- sh -c 'cat /data/f; echo ours >/data/g'; cat $T/g", "theirs\nours"),
    ("a read-only volume", "r --mount type=bind,src=$T,dst=/data,options=rbind:ro -- touch /data/x 2>&1", "touch: /data/x: Read-only file system"),
    ("a volume that is a file", "echo one >$T/file; r --mount type=bind,src=$T/file,dst=/etc/one,options=bind -- cat /etc/one", "one"),
    ("memory at a place", "r --mount type=tmpfs,src=tmpfs,dst=/mem,options=size=1m -- sh -c 'df -k /mem | tail -1 | xargs | cut -d\" \" -f2'", "1024"),
    ("a volume without programs", "cp $(command -v busybox) $T/; r --mount type=bind,src=$T,dst=/data,options=rbind:noexec -- sh -c '/data/busybox true 2>/dev/null; echo $?'", "126"),
    ("a root that is a directory", "r0 --rootfs $D/root $C echo there", "there"),
    ("a root that spreads", "r --rootfs-propagation rshared -- sh -c 'grep \" / rw\" /proc/self/mountinfo | grep -c shared:'", "1"),
    ("a device", "mkdir $T/dev; r --device /dev/null -- sh -c 'echo x >/dev/null && ls -l /dev/null' | cut -c1-10", "crw-rw-rw-"),
    ("devices that every container has", "r -- sh -c 'head -c 3 /dev/zero | wc -c; echo x >/dev/null; test -c /dev/tty && test -L /dev/ptmx && echo all' | xargs", "3 all"),
    ("no other device", "r -- sh -c 'mknod /disk b 1 0 && (exec 3</disk) 2>&1 | grep -o \"not permitted\"'", "not permitted"),
    ("all privileges", "r --privileged -- sh -c 'test -w /proc/sys/kernel/panic && echo all'", "all"),
    ("what is hidden of /proc", "r -- sh -c 'wc -c </proc/keys; ls /sys/firmware | wc -l; echo 1 2>/dev/null >/proc/sys/kernel/panic || echo no' | xargs", "0 0 no"),
    ("a memory limit", "d --memory-limit 67108864 -- sleep 60; one memory.limit_in_bytes memory.max", "67108864"),
    ("a share of the CPU", "d --cpu-shares 512 -- sleep 60; one cpu.shares cpu.weight | sed 's/^20$/512/'", "512"),
    ("a quota of the CPU", "d --cpu-quota 50000 --cpu-period 100000 -- sleep 60; one cpu.cfs_quota_us cpu.max | cut -d' ' -f1", "50000"),
    ("so many CPUs", "d --cpus 0.5 -- sleep 60; one cpu.cfs_quota_us cpu.max | cut -d' ' -f1", "50000"),
    ("too little memory", "r --memory-limit 8388608 -- sh -c 'head -c 64m /dev/zero | tail -n 1 >/dev/null; test $? != 0 && echo killed'", "killed"),
    ("a config.json of one's own", "rubber_spec; c run --rm --runc-binary $RUNTIME --config $T/config.json $C", "by hand"),
    ("a terminal", "tty r -t -- sh -c 'test -t 0 && test -t 1 && tty' | grep -o '/dev/pts/.*'", "/dev/pts/0"),
    ("in the background", "d -- sleep 60; c task ls | grep -c \"$C .*RUNNING\"", "1"),
    ("a pid in a file", "d --pid-file $T/pid -- sleep 60; test $(cat $T/pid) = $(pid) && echo same", "same"),
    ("another command", "d -- sleep 60; x sh -c 'echo inside; exit 3'; echo $?", "inside\n3"),
    ("another command's stdin", "d -- sleep 60; echo typed | x head -n 1", "typed"),
    ("another command's user and directory", "d -- sleep 60; c task exec --exec-id e --user 1000:1000 --cwd /home $C sh -c 'id -u; id -g; pwd' | xargs", "1000 1000 /home"),
    ("another command that is not there", "d -- sleep 60; x nope 2>&1 | grep -c 'executable file not found in $PATH'", "1"),
    ("another command in the background", "d -- sh -c 'until test -e /done; do sleep 0.1; done'; c task exec -d --exec-id e $C touch /done; ended; echo ended", "ended"),
    ("another command's terminal", "d -- sleep 60; tty c task exec -t --exec-id e $C sh -c 'test -t 0 && echo terminal' | grep -o terminal", "terminal"),
    ("a kill", "d -- sleep 60; c task kill -s KILL $C; ended; c task ls | grep \"^$C \" | grep -o STOPPED", "STOPPED"),
    ("a signal", "d --mount type=bind,src=$T,dst=/data,options=rbind:rw -- sh -c 'trap \"echo heard >/data/said; exit 6\" USR1; echo set >/data/set; while :; do sleep 0.1; done'; until test -s $T/set; do sleep 0.1; done; c task kill -s USR1 $C; ended; cat $T/said", "heard"),
    ("a signal for all", "d -- sh -c 'sleep 50 & sleep 60'; c task kill -a -s KILL $C; ended; echo ended", "ended"),
    ("a pause", "d -- sleep 60; c task pause $C; c task ls | grep -o PAUSED; c task resume $C; c task ls | grep -c \"$C .*RUNNING\"", "PAUSED\n1"),
    ("what it uses", "d --memory-limit 67108864 -- sleep 60; c task metrics $C | grep -cE 'memory.usage_in_bytes|memory.usage |pids.current'", "2"),
    ("what it uses, as JSON", "d -- sleep 60; c task metrics --format json $C | grep -c '\"pids\"'", "1"),
    ("its processes", "d -- sh -c 'sleep 50 & sleep 60; true'; until test $(c task ps $C | wc -l) -ge 4; do sleep 0.1; done; c task ps $C | wc -l", "4"),
    ("labels and annotations", "d --label a=b --annotation c=d -- sleep 60; c container info $C | grep -cE '\"a\": \"b\"|\"c\": \"d\"' | sed 's/^3$/2/'", "2"),
    ("removed while it runs", "d -- sleep 60; c task rm -f $C >/dev/null 2>&1; c container rm $C; c container ls -q | grep -c $C", "0"),
];

/// Of as many cases one is tried, unless all are wanted; and where everything is slow, one of even more.
const SHARE: usize = 3;
const SMALL_SHARE: usize = 21;

/// A containerd, and where it runs.
pub struct Ground {
    pub dir: PathBuf,
    pub group: String,
    outer: Child,
    /// The first process of its namespaces, as we see it.
    first: String,
}

/// What tells one containerd from another: a name, more namespaces for it, as unshare(1) has them, what is done in them
/// before it starts (more of its configuration goes into $D/more.toml), plugins it has not, as the configuration lists
/// them, and for which of its own namespaces the image is.
pub struct Kind {
    pub name: &'static str,
    pub namespaces: &'static [&'static str],
    pub before: &'static str,
    pub disabled: &'static str,
    pub whose: &'static str,
}

const BARE: Kind = Kind {
    name: "containerd",
    namespaces: &[],
    before: "true",
    disabled: r#""io.containerd.grpc.v1.cri", "#,
    whose: "default",
};

/// For `ctr image import`: one layer, and what docker save writes about it.
pub const ARCHIVE: &str = r#"
    mkdir -p $D/image/l && tar -C $D/root -cf $D/image/l/layer.tar . && cd $D/image
    sum=$(sha256sum l/layer.tar | cut -d' ' -f1)
    printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["sleep","1000000"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        $(uname -m | sed 's/x86_64/amd64/;s/aarch64/arm64/') $sum >config.json
    printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["l/layer.tar"]}]' $I >manifest.json
    tar -cf $D/image.tar manifest.json config.json l/layer.tar
    c -n $WHOSE image import --snapshotter native $D/image.tar >/dev/null"#;

/// All it writes is in memory, which ends with it: on a disk most of the time would be its waiting for that.
const DAEMON: &str = r#"
    mount -t tmpfs tmpfs /run && mount -t proc proc /proc && eval "$BEFORE" || exit
    cat >$D/config.toml <<END
version = 2
root = "/run/root"
state = "/run/containerd"
disabled_plugins = [$DISABLED"io.containerd.internal.v1.opt"]
[grpc]
address = "/run/containerd/containerd.sock"
END
    cat $D/more.toml >>$D/config.toml 2>/dev/null
    containerd --config $D/config.toml --log-level error >$D/log 2>&1 &
    echo $! >$D/pid
    for try in $(seq 600); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done
    echo ready
    # Children of others' come to us when those have ended.
    while :; do wait; sleep 1; done"#;

impl Ground {
    pub fn new(kind: &Kind) -> Ground {
        let dir = lab::scratch().join(format!("{}-{}", kind.name, std::process::id()));
        fs::create_dir_all(dir.join("t")).unwrap();
        std::os::unix::fs::symlink(lab::RUBBER, dir.join("rubber-oci")).unwrap();
        let group = format!("/rubber-{}-{}", kind.name, std::process::id());
        let mut outer = Command::new("setpriv")
            // With this thread it ends as well, and with it all in there.
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "--pid",
                "--fork",
                "--kill-child",
            ])
            .args(kind.namespaces)
            .args(["sh", "-c", DAEMON])
            .env("D", &dir)
            .env("G", &group)
            .env("BEFORE", kind.before)
            .env("DISABLED", kind.disabled)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(outer.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "containerd: {:?}", fs::read_to_string(dir.join("log")));
        let children = format!("/proc/{0}/task/{0}/children", outer.id());
        let first = fs::read_to_string(children).unwrap().trim().to_owned();
        let ground = Ground { dir, group, outer, first };
        super::bundle::root(&ground.dir.join("root"));
        let output = ground.sh(&ground.oci(), "import", &format!("WHOSE={}\n{ARCHIVE}", kind.whose));
        assert!(output.status.success(), "{output:?}");
        ground
    }

    pub fn oci(&self) -> PathBuf {
        self.dir.join("rubber-oci")
    }

    fn sh(&self, runtime: &Path, name: &str, script: &str) -> Output {
        let prelude = r#"
            export I=localhost/bb:latest SHELL=/bin/bash
            # What waits for ever is a failure of one case.
            ctr() { timeout --foreground -s KILL 60 ctr "$@"; }
            c() { ctr "$@"; }
            run() { how="$1"; id=$2; shift 2; W=; while test "$1" != --; do W="$W $1"; shift; done; shift
                ctr run $how --snapshotter native --runc-binary $RUNTIME --cgroup $G/$id $W $I $id "$@"; }
            r() { run --rm $C "$@"; }
            r2() { run --rm $C-2 "$@"; }
            r0() { ctr run --rm --runc-binary $RUNTIME --cgroup $G/$C "$@"; }
            d() { run -d $C "$@"; }
            x() { ctr task exec --exec-id e $C "$@"; }
            tty() { words=$(for word; do printf "'%s' " "$(printf %s "$word" | sed "s/'/'\\\\''/g")"; done)
                export -f ctr c run r; sleep 3 | script -qec "$words" /dev/null 2>&1 | tr -d '\r'; }
            pid() { ctr task ls | sed -n "s/^$C  *\([0-9]*\) .*/\1/p"; }
            ended() { while ctr task ls | grep -q "^$C .*RUNNING"; do sleep 0.1; done; }
            one() { cat /sys/fs/cgroup/${1%%.*}$G/$C/$1 2>/dev/null || cat /sys/fs/cgroup$G/$C/$2; }
            rubber_spec() { $RUNTIME spec --bundle $T
                sed -i "s|\"terminal\": *true|\"terminal\": false|; s|\"path\": *\"rootfs\"|\"path\": \"$D/root\"|" $T/config.json
                python3 -c 'import json,sys; p=sys.argv[1]; c=json.load(open(p)); c["process"]["args"]=["echo","by hand"]
c["linux"]["cgroupsPath"]=sys.argv[2]; json.dump(c,open(p,"w"))' $T/config.json $G/$C; }
            T=$D/t/$C; mkdir -p $T; cd $T"#;
        let epilogue = "ctr task rm -f $C >/dev/null 2>&1; ctr container rm $C >/dev/null 2>&1; rm -rf $T";
        let mut inside = self.inside(&["bash", "-c"]);
        inside.arg(format!("{prelude}\n{script}\nstatus=$?\n{epilogue}\nexit $status"));
        inside.env("RUNTIME", runtime).env("C", name).output().unwrap()
    }

    /// A command in the same namespaces.
    pub fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first, "--mount", "--pid", "--net"]).args(words);
        command.env("D", &self.dir).env("G", &self.group).stdin(Stdio::null());
        command
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // unshare(1) takes the first process along, and that all others in there.
        let _ = self.outer.kill();
        let _ = self.outer.wait();
        while Path::new(&format!("/proc/{}", self.first)).exists() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        super::bundle::remove_groups(&self.group);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn containerd_runs_containers() {
    if !lab::is_root() {
        return lab::skip_this("containerd's rootful ways take root");
    }
    if !["containerd", "ctr", "unshare", "nsenter", "script"].into_iter().all(lab::has) {
        return lab::skip_this("there is no containerd here");
    }
    let ground = Ground::new(&BARE);
    let cases = part(CASES, "RUBBER_TEST_CONTAINERD", [SHARE, SMALL_SHARE]);
    try_all(CASES, cases, |runtime, name, script| match runtime {
        Runtime::Rubber => ground.sh(&ground.oci(), name, script),
        Runtime::Runc => ground.sh(Path::new("runc"), name, script),
    });
}
