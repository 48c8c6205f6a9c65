"""
Guests: what an inventory of 1,001 guests that are off costs, in calls and in CPU, and how soon tasks answer.

A private libvirtd, and a disk for each guest, as guests have; the peer, saltext-virt, is installed beside for the run
and asks the same daemon. Calls are those that libvirt's client logs, in a run of its own; CPU is that of the calling
process, of the programs that it starts, and of libvirtd.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import libvirt
import psutil

from benchmarks import guest_ping
from benchmarks.table import Row
from saltext_logilab.guests.sizes import MIB
from tests.support.libvirt import LibvirtHost

GUESTS = 1001
RUNNING = 20
PEER = "saltext-virt"
DOMAIN = """
<domain type='qemu'>
  <name>guest{number:04}</name><memory unit='MiB'>512</memory><vcpu>2</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <disk type='file'><driver type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>
    <interface type='user'><mac address='52:54:00:00:{high:02x}:{low:02x}'/><model type='virtio'/></interface>
  </devices>
</domain>
"""

COPIED = """
<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <disk type='file'><driver type='qcow2'/><source file='{path}'/><target dev='vda' bus='virtio'/></disk>
  </devices>
</domain>
"""

# The functions of a minion of the host at hand. The peer is installed in the folder.
FUNCTIONS = """
import json, os, sys, time
folder, uri, function = sys.argv[1:4]
sys.path.append(os.path.join(folder, "peer"))
import salt.config, salt.loader
opts = dict(salt.config.DEFAULT_MINION_OPTS, id="bench", file_client="local", grains={})
opts |= {"virt": {"connection": {"uri": uri}}, "logilab": {"guests": {"uri": uri}}}
root = os.path.join(folder, "salt")
opts |= {"root_dir": root, "cachedir": f"{root}/cache", "pki_dir": f"{root}/pki", "conf_file": f"{root}/minion"}
opts["extension_modules"] = f"{root}/extmods"
functions = salt.loader.minion_mods(opts)
call = functions[function]
"""

# Prints the CPU seconds of the call in this process and in its children.
CALL = f"""{FUNCTIONS}
before = os.times()
found = len(call())
after = os.times()
print(json.dumps([found, *[sum(after[i:i + 2]) - sum(before[i:i + 2]) for i in (0, 2)]]))
"""

# Begins a task of each kind, one after the other, and prints the seconds after which each has answered with its id.
TASK = f"""{FUNCTIONS}
other, made, took = sys.argv[4], {{}}, {{}}
seed, full = {{"minion": {{"master": "192.0.2.1"}}}}, {{"accelerator": "qemu"}}
def begin(kind, *words, **named):
    begun = time.monotonic()
    task = functions[f"libvirt_task.{{kind}}"](*words, **named)
    took[kind] = time.monotonic() - begun
    if kind in ("create", "seed"):
        functions["libvirt_task.cancel"](task)
    ended = functions["libvirt_task.wait"](task, 60)
    if ended["state"] != ("cancelled" if kind in ("create", "seed") else "done"):
        sys.exit(f"{{kind}} ended as {{ended['state']}}: {{ended['reason']}}")
    return task
