"""
Let a guest that is off be somebody: it starts with a NoCloud image, and its minion is one that the masters know.

The image with the key pair is made here; the public key is offered to a master, which accepts it before the guest
starts. When the guest's minion has answered, the image goes. Up to the offer the worker itself does the work; from then
on all stands in the record and in libvirt, so that a new worker goes on where one was killed.
"""

from __future__ import annotations

import secrets
import time
import xml.etree.ElementTree as ET
from xml.sax.saxutils import quoteattr

from saltext_logilab.errors import LogilabError, RefusedError
from saltext_logilab.guests import change, connection, inventory, power, storage, wanted
from saltext_logilab.guests.connection import Connection, Domain
from saltext_logilab.guests.seeds import keys, nocloud
from saltext_logilab.guests.seeds import wish as wishes
from saltext_logilab.guests.tasks import operation
from saltext_logilab.guests.tasks.held import Held
from saltext_logilab.guests.tasks.operation import Phase, Seen
from saltext_logilab.guests.tasks.records import Task
from saltext_logilab.guests.tasks.restore import remove_images

TIMEOUT = 900.0  # seconds for the acceptance, the boot and the minion
MORE = 120.0  # seconds that making the image, and cleaning up, may take beside it
TARGETS = [f"vd{letter}" for letter in "bcdefghijklmnopqrstuvwxyz"]
NAMESPACE = "urn:saltext-logilab:seed"


def check(link: Connection, guest: str, pool: str | None) -> dict[str, object]:
    """
    Return the spec of a seed of ``guest``, but for what it is told.

    :param pool: where its image lies meanwhile; None for the pool of the guest's first disk.
    :raises RefusedError: the guest runs, or there is no pool or no room for the image.
    """
    found = connection.find(link, guest)
    if found.isActive():
        raise RefusedError(f"the guest {guest!r} runs: it is told who it is when it boots, so it has to be off")
    place = pool or _pool_of(link, found)
    storage.file_pool(link, place)
    used = {disk.target for disk in inventory.disks(found)}
    target = next((one for one in TARGETS if one not in used), None)
    if target is None:
        raise RefusedError(f"the guest {guest!r} has no place for one more disk")
    return {"uuid": found.UUIDString(), "pool": place, "target": target}


def _pool_of(link: Connection, guest: Domain) -> str:
    known = inventory.volumes(link)
    for disk in inventory.disks(guest):
        if disk.source in known:
            return known[disk.source].pool
    raise RefusedError(f"no disk of the guest {guest.name()!r} lies in a pool: the image of the seed needs one named")


def seeded(guest: Domain) -> str | None:
    """Return the id of the minion as which the guest was seeded; None where nobody has seeded it."""
    known = connection.libvirt
    try:
        text = guest.metadata(known.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE, known.VIR_DOMAIN_AFFECT_CONFIG)
    except known.libvirtError as err:
        if err.get_error_code() != known.VIR_ERR_NO_DOMAIN_METADATA:
            raise
        return None
    return ET.fromstring(text).get("minion")  # noqa: S314 - it comes from libvirtd


