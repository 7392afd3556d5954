/* floor: the least any program must do for the isolation of `rubber run` with
 * every layer and three cgroup limits, all but the filter of system calls (which
 * the benchmark measures by itself). It is a ruler and not a runtime: no
 * options, no image, no records, and every value it writes is in this file.
 *
 *   floor [--procs] LOWER STATE COMMAND [ARG...]
 *
 * LOWER is the image: a directory with /proc, /sys and /dev, and in /etc hosts, hostname and resolv.conf. STATE is a directory
 * that the run puts its upper and work directories under, and takes them away from.
 * --procs joins version 1 cgroups through cgroup.procs, for comparison; see join().
 *
 *   gcc -O2 -static -o floor floor.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"
#define SAFE (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define EACH(item, array) (size_t item = 0; item < sizeof array / sizeof *array; item++)

static const struct limit {
    const char *tree, *file, *value; /* tree: the controller's own hierarchy in version 1 */
} V1[] = {{"cpu", "cpu.cfs_quota_us", "50000"},
          {"memory", "memory.limit_in_bytes", "134217728"},
          {"pids", "pids.max", "64"}},
  V2[] = {{".", "cpu.max", "50000 100000"}, {".", "memory.max", "134217728"}, {".", "pids.max", "64"}};

/* What version 1 has in a tree of its own; in version 2 it is a program, of which the floor does without. */
static const char *DEVICES[] = {"c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",
                                "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm"};

/* The capabilities a container's root keeps: Docker's fourteen. All are below 32. */
static const int KEEP[] = {CAP_CHOWN,   CAP_DAC_OVERRIDE, CAP_FOWNER,           CAP_FSETID,  CAP_KILL,
                           CAP_SETGID,  CAP_SETUID,       CAP_SETPCAP,          CAP_NET_RAW, CAP_SYS_CHROOT,
                           CAP_MKNOD,   CAP_AUDIT_WRITE,  CAP_NET_BIND_SERVICE, CAP_SETFCAP};

static pid_t host;            /* the process on the host side; also the name of what it makes */
static int v2;                /* one hierarchy for all controllers */
static const char *tasks;     /* the file a process joins a version 1 cgroup by */
static char state[PATH_MAX];  /* STATE/<pid>: upper and work below it, the overlay on top of it */

static void remove_all(void);

/* Ends this process when the call failed, saying which; what the host made is taken back. */
static long must(long result, const char *call, const char *what) {
    if (result >= 0)
        return result;
    int error = errno;
    dprintf(2, "floor: %s(%s): %s\n", call, what, strerror(error));
    if (getpid() == host)
        remove_all();
    _exit(125);
}

static void write_file(const char *path, const char *text) {
    int fd = must(open(path, O_WRONLY | O_CLOEXEC), "open", path);
    must(write(fd, text, strlen(text)), "write", path);
    close(fd);
}

