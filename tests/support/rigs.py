"""A guest with a full disk, a pool for what tasks make of it, and what the house and virsh say of them."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from saltfactories.utils.functional import Loaders

from saltext_logilab.guests import backups
from saltext_logilab.guests.tasks import launch
from tests.support.guests import TinyGuest
from tests.support.libvirt import LibvirtHost
from tests.support.optional import Optional
from tests.support.processes import program, run
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = Optional("libvirt", extra="virt")

MIB = 1024 * 1024
PATIENCE = 90
NO_JOB = "No current block job for vda"
SLOW = 4 * MIB
SIZE = 48 * MIB


@dataclass
class Rig:
    """A paused guest with a full disk on a host, a pool for what tasks make, and the module of the host's minion."""

    host: LibvirtHost
    name: str
    disk: Path
    pool: Path
    loaders: Loaders
    virsh: Callable[..., str]
    started: list[str] = field(default_factory=list)

    def call(self, function: str, *words: Any, **named: Any) -> Any:
        """Call a function of ``libvirt_task``."""
        return self.loaders.modules[f"libvirt_task.{function}"](*words, **named)

    def start(self, kind: str, *words: Any, **named: Any) -> str:
        """Start a task on the guest and return its id."""
        self.started.append(self.call(kind, self.name, *words, **named))
        return self.started[-1]

    def ended(self, task: str) -> dict[str, Any]:
        """Return the status of a task once it has ended."""
        return wait_until(lambda: over(self.call("status", task)), PATIENCE, f"end of {self.call('log', task)}")

    def working(self, task: str) -> dict[str, Any]:
        """Return the status of a task once some bytes were copied, or it has ended."""

        def moving() -> dict[str, Any] | None:
            told = self.call("status", task)
            return told if told["bytes"] or told["ended"] else None

        return wait_until(moving, PATIENCE, "progress")

    def hurry(self) -> None:
        """Let the copy that goes on, if there is one, go as fast as it can."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self.virsh(self.host, "blockjob", self.name, "vda", "--bandwidth", "1000")

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The tasks of the guest that are known."""
        return [told for told in self.call("list") if told["guest"] == self.name]

    @property
    def source(self) -> str:
        """Where the guest's disk is, by virsh."""
        return re.findall(r"vda\s+(\S+)", self.virsh(self.host, "domblklist", self.name))[0]

    @property
    def made(self) -> list[str]:
        """The volumes in the pool, and drafts of backups, by the directory itself."""
        return sorted(path.name for path in self.pool.iterdir() if not path.name.endswith(backups.SUFFIX))

    @property
    def untouched(self) -> tuple[str, str, str, list[str], str]:
        """What is true of a guest on which nothing goes on."""
        said = [self.virsh(self.host, *words, self.name) for words in (("domstate",), ("checkpoint-list", "--name"))]
        job = self.virsh(self.host, "blockjob", self.name, "vda")
        return said[0], self.source, job, self.made, said[1]

    def worker(self, task: str) -> psutil.Process:
        """Return the worker's process, once there is one."""
        return wait_until(lambda: worker(task), PATIENCE, "a worker")


def over(told: dict[str, Any]) -> dict[str, Any] | None:
    """Return ``told`` when the task has ended."""
    return told if told["ended"] else None


def worker(task: str) -> psutil.Process | None:
    """Return the process of the worker of ``task``."""
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if launch.WORKER in words and task in words:
            return process
    return None


