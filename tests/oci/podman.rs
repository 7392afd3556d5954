//! podman as it comes from Debian, with rubber in runc's place: a table of what people do with it.
//!
//! It runs in a mount namespace of the tests' own, with /run, /dev/shm and /var/lib/containers of its own, so that no
//! other podman on this machine is met, and nothing is left when the last process in there has ended. What fails with
//! rubber has to fail with runc, too.

use crate::lab;
use crate::table::{self, Case, Runtime, part};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

/// What is done, in sh, and what it prints. `p` is podman; `r` is podman run --rm without a network, `d` is podman run
/// -d of a container called $C; `bb` is the image.
#[rustfmt::skip]
pub const CASES: &[Case] = &[
    ("a command", "r bb echo hello", "hello"),
    ("its exit code", "r bb sh -c 'exit 7'; echo $?", "7"),
    ("a signal's exit code", "r bb sh -c 'sh -c \"kill -TERM \\$\\$\"; exit $?'; echo $?", "143"),
    ("no such command", "r bb nope 2>/dev/null; echo $?", "127"),
    ("a command that is a directory", "r bb /etc 2>/dev/null; echo $?", "126"),
    ("stdin", "echo typed | r -i bb cat", "typed"),
    ("stdout and stderr apart", "r bb sh -c 'echo out; echo err >&2' 2>/dev/null", "out"),
    ("a terminal", "r -t bb sh -c 'test -t 0 && test -t 1 && tty' | tr -d '\\r'", "/dev/pts/0"),
    ("a terminal and its console", "r -t bb sh -c 'test -c /dev/console && echo there' | tr -d '\\r'", "there"),
    ("the environment", "r -e COLOUR=red -e A='b c' bb sh -c 'echo $COLOUR $A'", "red b c"),
    ("a working directory", "r -w /home/guest bb pwd", "/home/guest"),
    ("a user by number", "r -u 1234:5678 bb sh -c 'id -u; id -g' | xargs", "1234 5678"),
    ("a user by name, and one group more", "r -u guest --group-add 4321 bb id -G | xargs", "1000 4321"),
    ("a user's streams", "r -u 1000 bb sh -c 'echo x >/proc/self/fd/1'", "x"),
    ("the capabilities podman gives", "r bb grep CapEff /proc/self/status | xargs", "CapEff: 00000000a80425fb"),
    ("a capability less", "r --cap-drop ALL --cap-add CHOWN bb grep -E 'Cap(Bnd|Eff)' /proc/self/status | xargs", "CapEff: 0000000000000001 CapBnd: 0000000000000001"),
    ("an ambient capability for a user", "r -u 1000 --cap-drop ALL --cap-add NET_RAW bb grep -E 'Cap(Amb|Eff)' /proc/self/status | xargs", "CapEff: 0000000000002000 CapAmb: 0000000000002000"),
    ("no new privileges", "r --security-opt no-new-privileges bb grep NoNewPrivs /proc/self/status | xargs", "NoNewPrivs: 1"),
    ("a filter of system calls", "r bb grep Seccomp: /proc/self/status | xargs; r bb unshare -n true 2>/dev/null || echo refused", "Seccomp: 2\nrefused"),
    ("no filter of system calls", "r --security-opt seccomp=unconfined bb grep Seccomp: /proc/self/status | xargs", "Seccomp: 0"),
    ("a hostname", "r --hostname box bb hostname", "box"),
    ("a parameter of its queues", "r --sysctl kernel.msgmax=4321 bb cat /proc/sys/kernel/msgmax", "4321"),
    ("a parameter of its network", "r --sysctl net.ipv4.ip_forward=1 bb cat /proc/sys/net/ipv4/ip_forward", "1"),
    ("pid 1", "r bb sh -c 'echo $$'", "1"),
    ("the host's pids", "r --pid host bb sh -c 'test $$ -gt 1 && echo many'", "many"),
    ("the host's network", "test $(p run --rm --cgroup-parent $G --network host bb readlink /proc/self/ns/net) = $(readlink /proc/self/ns/net) && echo same", "same"),
    ("the host's names", "test $(r --uts host bb hostname) = $(hostname) && echo same", "same"),
    ("the host's queues", "test $(r --ipc host bb readlink /proc/self/ns/ipc) = $(readlink /proc/self/ns/ipc) && echo same", "same"),
    ("a loopback of its own", "r bb ip -o link | wc -l", "1"),
    ("a read-only root", "r --read-only bb sh -c 'touch /x 2>/dev/null || echo no; touch /tmp/x && echo yes' | xargs", "no yes"),
    ("a volume", "mkdir -p $T/v; echo theirs >$T/v/f; r -v $T/v:/data bb sh -c 'cat /data/f; echo ours >/data/g'; cat $T/v/g", "theirs\nours"),
    ("a read-only volume", "mkdir -p $T/v; r -v $T/v:/data:ro bb sh -c 'touch /data/x 2>/dev/null || echo no'", "no"),
    ("a volume that is a file", "echo one >$T/file; r -v $T/file:/etc/one bb cat /etc/one", "one"),
    ("a named volume is filled", "r -v named:/home bb ls /home; p volume rm named >/dev/null", "guest"),
    ("a volume without devices and programs", "mkdir -p $T/v; cp $(command -v busybox) $T/v/; r -v $T/v:/data:noexec bb /data/busybox true 2>/dev/null; echo $?", "126"),
    ("a slave's volume", "mkdir -p $T/v; r -v $T/v:/data:rslave bb grep -c ' /data .* master:' /proc/self/mountinfo; true", "0"),
    ("memory at a place", "r --tmpfs /mem:size=1m,mode=1777 bb sh -c 'df -k /mem | tail -1 | xargs | cut -d\" \" -f2'", "1024"),
    ("memory over what the image has", "r --tmpfs /home bb ls /home", "guest"),
    ("a mount of the image", "r --mount type=image,source=bb,destination=/other bb ls /other/home", "guest"),
    ("a device", "r --device /dev/null:/dev/hole bb sh -c 'echo x >/dev/hole && ls -l /dev/hole' | cut -c1-10", "crw-rw-rw-"),
    ("devices that every container has", "r bb sh -c 'head -c 3 /dev/zero | wc -c; echo x >/dev/null; test -c /dev/tty && test -L /dev/ptmx && echo all' | xargs", "3 all"),
    ("what is hidden of /proc", "r bb sh -c 'wc -c </proc/keys; ls /sys/firmware | wc -l; echo 1 2>/dev/null >/proc/sys/kernel/panic || echo no' | xargs", "0 0 no"),
    ("nothing hidden", "r --security-opt unmask=ALL bb grep -c ' /proc/' /proc/self/mountinfo; true", "0"),
    ("a memory limit", "r -m 64m bb sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max'", "67108864"),
    ("a limit of processes", "r --pids-limit 77 bb sh -c 'cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max'", "77"),
    ("a share and a quota of the CPU", "r --cpus 0.5 bb sh -c 'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d\" \" -f1 /sys/fs/cgroup/cpu.max'", "50000"),
    ("one CPU", "r --cpuset-cpus 0 bb grep Cpus_allowed_list /proc/self/status | xargs", "Cpus_allowed_list: 0"),
    ("too little memory", "r -m 16m --memory-swap 16m bb sh -c 'head -c 64m /dev/zero | tail -n 1 >/dev/null; test $? != 0 && echo killed'", "killed"),
    ("a limit of files", "r --ulimit nofile=99:100 --ulimit nproc=4096:4096 bb sh -c 'ulimit -n; ulimit -Hn' | xargs", "99 100"),
    ("how soon it is killed", "r --oom-score-adj 321 bb cat /proc/self/oom_score_adj", "321"),
    ("a mask for files", "r --umask 0077 bb sh -c umask", "0077"),
    ("in the background", "d bb sleep 60; p inspect -f '{{.State.Status}}' $C", "running"),
    ("its output later", "d bb echo said; p wait $C; p logs $C", "0\nsaid"),
    ("another command", "d bb sleep 60; p exec $C sh -c 'echo inside; exit 3'; echo $?", "inside\n3"),
    ("another command's terminal", "d bb sleep 60; p exec -t $C sh -c 'test -t 0 && echo terminal' | tr -d '\\r'", "terminal"),
    ("another command's stdin", "d bb sleep 60; echo typed | p exec -i $C cat", "typed"),
    ("another command's user, directory and environment", "d bb sleep 60; p exec -u 1000 -w /home -e A=b $C sh -c 'id -u; pwd; echo $A' | xargs", "1000 /home b"),
    ("another command that is not there", "d bb sleep 60; p exec $C nope 2>/dev/null; echo $?", "127"),
    ("another command in the background", "d bb sh -c 'until test -e /done; do sleep 0.1; done; echo done'; p exec -d $C touch /done >/dev/null; p wait $C; p logs $C", "0\ndone"),
    ("a stop", "d bb sh -c 'trap \"exit 5\" TERM; while :; do sleep 0.1; done'; p stop -t 10 $C >/dev/null; p inspect -f '{{.State.ExitCode}}' $C", "5"),
    ("a kill", "d bb sleep 60; p kill $C >/dev/null; p wait $C", "137"),
    ("a signal", "d bb sh -c 'trap \"echo heard; exit 6\" USR1; while :; do sleep 0.1; done'; sleep 1; p kill -s USR1 $C >/dev/null; p wait $C; p logs $C", "6\nheard"),
    ("a pause", "d bb sleep 60; p pause $C >/dev/null; p inspect -f '{{.State.Status}}' $C; p unpause $C >/dev/null; p inspect -f '{{.State.Status}}' $C", "paused\nrunning"),
    ("a second start", "d bb echo again; p wait $C >/dev/null; p start -a $C; p start -a $C", "again\nagain"),
    ("made and started in two steps", "p create --name $C --network none --cgroup-parent $G bb echo two >/dev/null; p start -a $C", "two"),
    ("a restart", "d bb sh -c 'echo born; sleep 60'; p restart -t 0 $C >/dev/null; sleep 1; p logs $C", "born\nborn"),
    ("processes", "d bb sleep 60; p top $C comm | tail -1", "sleep"),
    ("files in and out", "d bb sleep 60; echo in >$T/in; p cp $T/in $C:/out; p cp $C:/out $T/back; cat $T/back", "in"),
    ("a commit", "d bb sh -c 'echo kept >/kept'; p wait $C >/dev/null; p commit -q $C made >/dev/null; r made cat /kept; p rmi made >/dev/null", "kept"),
    ("a changed limit", "d -m 64m bb sleep 60; p update -m 128m $C >/dev/null; p exec $C sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max'", "134217728"),
    ("a network of another container's", "d bb sleep 60; p run --rm --cgroup-parent $G --network container:$C bb readlink /proc/self/ns/net >$T/a; p exec $C readlink /proc/self/ns/net | cmp - $T/a && echo same", "same"),
    ("pids of another container's", "d bb sleep 60; r --pid container:$C bb ps | grep -c 'sleep 60'", "1"),
    ("a pod", "p pod create --network none --infra-image bb --infra-command 'sleep 60' --cgroup-parent $G --name pod-$C >/dev/null; p run --rm --pod pod-$C bb hostname; p pod rm -f -t 0 pod-$C >/dev/null", "pod-C"),
    ("ids of its own", "r --uidmap 0:100000:5000 --gidmap 0:100000:5000 bb sh -c 'id -u; cat /proc/self/uid_map' | xargs", "0 0 100000 5000"),
    ("a cgroup namespace of its own", "r --cgroupns private bb sh -c 'cut -d: -f3 /proc/self/cgroup | sort -u'", "/"),
    ("all privileges", "r --privileged bb sh -c 'test -w /proc/sys/kernel/panic && echo all'", "all"),
    ("a healthcheck", "p run -d --name $C --network none --cgroup-parent $G --health-cmd 'test -d /home' --health-interval disable bb sleep 60 >/dev/null; p healthcheck run $C; echo $?", "0"),
    ("a hook", "mkdir -p $T/hooks; printf '#!/bin/sh\\ncat >%s/state\\n' $T >$T/hook; chmod +x $T/hook; printf '{\"version\":\"1.0.0\",\"hook\":{\"path\":\"%s/hook\"},\"when\":{\"always\":true},\"stages\":[\"prestart\"]}' $T >$T/hooks/one.json; p --hooks-dir $T/hooks run --rm --network none --cgroup-parent $G bb true; grep -o '\"status\": *\"[a-z]*\"' $T/state | tr -d ' '", "\"status\":\"creating\""),
    ("forced away", "d bb sleep 60; p rm -f -t 0 $C >/dev/null; p ps -aq --filter name=$C | wc -l", "0"),
];

