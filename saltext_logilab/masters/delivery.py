"""
Deliveries: what waits in a file is brought to somebody who may be away, again and again, each delivery in its thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from asyncinotify import Inotify, Mask

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.lifetime import while_parent_lives

log = logging.getLogger(__name__)

SHORTEST, LONGEST = 1.0, 30.0  # seconds between two attempts


@dataclass
class Delivery:
    """
    One receiver.

    :param receiver: its name, for the log.
    :param work: brings all that there is; :raises UnavailableError: it did not get there.
    :param failed: is told why.
    :param longest: how many seconds it waits at most before it tries again.
    """

    receiver: str
    work: Callable[[], None]
    failed: Callable[[str], None]
    longest: float = LONGEST
    changed: threading.Event = field(default_factory=threading.Event)
    delay: float = 0.0

    def run(self) -> NoReturn:
        """Bring each change as soon as :attr:`changed` is set; after a failure wait, longer each time."""
        while True:
            self.changed.clear()
            try:
                complete = self.attempt()
            except Exception:
                log.exception("The delivery to %s failed; trying again", self.receiver)
                time.sleep(LONGEST)
                continue
            if complete:
                self.changed.wait(LONGEST)
            else:
                time.sleep(self.delay * random.uniform(0.5, 1))  # noqa: S311 - jitter is no secret

    def attempt(self) -> bool:
        """Bring what there is; return whether the receiver has everything now."""
        try:
            self.work()
        except UnavailableError as err:
            if not self.delay:
                log.warning("%s has to wait for its delivery: %s", self.receiver, err)
            self.delay = min(self.longest, max(SHORTEST, self.delay * 2))
            with contextlib.suppress(UnavailableError):  # the file itself may be what fails
                self.failed(str(err))
            return False
        self.delay = 0.0
        return True


def deliver(database: Path, deliveries: Iterable[Delivery]) -> None:
    """Make the deliveries out of the SQLite file ``database`` until the process that started this one ends."""
    running = list(deliveries)
    for one in running:  # daemon threads: one that waits for somebody does not hold up the end
        threading.Thread(target=one.run, name=f"delivery to {one.receiver}", daemon=True).start()
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(while_parent_lives(_wake(database, running)))


async def _wake(database: Path, deliveries: Iterable[Delivery]) -> None:
    """Wake the deliveries whenever the file changes: SQLite writes each change into the file beside it first."""
    with Inotify() as inotify:
        inotify.add_watch(database.parent, Mask.MODIFY)
        async for event in inotify:
            if event.name and event.name.name == f"{database.name}-wal":
                for one in deliveries:
                    one.changed.set()
