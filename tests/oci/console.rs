//! A terminal in a root whose links were put there by the image: nothing of it is mounted, opened or made where one of
//! them leads (CVE-2025-52565).

use crate::{
    bundle::{Bundle, bundle},
    lab,
};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::json;
use std::{
    fs,
    io::{IoSliceMut, Read},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, symlink},
            net::UnixListener,
        },
    },
    process::{Output, Stdio},
};

/// Files that whoever can mount over, or write to, has gained something.
const PRIZES: [&str; 4] = [
    "/proc/self/attr/exec",
    "/proc/sys/kernel/core_pattern",
    "/etc/passwd",
    "../../../../../../../../etc/passwd",
];

/// The socket that a terminal comes out by, as a client of rubber-oci has it.
struct Socket(UnixListener);

impl Socket {
    fn open(bundle: &Bundle) -> Socket {
        let path = bundle.dir.join("console.sock");
        let _ = fs::remove_file(&path);
        Socket(UnixListener::bind(path).unwrap())
    }

    fn terminal(&self) -> OwnedFd {
        let (connection, _) = self.0.accept().unwrap();
        let (mut byte, mut space) = ([0], nix::cmsg_space!([libc::c_int; 1]));
        let mut parts = [IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::empty();
        let message = recvmsg::<()>(connection.as_raw_fd(), &mut parts, Some(&mut space), flags).unwrap();
        let fds = message.cmsgs().unwrap().find_map(|message| match message {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
            _ => None,
        });
        // SAFETY: the kernel has just made this descriptor for us.
        unsafe { OwnedFd::from_raw_fd(fds.expect("a terminal")) }
    }
}

/// Without a /dev of its own: what is there is the image's.
fn with_the_images_dev(bundle: &Bundle) {
    bundle.edit(|config| {
        config["process"]["terminal"] = json!(true);
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/dev");
    });
    bundle.command("cat /proc/self/mountinfo >/table; ls -l /dev >/devices; exec sleep 60");
    for name in ["dev/pts", "dev/shm", "dev/mqueue"] {
        fs::create_dir_all(bundle.root().join(name)).unwrap();
    }
}

fn replace(bundle: &Bundle, name: &str, prize: &str) {
    let place = bundle.root().join(name);
    let _ = fs::remove_dir_all(&place);
    let _ = fs::remove_file(&place);
    symlink(prize, place).unwrap();
}

fn create(bundle: &Bundle) -> (Option<Socket>, Output) {
    let socket = Socket::open(bundle);
    let out = |name: &str| Stdio::from(fs::File::create(bundle.dir.join(name)).unwrap());
    let words = ["create", "--console-socket", "console.sock", "c"];
    let status = bundle.rubber(&words).stdout(out("out")).stderr(out("err")).status().unwrap();
    let read = |name: &str| fs::read(bundle.dir.join(name)).unwrap();
    let output = Output { status, stdout: read("out"), stderr: read("err") };
    (output.status.success().then_some(socket), output)
}

/// The container's mounts, once it has told them.
fn table(bundle: &Bundle) -> String {
    bundle.ok(&["start", "c"]);
    let read = || fs::read_to_string(bundle.root().join("table")).unwrap_or_default();
    let told = || fs::metadata(bundle.root().join("devices")).is_ok_and(|about| about.len() > 0);
    bundle.wait_for("its mounts", told);
    read()
}

/// What is mounted below the kernel's /proc but to hide a part of it or to make it read-only; and a terminal over what is no
/// device.
fn astray(table: &str, allowed: &[String]) -> Vec<String> {
    let targets = table.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let is_astray = |words: &Vec<&str>| {
        let (target, is_terminal) = (words[4], words.contains(&"devpts"));
        let is_in = |above: &str| target.starts_with(above);
        let is_allowed = allowed.iter().any(|path| path == target);
        is_in("/proc/") && !is_allowed || is_terminal && (is_in("/sys/") || is_in("/etc/"))
    };
    targets.filter(is_astray).map(|words| words.join(" ")).collect()
}

fn hidden(bundle: &Bundle) -> Vec<String> {
    let config = bundle.read();
    let paths = ["maskedPaths", "readonlyPaths"].map(|name| config["linux"][name].clone());
    paths
        .iter()
        .flat_map(|paths| paths.as_array().unwrap())
        .map(|path| path.as_str().unwrap().into())
        .collect()
}

fn end(bundle: &Bundle) {
    bundle.ok(&["delete", "--force", "c"]);
    for name in ["table", "devices"] {
        let _ = fs::remove_file(bundle.root().join(name));
    }
}

#[test]
fn a_link_as_the_console_leads_no_terminal_anywhere() {
    let bundle = bundle!();
    with_the_images_dev(&bundle);
    for prize in PRIZES {
        replace(&bundle, "dev/console", prize);
        let (socket, output) = create(&bundle);
        if let Some(socket) = socket {
            let _terminal = socket.terminal();
            let table = table(&bundle);
            assert_eq!(astray(&table, &hidden(&bundle)), [""; 0], "{prize}");
            panic!("{prize}: it came to be: {table}");
        }
        let told = lab::text(&output.stderr);
        assert!(told.contains("/dev/console") && told.contains("link"), "{prize}: {told}");
        assert_eq!(bundle.ok(&["list", "--quiet"]), "", "{prize}");
        end(&bundle);
    }
}

/// And what takes the place of a console that is a file, is this container's terminal.
#[test]
fn a_console_of_the_images_is_covered_by_the_terminal() {
    let bundle = bundle!();
    with_the_images_dev(&bundle);
    fs::write(bundle.root().join("dev/console"), "the image's").unwrap();
    bundle.command("ls -ln /dev/console $(tty) >/table; cat /proc/self/mountinfo >/devices; exec sleep 60");
    let (socket, output) = create(&bundle);
    let terminal = socket.unwrap_or_else(|| panic!("{output:?}")).terminal();
    let listed = table(&bundle);
    let numbers: Vec<_> =
        listed.lines().map(|line| line.split_whitespace().skip(4).take(2).collect::<String>()).collect();
    assert!(numbers.len() == 2 && numbers[0] == numbers[1] && numbers[0].starts_with("136,"), "{listed}");
    drop(terminal);
    end(&bundle);
    assert_eq!(fs::read_to_string(bundle.root().join("dev/console")).unwrap(), "the image's");
}

#[test]
fn links_in_a_bundles_root_lead_no_mount_and_no_device_astray() {
    let bundle = bundle!();
    let victim = bundle.dir.join("victim");
    fs::create_dir(&victim).unwrap();
    let up = format!("../../../../../../../..{}", victim.display());
    let places = ["dev", "dev/pts", "dev/ptmx", "dev/null", "dev/fd", "dev/shm", "proc", "sys", "etc"];
    for name in places {
        for prize in ["/proc/self/attr", "/proc/sys/kernel", "/prize", &up] {
            let _ = fs::remove_dir_all(bundle.root());
            crate::bundle::root(&bundle.root());
            fs::create_dir(bundle.root().join("prize")).unwrap();
            with_the_images_dev(&bundle);
            replace(&bundle, name, prize);
            let (socket, output) = create(&bundle);
            if let Some(socket) = socket {
                let _terminal = socket.terminal();
                let table = table(&bundle);
                assert_eq!(astray(&table, &hidden(&bundle)), [""; 0], "{name} -> {prize}");
            }
            let told = lab::text(&output.stderr);
            assert!(!told.contains("panicked"), "{name} -> {prize}: {told}");
            end(&bundle);
            let made: Vec<_> = fs::read_dir(&victim).unwrap().collect();
            assert!(made.is_empty(), "{name} -> {prize}: {made:?}");
        }
    }
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert_eq!(fs::metadata("/dev/null").unwrap().rdev(), nix::sys::stat::makedev(1, 3));
}

/// What is opened for a terminal is the kernel's own ptmx, and no file that a container has put in its place.
#[test]
fn exec_with_a_terminal_opens_no_file_that_ptmx_leads_to() {
    let bundle = bundle!();
    // A fifo tells whether it was opened.
    bundle.command(
        "mkfifo /fifo; rm -f /dev/ptmx; ln -s /fifo /dev/ptmx; (cat /fifo; echo opened >/opened) & touch /there; \
         exec sleep 60",
    );
    bundle.ok(&["run", "--detach", "c"]);
    bundle.wait_for("the link", || bundle.root().join("there").exists());
    let socket = Socket::open(&bundle);
    let words =
        ["exec", "--tty", "--detach", "--console-socket", "console.sock", "c", "sh", "-c", "tty; sleep 1"];
    let err = bundle.dir.join("err");
    let status = bundle.rubber(&words).stdout(Stdio::null()).stderr(fs::File::create(&err).unwrap()).status();
    let told = fs::read_to_string(&err).unwrap();
    assert!(!bundle.root().join("opened").exists(), "{told}");
    assert!(status.unwrap().success(), "{told}");
    let mut said = [0; 64];
    let count = fs::File::from(socket.terminal()).read(&mut said).unwrap();
    assert!(lab::text(&said[..count]).starts_with("/dev/pts/"), "{}", lab::text(&said[..count]));
    assert!(!bundle.root().join("opened").exists());
}

/// Without a /proc of the kernel's, no descriptor is looked for by its name in the image's.
#[test]
fn a_copy_into_memory_goes_by_no_name_of_the_images() {
    let bundle = bundle!();
    bundle.command("ls /into >/table; echo >/devices; exec sleep 60");
    let (root, fake) = (bundle.root(), bundle.root().join("proc/self/fd"));
    for dir in [&fake, &root.join("into"), &root.join("stolen"), &root.join("secret")] {
        fs::create_dir_all(dir).unwrap();
    }
    fs::write(root.join("secret/file"), "secret").unwrap();
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        let options = ["tmpcopyup"];
        let copied =
            json!({ "destination": "/into", "type": "tmpfs", "source": "tmpfs", "options": options });
        mounts.retain(|mount| mount["destination"] != "/proc");
        mounts.insert(0, copied);
    });
    // One of the numbers is what is copied, and another where it goes.
    let link = |number: u32, prize: &str| {
        let name = fake.join(number.to_string());
        let _ = fs::remove_file(&name);
        symlink(prize, name).unwrap();
    };
    (3..40).for_each(|number| link(number, "/stolen"));
    for number in 3..40 {
        link(number, "/secret");
        let _ = bundle.rubber(&["create", "c"]).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert_eq!(fs::read_dir(root.join("stolen")).unwrap().count(), 0, "{number}");
        end(&bundle);
        link(number, "/stolen");
    }
}