/// Of as many cases one is tried, unless all are wanted; and where everything is slow, one of even more.
const SHARE: usize = 3;
const SMALL_SHARE: usize = 26;

pub struct Ground {
    dir: PathBuf,
    group: String,
    holder: std::process::Child,
    whose: Whose,
}

/// Who calls podman there: root, or somebody who is known there alone, with ids of its own below.
#[derive(Clone, Copy, PartialEq)]
pub enum Whose {
    Root,
    User,
}

const USER: &str = "54321";

/// The surroundings: a /run of their own, and for a user all that makes one. The test's directory is root's alone, so
/// a user finds it at another place.
const SURROUNDINGS: &str = "
    for dir in /dev/shm /var/lib/containers; do mkdir -p $dir; mount -t tmpfs -o mode=1777 tmpfs $dir || exit; done
    mount -t tmpfs -o mode=755 tmpfs /run || exit
    if test $U; then
        mkdir -p /run/home /run/user/$U /run/etc /run/d && chown $U:$U /run/home /run/user/$U $D/t && mount --bind $D /run/d || exit
        cp /etc/passwd /etc/group /run/etc/; echo pat:200000:65536 | tee /run/etc/subuid >/run/etc/subgid
        echo pat:x:$U:$U::/run/home:/bin/sh >>/run/etc/passwd; echo pat:x:$U: >>/run/etc/group
        for file in passwd group subuid subgid; do touch /etc/$file; mount --bind /run/etc/$file /etc/$file || exit; done
    fi
    echo ready; exec sleep 100000";

