"""A small kubelet: has containerd's CRI plugin make pods and containers, as a case of cri.rs says.

    cri.py SOCKET HANDLER NAME DIRECTORY CGROUP CASE

The case is Python, with all that is defined here. What it has made is removed at its end, whatever the end is.
"""

import base64
import glob
import json
import os
import re
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import grpc
from google.protobuf import descriptor_pb2, json_format, message_factory

# The fields that are used here of the messages of package runtime.v1, with their numbers: facts from Kubernetes'
# pkg/apis/runtime/v1/api.proto (github.com/kubernetes/cri-api). A field without a type is a string; "[]" makes it a list.
# Where that file has an enum or another width the bytes are the same with int64, and those of a map are those of a list
# of KeyValue.
MESSAGES = """
    KeyValue: 1 key, 2 value
    Int64Value: 1 value int64
    VersionRequest: 1 version
    VersionResponse: 2 runtime_name, 4 runtime_api_version
    StatusRequest: 1 verbose bool
    StatusResponse: 1 status RuntimeStatus, 2 info KeyValue[]
    RuntimeStatus: 1 conditions RuntimeCondition[]
    RuntimeCondition: 1 type, 2 status bool, 4 message

    NamespaceOption: 1 network int64, 2 pid int64, 3 ipc int64, 4 target_id
    SecurityProfile: 1 profile_type int64, 2 localhost_ref
    PodSandboxMetadata: 1 name, 2 uid, 3 namespace, 4 attempt int64
    DNSConfig: 1 servers[], 2 searches[], 3 options[]
    LinuxSandboxSecurityContext: 1 namespace_options NamespaceOption, 3 run_as_user Int64Value, 4 readonly_rootfs bool, 5 supplemental_groups int64[], 6 privileged bool, 8 run_as_group Int64Value, 9 seccomp SecurityProfile
    LinuxPodSandboxConfig: 1 cgroup_parent, 2 security_context LinuxSandboxSecurityContext, 3 sysctls KeyValue[]
    PodSandboxConfig: 1 metadata PodSandboxMetadata, 2 hostname, 3 log_directory, 4 dns_config DNSConfig, 6 labels KeyValue[], 7 annotations KeyValue[], 8 linux LinuxPodSandboxConfig
    RunPodSandboxRequest: 1 config PodSandboxConfig, 2 runtime_handler
    RunPodSandboxResponse: 1 pod_sandbox_id
    StopPodSandboxRequest: 1 pod_sandbox_id
    StopPodSandboxResponse:
    RemovePodSandboxRequest: 1 pod_sandbox_id
    RemovePodSandboxResponse:
    PodSandboxStatusRequest: 1 pod_sandbox_id, 2 verbose bool
    PodSandboxStatusResponse: 1 status PodSandboxStatus, 2 info KeyValue[]
    PodSandboxStatus: 1 id, 2 metadata PodSandboxMetadata, 3 state int64, 5 network PodSandboxNetworkStatus, 7 labels KeyValue[], 8 annotations KeyValue[], 9 runtime_handler
    PodSandboxNetworkStatus: 1 ip
    PodSandboxFilter: 1 id, 3 label_selector KeyValue[]
    ListPodSandboxRequest: 1 filter PodSandboxFilter
    ListPodSandboxResponse: 1 items PodSandbox[]
    PodSandbox: 1 id, 3 state int64, 7 runtime_handler

    ImageSpec: 1 image
    Mount: 1 container_path, 2 host_path, 3 readonly bool, 5 propagation int64
    Device: 1 container_path, 2 host_path, 3 permissions
    LinuxContainerResources: 1 cpu_period int64, 2 cpu_quota int64, 3 cpu_shares int64, 4 memory_limit_in_bytes int64, 5 oom_score_adj int64, 6 cpuset_cpus, 9 unified KeyValue[]
    Capability: 1 add_capabilities[], 2 drop_capabilities[]
    LinuxContainerSecurityContext: 1 capabilities Capability, 2 privileged bool, 3 namespace_options NamespaceOption, 5 run_as_user Int64Value, 6 run_as_username, 7 readonly_rootfs bool, 8 supplemental_groups int64[], 11 no_new_privs bool, 12 run_as_group Int64Value, 13 masked_paths[], 14 readonly_paths[], 15 seccomp SecurityProfile
    LinuxContainerConfig: 1 resources LinuxContainerResources, 2 security_context LinuxContainerSecurityContext
    ContainerMetadata: 1 name, 2 attempt int64
    ContainerConfig: 1 metadata ContainerMetadata, 2 image ImageSpec, 3 command[], 4 args[], 5 working_dir, 6 envs KeyValue[], 7 mounts Mount[], 8 devices Device[], 9 labels KeyValue[], 10 annotations KeyValue[], 11 log_path, 12 stdin bool, 13 stdin_once bool, 14 tty bool, 15 linux LinuxContainerConfig
    CreateContainerRequest: 1 pod_sandbox_id, 2 config ContainerConfig, 3 sandbox_config PodSandboxConfig
    CreateContainerResponse: 1 container_id
    StartContainerRequest: 1 container_id
    StartContainerResponse:
    StopContainerRequest: 1 container_id, 2 timeout int64
    StopContainerResponse:
    RemoveContainerRequest: 1 container_id
    RemoveContainerResponse:
    ContainerFilter: 1 id, 3 pod_sandbox_id, 4 label_selector KeyValue[]
    ListContainersRequest: 1 filter ContainerFilter
    ListContainersResponse: 1 containers Container[]
    Container: 1 id, 2 pod_sandbox_id, 6 state int64
    ContainerStatusRequest: 1 container_id, 2 verbose bool
    ContainerStatusResponse: 1 status ContainerStatus, 2 info KeyValue[]
    ContainerStatus: 1 id, 2 metadata ContainerMetadata, 3 state int64, 4 created_at int64, 5 started_at int64, 6 finished_at int64, 7 exit_code int64, 10 reason, 11 message, 12 labels KeyValue[], 13 annotations KeyValue[], 14 mounts Mount[], 15 log_path
    UpdateContainerResourcesRequest: 1 container_id, 2 linux LinuxContainerResources
    UpdateContainerResourcesResponse:
    ReopenContainerLogRequest: 1 container_id
    ReopenContainerLogResponse:

    ExecSyncRequest: 1 container_id, 2 cmd[], 3 timeout int64
    ExecSyncResponse: 1 stdout bytes, 2 stderr bytes, 3 exit_code int64
    ExecRequest: 1 container_id, 2 cmd[], 3 tty bool, 4 stdin bool, 5 stdout bool, 6 stderr bool
    ExecResponse: 1 url
    AttachRequest: 1 container_id, 2 stdin bool, 3 tty bool, 4 stdout bool, 5 stderr bool
    AttachResponse: 1 url
    PortForwardRequest: 1 pod_sandbox_id, 2 port int64[]
    PortForwardResponse: 1 url

    UInt64Value: 1 value int64
    CpuUsage: 1 timestamp int64, 2 usage_core_nano_seconds UInt64Value
    MemoryUsage: 1 timestamp int64, 2 working_set_bytes UInt64Value
    ContainerAttributes: 1 id
    ContainerStats: 1 attributes ContainerAttributes, 2 cpu CpuUsage, 3 memory MemoryUsage
    ContainerStatsFilter: 1 id, 2 pod_sandbox_id
    ContainerStatsRequest: 1 container_id
    ContainerStatsResponse: 1 stats ContainerStats
    ListContainerStatsRequest: 1 filter ContainerStatsFilter
    ListContainerStatsResponse: 1 stats ContainerStats[]
    PodSandboxStatsRequest: 1 pod_sandbox_id
    PodSandboxStatsResponse: 1 stats PodSandboxStats
    PodSandboxStats: 1 attributes ContainerAttributes, 2 linux LinuxPodSandboxStats
    LinuxPodSandboxStats: 1 cpu CpuUsage, 2 memory MemoryUsage, 5 containers ContainerStats[]
"""

