# The guest's pid 1: runs the command, reports its exit code, stops the machine. It runs in busybox's
# shell, which is in memory; /usr/bin/... is spelled out where the machine's own program is meant.
PATH=/run/vm/bin
here=/run/vm

main() {
    mkdir $here/bin
    $here/busybox --install -s $here/bin
    . $here/config
    mount --make-rshared /
    find_user
    mkfifo -m 600 $here/out
    chown "$user" $here/out
    cat $here/out >"$(port out)" &
    output=$!
    echo started >"$(port status)"
    # Not the port itself: only one may have it open, and then `echo >/dev/stderr` would fail.
    start </dev/null >$here/out 2>&1 &
    wait $!
    code=$?
    stop_the_rest
    wait_for_output
    stop $code
}

find_user() {
    session=/sys/fs/cgroup/session home=/root runtime=''
    [ "$user" = root ] || session=/sys/fs/cgroup/$user/session
    [ -z "$systemd" ] || session=/sys/fs/cgroup/system.slice/rubber-vm.service
    [ "$user" != root ] || return
    home=$(awk -F: -v user="$user" '$1 == user { print $6 }' /etc/passwd)
    [ -n "$home" ] || give_up "no user $user in the guest; there is root, learner, and who is in /etc/passwd"
    runtime=/run/user/$(id -u "$user")
    [ -d "$runtime" ] || mkdir -m 700 "$runtime"
    chown "$user" "$runtime"
}

# port NAME: the device of the serial port that qemu was given under this name, once it is there.
port() {
    while true; do
        for name in /sys/class/virtio-ports/*/name; do
            directory=${name%/name}
            [ "$(cat "$name" 2>/dev/null)" = "$1" ] && [ -e "/dev/${directory##*/}" ] && echo "/dev/${directory##*/}" && return
        done
        sleep 0.1
    done
}

# The job is one `exec` line, written by `run`.
start() {
    echo 0 >"$session/cgroup.procs"
    . $here/job
}

# What the command left running would keep its output open.
stop_the_rest() {
    [ -z "$systemd" ] || return
    for group in /sys/fs/cgroup/*/; do
        [ "$group" = /sys/fs/cgroup/init/ ] || echo 1 >"$group/cgroup.kill"
    done
}

wait_for_output() {
    for _ in $(seq 50); do
        kill -0 $output 2>/dev/null || return
        sleep 0.1
    done
}

give_up() {
    echo "failed: $*" >"$(port status)"
    reboot -f
}

stop() {
    echo "$1" >"$(port status)"
    reboot -f
}

main
