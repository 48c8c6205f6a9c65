"""The courier of a mine outbox: it brings one master what that master lacks, and waits for nobody else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from saltext_logilab import settings
from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.data.versions import OUTBOX
from saltext_logilab.masters.delivery import Delivery, deliver
from saltext_logilab.masters.mine.outbox import FILE, Batch, Outbox

RETRY = 2.0  # seconds: a master that is back has the mine of all its minions soon
SILENT = 30 * 24 * 3600  # a master that took nothing for so many seconds is a new one when it comes back

Load = dict[str, Any]
Send = Callable[[Load], object]


def loads(batch: Batch, minion: str, decode: Callable[[bytes], Any]) -> Iterator[Load]:
    """
    Yield the requests that bring a master what is in ``batch``.

    The last one also says up to which counter of which outbox the master has everything then: so two masters can tell
    whose mine is newer. A master's ``clear`` of Salt 3006 to 3008 ends in an UnboundLocalError
    (``salt.daemons.masterapi``): not used here.
    """
    if batch.flush:
        yield {"cmd": "_mine_flush", "id": minion}
    for name in batch.deleted:
        yield {"cmd": "_mine_delete", "id": minion, "fun": name}
    data = {name: decode(value) for name, value in batch.values.items()}
    data[OUTBOX] = {"incarnation": batch.incarnation, "counter": batch.counter}
    yield {"cmd": "_mine", "id": minion, "data": data, "clear": False}


@dataclass(frozen=True)
class Courier:
    """
    What brings ``master`` the changes of ``outbox``.

    :param send: takes one request to the master and returns its answer; :raises UnavailableError: it did not get there.
    :param decode: turns a value of the outbox into what Salt sends.
    """

    outbox: Outbox
    master: str
    minion: str
    send: Send
    decode: Callable[[bytes], Any]

    def bring(self) -> None:
        """Bring all that the master lacks; :raises UnavailableError: it did not take it."""
        while batch := self.outbox.after(self.outbox.cursor(self.master)):
            for load in loads(batch, self.minion, self.decode):
                # False answers a delete of what is not there; a request that is not taken is answered by nothing.
                if self.send(load) in ({}, None):
                    raise UnavailableError(f"the master {self.master} did not take {load['cmd']}")
            self.outbox.acknowledge(self.master, batch.counter)

    def delivery(self) -> Delivery:
        """Return this as a delivery."""
        return Delivery(f"master {self.master}", self.bring, partial(self.outbox.fail, self.master), RETRY)


def bring_all(opts: Mapping[str, Any], senders: Mapping[str, Send], decode: Callable[[bytes], Any]) -> None:
    """
    Bring the mine of the minion with ``opts`` to each master of ``senders`` until the minion ends.

    :raises ConfigurationError: the state directory is configured wrongly.
    :raises UnavailableError: the outbox cannot be used.
    """
    path = settings.state_dir(opts, "masters") / FILE
    Outbox(path).forget_silent(int(time.time()) - SILENT)
    couriers = [Courier(Outbox(path), master, opts["id"], send, decode) for master, send in senders.items()]
    deliver(path, [courier.delivery() for courier in couriers])
