//! Control groups: which version, and which controllers the caller may use.
//!
//! Judged by what the files say and by access(2): a probe cgroup could be left behind.

use super::{
    Finding,
    host::{Here, read},
    limited, no, ok,
};
use crate::layers::cgroup;
use nix::{
    sys::statfs::{CGROUP2_SUPER_MAGIC, TMPFS_MAGIC, statfs},
    unistd::{AccessFlags, access},
};
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// v1 has a tree per controller, v2 one tree for all; hybrid has both, and the v2 tree is idle.
pub fn mode(here: &Here) -> Finding {
    let unified = all_trees().into_iter().find(|tree| tree.fstype == "cgroup2");
    match (statfs(ROOT).map(|fs| fs.filesystem_type()), unified) {
        (Ok(CGROUP2_SUPER_MAGIC), _) => ok(format!("v2 at {ROOT}")),
        (Ok(TMPFS_MAGIC), Some(tree)) => {
            ok(format!("hybrid; v1 trees in {ROOT}, v2 at {}", tree.at.display()))
        }
        (Ok(TMPFS_MAGIC), None) if !all_trees().is_empty() => ok(format!("v1; trees in {ROOT}")),
        _ => no(
            format!("nothing is mounted at {ROOT}"),
            format!("{}mount -t cgroup2 none {ROOT}", here.sudo()),
        ),
    }
}

/// A mounted cgroup tree.
#[derive(Debug, PartialEq)]
struct Tree {
    fstype: String,
    /// The cgroup that shows at the mount point.
    root: String,
    at: PathBuf,
    /// v1: the controllers of this tree, among other options.
    options: String,
}

impl Tree {
    fn has(&self, controller: &str) -> bool {
        self.fstype == "cgroup" && self.options.split(',').any(|option| option == controller)
    }

    /// Our own cgroup in this tree, or the top where ours is outside of what is mounted.
    fn own(&self, proc_cgroup: &str) -> PathBuf {
        let line = proc_cgroup.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let ours = match self.fstype.as_str() {
                "cgroup2" => controllers.is_empty(),
                _ => !controllers.is_empty() && controllers.split(',').any(|name| self.has(name)),
            };
            ours.then_some(path)
        });
        let below = line.and_then(|path| path.strip_prefix(self.root.trim_end_matches('/')));
        match below.filter(|below| below.starts_with('/') && !below.starts_with("/..")) {
            Some(below) if below != "/" => self.at.join(below.trim_start_matches('/')),
            _ => self.at.clone(),
        }
    }
}

fn all_trees() -> Vec<Tree> {
    trees(&read("/proc/self/mountinfo"))
}

/// The cgroup trees in the text of /proc/PID/mountinfo: see proc_pid_mountinfo(5).
fn trees(mountinfo: &str) -> Vec<Tree> {
    let tree = |line: &str| -> Option<Tree> {
        let (before, after) = line.split_once(" - ")?;
        let (before, after): (Vec<_>, Vec<_>) = (before.split(' ').collect(), after.split(' ').collect());
        let (fstype, options) = (after.first()?.to_string(), after.get(2)?.to_string());
        let (root, at) = (before.get(3)?.to_string(), before.get(4)?.into());
        fstype.starts_with("cgroup").then_some(Tree { fstype, root, at, options })
    };
    mountinfo.lines().filter_map(tree).collect()
}

/// Where rubber would make its cgroup for a controller, or why it could not.
enum Place {
    At(PathBuf),
    Missing,
    /// v2, and a cgroup above ours keeps the controller to itself.
    Withheld(PathBuf),
}

