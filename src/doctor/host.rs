//! Who is asking, and on what machine.

use nix::{
    sys::utsname::uname,
    unistd::{Uid, getegid, geteuid},
};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::{
    Images,
    probe::{self, Refusal},
};

/// Everything the checks need to know about the caller and the machine; found out once.
pub struct Here {
    pub uid: u32,
    pub gid: u32,
    pub user: String,
    pub kernel: String,
    pub machine: String,
    pub distribution: Distribution,
    pub container: Option<Container>,
    pub virtual_machine: Option<String>,
    /// False in any user namespace but the kernel's first, where root is not the host's root.
    pub first_user_namespace: bool,
    pub power: Power,
    pub store: PathBuf,
    pub images: Images,
}

/// Where the right to make namespaces and mounts comes from.
pub enum Power {
    /// CAP_SYS_ADMIN.
    Admin,
    /// An own user namespace.
    UserNamespace,
    Nothing(Refusal),
}

impl Here {
    pub fn look(root: Option<&Path>, images: Images) -> Here {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let name = uname().ok();
        let text = |field: Option<&std::ffi::OsStr>| field.unwrap_or_default().to_string_lossy().into_owned();
        Here {
            uid,
            gid,
            user: user_name(&read("/etc/passwd"), uid),
            kernel: text(name.as_ref().map(|name| name.release())),
            machine: text(name.as_ref().map(|name| name.machine())),
            distribution: distribution(&read("/etc/os-release")),
            container: container(),
            virtual_machine: virtual_machine(),
            first_user_namespace: is_first_user_namespace(&read("/proc/self/uid_map")),
            power: power(uid, gid),
            store: store(root),
            images,
        }
    }

    /// Root of the machine, and not only of a user namespace.
    pub fn is_host_root(&self) -> bool {
        self.uid == 0 && self.first_user_namespace
    }

    /// What a command that needs root must start with.
    pub fn sudo(&self) -> &'static str {
        if self.uid == 0 { "" } else { "sudo " }
    }

    /// The lines that say who and where.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let kind = match (self.uid, self.first_user_namespace) {
            (0, true) => "",
            (0, false) => ", in a user namespace and not outside it",
            _ => ", an ordinary user",
        };
        let inside = match &self.container {
            Some(container) => format!("in a container ({})", container.sign),
            None => "not in a container".into(),
        };
        let machine = match &self.virtual_machine {
            Some(name) => format!("a virtual machine ({name}), {inside}"),
            None => format!("no virtual machine, {inside}"),
        };
        vec![
            ("who", format!("{} (uid {}){kind}", self.user, self.uid)),
            ("system", format!("{}, Linux {}, {}", self.distribution.name, self.kernel, self.machine)),
            ("where", machine),
        ]
    }
}

/// The file as text, bytes that are no UTF-8 replaced; empty when it cannot be read.
pub fn read(path: impl AsRef<Path>) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The number in a file of one number, as in /proc/sys.
pub fn read_number(path: impl AsRef<Path>) -> Option<u64> {
    read(path).trim().parse().ok()
}

/// The value of `key` in the lines "key: value" of /proc/self/status.
pub fn status_field(status: &str, key: &str) -> Option<String> {
    status.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim().to_string()))
}

fn power(uid: u32, gid: u32) -> Power {
    let effective = status_field(&read("/proc/self/status"), "CapEff");
    let bits = effective.and_then(|hex| u64::from_str_radix(&hex, 16).ok()).unwrap_or(0);
    if bits >> caps::Capability::CAP_SYS_ADMIN.index() & 1 == 1 {
        return Power::Admin;
    }
    match probe::attempt(|| super::userns::own(uid, gid)) {
        Ok(()) => Power::UserNamespace,
        Err(refusal) => Power::Nothing(refusal),
    }
}

/// The store: `--root`, else the system's for root and the user's own for everybody else.
pub fn store(root: Option<&Path>) -> PathBuf {
    if let Some(root) = root {
        return root.to_path_buf();
    }
    if Uid::effective().is_root() {
        return "/var/lib/rubber".into();
    }
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/".into())).join(".local/share");
    data.unwrap_or_else(home).join("rubber")
}

/// The name of `uid` in the text of /etc/passwd, else the number. Not getpwuid(3): in a static
/// program it would load the NSS modules of whatever libc the machine has.
fn user_name(passwd: &str, uid: u32) -> String {
    let named = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_string())
    });
    named.unwrap_or_else(|| uid.to_string())
}

