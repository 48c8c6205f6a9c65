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
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from saltext_logilab.errors import LogilabError, UnavailableError
from saltext_logilab.masters.guard import forever
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
    def identity(self) -> str: ...
    def is_denied(self, minion: str) -> bool: ...
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
        await asyncio.gather(
            forever(self._follow, lambda error: self._fail("follow", f"{error}; changes by hand are seen later")),
            forever(self._poll, lambda error: self._fail("poll", error)),
            forever(self._next_round, self._failed),
        )

    def arrived(self, subjects: set[str]) -> None:
        """Say that records about ``subjects`` have come."""
        self.unapplied |= subjects
        self._wake.set()

    async def _follow(self) -> None:
        def hint(subject: str) -> None:
            self._hints.add(subject)
            self._wake.set()

        following = asyncio.ensure_future(self._store.follow(hint))
        try:
            await asyncio.wait([following], timeout=1)
            if not following.done():
                self._mend("follow")
            await following
        finally:
            following.cancel()

    async def _poll(self) -> None:
        stamp: object = None
        scanned = float("-inf")
        while True:
            now, seen = time.monotonic(), self._store.stamp()
            if seen != stamp or now - scanned > SCAN_INTERVAL:
                stamp, scanned, self._everything = seen, now, True
                self._wake.set()
            self._mend("poll")
            await asyncio.sleep(POLL_INTERVAL)

    async def _next_round(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            await self._round()
            self._mend("round")
            # A burst of changes is taken in ever larger pieces: no more than a third of the time goes into rounds.
            await asyncio.sleep(0.01 + 2 * (time.monotonic() - began))

    def _failed(self, error: str) -> None:
        self._fail("round", error)
        self._everything = True
        self._wake.set()

    async def _round(self) -> None:
        whole, hints, arrived = self._everything, self._hints, set(self.unapplied)
        self._everything, self._hints = False, set()
        store = self._store.scan() if whole else self._store.read(hints | arrived)
        looked_at = {*store, *self._applied} if whole else hints
        subjects = arrived | {one for one in looked_at if not is_settled(store.get(one), self._applied.get(one))}
        store = {one: store[one] for one in subjects if one in store}
        await self._read_again(store, subjects)
        self._recover_lost_store(store, subjects)
        records = self._journal.records(subjects)
        changes = local_changes(store, self._applied_of(subjects), records)
        if changes:
            shown = self._journal.originate(changes, int(time.time()))
            self._send()
            self._applied.update(shown)
            records.update(self._journal.records(shown))
        waiting = self._apply(steps(subjects, store, self._applied_of(subjects), records), store)
        self._report({one: effect(records[one]) for one in subjects if one in records})
        self.unapplied -= arrived - waiting
        if whole:
            self._journal.set_note("store", self._store.identity().encode())
            self._settle_denied()

    def _applied_of(self, subjects: Iterable[str]) -> dict[str, Applied]:
        return {one: self._applied[one] for one in subjects if one in self._applied}

    def _recover_lost_store(self, store: Mapping[str, Held], subjects: Iterable[str]) -> None:
        """
        Tell deletes from a key store that was lost: other directories in its place, such as an empty mount point.

        What is missing there is no decision: it is put back from the records.
        """
        gone = vanished(store, self._applied_of(subjects))
        identity, known = self._store.identity().encode(), self._journal.note("store")
        if gone and identity and known not in (b"", identity):
            log.warning("The key store is another one than before: the %d keys that it lacks are put back", len(gone))
            self._journal.forget_applied(gone)
            for subject in gone:
                del self._applied[subject]
        elif (
            not identity
            and len(gone) > 1
            and gone == {one for one, was in self._applied.items() if was.state is not State.DELETED}
        ):
            raise UnavailableError(
                f"all {len(gone)} keys have vanished from the key store at once: it seems to be lost"
            )

    async def _read_again(self, store: dict[str, Held], subjects: Iterable[str]) -> None:
        """A key that has vanished is read once more: Salt's store writes by removing first."""
        gone = vanished(store, self._applied_of(subjects))
        if gone:
            await asyncio.sleep(SECOND_READING)
            again = self._store.read(gone)
            for subject in gone:
                store.pop(subject, None)
            store.update(again)

    def _apply(self, plan: list[Step], store: Mapping[str, Held]) -> set[str]:
        """
        Do ``plan``; return the subjects that were touched by somebody else meanwhile and wait for the next round.

        :raises UnavailableError: some could not be done; all others are.
        """
        done: dict[str, Applied] = {}
        waiting: set[str] = set()
        errors: list[str] = []
        for step in plan:
            held = store.get(step.subject)
            try:
                if (step.put or step.remove) and self._store.read([step.subject]).get(step.subject) != held:
                    waiting.add(step.subject)
                    self._wake.set()
                    continue
                self._do(step, held)
                done[step.subject] = step.applied
            except LogilabError as err:
                errors.append(str(err))
        if done:
            self._journal.set_applied(done)
            self._applied.update(done)
            self._news()
        self._forget_if_due()
        if errors:
            raise UnavailableError(f"{errors[0]}{f' (and {len(errors) - 1} more)' if len(errors) > 1 else ''}")
        return waiting

    def _do(self, step: Step, held: Held | None) -> None:
        shown = decided(held)
        if shown and shown[0] is State.ACCEPTED and (step.remove or (step.put and step.put[0] is State.REJECTED)):
            self._journal.set_note("forget", b"due")  # before it: whoever is killed in between does it when back
        if step.put:
            state, key = step.put
            self._store.put(step.subject, state, key)
            if held and held.state == "pending" and held.key != key:
                detail = f"another key was pending here, {held.fingerprint}: it is among the denied ones now"
                self._note(step.subject, "denied", detail)
        elif step.remove:
            self._store.remove(step.subject, step.remove)

    def _forget_if_due(self) -> None:
        if self._journal.note("forget"):
            self._surroundings.forget()
            self._journal.set_note("forget", b"")

    def _settle_denied(self) -> None:
        for report in self._journal.reports():
            if report.kind == "denied" and not self._store.is_denied(report.subject):
                self._journal.settle(report.subject, "denied")

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
