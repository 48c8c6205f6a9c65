"""
Where a guest fits: a pure decision over what hosts have and what runs there, with a reason for each host.

Memory is never promised twice; processors are shared, up to a factor. Guests of one group stay on different hosts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from saltext_logilab.guests.sizes import GIB, MIB

STRATEGIES = ("spread", "pack")


@dataclass(frozen=True)
class Load:
    """A guest as a burden; ``memory`` in bytes."""

    name: str
    vcpus: int
    memory: int


@dataclass(frozen=True)
class Room:
    """A host: what it has, and the guests that take of it."""

    name: str
    cpus: int
    memory: int
    guests: Mapping[str, Load] = field(default_factory=dict)

    @property
    def taken(self) -> int:
        """The memory that its guests may use, in bytes."""
        return sum(one.memory for one in self.guests.values())

    @property
    def vcpus(self) -> int:
        """The processors of its guests."""
        return sum(one.vcpus for one in self.guests.values())

    def with_guest(self, guest: Load) -> Room:
        """Return the host with ``guest`` on it."""
        return replace(self, guests={**self.guests, guest.name: guest})

    def without(self, name: str) -> Room:
        """Return the host without the guest ``name``."""
        return replace(self, guests={key: one for key, one in self.guests.items() if key != name})


@dataclass(frozen=True)
class Rules:
    """
    What a choice keeps to.

    :param reserve: bytes of memory that each host keeps for itself.
    :param overcommit: virtual processors for each real one.
    :param apart: groups of names or patterns (``web*``): no host has two guests of one group.
    :param strategy: ``spread`` for the host that has most room left, ``pack`` for the one that has least.
    """

    reserve: int = GIB
    overcommit: float = 4.0
    apart: tuple[tuple[str, ...], ...] = ()
    strategy: str = STRATEGIES[0]


@dataclass(frozen=True)
class Choice:
    """The host that was chosen (None: there is none), and for each host a sentence why or why not."""

    host: str | None
    why: Mapping[str, str]


def memory_left(room: Room, rules: Rules) -> int:
    """Return the bytes of memory that guests can still get; negative where too much is promised."""
    return room.memory - rules.reserve - room.taken


def cpus_left(room: Room, rules: Rules) -> int:
    """Return the virtual processors that guests can still get; negative where too many are promised."""
    return int(room.cpus * rules.overcommit) - room.vcpus


def place(rooms: Iterable[Room], guest: Load, rules: Rules, forbidden: Mapping[str, str] | None = None) -> Choice:
    """
    Choose a host for ``guest``.

    :param forbidden: hosts that cannot have it for a reason of their own, with that reason.
    """
    why, fitting = dict(forbidden or {}), {}
    for room in rooms:
        if room.name in why:
            continue
        problem = refusal(room, guest, rules)
        if problem:
            why[room.name] = problem
        else:
            fitting[room.name] = memory_left(room, rules) - guest.memory
            why[room.name] = f"fits: {fitting[room.name] // MIB} MiB would be left"
    sign = -1 if rules.strategy == "spread" else 1
    best = min(fitting, key=lambda name: (sign * fitting[name], name), default=None)
    if best is not None:
        most = "most" if rules.strategy == "spread" else "least"
        why[best] = f"chosen: {fitting[best] // MIB} MiB would be left, the {most}"
    return Choice(best, why)


def refusal(room: Room, guest: Load, rules: Rules) -> str | None:
    """Return why ``room`` cannot have ``guest``; None when it can."""
    if guest.name in room.guests:
        return "it is there already"
    memory, cpus = memory_left(room, rules), cpus_left(room, rules)
    if guest.memory > memory:
        return f"needs {guest.memory // MIB} MiB, {max(0, memory) // MIB} MiB are left"
    if guest.vcpus > cpus:
        return f"needs {guest.vcpus} processors, {max(0, cpus)} are left"
    for group in rules.apart:
        rivals = [name for name in room.guests if _in(name, group)] if _in(guest.name, group) else []
        if rivals:
            return f"shall not be with {', '.join(sorted(rivals))}"
    return None


def _in(name: str, group: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in group)
