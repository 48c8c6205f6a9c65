"""
What cloud-init does with a seed, done beside the guest: its files are read, and the minion that they describe runs.

So all of a seed is real but the guest's own boot: the image as the guest has it, the keys in it, a minion at its
masters. A guest with Debian's own cloud-init is a test of its own.
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.debian_guest import DebianGuest
from tests.support.guests import TinyGuest
from tests.support.libvirt import LibvirtHost
from tests.support.optional import Optional
from tests.support.processes import Daemon, run
from tests.support.waiting import wait_until

pycdlib = Optional("pycdlib", extra="virt")
PATIENCE = 300


def read(image: Path) -> dict[str, Any]:
    """Return what the image tells, by the names of its files."""
    iso, found = pycdlib.PyCdlib(), {}
    iso.open(str(image))
    for name in ("user-data", "meta-data"):
        text = io.BytesIO()
        iso.get_file_from_iso_fp(text, joliet_path=f"/{name}")
        found[name] = yaml.safe_load(text.getvalue())
    iso.close()
    return found


def parts(tiny: TinyGuest, serial: Path) -> str:
    """Return the definition of a small guest without name, memory, disks and cards, as that of a Debian would be."""
    return DebianGuest(Path(), tiny.kernel, tiny.initrd).parts(serial)


class Minion:
    """The minion of a seeded guest, with a root of its own on this machine."""

    def __init__(self, image: Path, root: Path) -> None:
        self.root = root
        self.told = read(image)
        for file in self.told["user-data"]["write_files"]:
            path = root / file["path"].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(int(file["permissions"], 8))
            path.write_text(file["content"])
        settings = {"root_dir": str(root), "enable_fqdns_grains": False, "ipv6": False, "acceptance_wait_time": 1}
        (root / "etc/salt/minion").write_text(yaml.safe_dump(settings))
        words = [Path(sys.executable).parent / "salt-minion", "-c", root / "etc/salt", "-l", "warning"]
        self._daemon = Daemon("salt-minion", words, root)

    def start(self) -> None:
        """Start it."""
        self._daemon.start(lambda: True)

    def stop(self) -> None:
        """End it."""
        self._daemon.stop()


@contextlib.contextmanager
def standing_in(host: LibvirtHost, guest: str, pool: Path, root: Path) -> Iterator[list[Minion]]:
    """
    Stand in for the guest's cloud-init as soon as the guest runs with a seed in ``pool``.

    Gives the list in which its minion is then; it is ended afterwards.
    """
    made: list[Minion] = []
    given_up = threading.Event()

    def seeded() -> Path | None:
        if given_up.is_set():
            raise TimeoutError("nobody waits any more")
        images = list(pool.glob(f"{guest}-seed-*.iso"))
        runs = images and guest in run("virsh", "-c", host.uri, "list", "--name").split()
        return images[0] if runs else None

    def act() -> None:
        with contextlib.suppress(TimeoutError):
            made.append(Minion(wait_until(seeded, PATIENCE, f"a seed of {guest}"), root))
            made[0].start()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield made
    finally:
        given_up.set()
        thread.join()
        for minion in made:
            minion.stop()
