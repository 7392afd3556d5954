//! What buildah and umoci have built, in their own ways of writing layers and what is gone from them.

use crate::{lab, layout, place::Place, says, tool};
use std::fs;

fn lacks(program: &str) -> bool {
    if lab::is_root() && lab::has(program) {
        return false;
    }
    lab::skip_this(&format!("it takes root and {program}"));
    true
}

/// A root with a shell and a file called gone, in the directory `root`.
fn root(place: &Place) {
    fs::create_dir(place.path("root")).unwrap();
    fs::write(place.path("busybox.tar"), layout::busybox()).unwrap();
    tool(place, "tar", &["-C", "root", "-xf", "busybox.tar"]);
    fs::write(place.path("root/gone"), "").unwrap();
    fs::create_dir(place.path("root/below")).unwrap();
    fs::write(place.path("root/below/file"), "").unwrap();
}

const COMMAND: &str = "echo $WHO $(id -u):$(id -g) $(pwd) $(ls -d /gone /new /below/* 2>/dev/null)";

#[test]
fn what_buildah_builds_is_run_as_it_says() {
    if lacks("buildah") {
        return;
    }
    let place = Place::new();
    root(&place);
    let script = r#"
        buildah() { command buildah --root "$PWD/store-b" --runroot "$PWD/run-b" --storage-driver vfs "$@"; }
        one=$(buildah from scratch)
        buildah add -q "$one" root / >/dev/null
        buildah config --env WHO=buildah --user 7:8 --workingdir /below --entrypoint '["/bin/sh","-c"]' --cmd "'$1'" "$one"
        buildah commit -q "$one" first >/dev/null
        two=$(buildah from first)
        mounted=$(buildah mount "$two")
        rm -r "$mounted/gone" "$mounted/below"; mkdir "$mounted/below"; echo >"$mounted/below/other"; echo >"$mounted/new"
        buildah umount "$two" >/dev/null
        buildah commit -q "$two" oci-archive:built.oci:built:v1 >/dev/null
        buildah commit -q "$two" docker-archive:built.docker:built:v1 >/dev/null
        buildah commit -q "$two" oci:built.dir:v1 >/dev/null
        buildah rm -a >/dev/null"#;
    tool(&place, "bash", &["-euc", script, "bash", COMMAND]);
    for (archive, transport) in
        [("built.oci", "oci-archive:"), ("built.docker", "docker-archive:"), ("built.dir", "oci:")]
    {
        let name = format!("{transport}{archive}");
        assert_eq!(says(&place, &[&name]), "buildah 7:8 /below /below/other /new", "{name}");
    }
    place.rubber(&["import", "built.oci", "it"]).good();
    assert_eq!(says(&place, &["it"]), "buildah 7:8 /below /below/other /new");
}

#[test]
fn what_umoci_builds_is_run_and_what_is_saved_is_unpacked_by_it() {
    if lacks("umoci") {
        return;
    }
    let place = Place::new();
    root(&place);
    let script = r#"
        umoci init --layout built
        umoci new --image built:it
        umoci unpack --image built:it one >/dev/null
        cp -a root/. one/rootfs/
        umoci repack --image built:it one
        umoci config --image built:it --config.env WHO=umoci --config.user 7:8 --config.workingdir /below \
            --config.entrypoint /bin/sh --config.entrypoint -c --config.cmd "$1"
        umoci unpack --image built:it two >/dev/null
        rm -r two/rootfs/gone two/rootfs/below/file; echo >two/rootfs/below/other; echo >two/rootfs/new
        umoci repack --image built:it two"#;
    tool(&place, "bash", &["-euc", script, "bash", COMMAND]);
    assert_eq!(says(&place, &["oci:built:it"]), "umoci 7:8 /below /below/other /new");
    tool(&place, "tar", &["-C", "built", "-cf", "built.tar", "."]);
    place.rubber(&["import", "built.tar", "example.org/built:v1"]).good();
    assert_eq!(says(&place, &["example.org/built:v1"]), "umoci 7:8 /below /below/other /new");
    place.rubber(&["save", "example.org/built:v1", "-o", "saved"]).good();
    let script = r#"
        mkdir back; tar -C back -xf saved
        umoci unpack --image "back:$(umoci list --layout back)" back-two >/dev/null
        umoci unpack --image built:it two-again >/dev/null
        diff -r --no-dereference back-two/rootfs two-again/rootfs"#;
    tool(&place, "bash", &["-euc", script]);
}
