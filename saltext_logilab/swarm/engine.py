"""
What the parts of a running swarm share: minions, masters, the clock, the numbers, and how a minion asks a master.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from saltext_logilab.errors import UnavailableError, WireError
from saltext_logilab.swarm import wire
from saltext_logilab.swarm.behaviour import Spec
from saltext_logilab.swarm.counters import Counters
from saltext_logilab.swarm.keys import Pair, Pool
from saltext_logilab.swarm.links import Requests
from saltext_logilab.swarm.minions import FakeMinion
from saltext_logilab.swarm.sealing import StaleKeyError
from saltext_logilab.swarm.seats import Master, Seat, State
from saltext_logilab.swarm.wire import MasterKey, SignIn

log = logging.getLogger(__name__)

Done = Callable[[bool, Any], None]
Reader = Callable[[Seat, bytes, str], Any]


def read_reply(seat: Seat, answer: bytes, nonce: str) -> Any:
    """Return what an ordinary ``answer`` says."""
    return wire.read_reply(seat.session, answer, nonce)


def read_acknowledgement(seat: Seat, answer: bytes, nonce: str) -> None:
    """Make sure that ``answer`` is the master's; what it says beside does not matter."""
    wire.check_reply(seat.session, answer, nonce)


class _Asking:
    """A request of a seat, until it is answered for good: one small object, for there may be thousands in a burst."""

    __slots__ = ("attempt", "engine", "load", "nonce", "read", "seat", "told")

    def __init__(
        self, engine: Engine, seat: Seat, load: Callable[[], Mapping[str, Any]], told: Done, read: Reader
    ) -> None:
        self.engine = engine
        self.seat = seat
        self.load = load
        self.told = told
        self.read = read
        self.attempt = 1
        self.nonce = ""

    def message(self) -> bytes:
        seat = self.seat
        self.nonce = secrets.token_hex(16)
        return wire.request(seat.session, seat.token, seat.minion.id, self.load(), self.nonce)

    def done(self, answer: bytes | None) -> None:
        if self.engine.closed:
            return
        if answer is None:
            self.engine.unanswered_by_now(self)
            return
        try:
            self.told(True, self.read(self.seat, answer, self.nonce))
        except StaleKeyError:
            self.engine.sign_in_first(self)
        except (WireError, UnavailableError) as err:
            self.seat.text = str(err)
            self.told(False, None)


class Knock:
    """A sign-in of a seat under way; its keys are held no longer than that. ``told`` gets them with the answer."""

    __slots__ = ("_asked", "_engine", "_seat", "_told")

    def __init__(
        self, engine: Engine, seat: Seat, told: Callable[[Seat, tuple[SignIn, Pair] | None, bytes | None], None]
    ) -> None:
        """Prepare it; nothing is sent, and no key is read, before its turn."""
        self._engine = engine
        self._seat = seat
        self._told = told
        self._asked: tuple[SignIn, Pair] | None = None

    def message(self) -> bytes:
        """Return what is sent."""
        seat, engine = self._seat, self._engine
        sign_in = SignIn.new(seat.minion.id, seat.master.key, known=seat.greeted, signer=engine.signer)
        self._asked = sign_in, engine.pair(seat.minion)
        return sign_in.message(self._asked[1].public)

    def done(self, answer: bytes | None) -> None:
        """Take the answer."""
        self._told(self._seat, self._asked, answer)


