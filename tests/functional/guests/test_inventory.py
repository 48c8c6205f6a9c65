"""The inventory of a real libvirtd is what virsh says, for few calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError
from saltfactories.utils.functional import Loaders

from saltext_logilab.guests import connection
from tests.support.guests import TinyGuest
from tests.support.libvirt import LibvirtHost

MIB = 1024 * 1024
CARD = "<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>"


@pytest.fixture(scope="module")
def guests(libvirt_host: LibvirtHost, tiny_guest: TinyGuest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One paused guest ``seen`` with a disk of a pool and a card, one ``unseen`` that is off; the pool's name."""
    link, folder = libvirt_host.open(), tmp_path_factory.mktemp("inventory")
    pool = link.storagePoolCreateXML(f"<pool type='dir'><name>seen</name><target><path>{folder}</path></target></pool>")
    pool.createXML(
        "<volume><name>seen.qcow2</name><capacity unit='MiB'>64</capacity>"
        "<target><format type='qcow2'/></target></volume>"
    )
    disk = (
        f"<disk type='file'><driver type='qcow2'/><source file='{folder}/seen.qcow2'/>"
        "<target dev='vda' bus='virtio'/></disk>"
    )
    seen = link.defineXML(tiny_guest.xml("seen", folder / "serial", devices=disk + CARD))
    off = link.defineXML(tiny_guest.xml("unseen", folder / "other"))
    off.setAutostart(1)
    seen.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    yield pool.name()
    seen.destroy()
    seen.undefine()
    off.undefine()
    pool.destroy()


@pytest.fixture(scope="module")
def ask(loaders_of: Callable[..., Loaders], libvirt_host: LibvirtHost) -> Callable[..., Any]:
    """Return what calls a function of the module: ``ask("info", "seen")``."""
    modules = loaders_of(libvirt_host).modules
    return lambda function, *words, **named: modules[f"libvirt_guest.{function}"](*words, **named)


def facts(text: str) -> dict[str, str]:
    """Return the ``key: value`` lines that virsh prints."""
    return dict(re.findall(r"^([^:]+):\s+(.*?)\s*$", text, re.M))


def test_list_is_what_virsh_says(guests: str, ask: Any, virsh: Any, libvirt_host: LibvirtHost) -> None:  # noqa: ARG001
    """Names, UUIDs, states, processors and memory of all guests agree with virsh."""
    found = ask("list")
    assert set(found) == set(virsh(libvirt_host, "list", "--all", "--name").split())
    for name, told in found.items():
        said = facts(virsh(libvirt_host, "dominfo", name))
        assert (told["uuid"], told["state"], told["vcpus"]) == (said["UUID"], said["State"], int(said["CPU(s)"]))
        assert f"{told['memory'] // 1024} KiB" == said["Max memory"]


def test_info_has_disks_cards_and_autostart(guests: str, ask: Any) -> None:  # noqa: ARG001
    """One guest's details, and those of all."""
    told = ask("info", "seen")["seen"]
    assert (told["state"], told["autostart"], told["accelerator"]) == ("paused", False, "qemu")
    assert [disk["target"] for disk in told["disks"]] == ["vda"]
    assert [card["mac"] for card in told["interfaces"]] == ["52:54:00:00:00:01"]
    assert {name: one["autostart"] for name, one in ask("info").items()} == {"seen": False, "unseen": True}


def test_disks_name_their_volume_and_sizes(guests: str, ask: Any, virsh: Any, libvirt_host: LibvirtHost) -> None:
    """A disk's pool, volume and capacity are what virsh says of them."""
    disk = ask("disks", "seen")["seen"]["vda"]
    assert (disk["pool"], disk["volume"], disk["capacity"]) == (guests, "seen.qcow2", 64 * MIB)
    assert disk["source"] == virsh(libvirt_host, "vol-path", "seen.qcow2", guests)
    assert ask("disks")["unseen"] == {}


def test_stats_and_cards(guests: str, ask: Any) -> None:  # noqa: ARG001
    """Counters of a started guest, and none of one that is off; cards by guest."""
    told = ask("stats")
    assert told["seen"]["disks"]["vda"]["rd_bytes"] >= 0
    assert told["seen"]["cpu_time"] > 0
    assert (told["unseen"]["state"], told["unseen"]["disks"]) == ("shut off", {})
    assert set(ask("stats", "unseen")) == {"unseen"}
    assert ask("interfaces", "seen")["seen"][0]["model"] == "virtio"


