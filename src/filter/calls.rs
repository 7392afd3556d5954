//! The kernel's list of system calls, what each lets a program do, and what a container is answered by default.
//!
//! What is not in here is unknown to us, and so to the container (ENOSYS): a program asks for a new call, finds
//! that this kernel "does not have it", and takes the old one. What is known and refused gets EPERM. In effect
//! this is docker's default profile; tests/filter holds it against docker's and podman's, call by call, and says
//! where it differs and why.

use super::{Comparison::*, Condition};
use Verdict::*;
use caps::Capability::{self, *};

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
    /// Name, and number on x86-64 and on aarch64.
    pub calls: &'static [(&'static str, u16, u16)],
}

/// A machine that does not have the call: newer machines began without those that others replace.
pub const NONE: u16 = u16::MAX;

/// The flags of clone(2) that make a namespace: bits of the first argument.
const NEW_NAMESPACES: u64 = (nix::libc::CLONE_NEWNS
    | nix::libc::CLONE_NEWUTS
    | nix::libc::CLONE_NEWIPC
    | nix::libc::CLONE_NEWUSER
    | nix::libc::CLONE_NEWPID
    | nix::libc::CLONE_NEWNET
    | nix::libc::CLONE_NEWCGROUP) as u64;

const NO_NAMESPACES: &[Condition] =
    &[Condition { argument: 0, is: Masked { mask: NEW_NAMESPACES, value: 0 } }];

/// Linux, Linux with the machine called uname26, both for 32-bit programs, and the question which it is.
const DOMAINS: &[Condition] = &[
    Condition { argument: 0, is: Equal(0) },
    Condition { argument: 0, is: Equal(0x2_0000) },
    Condition { argument: 0, is: Equal(0x8) },
    Condition { argument: 0, is: Equal(0x2_0008) },
    Condition { argument: 0, is: Equal(0xffff_ffff) },
];

const NOT_TO_THE_HYPERVISOR: &[Condition] =
    &[Condition { argument: 0, is: NotEqual(nix::libc::AF_VSOCK as u64) }];

