"""
Rounds: look at the key store and the records, and bring each in line with the other.

A round looks at some ids or at all: what was changed here becomes records, and what the records mean is applied. It is
begun by a hint (the id of a key that seems to have changed; it decides where to look, never what is so), by records
that came, a second after a key directory has changed, and every ten seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from saltext_logilab.errors import LogilabError, UnavailableError
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.keydirs import Held
from saltext_logilab.masters.reconcile import Applied, Step, decided, is_settled, local_changes, steps, vanished
from saltext_logilab.masters.records import Effect, Key, State, effect

log = logging.getLogger(__name__)

POLL_INTERVAL = 1.0
SCAN_INTERVAL = 10.0
SECOND_READING = 0.03


class KeyStore(Protocol):
    """What a member needs of a master's key store; see :class:`~saltext_logilab.masters.keydirs.KeyDirectories`."""

    async def follow(self, hint: Callable[[str], None]) -> None: ...
    def stamp(self) -> object: ...
    def scan(self) -> dict[str, Held]: ...
    def read(self, ids: Iterable[str]) -> dict[str, Held]: ...
    def put(self, minion: str, state: State, key: Key) -> None: ...
    def remove(self, minion: str, fingerprint: str) -> bool: ...


class Surroundings(Protocol):
    """What a member knows of its master and does to it besides the key store."""

    @property
    def versions(self) -> dict[str, str]:
        """The versions of ``salt`` and of ``logilab`` (this extension)."""
        ...

    def forget(self) -> None:
        """Do what ``salt-key`` does after it has deleted or rejected keys: drop cached data, rotate the AES key."""

    def tell(self, what: str, data: dict[str, Any]) -> None:
        """Fire the event ``salt/logilab/masters/<what>``."""