# Numbers of enums, from the same place.
POD, CONTAINER, NODE, TARGET = range(4)  # NamespaceMode
PRIVATE, HOST_TO_CONTAINER, BIDIRECTIONAL = range(3)  # MountPropagation
DEFAULT, UNCONFINED, LOCALHOST = range(3)  # ProfileType
CREATED, RUNNING, EXITED = range(3)  # ContainerState
READY = 0  # PodSandboxState

IMAGE = "localhost/bb:latest"


def types():
    file = descriptor_pb2.FileDescriptorProto(name="cri", package="runtime.v1", syntax="proto3")
    plain = {kind: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind.upper()}") for kind in ("string", "bytes", "bool", "int64")}
    for line in filter(None, map(str.strip, MESSAGES.splitlines())):
        name, fields = line.split(":")
        message = file.message_type.add(name=name)
        for field in filter(None, fields.split(",")):
            number, name, kind = (field.replace("[]", "").split() + ["string"])[:3]
            made = message.field.add(name=name, number=int(number), label=3 if field.endswith("[]") else 1)
            if kind in plain:
                made.type = plain[kind]
            else:
                made.type, made.type_name = made.TYPE_MESSAGE, f".runtime.v1.{kind}"
    return {name.rsplit(".", 1)[1]: made for name, made in message_factory.GetMessages([file]).items()}


