"""The hypervisors asked together: who is left out and why, what cannot move, and tasks that are taken up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from saltext_logilab.errors import LogilabError, UnavailableError, WireError
from saltext_logilab.guests import fleet, portability
from saltext_logilab.guests.fleet import NOT_REACHED, Fleet, Reply
from saltext_logilab.guests.moves import Move
from saltext_logilab.guests.sizes import GIB

MOUNTS = r"""/dev/sda1 / ext4 rw 0 0
nas:/x /var/lib/libvirt/images nfs4 rw 0 0
tmpfs /var/lib/libvirt/images/tmp tmpfs rw 0 0
nas:/y /my\040disks nfs rw 0 0
"""
XML = """
<domain type='qemu'><uuid>u-1</uuid><os><type arch='x86_64' machine='pc'>hvm</type></os>
  <cpu mode='custom'><model>qemu64</model></cpu>
  <devices>{}</devices></domain>
"""
TRAITS = {"passthrough": 0, "local": [], "declared": True, "machine": "pc", "architecture": "x86_64"}
TRAITS |= {"accelerator": "qemu", "cpu": None}


def host(reach: str, guests: dict[str, list[Any]]) -> dict[str, Any]:
    """Return the summary of a host with room for all."""
    has = {"cpus": 8, "memory": 64 * GIB, "free": GIB, "libvirt": "9", "hypervisor": "7", "transport": "tcp://x"}
    return {"at": 1, "host": {**has, "reach": reach}, "guests": guests}


class Minions:
    """Minions that answer what they are told to."""

    def __init__(self, told: Mapping[tuple[str, str], Any]) -> None:
        self.told = told
        self.asked: list[tuple[str, str, Mapping[str, Any]]] = []

    def __call__(self, hosts: Collection[str], function: str, named: Mapping[str, Any]) -> dict[str, Reply]:
        self.asked += [(one, function, named) for one in hosts]
        found = {one: self.told.get((one, function.split(".")[1])) for one in hosts}
        return {
            one: told if isinstance(told, Reply) else Reply(told) for one, told in found.items() if told is not None
        }


def gathered(**more: Any) -> tuple[Fleet, Minions]:
    """Return three hosts: a with the guests ``web`` and ``db``, b that can be reached, and c that cannot."""
    told: dict[tuple[str, str], Any] = {
        ("a", "summary"): host("qemu+tls://a", {name: [name, "running", 1, GIB] for name in ("web", "db")}),
        ("b", "summary"): host("qemu+tls://b", {}),
        ("c", "summary"): host("", {"off": ["o", "shut off", 1, GIB]}),
        ("a", "traits"): {"web": {**TRAITS, "uuid": "1"}, "db": {**TRAITS, "uuid": "2", "local": ["vda /x"]}},
        ("b", "refuses"): {"web": "it has no machine type pc", "unknown": "x"},
        ("a", "list"): [],
        ("a", "migrate"): "task-1",
    }
    minions = Minions(told | {tuple(key.split("_", 1)): value for key, value in more.items()})
    return fleet.gather(minions, ["a", "b", "c", "d", "e"]), minions


def test_who_cannot_be_asked_is_left_out() -> None:
    """A silent minion, one that fails and one that tells nonsense are named; guests that are off take nothing."""
    told, _ = gathered(e_summary=Reply(problem="libvirt does not answer"), b_summary={"at": "now"})
    assert set(told.hosts) == {"a", "c"}
    assert set(told.problems) == {"b", "d", "e"}
    assert told.problems["d"] == "the minion does not answer"
    assert [len(room.guests) for room in told.rooms] == [2, 0]
    assert told.host_of("web") == "a"
    for guest in ("off", "nobody"):
        with pytest.raises(LogilabError, match="runs on none of the hosts"):
            told.load(guest)


def test_bounds_are_what_guests_and_hosts_say() -> None:
    """A local disk, a host that refuses, and one that does not say where it is reached; only what was asked for."""
    told, _ = gathered()
    bounds = told.bounds(["a"])
    assert bounds.stuck == {"db": "its disks are local: vda /x"}
    assert bounds.forbidden["web"] == {"b": "it has no machine type pc", "c": NOT_REACHED}
    told, _ = gathered(b_refuses=Reply(problem="broken"))
    assert set(told.bounds(["a"], ["web"]).forbidden) == {"web"}
    assert "broken" in told.bounds(["a"]).forbidden["web"]["b"]
    with pytest.raises(UnavailableError, match="c: the minion does not answer"):
        told.bounds(["c"])
    for nonsense in ({"web": "x"}, {"web": {**TRAITS, "uuid": 1}}, {"web": {**TRAITS, "uuid": "1", "more": 1}}):
        with pytest.raises(WireError, match="a tells no traits"):
            gathered(a_traits=nonsense)[0].bounds(["a"])


def test_a_move_is_a_task_and_one_that_goes_on_is_taken_up() -> None:
    """The source is told where to; when it is at it already, that task is followed."""
    told, minions = gathered()
    told.bounds(["a"])
    assert told.start(Move("web", "a", "b"), {"bandwidth": 5}) == "task-1"
    named = {"name": "web", "to": "qemu+tls://b", "transport": "tcp://x", "bandwidth": 5, "unsafe": True}
    assert minions.asked[-1] == ("a", "libvirt_task.migrate", named)
    task = {"task": "task-0", "guest": "web", "kind": "migrate", "state": "running"}
    told, minions = gathered(a_list=[{**task, "kind": "backup"}, task])
    assert told.start(Move("web", "a", "b"), {}) == "task-0"
    assert told.look({"a", "d"})["a", "task-0"]["state"] == "running"
    told, _ = gathered(a_migrate=Reply(problem="has a task already"))
    told.bounds(["a"])
    with pytest.raises(UnavailableError, match="a: has a task already"):
        told.start(Move("web", "a", "b"), {})


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/etc/x", "ext4"),
        ("/var/lib/libvirt/images/x.qcow2", "nfs4"),
        ("/var/lib/libvirt/images/tmp/x", "tmpfs"),
        ("/var/lib/libvirt/images2/x", "ext4"),
        ("/my disks/x", "nfs"),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str) -> None:
    """The longest mount point that holds it counts; a space in it is written as an escape."""
    assert portability.file_system(path, MOUNTS) == kind


@pytest.mark.parametrize(
    ("device", "local", "declared"),
    [
        ("<disk type='file'><source file='/var/lib/libvirt/images/a'/><target dev='vda'/></disk>", (), False),
        ("<disk type='file'><source file='/srv/a'/><target dev='vda'/></disk>", ("vda /srv/a",), False),
        ("<disk type='file'><source file='/said/a'/><target dev='vda'/></disk>", (), True),
        ("<disk type='network'><source name='rbd/a'/><target dev='vda'/></disk>", (), False),
        ("<disk type='volume'><source pool='p' volume='v'/><target dev='vda'/></disk>", ("vda v",), False),
        ("<disk type='volume'><source pool='far' volume='v'/><target dev='vda'/></disk>", (), False),
        ("<disk type='file' device='cdrom'><target dev='sda'/></disk>", (), False),
    ],
)
def test_which_disks_are_local(device: str, local: tuple[str, ...], declared: bool) -> None:
    """A disk of a network file system, pool or protocol moves along, and one where the configuration says so."""
    traits = portability.of(XML.format(device), MOUNTS, ("/said",), {"far"})
    assert (traits.local, traits.declared) == (local, declared)
    assert portability.read(traits.plain()) == traits
    assert (traits.obstacle() is None) is (local == ())


def test_a_device_of_the_host_holds_a_guest() -> None:
    """A guest with a host device cannot leave."""
    traits = portability.of(XML.format("<hostdev mode='subsystem' type='pci'/>"), MOUNTS, (), set())
    assert traits.obstacle() == "it holds 1 devices of its host"


def test_snapshots_hold_a_guest() -> None:
    """libvirt moves no guest that has some."""
    traits = portability.read({**TRAITS, "uuid": "1", "snapshots": 2})
    assert traits.obstacle() == "it has 2 snapshots, which libvirt does not move"


class Client:
    """A client of Salt whose job cache fills by itself."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.cache: dict[str, dict[str, Any]] = {}

    def cmd_async(self, minions: list[str], function: str, tgt_type: str) -> str:
        """Note the question."""
        assert (minions, function, tgt_type) == (["web"], "test.ping", "list")
        self.jobs.append(f"job-{len(self.jobs)}")
        return self.jobs[-1]

    def get_cache_returns(self, job: str) -> dict[str, Any]:
        """Return what came in."""
        return self.cache.get(job, {})


def test_a_slow_minion_has_answered_when_any_answer_came() -> None:
    """It is asked anew from time to time, not each time, and an answer to an earlier question counts."""
    client, now = Client(), [0.0]
    pings = fleet.Pings(
        client, again=10, pause=lambda seconds: now.__setitem__(0, now[0] + seconds), clock=lambda: now[0]
    )
    assert not pings("web", 0)
    assert not pings("web", 9)
    assert client.jobs == ["job-0"]
    assert not pings("web", 3)
    assert client.jobs == ["job-0", "job-1"]
    client.cache["job-0"] = {"web": {"ret": True}}
    assert pings("web", 0)
    assert not pings("web", 0), "that was the answer of before"
