//! How many bits of an argument the kernel looks at: a filter sees 64, and of an `int` the kernel drops the upper half
//! before the call begins. What compares all 64 takes `socket(0x100000028)` for no `socket(40)`, and it is one.
//!
//! As SYSCALL_DEFINE of the kernel's source has them (`int`, `unsigned int`, `pid_t`, ...), the same on each machine;
//! tests/filter holds the table against those of the kernel that it runs on. Calls that are not in here take 64 bits of
//! each argument, or are not known, and are compared as libseccomp does: in 64.

use super::machine::Machine;

/// Which arguments of which calls have 32 bits. (Of clone's flags, which are declared with 64, it drops the upper half.)
#[rustfmt::skip]
const HALF: &[(&[u8], &[&str])] = &[
    (&[5], &["mbind", "preadv2", "pwritev2"]),
    (&[4], &["add_key", "lsetxattr", "setxattr"]),
    (&[3, 5], &["futex_wait"]),
    (&[3], &["listmount", "pkey_mprotect", "request_key", "statmount"]),
    (&[2, 3], &["futex_wake"]),
    (&[2], &[
        "getrandom", "ioperm", "landlock_create_ruleset", "lsm_list_modules", "madvise", "map_shadow_stack",
        "mknod", "mlock2", "msync", "readlink",
    ]),
    (&[1, 2, 5], &["futex"]),
    (&[1, 2, 4], &["futex_waitv"]),
    (&[1, 2, 3], &["futex_requeue", "perf_event_open", "rseq"]),
    (&[1, 2], &["chown", "lchown", "poll"]),
    (&[1], &[
        "access", "delete_module", "fsopen", "memfd_create", "mq_open", "open", "pipe2", "ppoll", "setdomainname",
        "sethostname", "swapon", "symlinkat", "umount2",
    ]),
    (&[0, 5], &["move_pages"]),
    (&[0, 4], &["execveat", "file_getattr", "file_setattr", "fsetxattr", "msgrcv", "name_to_handle_at"]),
    (&[0, 3, 5], &["sendto"]),
    (&[0, 3, 4], &["process_madvise"]),
    (&[0, 3], &[
        "accept4", "cachestat", "fadvise64", "fchmodat2", "lsm_get_self_attr", "mknodat", "mq_timedsend", "msgsnd",
        "newfstatat", "readlinkat", "recvfrom", "signalfd4", "sync_file_range", "utimensat", "vmsplice",
    ]),
    (&[0, 2, 5], &["copy_file_range", "splice"]),
    (&[0, 2, 4], &["linkat", "move_mount", "renameat2"]),
    (&[0, 2, 3, 4], &["fchownat"]),
    (&[0, 2, 3], &[
        "epoll_pwait", "epoll_wait", "faccessat2", "lsm_set_self_attr", "recvmmsg", "sched_getattr", "sendmmsg",
        "statx",
    ]),
    (&[0, 2], &[
        "bind", "bpf", "connect", "epoll_pwait2", "faccessat", "finit_module", "fspick", "getdents", "getdents64",
        "getxattrat", "inotify_add_watch", "listxattrat", "lseek", "mount_setattr", "open_by_handle_at",
        "open_tree", "open_tree_attr", "openat", "quotactl", "recvmsg", "removexattrat", "renameat",
        "sched_setattr", "semop", "semtimedop", "sendmsg", "setxattrat", "shmat", "shmget", "syslog", "unlinkat",
        "wait4",
    ]),
    (&[0, 1, 4], &["fsconfig"]),
    (&[0, 1, 3], &[
        "fanotify_mark", "io_uring_register", "landlock_add_rule", "pidfd_send_signal", "tee", "waitid",
    ]),
    (&[0, 1, 2, 4], &["setsockopt"]),
    (&[0, 1, 2, 3], &["io_uring_enter"]),
    (&[0, 1, 2], &[
        "close_range", "dup3", "epoll_ctl", "fchown", "fsmount", "getsockopt", "ioprio_set", "kcmp", "membarrier",
        "pidfd_getfd", "quotactl_fd", "reboot", "rt_tgsigqueueinfo", "semctl", "semget", "setpriority", "setresgid",
        "setresuid", "socket", "socketpair", "tgkill",
    ]),
    (&[0, 1], &[
        "clock_nanosleep", "dup2", "eventfd2", "fallocate", "fanotify_init", "fcntl", "flock", "getpriority",
        "inotify_rm_watch", "ioctl", "ioprio_get", "kexec_file_load", "kill", "landlock_restrict_self", "listen",
        "msgctl", "msgget", "pidfd_open", "prlimit64", "process_mrelease", "rt_sigqueueinfo", "sched_getaffinity",
        "sched_setaffinity", "sched_setscheduler", "seccomp", "sendfile", "setns", "setpgid", "setregid",
        "setreuid", "shmctl", "shutdown", "timer_settime", "timerfd_create", "timerfd_settime", "tkill",
    ]),
    (&[0], &[
        "accept", "alarm", "arch_prctl", "clock_adjtime", "clock_getres", "clock_gettime", "clock_settime", "clone",
        "close", "dup", "epoll_create", "epoll_create1", "eventfd", "exit", "exit_group", "fchdir", "fchmod",
        "fchmodat", "fdatasync", "fgetxattr", "flistxattr", "fremovexattr", "fstat", "fstatfs", "fsync",
        "ftruncate", "futimesat", "get_robust_list", "getgroups", "getitimer", "getpeername", "getpgid",
        "getrlimit", "getrusage", "getsid", "getsockname", "inotify_init1", "io_setup", "io_uring_setup", "iopl",
        "keyctl", "memfd_secret", "migrate_pages", "mkdirat", "mlockall", "modify_ldt", "mq_getsetattr",
        "mq_notify", "mq_timedreceive", "nfsservctl", "openat2", "personality", "pkey_free", "prctl", "pread64",
        "process_vm_readv", "process_vm_writev", "pselect6", "pwrite64", "read", "readahead", "rt_sigaction",
        "rt_sigprocmask", "sched_get_priority_max", "sched_get_priority_min", "sched_getparam",
        "sched_getscheduler", "sched_rr_get_interval", "sched_setparam", "select", "set_mempolicy", "setfsgid",
        "setfsuid", "setgid", "setgroups", "setitimer", "setrlimit", "setuid", "signalfd", "syncfs", "sysfs",
        "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timerfd_gettime", "umask",
        "userfaultfd", "ustat", "write",
    ]),
];

