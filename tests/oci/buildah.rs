//! buildah as it comes from Debian, with rubber in runc's place: a table of what people do with it. It runs where
//! podman does.

use crate::{
    lab,
    podman::{Ground, Whose},
    table::{Case, part},
};

/// What is done, in sh, and what it prints. `f` makes a container of the image, called $C; `x` runs a command in it,
/// with buildah's words in front of it; `u` builds what stands in ./Containerfile, as i-$C.
#[rustfmt::skip]
pub const CASES: &[Case] = &[
    ("a command", "f; x $C echo hello", "hello"),
    ("its exit code", "f; x $C sh -c 'exit 7' 2>/dev/null; echo $?", "7"),
    ("no such command", "f; x $C nope >/dev/null 2>&1; test $? != 0 && echo told", "told"),
    ("stdin", "f; echo typed | x $C head -n 1", "typed"),
    ("a terminal", "f; x -t $C sh -c 'test -t 0 && test -t 1 && tty' | tr -d '\\r'", "/dev/pts/0"),
    ("a working directory", "f; b config --workingdir /home/guest $C; x $C pwd", "/home/guest"),
    ("the environment", "f; b config --env A=b $C; x --env COLOUR=red $C sh -c 'echo $A $COLOUR'", "b red"),
    ("a user by name", "f; b config --user guest $C; x $C id -u", "1000"),
    ("a user by number", "f; x --user 1234:5678 $C sh -c 'id -u; id -g' | xargs", "1234 5678"),
    ("a hostname", "f; x --hostname box $C hostname", "box"),
    ("a volume", "f; mkdir v; echo theirs >v/f; x -v $T/v:/data $C sh -c 'cat /data/f; echo ours >/data/g'; cat v/g", "theirs\nours"),
    ("a read-only volume", "f; mkdir v; x -v $T/v:/data:ro $C sh -c 'touch /data/x 2>/dev/null || echo no'", "no"),
    ("the capabilities buildah gives", "f; x $C grep CapEff /proc/self/status | xargs", "CapEff: 00000000a80425fb"),
    ("a capability less", "f; x --cap-drop CAP_CHOWN $C grep CapEff /proc/self/status | xargs", "CapEff: 00000000a80425fa"),
    ("a filter of system calls", "f; x $C grep Seccomp: /proc/self/status | xargs", "Seccomp: 2"),
    ("the host's network", "f; test $(b run --runtime $RUNTIME --isolation oci --network host $C readlink /proc/self/ns/net) = $(readlink /proc/self/ns/net) && echo same", "same"),
    ("a loopback of its own", "f; x $C ip -o link | wc -l", "1"),
    ("pid 1", "f; x $C sh -c 'echo $$'", "1"),
    ("what is written stays", "f; x $C sh -c 'echo kept >/kept'; x $C cat /kept", "kept"),
    ("a commit", "f; x $C sh -c 'echo kept >/kept'; b commit -q $C i-$C >/dev/null; g; x g-$C cat /kept", "kept"),
    ("a build", "printf 'FROM bb\\nRUN echo built >/x\\nRUN test -s /x && echo again >>/x\\n' >Containerfile; u; g; x g-$C cat /x", "built\nagain"),
    ("a build that fails", "printf 'FROM bb\\nRUN exit 7\\n' >Containerfile; u 2>/dev/null; echo $?", "7"),
    ("a build's user, directory and arguments", "printf 'FROM bb\\nARG A=b\\nWORKDIR /w\\nRUN chown 1000:1000 /w\\nUSER guest\\nRUN id -u >who; pwd >>who; echo $A >>who\\n' >Containerfile; u --build-arg A=c; g; x g-$C cat /w/who | xargs", "1000 /w c"),
    ("a build in two stages", "printf 'FROM bb AS one\\nRUN echo made >/m\\nFROM bb\\nCOPY --from=one /m /n\\nRUN cat /n >/o\\n' >Containerfile; u; g; x g-$C cat /o", "made"),
    ("a build's secret", "echo hidden >s; printf 'FROM bb\\nRUN --mount=type=secret,id=s cat /run/secrets/s >/told\\n' >Containerfile; u --secret id=s,src=s; g; x g-$C cat /told", "hidden"),
    ("a build's limit of files", "printf 'FROM bb\\nRUN ulimit -n >/n\\n' >Containerfile; u --ulimit nofile=99:100; g; x g-$C cat /n", "99"),
];

const SHARE: usize = 3;
const SMALL_SHARE: usize = 13;

#[test]
fn buildah_runs_commands() {
    if !lab::is_root() {
        return lab::skip_this("buildah's rootful ways take root");
    }
    if !["podman", "buildah", "conmon", "unshare", "nsenter"].into_iter().all(lab::has) {
        return lab::skip_this("there is no buildah here");
    }
    Ground::new(Whose::Root).try_all(CASES, part(CASES, "RUBBER_TEST_BUILDAH", [SHARE, SMALL_SHARE]));
}
