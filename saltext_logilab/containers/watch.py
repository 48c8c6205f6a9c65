"""
Follow one daemon: subscribe, list, follow the events, list again.

The subscription comes first, so that nothing falls between it and the listing. Where the stream breaks, it is opened
anew with a growing pause, and what the Engine says then is compared with what is known: a daemon that was killed tells
nothing of the containers that died with it. Once a minute all is listed again, as the Engine drops the events of a
slow listener without a notice.

Events tell how a container lives, listings which ports it has: for a moment after an event a listing may still show
what was before, so what the event told is laid over it.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from saltext_logilab.containers import listing
from saltext_logilab.containers.changes import Change, after, between, merged, told_by
from saltext_logilab.containers.client import Client, Events
from saltext_logilab.containers.listing import Event
from saltext_logilab.containers.ports import Container
from saltext_logilab.containers.registry import CONNECTED, STALE, Daemon, Registry, Update
from saltext_logilab.containers.shared import Shared
from saltext_logilab.errors import UnavailableError

log = logging.getLogger(__name__)

RELIST = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 15.0
QUIET = 0.05
FRESH = 1.0
SETTLING = (0.1, 0.4, 2.0)
MANY = 32
EARLY = 100
NETWORK_ACTIONS = ("network connect", "network disconnect")
_SETTLES = ("start", *NETWORK_ACTIONS, "update")
_END: None = None


@dataclass(frozen=True)
class News:
    """What a watch tells: ``kind`` is ``changed``, ``stale`` or ``resynced``."""

    kind: str
    daemon: Daemon
    changes: tuple[Change, ...] = ()


class Watch:
    """The following of one daemon, which writes to the registry and tells its news."""

    def __init__(
        self,
        name: str,
        client: Client,
        registry: Registry,
        tell: Callable[[News], None],
        labels: Sequence[str] = (),
    ) -> None:
        """Take up where the registry has left off; nothing is asked of the daemon yet."""
        self._client = client
        self._registry = registry
        self._tell = tell
        self._labels = frozenset(labels)
        self._clock = time.time
        self._stop = threading.Event()
        known = registry.daemons().get(name)
        self._daemon = known or Daemon(name, client.url, STALE, self._clock(), None)
        self._is_new = known is None or known.synced is None
        self._known = registry.containers(name)
        self._fresh: dict[str, Event] = {}
        self._started: dict[str, str] = {}
        self._early: dict[str, list[Event]] = {}
        self._shared = Shared(client)
        self._due: dict[float, set[str]] = {}

    @property
    def daemon(self) -> Daemon:
        """What is known of the daemon itself."""
        return self._daemon

    def stop(self) -> None:
        """End :meth:`run` within a second."""
        self._stop.set()

    def run(self) -> None:
        """Follow until :meth:`stop`; a daemon that cannot be reached is tried again and again."""
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                self._follow()
                problem = "the daemon has ended the event stream"
            except UnavailableError as err:
                problem = str(err)
            if self._stop.is_set():
                return
            self._lost(problem)
            if time.monotonic() - begun > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            self._stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _lost(self, problem: str) -> None:
        was, known = self._daemon.state, self._daemon.error
        since = self._clock() if was == CONNECTED else self._daemon.since
        self._daemon = replace(self._daemon, state=STALE, since=since, error=problem)
        self._registry.note(self._daemon)
        if problem != known:
            log.warning("%s: %s", self._daemon.name, problem)
        if was == CONNECTED:
            self._tell(News("stale", self._daemon))

    def _follow(self) -> None:
        messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        if (
            not self._daemon.cursor
        ):  # from here on each event is told, also when this process is killed before it is read
            self._daemon = replace(self._daemon, cursor=_cursor(int(self._clock() * 10**9)))
        with contextlib.closing(self._client.events(self._daemon.cursor)) as stream:
            reader = threading.Thread(target=_read, args=(stream, messages), daemon=True)
            reader.start()
            self._replay(messages)
            self._resync()
            next_listing = time.monotonic() + RELIST
            while not self._stop.is_set():
                due = min([next_listing, *self._due])
                batch = _batch(messages, min(1.0, max(0.0, due - time.monotonic())))
                if _END in batch:
                    self._apply(batch)
                    return
                self._apply(batch)
                if time.monotonic() >= next_listing:
                    self._compare()
                    next_listing = time.monotonic() + RELIST

    def _replay(self, messages: queue.SimpleQueue[dict[str, Any] | None]) -> None:
        """Take the events of the daemon's ring that were missed: they tell more than a comparison does."""
        while batch := _batch(messages, QUIET):
            self._absorb(_events(batch))
            if _END in batch:
                messages.put(_END)
                return

    def _resync(self) -> None:
        engine = self._client.version()
        was, since = self._daemon, self._clock()
        self._daemon = replace(was, state=CONNECTED, error="", engine=engine, url=self._client.url)
        if was.state != CONNECTED:
            self._daemon = replace(self._daemon, since=since)
        changes = self._compare(quiet=True)
        if (changes or was.state != CONNECTED) and not self._is_new:
            self._tell(News("resynced", self._daemon, changes))
        elif self._is_new:
            self._is_new = False
            self._tell(News("changed", self._daemon, changes))

    def _compare(self, ids: Sequence[str] = (), quiet: bool = False) -> tuple[Change, ...]:
        """List all containers, or those of ``ids``, and write what differs from what is known."""
        at = self._clock()
        self._fresh = {one: event for one, event in self._fresh.items() if at - event.at < FRESH}
        listed = (listing.laid_over(one, self._fresh.get(one["Id"])) for one in self._client.listing(ids))
        found = {one.id: one for one in listing.containers(listed, self._labels)}
        scope = set(ids) or self._known.keys() | found.keys()
        whole = {**self._known, **found}
        found = {one: self._shared.complete(container, whole, self._known) for one, container in found.items()}
        old = {one: self._known[one] for one in scope if one in self._known}
        changes = [] if self._is_new else between(old, found, at)
        if not ids:
            self._daemon = replace(self._daemon, synced=self._clock())
        gone = tuple(old.keys() - found.keys())
        present = [one for one in found.values() if old.get(one.id) != one or _differs(old[one.id], one)]
        self._write(present, gone, changes, at, quiet)
        if not ids:
            self._registry.note_use(self._daemon.name, at)
        return tuple(changes)

    def _apply(self, batch: Iterable[dict[str, Any] | None]) -> None:
        """Bring the events of ``batch`` into the registry, then ask the Engine for what they cannot tell."""
        events = _events(batch)
        self._absorb(events)
        touched = {event.container for event in events if event.action == "start"}
        settling = {event.container for event in events if event.action in _SETTLES}
        for delay in SETTLING if settling else ():
            self._due[time.monotonic() + delay] = settling
        for moment in [one for one in self._due if one <= time.monotonic()]:
            touched |= self._due.pop(moment)
        if touched:
            self._compare(sorted(touched) if len(touched) <= MANY else ())

    def _absorb(self, events: Sequence[Event]) -> None:
        """Write what ``events`` tell by themselves: the history, and ports that are closed now."""
        if not events:
            return
        at, known = self._clock(), dict(self._known)
        history = [change for event in events for change in self._told(event)]
        for event in events:
            self._take(event, known)
        present = [one for one in known.values() if one is not self._known.get(one.id)]
        gone = tuple(self._known.keys() - known.keys())
        closed = [change for change in between(self._known, known, at) if change.what == "closed"]
        self._write(present, gone, [*history, *closed], at)

    def _told(self, event: Event) -> Iterator[Change]:
        """Yield the changes that ``event`` tells of; what never started was never known."""
        if event.action == "start":
            self._shared.forget(event.container)
            self._started[event.container] = event.name
            told = (told_by(one, event.name) for one in self._early.pop(event.container, ()))
            yield from filter(None, told)
        known = self._known.get(event.container)
        if known or event.container in self._started:
            name = known.name if known else self._started[event.container]
            if change := told_by(event, name):
                yield change
        elif event.action in NETWORK_ACTIONS:  # they come before a container's first start
            self._early.setdefault(event.container, []).append(event)
            if len(self._early) > EARLY:
                del self._early[next(iter(self._early))]
        if event.action == "destroy":
            self._started.pop(event.container, None)
            self._early.pop(event.container, None)

    def _take(self, event: Event, known: dict[str, Container]) -> None:
        self._fresh[event.container] = merged(self._fresh.get(event.container), event)
        one = known.get(event.container)
        changed = after(event, one) if one else None
        if changed is None:
            known.pop(event.container, None)
        elif changed != one:
            known[event.container] = changed

    def _write(
        self,
        present: Sequence[Container],
        gone: tuple[str, ...],
        changes: Sequence[Change],
        at: float,
        quiet: bool = False,
    ) -> None:
        if changes or present or gone:
            self._daemon = replace(self._daemon, generation=self._daemon.generation + 1)
        keys = [change.key for change in changes if change.key]
        if keys:
            last = max(int(key.partition(":")[0]) for key in keys)
            self._daemon = replace(self._daemon, cursor=_cursor(last))
        self._registry.apply(self._daemon, Update(at, tuple(present), gone, tuple(changes)))
        self._known.update((one.id, one) for one in present)
        for one in gone:
            self._known.pop(one, None)
        if changes and not quiet and not self._is_new:
            self._tell(News("changed", self._daemon, tuple(changes)))


def _cursor(nano: int) -> str:
    """Return a time as the Engine's ``since`` takes it."""
    return f"{nano // 10**9}.{nano % 10**9:09d}"


def _differs(old: Container, new: Container) -> bool:
    """Say whether what a comparison of ports passes over, how they were asked for, has changed."""
    return [port.requested for port in old.ports] != [port.requested for port in new.ports]


def _read(stream: Events, messages: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    for message in stream:
        messages.put(message)
    messages.put(_END)


def _batch(messages: queue.SimpleQueue[dict[str, Any] | None], timeout: float) -> list[dict[str, Any] | None]:
    """Return all messages that wait, or the first that comes within ``timeout`` seconds."""
    found: list[dict[str, Any] | None] = []
    try:
        found.append(messages.get(timeout=timeout) if timeout > 0 else messages.get_nowait())
        while True:
            found.append(messages.get_nowait())
    except queue.Empty:
        return found


def _events(batch: Iterable[dict[str, Any] | None]) -> list[Event]:
    told = (listing.event(message) for message in batch if message is not None)
    return [event for event in told if event]
