"""Pools, volumes and networks that guests need, on a real libvirtd; virsh is the witness."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.libvirt import LibvirtHost
from tests.support.processes import run
from tests.support.rigs import Rig


class Supplies:
    """The states of a host's minion, and virsh; what was made is gone afterwards."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig, self.folder = rig, folder
        self.name = f"s{secrets.token_hex(3)}"

    def state(self, kind: str, **told: Any) -> Any:
        """Call the state ``present`` of a kind."""
        return getattr(self.rig.loaders.states, f"libvirt_{kind}").present(**told)

    def virsh(self, *words: str) -> str:
        """Ask virsh."""
        return self.rig.virsh(self.rig.host, *words)


@pytest.fixture
def supplies(rig: Rig, libvirt_host: LibvirtHost, tmp_path: Path) -> Iterator[Supplies]:
    """What a test makes."""
    made = Supplies(rig, tmp_path)
    yield made
    link = libvirt_host.open()
    for one in [*link.listAllStoragePools(), *link.listAllNetworks()]:
        if one.name().startswith(made.name):
            if one.isActive():
                one.destroy()
            one.undefine()


def once(call: Callable[..., Any], shown: dict[str, Any]) -> None:
    """Assert that a state tells its changes, makes them, and has nothing to do then."""
    told = call(test=True)
    assert (told.result, told.changes) == (None, shown), told.comment
    done = call()
    assert (done.result, done.changes) == (True, shown), done.comment
    again = call()
    assert (again.result, again.changes) == (True, {}), again.comment


def test_a_pool(supplies: Supplies) -> None:
    """Made with its folder, started, and started with the host; found stopped it is started, and never moved."""
    name, path = supplies.name, str(supplies.folder / "images")
    start = {"active": {"old": False, "new": True}, "autostart": {"old": False, "new": True}}

    def present(**more: Any) -> Any:
        return supplies.state("pool", name=name, path=path, **more)

    once(present, {"path": {"old": None, "new": path}, **start})
    assert path in supplies.virsh("pool-dumpxml", name)
    assert re.search(r"Autostart:\s+yes", supplies.virsh("pool-info", name))
    supplies.virsh("pool-destroy", name)
    once(present, {"active": {"old": False, "new": True}})
    moved = supplies.state("pool", name=name, path="/elsewhere")
    assert (moved.result, "is not moved" in moved.comment) == (False, True)
    assert "absolute path" in supplies.state("pool", name=f"{name}-2").comment
    (supplies.folder / "file").touch()
    failed = supplies.state("pool", name=f"{name}-2", path=str(supplies.folder / "file/below"))
    assert failed.result is False
    assert f"{name}-2" not in supplies.virsh("pool-list", "--all", "--name")


def test_a_volume(supplies: Supplies) -> None:
    """Made, enlarged, or found; never smaller, of another format, or enlarged under a guest that runs."""
    pool = supplies.rig.name

    def present(name: str = "data.qcow2", **told: Any) -> Any:
        return supplies.state("volume", name=name, pool=pool, **told)

    once(lambda **more: present(size_gib=0.0625, **more), {"volume": {"old": None, "new": 64 << 20}})
    once(lambda **more: present(size_gib=0.125, **more), {"size": {"old": 64 << 20, "new": 128 << 20}})
    once(lambda **more: present("on.qcow2", backing="data.qcow2", **more), {"volume": {"old": None, "new": 128 << 20}})
    assert "virtual size: 128 MiB" in run("qemu-img", "info", supplies.rig.pool / "on.qcow2")
    assert "data.qcow2" in run("qemu-img", "info", supplies.rig.pool / "on.qcow2")
    for told, sentence in (
        ({"size_gib": 0.0625}, "would lose what lies behind"),
        ({"format": "raw"}, "is qcow2, not raw"),
        ({"format": "vdi"}, "format must be one of"),
        ({"size_gib": 0}, "size_gib must be more than 0"),
        ({"name": "new.qcow2"}, "size_gib is needed"),
        ({"name": "new.qcow2", "backing": "none"}, "cannot stand on 'none'"),
        ({"name": "new.qcow2", "backing": "data.qcow2", "size_gib": 0.01}, "cannot be smaller"),
        ({"name": "../x", "size_gib": 1}, "letters, digits"),
    ):
        found = present(**told)
        assert (found.result, sentence in found.comment) == (False, True), found.comment
    supplies.virsh("attach-disk", pool, str(supplies.rig.pool / "on.qcow2"), "vdb", "--live", "--subdriver", "qcow2")
    written = present("on.qcow2", size_gib=0.25)
    assert (written.result, "libvirt_task.resize_disk lets it grow" in written.comment) == (False, True)
    listed = supplies.rig.loaders.modules["libvirt_volume.list"]
    assert listed(pool, "data.qcow2")["data.qcow2"]["capacity"] == 128 << 20
    assert listed(pool)["on.qcow2"]["backing"] == str(supplies.rig.pool / "data.qcow2")
    assert listed(pool, "none") == {}


def test_a_network(supplies: Supplies) -> None:
    """Defined and started; what is told of one that is there is changed at its next start, and the rest stays."""
    name, start = supplies.name, {"autostart": {"old": False, "new": True}, "active": {"old": False, "new": True}}

    def present(**told: Any) -> Any:
        return supplies.state("network", name=name, **told)

    once(
        lambda **more: present(bridge="br-none", **more),
        {"forward": {"old": None, "new": "bridge"}, "bridge": {"old": None, "new": "br-none"}, **start},
    )
    uuid = supplies.virsh("net-uuid", name)
    told = present(bridge="br-other")
    assert (told.result, "until its next start" in told.comment) == (True, True), told.comment
    assert "br-none" in supplies.virsh("net-dumpxml", name)
    assert "br-other" in supplies.virsh("net-dumpxml", "--inactive", name)
    assert supplies.virsh("net-uuid", name) == uuid
    supplies.virsh("net-destroy", name)
    once(present, {"active": {"old": False, "new": True}})
    for wrong, sentence in (
        ({"address": "192.0.2.0/24"}, "address must be that of the host"),
        ({"address": "x"}, "address must be such as"),
        ({"address": "192.0.2.1/24", "dhcp": ["192.0.2.9", "192.0.2.3"]}, "must be a range of 192.0.2.0/24"),
        ({"dhcp": ["192.0.2.9", "192.0.2.13"]}, "beside address"),
        ({"bridge": "br0", "address": "192.0.2.1/24"}, "has no address"),
        ({"forward": "x"}, "forward must be one of"),
    ):
        found = present(**wrong)
        assert (found.result, sentence in found.comment) == (False, True), found.comment
    assert "needs a bridge, a forward or an address" in supplies.state("network", name=f"{name}-2").comment