impl Ground {
    pub fn new(whose: Whose) -> Ground {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = lab::scratch().join(format!("podman-{}-{number}", std::process::id()));
        fs::create_dir_all(dir.join("t")).unwrap();
        let oci = dir.join("rubber-oci");
        std::os::unix::fs::symlink(lab::RUBBER, &oci).unwrap();
        let ulimits = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n";
        fs::write(dir.join("containers.conf"), ulimits).unwrap();
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", SURROUNDINGS])
            .env("D", &dir)
            .env("U", if whose == Whose::User { USER } else { "" })
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = holder.stdout.as_mut().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        assert_eq!(line, "ready\n", "a mount namespace for podman");
        let ground =
            Ground { group: format!("/rubber-podman-{}-{number}", std::process::id()), dir, holder, whose };
        super::bundle::root(&ground.dir.join("root"));
        let mut pack = Command::new("tar");
        pack.arg("-C").arg(ground.dir.join("root")).arg("-cf").arg(ground.dir.join("root.tar")).arg(".");
        assert!(pack.status().unwrap().success());
        let import = "p import -q $D/root.tar bb >/dev/null";
        let output = ground.sh(&ground.oci(), "import", import);
        assert!(output.status.success(), "{output:?}");
        ground
    }

    /// As who calls podman finds it.
    fn seen(&self) -> &Path {
        if self.whose == Whose::User { Path::new("/run/d") } else { &self.dir }
    }

