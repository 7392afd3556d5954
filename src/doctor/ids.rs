//! Ranges of ids: with them an ordinary user's container has more users than one.

use super::{
    Finding,
    host::{Here, Power, read, status_field},
    no, ok, powerless,
    probe::{Attempt, Refusal, call},
};
use nix::{
    errno::Errno,
    libc,
    sched::{CloneFlags, unshare},
    sys::wait::waitpid,
    unistd::{ForkResult, Pid, fork, pipe, read as read_fd},
};
use std::{
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// A line of /etc/subuid or /etc/subgid: these ids are the user's to map.
#[derive(Clone, Debug, PartialEq)]
struct Range {
    first: u64,
    count: u64,
}

pub fn ranges(here: &Here) -> Finding {
    if let Power::Admin = here.power {
        return match here.first_user_namespace {
            true => ok("not needed; root maps any ids"),
            false => ok("not needed; the outer user namespace has given what it has"),
        };
    }
    if let Some(finding) = powerless(here) {
        return finding;
    }
    let (subuid, subgid) = (read("/etc/subuid"), read("/etc/subgid"));
    let (uids, gids) = (granted(&subuid, here), granted(&subgid, here));
    let (Some(uids), Some(gids)) = (uids, gids) else {
        let found =
            format!("{} has none in /etc/subuid and /etc/subgid; just one id can be mapped", here.user);
        return no(found, add_ranges(here, &subuid, &subgid));
    };
    let programs = [in_path("newuidmap"), in_path("newgidmap")];
    let [Some(newuidmap), Some(newgidmap)] = programs else {
        let package =
            here.distribution.packages.map_or("# install newuidmap and newgidmap".into(), |packages| {
                format!("{}{} {}", here.sudo(), packages.install, packages.uidmap)
            });
        return no("newuidmap or newgidmap is not installed; just one id can be mapped", package);
    };
    match mapped([(&newuidmap, here.uid, &uids), (&newgidmap, here.gid, &gids)]) {
        Ok(()) => ok(format!("{} more from {}; mapped by newuidmap and newgidmap", uids.count, uids.first)),
        Err(refusal) => no(format!("{}; {}", refusal.call, powers(&newuidmap)), repair(here, &newuidmap)),
    }
}

fn granted(text: &str, here: &Here) -> Option<Range> {
    of_user(text, &here.user, here.uid).into_iter().max_by_key(|range| range.count)
}

/// The ranges in the text of subuid(5) that belong to a user, who is named or numbered there.
fn of_user(text: &str, user: &str, uid: u32) -> Vec<Range> {
    all(text)
        .into_iter()
        .filter(|(owner, _)| *owner == user || *owner == uid.to_string())
        .map(|(_, r)| r)
        .collect()
}

fn all(text: &str) -> Vec<(&str, Range)> {
    let line = |line| -> Option<(&str, Range)> {
        let [owner, first, count] = str::split(line, ':').collect::<Vec<_>>().try_into().ok()?;
        let range = Range { first: first.trim().parse().ok()?, count: count.trim().parse().ok()? };
        (range.count > 0).then_some((owner, range))
    };
    text.lines().filter_map(line).collect()
}

/// The first id from 100000 on that is above everybody's.
fn free(texts: [&str; 2]) -> u64 {
    let ends =
        texts.iter().flat_map(|text| all(text)).map(|(_, range)| range.first.saturating_add(range.count));
    ends.max().unwrap_or(0).max(100_000)
}

fn add_ranges(here: &Here, subuid: &str, subgid: &str) -> String {
    let first = free([subuid, subgid]);
    let last = first.saturating_add(65535);
    // usermod(8) knows only users with a name, and small distributions have none.
    let (sudo, named) = (here.sudo(), here.user.parse::<u32>().is_err());
    let found = ["/usr/sbin/usermod", "/sbin/usermod"].iter().any(|path| Path::new(path).exists());
    match named && (found || in_path("usermod").is_some()) {
        true => {
            format!("{sudo}usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {}", here.user)
        }
        false => format!("echo {}:{first}:65536 | {sudo}tee -a /etc/subuid /etc/subgid", here.user),
    }
}

pub fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

/// Really maps the ranges, into the user namespace of a child that waits for it.
fn mapped(maps: [(&PathBuf, u32, &Range); 2]) -> Attempt {
    let (made, making) = call("pipe()", pipe())?;
    let (end, hold) = call("pipe()", pipe())?;
    // SAFETY: rubber never starts a thread; see probe::attempt.
    match call("fork()", unsafe { fork() })? {
        ForkResult::Child => {
            drop((made, hold));
            let answer = unshare(CloneFlags::CLONE_NEWUSER);
            drop(making); // tells that the namespace is there
            let _ = read_fd(&end, &mut [0]); // comes back when the other end is closed
            // SAFETY: always sound; it only ends this process.
            unsafe { libc::_exit(answer.map_or_else(|errno| errno as i32, |()| 0)) }
        }
        ForkResult::Parent { child } => {
            drop((making, end));
            let _ = read_fd(&made, &mut [0]);
            let answer = maps.iter().try_for_each(|(program, own, range)| map(child, program, *own, range));
            drop(hold);
            call("waitpid()", waitpid(child, None))?;
            answer
        }
    }
}

/// `newuidmap PID 0 OWN 1 1 FIRST COUNT`: root is the caller, and the range follows.
fn map(child: Pid, program: &Path, own: u32, range: &Range) -> Attempt {
    let numbers =
        [child.as_raw() as u64, 0, own.into(), 1, 1, range.first, range.count].map(|n| n.to_string());
    let output = call("newuidmap", Command::new(program).args(numbers).output())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let refused = || Refusal { call: said.trim().to_string(), errno: Errno::EPERM };
    if output.status.success() { Ok(()) } else { Err(refused()) }
}

fn is_setuid(program: &Path) -> bool {
    program.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o4000 != 0)
}

