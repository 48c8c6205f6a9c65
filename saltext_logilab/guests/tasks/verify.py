"""
Verify a backup: its images are whole, and a guest that stands on them starts, with its network cards unplugged.

What the trial guest writes goes into images of its own that are thrown away. libvirt destroys it when the worker dies.
That it starts is told by its agent, or by what it reads of its disks and that it runs on.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from saltext_logilab.errors import UnavailableError
from saltext_logilab.guests import backups, connection, storage
from saltext_logilab.guests.backups import Backup
from saltext_logilab.guests.connection import Connection, Domain
from saltext_logilab.guests.tasks import images, restore
from saltext_logilab.guests.tasks.held import PAUSE, Held
from saltext_logilab.guests.tasks.records import Task

PREFIX = "verify-"
AGENT = 2  # seconds that an agent has for its answer


def check(link: Connection, pool: str, backup: str) -> tuple[str, dict[str, object]]:
    """
    Return the guest whose backup it is, and the spec of its verification.

    :raises RefusedError: an image is gone or not what it has to be.
    """
    folder = storage.folder(storage.file_pool(link, pool))
    found = backups.chain(backups.all_in(folder), backup)
    for one in found:
        for image in one.images.values():
            images.alone(folder / image)
    return found[0].guest, {"backup": backup, "chain": [one.task for one in found], "pool": pool}


class Verify(Held):
    """A verification."""

    def work(self, link: Connection, task: Task) -> None:
        """Check all images, start the trial guest, watch it, and note in the manifest that it ran."""
        folder = storage.folder(storage.file_pool(link, task.spec["pool"]))
        known = backups.all_in(folder)
        found = backups.chain(known, task.spec["backup"])
        files = [folder / image for one in found for image in one.images.values()]
        self.total = len(files) + 1
        for image in files:
            self.run("qemu-img", "check", "-U", "-q", "-f", "qcow2", str(image))
            self.done += 1
        self._try(link, task, folder, found)
        backups.rewrite(folder, dataclasses.replace(found[0], verified=time.time()))

    def _try(self, link: Connection, task: Task, folder: Path, found: list[Backup]) -> None:
        names = {disk: f"{PREFIX}{task.id}-{disk}.qcow2" for disk in found[0].images}
        self.learn(volumes=names)
        stacks = {}
        for disk, name in names.items():
            below = [str(folder / one.images[disk]) for one in found if disk in one.images]
            size = images.alone(Path(below[0]))["virtual-size"]
            self.run("qemu-img", "create", "-q", "-f", "qcow2", str(folder / name), str(size))
            stacks[disk] = [str(folder / name), *below]
        xml = restore.definition_for_trial(found[0], f"{PREFIX}{task.id}", stacks)
        guest = link.createXML(xml, connection.libvirt.VIR_DOMAIN_START_AUTODESTROY)
        try:
            self.learn(seen=self._watch(guest, task.spec["seconds"], task.spec["timeout"]))
        finally:
            _end(guest)
        restore.remove_images(link, task.spec["pool"], names.values())

    def _watch(self, guest: Domain, seconds: float, timeout: float) -> str:
        """Return what shows that the guest runs; :raises UnavailableError: nothing does."""
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < timeout:
            self.check_wanted()
            if not guest.isActive() or guest.state()[0] != connection.libvirt.VIR_DOMAIN_RUNNING:
                raise UnavailableError("the guest that was started from the backup did not run on")
            if _answers(guest):
                return "its agent answers"
            if passed >= seconds and _reads(guest):
                return "it has read its disks and runs on"
            time.sleep(PAUSE)
        raise UnavailableError(f"the guest that was started from the backup read nothing of its disks in {timeout:g} s")

    def clean(self, link: Connection, task: Task) -> None:
        """Remove the trial guest's images."""
        for guest in link.listAllDomains():
            if guest.name() == f"{PREFIX}{task.id}":
                _end(guest)
        if names := task.spec.get("volumes"):
            restore.remove_images(link, task.spec["pool"], names.values())


def _reads(guest: Domain) -> bool:
    ((_, stats),) = guest.connect().domainListGetStats([guest], connection.libvirt.VIR_DOMAIN_STATS_BLOCK)
    return any(value for key, value in stats.items() if key.endswith(".rd.bytes"))


def _answers(guest: Domain) -> bool:
    """Whether the guest's agent answers; asked with a deadline, for a guest that boots says nothing."""
    try:
        guest.agentSetResponseTimeout(AGENT)
        guest.getTime()
    except connection.libvirt.libvirtError:
        return False
    return True


def _end(guest: Domain) -> None:
    try:
        guest.destroy()
    except connection.libvirt.libvirtError as err:
        if err.get_error_code() not in (
            connection.libvirt.VIR_ERR_NO_DOMAIN,
            connection.libvirt.VIR_ERR_OPERATION_INVALID,
        ):
            raise
