"""Guests of a real libvirtd, followed by its events."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saltext_logilab.guests.lifecycle import Follower
from tests.support.guests import TinyGuest
from tests.support.libvirt import LibvirtHost
from tests.support.waiting import wait_until

PATIENCE = 30


def follow(uri: str, parent: int, told: Any) -> None:
    """Follow in a process of its own, to which libvirt's event loop belongs; ``told`` counts."""

    def tell() -> None:
        with told.get_lock():
            told.value += 1

    Follower(uri, tell, lambda: os.getppid() == parent).run()


@contextmanager
def followed(uri: str) -> Iterator[Callable[[], int]]:
    """Give what returns how often it was told of a change."""
    own = multiprocessing.get_context("spawn")
    told = own.Value("i", 0)
    process = own.Process(target=follow, args=(uri, os.getpid(), told), daemon=True)
    process.start()
    try:
        yield lambda: int(told.value)
    finally:
        process.kill()
        process.join()


def test_guests_that_come_and_go(
    new_libvirt_host: Callable[[], LibvirtHost], agent_kernel: TinyGuest, tmp_path: Path
) -> None:
    """It tells at first, then of each change once, and after the daemon was away again; nothing else is told."""
    host = new_libvirt_host()
    with followed(host.uri) as told:
        wait_until(lambda: told() == 1, PATIENCE, "the first look")
        guest = host.open().defineXML(agent_kernel.xml("web", tmp_path / "serial"))
        wait_until(lambda: told() == 2, PATIENCE, "the definition")
        for change in (guest.create, guest.suspend, guest.resume, guest.destroy, guest.undefine):
            known = told()
            change()
            wait_until(lambda known=known: told() > known, PATIENCE, change.__name__)
        known, begin = told(), time.monotonic()
        host.kill()
        host.start()
        wait_until(lambda: told() > known, PATIENCE, "the daemon's return")
        assert time.monotonic() - begin < PATIENCE