/// The first user namespace maps every id onto itself.
fn is_first_user_namespace(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The distribution's name, and the words with which it installs packages.
pub struct Distribution {
    pub name: String,
    pub packages: Option<&'static Packages>,
}

pub struct Packages {
    like: &'static [&'static str],
    pub install: &'static str,
    pub busybox: &'static str,
    pub uidmap: &'static str,
    pub upgrade_kernel: &'static str,
}

#[rustfmt::skip]
const PACKAGES: &[Packages] = &[
    Packages { like: &["debian", "ubuntu"], install: "apt install", busybox: "busybox-static", uidmap: "uidmap", upgrade_kernel: "apt full-upgrade" },
    Packages { like: &["fedora", "rhel", "centos"], install: "dnf install", busybox: "busybox", uidmap: "shadow-utils", upgrade_kernel: "dnf upgrade kernel" },
    Packages { like: &["arch"], install: "pacman -S", busybox: "busybox", uidmap: "shadow", upgrade_kernel: "pacman -Syu" },
    Packages { like: &["alpine"], install: "apk add", busybox: "busybox-static", uidmap: "shadow-subids", upgrade_kernel: "apk upgrade" },
    Packages { like: &["suse", "opensuse"], install: "zypper install", busybox: "busybox-static", uidmap: "shadow", upgrade_kernel: "zypper update kernel-default" },
];

/// From the text of /etc/os-release: see os-release(5).
fn distribution(text: &str) -> Distribution {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_string())
    };
    let name = value("PRETTY_NAME").or_else(|| value("NAME")).unwrap_or("an unnamed distribution".into());
    let ids = [value("ID"), value("ID_LIKE")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let packages = PACKAGES.iter().find(|row| ids.split_whitespace().any(|id| row.like.contains(&id)));
    Distribution { name, packages }
}

/// A container we are in ourselves.
pub struct Container {
    /// What told us.
    pub sign: String,
    /// The command that starts such a container, for advice.
    pub engine: &'static str,
}

/// The kernel's word first: outside every container the pid namespace is the first one, whose
/// inode number is fixed (include/linux/proc_ns.h). The files only tell which kind it is; one
/// that lies about on a host (an image unpacked onto a disk) makes no container.
fn container() -> Option<Container> {
    let pid_namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    if pid_namespace.as_os_str() == "pid:[4026531836]" {
        return None;
    }
    let variable =
        read("/proc/1/environ").split('\0').find_map(|v| Some(v.strip_prefix("container=")?.to_string()));
    let sign = |sign: &str, engine| Some(Container { sign: sign.into(), engine });
    match variable.as_deref() {
        _ if Path::new("/run/.containerenv").exists() => sign("/run/.containerenv", "podman run"),
        _ if Path::new("/.dockerenv").exists() => sign("/.dockerenv", "docker run"),
        Some(kind) => sign(&format!("container={kind}"), "docker run"),
        None => sign("a pid namespace of its own", "docker run"),
    }
}

fn virtual_machine() -> Option<String> {
    if read("/proc/sys/kernel/osrelease").to_lowercase().contains("microsoft") {
        return Some("WSL".into());
    }
    let flags = read("/proc/cpuinfo");
    let guest =
        flags.lines().find(|line| line.starts_with("flags"))?.split_whitespace().any(|f| f == "hypervisor");
    let product = read("/sys/class/dmi/id/product_name");
    let name = if product.trim().is_empty() { "its processor says so" } else { product.trim() };
    guest.then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_names_the_package_tool_also_of_a_relative() {
        let mint = distribution("NAME=\"Linux Mint\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n");
        assert_eq!((mint.name.as_str(), mint.packages.unwrap().install), ("Linux Mint", "apt install"));
        assert!(distribution("ID=plan9").packages.is_none());
    }

    #[test]
    fn a_user_without_a_name_is_a_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:100::/home/ann:/bin/sh\n+\n";
        assert_eq!(user_name(passwd, 1000), "ann");
        assert_eq!(user_name(passwd, 100), "100");
    }

    #[test]
    fn only_the_whole_identity_map_is_the_first_user_namespace() {
        assert!(is_first_user_namespace("         0          0 4294967295\n"));
        assert!(!is_first_user_namespace("         0       1000          1\n"));
    }
}
