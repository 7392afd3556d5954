// Two processes of two containers that share /shared. One hands its root over and ends; the other renames directories
// in there while the first one's rubber removes them.
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DEEP "d1/d2/d3/d4"
#define FILES 10000

static struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/shared/socket"};

static void say(const char *text) {
    int fd = open("/shared/said.new", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) < 0 || rename("/shared/said.new", "/shared/said") < 0)
        err(1, "say");
    close(fd);
}

static void make(int root) {
    char name[64];
    for (const char *dir = DEEP; dir; dir = strchr(dir + 1, '/')) {
        const char *end = strchr(dir + 1, '/');
        snprintf(name, sizeof name, "%.*s", (int)(end ? end - DEEP : (long)strlen(DEEP)), DEEP);
        if (mkdirat(root, name, 0755) < 0 && errno != EEXIST)
            err(1, "mkdir %s", name);
    }
    for (int n = 0; n < FILES; n++) {
        snprintf(name, sizeof name, DEEP "/%d", n);
        int fd = openat(root, name, O_WRONLY | O_CREAT, 0600);
        if (fd < 0)
            err(1, "%s", name);
        close(fd);
    }
}

static int give(void) {
    int root = open("/", O_RDONLY | O_DIRECTORY), to = socket(AF_UNIX, SOCK_STREAM, 0);
    make(root);
    while (connect(to, (struct sockaddr *)&address, sizeof address) < 0)
        usleep(1000);
    char byte = 0, room[CMSG_SPACE(sizeof root)] = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof root);
    memcpy(CMSG_DATA(header), &root, sizeof root);
    if (sendmsg(to, &message, 0) != 1)
        err(1, "sendmsg");
    return read(to, &byte, 1) != 1; // until the other one has it
}

static int taken(void) {
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), root;
    unlink(address.sun_path);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1) < 0)
        err(1, "listen");
    say("listening");
    int from = accept(listener, 0, 0);
    char byte, room[CMSG_SPACE(sizeof root)];
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    if (recvmsg(from, &message, 0) != 1)
        err(1, "recvmsg");
    memcpy(&root, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof root);
    struct stat before, now;
    int deep = openat(root, DEEP, O_RDONLY | O_DIRECTORY);
    fstat(deep, &before);
    if (write(from, &byte, 1) != 1)
        err(1, "write");
    // Its time changes when the first file goes.
    do
        fstat(deep, &now);
    while (!memcmp(&before.st_mtim, &now.st_mtim, sizeof now.st_mtim));
    return root;
}

static void rename_away(int root) {
    DIR *deep = fdopendir(openat(root, DEEP, O_RDONLY | O_DIRECTORY));
    int is_full = deep && readdir(deep) && readdir(deep) && readdir(deep);
    int done = renameat(root, DEEP, root, "away");
    say(is_full && done == 0 ? "in time" : "too late");
}

int main(int count, char **words) {
    if (count == 2 && !strcmp(words[1], "give"))
        return give();
    rename_away(taken());
    for (;;)
        pause();
}
