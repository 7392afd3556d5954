#!/bin/busybox sh
# The guest's first program: reaches the machine's root over 9p, puts an overlay in memory on top, and
# goes on there with init.sh. It runs in an initramfs that holds only busybox and a few modules.
export PATH=/bin
/bin/busybox --install -s /bin

mount -t proc proc /proc
mount -t devtmpfs dev /dev
# A module that this kernel has built in has no file, and none is needed.
for module in virtio_pci virtio_console 9pnet_virtio 9p overlay; do
    modprobe $module 2>/dev/null
done

for word in $(cat /proc/cmdline); do
    case $word in
        vm.here=*) here=${word#vm.here=} ;;
        vm.run=*) run=${word#vm.run=} ;;
    esac
done

# cache=loose: the guest trusts what it has read. The machine's files do not change while tests run, and
# asking again for each one would make every start of a program many times slower.
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=1048576,cache=loose,access=any host /host
mount -t tmpfs -o mode=755 memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work root /root

umount /proc /dev
exec switch_root /root /bin/bash "$here/init.sh" "$run"