def make_disk(path: Path, size: int = SIZE) -> None:
    """Make a qcow2 image full of data."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(os.urandom(MIB) * (size // MIB))
    run("qemu-img", "convert", "-O", "qcow2", raw, path)
    raw.unlink()


def end_guest(host: LibvirtHost, rig: Rig) -> None:
    """Remove the guest and the pool of ``rig`` from ``host``."""
    link = host.open()
    for guest in link.listAllDomains():
        if guest.name() == rig.name:
            if guest.isActive():
                guest.destroy()
            guest.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)
    for pool in link.listAllStoragePools():
        if pool.name() == rig.name:
            pool.destroy()


def places(rig: Rig, *hosts: LibvirtHost) -> list[bool]:
    """Return for each host whether the guest runs there, by virsh."""
    return [rig.name in rig.virsh(host, "list", "--name").split() for host in hosts]


def options(rig: Rig, other: LibvirtHost) -> dict[str, Any]:
    """Return how to migrate the guest to ``other`` on the same machine."""
    return {"to": other.uri, "transport": f"unix://{rig.disk.parent}/migration", "unsafe": True}


def has_memory(rig: Rig, size: int) -> bool:
    """Whether the guest has touched so many bytes of its memory."""
    stats = rig.virsh(rig.host, "dommemstat", rig.name)
    found = re.search(r"rss (\d+)", stats)
    return found is not None and int(found[1]) * 1024 > 110 * MIB + size


@pytest.fixture(scope="session")
def virsh() -> Callable[..., str]:
    """Return the independent witness: ``virsh(host, "domstate", "web")``."""
    return lambda host, *words: run(program("virsh", "libvirt-clients"), "-c", host.uri, *words).strip()


@pytest.fixture(scope="session")
def loaders_of(new_loaders: Callable[..., Loaders]) -> Callable[..., Loaders]:
    """Return what gives the loaders of the minion of a host, the same for all tests."""
    return functools.cache(lambda host: new_loaders({"logilab": {"guests": {"uri": host.uri}}}))


@pytest.fixture
def make_rig(
    loaders_of: Callable[..., Loaders], tiny_guest: TinyGuest, daemon_root: Path, virsh: Callable[..., str]
) -> Iterator[Callable[..., Rig]]:
    """Return a maker of rigs: ``make_rig(host, paused=False, pool=folder)``; its files lie below ``root``."""
    made: list[Rig] = []

    def make(
        host: LibvirtHost, *, paused: bool = True, pool: Path | None = None, name: str = "", root: Path = daemon_root
    ) -> Rig:
        name = name or f"g{secrets.token_hex(3)}"
        folder = root / name
        volumes = pool or folder / "pool"
        folder.mkdir()
        volumes.mkdir(exist_ok=True)
        make_disk(folder / "disk.qcow2")
        link = host.open()
        link.storagePoolCreateXML(f"<pool type='dir'><name>{name}</name><target><path>{volumes}</path></target></pool>")
        disk = (
            f"<disk type='file'><driver type='qcow2'/><source file='{folder}/disk.qcow2'/>"
            "<target dev='vda' bus='virtio'/></disk>"
        )
        guest = link.defineXML(tiny_guest.xml(name, folder / "serial", devices=disk))
        guest.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)
        made.append(Rig(host, name, folder / "disk.qcow2", volumes, loaders_of(host), virsh))
        return made[-1]

    yield make
    for rig in made:
        for task in rig.started:
            if process := worker(task):
                process.kill()


@pytest.fixture
def rig(make_rig: Callable[..., Rig], libvirt_host: LibvirtHost) -> Iterator[Rig]:
    """A rig on the first host; the guest is gone afterwards."""
    made = make_rig(libvirt_host)
    yield made
    end_guest(libvirt_host, made)


@pytest.fixture
def traveller(
    make_rig: Callable[..., Rig], libvirt_host: LibvirtHost, other_libvirt_host: LibvirtHost
) -> Iterator[Rig]:
    """A running guest that may end on either host."""
    made = make_rig(libvirt_host, paused=False)
    yield made
    for host in (libvirt_host, other_libvirt_host):
        end_guest(host, made)


@pytest.fixture
def slow_convert(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - made before
    """Let a conversion by qemu-img take longer than any test; all else is done."""
    real = program("qemu-img", "qemu-utils")
    (tmp_path / "qemu-img").write_text(f'#!/bin/sh\n[ "$1" != convert ] || exec sleep 600\nexec {real} "$@"\n')
    (tmp_path / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
