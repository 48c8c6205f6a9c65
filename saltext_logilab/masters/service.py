"""The life of a member in its engine process: one at a time, as long as its master lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from saltext_logilab import locks
from saltext_logilab import settings as package_settings
from saltext_logilab.errors import ConfigurationError, LogilabError
from saltext_logilab.identity import load_or_create
from saltext_logilab.masters import archive, health, settings
from saltext_logilab.masters.keystore import MasterSurroundings, open_store
from saltext_logilab.masters.lifetime import while_parent_lives
from saltext_logilab.masters.member import LeftError, Member

log = logging.getLogger(__name__)

RETRY = 10.0


def run(opts: Mapping[str, Any]) -> None:
    """
    Be the member that ``opts`` configures, until the master ends.

    :raises ConfigurationError: the configuration is wrong.
    :raises UnavailableError: the state directory cannot be used.
    """
    configured = settings.read(opts)
    configured.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _only_one(configured.folder):
        while True:
            try:
                _work(opts, configured)
            except LeftError:
                archive.put_away(configured.folder, (settings.IDENTITY, *archive.JOURNAL, archive.GROUP), "left")
            else:
                return


def _work(opts: Mapping[str, Any], configured: settings.MastersSettings) -> None:
    identity = load_or_create(configured.identity)
    journal = archive.open_journal(configured.journal, identity)

    async def work() -> None:
        await while_parent_lives(Member(configured, journal, open_store(opts), MasterSurroundings(opts)).run())

    try:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(work())
    finally:
        journal.close()


def wait(opts: Mapping[str, Any], error: LogilabError) -> None:
    """Leave ``error`` for the status; wait a moment, or, when a new try would change nothing, for the master's end."""
    with contextlib.suppress(LogilabError, OSError):
        folder = package_settings.state_dir(opts, settings.AREA)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        health.write(folder, {"pid": os.getpid(), "written": time.time(), "errors": [str(error)], "peers": {}})
    parent, end = os.getppid(), time.monotonic() + RETRY
    while isinstance(error, ConfigurationError) or time.monotonic() < end:
        if os.getppid() != parent:
            raise SystemExit(0)
        time.sleep(1)


def is_running(folder: Path) -> bool:
    """Say whether a member is at work on the state in ``folder``."""
    return locks.is_held(folder / locks.ENGINE)


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Wait until no other process is at work in ``folder``: the engine of a master that was killed ends in a second."""
    waited = False

    def wait() -> bool:
        nonlocal waited
        if not waited:
            log.warning("Another process is at work in %s; standing by", folder)
        waited = True
        time.sleep(0.2)
        return True

    with locks.elected(folder / locks.ENGINE, wait):
        yield
