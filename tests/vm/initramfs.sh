#!/bin/busybox sh
# The guest's first program: turns a bare kernel into the machine that the head of `run` describes,
# below /root, and goes on there with init.sh. All of it is done from the initramfs, because a program
# of busybox in memory starts ten times faster under emulation than one that comes over 9p.
export PATH=/bin
/bin/busybox --install -s /bin

main() {
    mount -t proc proc /proc
    mount -t devtmpfs dev /dev
    for module in /modules/*; do
        insmod "$module"
    done
    . /vm/config
    mount_root
    mount_kernel_filesystems
    mount_memory
    show_again
    provide_modules
    make_learner
    if [ "$systemd" ]; then write_units; else make_cgroups; fi
    [ -z "$systemd" ] || [ "$user" = root ] || write_units_of_user
    hostname vm
    ip link set lo up
    umount /proc /dev
    [ -z "$systemd" ] || exec switch_root /root "$systemd" --unit=rubber-vm.service --log-target=kmsg
    exec switch_root /root /run/vm/busybox sh /run/vm/init.sh
}

# cache=loose: the guest trusts what it has read. The machine's files do not change while tests run, and
# asking again for each one would make every start of a program many times slower.
mount_root() {
    mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose,access=any host /host
    mount -t tmpfs -o mode=755 memory /memory
    mkdir /memory/upper /memory/work
    mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work root /root
}

mount_kernel_filesystems() {
    mount -t proc -o nosuid,nodev,noexec proc /root/proc
    mount -t sysfs -o nosuid,nodev,noexec sysfs /root/sys
    [ ! -d /root/sys/fs/selinux ] || mount -t selinuxfs selinuxfs /root/sys/fs/selinux
    mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate cgroup2 /root/sys/fs/cgroup
    mount -t devtmpfs -o nosuid,mode=755 dev /root/dev
    cd /root/dev
    mkdir -p pts shm net
    mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts pts
    mount -t tmpfs -o nosuid,nodev shm shm
    # What udev would make. The modules behind tun and fuse are loaded when they are opened.
    ln -s /proc/self/fd fd
    ln -s fd/0 stdin
    ln -s fd/1 stdout
    ln -s fd/2 stderr
    [ -e net/tun ] || mknod -m 666 net/tun c 10 200
    [ -e fuse ] || mknod fuse c 10 229
    chmod 666 fuse
    cd /
}

mount_memory() {
    mount -t tmpfs -o nosuid,nodev,mode=755 run /root/run
    mount -t tmpfs -o nosuid,nodev,mode=1777 tmp /root/tmp
    mkdir -p /root/var/lib/rubber /root/home/learner
    mount -t tmpfs -o nosuid,nodev,mode=700 store /root/var/lib/rubber
    mount -t tmpfs -o nosuid,nodev,mode=750,uid=1000,gid=1000 home /root/home/learner
    mkdir -p /root/run/lock /root/run/user
    # The guest's own things: /run/vm is there before the command, and is all that this adds to a
    # machine. Busybox is copied because / may be slow, and is not this project's to rely on.
    cp -r /vm /root/run/vm
    cp /bin/busybox /root/run/vm/busybox
}

# /tmp/wanted/by/the/command, which a tmpfs now hides, comes back as /tmp/wanted.
show_again() {
    mount --bind /root /below # without what is mounted on it
    while IFS= read -r path; do
        top=$(echo "$path" | cut -d/ -f1-3)
        [ -e "/below$top" ] && [ ! -e "/root$top" ] || continue
        if [ -d "/below$top" ]; then mkdir "/root$top"; else : >"/root$top"; fi
        mount --bind "/below$top" "/root$top"
    done </vm/show
    umount /below
}

# The kernel asks for a module by running a program, and busybox is sure to be there.
provide_modules() {
    version=$(uname -r)
    mkdir -p "/root/lib/modules/$version"
    mount --bind "/root$modules" "/root/lib/modules/$version"
    ln -s busybox /root/run/vm/modprobe
    echo /run/vm/modprobe >/proc/sys/kernel/modprobe
}

# This machine may have a user with the uid 1000: in the guest that is learner's.
make_learner() {
    cd /root/etc
    sed -i -E '/^(learner:|[^:]*:[^:]*:1000:)/d' passwd group
    sed -i '/^learner:/d' shadow subuid subgid
    echo 'learner:x:1000:1000::/home/learner:/bin/bash' >>passwd
    echo 'learner:x:1000:' >>group
    echo 'learner:*:19000:0:99999:7:::' >>shadow
    echo 'learner:100000:65536' >>subuid
    echo 'learner:100000:65536' >>subgid
    cd /
}

# As systemd would leave it: pid 1 and the command are not in the root of the tree but have a cgroup
# each, an ordinary user's below one that is delegated, and controllers are handed down one level.
make_cgroups() {
    cd /root/sys/fs/cgroup
    mkdir init
    echo 1 >init/cgroup.procs
    for controller in cpu memory pids io; do echo "+$controller" >cgroup.subtree_control; done
    if [ "$user" = root ]; then
        mkdir session
    else
        echo +cpuset >cgroup.subtree_control
        mkdir -p "$user/session"
        id=$(awk -F: -v user="$user" '$1 == user { print $3 ":" $4 }' /root/etc/passwd)
        for delegated in "$user" "$user/session"; do
            cd "$delegated"
            chown "$id" . cgroup.procs cgroup.threads cgroup.subtree_control
            cd /root/sys/fs/cgroup
        done
    fi
    cd /
}

# The few units there are. Those of a Debian would start udev, a journal and more, which takes a minute here; the bus
# has to have its usual names, or systemd does not look for it.
write_units() {
    mkdir -p /root/run/systemd/system /root/run/dbus
    cd /root/run/systemd/system
    cat >rubber-vm.service <<'END'
[Unit]
DefaultDependencies=no
Requires=dbus.service
After=dbus.service
[Service]
ExecStart=/run/vm/busybox sh /run/vm/init.sh
Delegate=yes
END
    cat >dbus.socket <<'END'
[Unit]
DefaultDependencies=no
[Socket]
ListenStream=/run/dbus/system_bus_socket
END
    cat >dbus.service <<'END'
[Unit]
DefaultDependencies=no
Requires=dbus.socket
[Service]
Type=notify
NotifyAccess=main
ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation
END
    cd /
}

# A systemd of the user's own, as a login would start it: what it has of the tree, Debian's user@.service says.
write_units_of_user() {
    id=$(awk -F: -v user="$user" '$1 == user { print $3 }' /root/etc/passwd)
    mkdir -p /root/run/systemd/user /root/run/user
    mkdir -m 700 "/root/run/user/$id"
    chown "$id" "/root/run/user/$id"
    cd /root/run/systemd/system
    cat >user@.service <<END
[Unit]
DefaultDependencies=no
Requires=dbus.service
After=dbus.service
[Service]
Type=notify
User=%i
Slice=user-%i.slice
Environment=XDG_RUNTIME_DIR=/run/user/%i
ExecStart=$systemd --user
Delegate=pids memory cpu
END
    mkdir rubber-vm.service.d
    printf '[Unit]\nRequires=user@%s.service\nAfter=user@%s.service\n' "$id" "$id" >rubber-vm.service.d/user.conf
    cd /root/run/systemd/user
    printf '[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n' >default.target
    printf '[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=%%t/bus\n' >dbus.socket
    sed 's/--system /--session /' /root/run/systemd/system/dbus.service >dbus.service
    cd /
}

main
