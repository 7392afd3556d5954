//! containerd's plugin for Kubernetes (the CRI) as it comes from Debian, with rubber in runc's place: a table of what a
//! kubelet does with it. The kubelet is ours and small: cri.py.
//!
//! It runs where `containerd` does, and in a network namespace of its own as well: the pods' bridge is in there.

use crate::{
    containerd::{Ground, Kind},
    lab,
    table::{Case, Runtime, part, try_all},
};
use std::{fs, path::Path, process::Output};

/// What is done, in Python, and what it prints: all of cri.py is there. `pod` makes a pod, `up` a container in it (in a
/// pod of its own if none is named), `say` is all it writes until its end, `probe` a command in it as probes do it, and
/// `seen` what that writes.
#[rustfmt::skip]
pub const CASES: &[Case] = &[
    ("the version", "print(call('Version').runtime_name, call('Version').runtime_api_version)", "containerd v1"),
    ("it is ready, and so is its network", "print(*[(it.type, it.status) for it in call('Status').status.conditions])", "('RuntimeReady', True) ('NetworkReady', True)"),
    ("a pod", "p = pod(); it = call('PodSandboxStatus', pod_sandbox_id=p).status; print(it.state == READY, it.runtime_handler == HANDLER, it.metadata.namespace)", "True True default"),
    ("its processes are the runtime's that was asked for", "c = up(); print(c in sh(f'$D/rubber-oci --root /run/containerd/runc/k8s.io list -q').split())", "True"),
    ("a runtime that is not there", "HANDLER = 'nope'\ntry: pod()\nexcept grpc.RpcError as error: print('no runtime for \"nope\"' in error.details())", "True"),
    ("a pod's labels and annotations", "p = pod(labels=pairs(a='b'), annotations=pairs(c='d')); it = call('PodSandboxStatus', pod_sandbox_id=p).status; print(values(it.labels), values(it.annotations)); print(len(call('ListPodSandbox', filter=dict(id=p, label_selector=pairs(a='b'))).items))", "{'a': 'b'} {'c': 'd'}\n1"),
    ("a hostname", "print(say('hostname; cat /etc/hostname', pod(hostname='web-1')))", "web-1\nweb-1"),
    ("names of the cluster's", "print(say('cat /etc/resolv.conf', pod(dns_config=dict(servers=['10.0.0.10'], searches=['svc.local'], options=['ndots:5']))))", "search svc.local\nnameserver 10.0.0.10\noptions ndots:5"),
    ("an address", "p = pod(); ip = call('PodSandboxStatus', pod_sandbox_id=p).status.network.ip; print(ip in say('ip -o -4 addr show eth0', p), ip.startswith('10.123.'))", "True True"),
    ("parameters of its network and its queues", "print(say('cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax', pod(sysctls=pairs(net__ipv4__ip_unprivileged_port_start='7', kernel__msgmax='4321'))))", "7\n4321"),
    ("a pod that reaches another", "one = pod(); c = up('mkdir /w; echo reached >/w/f; httpd -f -p 80 -h /w', one); ip = call('PodSandboxStatus', pod_sandbox_id=one).status.network.ip; print(say(f'until wget -qO- http://{ip}/f 2>/dev/null; do sleep 0.1; done'))", "reached"),
    ("two containers that share network, queues and name", "p = pod(); a = up(pod=p); b = up(pod=p); print(*[seen(a, f'readlink /proc/self/ns/{name}') == seen(b, f'readlink /proc/self/ns/{name}') for name in ('net', 'ipc', 'uts', 'pid', 'mnt')])", "True True True False False"),
    ("two containers that speak by the loopback", "p = pod(); up('mkdir /w; echo near >/w/f; httpd -f -p 127.0.0.1:80 -h /w', pod=p); print(say('until wget -qO- http://127.0.0.1/f 2>/dev/null; do sleep 0.1; done', p))", "near"),
    ("shared memory of the pod's", "p = pod(); a = up('echo ours >/dev/shm/f; sleep 1000', p); until(lambda: seen(a, 'cat /dev/shm/f'), 'the file'); print(say('cat /dev/shm/f; stat -f -c %T /dev/shm', p))", "ours\ntmpfs"),
    ("pids of the pod's", "p = pod(pid=POD); up('sleep 4321', p); print(say('echo $(($$ > 1)); ps | grep -c \"[s]leep 4321\"', p))", "1\n1"),
    ("pids of its own", "print(say('echo $$'))", "1"),
    ("pids of another container's", "p = pod(); a = up('sleep 4321', p); print(say('ps | grep -c \"[s]leep 4321\"', p, pid=a))", "1"),
    ("the host's pids", "print(say('readlink /proc/self/ns/pid', pod(pid=NODE)) == os.readlink('/proc/self/ns/pid'))", "True"),
    ("the host's network", "p = pod(network=NODE); print(say('readlink /proc/self/ns/net', p) == os.readlink('/proc/self/ns/net'), call('PodSandboxStatus', pod_sandbox_id=p).status.network.ip)", "True"),
    ("the host's queues", "print(say('readlink /proc/self/ns/ipc', pod(ipc=NODE)) == os.readlink('/proc/self/ns/ipc'))", "True"),
    ("a pod's own security", "p = pod(security=dict(run_as_user=dict(value=1000), run_as_group=dict(value=1000), readonly_rootfs=True, seccomp=dict(profile_type=DEFAULT))); it = json.loads(values(call('PodSandboxStatus', pod_sandbox_id=p, verbose=True).info)['info'])['pid']; lines = open(f'/proc/{it}/status').read(); print(*[re.search(f'^{name}:\\s*(\\S.*?) *$', lines, re.M)[1] for name in ('Uid', 'Groups', 'Seccomp')])", "1000\t1000\t1000\t1000 1000 2"),
    ("states of a container", "c = made('sleep 0.5; exit 3'); print(status(c).state == CREATED); call('StartContainer', container_id=c); it = ended(c); print(it.exit_code, it.reason, 0 < it.created_at < it.started_at < it.finished_at)", "True\n3 Error True"),
    ("an end that is good", "it = ended(up('true')); print(it.exit_code, it.reason)", "0 Completed"),
    ("a signal's exit code", "it = ended(up('sh -c \"kill -TERM \\$\\$\"; exit $?')); print(it.exit_code)", "143"),
    ("no such command", "c = made(['nope']); print('executable file not found in $PATH' in refused('StartContainer', container_id=c)); it = status(c); print(it.state == EXITED, it.exit_code, it.reason)", "True\nTrue 128 StartError"),
    ("a command and its arguments", "print(say(['echo'], args=['a b', 'c']))", "a b c"),
    ("a log", "c = up('echo out; echo err >&2; echo again'); ended(c); print(log(c, 'stdout')); print(log(c, 'stderr'))", "out\nagain\nerr"),
    ("a line without an end in the log", "c = up('printf half'); ended(c); print(re.sub('^\\\\S+ ', '', open(dict(MADE)[c]).read().strip()))", "stdout P half"),
    ("a log that is moved", "c = up('while :; do echo tick; sleep 0.1; done'); file = dict(MADE)[c]; until(lambda: 'tick' in log(c), 'a line'); os.rename(file, file + '.1'); call('ReopenContainerLog', container_id=c); until(lambda: 'tick' in log(c), 'a line'); print('both')", "both"),
    ("the environment", "print(say('echo $COLOUR $A', envs=pairs(COLOUR='red', A='b c')))", "red b c"),
    ("a working directory", "print(say('pwd', working_dir='/home/guest'))", "/home/guest"),
    ("a terminal", "print(say('test -t 0 && test -t 1 && tty', tty=True))", "/dev/pts/0"),
    ("a user by number, with groups", "print(say('id -u; id -g; id -G', security=dict(run_as_user=dict(value=1234), run_as_group=dict(value=5678), supplemental_groups=[4321, 99])).split())", "['1234', '5678', '5678', '99', '4321']"),
    ("a user by name", "print(say('id -u; id -g', security=dict(run_as_username='guest')).split())", "['1000', '1000']"),
    ("the capabilities it gives", "print(say('grep CapEff /proc/self/status'))", "CapEff:\t00000000a80425fb"),
    ("capabilities more and less", "print(say('grep CapBnd /proc/self/status', security=dict(capabilities=dict(add_capabilities=['SYS_TIME'], drop_capabilities=['CHOWN']))))", "CapBnd:\t00000000aa0425fa"),
    ("no capabilities but one", "print(say('grep -E \"Cap(Bnd|Eff)\" /proc/self/status', security=dict(capabilities=dict(drop_capabilities=['ALL'], add_capabilities=['NET_BIND_SERVICE']))))", "CapEff:\t0000000000000400\nCapBnd:\t0000000000000400"),
    ("a user without capabilities", "print(say('grep -E \"Cap(Eff|Prm)\" /proc/self/status', security=dict(run_as_user=dict(value=1000))))", "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000"),
    ("no new privileges", "print(say('grep NoNewPrivs /proc/self/status', security=dict(no_new_privs=True)), say('grep NoNewPrivs /proc/self/status'))", "NoNewPrivs:\t1 NoNewPrivs:\t0"),
    ("all privileges", "print(say('grep CapEff /proc/self/status | cut -f2; test -w /proc/sys/kernel/panic && test -w /sys && grep Seccomp: /proc/self/status; mkdir /x && mount -t tmpfs x /x && echo mounted; test -c /dev/kmsg && echo devices', security=dict(privileged=True)) == re.search('CapBnd:\\s*(.*)', open('/proc/self/status').read())[1] + '\\nSeccomp:\\t0\\nmounted\\ndevices')", "True"),
    ("a read-only root", "print(say('touch /x 2>&1; touch /dev/shm/x && echo yes', security=dict(readonly_rootfs=True)))", "touch: /x: Read-only file system\nyes"),
    ("a filter of system calls", "print(say('grep Seccomp: /proc/self/status; unshare -n true 2>/dev/null || echo refused', security=dict(seccomp=dict(profile_type=DEFAULT))))", "Seccomp:\t2\nrefused"),
    ("no filter of system calls", "print(say('grep Seccomp: /proc/self/status', security=dict(seccomp=dict(profile_type=UNCONFINED))))", "Seccomp:\t0"),
    ("a filter of its own", "open(f'{T}/p', 'w').write('{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":13}]}'); print(say('mkdir /x 2>&1', security=dict(seccomp=dict(profile_type=LOCALHOST, localhost_ref=f'{T}/p'))))", "mkdir: can't create directory '/x': Permission denied"),
    ("what is masked and what is read-only", "print(say('wc -c </proc/keys; ls /sys/firmware | wc -l; echo 1 2>/dev/null >/proc/sys/kernel/panic || echo no', security=dict(masked_paths=['/proc/keys', '/sys/firmware'], readonly_paths=['/proc/sys'])).split())", "['0', '0', 'no']"),
    ("a volume", "open(f'{T}/f', 'w').write('theirs\\n'); print(say('cat /data/f; echo ours >/data/g', mounts=[dict(container_path='/data', host_path=T)])); print(open(f'{T}/g').read())", "theirs\nours"),
    ("a read-only volume", "print(say('touch /data/x 2>&1', mounts=[dict(container_path='/data', host_path=T, readonly=True)]))", "touch: /data/x: Read-only file system"),
    ("a volume that is a file", "open(f'{T}/f', 'w').write('one\\n'); print(say('cat /etc/one', mounts=[dict(container_path='/etc/one', host_path=f'{T}/f')]))", "one"),
    ("a volume that comes from the host later", "sh(f'mkdir {T}/v && mount --bind {T}/v {T}/v && mount --make-shared {T}/v && mkdir {T}/v/x'); c = up(mounts=[dict(container_path='/data', host_path=f'{T}/v', propagation=HOST_TO_CONTAINER)]); sh(f'mount -t tmpfs late {T}/v/x && echo came >{T}/v/x/f'); print(seen(c, 'cat /data/x/f')); sh(f'umount {T}/v/x'); print(seen(c, 'ls /data/x | wc -l')); sh(f'umount -l {T}/v')", "came\n0"),
    ("a volume that goes to the host", "sh(f'mkdir {T}/v && mount --bind {T}/v {T}/v && mount --make-shared {T}/v && mkdir {T}/v/x'); c = up(security=dict(privileged=True), mounts=[dict(container_path='/data', host_path=f'{T}/v', propagation=BIDIRECTIONAL)]); print(probe(c, 'mount -t tmpfs mine /data/x && echo went >/data/x/f').exit_code); print(open(f'{T}/v/x/f').read().strip()); sh(f'umount {T}/v/x; umount -l {T}/v')", "0\nwent"),
    ("a volume that stays private", "sh(f'mkdir {T}/v && mount --bind {T}/v {T}/v && mount --make-shared {T}/v && mkdir {T}/v/x'); c = up(mounts=[dict(container_path='/data', host_path=f'{T}/v', propagation=PRIVATE)]); sh(f'mount -t tmpfs late {T}/v/x && touch {T}/v/x/f'); print(seen(c, 'ls /data/x | wc -l')); sh(f'umount {T}/v/x; umount -l {T}/v')", "0"),
    ("a device", "print(say('echo x >/dev/hole && ls -l /dev/hole | cut -c1-10', devices=[dict(container_path='/dev/hole', host_path='/dev/null', permissions='rwm')]))", "crw-rw-rw-"),
    ("a device that can only be read", "sh(f'mknod {T}/naught c 1 12'); print(say('(exec 3</dev/naught) 2>&1; (exec 3>/dev/naught) 2>&1', devices=[dict(container_path='/dev/naught', host_path=f'{T}/naught', permissions='r')]))", "sh: can't open /dev/naught: No such device or address\nsh: can't create /dev/naught: Operation not permitted"),
    ("no other device", "print(say('mknod /disk b 1 0 && (exec 3</disk) 2>&1 | grep -o \"not permitted\"'))", "not permitted"),
    ("a memory limit", "print(limit(up(limits=dict(memory_limit_in_bytes=64 << 20)), 'memory.limit_in_bytes', 'memory.max'))", "67108864"),
    ("a share of the CPU", "print(limit(up(limits=dict(cpu_shares=512)), 'cpu.shares', 'cpu.weight').replace('20', '512'))", "512"),
    ("a quota of the CPU", "print(limit(up(limits=dict(cpu_period=100000, cpu_quota=50000)), 'cpu.cfs_quota_us', 'cpu.max').split()[0])", "50000"),
    ("one CPU", "print(say('grep Cpus_allowed_list /proc/self/status', limits=dict(cpuset_cpus='0')))", "Cpus_allowed_list:\t0"),
    ("how soon it is killed", "print(say('cat /proc/self/oom_score_adj', limits=dict(oom_score_adj=987)))", "987"),
    ("changed limits", "c = up(limits=dict(memory_limit_in_bytes=64 << 20)); call('UpdateContainerResources', container_id=c, linux=dict(memory_limit_in_bytes=128 << 20, cpu_period=100000, cpu_quota=30000, cpu_shares=512)); print(limit(c, 'memory.limit_in_bytes', 'memory.max'), limit(c, 'cpu.cfs_quota_us', 'cpu.max').split()[0], limit(c, 'cpu.shares', 'cpu.weight').replace('20', '512'))", "134217728 30000 512"),
    ("changed limits before the start", "c = made('sleep 1000'); call('UpdateContainerResources', container_id=c, linux=dict(memory_limit_in_bytes=128 << 20)); call('StartContainer', container_id=c); print(limit(c, 'memory.limit_in_bytes', 'memory.max'))", "134217728"),
    ("too little memory", "it = ended(up('a=aaaaaaaaaaaaaaaa; while :; do a=$a$a; done', limits=dict(memory_limit_in_bytes=16 << 20))); print(it.exit_code, it.reason)", "137 OOMKilled"),
    ("its cgroup in the pod's", "c = up(); print(all(line.split(':')[2] in ('/', f'{GROUP}/{c}') for line in open(f\"/proc/{json.loads(values(call('ContainerStatus', container_id=c, verbose=True).info)['info'])['pid']}/cgroup\").read().split('\\n') if re.search(':(memory|pids|cpu|freezer)?:', line)))", "True"),
    ("a probe", "c = up(); it = probe(c, 'echo out; echo err >&2; exit 3'); print(it.stdout, it.stderr, it.exit_code)", "b'out\\n' b'err\\n' 3"),
    ("twenty probes, five at a time", "from concurrent.futures import ThreadPoolExecutor; c = up(); print(sum(int(it.stdout) for it in ThreadPoolExecutor(5).map(lambda number: probe(c, f'echo {number}'), range(20))), seen(c, 'ps | grep -c \"[e]cho\"'))", "190 0"),
    ("a probe that takes too long", "c = up(); print('timeout 1s exceeded' in refused('ExecSync', container_id=c, cmd=['sleep', '77'], timeout=1)); print(seen(c, 'ps | grep -c \"[s]leep 77\"'), status(c).state == RUNNING)", "True\n0 True"),
    ("a probe that is not there", "c = up(); print('executable file not found in $PATH' in refused('ExecSync', container_id=c, cmd=['nope']))", "True"),
    ("a probe's user, groups, directory and environment", "c = up(security=dict(run_as_user=dict(value=1000), supplemental_groups=[4321]), working_dir='/home', envs=pairs(A='b')); print(seen(c, 'id -u; id -G; pwd; echo $A').split())", "['1000', '1000', '4321', '/home', 'b']"),
    ("a probe has no more power", "c = up(security=dict(capabilities=dict(drop_capabilities=['ALL']), no_new_privs=True, seccomp=dict(profile_type=DEFAULT))); print(seen(c, 'grep -E \"CapEff|NoNew|Seccomp:\" /proc/self/status').split())", "['CapEff:', '0000000000000000', 'NoNewPrivs:', '1', 'Seccomp:', '2']"),
    ("another command as a stream", "c = up(); said = stream_of('Exec', c, 'echo out; echo err >&2; exit 3', stdout=True, stderr=True).all(); print(said[1], said[2], json.loads(said[3])['details']['causes'])", "b'out\\n' b'err\\n' [{'reason': 'ExitCode', 'message': '3'}]"),
    ("another command's stdin as a stream", "s = stream_of('Exec', up(), 'read a; echo heard $a', stdin=True, stdout=True, stderr=True); s.write(s.STDIN, b'typed\\n'); said = s.all(); print(said[1], json.loads(said[3])['status'])", "b'heard typed\\n' Success"),
    ("another command's terminal as a stream", "s = stream_of('Exec', up(), 'until test \"$(stty size 2>/dev/null)\" = \"33 99\"; do sleep 0.1; done; tty; stty size', stdin=True, stdout=True, tty=True); s.write(4, b'{\"Width\":99,\"Height\":33}'); print(s.all()[1].decode().split())", "['/dev/pts/0', '33', '99']"),
    ("attached to what runs", "c = up('while read a; do echo heard $a; done', stdin=True); s = stream_of('Attach', c, stdin=True, stdout=True, stderr=True); s.write(s.STDIN, b'typed\\n'); print(s.line()); until(lambda: log(c), 'a log'); print(log(c))", "heard typed\nheard typed"),
    ("a forwarded port", "p = pod(); c = up('while :; do nc -l -p 8080 -e sh -c \"read a; echo heard \\$a\"; done', p); until(lambda: seen(c, 'netstat -ltn | grep -c :8080') == '1', 'the port'); print(*forwarded(p, 8080, b'typed\\n'))", "heard typed"),
    ("a port where nobody listens", "print('refused' in forwarded(pod(), 8081, b'typed\\n')[1])", "True"),
    ("what it uses", "c = up('while :; do :; done'); time.sleep(0.5); it = call('ContainerStats', container_id=c).stats; print(it.cpu.usage_core_nano_seconds.value > 10**7, it.memory.working_set_bytes.value > 0, len(call('ListContainerStats', filter=dict(id=c)).stats))", "True True 1"),
    ("what a pod uses", "p = pod(); c = up('while :; do :; done', p); time.sleep(0.5); it = call('PodSandboxStats', pod_sandbox_id=p).stats; print([box.attributes.id == c and box.cpu.usage_core_nano_seconds.value > 10**7 for box in it.linux.containers])", "[True]"),
    ("a stop", "c = up('trap \"exit 5\" TERM; echo set; while :; do sleep 0.1; done'); until(lambda: log(c), 'the trap'); call('StopContainer', container_id=c, timeout=30); print(status(c).exit_code)", "5"),
    ("a stop that is not heard", "c = up('trap : TERM; echo set; while :; do sleep 0.1; done'); until(lambda: log(c), 'the trap'); begin = time.time(); call('StopContainer', container_id=c, timeout=1); print(status(c).exit_code, 1 <= time.time() - begin < 20)", "137 True"),
    ("a stop of all its processes", "p = pod(); c = up('sleep 4321 & sleep 4322', p); until(lambda: 'sleep 4321' in seen(c, 'ps'), 'both'); call('StopContainer', container_id=c, timeout=0); print(status(c).exit_code, [path for path in traces(c) if 'cgroup' in path])", "137 []"),
    ("a second stop", "c = up(); call('StopContainer', container_id=c, timeout=0); print(refused('StopContainer', container_id=c, timeout=0))", "done"),
    ("a restart", "p = pod(); print(say('echo first; exit 1', p, metadata=dict(name='box', attempt=0))); print(say('echo second', p, metadata=dict(name='box', attempt=1))); print(len(call('ListContainers', filter=dict(pod_sandbox_id=p)).containers))", "first\nsecond\n2"),
    ("a container that is removed", "p = pod(); c = up(pod=p); call('RemoveContainer', container_id=c); print(traces(c), refused('ContainerStatus', container_id=c).split(':')[0], call('PodSandboxStatus', pod_sandbox_id=p).status.state == READY)", "[] NOT_FOUND True"),
    ("a pod that is stopped", "p = pod(); c = up(pod=p); call('StopPodSandbox', pod_sandbox_id=p); print(call('PodSandboxStatus', pod_sandbox_id=p).status.state == READY, status(c).exit_code, call('PodSandboxStatus', pod_sandbox_id=p).status.network.ip)", "False 137"),
    ("a pod that is removed with all that is in it", "p = pod(); a = up(pod=p); b = ended(up('true', p)).id; c = made('true', p); print(bool(traces(p) and traces(a))); call('RemovePodSandbox', pod_sandbox_id=p); print([traces(id) for id in (p, a, b, c)]); print(len(call('ListContainers', filter=dict(pod_sandbox_id=p)).containers), len(call('ListPodSandbox', filter=dict(id=p)).items))", "True\n[[], [], [], []]\n0 0"),
    ("a pod whose process dies", "p = pod(); it = json.loads(values(call('PodSandboxStatus', pod_sandbox_id=p, verbose=True).info)['info'])['pid']; os.kill(it, 9); until(lambda: call('PodSandboxStatus', pod_sandbox_id=p).status.state != READY, 'the end'); call('RemovePodSandbox', pod_sandbox_id=p); print(traces(p))", "[]"),
];

