"""
The courier of a mine outbox: it brings one master what that master lacks, again and again, and waits for nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from asyncinotify import Inotify, Mask

from saltext_logilab import settings
from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.lifetime import while_parent_lives
from saltext_logilab.masters.mine.outbox import FILE, Batch, Outbox

log = logging.getLogger(__name__)

SHORTEST, LONGEST = 1.0, 30.0

SILENT = 30 * 24 * 3600  # a master that took nothing for so many seconds is a new one when it comes back

Load = dict[str, Any]
Send = Callable[[Load], object]


def loads(batch: Batch, minion: str, decode: Callable[[bytes], Any]) -> Iterator[Load]:
    """
    Yield the requests that bring a master what is in ``batch``.

    A master's ``clear`` of Salt 3006 to 3008 ends in an UnboundLocalError (``salt.daemons.masterapi``): not used here.
    """
    if batch.flush:
        yield {"cmd": "_mine_flush", "id": minion}
    if batch.values:
        data = {name: decode(value) for name, value in batch.values.items()}
        yield {"cmd": "_mine", "id": minion, "data": data, "clear": False}
    for name in batch.deleted:
        yield {"cmd": "_mine_delete", "id": minion, "fun": name}


@dataclass
class Courier:
    """
    What brings ``master`` the changes of ``outbox``, in a thread of its own.

    :param send: takes one request to the master and returns its answer; :raises UnavailableError: it did not get there.
    :param decode: turns a value of the outbox into what Salt sends.
    """

    outbox: Outbox
    master: str
    minion: str
    send: Send
    decode: Callable[[bytes], Any]
    changed: threading.Event = field(default_factory=threading.Event)
    _delay: float = 0.0

    def run(self) -> NoReturn:
        """Bring each change as soon as :attr:`changed` is set; after a failure wait, longer each time."""
        while True:
            self.changed.clear()
            try:
                complete = self.deliver()
            except Exception:
                log.exception("Bringing mine data to the master %s failed; trying again", self.master)
                time.sleep(LONGEST)
                continue
            if complete:
                self.changed.wait(LONGEST)
            else:
                time.sleep(self._delay * random.uniform(0.5, 1))  # noqa: S311 - jitter is no secret

    def deliver(self) -> bool:
        """Bring all that the master lacks; return whether it has everything now."""
        try:
            while batch := self.outbox.after(self.outbox.cursor(self.master)):
                for load in loads(batch, self.minion, self.decode):
                    self._send(load)
                self.outbox.acknowledge(self.master, batch.counter)
        except UnavailableError as err:
            if not self._delay:
                log.warning("Mine data is kept for the master %s: %s", self.master, err)
            self._delay = min(LONGEST, max(SHORTEST, self._delay * 2))
            with contextlib.suppress(UnavailableError):  # the outbox itself may be what fails
                self.outbox.fail(self.master, str(err))
            return False
        self._delay = 0.0
        return True

    def _send(self, load: Load) -> None:
        # False answers a delete of what is not there; a request that the master does not take is answered by nothing.
        if self.send(load) in ({}, None):
            raise UnavailableError(f"the master {self.master} did not take {load['cmd']}")


def bring(opts: Mapping[str, Any], senders: Mapping[str, Send], decode: Callable[[bytes], Any]) -> None:
    """
    Bring the mine of the minion with ``opts`` to each master of ``senders`` until the minion ends.

    :raises ConfigurationError: the state directory is configured wrongly.
    :raises UnavailableError: the outbox cannot be used.
    """
    path = settings.state_dir(opts, "masters") / FILE
    Outbox(path).forget_silent(int(time.time()) - SILENT)
    couriers = [Courier(Outbox(path), master, opts["id"], send, decode) for master, send in senders.items()]
    for one in couriers:  # daemon threads: one that waits for a dead master does not hold up the minion's end
        threading.Thread(target=one.run, name=f"mine to {one.master}", daemon=True).start()
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(while_parent_lives(_wake(path, couriers)))


async def _wake(path: Path, couriers: Iterable[Courier]) -> None:
    """Wake the couriers whenever the outbox changes: SQLite writes each change into the file beside it first."""
    with Inotify() as inotify:
        inotify.add_watch(path.parent, Mask.MODIFY)
        async for event in inotify:
            if event.name and event.name.name == f"{path.name}-wal":
                for one in couriers:
                    one.changed.set()