fn has_file_capabilities(program: &Path) -> bool {
    let Ok(path) = std::ffi::CString::new(program.as_os_str().as_encoded_bytes()) else { return false };
    // SAFETY: both strings end in NUL, and a size of 0 asks for the length alone.
    unsafe { libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0) > 0 }
}

fn no_new_privs() -> bool {
    status_field(&read("/proc/self/status"), "NoNewPrivs").is_some_and(|value| value == "1")
}

fn powers(program: &Path) -> String {
    match (no_new_privs(), is_setuid(program) || has_file_capabilities(program)) {
        (true, _) => "no_new_privs is set, so no program gains a power here".into(),
        (_, true) => format!("{} has its power", program.display()),
        (_, false) => format!("{} is neither setuid nor has file capabilities", program.display()),
    }
}

fn repair(here: &Here, program: &Path) -> String {
    if no_new_privs() {
        return "exit   # leave what has set no_new_privs, then again".into();
    }
    let (sudo, both) =
        (here.sudo(), format!("{0} {1}", program.display(), program.with_file_name("newgidmap").display()));
    match is_setuid(program) || has_file_capabilities(program) {
        true => format!("sudo -u {} rubber doctor   # from a shell whose mounts are not nosuid", here.user),
        false => format!("{sudo}chmod u+s {both}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBUID: &str = "# ours\nann:100000:65536\n1000:165536:10\nbob:x:1\nann:5:0\nzoe:300000:65536\n";

    #[test]
    fn a_user_has_the_ranges_under_the_name_and_the_number() {
        let ranges = of_user(SUBUID, "ann", 1000);
        assert_eq!(ranges, [Range { first: 100_000, count: 65536 }, Range { first: 165_536, count: 10 }]);
        assert_eq!(of_user(SUBUID, "bob", 1001), []);
    }

    #[test]
    fn a_new_range_takes_nobodys_ids() {
        assert_eq!(free(["", ""]), 100_000);
        assert_eq!(free([SUBUID, "ann:400000:5"]), 400_005);
    }
}