/// After all others, as none would be served meanwhile.
#[rustfmt::skip]
const AGAIN: Case =
    ("a container that outlives containerd", "p = pod(); c = up('trap \"exit 3\" TERM; while :; do sleep 0.1; done', p); sh('kill -9 $(cat $D/pid); containerd --config $D/config.toml --log-level error >>$D/log 2>&1 & echo $! >$D/pid'); until(lambda: refused('Status') == 'done', 'containerd'); print(status(c).state == RUNNING, seen(c, 'echo here')); call('StopContainer', container_id=c, timeout=30); it = ended(c); print(it.exit_code, it.reason); call('RemovePodSandbox', pod_sandbox_id=p); print(traces(c) + traces(p))", "True here\n3 Error\n[]");

/// Of as many cases one is tried, unless all are wanted; and where everything is slow, one of even more.
const SHARE: usize = 3;
const SMALL_SHARE: usize = 29;

/// Debian's own, as the modules are Debian's; another may come first in $PATH.
const PYTHON: &str = "/usr/bin/python3";

/// Where containerd has the plugins of networks note what they did. It is named nowhere, so it is covered.
const NOTES: &str = "/var/lib/cni";

const KUBERNETES: Kind = Kind {
    name: "cri",
    namespaces: &["--net"],
    before: r#"
        ip link set lo up && mkdir -p $D/cni /var/lib/cni && mount -t tmpfs tmpfs /var/lib/cni || exit
        cat >$D/cni/pods.conflist <<END
{ "cniVersion": "0.4.0", "name": "pods", "plugins": [ { "type": "bridge", "bridge": "pods", "isGateway": true,
  "ipam": { "type": "host-local", "dataDir": "/run/addresses", "ranges": [ [ { "subnet": "10.123.0.0/16" } ] ] } } ] }
END
        cat >$D/more.toml <<END
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/bb:latest"
# Who may not lower it (CAP_SYS_RESOURCE) cannot make a pod without this.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$D/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.rubber]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.rubber.options]
BinaryName = "$D/rubber-oci"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
END"#,
    disabled: "",
    whose: "k8s.io",
};