/// A file's mode, `umode_t`, has 16.
#[rustfmt::skip]
const QUARTER: &[(&[u8], &[&str])] = &[
    (&[1], &["chmod", "creat", "fchmod", "mkdir", "mknod"]),
    (&[2], &["fchmodat", "fchmodat2", "mkdirat", "mknodat", "mq_open", "open"]),
    (&[3], &["openat"]),
];

/// And ids have where 32-bit x86 has a newer call beside the old one: `old_uid_t`.
#[rustfmt::skip]
const QUARTER_OF_I386: &[(&[u8], &[&str])] = &[
    (&[0], &["setuid", "setgid", "setfsuid", "setfsgid"]),
    (&[0, 1], &["setreuid", "setregid"]),
    (&[0, 1, 2], &["setresuid", "setresgid"]),
    (&[1, 2], &["chown", "lchown", "fchown"]),
];

/// The bits of this argument, 0 to 5, that the kernel takes in the call of this name.
pub fn taken(machine: Machine, name: &str, argument: u8) -> u64 {
    let is_in = |table: &[(&[u8], &[&str])]| {
        table.iter().any(|(arguments, names)| arguments.contains(&argument) && names.contains(&name))
    };
    match machine {
        Machine::I386 if is_in(QUARTER_OF_I386) => 0xffff,
        _ if is_in(QUARTER) => 0xffff,
        // Its registers have no more.
        Machine::I386 => 0xffff_ffff,
        _ if is_in(HALF) => 0xffff_ffff,
        _ => u64::MAX,
    }
}