#[rustfmt::skip]
pub const GROUPS: &[Group] = &[
    // Read and write what is open.
    Group {
        verdict: Allowed,
        calls: &[
            ("read", 0, 63), ("write", 1, 64), ("pread64", 17, 67), ("pwrite64", 18, 68), ("readv", 19, 65),
            ("writev", 20, 66), ("preadv", 295, 69), ("pwritev", 296, 70), ("preadv2", 327, 286),
            ("pwritev2", 328, 287), ("lseek", 8, 62), ("sendfile", 40, 71), ("splice", 275, 76),
            ("tee", 276, 77), ("vmsplice", 278, 75), ("copy_file_range", 326, 285), ("readahead", 187, 213),
            ("fadvise64", 221, 223), ("fallocate", 285, 47), ("ftruncate", 77, 46), ("fsync", 74, 82),
            ("fdatasync", 75, 83), ("sync", 162, 81), ("sync_file_range", 277, 84), ("syncfs", 306, 267),
            ("flock", 73, 32), ("cachestat", 451, 451),
        ],
    },
    // Open, close and copy descriptors, and ask about them.
    Group {
        verdict: Allowed,
        calls: &[
            ("open", 2, NONE), ("openat", 257, 56), ("openat2", 437, 437), ("creat", 85, NONE),
            ("close", 3, 57), ("close_range", 436, 436), ("dup", 32, 23), ("dup2", 33, NONE),
            ("dup3", 292, 24), ("fcntl", 72, 25), ("ioctl", 16, 29), ("fstat", 5, 80), ("fstatfs", 138, 44),
            ("getdents", 78, NONE), ("getdents64", 217, 61), ("pipe", 22, NONE), ("pipe2", 293, 59),
            ("memfd_create", 319, 279), ("memfd_secret", 447, 447),
        ],
    },
    // Look at files by their names.
    Group {
        verdict: Allowed,
        calls: &[
            ("stat", 4, NONE), ("lstat", 6, NONE), ("newfstatat", 262, 79), ("statx", 332, 291),
            ("statfs", 137, 43), ("access", 21, NONE), ("faccessat", 269, 48), ("faccessat2", 439, 439),
            ("readlink", 89, NONE), ("readlinkat", 267, 78), ("getcwd", 79, 17),
            ("name_to_handle_at", 303, 264), ("file_getattr", 468, 468),
        ],
    },
    // Change files and directories: what may be changed is up to their owners and modes.
    Group {
        verdict: Allowed,
        calls: &[
            ("truncate", 76, 45), ("rename", 82, NONE), ("renameat", 264, 38), ("renameat2", 316, 276),
            ("mkdir", 83, NONE), ("mkdirat", 258, 34), ("rmdir", 84, NONE), ("link", 86, NONE),
            ("linkat", 265, 37), ("unlink", 87, NONE), ("unlinkat", 263, 35), ("symlink", 88, NONE),
            ("symlinkat", 266, 36), ("mknod", 133, NONE), ("mknodat", 259, 33), ("chmod", 90, NONE),
            ("fchmod", 91, 52), ("fchmodat", 268, 53), ("fchmodat2", 452, 452), ("chown", 92, NONE),
            ("fchown", 93, 55), ("lchown", 94, NONE), ("fchownat", 260, 54), ("utime", 132, NONE),
            ("utimes", 235, NONE), ("futimesat", 261, NONE), ("utimensat", 280, 88), ("chdir", 80, 49),
            ("fchdir", 81, 50), ("umask", 95, 166), ("file_setattr", 469, 469),
        ],
    },
    // Attributes of files.
    Group {
        verdict: Allowed,
        calls: &[
            ("getxattr", 191, 8), ("lgetxattr", 192, 9), ("fgetxattr", 193, 10), ("getxattrat", 464, 464),
            ("listxattr", 194, 11), ("llistxattr", 195, 12), ("flistxattr", 196, 13),
            ("listxattrat", 465, 465), ("setxattr", 188, 5), ("lsetxattr", 189, 6), ("fsetxattr", 190, 7),
            ("setxattrat", 463, 463), ("removexattr", 197, 14), ("lremovexattr", 198, 15),
            ("fremovexattr", 199, 16), ("removexattrat", 466, 466),
        ],
    },
    // Wait for events.
    Group {
        verdict: Allowed,
        calls: &[
            ("poll", 7, NONE), ("ppoll", 271, 73), ("select", 23, NONE), ("pselect6", 270, 72),
            ("epoll_create", 213, NONE), ("epoll_create1", 291, 20), ("epoll_ctl", 233, 21),
            ("epoll_wait", 232, NONE), ("epoll_pwait", 281, 22), ("epoll_pwait2", 441, 441),
            ("eventfd", 284, NONE), ("eventfd2", 290, 19), ("signalfd", 282, NONE), ("signalfd4", 289, 74),
            ("inotify_init", 253, NONE), ("inotify_init1", 294, 26), ("inotify_add_watch", 254, 27),
            ("inotify_rm_watch", 255, 28), ("fanotify_mark", 301, 263), ("io_setup", 206, 0),
            ("io_destroy", 207, 1), ("io_submit", 209, 2), ("io_cancel", 210, 3), ("io_getevents", 208, 4),
            ("io_pgetevents", 333, 292),
        ],
    },
    // Memory of its own.
    Group {
        verdict: Allowed,
        calls: &[
            ("mmap", 9, 222), ("munmap", 11, 215), ("mprotect", 10, 226), ("mremap", 25, 216),
            ("msync", 26, 227), ("mincore", 27, 232), ("madvise", 28, 233), ("brk", 12, 214),
            ("mlock", 149, 228), ("mlock2", 325, 284), ("mlockall", 151, 230), ("munlock", 150, 229),
            ("munlockall", 152, 231), ("remap_file_pages", 216, 234), ("membarrier", 324, 283),
            ("pkey_alloc", 330, 289), ("pkey_free", 331, 290), ("pkey_mprotect", 329, 288),
            ("mseal", 462, 462), ("map_shadow_stack", 453, 453),
        ],
    },
    // Make, run and end processes.
    Group {
        verdict: Allowed,
        calls: &[
            ("fork", 57, NONE), ("vfork", 58, NONE), ("execve", 59, 221), ("execveat", 322, 281),
            ("exit", 60, 93), ("exit_group", 231, 94), ("wait4", 61, 260), ("waitid", 247, 95),
            ("kill", 62, 129), ("tkill", 200, 130), ("tgkill", 234, 131), ("pidfd_open", 434, 434),
            ("pidfd_send_signal", 424, 424), ("process_mrelease", 448, 448), ("rt_sigqueueinfo", 129, 138),
            ("rt_tgsigqueueinfo", 297, 240),
        ],
    },
    // Signals to itself.
    Group {
        verdict: Allowed,
        calls: &[
            ("rt_sigaction", 13, 134), ("rt_sigprocmask", 14, 135), ("rt_sigreturn", 15, 139),
            ("rt_sigpending", 127, 136), ("rt_sigsuspend", 130, 133), ("rt_sigtimedwait", 128, 137),
            ("sigaltstack", 131, 132), ("pause", 34, NONE), ("alarm", 37, NONE),
            ("restart_syscall", 219, 128),
        ],
    },
    // Threads.
    Group {
        verdict: Allowed,
        calls: &[
            ("futex", 202, 98), ("futex_waitv", 449, 449), ("futex_wake", 454, 454),
            ("futex_wait", 455, 455), ("futex_requeue", 456, 456), ("set_robust_list", 273, 99),
            ("get_robust_list", 274, 100), ("set_tid_address", 218, 96), ("rseq", 334, 293),
            ("gettid", 186, 178), ("set_thread_area", 205, NONE), ("get_thread_area", 211, NONE),
            ("arch_prctl", 158, NONE), ("modify_ldt", 154, NONE), ("uretprobe", 335, NONE),
            ("uprobe", 336, NONE),
        ],
    },
    // Ask and say who it is; the kernel lets nobody become more than capabilities allow.
    Group {
        verdict: Allowed,
        calls: &[
            ("getpid", 39, 172), ("getppid", 110, 173), ("getpgid", 121, 155), ("getpgrp", 111, NONE),
            ("setpgid", 109, 154), ("getsid", 124, 156), ("setsid", 112, 157), ("getuid", 102, 174),
            ("geteuid", 107, 175), ("getgid", 104, 176), ("getegid", 108, 177), ("getresuid", 118, 148),
            ("getresgid", 120, 150), ("getgroups", 115, 158), ("setuid", 105, 146), ("setgid", 106, 144),
            ("setreuid", 113, 145), ("setregid", 114, 143), ("setresuid", 117, 147),
            ("setresgid", 119, 149), ("setfsuid", 122, 151), ("setfsgid", 123, 152),
            ("setgroups", 116, 159), ("capget", 125, 90), ("capset", 126, 91), ("prctl", 157, 167),
        ],
    },
    // Limits and turns.
    Group {
        verdict: Allowed,
        calls: &[
            ("getrlimit", 97, 163), ("setrlimit", 160, 164), ("prlimit64", 302, 261),
            ("getrusage", 98, 165), ("times", 100, 153), ("getpriority", 140, 141),
            ("setpriority", 141, 140), ("sched_yield", 24, 124), ("sched_getaffinity", 204, 123),
            ("sched_setaffinity", 203, 122), ("sched_getscheduler", 145, 120),
            ("sched_setscheduler", 144, 119), ("sched_getparam", 143, 121), ("sched_setparam", 142, 118),
            ("sched_getattr", 315, 275), ("sched_setattr", 314, 274), ("sched_get_priority_max", 146, 125),
            ("sched_get_priority_min", 147, 126), ("sched_rr_get_interval", 148, 127),
            ("ioprio_get", 252, 31), ("ioprio_set", 251, 30), ("getcpu", 309, 168), ("sysinfo", 99, 179),
            ("uname", 63, 160), ("getrandom", 318, 278),
        ],
    },
    // Time: reading the clocks, and being woken.
    Group {
        verdict: Allowed,
        calls: &[
            ("time", 201, NONE), ("gettimeofday", 96, 169), ("clock_gettime", 228, 113),
            ("clock_getres", 229, 114), ("clock_nanosleep", 230, 115), ("nanosleep", 35, 101),
            ("getitimer", 36, 102), ("setitimer", 38, 103), ("timer_create", 222, 107),
            ("timer_delete", 226, 111), ("timer_settime", 223, 110), ("timer_gettime", 224, 108),
            ("timer_getoverrun", 225, 109), ("timerfd_create", 283, 85), ("timerfd_settime", 286, 86),
            ("timerfd_gettime", 287, 87), ("adjtimex", 159, 171), ("clock_adjtime", 305, 266),
        ],
    },
    // Sockets; which networks are in reach is up to the network namespace.
    Group {
        verdict: Allowed,
        calls: &[
            ("socketpair", 53, 199), ("bind", 49, 200), ("connect", 42, 203), ("listen", 50, 201),
            ("accept", 43, 202), ("accept4", 288, 242), ("getsockname", 51, 204), ("getpeername", 52, 205),
            ("setsockopt", 54, 208), ("getsockopt", 55, 209), ("sendto", 44, 206), ("recvfrom", 45, 207),
            ("sendmsg", 46, 211), ("recvmsg", 47, 212), ("sendmmsg", 307, 269), ("recvmmsg", 299, 243),
            ("shutdown", 48, 210),
        ],
    },
    // System V IPC and message queues; whose they are is up to the IPC namespace.
    Group {
        verdict: Allowed,
        calls: &[
            ("shmget", 29, 194), ("shmat", 30, 196), ("shmdt", 67, 197), ("shmctl", 31, 195),
            ("semget", 64, 190), ("semop", 65, 193), ("semctl", 66, 191), ("semtimedop", 220, 192),
            ("msgget", 68, 186), ("msgsnd", 69, 189), ("msgrcv", 70, 188), ("msgctl", 71, 187),
            ("mq_open", 240, 180), ("mq_unlink", 241, 181), ("mq_timedsend", 242, 182),
            ("mq_timedreceive", 243, 183), ("mq_notify", 244, 184), ("mq_getsetattr", 245, 185),
        ],
    },
    // Forbid itself more.
    Group {
        verdict: Allowed,
        calls: &[
            ("seccomp", 317, 277), ("landlock_create_ruleset", 444, 444), ("landlock_add_rule", 445, 445),
            ("landlock_restrict_self", 446, 446),
        ],
    },
    // Look into other processes, as a debugger does; the kernel asks whose they are.
    Group {
        verdict: Allowed,
        calls: &[
            ("ptrace", 101, 117), ("process_vm_readv", 310, 270), ("process_vm_writev", 311, 271),
        ],
    },
    // Namespaces of its own, in which a process is root over parts of the kernel nobody else's root gets to.
    Group {
        verdict: With(&[CAP_SYS_ADMIN]),
        calls: &[
            ("unshare", 272, 97), ("setns", 308, 268),
        ],
    },
    // Mounts.
    Group {
        verdict: With(&[CAP_SYS_ADMIN]),
        calls: &[
            ("mount", 165, 40), ("umount2", 166, 39), ("fsopen", 430, 430), ("fsconfig", 431, 431),
            ("fsmount", 432, 432), ("fspick", 433, 433), ("open_tree", 428, 428),
            ("open_tree_attr", 467, 467), ("move_mount", 429, 429), ("mount_setattr", 442, 442),
        ],
    },
    // The name of the machine, quotas of its disks, watching all its files.
    Group {
        verdict: With(&[CAP_SYS_ADMIN]),
        calls: &[
            ("sethostname", 170, 161), ("setdomainname", 171, 162), ("quotactl", 179, 60),
            ("quotactl_fd", 443, 443), ("fanotify_init", 300, 262), ("lookup_dcookie", 212, 18),
        ],
    },
    // Another root directory.
    Group {
        verdict: With(&[CAP_SYS_CHROOT]),
        calls: &[
            ("chroot", 161, 51),
        ],
    },
    // Programs inside the kernel.
    Group {
        verdict: With(&[CAP_SYS_ADMIN, CAP_BPF]),
        calls: &[
            ("bpf", 321, 280),
        ],
    },
    // Counters that see the whole machine.
    Group {
        verdict: With(&[CAP_SYS_ADMIN, CAP_PERFMON]),
        calls: &[
            ("perf_event_open", 298, 241),
        ],
    },
    // The kernel's log.
    Group {
        verdict: With(&[CAP_SYS_ADMIN, CAP_SYSLOG]),
        calls: &[
            ("syslog", 103, 116),
        ],
    },
    // A file by its number, whatever the root directory: the way out of a container that is called shocker.
    Group {
        verdict: With(&[CAP_DAC_READ_SEARCH]),
        calls: &[
            ("open_by_handle_at", 304, 265),
        ],
    },
    // Other processes' descriptors and memory.
    Group {
        verdict: With(&[CAP_SYS_PTRACE]),
        calls: &[
            ("kcmp", 312, 272), ("pidfd_getfd", 438, 438), ("process_madvise", 440, 440),
        ],
    },
    // Which memory is near which processor.
    Group {
        verdict: With(&[CAP_SYS_NICE]),
        calls: &[
            ("get_mempolicy", 239, 236), ("set_mempolicy", 238, 237), ("mbind", 237, 235),
            ("set_mempolicy_home_node", 450, 450),
        ],
    },
    // The end of the machine.
    Group {
        verdict: With(&[CAP_SYS_BOOT]),
        calls: &[
            ("reboot", 169, 142),
        ],
    },
    // Code in the kernel.
    Group {
        verdict: With(&[CAP_SYS_MODULE]),
        calls: &[
            ("init_module", 175, 105), ("finit_module", 313, 273), ("delete_module", 176, 106),
        ],
    },
    // A record of all processes.
    Group {
        verdict: With(&[CAP_SYS_PACCT]),
        calls: &[
            ("acct", 163, 89),
        ],
    },
    // The ports of the hardware.
    Group {
        verdict: With(&[CAP_SYS_RAWIO]),
        calls: &[
            ("ioperm", 173, NONE), ("iopl", 172, NONE),
        ],
    },
    // The time of the machine.
    Group {
        verdict: With(&[CAP_SYS_TIME]),
        calls: &[
            ("settimeofday", 164, 170), ("clock_settime", 227, 112),
        ],
    },
    // Hanging up terminals.
    Group {
        verdict: With(&[CAP_SYS_TTY_CONFIG]),
        calls: &[
            ("vhangup", 153, 58),
        ],
    },
    // A process, and with it namespaces, which are left to CAP_SYS_ADMIN.
    Group {
        verdict: If(NO_NAMESPACES, &[CAP_SYS_ADMIN]),
        calls: &[
            ("clone", 56, 220),
        ],
    },
    // The same, but with its flags in memory, where no filter can see them: programs fall back to clone.
    Group {
        verdict: Missing(&[CAP_SYS_ADMIN]),
        calls: &[
            ("clone3", 435, 435),
        ],
    },
    // Another execution domain; some switch protections of memory off.
    Group {
        verdict: If(DOMAINS, &[]),
        calls: &[
            ("personality", 135, 92),
        ],
    },
    // Sockets of every family but the one that leads to the hypervisor.
    Group {
        verdict: If(NOT_TO_THE_HYPERVISOR, &[]),
        calls: &[
            ("socket", 41, 198),
        ],
    },
    // Another kernel in place of this one.
    Group {
        verdict: Denied,
        calls: &[
            ("kexec_load", 246, 104), ("kexec_file_load", 320, 294),
        ],
    },
    // Swapping, for the whole machine.
    Group {
        verdict: Denied,
        calls: &[
            ("swapon", 167, 224), ("swapoff", 168, 225),
        ],
    },
    // Keys: which of them are whose no namespace says.
    Group {
        verdict: Denied,
        calls: &[
            ("add_key", 248, 217), ("request_key", 249, 218), ("keyctl", 250, 219),
        ],
    },
    // Calls by another way, past this filter.
    Group {
        verdict: Denied,
        calls: &[
            ("io_uring_setup", 425, 425), ("io_uring_enter", 426, 426), ("io_uring_register", 427, 427),
        ],
    },
    // Stopping the kernel in the middle of a page fault, which exploits like.
    Group {
        verdict: Denied,
        calls: &[
            ("userfaultfd", 323, 282),
        ],
    },
    // Moving other processes' memory.
    Group {
        verdict: Denied,
        calls: &[
            ("move_pages", 279, 239), ("migrate_pages", 256, 238),
        ],
    },
    // The root mount.
    Group {
        verdict: Denied,
        calls: &[
            ("pivot_root", 155, 41),
        ],
    },
    // Old: nobody needs them.
    Group {
        verdict: Denied,
        calls: &[
            ("uselib", 134, NONE), ("ustat", 136, NONE), ("sysfs", 139, NONE),
        ],
    },
    // New: nobody needs them yet.
    Group {
        verdict: Missing(&[]),
        calls: &[
            ("statmount", 457, 457), ("listmount", 458, 458), ("lsm_get_self_attr", 459, 459),
            ("lsm_set_self_attr", 460, 460), ("lsm_list_modules", 461, 461),
        ],
    },
    // Gone, or never there: the kernel itself says so.
    Group {
        verdict: Missing(&[]),
        calls: &[
            ("_sysctl", 156, NONE), ("create_module", 174, NONE), ("get_kernel_syms", 177, NONE),
            ("query_module", 178, NONE), ("nfsservctl", 180, 42), ("getpmsg", 181, NONE),
            ("putpmsg", 182, NONE), ("afs_syscall", 183, NONE), ("tuxcall", 184, NONE),
            ("security", 185, NONE), ("vserver", 236, NONE), ("epoll_ctl_old", 214, NONE),
            ("epoll_wait_old", 215, NONE),
        ],
    },
];