class Engine:
    """The inside of a swarm; the parts :mod:`joining`, :mod:`jobs` and :mod:`chores` work on it."""

    def __init__(self, spec: Spec, minions: list[FakeMinion], masters: list[Master], pool: Pool) -> None:
        """Hold everything together; nothing is opened. To be made within a running loop."""
        self.spec = spec
        self.minions = minions
        self.masters = masters
        self.pool = pool
        self.counters = Counters()
        self.loop = asyncio.get_running_loop()
        self.begun = self.loop.time()
        self.closed = False
        self.stale: Callable[[Seat], None] = lambda _seat: None
        self.unanswered: Callable[[Seat], object] = lambda _seat: None
        self.signer = MasterKey(spec.sign_key) if spec.sign_key else None
        self._shared: Pair | None = None

    @property
    def pooled(self) -> bool:
        """Whether a few sockets serve all minions."""
        return self.spec.connections == "pooled"

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self.loop.time() - self.begun

    def pair(self, minion: FakeMinion) -> Pair:
        """Return the keys of ``minion``; own keys are read when they are needed, so that they take no memory."""
        if minion.group.own_keys:
            return self.pool.pair(minion.key_number)
        if self._shared is None:
            self._shared = self.pool.pair(minion.key_number)
        return self._shared

    def after(self, delay: float, work: Callable[..., None], *args: Any) -> None:
        """Call ``work(*args)`` in ``delay`` seconds, unless the swarm is closed by then."""
        self.loop.call_later(max(delay, 0.0), self._guarded, work, args)

    def _guarded(self, work: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self.closed:
            return
        try:
            work(*args)
        except Exception:
            log.exception("a fake minion could not do its work")

    def back_off(self, minion: FakeMinion, attempt: int) -> float:
        """Return how long to wait after ``attempt`` failures: doubled each time up to a limit, with jitter."""
        base = min(self.spec.retry_max, self.spec.retry * 2.0 ** min(attempt - 1, 30))
        return base * (0.5 + minion.chance("back-off", attempt))

    def requests(self, seat: Seat) -> Requests:
        """Return the sockets for the requests of ``seat``."""
        holder: Master | Seat = seat.master if self.pooled else seat
        width = self.spec.sockets if self.pooled else 1
        if holder.requests is None:
            holder.requests = Requests(seat.master.requested, width, self.spec.timeout)
        return holder.requests

    def ask(self, seat: Seat, load: Callable[[], Mapping[str, Any]], done: Done, read: Reader = read_reply) -> None:
        """
        Send what ``load`` makes as a request of ``seat``, whose session is known; again when nobody answers.

        ``done`` gets True and what ``read`` made of the answer; or False when no master has taken it.
        """
        self._submit(_Asking(self, seat, load, done, read))

    def _submit(self, asking: _Asking) -> None:
        seat = asking.seat
        if seat.state is State.JOINED:
            self.requests(seat).submit(asking)
        else:  # the session is not known: after the next sign-in
            self.hold(seat, lambda: self._submit(asking))

    def hold(self, seat: Seat, work: Callable[[], None]) -> None:
        """Do ``work`` when ``seat`` has signed in."""
        seat.held = seat.held or []
        seat.held.append(work)

    def _repeat(self, asking: _Asking) -> None:
        self.counters.counts.retried += 1
        asking.attempt += 1
        self._submit(asking)

    def unanswered_by_now(self, asking: _Asking) -> None:
        """Ask again what nobody has answered: when the master is there again, or after a while, or never."""
        seat = asking.seat
        if not seat.master.up:
            seat.master.waiting.append(lambda: self._repeat(asking))
        elif asking.attempt < self.spec.tries:
            self.after(self.back_off(seat.minion, asking.attempt), self._repeat, asking)
        else:
            seat.text = f"no answer to {asking.attempt} requests"
            asking.told(False, None)
            self.unanswered(seat)

    def sign_in_first(self, asking: _Asking) -> None:
        """Ask again what the master could not read, after the next sign-in."""
        seat = asking.seat
        if asking.attempt > self.spec.tries:
            seat.text = "the master does not take this minion's requests"
            asking.told(False, None)
            return
        self.hold(seat, lambda: self._repeat(asking))
        if seat.state is State.JOINED:
            self.stale(seat)

    def close(self) -> None:
        """Close all sockets at once; what is under way is forgotten."""
        self.closed = True
        for master in self.masters:
            holders: list[Master | Seat] = [master, *master.seats.values()]
            for holder in holders:
                if holder.requests:
                    holder.requests.close()
                if holder.subscription:
                    holder.subscription.close()