static const char *below(const char *dir, const char *name) {
    static char path[PATH_MAX + NAME_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static const char *cgroup(const char *tree, const char *file) {
    static char path[PATH_MAX];
    snprintf(path, sizeof path, CGROUPS "/%s/rubber-floor-%d/%s", tree, host, file);
    return path;
}

/* ---- host ------------------------------------------------------------------------------- */

static void make_directories(void) {
    must(mkdir(state, 0700), "mkdir", state);
    must(mkdir(below(state, "upper"), 0755), "mkdir", "upper");
    must(mkdir(below(state, "work"), 0700), "mkdir", "work");
}

static void limit_devices(void) {
    must(mkdir(cgroup("devices", ""), 0755), "mkdir", cgroup("devices", ""));
    write_file(cgroup("devices", "devices.deny"), "a");
    int fd = must(open(cgroup("devices", "devices.allow"), O_WRONLY | O_CLOEXEC), "open", "devices.allow");
    for EACH (i, DEVICES)
        must(write(fd, DEVICES[i], strlen(DEVICES[i])), "write", DEVICES[i]);
    close(fd);
}

static void make_cgroups(void) {
    if (v2) {
        write_file(CGROUPS "/cgroup.subtree_control", "+cpu +memory +pids");
        must(mkdir(cgroup(".", ""), 0755), "mkdir", cgroup(".", ""));
    }
    for EACH (i, V1) {
        const struct limit *limit = v2 ? &V2[i] : &V1[i];
        if (!v2)
            must(mkdir(cgroup(limit->tree, ""), 0755), "mkdir", cgroup(limit->tree, ""));
        write_file(cgroup(limit->tree, limit->file), limit->value);
    }
    if (!v2)
        limit_devices();
}

/* The overlay is gone with the mount namespace, and what the kernel itself leaves of it is
 * known: work/work, and in it the mark of a volatile overlay. */
static void remove_all(void) {
    static const char *DIRS[] = {"work/work/incompat/volatile", "work/work/incompat", "work/work", "work", "upper", ""};
    unlink(below(state, "work/work/incompat/volatile/dirty"));
    for EACH (i, DIRS)
        if (rmdir(below(state, DIRS[i])) && errno != ENOENT)
            dprintf(2, "floor: rmdir(%s): %s\n", below(state, DIRS[i]), strerror(errno));
    for EACH (i, V1)
        if (rmdir(cgroup(v2 ? "." : V1[i].tree, "")) && errno != ENOENT)
            dprintf(2, "floor: rmdir(%s): %s\n", cgroup(v2 ? "." : V1[i].tree, ""), strerror(errno));
    if (!v2 && rmdir(cgroup("devices", "")) && errno != ENOENT)
        dprintf(2, "floor: rmdir(%s): %s\n", cgroup("devices", ""), strerror(errno));
}

/* ---- pid 1 ------------------------------------------------------------------------------ */

/* Version 1: moving a whole process (cgroup.procs) takes a lock over every fork and exit of
 * the machine and waits for an RCU grace period to get it: ten milliseconds or twenty, unless
 * somebody had it a moment ago. Moving the one thread that writes "0" into `tasks` needs no
 * such lock, and this process has one thread.
 * Version 2: clone3 has put us there already. */
static void join(void) {
    for EACH (i, V1)
        if (!v2)
            write_file(cgroup(V1[i].tree, tasks), "0");
    if (!v2)
        write_file(cgroup("devices", tasks), "0");
    /* Only now: the namespace's root is the cgroup its maker is in. */
    must(unshare(CLONE_NEWCGROUP), "unshare", "CLONE_NEWCGROUP");
}

static void mount_at(const char *type, const char *target, unsigned long flags, const char *options) {
    must(mount(type, target, type, flags, options), "mount", target);
}

/* An overlay on top of the directory that holds its own upper and work: one directory fewer.
 * volatile: nobody reads upper after a crash, so unmounting need not write the disk out. */
static void mount_root(const char *lower) {
    char options[3 * PATH_MAX];
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work,volatile", lower, state, state);
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount", "/, MS_REC|MS_PRIVATE");
    mount_at("overlay", state, MS_NODEV, options);
    must(chdir(state), "chdir", state);
}

static void make_devices(void) {
    static const struct { const char *path; int major, minor; mode_t mode; } NODES[] = {
        {"dev/null", 1, 3, 0666},    {"dev/zero", 1, 5, 0666}, {"dev/full", 1, 7, 0666},   {"dev/random", 1, 8, 0666},
        {"dev/urandom", 1, 9, 0666}, {"dev/tty", 5, 0, 0666},  {"dev/console", 5, 1, 0620},
    };
    static const char *LINKS[][2] = {
        {"pts/ptmx", "dev/ptmx"},         {"/proc/self/fd", "dev/fd"},      {"/proc/self/fd/0", "dev/stdin"},
        {"/proc/self/fd/1", "dev/stdout"}, {"/proc/self/fd/2", "dev/stderr"},
    };
    umask(0);
    for EACH (i, NODES)
        must(mknod(NODES[i].path, S_IFCHR | NODES[i].mode, makedev(NODES[i].major, NODES[i].minor)), "mknod", NODES[i].path);
    umask(022);
    for EACH (i, LINKS)
        must(symlink(LINKS[i][0], LINKS[i][1]), "symlink", LINKS[i][1]);
}

static void mount_kernel_filesystems(void) {
    static const char *DIRS[] = {"dev/pts", "dev/shm", "dev/mqueue"};
    mount_at("proc", "proc", SAFE, NULL);
    mount_at("sysfs", "sys", SAFE | MS_RDONLY, NULL);
    mount_at("tmpfs", "dev", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k");
    make_devices();
    for EACH (i, DIRS)
        must(mkdir(DIRS[i], 0755), "mkdir", DIRS[i]);
    mount_at("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
    mount_at("tmpfs", "dev/shm", SAFE, "mode=1777,size=64m");
    mount_at("mqueue", "dev/mqueue", SAFE, NULL);
}

static void mount_read_only(void) {
    static const char *PATHS[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
    for EACH (i, PATHS) {
        if (mount(PATHS[i], PATHS[i], NULL, MS_BIND, NULL) && errno == ENOENT)
            continue; /* a kernel built without it */
        must(mount(NULL, PATHS[i], NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | SAFE, NULL), "mount", PATHS[i]);
    }
}

static int is_there(const char *path) {
    return access(path, F_OK) == 0;
}

/* What tells of the whole machine: files become its null, directories are empty. One mount of each kind is made, and
 * put in all places. */
static void mask(void) {
    static const char *FILES[] = {"proc/interrupts",  "proc/kcore",      "proc/keys",       "proc/latency_stats",
                                  "proc/sched_debug", "proc/timer_list", "proc/timer_stats"};
    static const char *DIRS[] = {"proc/acpi", "proc/asound", "proc/scsi", "sys/devices/virtual/powercap", "sys/firmware"};
    const char *first = NULL;
    for EACH (i, FILES)
        if (is_there(FILES[i]))
            must(mount("/dev/null", FILES[i], NULL, MS_BIND, NULL), "mount", FILES[i]);
    for EACH (i, DIRS) {
        if (!is_there(DIRS[i]))
            continue;
        if (first)
            must(mount(first, DIRS[i], NULL, MS_BIND, NULL), "mount", DIRS[i]);
        else
            mount_at("tmpfs", first = DIRS[i], SAFE | MS_RDONLY, NULL);
    }
}

/* Three files that are not the image's, in memory. The mount they are made in is gone again when they are in place. */
static void mount_names(void) {
    static const char *NAMES[][2] = {{"hosts", "127.0.0.1\tlocalhost\n"}, {"hostname", "floor\n"}, {"resolv.conf", "\n"}};
    char made[64], target[64];
    mount_at("tmpfs", "tmp", SAFE, "mode=755,size=1m");
    for EACH (i, NAMES) {
        snprintf(made, sizeof made, "tmp/%s", NAMES[i][0]);
        snprintf(target, sizeof target, "etc/%s", NAMES[i][0]);
        int fd = must(open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), "open", made);
        must(write(fd, NAMES[i][1], strlen(NAMES[i][1])), "write", made);
        close(fd);
        must(mount(made, target, NULL, MS_BIND, NULL), "mount", target);
    }
    must(umount2("tmp", MNT_DETACH), "umount2", "tmp");
}

static void pivot(void) {
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root", ".");
    must(umount2(".", MNT_DETACH), "umount2", "., MNT_DETACH");
    must(chdir("/"), "chdir", "/");
}

static void loopback_up(void) {
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket", "AF_INET");
    must(ioctl(fd, SIOCSIFFLAGS, &lo), "ioctl", "SIOCSIFFLAGS, lo");
}

static void drop(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    unsigned keep = 0;
    for EACH (i, KEEP)
        keep |= 1u << KEEP[i];
    must(syscall(SYS_setgroups, 0, NULL), "setgroups", "none");
    must(syscall(SYS_setgid, 0), "setgid", "0");
    must(syscall(SYS_setuid, 0), "setuid", "0");
    for (int cap = 0; cap < 64; cap++) /* until the kernel says it has no more */
        if ((cap > 31 || !(keep >> cap & 1)) && prctl(PR_CAPBSET_DROP, cap) && errno == EINVAL)
            break;
    data[0].effective = data[0].permitted = keep;
    must(syscall(SYS_capset, &header, data), "capset", "fourteen");
}

static void become_container(const char *lower, char **command) {
    static char *ENVIRONMENT[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    join();
    mount_root(lower);
    mount_kernel_filesystems();
    mount_read_only();
    mask();
    pivot();
    mount_names();
    must(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL), "keyctl", "a session of its own");
    must(sethostname("floor", 5), "sethostname", "floor");
    loopback_up();
    drop();
    must(syscall(SYS_close_range, 3, ~0u, 0), "close_range", "3, max");
    must(execve(command[0], command, ENVIRONMENT), "execve", command[0]);
}

/* One call for the new process and all its namespaces, and in version 2 for its cgroup too.
 * Returns twice, as fork does. */
static pid_t clone_all(void) {
    struct clone_args args = {.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET, .exit_signal = SIGCHLD};
    if (v2) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = must(open(cgroup(".", ""), O_PATH | O_DIRECTORY | O_CLOEXEC), "open", cgroup(".", ""));
    }
    return must(syscall(SYS_clone3, &args, sizeof args), "clone3", "six namespaces");
}

int main(int argc, char **argv) {
    int status, procs = argc > 1 && !strcmp(argv[1], "--procs");
    argv += procs;
    if (argc - procs < 4) {
        dprintf(2, "usage: floor [--procs] LOWER STATE COMMAND [ARG...]\n");
        return 125;
    }
    /* Ctrl-C in a benchmark must not leave a cgroup behind; one run is over in milliseconds. */
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    host = getpid();
    v2 = access(CGROUPS "/cgroup.controllers", F_OK) == 0;
    tasks = procs ? "cgroup.procs" : "tasks";
    snprintf(state, sizeof state, "%s/%d", argv[2], host);
    make_directories();
    make_cgroups();

    pid_t child = clone_all();
    if (child == 0) {
        sigprocmask(SIG_UNBLOCK, &all, NULL);
        become_container(argv[1], argv + 3);
    }
    must(waitpid(child, &status, 0), "waitpid", "the container");
    remove_all();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