def call(method, **fields):
    request = json_format.ParseDict(fields, TYPES[f"{method}Request"]())
    path = f"/runtime.v1.RuntimeService/{method}"
    ask = CHANNEL.unary_unary(path, type(request).SerializeToString, TYPES[f"{method}Response"].FromString)
    return ask(request, timeout=60)


def refused(method, **fields):
    """What it says, if it does not do it."""
    try:
        call(method, **fields)
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    return "done"


def pairs(**values):
    return [dict(key=key.replace("__", "."), value=value) for key, value in values.items()]


def values(listed):
    return {pair.key: pair.value for pair in listed}


def until(there, what):
    end = time.time() + 60
    while not there():
        if time.time() > end:
            raise TimeoutError(what)
        time.sleep(0.02)


def sh(script):
    """Outside of any container."""
    return subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()


PODS, MADE = {}, []


def pod(network=POD, pid=CONTAINER, ipc=POD, security={}, sysctls=[], **fields):
    number = len(PODS)
    name = f"{NAME}-{number}"
    security = dict(security, namespace_options=dict(network=network, pid=pid, ipc=ipc))
    config = dict(
        metadata=dict(name=name, uid=name, namespace="default"),
        log_directory=f"{T}/logs-{number}",
        linux=dict(cgroup_parent=GROUP, security_context=security, sysctls=sysctls),
    )
    if network == POD:
        config["hostname"] = "inside"
    config.update(fields)
    id = call("RunPodSandbox", config=config, runtime_handler=HANDLER).pod_sandbox_id
    PODS[id] = config
    return id


def made(command, pod=None, security={}, limits={}, attempt=0, pid=None, **fields):
    """A container that is not started yet, in a pod of its own if none is given."""
    pod = pod or globals()["pod"](security=dict(privileged=security.get("privileged", False)))
    sandbox = PODS[pod]
    options = dict(sandbox["linux"]["security_context"]["namespace_options"])
    if isinstance(pid, str):
        options.update(pid=TARGET, target_id=pid)
    elif pid is not None:
        options.update(pid=pid)
    name = f"box{len(MADE)}"
    config = dict(
        metadata=dict(name=name, attempt=attempt),
        image=dict(image=IMAGE),
        command=command if isinstance(command, list) else ["sh", "-c", command],
        log_path=f"{name}.log",
        linux=dict(resources=limits, security_context=dict(security, namespace_options=options)),
    )
    config.update(fields)
    id = call("CreateContainer", pod_sandbox_id=pod, config=config, sandbox_config=sandbox).container_id
    MADE.append((id, f"{sandbox['log_directory']}/{config['log_path']}"))
    return id


def up(command="sleep 1000", *more, **fields):
    """The same, started."""
    id = made(command, *more, **fields)
    call("StartContainer", container_id=id)
    return id


def status(id):
    return call("ContainerStatus", container_id=id).status


def ended(id):
    until(lambda: status(id).state == EXITED, "the container's end")
    return status(id)


def log(id, stream=None):
    """What it has written: lines with a time, a stream and whether they are whole."""
    lines = open(dict(MADE)[id]).read().splitlines()
    parts = [re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP]) (.*)", line) for line in lines]
    return "\n".join(part[3] for part in parts if stream in (None, part[1]))


def say(command, *more, **fields):
    """What it writes until its end."""
    id = up(command, *more, **fields)
    ended(id)
    return log(id)