begin("copy_disk", "copied", "vda", "bench")
backup = begin("backup", "copied", "bench")
begin("verify", backup, "bench", seconds=0)
begin("restore", backup, "restored", "bench")
begin("resize_disk", "kept", "vda", 0.125)
begin("snapshot", "kept", "point")
begin("clone", "restored", "cloned", "bench")
begin("convert", "bench", "b", "new")
begin("create", "new", "b", "bench", 64, seed=seed, **full)
begin("seed", "restored", **seed)
begin("migrate", "copied", other, transport=f"unix://{{folder}}/migration", unsafe=True)
print(json.dumps(took))
"""


# Makes the image of a seed, with all that a guest is told, and prints the CPU seconds that it took.
SEED = """
import os, sys
from saltext_logilab.guests.seeds import keys, nocloud, wish
pair = keys.make_pair()
told = {"minion": {"master": ["a", "b"]}, "users": [{"name": f"u{i}", "groups": "sudo"} for i in range(20)]}
told |= {"ssh_keys": ["ssh-ed25519 " + "A" * 68] * 20, "network": {"version": 2, "ethernets": {"eth0": {}}}}
before = sum(os.times()[:4])
import pathlib
nocloud.write(pathlib.Path(sys.argv[1]), nocloud.image(nocloud.files(wish.read("web", told), pair, "instance-1")))
print(sum(os.times()[:4]) - before)
"""


@dataclass(frozen=True)
class Cost:
    """What one call of a function cost: messages to libvirtd, and CPU seconds of client, children and daemon."""

    calls: int
    cpu: float


def cost(host: LibvirtHost, folder: Path, function: str, guests: int = GUESTS, times: int = 5) -> Cost:
    """Measure ``function`` on a host with so many ``guests``: its CPU (the median of some times), and its calls."""
    command = [sys.executable, "-W", "ignore", "-c", CALL, str(folder), host.uri, function]
    daemon = psutil.Process(host.pid)

    def once() -> float:
        before = sum(daemon.cpu_times()[:4])
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found, own, children = json.loads(answer.splitlines()[-1])
        if found != guests:
            raise RuntimeError(f"{function} told of {found} guests, not of {guests}")
        return float(own + children + sum(daemon.cpu_times()[:4]) - before)

    cpu = statistics.median(once() for _ in range(times))
    log = folder / "rpc.log"
    logging = {"LIBVIRT_LOG_FILTERS": "1:rpc", "LIBVIRT_LOG_OUTPUTS": f"1:file:{log}"}
    subprocess.run(
        ["env", *[f"{key}={value}" for key, value in logging.items()], *command], check=True, stdout=subprocess.DEVNULL
    )
    with log.open(errors="replace") as lines:
        calls = sum("RPC_CLIENT_MSG_TX_QUEUE" in line and " type=0 " in line for line in lines)
    log.unlink()
    return Cost(calls, cpu)


def define(host: LibvirtHost, disks: Path, guests: int = GUESTS, *, start: bool = False) -> None:
    """Define the guests, each with an empty disk, and start them where they shall run (TCG)."""
    disks.mkdir()
    link = libvirt.open(host.uri)
    for number in range(guests):
        disk = disks / f"{number}.img"
        disk.touch()
        os.truncate(disk, MIB)
        text = DOMAIN.format(number=number, disk=disk, high=number // 256, low=number % 256)
        if start:
            small = text.replace("'MiB'>512", "'MiB'>32").replace("</type></os>", "</type><boot dev='hd'/></os>")
            link.defineXML(small).create()
        else:
            link.defineXML(text)
    link.close()


def running(folder: Path) -> tuple[Cost, Cost]:
    """Return what the inventory of a host with running guests costs, with and without their XML."""
    (folder / "busy").mkdir()
    host = LibvirtHost(folder / "busy")
    try:
        host.start()
        define(host, folder / "busy" / "disks", RUNNING, start=True)
        return cost(host, folder, "libvirt_guest.info", RUNNING), cost(host, folder, "libvirt_guest.stats", RUNNING)
    finally:
        host.stop()


def answer_times(host: LibvirtHost, folder: Path) -> dict[str, float]:
    """Return for each kind of task the seconds after which it has answered with its id, inside the module."""
    link, pool = host.open(), folder / "pool"
    pool.mkdir()
    xml = f"<pool type='dir'><name>bench</name><target><path>{pool}</path></target></pool>"
    volume = "<volume><name>{}</name><capacity unit='MiB'>64</capacity><target><format type='qcow2'/></target></volume>"
    made = link.storagePoolCreateXML(xml)
    paths = {name: made.createXML(volume.format(name)).path() for name in ("copied", "kept", "b")}
    for name in ("copied", "kept"):
        link.createXML(COPIED.format(name=name, path=paths[name]), libvirt.VIR_DOMAIN_START_PAUSED)
    (folder / "there").mkdir()
    other = LibvirtHost(folder / "there")
    try:
        other.start()
        command = [sys.executable, "-W", "ignore", "-c", TASK, str(folder), host.uri, "libvirt_task.list", other.uri]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        other.stop()
    if done.returncode:
        raise RuntimeError(done.stderr)
    return {str(kind): float(took) for kind, took in json.loads(done.stdout.splitlines()[-1]).items()}


def seed(folder: Path) -> float:
    """
    Return the CPU seconds of the image of a seed, pycdlib's loading included.

    It is made by a process without any capability: one that cannot mount, nor chroot, nor open a network block device.
    """
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"]
    command = [*powerless, sys.executable, "-c", SEED, str(folder / "seed.iso")]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def rows() -> list[Row]:
    """Measure the inventory with and without XML, and the peer's."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--target", str(folder / "peer"), PEER], check=True)
        (folder / "host").mkdir()
        host = LibvirtHost(folder / "host")
        try:
            host.start()
            define(host, folder / "disks")
            info, stats = cost(host, folder, "libvirt_guest.info"), cost(host, folder, "libvirt_guest.stats")
            peer = cost(host, folder, "virt.vm_info", times=1)
            answers = answer_times(host, folder)
            image = seed(folder)
            busy, busy_stats = running(folder)
            moving, rest = guest_ping.measure(folder / "ping")
        finally:
            host.stop()
    slowest = max(answers, key=lambda kind: answers[kind])
    theirs = f"virt.vm_info: {peer.calls} calls, {peer.cpu:.2f} s"
    return [
        Row("calls of libvirt_guest.info", info.calls, "calls", theirs, 1020),
        Row("calls of libvirt_guest.stats", stats.calls, "calls", theirs, 6),
        Row("CPU of libvirt_guest.info", info.cpu, "s", theirs, 0.25),
        Row("CPU of the peer, of ours", peer.cpu / info.cpu, "times", theirs, 50, at_least=True),
        Row(
            f"calls of info, {RUNNING} guests running",
            busy.calls,
            "calls",
            f"{peer.calls} of {GUESTS} guests",
            RUNNING + 10,
        ),
        Row(f"calls of stats, {RUNNING} guests running", busy_stats.calls, "calls", "", 6),
        Row(
            f"slowest answer of {len(answers)} kinds of tasks ({slowest})",
            answers[slowest],
            "s",
            "virt.migrate answers when it is over",
            1,
        ),
        Row(
            f"slowest test.ping of {moving.number} in a migration",
            moving.slowest,
            "s",
            f"{rest.slowest:.2f} s of {rest.number} at rest",
        ),
        Row(
            "CPU of the image of a seed, without capabilities", image, "s", "mounts the image, enters it by chroot", 0.2
        ),
    ]
