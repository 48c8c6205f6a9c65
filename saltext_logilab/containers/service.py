"""
The life of the engine: one owner on a host, a watch for each daemon, and what is told to the masters.

Events and the mine wait a moment for more of the same, so that a burst of changes is told once.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from saltext_logilab import locks
from saltext_logilab.containers.changes import Change
from saltext_logilab.containers.client import Client
from saltext_logilab.containers.database import opened
from saltext_logilab.containers.registry import Registry
from saltext_logilab.containers.settings import ContainersSettings
from saltext_logilab.containers.watch import News, Watch
from saltext_logilab.errors import LogilabError
from saltext_logilab.within.pace import Pace

log = logging.getLogger(__name__)

TAG = "salt/logilab/containers"
DEBOUNCE = 0.08
MOST = 200
AGAIN = (3.0, 30.0)  # the mine is sent without an answer: a master may just not have been connected
RETRY = 5.0
STANDBY = 0.5

Tell = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Effects:
    """
    What an engine does to the outside: ``tell`` fires an event, ``publish`` sends the table to the mine, ``look`` lets
    the minion look at the containers as its targets, and returns whether there was a reason.
    """

    tell: Tell
    publish: Callable[[], None]
    look: Callable[[], bool]


class Service:
    """The engine of one host, with its effects."""

    def __init__(self, settings: ContainersSettings, effects: Effects, alive: Callable[[], bool]) -> None:
        """Take the effects from outside; ``alive`` says whether the process that it serves still lives."""
        self._settings = settings
        self._effects = effects
        self._alive = alive
        self._pace = Pace()
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._watches: dict[str, Watch] = {}
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End :meth:`run` within a second or two."""
        self._stopped.set()

    def run(self) -> None:
        """
        Stand by until no other process owns the registry, then keep it, until the process that it serves has ended.

        :raises UnavailableError: the state directory cannot be used.
        """
        with locks.elected(self._settings.folder / locks.ENGINE, self._stand_by) as is_owner:
            if is_owner:
                self._keep()

    def _stand_by(self) -> bool:
        self._stopped.wait(STANDBY)
        return self._goes_on()

    def _goes_on(self) -> bool:
        return self._alive() and not self._stopped.is_set()

    def _keep(self) -> None:
        with opened(self._settings.folder) as connection:
            Registry(connection).forget_other_daemons(self._settings.daemons)
        threads = [
            threading.Thread(target=self._follow, args=item, name=f"docker_ports {item[0]}", daemon=True)
            for item in self._settings.daemons.items()
        ]
        for thread in threads:
            thread.start()
        try:
            self._publish_all()
        finally:
            self._stopped.set()
            for watch in self._watches.values():
                watch.stop()
            for thread in threads:
                thread.join(timeout=3)

    def _follow(self, name: str, url: str) -> None:
        """Follow one daemon for ever: the outermost loop of its thread."""
        while not self._stopped.is_set():
            try:
                with opened(self._settings.folder) as connection:
                    registry = Registry(connection, self._settings.history)
                    self._watches[name] = Watch(name, Client(url), registry, self._news.put, self._settings.labels)
                    if not self._stopped.is_set():
                        self._watches[name].run()
            except LogilabError as err:
                log.error("docker_ports: %s: %s", name, err)
            except Exception:
                log.exception("docker_ports: an error that should not be, while following %s", name)
            self._stopped.wait(RETRY)

    def _publish_all(self) -> None:
        due, is_seen = [time.monotonic()], False
        while self._goes_on():
            news = self._gather(1.0 if is_seen else min(1.0, max(0.01, self._pace.due - time.monotonic())))
            for told in news:
                self._guarded(self._effects.tell, *told)
            now = time.monotonic()
            if news:
                due, is_seen = [now, *(now + delay for delay in AGAIN)], False
            if not is_seen and now >= self._pace.due:
                is_seen = True
                if self._guarded(self._effects.look):
                    self._pace.took(now)
            if due and now >= due[0]:
                self._guarded(self._effects.publish)
                due = due[1:] or [now + self._settings.heartbeat]

    def _gather(self, patience: float) -> list[tuple[str, dict[str, Any]]]:
        """Return the events to fire, after a moment without news; nothing when there is none for ``patience`` s."""
        try:
            found = [self._news.get(timeout=patience)]
        except queue.Empty:
            return []
        end = time.monotonic() + DEBOUNCE
        while (left := end - time.monotonic()) > 0:
            try:
                found.append(self._news.get(timeout=left))
            except queue.Empty:
                break
        return events(found)

    def _guarded(self, effect: Callable[..., object], *args: object) -> object:
        try:
            return effect(*args)
        except Exception:  # the outermost loop: the registry goes on without its readers
            log.exception("docker_ports: what has changed could not be told")
            return None


def events(news: Sequence[News]) -> list[tuple[str, dict[str, Any]]]:
    """Return the tag and the data of each event for ``news``: neighbours of one kind and daemon are told together."""
    merged: list[News] = []
    for one in news:
        last = next((index for index, each in enumerate(merged) if each.daemon.name == one.daemon.name), None)
        if last is not None and merged[last].kind == one.kind:
            merged[last] = News(one.kind, one.daemon, (*merged[last].changes, *one.changes))
        else:
            merged.insert(0, one)
    return [(f"{TAG}/{one.daemon.name}/{one.kind}", _data(one)) for one in reversed(merged)]


def _data(news: News) -> dict[str, Any]:
    daemon = news.daemon
    return {
        "daemon": daemon.name,
        "state": daemon.state,
        "generation": daemon.generation,
        "synced": daemon.synced,
        **({"error": daemon.error} if daemon.error else {}),
        "changes": [change_data(daemon.name, change) for change in news.changes[:MOST]],
        "more": max(0, len(news.changes) - MOST),
    }


def change_data(daemon: str, change: Change) -> dict[str, Any]:
    """Return a change as plain data."""
    return {
        "at": change.at,
        "daemon": daemon,
        "container": change.name,
        "id": change.container[:12],
        "what": change.what,
        "detail": change.detail,
    }