fn place(here: &Here, controller: &str) -> Place {
    let (trees, proc_cgroup) = (all_trees(), read("/proc/self/cgroup"));
    // Root starts at the top; others in what is delegated to them, if anything is.
    let delegated = |tree: &Tree| cgroup::delegated().ok().flatten().filter(|dir| dir.starts_with(&tree.at));
    let base = |tree: &Tree| match tree.fstype.as_str() {
        _ if here.is_host_root() => tree.at.clone(),
        "cgroup2" => delegated(tree).unwrap_or_else(|| tree.own(&proc_cgroup)),
        _ => tree.own(&proc_cgroup),
    };
    if let Some(tree) = trees.iter().find(|tree| tree.has(controller)) {
        return Place::At(base(tree));
    }
    let Some(tree) = trees.iter().find(|tree| tree.fstype == "cgroup2") else { return Place::Missing };
    let lists =
        |dir: &Path| read(dir.join("cgroup.controllers")).split_whitespace().any(|name| name == controller);
    match (lists(&base(tree)), lists(&tree.at)) {
        (true, _) => Place::At(base(tree)),
        (false, true) => Place::Withheld(base(tree)),
        (false, false) => Place::Missing,
    }
}

pub fn controller(here: &Here, controller: &str) -> Finding {
    match place(here, controller) {
        Place::Missing => missing(here, controller),
        Place::Withheld(dir) => no(
            format!("not delegated to you; {} does not have it", dir.display()),
            delegate(here, controller),
        ),
        Place::At(dir) if writable(&dir) => ok(format!("writable; {}", dir.display())),
        Place::At(dir) => no(why_not(here, &dir), delegate(here, controller)),
    }
}

/// Whether a cgroup can be made in `dir` and we can be moved into it: see cgroups(7).
fn writable(dir: &Path) -> bool {
    [dir.to_path_buf(), dir.join("cgroup.procs")].iter().all(|path| access(path, AccessFlags::W_OK).is_ok())
}

fn why_not(here: &Here, dir: &Path) -> String {
    match here.is_host_root() {
        true => format!("{} is read-only", dir.display()),
        false => format!("not delegated to you; {} is not yours to write", dir.display()),
    }
}

/// The way to a cgroup of one's own depends on who hands them out here.
fn delegate(here: &Here, controller: &str) -> String {
    let uid = here.uid;
    let manager =
        Path::new(ROOT).join(format!("user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers"));
    if here.is_host_root() || here.container.is_some() {
        return match &here.container {
            Some(container) => format!("{} --privileged --cgroupns=private …", container.engine),
            None => format!("mount -o remount,rw {ROOT}"),
        };
    }
    let has = read(&manager);
    if has.split_whitespace().any(|name| name == controller) {
        return "systemd-run --user --scope -p Delegate=yes rubber run …".into();
    }
    if manager.exists() {
        return "sudo mkdir -p /etc/systemd/system/user@.service.d && \
                printf '%s\\n' '[Service]' 'Delegate=cpu cpuset io memory pids' | \
                sudo tee /etc/systemd/system/user@.service.d/delegate.conf && \
                sudo systemctl daemon-reload && sudo systemctl restart user@$(id -u)"
            .into();
    }
    "sudo rubber run …   # as root every controller is writable".into()
}

/// A controller that no tree has: not mounted, kept back, switched off at boot, or not built.
fn missing(here: &Here, controller: &str) -> Finding {
    let sudo = here.sudo();
    let Some(row) = known(&read("/proc/cgroups"), controller) else {
        return no("not built into this kernel", super::namespaces::upgrade(here));
    };
    let trees = all_trees();
    let unified = trees.iter().any(|tree| tree.fstype == "cgroup2" && tree.at == Path::new(ROOT));
    match row {
        Row { enabled: false, .. } if controller == "memory" => {
            no("switched off at boot", boot_with(sudo, "cgroup_enable=memory swapaccount=1"))
        }
        Row { enabled: false, .. } => {
            no("switched off at boot", boot_with(sudo, &format!("cgroup_enable={controller}")))
        }
        Row { v1_tree: Some(_), .. } if unified => {
            no("held by a v1 tree", boot_with(sudo, "cgroup_no_v1=all"))
        }
        Row { v1_tree: Some(controllers), .. } => {
            let at = format!("{ROOT}/{controllers}");
            let mount = format!("{sudo}mkdir -p {at} && {sudo}mount -t cgroup -o {controllers} none {at}");
            // Without a tmpfs there, it is a directory of sysfs, in which nothing can be made.
            let base = if trees.is_empty() {
                format!("{sudo}mount -t tmpfs none {ROOT} && ")
            } else {
                String::new()
            };
            no("built in, but its tree is not mounted", base + &mount)
        }
        Row { v1_tree: None, .. } if trees.is_empty() => {
            no("no tree is mounted", mode(here).fix.unwrap_or_default())
        }
        Row { v1_tree: None, .. } => no("kept back by the cgroup above", delegate(here, controller)),
    }
}

