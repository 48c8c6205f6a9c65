"""
Rounds: look at the key store and the records, and bring each in line with the other.

A round looks at some ids or at all: what was changed here becomes records, and what the records mean is applied. It is
begun by a hint (the id of a key that seems to have changed; it decides where to look, never what is so), by records
that came, when the key directories have changed and then not for a second, and now and then: see
:class:`~saltext_logilab.masters.scans.Scans`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping

from saltext_logilab.errors import LogilabError, RefusedError, UnavailableError
from saltext_logilab.masters.caution import Caution
from saltext_logilab.masters.guard import forever
from saltext_logilab.masters.journal import FRESH, Journal
from saltext_logilab.masters.keydirs import Held
from saltext_logilab.masters.keys import Effect, effect
from saltext_logilab.masters.memory import give_back
from saltext_logilab.masters.reconcile import (
    Applied,
    Change,
    Standing,
    Step,
    decided,
    is_settled,
    local_changes,
    orphans,
    steps,
    vanished,
    yielding,
)
from saltext_logilab.masters.records import MEMBER_SIZE, Record, State, join
from saltext_logilab.masters.scans import Scans
from saltext_logilab.masters.surroundings import KeyStore, Links, Surroundings

log = logging.getLogger(__name__)

POLL_INTERVAL = 1.0
SECOND_READING = 0.03
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.25


class Rounds:
    """
    The rounds of one member.

    :param news: called when something has changed that the health file shows.
    """

    def __init__(
        self,
        journal: Journal,
        store: KeyStore,
        surroundings: Surroundings,
        links: Links,
        news: Callable[[], None],
    ) -> None:
        self.errors: dict[str, str] = {}
        self.caution = Caution()
        self.unapplied = journal.subjects()
        self._journal = journal
        self._store = store
        self._surroundings = surroundings
        self._links = links
        self._news = news
        self._applied = Standing(journal.applied())
        self._scans = Scans()
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

    def accepted(self) -> Mapping[str, str]:
        """Return the fingerprints of the accepted keys, by minion, as they were last applied: not to be changed."""
        return self._applied.accepted()

    def holds(self, minion: str) -> str:
        """Return the fingerprint of the key of ``minion`` that is accepted in the key store now; empty for none."""
        held = self._store.read([minion]).get(minion)
        return held.fingerprint if held and held.state == "accepted" else ""

    def arrived(self, subjects: set[str]) -> None:
        """Say that records about ``subjects`` have come."""
        self.unapplied |= subjects
        self._wake.set()

    def look_again(self) -> None:
        """Begin a round over everything."""
        self._applied = Standing(self._journal.applied())
        self.unapplied |= self._journal.subjects()
        self._everything = True
        self._wake.set()

    def confirm(self, *, undo: bool) -> int:
        """Share what waits for an operator, or put back the keys that have vanished; return the number of keys."""
        if undo:
            back = set(self.caution.absent)
            self._journal.forget_applied(back)
            self.look_again()
            return len(back)
        if self._journal.note(FRESH):
            self._journal.set_note(FRESH, b"")
        count = self.caution.confirm()
        self.look_again()
        return count

    def resolve(self, subject: str, fingerprint: str, actor: str) -> None:
        """
        Decide the conflict about ``subject`` for the key with ``fingerprint``.

        :raises RefusedError: there is no conflict, or none with that key.
        """
        known = self._journal.records([subject]).get(subject, [])
        rivals = effect(known).rivals if known else ()
        chosen = next((one for one in rivals if one.fingerprint == fingerprint.lower()), None)
        if not rivals:
            raise RefusedError(f"there is no conflict about {subject!r} (salt-run masters.conflicts)")
        if chosen is None:
            prints = " or ".join(one.fingerprint for one in rivals)
            raise RefusedError(f"the conflict about {subject!r} is between {prints}, not {fingerprint!r}")
        context = join(*(one.vector for one in known))
        change = Change(
            subject, chosen.state, chosen.fingerprint, chosen.value, context, settles=True, actor=actor
        )  # fmt: skip
        self._journal.originate([change], int(time.time()), shown=False)
        self._links.send()
        self.arrived({subject})

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
        while True:
            if self._scans.is_due(self._store.stamp(), time.monotonic()):
                self._everything = True
                self._wake.set()
            self._collect()
            self._mend("poll")
            await asyncio.sleep(POLL_INTERVAL)

    async def _next_round(self) -> None:
        pause = FIRST_PAUSE
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            await self._round()
            self._mend("round")
            # A burst of changes is taken in ever larger pieces, but not in so large ones that the last waits for long.
            await asyncio.sleep(min(pause + 2 * (time.monotonic() - began), LONGEST_PAUSE))
            pause = min(2 * pause, LONGEST_PAUSE) if self._wake.is_set() else FIRST_PAUSE

    def _failed(self, error: str) -> None:
        self._fail("round", error)
        self._everything = True
        self._wake.set()

    def _is_ready(self) -> bool:
        """Say whether this master takes part; a journal that is new or was set back waits for a peer first."""
        me = self._journal.group().members.get(self._journal.origin[:MEMBER_SIZE])
        if me is None or not me.is_active:
            return False
        fresh = bool(self._journal.note(FRESH))
        if fresh and not self._links.has_compared():
            self._fail("fresh", "the journal is new: nothing is decided here before another member was heard")
            return False
        self._mend("fresh")
        if self._journal.note(FRESH) == b"adopt":
            self._journal.set_note(FRESH, b"")
        return True

    async def _round(self) -> None:
        if not self._is_ready():
            return
        whole = self._everything or bool(self._journal.note(FRESH))
        hints, arrived = self._hints, set(self.unapplied)
        self._everything, self._hints = False, set()
        begun = time.thread_time()
        store, subjects = self._look(arrived, None if whole else hints)
        if whole:
            self._scans.cost = time.thread_time() - begun
        await self._read_again(store, subjects)
        self._recover_lost_store(store, subjects)
        records = self._journal.records(subjects)
        self._originate(store, subjects, records)
        plan = steps(subjects, store, self._applied.of(subjects), records)
        if whole:
            plan += self._orphans(store)
        waiting = self._apply(plan, store)
        self._report({one: effect(records[one]) for one in subjects if one in records})
        self.unapplied -= arrived - waiting
        if whole:
            self._journal.set_note("store", self._store.identity().encode())
            self._settle_denied()
            give_back()
            if not self.caution.unknown:
                self._journal.set_note(FRESH, b"")  # the journal explains all that is here: it is new no more

    def _look(self, arrived: set[str], hints: set[str] | None) -> tuple[dict[str, Held], set[str]]:
        """
        Return the ids that want attention and what the store holds of them: ``arrived``, and what is not settled.

        Without ``hints`` all ids are looked at. There may be many thousands: what is settled is not gathered.
        """
        looked_at = self._store.scan() if hints is None else self._store.read(hints | arrived).items()
        store, missing = {}, set(self._applied if hints is None else hints)
        for subject, held in looked_at:
            missing.discard(subject)
            if subject in arrived or not is_settled(held, self._applied.get(subject)):
                store[subject] = held
        gone = {one for one in missing if not is_settled(None, self._applied.get(one))}
        return store, arrived | gone | store.keys()

    def _originate(self, store: Mapping[str, Held], subjects: set[str], records: dict[str, list[Record]]) -> None:
        """Make records of what was decided in this key store, unless it has to wait for an operator."""
        changes = local_changes(store, self._applied.of(subjects), records)
        fresh = bool(self._journal.note(FRESH))
        changes = self._yield(changes, records, fresh=fresh)
        keys = sum(was.state is not State.DELETED for was in self._applied.values())
        before = self.caution.sentence()
        changes = self.caution.sift(changes, subjects, keys, fresh=fresh)
        if self.caution.sentence() != before:
            self._news()
        if changes:
            shown = self._journal.originate(changes, int(time.time()))
            self._links.send()
            self._applied.note(shown)
            records.update(self._journal.records(shown))

    def _yield(self, changes: list[Change], records: Mapping[str, list[Record]], *, fresh: bool) -> list[Change]:
        """Return the ``changes`` that stand; what gives way to records is noted as applied, so that these follow."""
        given = [one for one in changes if yielding(one, records.get(one.subject, ()), fresh=fresh)]
        shown = {one.subject: Applied(one.state, one.fingerprint, {}) for one in given}
        if shown:
            self._journal.set_applied(shown)
            self._applied.note(shown)
            for one in given:
                detail = f"{one.state.value} here, and known to be decided otherwise: that stands"
                log.warning("%s: %s", one.subject, detail)
        return [one for one in changes if one not in given]

    def _orphans(self, store: dict[str, Held]) -> list[Step]:
        """Plan what follows for keys that were applied, of which no member knows a record any more; look at them."""
        if not self._links.has_compared():
            return []
        alone = self._applied.keys() - self._journal.subjects()
        gone, unheard = orphans(alone, self._applied, self._journal.frontier(), self._journal.group().permits)
        if unheard:
            self._journal.forget_applied(unheard)
            self._applied.forget(unheard)
            self._everything = True
        store.update(self._store.read(one.subject for one in gone))
        return [one for one in gone if is_settled(store.get(one.subject), self._applied.get(one.subject))]

    def _collect(self) -> None:
        """Drop the tombstones that all members have acknowledged."""
        if self._journal.collect():
            self._applied = Standing(self._journal.applied())

    def _recover_lost_store(self, store: Mapping[str, Held], subjects: Iterable[str]) -> None:
        """
        Tell deletes from a key store that was lost: other directories in its place, such as an empty mount point.

        What is missing there is no decision: it is put back from the records.
        """
        gone = vanished(store, self._applied.of(subjects))
        identity, known = self._store.identity().encode(), self._journal.note("store")
        if gone and identity and known not in (b"", identity):
            log.warning("The key store is another one than before: the %d keys that it lacks are put back", len(gone))
            self._journal.forget_applied(gone)
            self._applied.forget(gone)
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
        gone = vanished(store, self._applied.of(subjects))
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
                if (step.put or step.remove) and self._store.look(step.subject) != held:
                    waiting.add(step.subject)
                    self._wake.set()
                    continue
                self._do(step, held)
                done[step.subject] = step.applied
            except LogilabError as err:
                errors.append(str(err))
        if done:
            self._journal.set_applied(done)
            self._applied.note(done)
            self._news()
        self._forget_if_due()
        if errors:
            raise UnavailableError(f"{errors[0]}{f' (and {len(errors) - 1} more)' if len(errors) > 1 else ''}")
        return waiting

    def _do(self, step: Step, held: Held | None) -> None:
        shown = decided(held)
        if shown and shown[0] is State.ACCEPTED and (step.remove or (step.put and step.put[0] is State.REJECTED)):
            self.forget_soon(step.subject)  # before it: whoever is killed in between does it when back
        if step.put:
            state, key = step.put
            self._store.put(step.subject, state, key)
            if held and held.state == "pending" and held.key != key:
                detail = f"another key was pending here, {held.fingerprint}: it is among the denied ones now"
                self._note(step.subject, "denied", detail)
        elif step.remove:
            self._store.remove(step.subject, step.remove)

    def forget_soon(self, minion: str = "") -> None:
        """Note that what follows a delete is due (of ``minion``), so that it is done once for all of a round."""
        due = {*self._journal.note("forget").decode().splitlines(), minion or "*"}
        self._journal.set_note("forget", "\n".join(sorted(due)).encode())

    def _forget_if_due(self) -> None:
        due = self._journal.note("forget").decode().splitlines()
        if due:
            self._surroundings.forget(one for one in due if one != "*")
            self._journal.set_note("forget", b"")

    def _settle_denied(self) -> None:
        for report in self._journal.reports():
            if report.kind == "denied" and not self._store.is_denied(report.subject):
                self._journal.settle(report.subject, "denied")

    def _report(self, effects: dict[str, Effect]) -> None:
        known = {(one.subject, one.kind) for one in self._journal.reports()} if effects else set()
        for subject, means in effects.items():
            if means.rivals:
                keys = [one.fingerprint for one in means.rivals]
                if self._note(subject, "conflict", f"different keys on different masters: {' and '.join(keys)}"):
                    self._surroundings.tell("conflict", {"id": subject, "fingerprints": keys})
            elif (subject, "conflict") in known:
                self._journal.settle(subject, "conflict")
            if means.overruled:
                lost = ", ".join(sorted({one.state.value for one in means.overruled}))
                self._note(subject, "overruled", f"{lost} and at the same time {means.state and means.state.value}")
            elif (subject, "overruled") in known:
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
