//! podman as an ordinary user, with rubber in runc's place: a table of what people do with it. The user is known in the
//! tests' own surroundings alone, with a range of ids below: see `podman`.

use crate::{
    lab,
    podman::{Ground, Whose},
    table::{Case, part},
};

/// As in `podman`. Limits take a cgroup of the user's, which nobody has delegated there: with neither runtime.
#[rustfmt::skip]
pub const CASES: &[Case] = &[
    ("a command", "r bb echo hello", "hello"),
    ("its exit code", "r bb sh -c 'exit 7'; echo $?", "7"),
    ("no such command", "r bb nope 2>/dev/null; echo $?", "127"),
    ("stdin", "echo typed | r -i bb cat", "typed"),
    ("a terminal", "r -t bb sh -c 'test -t 0 && test -t 1 && tty' | tr -d '\\r'", "/dev/pts/0"),
    ("who it is outside and inside", "id -u; r bb id -u", "54321\n0"),
    ("ids below", "r bb cat /proc/self/uid_map | xargs", "0 54321 1 1 200000 65536"),
    ("a user by name", "r --user guest bb sh -c 'id -u; id -g' | xargs", "1000 1000"),
    ("its own id kept", "r --userns keep-id bb id -u", "54321"),
    ("a file that it makes is the user's", "mkdir v; r -v $T/v:/data bb touch /data/x; stat -c %u v/x", "54321"),
    ("a file of another id's inside", "mkdir v; chmod 777 v; r --user 1000 -v $T/v:/data bb touch /data/x; stat -c %u v/x", "200999"),
    ("a read-only volume", "mkdir v; r -v $T/v:/data:ro bb sh -c 'touch /data/x 2>/dev/null || echo no'", "no"),
    ("a read-only root", "r --read-only bb sh -c 'touch /x 2>/dev/null || echo no; touch /tmp/x && echo yes' | xargs", "no yes"),
    ("memory at a place", "r --tmpfs /mem:size=1m bb sh -c 'df -k /mem | tail -1 | xargs | cut -d\" \" -f2'", "1024"),
    ("a filter of system calls", "r bb grep Seccomp: /proc/self/status | xargs", "Seccomp: 2"),
    ("the capabilities podman gives", "r bb grep CapEff /proc/self/status | xargs", "CapEff: 00000000a80425fb"),
    ("a parameter of its network", "r --sysctl net.ipv4.ip_forward=1 bb cat /proc/sys/net/ipv4/ip_forward", "1"),
    ("devices that every container has", "r bb sh -c 'head -c 3 /dev/zero | wc -c; echo x >/dev/null; test -c /dev/tty && test -L /dev/ptmx && echo all' | xargs", "3 all"),
    ("what is hidden of /proc", "r bb sh -c 'wc -c </proc/keys; echo 1 2>/dev/null >/proc/sys/kernel/panic || echo no' | xargs", "0 no"),
    ("a limit of files", "r --ulimit nofile=99:100 bb sh -c 'ulimit -n; ulimit -Hn' | xargs", "99 100"),
    ("in the background, and another command", "d bb sleep 60; p exec $C sh -c 'echo inside; exit 3'; echo $?", "inside\n3"),
    ("another command's terminal", "d bb sleep 60; p exec -t $C sh -c 'test -t 0 && echo terminal' | tr -d '\\r'", "terminal"),
    ("its output later", "d bb echo said; p wait $C; p logs $C", "0\nsaid"),
    ("a stop", "d bb sh -c 'trap \"exit 5\" TERM; while :; do sleep 0.1; done'; p stop -t 10 $C >/dev/null; p inspect -f '{{.State.ExitCode}}' $C", "5"),
    ("a kill", "d bb sleep 60; p kill $C >/dev/null; p wait $C", "137"),
    ("a commit", "d bb sh -c 'echo kept >/kept'; p wait $C >/dev/null; p commit -q $C i-$C >/dev/null; r i-$C cat /kept", "kept"),
    ("pids of another container's", "d bb sleep 60; r --pid container:$C bb ps | grep -c 'sleep 60'", "1"),
];

const SHARE: usize = 3;
const SMALL_SHARE: usize = 13;

#[test]
fn podman_runs_containers_of_a_user() {
    if !lab::is_root() {
        return lab::skip_this("a user of the test's own takes root to make");
    }
    if !["podman", "conmon", "unshare", "nsenter", "setpriv", "newuidmap"].into_iter().all(lab::has) {
        return lab::skip_this("there is no podman here, or no newuidmap");
    }
    Ground::new(Whose::User).try_all(CASES, part(CASES, "RUBBER_TEST_ROOTLESS", [SHARE, SMALL_SHARE]));
}
