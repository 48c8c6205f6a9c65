"""
A member at work: it watches its key store, keeps its journal, and exchanges records with its peers.

One asyncio loop does everything. A *round* looks at some ids or at all: what was changed here becomes records, and what
the records mean is applied. Rounds are begun by a hint (the id of a key that seems to have changed; it decides where to
look, never what is so), by records that came, a second after a key directory has changed, and every ten seconds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from saltext_logilab.errors import LogilabError, UnavailableError
from saltext_logilab.identity import Identity, fingerprint
from saltext_logilab.masters import health
from saltext_logilab.masters.exchange import Exchange
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.keydirs import Held
from saltext_logilab.masters.link import Doors, Link
from saltext_logilab.masters.reconcile import Applied, Step, decided, is_settled, local_changes, steps, vanished
from saltext_logilab.masters.records import Effect, Key, State, effect
from saltext_logilab.masters.settings import MastersSettings, Peer

log = logging.getLogger(__name__)

POLL_INTERVAL = 1.0
SCAN_INTERVAL = 10.0
SECOND_READING = 0.03
FIRST_CONTACT = 3.0
BACKOFF = (0.25, 2.0)


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


@dataclass
class _PeerState:
    peer: Peer
    links: list[Exchange] = field(default_factory=list)
    since: float = field(default_factory=time.time)
    error: str = ""
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    about: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[bytes, int] = field(default_factory=dict)
    heard: float = 0.0
    alone: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.alone.set()

    def add(self, exchange: Exchange) -> None:
        """Note a link; the newest one is the one to send over."""
        if not self.links:
            self.since, self.error = time.time(), ""
        self.links.append(exchange)
        self.alone.clear()

    def drop(self, exchange: Exchange | None, error: str) -> None:
        """Note that a link has ended (None: that there could be none), and why."""
        if exchange in self.links:
            self.links.remove(exchange)
        if not self.links:
            if not self.error:
                self.since = time.time()
            self.error = error
            self.alone.set()


class Member:
    """One member of the group, for one master."""

    def __init__(
        self,
        settings: MastersSettings,
        identity: Identity,
        journal: Journal,
        store: KeyStore,
        surroundings: Surroundings,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._journal = journal
        self._store = store
        self._surroundings = surroundings
        self._about = {"name": settings.name, **surroundings.versions}
        self._peers = {peer.fingerprint: _PeerState(peer) for peer in settings.peers}
        self._hints: set[str] = set()
        self._everything = True
        self._wake = asyncio.Event()
        self._unapplied: set[str] = set()
        self._applied: dict[str, Applied] = {}
        self._listening = False
        self._errors: dict[str, str] = {}
        self._started = time.time()
        self._published = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled."""
        self._journal.add_members([self._identity.public])
        self._applied = self._journal.applied()
        self._unapplied = set(self._journal.records())
        doors = Doors(self._identity, self._settings.folder)
        tasks = [self._listen(doors), self._rounds(), self._follow(), self._poll(), self._publish()]
        tasks += [self._keep_dialling(doors, state) for state in self._peers.values()]
        await asyncio.gather(*tasks)

    # -- links ---------------------------------------------------------------------------------------------------------

    async def _listen(self, doors: Doors) -> None:
        while True:
            try:
                server = await doors.listen(self._settings.listen, self._peers, self._serve)
            except UnavailableError as err:
                self._fail("listen", str(err))
                await asyncio.sleep(BACKOFF[1])
                continue
            self._mend("listen")
            self._listening = True
            async with server:
                await server.serve_forever()

    async def _keep_dialling(self, doors: Doors, state: _PeerState) -> None:
        pause = BACKOFF[0]
        while True:
            await state.alone.wait()  # a link that the peer has dialled serves as well
            try:
                link = await doors.dial(state.peer.address, state.peer.fingerprint)
                pause = BACKOFF[0]
                await self._serve(link)
            except LogilabError as err:
                self._lost(state, str(err))
            state.tried.set()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            pause = min(pause * 2, BACKOFF[1])

    async def _serve(self, link: Link) -> None:
        state = self._peers[link.fingerprint]
        exchange = Exchange(
            link,
            self._journal,
            self._about,
            changed=self._arrived,
            heard=lambda: self._heard(state, exchange),
            trusted=self._is_trusted,
        )
        self._journal.add_members([link.public])
        state.add(exchange)
        self._published.set()
        error = "the link has ended"
        try:
            await exchange.run()
        except (OSError, EOFError, asyncio.TimeoutError) as err:
            error = f"the link has ended: {str(err) or type(err).__name__}"
        except LogilabError as err:
            log.warning("%s: %s", state.peer.name, err)
            error = str(err)
        finally:
            self._lost(state, error, exchange)

    def _is_trusted(self, public: bytes) -> bool:
        return public == self._identity.public or fingerprint(public) in self._peers

    def _heard(self, state: _PeerState, exchange: Exchange) -> None:
        own = self._journal.origin(self._identity)
        theirs = exchange.theirs or {}
        if theirs.get(own, 0) > self._journal.frontier().get(own, 0):
            log.warning("%s knows more of this master than its own journal: a new incarnation begins", state.peer.name)
            self._journal.reincarnate()
        state.about, state.acknowledged, state.heard = exchange.their_about, theirs, time.time()
        state.tried.set()
        self._published.set()

    def _lost(self, state: _PeerState, error: str, exchange: Exchange | None = None) -> None:
        state.drop(exchange, error)
        self._published.set()

    def _send(self) -> None:
        """Wake the newest link of each peer: the others only listen, so that nothing is sent twice."""
        for state in self._peers.values():
            if state.links:
                state.links[-1].wake()

    # -- rounds --------------------------------------------------------------------------------------------------------

    def _arrived(self, subjects: set[str]) -> None:
        self._unapplied |= subjects
        self._wake.set()
        self._send()

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
        """Before the first round each peer is asked what it knows: this journal may have been set back."""
        waits = [asyncio.ensure_future(state.tried.wait()) for state in self._peers.values()]
        if waits:
            _, late = await asyncio.wait(waits, timeout=FIRST_CONTACT)
            for wait in late:
                wait.cancel()
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
            # A burst of changes is taken in ever larger pieces: no more than a third of the time goes into rounds.
            await asyncio.sleep(0.01 + 2 * (time.monotonic() - began))

    async def _round(self) -> None:
        whole, hints, arrived = self._everything, self._hints, set(self._unapplied)
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
            made = self._journal.originate(changes, self._identity, int(time.time()))
            self._send()
            records.update(self._journal.records({one.record.subject for one in made}))
        waiting = self._apply(steps(subjects, store, applied, records), store)
        self._report({one: effect(records[one]) for one in subjects if one in records})
        self._unapplied -= arrived - waiting

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
                self._published.set()
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
                detail = f"accepted with different keys on different masters: {' and '.join(means.rivals)}"
                if self._note(subject, "conflict", detail):
                    self._surroundings.tell("conflict", {"id": subject, "fingerprints": list(means.rivals)})
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
            self._published.set()
        return new

    # -- health --------------------------------------------------------------------------------------------------------

    def _fail(self, what: str, error: str) -> None:
        if self._errors.get(what) != error:
            log.error("%s", error)
            self._errors[what] = error
            self._published.set()

    def _mend(self, what: str) -> None:
        if self._errors.pop(what, None):
            self._published.set()

    async def _publish(self) -> None:
        """Write the health file when something has changed, but at most twice a second, and every ten seconds."""
        while True:
            health.write(self._settings.folder, self._health())
            self._published.clear()
            await asyncio.sleep(0.5)
            try:
                await asyncio.wait_for(self._published.wait(), SCAN_INTERVAL - 0.5)
            except asyncio.TimeoutError:
                continue

    def _health(self) -> dict[str, Any]:
        own = self._journal.origin(self._identity)
        made = self._journal.frontier().get(own, 0)
        return {
            "pid": os.getpid(),
            "started": self._started,
            "written": time.time(),
            "listening": self._listening,
            "errors": sorted(self._errors.values()),
            "waiting": len(self._unapplied),
            "peers": {
                state.peer.name: {
                    "connected": bool(state.links),
                    "since": state.since,
                    "heard": state.heard,
                    "behind": max(0, made - state.acknowledged.get(own, 0)),
                    "differs": any(link.differs for link in state.links),
                    "refused": sum(link.strangers for link in state.links),
                    "error": state.error,
                    "versions": {key: state.about[key] for key in ("salt", "logilab") if key in state.about},
                }
                for state in self._peers.values()
            },
        }