def probe(id, command, timeout=0):
    """As the kubelet does it for `exec:` of a readiness probe."""
    return call("ExecSync", container_id=id, cmd=["sh", "-c", command], timeout=timeout)


def seen(id, command):
    return probe(id, command).stdout.decode().strip()


def limit(id, old, new):
    """A file of its cgroup: in version 1's tree of the controller, or in version 2's."""
    files = [f"/sys/fs/cgroup/{old.split('.')[0]}{GROUP}/{id}/{old}", f"/sys/fs/cgroup{GROUP}/{id}/{new}"]
    return open(next(file for file in files if os.path.exists(file))).read().strip()


def traces(id):
    """What there still is of a container or a pod on this machine."""
    cgroups = glob.glob(f"/sys/fs/cgroup{GROUP}/{id}") + glob.glob(f"/sys/fs/cgroup/*{GROUP}/{id}")
    states = glob.glob(f"/run/containerd/*/k8s.io/{id}") + glob.glob(f"/run/containerd/*/*/{id}")
    mounts = [line.split()[4] for line in open("/proc/self/mountinfo") if id in line]
    return cgroups + states + mounts


class Stream:
    """What a URL of Exec, Attach or PortForward has at its other end, by a websocket (RFC 6455) of the subprotocol in
    which the first byte of a message is its channel: https://pkg.go.dev/k8s.io/apiserver/pkg/util/wsstream"""

    STDIN, STDOUT, STDERR, ERROR = range(4)

    def __init__(self, url, query=""):
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {parts.path}{query} HTTP/1.1\r\nHost: {parts.netloc}\r\nOrigin: http://{parts.netloc}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n".encode()
        )
        self.file = self.socket.makefile("rb")
        first = self.file.readline().decode().strip()
        if " 101 " not in first:
            raise ConnectionError(first)
        while self.file.readline().strip():
            pass

    def write(self, channel, text):
        """Masked, as all that a client says."""
        data = bytes([channel]) + text
        mask = os.urandom(4)
        size = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0x80 | 126]) + len(data).to_bytes(2, "big")
        self.socket.sendall(b"\x82" + size + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)))

    def read(self):
        """A channel and what comes on it; None at the end."""
        head = self.file.read(2)
        if len(head) < 2 or head[0] & 15 == 8:
            return None
        size = head[1] & 127
        if size >= 126:
            size = int.from_bytes(self.file.read(2 if size == 126 else 8), "big")
        data = self.file.read(size)
        return (data[0], data[1:]) if head[0] & 15 in (1, 2) and data else self.read()

    def all(self):
        """All channels until the end."""
        said = {}
        while message := self.read():
            said[message[0]] = said.get(message[0], b"") + message[1]
        return said

    def line(self, channel=STDOUT):
        """What comes on a channel up to the end of a line."""
        said = b""
        while b"\n" not in said and (message := self.read()):
            said += message[1] if message[0] == channel else b""
        return said.decode().strip()


def stream_of(method, id, command=None, **fields):
    more = dict(cmd=["sh", "-c", command]) if command else {}
    return Stream(call(method, container_id=id, **more, **fields).url)


def forwarded(pod, port, text):
    """What a server behind a pod's port answers, for what it is told. Each port has a channel for data and one for errors, which both begin with the port's number."""
    stream = Stream(call("PortForward", pod_sandbox_id=pod, port=[port]).url, f"?port={port}")
    answer = {0: b"", 1: b""}
    while len(answer[0]) < 2:
        channel, data = stream.read()
        answer[channel] += data
    stream.write(0, text)
    while (message := stream.read()) and not answer[0][2:].endswith(b"\n"):
        answer[message[0]] += message[1]
    return answer[0][2:].decode().strip(), answer[1][2:].decode().strip()


TYPES = types()


def main():
    global CHANNEL, HANDLER, NAME, T, GROUP
    address, HANDLER, NAME, T, GROUP, case = sys.argv[1:]
    CHANNEL = grpc.insecure_channel(f"unix://{address}")
    os.makedirs(T, exist_ok=True)
    try:
        exec(case, globals())
    finally:
        for id in PODS:
            refused("StopPodSandbox", pod_sandbox_id=id)
            refused("RemovePodSandbox", pod_sandbox_id=id)


main()
