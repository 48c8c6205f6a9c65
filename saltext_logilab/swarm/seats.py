"""
A minion at a master: signed in, waiting, refused; and the master itself as its minions see it.
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab.errors import ConfigurationError, RefusedError, UnavailableError
from saltext_logilab.swarm.behaviour import Group
from saltext_logilab.swarm.connections import Address, Connection
from saltext_logilab.swarm.distributions import Distribution
from saltext_logilab.swarm.links import Requests
from saltext_logilab.swarm.minions import FakeMinion
from saltext_logilab.swarm.targets import Matcher
from saltext_logilab.swarm.wire import MasterKey

PORT = 4506

Behaviour = tuple[Distribution, float, float]


class State(enum.Enum):
    """How a minion stands with a master."""

    WAITING = "waiting"  # it has not asked yet
    ASKING = "asking"
    PENDING = "pending"
    REJECTED = "rejected"
    REFUSING = "refusing"  # the minion refuses the master: a wrong key, fingerprint or signature
    UNREACHABLE = "unreachable"
    JOINED = "joined"
    AWAY = "away"  # flapping, as its specification says


_COMING = (State.WAITING, State.ASKING)


@dataclass(frozen=True)
class Problem:
    """Why a minion is not joined at a master, and how often it has tried."""

    minion: str
    master: str
    state: str
    text: str
    attempts: int


class Seat:
    """The place of a minion at a master, once :meth:`Master.seat` has given it; its master counts how it stands."""

    __slots__ = (
        "_busy",
        "_state",
        "attempts",
        "behind",
        "greeted",
        "held",
        "master",
        "minion",
        "requests",
        "session",
        "subscription",
        "text",
        "token",
    )

    def __init__(self, minion: FakeMinion, master: Master) -> None:
        """Seat ``minion`` at ``master``; it has not signed in."""
        self.minion = minion
        self.master = master
        self._state = State.WAITING
        self._busy = False
        self.session = b""
        self.token = b""
        self.attempts = 0
        self.behind = False
        self.greeted = False
        self.text = ""
        self.requests: Requests | None = None
        self.subscription: Connection | None = None
        self.held: list[Callable[[], None]] | None = None

    @property
    def state(self) -> State:
        """How it stands with the master."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._stand(state, busy=self._busy)

    @property
    def busy(self) -> bool:
        """Whether its chores have begun."""
        return self._busy

    @busy.setter
    def busy(self, busy: bool) -> None:
        self._stand(self._state, busy=busy)

    def _stand(self, state: State, *, busy: bool) -> None:
        if self.master.seats.get(self.minion.id) is self:
            self.master.count(self, -1)
            self._state, self._busy = state, busy
            self.master.count(self, 1)
        else:
            self._state, self._busy = state, busy

    def problem(self) -> Problem | None:
        """Return why it is not joined; None when it is, is away as it should, or has to wait for its turn."""
        if self.state is State.AWAY or (self.state in _COMING and not self.text):
            return None
        if self.state is State.JOINED:
            if self.master.up and self.master.subscribed:
                return None
            lost = self.master.trouble or "the connection to the master is lost"
            return Problem(self.minion.id, self.master.name, State.UNREACHABLE.value, lost, self.attempts)
        return Problem(self.minion.id, self.master.name, self.state.value, self.text, self.attempts)


@dataclass(frozen=True)
class Publication:
    """
    A job as a master has published it: ``asked_at`` by the loop's clock, ``means`` tells whom it means.

    What is the same for thousands of minions is found out once.
    """

    load: dict[str, Any]
    asked_at: float
    means: Matcher
    _stages: dict[str, Behaviour] = field(default_factory=dict)

    @functools.cached_property
    def jid(self) -> str:
        """The job's id."""
        return str(self.load["jid"])

    def stage(self, group: Group) -> Behaviour:
        """Return latency, rate of failures and rate of drops of this job in ``group``."""
        if group.name not in self._stages:
            fun = self.load["fun"]
            self._stages[group.name] = group.stage(fun[0] if isinstance(fun, list) and fun else str(fun))
        return self._stages[group.name]


@dataclass
class Master:
    """
    A master: its address, what is known of it, and who has a seat there.

    ``aes`` is empty while its key of publications is not known; what it publishes meanwhile stands in ``unread``, and
    ``backlog`` holds what those minions still have to look at that have not signed in again. ``tally`` counts the seats
    by their states, and ``settled`` those that are joined and busy: nobody has to look at thousands of them for that.
    """

    name: str
    host: str
    port: int
    up: bool = False
    trouble: str = ""
    key: MasterKey | None = None
    aes: bytes = b""
    serial: int = -1
    publish_port: int = 0
    subscribed: bool = False
    seats: dict[str, Seat] = field(default_factory=dict)
    tally: Counter[State] = field(default_factory=Counter)
    settled: int = 0
    requests: Requests | None = None
    subscription: Connection | None = None
    last_frame: bytes = b""
    last_publication: Publication | None = None
    unread: list[bytes] = field(default_factory=list)
    backlog: list[Publication] = field(default_factory=list)
    behind: int = 0
    waiting: list[Callable[[], None]] = field(default_factory=list)

    def seat(self, minion: FakeMinion) -> Seat:
        """Give ``minion`` a seat."""
        seat = self.seats[minion.id] = Seat(minion, self)
        self.count(seat, 1)
        return seat

    def unseat(self, seat: Seat) -> None:
        """Take a seat away."""
        self.count(seat, -1)
        del self.seats[seat.minion.id]

    def count(self, seat: Seat, number: int) -> None:
        """Count ``seat``, as it stands, in (1) or out (-1)."""
        self.tally[seat.state] += number
        if seat.busy and seat.state is State.JOINED:
            self.settled += number

    def problems(self) -> Iterator[Problem]:
        """Give why minions are not joined."""
        well = self.tally[State.AWAY] + (self.tally[State.JOINED] if self.up and self.subscribed else 0)
        for seat in list(self.seats.values()) if well < len(self.seats) else ():
            problem = seat.problem()
            if problem:
                yield problem

    @property
    def requested(self) -> Address:
        """Where requests go."""
        return self.host, self.port

    @property
    def publications(self) -> Address:
        """Where publications come from."""
        return self.host, self.publish_port


def parse_address(text: str) -> tuple[str, int]:
    """Read ``HOST``, ``HOST:PORT``, ``[IPV6]:PORT`` or an IPv6 address; :raises ConfigurationError: it is none."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = text, str(PORT)
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or any(sign in host for sign in "/ \t,"):
        raise ConfigurationError(f"{text!r} is no master's address: HOST or HOST:PORT")
    return host.strip("[]"), int(port)


def resolve(text: str, allowed: tuple[str, ...]) -> Master:
    """
    Return the master at ``text``, an address as :func:`parse_address` reads it.

    :param allowed: hosts that may be another machine than this one.
    :raises UnavailableError: the name has no address.
    :raises RefusedError: it is not on loopback, and not ``allowed``.
    """
    host, port = parse_address(text)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as err:
        raise UnavailableError(f"the master {host} has no address: {err}") from err
    addresses = [str(entry[4][0]) for entry in found]
    if host not in allowed and not all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in addresses):
        raise RefusedError(
            f"the master {host} is not on this machine: fake minions would fill a real master with keys and data; "
            f"say --yes-master {host} when that is what you want"
        )
    return Master(text, addresses[0], port)