class Seed(Held):
    """A seed of a guest that is there."""

    def work(self, link: Connection, task: Task) -> None:
        """Make the image, give it to the guest, and offer the key."""
        public = self.make_image(link, task)
        self.learn(step="attach", attached=True)
        disk = self.seed_disk(link, task)
        change.apply(link, change.plan(link, wanted.read(task.guest, {"disks": [disk]})))
        self.offer(task, public)

    def make_image(self, link: Connection, task: Task) -> str:
        """Make the key pair and the image with it in the pool, and return the public key."""
        spec = task.spec
        self.learn(step="image", image=self.image_name(task))
        pair = keys.make_pair()
        told = nocloud.files(wishes.of(spec["wish"]), pair, f"{task.id}-{secrets.token_hex(4)}")
        pool = storage.file_pool(link, spec["pool"])
        nocloud.write(storage.folder(pool) / self.image_name(task), nocloud.image(told))
        storage.refresh(pool)
        self.check_wanted()
        return pair.public

    def image_name(self, task: Task) -> str:
        """Return what the volume with the seed is called."""
        return f"{task.guest}-seed-{task.id}.iso"

    def seed_disk(self, link: Connection, task: Task) -> dict[str, object]:
        """Return the disk by which the guest reads the seed."""
        folder = storage.folder(storage.file_pool(link, task.spec["pool"]))
        path = str(folder / self.image_name(task))
        return {"target": task.spec["target"], "source": path, "format": "raw", "bus": "virtio", "readonly": True}

    def offer(self, task: Task, public: str) -> None:
        """Offer the public key; from now on the time counts."""
        self.check_wanted()
        self.learn(step="accept", offer=public, until=time.time() + task.spec["timeout"])

    def limited(self, task: Task) -> bool:
        """Whether the limits of progress count: once the key is offered, the task's own time does."""
        return "offer" not in task.spec

    def look(self, link: Connection, task: Task) -> Seen:
        """Return how it stands: by its thread up to the offer, by record and libvirt from then on."""
        spec = task.spec
        if "offer" not in spec:
            seen = super().look(link, task)
            why = f"{spec.get('step', 'begin')}: {seen.reason}" if seen.phase is Phase.FAILED else seen.reason
            return Seen(Phase.WORKING if seen.phase is Phase.DONE else seen.phase, why, seen.done, seen.total)
        if "answered" in spec:
            return Seen(Phase.DONE, None, task.total, task.total)
        if why := self._over(link, task):
            return Seen(Phase.FAILED, f"{spec['step']}: {why}")
        ready = "accepted" in spec and "started" not in spec
        return Seen(Phase.READY if ready else Phase.WORKING, None, task.done, task.total)

    def _over(self, link: Connection, task: Task) -> str | None:
        """Return why it has come to nothing after the offer."""
        spec = task.spec
        if self.stopping.is_set():
            return "it was stopped"
        if problem := spec.get("refused") or spec.get("problem"):
            return str(problem)
        guest = operation.domain(link, task)
        if guest is None:
            return "the guest is gone"
        if "started" in spec and not guest.isActive():
            return "the guest was off before its minion answered"
        if time.time() > spec["until"]:
            late = "its minion has not answered" if "started" in spec else "no master has accepted the key"
            return f"{late} within {spec['timeout']:g} s"
        return None

    def finish(self, link: Connection, task: Task) -> None:
        """Start the guest, whose key is accepted."""
        guest = operation.domain(link, task)
        self.learn(step="start")
        try:
            if guest is not None:
                power.start(guest)
        except connection.libvirt.libvirtError as err:
            if not link.isAlive():
                raise
            self.learn(problem=str(err))
            return
        self.learn(step="answer", started=True)

    def stop(self, link: Connection, task: Task) -> bool:
        """Let it end; a guest whose minion has answered is not taken back."""
        if "answered" in task.spec:
            return False
        if "offer" in task.spec:
            self.stopping.set()
            return True
        return super().stop(link, task)

    def complete(self, link: Connection, task: Task) -> None:
        """Take the image from the guest, which needs it no more, and note who the guest is."""
        self.learn(step="remove")
        guest = operation.domain(link, task)
        try:
            if guest is not None:
                _mark(guest, task)
                self._detach(link, task)
            remove_images(link, task.spec["pool"], [self.image_name(task)])
        except (LogilabError, connection.libvirt.libvirtError) as err:
            if not link.isAlive():
                raise
            self.learn(note=f"the guest is up, but not all of its seed could be removed: {err}")

    def _detach(self, link: Connection, task: Task) -> None:
        """Take the disk of the seed away; a guest that does not let go of it loses it at its next start."""
        change.apply(link, change.plan(link, wanted.read(task.guest, {"remove_disks": [task.spec["target"]]})))

    def clean(self, link: Connection, task: Task) -> None:
        """Have the guest off and as it was, and the image gone."""
        guest, spec = operation.domain(link, task), task.spec
        if guest is not None:
            if guest.isActive() and spec.get("step") in ("start", "answer"):
                guest.destroy()
            if spec.get("attached"):
                self._detach(link, task)
        if "image" in spec:
            remove_images(link, spec["pool"], [spec["image"]])


def _mark(guest: Domain, task: Task) -> None:
    known = connection.libvirt
    text = f"<seed minion={quoteattr(task.spec['wish']['id'])} task={quoteattr(task.id)}/>"
    flags = known.VIR_DOMAIN_AFFECT_CONFIG | (known.VIR_DOMAIN_AFFECT_LIVE if guest.isActive() else 0)
    guest.setMetadata(known.VIR_DOMAIN_METADATA_ELEMENT, text, "logilab", NAMESPACE, flags)