def test_host_is_what_virsh_says(guests: str, ask: Any, virsh: Any, libvirt_host: LibvirtHost) -> None:
    """Processors, memory, versions and pools agree with virsh."""
    told, said = ask("host"), facts(virsh(libvirt_host, "nodeinfo"))
    assert (told["cpus"], told["memory"] // MIB) == (int(said["CPU(s)"]), int(said["Memory size"].split()[0]) // 1024)
    for version in (told["libvirt"], told["hypervisor"]):
        assert version in virsh(libvirt_host, "version", "--daemon")
    assert [pool["name"] for pool in told["pools"] if pool["active"]] == [guests]
    assert told["uuid"] in virsh(libvirt_host, "capabilities")


def test_summary_fits_what_the_runner_reads(guests: str, ask: Any) -> None:  # noqa: ARG001
    """The mine function is compact: four values a guest, and the tasks that are at work."""
    told = ask("summary")
    assert told["guests"]["seen"] == [*[ask("list")["seen"][key] for key in ("uuid", "state", "vcpus", "memory")]]
    assert set(told) == {"at", "host", "guests", "tasks"}


def test_addresses_are_asked_of_each_source(new_loaders: Any) -> None:
    """The test driver's guest has an address; a source that does not exist is refused."""
    modules = new_loaders({"logilab": {"guests": {"uri": "test:///default"}}}).modules
    ((mac, found),) = modules.libvirt_guest.addresses()["test"].items()
    assert re.fullmatch(r"[0-9a-f:]{17}", mac)
    assert re.fullmatch(r"[0-9.]+/24", found[0])
    with pytest.raises(SaltInvocationError, match="lease, agent, arp"):
        modules.libvirt_guest.addresses(source="dns")


def test_silent_agents_have_no_addresses(guests: str, ask: Any) -> None:  # noqa: ARG001
    """A guest without an agent, and one that is off, have none."""
    assert ask("addresses", source="agent") == {"seen": {}}
    assert ask("addresses", "unseen", source="agent") == {"unseen": {}}


def test_an_unknown_guest_is_a_sentence(guests: str, ask: Any) -> None:  # noqa: ARG001
    """The error names guest and host."""
    with pytest.raises(CommandExecutionError, match=r"^there is no guest 'nobody' at qemu"):
        ask("info", "nobody")


def test_wrong_settings_are_a_sentence(new_loaders: Any) -> None:
    """A misspelt key names itself; the unit tests have the others."""
    modules = new_loaders({"logilab": {"guests": {"url": "qemu:///system"}}}).modules
    for function in (modules.libvirt_guest.list, modules.libvirt_task.list):
        with pytest.raises(CommandExecutionError, match="did you mean 'uri'"):
            function()


def test_a_missing_daemon_is_a_sentence(new_loaders: Any, tmp_path: Path, quiet_libvirt: None) -> None:  # noqa: ARG001
    """Where no libvirtd listens, the error names the URI."""
    uri = f"qemu+unix:///system?socket={tmp_path}/none"
    modules = new_loaders({"logilab": {"guests": {"uri": uri}}}).modules
    with pytest.raises(CommandExecutionError, match=r"^libvirt at qemu\+unix.* does not answer"):
        modules.libvirt_guest.list()


def test_a_missing_library_is_a_sentence(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without libvirt's binding every function says how to install it."""
    monkeypatch.setattr(connection, "libvirt", None)
    with pytest.raises(CommandExecutionError, match=r"pip install 'saltext-logilab\[virt\]'"):
        ask("list")


def test_what_decides_where_a_guest_can_go(guests: str, ask: Any, libvirt_host: LibvirtHost) -> None:  # noqa: ARG001
    """Its local disk, machine and processor; the host itself has it already."""
    told = ask("traits")
    assert set(told) == {"seen"}
    seen = told["seen"]
    assert [disk.split()[0] for disk in seen["local"]] == ["vda"]
    assert (seen["machine"][:3], seen["accelerator"], "qemu64" in seen["cpu"]) == ("pc-", "qemu", True)
    assert ask("refuses", told) == {"seen": "it has a guest of this name or UUID already"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, None),
        ({"cpu": None}, None),
        ({"machine": "pc-q35-99.0"}, "it has no machine type pc-q35-99.0"),
        ({"architecture": "vax"}, "it cannot run vax guests by qemu"),
        (
            {"cpu": "<cpu mode='custom'><model>Snowridge-v9</model></cpu>"},
            "it cannot run the processor model Snowridge-v9",
        ),
    ],
)
def test_what_a_host_refuses(guests: str, ask: Any, more: dict[str, Any], words: str | None) -> None:  # noqa: ARG001
    """A guest of another host fits, or the first thing that does not is told."""
    other = {**ask("traits")["seen"], "uuid": "another", **more}
    assert ask("refuses", {"other": other}) == ({"other": words} if words else {})


def test_traits_that_are_none(ask: Any) -> None:
    """What no host can have told is refused."""
    with pytest.raises(SaltInvocationError, match=r"must be what libvirt_guest\.traits returns"):
        ask("refuses", {"other": {"uuid": "x"}})
