// In a container: waits for processes of rubber's own that can be seen in here, holds each up again and again on its
// way to being the command, and tries what can be had of it. They are known by a word in their command line, which
// execve(2) replaces: so what is told was had before it.
//
// newcomer WORD REST SECRET REST: one line for each process and thing, "PROCESS: THING"; the secret is looked for in their
// memory. Each in two halves, so that who starts this is not taken for one of them.

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char word[256], secret[256];

static ssize_t read_whole(int pid, const char *name, char *to, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY);
    if (fd < 0) return -1;
    ssize_t all = 0, part;
    while ((part = read(fd, to + all, size - 1 - all)) > 0) all += part;
    close(fd);
    to[all] = 0;
    return all;
}

static int is_rubber(int pid) {
    static char line[65536];
    ssize_t length = read_whole(pid, "cmdline", line, sizeof line);
    return length > 0 && memmem(line, length, word, strlen(word));
}

// Told once, and only if it was not the command by then.
static void got(int pid, const char *thing) {
    static char told[1 << 20];
    static size_t length;
    char line[1024], name[64] = "";
    if (!is_rubber(pid)) return;
    read_whole(pid, "comm", name, sizeof name);
    name[strcspn(name, "\n")] = 0;
    snprintf(line, sizeof line, "%d %s: %s\n", pid, name, thing);
    if (strstr(told, line) || length + strlen(line) + 1 > sizeof told) return;
    length += sprintf(told + length, "%s", line);
    write(1, line, strlen(line));
}

static void try_name(int pid, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return;
    char bytes[1];
    if (strcmp(name, "environ") || read(fd, bytes, 1) > 0) got(pid, name);
    close(fd);
}

// What each leads to is told as well, and whose it is where that can be seen.
static void try_descriptors(int pid) {
    char path[64], link[256], thing[600];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *all = opendir(path);
    if (!all) return;
    struct dirent *one;
    while ((one = readdir(all))) {
        if (one->d_name[0] == '.') continue;
        ssize_t length = readlinkat(dirfd(all), one->d_name, link, sizeof link - 1);
        if (length < 0) continue;
        link[length] = 0;
        struct stat about;
        int is_directory = !fstatat(dirfd(all), one->d_name, &about, 0) && S_ISDIR(about.st_mode);
        snprintf(thing, sizeof thing, "fd %s %s%s", one->d_name, is_directory ? "directory " : "", link);
        got(pid, thing);
    }
    closedir(all);
}

static void try_memory(int pid) {
    static char maps[1 << 18], bytes[1 << 22];
    char path[64];
    if (read_whole(pid, "maps", maps, sizeof maps) <= 0) return;
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_RDONLY);
    if (fd < 0) return;
    got(pid, "mem");
    for (char *line = maps; line && *line; line = (line = strchr(line, '\n')) ? line + 1 : NULL) {
        unsigned long start, end;
        char rights[5];
        if (sscanf(line, "%lx-%lx %4s", &start, &end, rights) != 3 || rights[1] != 'w') continue;
        for (; start < end; start += sizeof bytes) {
            size_t size = end - start < sizeof bytes ? end - start : sizeof bytes;
            ssize_t length = pread(fd, bytes, size, start);
            if (length > 0 && memmem(bytes, length, secret, strlen(secret))) got(pid, "the caller's secret");
        }
    }
    close(fd);
}

static unsigned long long power(int pid, const char *name) {
    static char status[65536];
    char *field = read_whole(pid, "status", status, sizeof status) > 0 ? strstr(status, name) : NULL;
    return field ? strtoull(field + strlen(name), NULL, 16) : 0;
}

static void try_power(int pid) {
    char thing[64];
    snprintf(thing, sizeof thing, "power %llx", power(pid, "CapPrm:\t"));
    got(pid, thing);
}

static void try_trace(int pid) {
    if (ptrace(PTRACE_SEIZE, pid, 0, 0)) return;
    got(pid, "ptrace");
    ptrace(PTRACE_INTERRUPT, pid, 0, 0);
    waitpid(pid, NULL, __WALL);
    ptrace(PTRACE_DETACH, pid, 0, SIGCONT);
}

static void try_all(int pid, int turn) {
    try_name(pid, "root");
    try_name(pid, "cwd");
    try_name(pid, "exe");
    try_name(pid, "environ");
    try_descriptors(pid);
    try_memory(pid);
    try_power(pid);
    if (turn % 8 == 7) try_trace(pid);
}

static int newest(void) {
    char text[128] = "";
    int fd = open("/proc/loadavg", O_RDONLY);
    read(fd, text, sizeof text - 1);
    close(fd);
    return atoi(strrchr(text, ' ') + 1);
}

static void go_on(int pid, long nanoseconds) {
    struct timespec begin, now;
    kill(pid, SIGCONT);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - begin.tv_sec) * 1000000000 + now.tv_nsec - begin.tv_nsec < nanoseconds);
    kill(pid, SIGSTOP);
}

// One that was forked is held still, looked at, and goes on but a little way at a time: least of all when it may do no
// more than we do, as from then on it could be looked into (ptrace(2)).
static void step(int pid, int turn, unsigned long long own) {
    char name[64] = "";
    read_whole(pid, "comm", name, sizeof name);
    int is_forked = pid != 1 && strchr(name, ':');
    if (is_forked) kill(pid, SIGSTOP);
    int is_above = power(pid, "CapPrm:\t") & ~own && !(own >> 19 & 1);
    if (!is_above || turn % 8 == 0) try_all(pid, turn);
    if (is_forked) go_on(pid, (is_above ? 50000 : 15000) + rand() % 20000);
}

int main(int count, char **words) {
    if (count != 5) return 2;
    snprintf(word, sizeof word, "%s%s", words[1], words[2]);
    snprintf(secret, sizeof secret, "%s%s", words[3], words[4]);
    unsigned long long own = power(getpid(), "CapPrm:\t");
    int met[256], number = 0, last = 0;
    write(1, "ready\n", 6);
    for (int turn = 0;; turn++) {
        for (int now = newest(); last != now && number < 256;) {
            last = last > now ? 1 : last + 1;
            if (!is_rubber(last)) continue;
            met[number++] = last;
            got(last, "met");
        }
        for (int n = 0; n < number; n++) {
            if (is_rubber(met[n])) step(met[n], turn, own);
            else kill(met[n], SIGCONT), met[n--] = met[--number];
        }
    }
}