    fn oci(&self) -> PathBuf {
        self.seen().join("rubber-oci")
    }

    pub fn try_all(&self, all: &[Case], cases: Vec<&Case>) {
        table::try_all(all, cases, |runtime, name, script| match runtime {
            Runtime::Rubber => match self.sh(&self.oci(), name, script) {
                output if is_podmans_own(&output) => self.sh(&self.oci(), name, script),
                output => output,
            },
            Runtime::Runc => self.sh(Path::new("runc"), name, script),
        });
    }

    fn sh(&self, runtime: &Path, name: &str, script: &str) -> Output {
        let prelude = "
            if test $HOME = /run/home; then PLACE= BELOW=; else PLACE=\"--root $D/podman --runroot /run/p\" BELOW=\"--cgroup-parent $G\"; fi
            p() { podman --runtime $RUNTIME $PLACE --storage-driver vfs --cgroup-manager cgroupfs --events-backend none \
                  --log-level error \"$@\"; }
            r() { p run --rm --network none $BELOW \"$@\"; }
            d() { p run -d --name $C --network none $BELOW \"$@\" >/dev/null; }
            b() { buildah --root $D/podman --runroot /run/p --storage-driver vfs --log-level error \"$@\"; }
            f() { b from --quiet --name $C bb >/dev/null; }
            g() { b from --quiet --name g-$C localhost/i-$C >/dev/null; }
            x() { b run --runtime $RUNTIME --isolation oci --network none \"$@\"; }
            u() { b bud --runtime $RUNTIME --isolation oci --network none -q -t i-$C \"$@\" . >/dev/null; }
            T=$D/t/$C; mkdir -p $T; cd $T";
        let epilogue = "p rm -f -i -t 0 $C >/dev/null 2>&1; b rm $C g-$C >/dev/null 2>&1; p rmi i-$C >/dev/null 2>&1; rm -rf $T";
        let pid = self.holder.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--mount"]);
        if self.whose == Whose::User {
            command.args(["setpriv", "--reuid", USER, "--regid", USER, "--init-groups"]);
            command.env("HOME", "/run/home").env("XDG_RUNTIME_DIR", format!("/run/user/{USER}"));
            command.env_remove("XDG_CACHE_HOME").env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
        }
        command
            .args(["sh", "-c", &format!("cd /\n{prelude}\n{script}\nstatus=$?\n{epilogue}\nexit $status")])
            .env("RUNTIME", runtime)
            .env("D", self.seen())
            .env("G", &self.group)
            .env("C", name)
            .env("CONTAINERS_CONF", self.seen().join("containers.conf"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// Of several that run at a time, one may not find in the store what it has just put there. No runtime is called then.
fn is_podmans_own(output: &Output) -> bool {
    let told = String::from_utf8_lossy(&output.stderr);
    told.contains("mounting storage for container") && told.contains("no such container")
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = self.sh(&self.oci(), "last", "p pod rm -af -t 0; p rm -af -t 0; p rmi -af");
        // A user's podman leaves a process that holds its user namespace.
        let file = format!("/proc/{}/root/run/user/{USER}/libpod/tmp/pause.pid", self.holder.id());
        if let Some(pid) = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        super::bundle::remove_groups(&self.group);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn podman_runs_containers() {
    if !lab::is_root() {
        return lab::skip_this("podman's rootful ways take root");
    }
    if !["podman", "conmon", "unshare", "nsenter"].into_iter().all(lab::has) {
        return lab::skip_this("there is no podman here");
    }
    let ground = Ground::new(Whose::Root);
    ground.try_all(CASES, part(CASES, "RUBBER_TEST_PODMAN", [SHARE, SMALL_SHARE]));
}