/// Takes the directory away again if it was not there.
struct Notes(bool);

impl Drop for Notes {
    fn drop(&mut self) {
        if self.0 {
            let _ = fs::remove_dir(NOTES);
        }
    }
}

#[test]
fn containerd_runs_pods() {
    if !lab::is_root() {
        return lab::skip_this("containerd's rootful ways take root");
    }
    if !["containerd", "ctr", "unshare", "nsenter", "ip"].into_iter().all(lab::has) {
        return lab::skip_this("there is no containerd here");
    }
    if !Path::new("/usr/lib/cni/bridge").exists() {
        return lab::skip_this("there are no containernetworking-plugins here");
    }
    let modules = std::process::Command::new(PYTHON).args(["-c", "import grpc, google.protobuf"]).output();
    if !modules.is_ok_and(|output| output.status.success()) {
        return lab::skip_this("there are no python3-grpcio and python3-protobuf here");
    }
    let _notes = Notes(!Path::new(NOTES).exists());
    let ground = Ground::new(&KUBERNETES);
    let client = ground.dir.join("cri.py");
    fs::write(&client, include_str!("cri.py")).unwrap();
    // The plugin begins after containerd does.
    let ready = "until(lambda: refused('Status') == 'done', 'the plugin')";
    let output = case(&ground, Runtime::Rubber, "ready", ready);
    assert!(output.status.success(), "{output:?}");
    let cases = part(CASES, "RUBBER_TEST_CRI", [SHARE, SMALL_SHARE]);
    try_all(CASES, cases, |runtime, name, script| case(&ground, runtime, name, script));
    try_all(&[AGAIN], vec![&AGAIN], |runtime, name, script| case(&ground, runtime, name, script));
}

fn case(ground: &Ground, runtime: Runtime, name: &str, script: &str) -> Output {
    let handler = match runtime {
        Runtime::Rubber => "rubber",
        Runtime::Runc => "runc",
    };
    let mut client = ground.inside(&["timeout", "-s", "INT", "-k", "30", "120", PYTHON]);
    client.arg(ground.dir.join("cri.py")).args(["/run/containerd/containerd.sock", handler, name]);
    client.arg(ground.dir.join("t").join(name)).arg(&ground.group).arg(script).output().unwrap()
}