/// What /proc/cgroups says of a controller: see cgroups(7).
#[derive(Debug, PartialEq)]
struct Row {
    enabled: bool,
    /// The controllers of the v1 tree it is bound to, itself among them: they mount together only.
    v1_tree: Option<String>,
}

fn known(text: &str, controller: &str) -> Option<Row> {
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = rows.iter().find(|row| row.len() == 4 && row[0] == controller)?;
    let together =
        rows.iter().filter(|other| other.get(1) == row.get(1)).map(|other| other[0]).collect::<Vec<_>>();
    Some(Row { enabled: row[3] == "1", v1_tree: (row[1] != "0").then(|| together.join(",")) })
}

/// A kernel parameter, with the words of the boot loader that is there.
fn boot_with(sudo: &str, parameters: &str) -> String {
    for line in ["/boot/firmware/cmdline.txt", "/boot/cmdline.txt"] {
        if Path::new(line).exists() {
            return format!("{sudo}sed -i 's/$/ {parameters}/' {line} && {sudo}reboot");
        }
    }
    let update = ["/usr/sbin/update-grub", "/sbin/update-grub"].iter().any(|path| Path::new(path).exists());
    let make = if update { "update-grub" } else { "grub-mkconfig -o /boot/grub/grub.cfg" };
    format!(
        "{sudo}sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{parameters} /' /etc/default/grub && {sudo}{make} && {sudo}reboot"
    )
}

/// Without it a memory limit stops at memory, and a hog goes on in the swap.
pub fn swap(here: &Here) -> Finding {
    let off = read("/proc/cmdline")
        .split_whitespace()
        .any(|word| matches!(word, "swapaccount=0" | "swapaccount=off"));
    if off {
        return limited(
            "switched off at boot; swap cannot be limited",
            boot_with(here.sudo(), "swapaccount=1"),
        );
    }
    if !Path::new("/proc/swaps").exists() {
        return ok("this kernel cannot swap");
    }
    let top = match place(here, "memory") {
        Place::At(dir) | Place::Withheld(dir) => dir,
        Place::Missing => {
            return limited("needs the memory controller", missing(here, "memory").fix.unwrap_or_default());
        }
    };
    match (top.join("memory.memsw.limit_in_bytes").exists(), top.join("cgroup.controllers").exists()) {
        (true, _) => ok("v1 counts memory and swap together"),
        // The top of the v2 tree has no such file, and the kernel counts by default since 5.8.
        (_, true) => ok("v2 limits swap by itself"),
        _ => limited("not counted; swap cannot be limited", boot_with(here.sudo(), "swapaccount=1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        33 31 0:30 /docker/1 /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn a_v1_tree_is_known_by_its_option_and_not_by_its_directory() {
        let trees = trees(MOUNTS);
        assert_eq!(trees.len(), 2);
        assert!(trees[0].has("cpuacct") && !trees[0].has("pids") && !trees[1].has("cpu"));
    }

    #[test]
    fn our_own_cgroup_is_found_below_what_is_mounted() {
        let (trees, ours) = (trees(MOUNTS), "4:cpu,cpuacct:/user/7\n0::/docker/1/init\n");
        assert_eq!(trees[0].own(ours), Path::new("/sys/fs/cgroup/cpu,cpuacct/user/7"));
        assert_eq!(trees[1].own(ours), Path::new("/sys/fs/cgroup/unified/init"));
        assert_eq!(trees[1].own("0::/../other\n"), Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn a_controller_is_on_off_or_unknown_and_mounts_with_its_tree() {
        let text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t1\t0\ncpu\t8\t1\t1\ncpuacct\t8\t1\t1\n";
        assert_eq!(known(text, "memory"), Some(Row { enabled: false, v1_tree: None }));
        assert_eq!(known(text, "cpu"), Some(Row { enabled: true, v1_tree: Some("cpu,cpuacct".into()) }));
        assert_eq!(known(text, "pids"), None);
    }
}