class Rounds:
    """
    The rounds of one member.

    :param send: called when there are new records of this member.
    :param news: called when something has changed that the health file shows.
    """

    def __init__(
        self,
        journal: Journal,
        store: KeyStore,
        surroundings: Surroundings,
        *,
        send: Callable[[], None],
        news: Callable[[], None],
    ) -> None:
        self.errors: dict[str, str] = {}
        self.unapplied = set(journal.records())
        self._journal = journal
        self._store = store
        self._surroundings = surroundings
        self._send = send
        self._news = news
        self._applied = journal.applied()
        self._hints: set[str] = set()
        self._everything = True
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Follow the key store and do rounds, until cancelled."""
        await asyncio.gather(self._follow(), self._poll(), self._rounds())

    def arrived(self, subjects: set[str]) -> None:
        """Say that records about ``subjects`` have come."""
        self.unapplied |= subjects
        self._wake.set()

    async def _follow(self) -> None:
        def hint(subject: str) -> None:
            self._hints.add(subject)
            self._wake.set()

        while True:
            try:
                await self._store.follow(hint)
            except UnavailableError as err:
                self._fail("follow", f"{err}; changes by hand are seen later")
            await asyncio.sleep(SCAN_INTERVAL)

    async def _poll(self) -> None:
        stamp: object = None
        scanned = float("-inf")
        while True:
            now, seen = time.monotonic(), self._store.stamp()
            if seen != stamp or now - scanned > SCAN_INTERVAL:
                stamp, scanned, self._everything = seen, now, True
                self._wake.set()
            await asyncio.sleep(POLL_INTERVAL)

    async def _rounds(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            try:
                await self._round()
                self._mend("round")
            except LogilabError as err:
                self._fail("round", str(err))
                self._everything = True
            except Exception as err:  # the outermost loop of a daemon: what nobody thought of must not end it
                log.exception("A round has failed")
                self._fail("round", f"a round has failed, see this master's log: {type(err).__name__}: {err}")
                self._everything = True
            # A burst of changes is taken in ever larger pieces: no more than a third of the time goes into rounds.
            await asyncio.sleep(0.01 + 2 * (time.monotonic() - began))

    async def _round(self) -> None:
        whole, hints, arrived = self._everything, self._hints, set(self.unapplied)
        self._everything, self._hints = False, set()
        store = self._store.scan() if whole else self._store.read(hints | arrived)
        looked_at = {*store, *self._applied} if whole else hints
        subjects = arrived | {one for one in looked_at if not is_settled(store.get(one), self._applied.get(one))}
        applied = {one: self._applied[one] for one in subjects if one in self._applied}
        store = {one: store[one] for one in subjects if one in store}
        await self._read_again(store, applied)
        records = self._journal.records(subjects)
        changes = local_changes(store, applied, records)
        if changes:
            shown = self._journal.originate(changes, int(time.time()))
            self._send()
            self._applied.update(shown)
            applied.update(shown)
            records.update(self._journal.records(shown))
        waiting = self._apply(steps(subjects, store, applied, records), store)
        self._report({one: effect(records[one]) for one in subjects if one in records})
        self.unapplied -= arrived - waiting

    async def _read_again(self, store: dict[str, Held], applied: dict[str, Applied]) -> None:
        """A key that has vanished is read once more: Salt's store writes by removing first."""
        gone = vanished(store, applied)
        if gone:
            await asyncio.sleep(SECOND_READING)
            again = self._store.read(gone)
            for subject in gone:
                store.pop(subject, None)
            store.update(again)

    def _apply(self, plan: list[Step], store: dict[str, Held]) -> set[str]:
        """Do ``plan``; return the subjects that were touched by somebody else meanwhile and wait for the next round."""
        done: dict[str, Applied] = {}
        waiting: set[str] = set()
        revoked = False
        try:
            for step in plan:
                held = store.get(step.subject)
                if (step.put or step.remove) and self._store.read([step.subject]).get(step.subject) != held:
                    waiting.add(step.subject)
                    self._wake.set()
                    continue
                revoked = self._do(step, held) or revoked
                done[step.subject] = step.applied
        finally:
            if done:
                self._journal.set_applied(done)
                self._applied.update(done)
                self._news()
            if revoked:
                self._surroundings.forget()
        return waiting

    def _do(self, step: Step, held: Held | None) -> bool:
        """Do ``step``; say whether it has taken an accepted key away."""
        shown = decided(held)
        if step.put:
            state, key = step.put
            self._store.put(step.subject, state, key)
            if held and held.state == "pending" and held.key != key:
                detail = f"another key was pending here, {held.fingerprint}: it is among the denied ones now"
                self._note(step.subject, "denied", detail)
        elif step.remove:
            self._store.remove(step.subject, step.remove)
        takes = shown is not None and shown[0] is State.ACCEPTED
        return takes and (bool(step.remove) or (step.put is not None and step.put[0] is State.REJECTED))

    def _report(self, effects: dict[str, Effect]) -> None:
        for subject, means in effects.items():
            if means.rivals:
                keys = [one.fingerprint for one in means.rivals]
                if self._note(subject, "conflict", f"different keys on different masters: {' and '.join(keys)}"):
                    self._surroundings.tell("conflict", {"id": subject, "fingerprints": keys})
            else:
                self._journal.settle(subject, "conflict")
            if means.overruled:
                lost = ", ".join(sorted({one.state.value for one in means.overruled}))
                self._note(subject, "overruled", f"{lost} and at the same time {means.state and means.state.value}")
            else:
                self._journal.settle(subject, "overruled")

    def _note(self, subject: str, kind: str, detail: str) -> bool:
        new = self._journal.report(subject, kind, detail, int(time.time()))
        if new:
            log.warning("%s: %s", subject, detail)
            self._news()
        return new

    def _fail(self, what: str, error: str) -> None:
        if self.errors.get(what) != error:
            log.error("%s", error)
            self.errors[what] = error
            self._news()

    def _mend(self, what: str) -> None:
        if self.errors.pop(what, None):
            self._news()
