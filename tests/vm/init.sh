#!/bin/bash
# The guest's pid 1: makes the machine that the head of `run` describes, runs the command, reports its
# exit code and stops. bash, because pid 1 must reap whatever is orphaned, and bash does so unasked.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
run=$1
user=root modules='' busybox=''

main() {
    . "$run/config"
    mount_kernel_filesystems
    keep_what_tmpfs_will_hide
    mount_memory
    show_again
    configure_machine
    make_learner
    id -u "$user" >/dev/null 2>&1 || stop_with "no user $user in the guest; there is root, learner, and who is in /etc/passwd"
    make_cgroups
    run_command
}

mount_kernel_filesystems() {
    mount -t proc -o nosuid,nodev,noexec proc /proc
    mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
    mount -t devtmpfs -o nosuid,mode=755 dev /dev
    mkdir -p /dev/pts /dev/shm /dev/net
    mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
    mount -t tmpfs -o nosuid,nodev shm /dev/shm
    mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate cgroup2 /sys/fs/cgroup
    # What udev would make; the modules behind these two are loaded when they are opened.
    ln -sfn /proc/self/fd /dev/fd
    for name in stdin:0 stdout:1 stderr:2; do ln -sfn "/proc/self/fd/${name#*:}" "/dev/${name%:*}"; done
    [ -e /dev/net/tun ] || mknod -m 666 /dev/net/tun c 10 200
    [ -e /dev/fuse ] || mknod -m 666 /dev/fuse c 10 229
}

# The guest keeps its own things in /run/vm, and for a moment the root as it is below all mounts.
keep_what_tmpfs_will_hide() {
    cp "$run/job" "$run/show" /root/ # on the overlay, so in memory
    mkdir -p /.below
    mount --bind / /.below
}

mount_memory() {
    mount -t tmpfs -o nosuid,nodev,mode=755 run /run
    mount -t tmpfs -o nosuid,nodev,mode=1777 tmp /tmp
    mkdir -p /var/lib/rubber /home/learner /run/vm /run/lock
    mount -t tmpfs -o mode=700 store /var/lib/rubber
    mount -t tmpfs -o nosuid,nodev,mode=750,uid=1000,gid=1000 home /home/learner
    mv /root/job /root/show /run/vm/
    chmod 755 /run/vm/job
}

# /tmp/wanted/by/the/command comes back as /tmp/wanted.
show_again() {
    local path top
    while IFS= read -r path; do
        top=$(echo "$path" | cut -d/ -f1-3)
        [ -e "/.below$top" ] && [ ! -e "$top" ] || continue
        if [ -d "/.below$top" ]; then mkdir "$top"; else : >"$top"; fi
        mount --bind "/.below$top" "$top"
    done </run/vm/show
    umount /.below
    rmdir /.below
}

configure_machine() {
    local version
    version=$(uname -r)
    hostname vm
    ip link set lo up 2>/dev/null || "$busybox" ip link set lo up
    # The kernel asks for modules by this program, and busybox is sure to be there.
    mkdir -p "/lib/modules/$version"
    mount --bind "$modules" "/lib/modules/$version"
    ln -s "$busybox" /run/vm/modprobe
    echo /run/vm/modprobe >/proc/sys/kernel/modprobe
    mount --make-rshared /
}

# This machine may have a user with the uid 1000: in the guest that is learner's.
make_learner() {
    sed -i -E '/^(learner:|[^:]*:[^:]*:1000:)/d' /etc/passwd /etc/group
    sed -i '/^learner:/d' /etc/shadow /etc/subuid /etc/subgid
    echo 'learner:x:1000:1000::/home/learner:/bin/bash' >>/etc/passwd
    echo 'learner:x:1000:' >>/etc/group
    echo 'learner:*:19000:0:99999:7:::' >>/etc/shadow
    echo 'learner:100000:65536' | tee -a /etc/subuid >>/etc/subgid
}

# As systemd would leave it: nothing runs in the root of the tree, and what runs elsewhere has its own.
make_cgroups() {
    local root=/sys/fs/cgroup controllers='+cpu +memory +pids +io' control
    mkdir "$root/init" "$root/session"
    echo 1 >"$root/init/cgroup.procs"
    session=$root/session
    if [ "$user" != root ]; then
        controllers+=' +cpuset'
        rmdir "$session"
        session=$root/$user/session
        mkdir -p "$session"
        for control in cgroup.procs cgroup.threads cgroup.subtree_control; do
            chown "$user:" "$root/$user" "$root/$user/$control" "$session" "$session/$control"
        done
    fi
    for control in $controllers; do
        echo "$control" >"$root/cgroup.subtree_control"
    done
}

# Standard output is a fifo that belongs to the user, and not the port itself: only one may have that
# open, and then `echo >/dev/stderr` would fail in here and nowhere else.
run_command() {
    local home uid out code
    uid=$(id -u "$user")
    home=$(getent passwd "$user" | cut -d: -f6)
    environment=("PATH=$PATH" "HOME=$home")
    if [ "$uid" != 0 ]; then
        mkdir -p "/run/user/$uid"
        chmod 700 "/run/user/$uid"
        chown "$user:" "/run/user/$uid"
        environment+=("XDG_RUNTIME_DIR=/run/user/$uid")
    fi
    mkfifo -m 600 /run/vm/out
    chown "$user:" /run/vm/out
    cat /run/vm/out >"$(port out)" &
    out=$!
    echo started >"$(port status)"
    start </dev/null >/run/vm/out 2>&1 &
    wait $!
    code=$?
    stop_the_rest
    for _ in $(seq 50); do kill -0 "$out" 2>/dev/null && sleep 0.1; done
    stop "$code"
}

# port NAME: the device of the serial port that qemu was given under this name.
port() {
    local name
    for name in /sys/class/virtio-ports/*/name; do
        [ "$(cat "$name")" != "$1" ] || echo "/dev/$(basename "$(dirname "$name")")"
    done
}

start() {
    echo "$BASHPID" >"$session/cgroup.procs"
    if [ "$user" = root ]; then exec env -i "${environment[@]}" bash /run/vm/job; fi
    exec setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups env -i "${environment[@]}" bash /run/vm/job
}

# What the command left running would keep its output open.
stop_the_rest() {
    local cgroup
    for cgroup in /sys/fs/cgroup/*/cgroup.kill; do
        [ "$cgroup" = /sys/fs/cgroup/init/cgroup.kill ] || echo 1 >"$cgroup"
    done
}

stop_with() {
    echo "tests/vm/run: $*" >"$(port out)"
    stop 125
}

stop() {
    echo "$1" >"$(port status)"
    "$busybox" reboot -f
}

main
