//! Images whose maker means harm: what they say of users, directories and names is heeded or refused, and no more.

use super::*;
use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::Path, time::Instant};

/// A directory with busybox in it, for an image.
fn root(name: &str) -> PathBuf {
    let root = lab::scratch().join(format!("surroundings-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let busybox = std::env::split_paths(&path).map(|dir| dir.join("busybox")).find(|file| file.is_file());
    lab::copy_program(busybox.expect("busybox in PATH"), root.join("bin/sh"));
    root
}

fn run_in(root: &Path, flags: &[&str], script: &str) -> Output {
    let words = [&["run"], flags, &["--rootfs", root.to_str().unwrap(), "sh", "-c", script]].concat();
    rubber(words).output().unwrap()
}

/// Puts something in the place of a user database.
type Make = fn(&Path);

#[test]
fn images_may_have_any_user_database() {
    let sparse: Make = |path| fs::File::create(path).unwrap().set_len(8 << 30).unwrap();
    let fifo: Make = |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let socket: Make = |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    let endless: Make = |path| fs::write(path, vec![b':'; 1 << 20]).unwrap();
    let many: Make = |path| fs::write(path, "a:b:c:d\n".repeat(100_000)).unwrap();
    let nuls: Make = |path| fs::write(path, b"me:\0:1:1:\0:/\0\x1b[2J\n\0\0\0").unwrap();
    let link: Make = |path| std::os::unix::fs::symlink("/proc/self/environ", path).unwrap();
    let device: Make = |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    let terminal: Make = |path| std::os::unix::fs::symlink("/dev/stdin", path).unwrap();
    let out: Make = |path| std::os::unix::fs::symlink("../../../../../../../../etc/passwd", path).unwrap();
    let all = [sparse, fifo, socket, endless, many, nuls, link, device, terminal, out];
    for (number, make) in all.into_iter().enumerate() {
        for file in ["passwd", "group"] {
            let root = root("users");
            make(&root.join("etc").join(file));
            let begin = Instant::now();
            for flags in
                [&[][..], &["-u", "me"], &["-u", "5:wheel"], &["--group-add", "wheel"], &["-u", "7:7"]]
            {
                let what = format!("{file} {number} {flags:?}");
                let output = run_in(&root, flags, "exit 7");
                if lab::code(&output) != 7 {
                    assert_told(&output, &[], &what);
                }
            }
            assert!(begin.elapsed().as_secs() < 20, "{file} {number}");
            fs::remove_dir_all(root).unwrap();
        }
    }
}

/// An image of one layer with this configuration, as an OCI layout in a directory.
fn layout(config: &serde_json::Value) -> PathBuf {
    let dir = lab::scratch().join(format!("surroundings-layout-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    let root = root("layout");
    fs::create_dir_all(&dir).unwrap();
    let tar = Command::new("tar").arg("-C").arg(&root).args(["-cf", "-", "."]).output().unwrap();
    fs::remove_dir_all(root).unwrap();
    let make = "import hashlib, json, os, sys
dir, config, layer = sys.argv[1], json.loads(sys.argv[2]), sys.stdin.buffer.read()
os.makedirs(dir + '/blobs/sha256')
def put(data, kind):
    digest = hashlib.sha256(data).hexdigest()
    open(dir + '/blobs/sha256/' + digest, 'wb').write(data)
    return {'mediaType': kind, 'digest': 'sha256:' + digest, 'size': len(data)}
image = 'application/vnd.oci.image.'
below = put(layer, image + 'layer.v1.tar')
about = {'architecture': 'amd64', 'os': 'linux', 'config': config, 'rootfs': {'type': 'layers', 'diff_ids': [below['digest']]}}
about = put(json.dumps(about).encode(), image + 'config.v1+json')
manifest = {'schemaVersion': 2, 'mediaType': image + 'manifest.v1+json', 'config': about, 'layers': [below]}
manifest = put(json.dumps(manifest).encode(), manifest['mediaType'])
json.dump({'schemaVersion': 2, 'manifests': [manifest]}, open(dir + '/index.json', 'w'))
json.dump({'imageLayoutVersion': '1.0.0'}, open(dir + '/oci-layout', 'w'))";
    let mut python = Command::new("python3");
    python.args(["-c", make]).arg(&dir).arg(config.to_string()).stdin(Stdio::piped());
    let mut python = python.spawn().unwrap();
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), &tar.stdout).unwrap();
    assert!(python.wait().unwrap().success());
    dir
}

#[test]
fn images_may_ask_for_anything_in_their_configuration() {
    use serde_json::json;
    if !lab::has("python3") || cfg!(not(target_arch = "x86_64")) {
        return lab::skip_this("no python3 to make images with");
    }
    let long = "x".repeat(100_000);
    let deep = format!("/{}", "d/".repeat(3000));
    let odd = "a\u{1b}[2J\u{7}\n\r\u{0}b";
    let cases = [
        json!({"WorkingDir": odd}),
        json!({"WorkingDir": "relative"}),
        json!({"WorkingDir": "/../../../.."}),
        json!({"WorkingDir": "/proc/self/fd/7"}),
        json!({"WorkingDir": long}),
        json!({"WorkingDir": deep}),
        json!({"WorkingDir": "/bin/sh"}),
        json!({"Volumes": {"/": {}}}),
        json!({"Volumes": {"": {}}}),
        json!({"Volumes": {"/..": {}}}),
        json!({"Volumes": {"/proc/self": {}}}),
        json!({"Volumes": {"/dev/null": {}}}),
        json!({"Volumes": {"/etc/../../v": {}}}),
        json!({"Volumes": {(odd): {}}}),
        json!({"Volumes": {(long.clone()): {}}}),
        json!({"Labels": {(odd): odd}}),
        json!({"Labels": {"": long}}),
        json!({"User": odd}),
        json!({"User": "-1"}),
        json!({"User": "4294967295:4294967295"}),
        json!({"User": long}),
        json!({"Env": ["PATH=/bin", odd]}),
        json!({"Env": ["PATH=/bin", "=", "", "NAME", "HOME=", "HOME=\u{1b}[2J"]}),
        json!({"Env": ["PATH="]}),
        json!({"Entrypoint": [odd]}),
        json!({"Entrypoint": [""]}),
        json!({"Entrypoint": []}),
        json!({"StopSignal": odd}),
        json!({"StopSignal": "SIGKILL\u{0}"}),
        json!({"StopSignal": "65"}),
        json!({"ExposedPorts": {(odd): {}}}),
    ];
    for config in &cases {
        let what: String = config.to_string().chars().take(200).collect();
        let dir = layout(config);
        let name = format!("oci:{}", dir.display());
        let output = rubber(["run", &name, "/bin/sh", "-c", "exit 7"]).output().unwrap();
        if lab::code(&output) != 7 {
            assert_told(&output, &[], &what);
        }
        // Kept, it is shown in lists: what a terminal would obey is not among it.
        let kept = rubber(["run", "--name", "odd-one", &name, "/bin/sh", "-c", "exit 7"]).output().unwrap();
        if lab::code(&kept) == 7 {
            for words in [&["ps", "-a"][..], &["inspect", "odd-one"], &["images"], &["rm", "-f", "odd-one"]] {
                let shown = rubber(words).output().unwrap();
                assert!(shown.status.success(), "{what} {words:?}: {shown:?}");
                let all = text(&shown.stdout) + &text(&shown.stderr);
                assert!(!all.contains('\u{1b}') && !all.contains('\u{7}'), "{what} {words:?}: {all}");
            }
        }
        fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn images_and_containers_have_no_odd_names() {
    for name in
        ["a\u{1b}[2J", "a\nb", "..", "../x", "a/../../b", "", " ", "-", "a\u{202e}b", &"x".repeat(5000)]
    {
        for words in
            [&["run", "--pull", "never", name, "true"][..], &["run", "--name", name, "busybox", "true"]]
        {
            let output = rubber(words).output().unwrap();
            assert!(
                lab::code(&output) == 125 && !text(&output.stderr).contains('\u{1b}'),
                "{words:?}: {output:?}"
            );
        }
        for words in [&["rm", name][..], &["inspect", name], &["rmi", name], &["volume", "rm", name]] {
            let output = rubber(words).output().unwrap();
            assert!(
                !output.status.success() && !text(&output.stderr).contains('\u{1b}'),
                "{words:?}: {output:?}"
            );
        }
    }
    let bytes = OsString::from_vec(b"\xff\xfe".to_vec());
    let output = rubber([&OsString::from("run"), &bytes]).output().unwrap();
    assert_told(&output, &["plain text"], "no text");
}
