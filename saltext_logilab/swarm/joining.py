"""
How minions come to a master: it is looked for, they sign in, ask for their pillar, and say that they have started.

A master that is away, or that refuses a minion, is asked again with back-off and jitter, without end. Publications that
nobody can read any more, after a restart of the master or a rotation of its AES key, make all minions sign in anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable

from saltext_logilab.errors import LogilabError, WireError
from saltext_logilab.swarm import links, wire
from saltext_logilab.swarm.connections import Connection
from saltext_logilab.swarm.engine import Engine, Knock, read_acknowledgement
from saltext_logilab.swarm.keys import Pair
from saltext_logilab.swarm.minions import FakeMinion
from saltext_logilab.swarm.sealing import StaleKeyError
from saltext_logilab.swarm.seats import Master, Publication, Seat, State
from saltext_logilab.swarm.targets import compiled
from saltext_logilab.swarm.wire import SignIn

_UNREAD = 100  # publications that are kept while the key is not known
_LOOK = 0.2  # seconds between looks at a connection
_CARE = 1.0  # seconds between looks for a master that listens, and publishes nothing yet
_BURST = 0.5  # seconds in which the minions of a master that came back begin again
_SETTLED = (State.AWAY, State.ASKING, State.JOINED)
_STATES = {"pending": State.PENDING, "rejected": State.REJECTED, "full": State.PENDING}

Handler = Callable[[Seat, Publication], None]


class Joining:
    """Brings minions to masters and keeps them there."""

    def __init__(self, engine: Engine, handle: Handler, joined: Callable[[Seat], None]) -> None:
        """Give ``handle`` each publication that a seat has to look at; tell ``joined`` who has come."""
        self._engine = engine
        self._handle = handle
        self._joined = joined
        self._pillars: dict[bytes, object] = {}
        engine.stale = self.refresh
        engine.unanswered = self._fail_over

    # -- masters

    async def watch(self, master: Master) -> None:
        """Look for ``master`` whenever there is no connection to it, until cancelled."""
        attempt = 0
        if master is self._engine.masters[0] and self._fails_over and self._engine.spec.failback_interval:
            self._fail_back(master)
        while True:
            if master.up and master.subscribed:
                await asyncio.sleep(_LOOK)
                continue
            trouble = await links.reachable(master.host, master.port)
            if not trouble:
                attempt = 0
                if not master.up:
                    self._arrived(master)
                await asyncio.sleep(_CARE)
                continue
            attempt += 1
            self._gone(master)
            self._missing(master, f"the master cannot be reached: {trouble}", attempt)
            first = self._engine.minions[0]
            await asyncio.sleep(min(self._engine.back_off(first, attempt), 5.0))

    def _arrived(self, master: Master) -> None:
        master.up, master.trouble = True, ""
        for link in (master.subscription, master.requests):
            if link:
                link.hurry()
        waiting, master.waiting = master.waiting, []
        for seat in master.seats.values():
            if seat.state is State.UNREACHABLE:  # not when its back-off ends: the reason for that is gone
                seat.state, seat.text = State.WAITING, ""
                waiting.append(functools.partial(self.sign_in, seat))
        for number, work in enumerate(waiting):
            self._engine.after(_BURST * number / len(waiting), work)

    def _missing(self, master: Master, trouble: str, attempt: int) -> None:
        master.trouble = trouble
        for seat in list(master.seats.values()):
            if seat.state not in (State.JOINED, State.AWAY):
                seat.state, seat.text, seat.attempts = State.UNREACHABLE, trouble, attempt
                self._fail_over(seat)

    def _connection(self, master: Master, connected: bool) -> None:
        master.subscribed = connected
        if not connected:
            self._gone(master)

    def _gone(self, master: Master) -> None:
        if not master.up or self._engine.closed:
            return
        master.up = False
        for seat in master.seats.values():
            if seat.requests:
                seat.requests.interrupt()
        if master.requests:
            master.requests.interrupt()
        if self._fails_over:
            self._engine.after(self._engine.spec.alive_interval, self._abandon, master)

    def _abandon(self, master: Master) -> None:
        if not master.up:
            for seat in list(master.seats.values()):
                self._fail_over(seat)
            if master.seats:  # no other is there either
                self._engine.after(self._engine.spec.alive_interval, self._abandon, master)

    # -- seats

    def begin(self, minion: FakeMinion) -> None:
        """Let ``minion`` come: to all masters, or to the first when the others are for failure."""
        masters = self._engine.masters
        for master in masters if self._engine.spec.kind == "hot-hot" else masters[:1]:
            self.sign_in(master.seat(minion))

    def sign_in(self, seat: Seat) -> None:
        """Sign in at the master, as soon as it is there."""
        master, engine = seat.master, self._engine
        if master.seats.get(seat.minion.id) is not seat or seat.state in _SETTLED:
            return
        if not master.up:
            if master.trouble:
                seat.state, seat.text = State.UNREACHABLE, master.trouble
            master.waiting.append(lambda: self.sign_in(seat))
            return
        seat.state = State.ASKING
        engine.requests(seat).submit(Knock(engine, seat, self._answered))

    def refresh(self, seat: Seat) -> None:
        """Sign in anew, after a random delay: all minions of a master do it at the same time."""
        if seat.state is State.JOINED:
            seat.state = State.WAITING
            delay = self._engine.spec.reauth_delay * seat.minion.chance("re-authentication", seat.attempts)
            self._engine.after(delay, self.sign_in, seat)

    def leave(self, seat: Seat) -> None:
        """Be away: as a minion whose machine is off."""
        seat.state = State.AWAY
        seat.session = b""
        self._catch_up(seat, handle=False)
        if seat.subscription:
            seat.subscription.close()
            seat.subscription = None

    def come_back(self, seat: Seat) -> None:
        """Be there again: with a new start."""
        seat.state, seat.greeted = State.WAITING, False
        self.sign_in(seat)

    def _answered(self, seat: Seat, asked: tuple[SignIn, Pair] | None, answer: bytes | None) -> None:
        """Take the ``answer`` to the sign-in that was ``asked`` with a key."""
        engine = self._engine
        if engine.closed or seat.state is not State.ASKING:
            return
        try:
            if asked is None:
                raise WireError("the minion's key cannot be read")
            if answer is None:
                raise WireError("the master does not answer")
            accepted = wire.read_sign_in(asked[0], answer, asked[1])
            wanted = engine.spec.fingerprint
            if wanted and accepted.master.fingerprint != wanted:
                raise WireError(f"the master has the fingerprint {accepted.master.fingerprint}, not {wanted}")
        except LogilabError as err:
            self._refused(seat, err, answer)
            return
        engine.counters.counts.sign_ins += 1
        seat.session, seat.token = accepted.session, accepted.token
        seat.attempts, seat.text = 0, ""
        self._know(seat.master, accepted)
        self._take_seat(seat)

    def _refused(self, seat: Seat, err: LogilabError, answer: bytes | None) -> None:
        engine = self._engine
        seat.attempts += 1
        seat.text = str(err)
        engine.counters.counts.refusals += 1
        if isinstance(err, wire.RefusedKeyError):
            seat.state = _STATES[err.state]
            self._catch_up(seat, handle=False)
        else:
            seat.state = State.UNREACHABLE if answer is None else State.REFUSING
        if answer is None and self._fail_over(seat):
            return
        engine.after(engine.back_off(seat.minion, seat.attempts), self.sign_in, seat)

    @property
    def _fails_over(self) -> bool:
        return self._engine.spec.kind == "failover" and len(self._engine.masters) > 1

    def _fail_over(self, seat: Seat) -> bool:
        """Let a minion go to the next master that is there; False: there is none, or it stays."""
        masters = self._engine.masters
        if not self._fails_over or seat.master.seats.get(seat.minion.id) is not seat:
            return False
        at = masters.index(seat.master)
        following = next((master for master in (*masters[at + 1 :], *masters[:at]) if master.up), None)
        if following is None:
            return False
        self._move(seat, following, seat.minion.chance("failover"))
        self._engine.counters.counts.failovers += 1
        return True

    def _fail_back(self, first: Master) -> None:
        """
        Let all minions go back to the ``first`` master, each when it looks for it within the interval; again and again.

        A master that has just come back may take no minion yet: whom it did not answer looks for it once more.
        """
        half = self._engine.spec.failback_interval / 2
        for master in self._engine.masters[1:] if first.up else ():
            for seat in list(master.seats.values()):
                self._engine.after(half * seat.minion.chance("failback"), self._go_back, seat, first)
        self._engine.after(half, self._fail_back, first)

    def _go_back(self, seat: Seat, first: Master) -> None:
        if first.up and seat.state is not State.AWAY and seat.master.seats.get(seat.minion.id) is seat:
            self._move(seat, first, 0.0)
            self._engine.counters.counts.failbacks += 1

    def _move(self, seat: Seat, master: Master, delay: float) -> None:
        self.leave(seat)
        seat.master.unseat(seat)
        if seat.requests:
            seat.requests.close()
        moved = master.seat(seat.minion)
        moved.attempts = seat.attempts
        self._engine.after(delay, self.sign_in, moved)

    # -- what follows a sign-in

    def _know(self, master: Master, accepted: wire.Accepted) -> None:
        master.key = accepted.master
        master.publish_port = accepted.publish_port
        if master.aes != accepted.aes:
            master.aes, master.serial = accepted.aes, -1
            unread, master.unread = master.unread, []
            for frame in unread:
                with contextlib.suppress(StaleKeyError, WireError):  # of the time before the last rotation
                    self._decode(master, frame)
        if master.subscription is None:
            received = self._pooled_reader(master) if self._engine.pooled else _ignore
            changed = functools.partial(self._connection, master)
            master.subscription = Connection(master.publications, "SUB", received, changed)

    def _take_seat(self, seat: Seat) -> None:
        engine = self._engine
        if not engine.pooled and seat.subscription is None:
            seat.subscription = Connection(seat.master.publications, "SUB", self._own_reader(seat))
        seat.state = State.JOINED
        self._catch_up(seat, handle=True)
        held, seat.held = seat.held or [], None
        for work in held:
            work()
        if seat.greeted:
            return
        seat.greeted = True
        if seat.minion.group.ask_pillar:
            self.ask_pillar(seat, lambda: self._greet(seat))
        else:
            self._greet(seat)

    def ask_pillar(self, seat: Seat, then: Callable[[], None]) -> None:
        """Ask for the pillar: it is by this request that a master learns the grains."""
        minion = seat.minion

        def load() -> dict[str, object]:
            return {
                "cmd": "_pillar",
                "grains": dict(minion.grains),
                "saltenv": None,
                "pillarenv": None,
                "pillar_override": None,
                "extra_minion_data": {},
                "ver": "2",
            }

        def read(_seat: Seat, answer: bytes, nonce: str) -> dict[str, object]:
            assert seat.master.key
            return wire.read_pillar(answer, nonce, self._engine.pair(minion), seat.master.key)

        def done(well: bool, pillar: dict[str, object]) -> None:
            if well:
                self._engine.counters.counts.pillars += 1
                minion.received = self._one_of_each(pillar)
            then()

        self._engine.ask(seat, load, done, read)

    def _one_of_each(self, pillar: dict[str, object]) -> dict[str, object]:
        """Return ``pillar``, or an equal one that another minion has: most minions of a group have the same."""
        text = repr(pillar).encode()
        found = self._pillars.setdefault(text, pillar)
        assert isinstance(found, dict)
        return found

    def _greet(self, seat: Seat) -> None:
        """Say that the minion has started, once its publications come."""
        if not seat.master.subscribed and not self._engine.closed:
            self._engine.after(0.05, self._greet, seat)
            return
        if not seat.minion.group.start_event:
            self._joined(seat)
            return
        minion_id = seat.minion.id
        text = f"Minion {minion_id} started at {time.asctime()}"

        def load() -> dict[str, object]:
            return {"cmd": "_minion_event", "pretag": None, "data": text, "tag": f"salt/minion/{minion_id}/start"}

        def done(well: bool, _answer: object) -> None:
            self._engine.counters.counts.events += well
            self._joined(seat)

        self._engine.ask(seat, load, done, read_acknowledgement)

    # -- publications

    def _pooled_reader(self, master: Master) -> Callable[[bytes], None]:
        def received(frame: bytes) -> None:
            publication = self._read(master, frame)
            if publication is None:
                return
            for seat in list(master.seats.values()):
                if not seat.behind:
                    self._handle(seat, publication)

        return received

    def _own_reader(self, seat: Seat) -> Callable[[bytes], None]:
        def received(frame: bytes) -> None:
            master = seat.master
            publication = master.last_publication if frame == master.last_frame else self._read(master, frame)
            if publication and not seat.behind:
                self._handle(seat, publication)

        return received

    def _read(self, master: Master, frame: bytes) -> Publication | None:
        """Return what ``frame`` holds; None when it was read before, cannot be read yet, or is no job."""
        if frame == master.last_frame:  # a master with zmq_filtering sends one to each minion
            return None
        master.last_frame, master.last_publication = frame, None
        if not master.aes:
            master.unread = [*master.unread[-_UNREAD:], frame]
            return None
        try:
            return self._decode(master, frame)
        except StaleKeyError:
            self._all_stale(master, frame)
            return None

    def _decode(self, master: Master, frame: bytes) -> Publication:
        load = wire.read_publication(frame, master.aes, master.key)
        serial = load.pop("serial", None)
        if isinstance(serial, int):
            if serial <= master.serial:
                raise WireError(f"{master.name} has published {serial} after {master.serial}: a replay is not honoured")
            master.serial = serial
        self._engine.counters.counts.publications += 1
        publication = Publication(load, self._engine.now, compiled(load))
        master.last_publication = publication
        if master.behind:
            master.backlog.append(publication)
        return publication

    def _all_stale(self, master: Master, frame: bytes) -> None:
        master.aes = b""
        master.unread.append(frame)
        for seat in master.seats.values():
            if seat.state in (State.JOINED, State.WAITING, State.ASKING) and seat.greeted:
                master.behind += not seat.behind
                seat.behind = True
                self.refresh(seat)

    def _catch_up(self, seat: Seat, *, handle: bool) -> None:
        """Let ``seat`` look at what came while it could read nothing, or (not ``handle``) let it miss that."""
        master = seat.master
        if not seat.behind:
            return
        seat.behind = False
        master.behind -= 1
        for publication in list(master.backlog) if handle else ():
            self._handle(seat, publication)
        if not master.behind:
            master.backlog.clear()


def _ignore(_frame: bytes) -> None:
    """In per-minion mode the master's own subscription only watches the connection."""
