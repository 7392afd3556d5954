//! The kernel's list of system calls, what each lets a program do, and what a container is answered by default.
//!
//! What is not in here is unknown to us, and so to the container (ENOSYS): a program asks for a new call, finds
//! that this kernel "does not have it", and takes the old one. What is known and refused gets EPERM. In effect
//! this is docker's default profile; tests/filter holds it against docker's and podman's, call by call, and says
//! where it differs and why.

use super::{Comparison::*, Condition};
use Verdict::*;
use caps::Capability::{self, *};
use std::{collections::BTreeMap, sync::OnceLock};

/// What a container is answered.
#[derive(Clone, Copy)]
pub enum Verdict {
    Allowed,
    /// Only with one of these capabilities. (Then the kernel still asks what else it takes.)
    With(&'static [Capability]),
    /// Where one of the conditions holds, or with CAP_SYS_ADMIN where the arguments ask for what takes that.
    If(&'static [Condition], &'static [Capability]),
    Denied,
    /// As if this kernel did not have it, but with one of these.
    Missing(&'static [Capability]),
}

/// Calls that let a program do the same kind of thing.
pub struct Group {
    pub verdict: Verdict,
    pub calls: &'static [Call],
}

/// Name, and number on x86-64, on i386 (32-bit x86) and on aarch64.
pub type Call = (&'static str, u16, u16, u16);

/// A machine that does not have the call: newer machines began without those that others replace, and those with
/// 32 bits have some twice, for larger files, ids and times.
pub const NONE: u16 = u16::MAX;

/// The call of this name. A profile names hundreds, for each machine.
pub fn named(name: &str) -> Option<&'static Call> {
    static NAMES: OnceLock<BTreeMap<&str, &Call>> = OnceLock::new();
    let all = || GROUPS.iter().flat_map(|group| group.calls).map(|call| (call.0, call)).collect();
    NAMES.get_or_init(all).get(name).copied()
}

/// The flags of clone(2) that make a namespace: bits of the first argument.
const NEW_NAMESPACES: u64 = (nix::libc::CLONE_NEWNS
    | nix::libc::CLONE_NEWUTS
    | nix::libc::CLONE_NEWIPC
    | nix::libc::CLONE_NEWUSER
    | nix::libc::CLONE_NEWPID
    | nix::libc::CLONE_NEWNET
    | nix::libc::CLONE_NEWCGROUP) as u64;

const NO_NAMESPACES: &[Condition] = &[Condition::new(0, Masked { mask: NEW_NAMESPACES, value: 0 })];

/// Linux, Linux with the machine called uname26, both for 32-bit programs, and the question which it is.
const DOMAINS: &[Condition] = &[
    Condition::new(0, Equal(0)),
    Condition::new(0, Equal(0x2_0000)),
    Condition::new(0, Equal(0x8)),
    Condition::new(0, Equal(0x2_0008)),
    Condition::new(0, Equal(0xffff_ffff)),
];

const NOT_TO_THE_HYPERVISOR: &[Condition] = &[Condition::new(0, NotEqual(nix::libc::AF_VSOCK as u64))];

#[rustfmt::skip]
pub const GROUPS: &[Group] = &[
    // Read and write what is open.
    Group {
        verdict: Allowed,
        calls: &[
            ("read", 0, 3, 63), ("write", 1, 4, 64), ("pread64", 17, 180, 67), ("pwrite64", 18, 181, 68),
            ("readv", 19, 145, 65), ("writev", 20, 146, 66), ("preadv", 295, 333, 69),
            ("pwritev", 296, 334, 70), ("preadv2", 327, 378, 286), ("pwritev2", 328, 379, 287),
            ("lseek", 8, 19, 62), ("_llseek", NONE, 140, NONE), ("sendfile", 40, 187, 71),
            ("sendfile64", NONE, 239, NONE), ("splice", 275, 313, 76), ("tee", 276, 315, 77),
            ("vmsplice", 278, 316, 75), ("copy_file_range", 326, 377, 285), ("readahead", 187, 225, 213),
            ("fadvise64", 221, 250, 223), ("fadvise64_64", NONE, 272, NONE), ("fallocate", 285, 324, 47),
            ("ftruncate", 77, 93, 46), ("ftruncate64", NONE, 194, NONE), ("fsync", 74, 118, 82),
            ("fdatasync", 75, 148, 83), ("sync", 162, 36, 81), ("sync_file_range", 277, 314, 84),
            ("syncfs", 306, 344, 267), ("flock", 73, 143, 32), ("cachestat", 451, 451, 451),
        ],
    },
    // Open, close and copy descriptors, and ask about them.
    Group {
        verdict: Allowed,
        calls: &[
            ("open", 2, 5, NONE), ("openat", 257, 295, 56), ("openat2", 437, 437, 437),
            ("creat", 85, 8, NONE), ("close", 3, 6, 57), ("close_range", 436, 436, 436), ("dup", 32, 41, 23),
            ("dup2", 33, 63, NONE), ("dup3", 292, 330, 24), ("fcntl", 72, 55, 25),
            ("fcntl64", NONE, 221, NONE), ("ioctl", 16, 54, 29), ("fstat", 5, 108, 80),
            ("fstat64", NONE, 197, NONE), ("fstatfs", 138, 100, 44), ("fstatfs64", NONE, 269, NONE),
            ("getdents", 78, 141, NONE), ("getdents64", 217, 220, 61), ("pipe", 22, 42, NONE),
            ("pipe2", 293, 331, 59), ("memfd_create", 319, 356, 279), ("memfd_secret", 447, 447, 447),
        ],
    },
    // Look at files by their names.
    Group {
        verdict: Allowed,
        calls: &[
            ("stat", 4, 106, NONE), ("stat64", NONE, 195, NONE), ("lstat", 6, 107, NONE),
            ("lstat64", NONE, 196, NONE), ("newfstatat", 262, NONE, 79), ("fstatat64", NONE, 300, NONE),
            ("statx", 332, 383, 291), ("statfs", 137, 99, 43), ("statfs64", NONE, 268, NONE),
            ("access", 21, 33, NONE), ("faccessat", 269, 307, 48), ("faccessat2", 439, 439, 439),
            ("readlink", 89, 85, NONE), ("readlinkat", 267, 305, 78), ("getcwd", 79, 183, 17),
            ("name_to_handle_at", 303, 341, 264), ("file_getattr", 468, 468, 468),
        ],
    },
    // Change files and directories: what may be changed is up to their owners and modes.
    Group {
        verdict: Allowed,
        calls: &[
            ("truncate", 76, 92, 45), ("truncate64", NONE, 193, NONE), ("rename", 82, 38, NONE),
            ("renameat", 264, 302, 38), ("renameat2", 316, 353, 276), ("mkdir", 83, 39, NONE),
            ("mkdirat", 258, 296, 34), ("rmdir", 84, 40, NONE), ("link", 86, 9, NONE),
            ("linkat", 265, 303, 37), ("unlink", 87, 10, NONE), ("unlinkat", 263, 301, 35),
            ("symlink", 88, 83, NONE), ("symlinkat", 266, 304, 36), ("mknod", 133, 14, NONE),
            ("mknodat", 259, 297, 33), ("chmod", 90, 15, NONE), ("fchmod", 91, 94, 52),
            ("fchmodat", 268, 306, 53), ("fchmodat2", 452, 452, 452), ("chown", 92, 182, NONE),
            ("chown32", NONE, 212, NONE), ("fchown", 93, 95, 55), ("fchown32", NONE, 207, NONE),
            ("lchown", 94, 16, NONE), ("lchown32", NONE, 198, NONE), ("fchownat", 260, 298, 54),
            ("utime", 132, 30, NONE), ("utimes", 235, 271, NONE), ("futimesat", 261, 299, NONE),
            ("utimensat", 280, 320, 88), ("utimensat_time64", NONE, 412, NONE), ("chdir", 80, 12, 49),
            ("fchdir", 81, 133, 50), ("umask", 95, 60, 166), ("file_setattr", 469, 469, 469),
        ],
    },
    // Attributes of files.
    Group {
        verdict: Allowed,
        calls: &[
            ("getxattr", 191, 229, 8), ("lgetxattr", 192, 230, 9), ("fgetxattr", 193, 231, 10),
            ("getxattrat", 464, 464, 464), ("listxattr", 194, 232, 11), ("llistxattr", 195, 233, 12),
            ("flistxattr", 196, 234, 13), ("listxattrat", 465, 465, 465), ("setxattr", 188, 226, 5),
            ("lsetxattr", 189, 227, 6), ("fsetxattr", 190, 228, 7), ("setxattrat", 463, 463, 463),
            ("removexattr", 197, 235, 14), ("lremovexattr", 198, 236, 15), ("fremovexattr", 199, 237, 16),
            ("removexattrat", 466, 466, 466),
        ],
    },
    // Wait for events.
    Group {
        verdict: Allowed,
        calls: &[
            ("poll", 7, 168, NONE), ("ppoll", 271, 309, 73), ("ppoll_time64", NONE, 414, NONE),
            ("select", 23, 82, NONE), ("_newselect", NONE, 142, NONE), ("pselect6", 270, 308, 72),
            ("pselect6_time64", NONE, 413, NONE), ("epoll_create", 213, 254, NONE),
            ("epoll_create1", 291, 329, 20), ("epoll_ctl", 233, 255, 21), ("epoll_wait", 232, 256, NONE),
            ("epoll_pwait", 281, 319, 22), ("epoll_pwait2", 441, 441, 441), ("eventfd", 284, 323, NONE),
            ("eventfd2", 290, 328, 19), ("signalfd", 282, 321, NONE), ("signalfd4", 289, 327, 74),
            ("inotify_init", 253, 291, NONE), ("inotify_init1", 294, 332, 26),
            ("inotify_add_watch", 254, 292, 27), ("inotify_rm_watch", 255, 293, 28),
            ("fanotify_mark", 301, 339, 263), ("io_setup", 206, 245, 0), ("io_destroy", 207, 246, 1),
            ("io_submit", 209, 248, 2), ("io_cancel", 210, 249, 3), ("io_getevents", 208, 247, 4),
            ("io_pgetevents", 333, 385, 292), ("io_pgetevents_time64", NONE, 416, NONE),
        ],
    },
    // Memory of its own.
    Group {
        verdict: Allowed,
        calls: &[
            ("mmap", 9, 90, 222), ("mmap2", NONE, 192, NONE), ("munmap", 11, 91, 215),
            ("mprotect", 10, 125, 226), ("mremap", 25, 163, 216), ("msync", 26, 144, 227),
            ("mincore", 27, 218, 232), ("madvise", 28, 219, 233), ("brk", 12, 45, 214),
            ("mlock", 149, 150, 228), ("mlock2", 325, 376, 284), ("mlockall", 151, 152, 230),
            ("munlock", 150, 151, 229), ("munlockall", 152, 153, 231), ("remap_file_pages", 216, 257, 234),
            ("membarrier", 324, 375, 283), ("pkey_alloc", 330, 381, 289), ("pkey_free", 331, 382, 290),
            ("pkey_mprotect", 329, 380, 288), ("mseal", 462, 462, 462), ("map_shadow_stack", 453, 453, 453),
        ],
    },
    // Make, run and end processes.
    Group {
        verdict: Allowed,
        calls: &[
            ("fork", 57, 2, NONE), ("vfork", 58, 190, NONE), ("execve", 59, 11, 221),
            ("execveat", 322, 358, 281), ("exit", 60, 1, 93), ("exit_group", 231, 252, 94),
            ("wait4", 61, 114, 260), ("waitpid", NONE, 7, NONE), ("waitid", 247, 284, 95),
            ("kill", 62, 37, 129), ("tkill", 200, 238, 130), ("tgkill", 234, 270, 131),
            ("pidfd_open", 434, 434, 434), ("pidfd_send_signal", 424, 424, 424),
            ("process_mrelease", 448, 448, 448), ("rt_sigqueueinfo", 129, 178, 138),
            ("rt_tgsigqueueinfo", 297, 335, 240),
        ],
    },
    // Signals to itself.
    Group {
        verdict: Allowed,
        calls: &[
            ("rt_sigaction", 13, 174, 134), ("rt_sigprocmask", 14, 175, 135),
            ("sigprocmask", NONE, 126, NONE), ("rt_sigreturn", 15, 173, 139), ("sigreturn", NONE, 119, NONE),
            ("rt_sigpending", 127, 176, 136), ("rt_sigsuspend", 130, 179, 133),
            ("rt_sigtimedwait", 128, 177, 137), ("rt_sigtimedwait_time64", NONE, 421, NONE),
            ("sigaltstack", 131, 186, 132), ("pause", 34, 29, NONE), ("alarm", 37, 27, NONE),
            ("restart_syscall", 219, 0, 128),
        ],
    },
    // Threads.
    Group {
        verdict: Allowed,
        calls: &[
            ("futex", 202, 240, 98), ("futex_time64", NONE, 422, NONE), ("futex_waitv", 449, 449, 449),
            ("futex_wake", 454, 454, 454), ("futex_wait", 455, 455, 455), ("futex_requeue", 456, 456, 456),
            ("set_robust_list", 273, 311, 99), ("get_robust_list", 274, 312, 100),
            ("set_tid_address", 218, 258, 96), ("rseq", 334, 386, 293), ("gettid", 186, 224, 178),
            ("set_thread_area", 205, 243, NONE), ("get_thread_area", 211, 244, NONE),
            ("arch_prctl", 158, 384, NONE), ("modify_ldt", 154, 123, NONE), ("uretprobe", 335, NONE, NONE),
            ("uprobe", 336, NONE, NONE),
        ],
    },
    // Ask and say who it is; the kernel lets nobody become more than capabilities allow.
    Group {
        verdict: Allowed,
        calls: &[
            ("getpid", 39, 20, 172), ("getppid", 110, 64, 173), ("getpgid", 121, 132, 155),
            ("getpgrp", 111, 65, NONE), ("setpgid", 109, 57, 154), ("getsid", 124, 147, 156),
            ("setsid", 112, 66, 157), ("getuid", 102, 24, 174), ("getuid32", NONE, 199, NONE),
            ("geteuid", 107, 49, 175), ("geteuid32", NONE, 201, NONE), ("getgid", 104, 47, 176),
            ("getgid32", NONE, 200, NONE), ("getegid", 108, 50, 177), ("getegid32", NONE, 202, NONE),
            ("getresuid", 118, 165, 148), ("getresuid32", NONE, 209, NONE), ("getresgid", 120, 171, 150),
            ("getresgid32", NONE, 211, NONE), ("getgroups", 115, 80, 158), ("getgroups32", NONE, 205, NONE),
            ("setuid", 105, 23, 146), ("setuid32", NONE, 213, NONE), ("setgid", 106, 46, 144),
            ("setgid32", NONE, 214, NONE), ("setreuid", 113, 70, 145), ("setreuid32", NONE, 203, NONE),
            ("setregid", 114, 71, 143), ("setregid32", NONE, 204, NONE), ("setresuid", 117, 164, 147),
            ("setresuid32", NONE, 208, NONE), ("setresgid", 119, 170, 149), ("setresgid32", NONE, 210, NONE),
            ("setfsuid", 122, 138, 151), ("setfsuid32", NONE, 215, NONE), ("setfsgid", 123, 139, 152),
            ("setfsgid32", NONE, 216, NONE), ("setgroups", 116, 81, 159), ("setgroups32", NONE, 206, NONE),
            ("capget", 125, 184, 90), ("capset", 126, 185, 91), ("prctl", 157, 172, 167),
        ],
    },
    // Limits and turns.
    Group {
        verdict: Allowed,
        calls: &[
            ("getrlimit", 97, 76, 163), ("ugetrlimit", NONE, 191, NONE), ("setrlimit", 160, 75, 164),
            ("prlimit64", 302, 340, 261), ("getrusage", 98, 77, 165), ("times", 100, 43, 153),
            ("getpriority", 140, 96, 141), ("setpriority", 141, 97, 140), ("sched_yield", 24, 158, 124),
            ("sched_getaffinity", 204, 242, 123), ("sched_setaffinity", 203, 241, 122),
            ("sched_getscheduler", 145, 157, 120), ("sched_setscheduler", 144, 156, 119),
            ("sched_getparam", 143, 155, 121), ("sched_setparam", 142, 154, 118),
            ("sched_getattr", 315, 352, 275), ("sched_setattr", 314, 351, 274),
            ("sched_get_priority_max", 146, 159, 125), ("sched_get_priority_min", 147, 160, 126),
            ("sched_rr_get_interval", 148, 161, 127), ("sched_rr_get_interval_time64", NONE, 423, NONE),
            ("ioprio_get", 252, 290, 31), ("ioprio_set", 251, 289, 30), ("getcpu", 309, 318, 168),
            ("sysinfo", 99, 116, 179), ("uname", 63, 122, 160), ("getrandom", 318, 355, 278),
        ],
    },
    // Time: reading the clocks, and being woken.
    Group {
        verdict: Allowed,
        calls: &[
            ("time", 201, 13, NONE), ("gettimeofday", 96, 78, 169), ("clock_gettime", 228, 265, 113),
            ("clock_gettime64", NONE, 403, NONE), ("clock_getres", 229, 266, 114),
            ("clock_getres_time64", NONE, 406, NONE), ("clock_nanosleep", 230, 267, 115),
            ("clock_nanosleep_time64", NONE, 407, NONE), ("nanosleep", 35, 162, 101),
            ("getitimer", 36, 105, 102), ("setitimer", 38, 104, 103), ("timer_create", 222, 259, 107),
            ("timer_delete", 226, 263, 111), ("timer_settime", 223, 260, 110),
            ("timer_settime64", NONE, 409, NONE), ("timer_gettime", 224, 261, 108),
            ("timer_gettime64", NONE, 408, NONE), ("timer_getoverrun", 225, 262, 109),
            ("timerfd_create", 283, 322, 85), ("timerfd_settime", 286, 325, 86),
            ("timerfd_settime64", NONE, 411, NONE), ("timerfd_gettime", 287, 326, 87),
            ("timerfd_gettime64", NONE, 410, NONE), ("adjtimex", 159, 124, 171),
            ("clock_adjtime", 305, 343, 266), ("clock_adjtime64", NONE, 405, NONE),
        ],
    },
    // Sockets; which networks are in reach is up to the network namespace. i386's socketcall is all of them: what it
    // asks for is in memory, where no filter sees it, so it makes sockets of every family, the hypervisor's too. As in
    // docker's: the C library of most 32-bit distributions knows no other way.
    Group {
        verdict: Allowed,
        calls: &[
            ("socketpair", 53, 360, 199), ("bind", 49, 361, 200), ("connect", 42, 362, 203),
            ("listen", 50, 363, 201), ("accept", 43, NONE, 202), ("accept4", 288, 364, 242),
            ("getsockname", 51, 367, 204), ("getpeername", 52, 368, 205), ("setsockopt", 54, 366, 208),
            ("getsockopt", 55, 365, 209), ("sendto", 44, 369, 206), ("recvfrom", 45, 371, 207),
            ("sendmsg", 46, 370, 211), ("recvmsg", 47, 372, 212), ("sendmmsg", 307, 345, 269),
            ("recvmmsg", 299, 337, 243), ("recvmmsg_time64", NONE, 417, NONE), ("shutdown", 48, 373, 210),
            ("socketcall", NONE, 102, NONE),
        ],
    },
    // System V IPC and message queues; whose they are is up to the IPC namespace. i386's ipc is all of the former.
    Group {
        verdict: Allowed,
        calls: &[
            ("shmget", 29, 395, 194), ("shmat", 30, 397, 196), ("shmdt", 67, 398, 197),
            ("shmctl", 31, 396, 195), ("semget", 64, 393, 190), ("semop", 65, NONE, 193),
            ("semctl", 66, 394, 191), ("semtimedop", 220, NONE, 192), ("semtimedop_time64", NONE, 420, NONE),
            ("msgget", 68, 399, 186), ("msgsnd", 69, 400, 189), ("msgrcv", 70, 401, 188),
            ("msgctl", 71, 402, 187), ("mq_open", 240, 277, 180), ("mq_unlink", 241, 278, 181),
            ("mq_timedsend", 242, 279, 182), ("mq_timedsend_time64", NONE, 418, NONE),
            ("mq_timedreceive", 243, 280, 183), ("mq_timedreceive_time64", NONE, 419, NONE),
            ("mq_notify", 244, 281, 184), ("mq_getsetattr", 245, 282, 185), ("ipc", NONE, 117, NONE),
        ],
    },
    // Forbid itself more.
    Group {
        verdict: Allowed,
        calls: &[
            ("seccomp", 317, 354, 277), ("landlock_create_ruleset", 444, 444, 444),
            ("landlock_add_rule", 445, 445, 445), ("landlock_restrict_self", 446, 446, 446),
        ],
    },
    // Look into other processes, as a debugger does; the kernel asks whose they are.
    Group {
        verdict: Allowed,
        calls: &[
            ("ptrace", 101, 26, 117), ("process_vm_readv", 310, 347, 270),
            ("process_vm_writev", 311, 348, 271),
        ],
    },
    // Namespaces of its own, in which a process is root over parts of the kernel nobody else's root gets to.
    Group {
        verdict: With(&[CAP_SYS_ADMIN]),
        calls: &[
            ("unshare", 272, 310, 97), ("setns", 308, 346, 268),
        ],
    },
    // Mounts.
    Group {
        verdict: With(&[CAP_SYS_ADMIN]),
        calls: &[
            ("mount", 165, 21, 40), ("umount2", 166, 52, 39), ("umount", NONE, 22, NONE),
            ("fsopen", 430, 430, 430), ("fsconfig", 431, 431, 431), ("fsmount", 432, 432, 432),
            ("fspick", 433, 433, 433), ("open_tree", 428, 428, 428), ("open_tree_attr", 467, 467, 467),
            ("move_mount", 429, 429, 429), ("mount_setattr", 442, 442, 442),
        ],
    },
    // The name of the machine, quotas of its disks, watching all its files.
    Group {
        verdict: With(&[CAP_SYS_ADMIN]),
        calls: &[
            ("sethostname", 170, 74, 161), ("setdomainname", 171, 121, 162), ("quotactl", 179, 131, 60),
            ("quotactl_fd", 443, 443, 443), ("fanotify_init", 300, 338, 262),
            ("lookup_dcookie", 212, 253, 18),
        ],
    },
    // Another root directory.
    Group {
        verdict: With(&[CAP_SYS_CHROOT]),
        calls: &[
            ("chroot", 161, 61, 51),
        ],
    },
    // Programs inside the kernel.
    Group {
        verdict: With(&[CAP_SYS_ADMIN, CAP_BPF]),
        calls: &[
            ("bpf", 321, 357, 280),
        ],
    },
    // Counters that see the whole machine.
    Group {
        verdict: With(&[CAP_SYS_ADMIN, CAP_PERFMON]),
        calls: &[
            ("perf_event_open", 298, 336, 241),
        ],
    },
    // The kernel's log.
    Group {
        verdict: With(&[CAP_SYS_ADMIN, CAP_SYSLOG]),
        calls: &[
            ("syslog", 103, 103, 116),
        ],
    },
    // A file by its number, whatever the root directory: the way out of a container that is called shocker.
    Group {
        verdict: With(&[CAP_DAC_READ_SEARCH]),
        calls: &[
            ("open_by_handle_at", 304, 342, 265),
        ],
    },
    // Other processes' descriptors and memory.
    Group {
        verdict: With(&[CAP_SYS_PTRACE]),
        calls: &[
            ("kcmp", 312, 349, 272), ("pidfd_getfd", 438, 438, 438), ("process_madvise", 440, 440, 440),
        ],
    },
    // Which memory is near which processor.
    Group {
        verdict: With(&[CAP_SYS_NICE]),
        calls: &[
            ("get_mempolicy", 239, 275, 236), ("set_mempolicy", 238, 276, 237), ("mbind", 237, 274, 235),
            ("set_mempolicy_home_node", 450, 450, 450),
        ],
    },
    // The end of the machine.
    Group {
        verdict: With(&[CAP_SYS_BOOT]),
        calls: &[
            ("reboot", 169, 88, 142),
        ],
    },
    // Code in the kernel.
    Group {
        verdict: With(&[CAP_SYS_MODULE]),
        calls: &[
            ("init_module", 175, 128, 105), ("finit_module", 313, 350, 273), ("delete_module", 176, 129, 106),
        ],
    },
    // A record of all processes.
    Group {
        verdict: With(&[CAP_SYS_PACCT]),
        calls: &[
            ("acct", 163, 51, 89),
        ],
    },
    // The ports of the hardware.
    Group {
        verdict: With(&[CAP_SYS_RAWIO]),
        calls: &[
            ("ioperm", 173, 101, NONE), ("iopl", 172, 110, NONE),
        ],
    },
    // The time of the machine.
    Group {
        verdict: With(&[CAP_SYS_TIME]),
        calls: &[
            ("settimeofday", 164, 79, 170), ("stime", NONE, 25, NONE), ("clock_settime", 227, 264, 112),
            ("clock_settime64", NONE, 404, NONE),
        ],
    },
    // Hanging up terminals.
    Group {
        verdict: With(&[CAP_SYS_TTY_CONFIG]),
        calls: &[
            ("vhangup", 153, 111, 58),
        ],
    },
    // A process, and with it namespaces, which are left to CAP_SYS_ADMIN.
    Group {
        verdict: If(NO_NAMESPACES, &[CAP_SYS_ADMIN]),
        calls: &[
            ("clone", 56, 120, 220),
        ],
    },
    // The same, but with its flags in memory, where no filter can see them: programs fall back to clone.
    Group {
        verdict: Missing(&[CAP_SYS_ADMIN]),
        calls: &[
            ("clone3", 435, 435, 435),
        ],
    },
    // Another execution domain; some switch protections of memory off.
    Group {
        verdict: If(DOMAINS, &[]),
        calls: &[
            ("personality", 135, 136, 92),
        ],
    },
    // Sockets of every family but the one that leads to the hypervisor.
    Group {
        verdict: If(NOT_TO_THE_HYPERVISOR, &[]),
        calls: &[
            ("socket", 41, 359, 198),
        ],
    },
    // Another kernel in place of this one.
    Group {
        verdict: Denied,
        calls: &[
            ("kexec_load", 246, 283, 104), ("kexec_file_load", 320, NONE, 294),
        ],
    },
    // Swapping, for the whole machine.
    Group {
        verdict: Denied,
        calls: &[
            ("swapon", 167, 87, 224), ("swapoff", 168, 115, 225),
        ],
    },
    // Keys: which of them are whose no namespace says.
    Group {
        verdict: Denied,
        calls: &[
            ("add_key", 248, 286, 217), ("request_key", 249, 287, 218), ("keyctl", 250, 288, 219),
        ],
    },
    // Calls by another way, past this filter.
    Group {
        verdict: Denied,
        calls: &[
            ("io_uring_setup", 425, 425, 425), ("io_uring_enter", 426, 426, 426),
            ("io_uring_register", 427, 427, 427),
        ],
    },
    // Stopping the kernel in the middle of a page fault, which exploits like.
    Group {
        verdict: Denied,
        calls: &[
            ("userfaultfd", 323, 374, 282),
        ],
    },
    // Moving other processes' memory.
    Group {
        verdict: Denied,
        calls: &[
            ("move_pages", 279, 317, 239), ("migrate_pages", 256, 294, 238),
        ],
    },
    // The root mount.
    Group {
        verdict: Denied,
        calls: &[
            ("pivot_root", 155, 217, 41),
        ],
    },
    // Old: nobody needs them.
    Group {
        verdict: Denied,
        calls: &[
            ("uselib", 134, 86, NONE), ("ustat", 136, 62, NONE), ("sysfs", 139, 135, NONE),
            ("signal", NONE, 48, NONE), ("sigaction", NONE, 67, NONE), ("sigpending", NONE, 73, NONE),
            ("sigsuspend", NONE, 72, NONE), ("sgetmask", NONE, 68, NONE), ("ssetmask", NONE, 69, NONE),
            ("nice", NONE, 34, NONE), ("readdir", NONE, 89, NONE), ("oldstat", NONE, 18, NONE),
            ("oldfstat", NONE, 28, NONE), ("oldlstat", NONE, 84, NONE), ("olduname", NONE, 109, NONE),
            ("oldolduname", NONE, 59, NONE), ("bdflush", NONE, 134, NONE), ("vm86", NONE, 166, NONE),
            ("vm86old", NONE, 113, NONE),
        ],
    },
    // New: nobody needs them yet.
    Group {
        verdict: Missing(&[]),
        calls: &[
            ("statmount", 457, 457, 457), ("listmount", 458, 458, 458), ("lsm_get_self_attr", 459, 459, 459),
            ("lsm_set_self_attr", 460, 460, 460), ("lsm_list_modules", 461, 461, 461),
        ],
    },
    // Gone, or never there: the kernel itself says so.
    Group {
        verdict: Missing(&[]),
        calls: &[
            ("_sysctl", 156, 149, NONE), ("create_module", 174, 127, NONE),
            ("get_kernel_syms", 177, 130, NONE), ("query_module", 178, 167, NONE),
            ("nfsservctl", 180, 169, 42), ("getpmsg", 181, 188, NONE), ("putpmsg", 182, 189, NONE),
            ("afs_syscall", 183, 137, NONE), ("tuxcall", 184, NONE, NONE), ("security", 185, NONE, NONE),
            ("vserver", 236, 273, NONE), ("epoll_ctl_old", 214, NONE, NONE),
            ("epoll_wait_old", 215, NONE, NONE), ("break", NONE, 17, NONE), ("stty", NONE, 31, NONE),
            ("gtty", NONE, 32, NONE), ("ftime", NONE, 35, NONE), ("prof", NONE, 44, NONE),
            ("lock", NONE, 53, NONE), ("mpx", NONE, 56, NONE), ("ulimit", NONE, 58, NONE),
            ("profil", NONE, 98, NONE), ("idle", NONE, 112, NONE),
        ],
    },
];
