"""Guests that are made and seeded on a rig, up to what a real guest and a master have to say; the test says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saltext_logilab.guests.seeds import keys, offer
from saltext_logilab.guests.seeds.offer import Offer
from tests.support.processes import run
from tests.support.rigs import MIB, PATIENCE, Rig
from tests.support.waiting import wait_until

WISH = {"minion": {"master": "192.0.2.1"}}
IMAGE = "base.qcow2"


class Seeds:
    """The seeds of a rig."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.name = rig, f"{rig.name}-new"
        run("qemu-img", "create", "-q", "-f", "qcow2", rig.pool / IMAGE, str(16 * MIB))
        run("qemu-io", "-c", "write -P 7 0 1M", rig.pool / IMAGE)
        self.minion = keys.make_pair()
        opts = rig.loaders.opts
        pem = Path(opts["pki_dir"]) / "minion.pem"
        pem.parent.mkdir(parents=True, exist_ok=True)
        pem.write_text(self.minion.private)
        self.host = str(opts["id"])

    def create(self, **more: Any) -> str:
        """Begin to make the guest."""
        told = {"accelerator": "qemu", "seed": WISH, **more}
        return str(self.rig.call("create", self.name, IMAGE, self.rig.name, 64, **told))

    def model(self) -> str:
        """Return the name of a guest that is off, with a disk in the pool."""
        disk = {"target": "vda", "pool": self.rig.name, "volume": IMAGE}
        told = {"memory_mib": 64, "vcpus": 1, "accelerator": "qemu", "disks": [disk]}
        made = self.rig.loaders.states.libvirt_guest.present(name=self.name, **told)
        assert made.result is True, made.comment
        return self.name

    def told(self, task: str) -> dict[str, Any]:
        """Return what the module tells of the seed of ``task``."""
        return next(one for one in self.rig.loaders.modules["libvirt_seed.list"]() if one["task"] == task)

    def offered(self, task: str) -> Offer:
        """Return what is offered, checked as a master does, once it is."""
        return offer.read(wait_until(lambda: self._offer(task), PATIENCE, "offer"), self.host, self.minion.public)

    def _offer(self, task: str) -> object:
        told = self.told(task)
        assert told["state"] in ("pending", "running"), told["reason"]
        return told["offer"]

    def answer(self, task: str, word: str, **more: Any) -> Any:
        """Say what a master says."""
        return self.rig.loaders.modules["libvirt_seed.answer"](task, self.told(task)["nonce"], word, **more)

    def step(self, task: str, step: str) -> None:
        """Wait until the task is in ``step``; a master accepts the key where that has to be."""
        if step == "copy":
            wait_until(lambda: self.rig.worker(task).children(), PATIENCE, "the copy")
            return
        self.offered(task)
        if step == "answer":
            self.answer(task, "accepted")
            wait_until(lambda: self.told(task)["step"] == step, PATIENCE, step)

    def virsh(self, *words: str) -> str:
        """Ask virsh."""
        return self.rig.virsh(self.rig.host, *words)

    @property
    def guests(self) -> list[str]:
        """The guests that there are."""
        return sorted(self.virsh("list", "--all", "--name").split())

    def end(self) -> None:
        """Remove the guest."""
        for guest in self.rig.host.open().listAllDomains():
            if guest.name() == self.name:
                if guest.isActive():
                    guest.destroy()
                guest.undefine()
