"""
The keeper of a member's minion data: it sees what has changed in the master's cache, tells other members of it, and
puts into the cache what they know better.

Only data of the key that is accepted here is told and taken; when that key goes, its data goes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from saltext_logilab.errors import LogilabError, WireError
from saltext_logilab.masters.data import versions
from saltext_logilab.masters.data.ledger import BUCKETS, Ledger, Name
from saltext_logilab.masters.data.versions import Bank, Part, Seen
from saltext_logilab.masters.link import MESSAGE_LIMIT

log = logging.getLogger(__name__)

ANSWER_SIZE = MESSAGE_LIMIT // 4
VALUE_LIMIT = MESSAGE_LIMIT // 2
SLICE = 100  # banks that are read before others have their turn
FEW = 10
QUICK = 0.001
LOST = 0.5
EMPTYING = 60.0  # seconds that the emptying of a cache may take


class Keys(Protocol):
    """What is needed of the keys of minions."""

    def accepted(self) -> Mapping[str, str]:
        """Return the fingerprints of the accepted keys, by minion, as they were last applied."""
        ...

    def holds(self, minion: str) -> str:
        """Return the fingerprint of the key of ``minion`` that is accepted in the key store now; empty for none."""
        ...


class Cache(Protocol):
    """What is needed of a master's cache; see :class:`~saltext_logilab.masters.mines.MinionData`."""

    preserves: bool
    is_followed: bool

    def identity(self, kind: str) -> str: ...
    def stamps(self, kind: str, minions: Collection[str]) -> dict[str, bytes]: ...
    def stamp(self, kind: str, minion: str) -> bytes: ...
    def read(self, kind: str, minion: str) -> dict[str, Any]: ...
    def write(self, kind: str, minion: str, data: Mapping[str, Any]) -> bytes: ...
    def pack(self, value: Any) -> bytes: ...
    def unpack(self, blob: bytes) -> Any: ...


@dataclass
class Keeper:
    """The keeper of the ``kinds`` of data of one member, whose short name is ``own``."""

    ledger: Ledger
    cache: Cache
    kinds: tuple[str, ...]
    keys: Keys
    own: bytes
    unshared: set[Name] = field(default_factory=set)
    lost: bool = False  # something has vanished that the others are to be asked for
    files: int = 0  # that the last look has looked at
    emptying: float = EMPTYING
    _emptied: dict[str, float] = field(default_factory=dict)
    _took: dict[str, float] = field(default_factory=dict)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        """Forget the kinds that are not shared any more."""
        self.ledger.change({name: None for name, _ in self.ledger.items() if name[0] not in self.kinds})

    # -- what changes in the cache -------------------------------------------------------------------------------------

    async def look(self) -> bool:
        """Take notice of all that has changed in the cache; say whether there are other versions than before."""
        async with self._looking:
            before = self.digests()
            accepted = self.keys.accepted()
            self._drop(accepted)
            self.files = 0
            for kind in self.kinds:
                await self._look_at(kind, accepted)
            return self.digests() != before

    async def _look_at(self, kind: str, accepted: Mapping[str, str]) -> None:
        stamps = await self._stamps(kind, accepted)
        self.files += len(stamps)
        known = {name[1]: bank for name, bank in self.ledger.items() if name[0] == kind}
        vanished = [one for one, bank in known.items() if bank.stamp and one in accepted and one not in stamps]
        if self._is_lost(kind, len(vanished), sum(bool(bank.stamp) for bank in known.values())):
            log.warning("The %s of %d minions has vanished at once: it is got from the others", kind, len(vanished))
            self.ledger.change({(kind, one): None for one in vanished})
            vanished, self.lost = [], True
        news = [one for one, stamp in stamps.items() if one not in known or known[one].stamp != stamp]
        for begin in range(0, len(news), SLICE):
            part = news[begin : begin + SLICE]
            seen = await asyncio.to_thread(self._read, kind, part)
            self._observe(kind, seen, accepted, stamps)
        self._observe(kind, {one: Seen({}) for one in vanished}, accepted, {})

    async def _stamps(self, kind: str, accepted: Mapping[str, str]) -> dict[str, bytes]:
        """Look at the files of a kind: in a thread, unless the last look was shorter than the way there."""
        begun, is_quick = time.monotonic(), self._took.get(kind, QUICK) < QUICK
        look = self.cache.stamps
        found = look(kind, accepted) if is_quick else await asyncio.to_thread(look, kind, accepted)
        self._took[kind] = time.monotonic() - begun
        return found

    def _is_lost(self, kind: str, vanished: int, known: int) -> bool:
        """Say whether the cache was lost, or is being emptied: what is missing there is no decision."""
        identity, noted = self.cache.identity(kind), self.ledger.note(kind)
        if identity != noted:
            self.ledger.set_note(kind, identity)
            if noted:
                self._emptied[kind] = time.monotonic()
        emptied = time.monotonic() - self._emptied.get(kind, float("-inf")) < self.emptying
        return vanished > 0 and (emptied or vanished > max(FEW, LOST * known))

    def _read(self, kind: str, minions: Iterable[str]) -> dict[str, Seen]:
        """Read the data of ``minions``; what cannot be read says nothing, and is looked at again."""
        found = {}
        for minion in minions:
            try:
                found[minion] = versions.look(kind, self.cache.read(kind, minion))
            except LogilabError as err:
                log.warning("%s", err)
        return found

    def _observe(
        self, kind: str, seen: Mapping[str, Seen], accepted: Mapping[str, str], stamps: Mapping[str, bytes]
    ) -> None:
        now, changes = time.time(), {}
        for minion, one in seen.items():
            name = (kind, minion)
            bank = self.ledger.get(name) or Bank(accepted[minion])
            bank = versions.observe(bank, one, now, self.own)
            changes[name] = replace(bank, stamp=stamps.get(minion, b""))
            (self.unshared.add if len(bank.parts) > versions.PARTS_LIMIT else self.unshared.discard)(name)
        if changes:
            self.ledger.change(changes)

    def _drop(self, accepted: Mapping[str, str]) -> None:
        """Forget the data of keys that are not accepted any more, here and in the cache."""
        other = [(name, bank) for name, bank in self.ledger.items() if accepted.get(name[1]) != bank.fingerprint]
        gone = {name: bank for name, bank in other if self.keys.holds(name[1]) != bank.fingerprint}
        for (kind, minion), bank in gone.items():
            if bank.stamp and self.cache.stamp(kind, minion) == bank.stamp and not self.cache.preserves:
                self.cache.write(kind, minion, {})
        if gone:
            self.ledger.change(dict.fromkeys(gone))
            self.unshared -= gone.keys()

    # -- what others ask -----------------------------------------------------------------------------------------------

    def digests(self) -> dict[str, bytes]:
        """Return the digests of all versions that are known here, by kind."""
        return {kind: self.ledger.digest(kind) for kind in self.kinds}

    def sums(self, kind: Any) -> bytes:
        """Return the digests of ``kind`` by bucket."""
        return self.ledger.sums(self._of_mine(kind))

    def banks(self, kind: Any, buckets: Any, after: Any) -> dict[str, Any]:
        """Return the versions of the banks in ``buckets`` of the minions that follow ``after``, as many as fit."""
        if not all(type(one) is int and 0 <= one < BUCKETS for one in buckets):
            raise WireError("there are no such buckets of minion data")
        found: list[Any] = []
        size, now = 0, time.time()
        for minion, bank in self.ledger.within(self._of_mine(kind), buckets):
            if minion <= str(after) or (kind, minion) in self.unshared:
                continue
            if size > ANSWER_SIZE:
                return {"banks": found, "more": True}
            parts = {part: versions.pack(one, now) for part, one in bank.parts.items()}
            size += 64 + len(minion) + sum(96 + len(part) for part in parts)
            found.append([minion, bank.fingerprint, parts])
        return {"banks": found, "more": False}

    def _of_mine(self, kind: Any) -> str:
        if kind not in self.kinds:
            raise WireError(f"{str(kind)[:40]!r} is no data that this master shares")
        return str(kind)

    async def values(self, kind: Any, asked: Any) -> list[Any]:
        """Return the values of the parts that are ``asked`` for by minion, as many as fit, one at least."""
        known = self._of_mine(kind)
        return await asyncio.to_thread(self._fitting, known, [(minion, list(parts)) for minion, parts in asked])

    def _fitting(self, kind: str, asked: Iterable[tuple[str, list[str]]]) -> list[Any]:
        found: list[Any] = []
        size = 0
        for minion, parts in asked:
            versions.check_name(minion, parts)
            if size > ANSWER_SIZE:
                break
            values = self._values(kind, minion, parts)
            size += 64 + len(minion) + sum(96 + len(part) + len(one[-1] or b"") for part, one in values.items())
            found.append([minion, values])
        return found

    def _values(self, kind: str, minion: str, parts: Iterable[str]) -> dict[str, list[Any]]:
        """Return the version and the value of each of ``parts``; none that is too large, or not as it was when seen."""
        bank = self.ledger.get((kind, minion))
        if bank is None:
            return {}
        try:
            held = versions.split(kind, self.cache.read(kind, minion)) if bank.stamp else {}
        except LogilabError as err:  # the others are told all the same
            log.warning("%s", err)
            return {}
        now, found, size = time.time(), {}, 0
        for part in parts:
            one = bank.parts.get(part)
            if one is None or (one.digest and (part not in held or versions.digest(held[part]) != one.digest)):
                continue
            blob = self.cache.pack(held[part]) if one.digest else None
            size += len(blob or b"")
            if size > VALUE_LIMIT:
                self.unshared.add((kind, minion))
                break
            found[part] = [*versions.pack(one, now), blob]
        return found

    # -- what others know better ---------------------------------------------------------------------------------------

    def wanted(self, kind: str, banks: Any) -> list[tuple[str, list[str]]]:
        """
        Return what is to be asked for, of the ``banks`` that another member has told.

        :raises WireError: they are malformed.
        """
        accepted, now, asked = self.keys.accepted(), time.time(), []
        for minion, fingerprint, told in banks:
            versions.check_name(minion, told)
            if accepted.get(minion) == fingerprint:
                theirs = {part: versions.unpack(one, now).version for part, one in told.items()}
                asked.append((minion, versions.wanted(theirs, self._known(kind, minion, fingerprint))))
        return [(minion, parts) for minion, parts in asked if parts]

    def _known(self, kind: str, minion: str, fingerprint: str) -> Bank | None:
        bank = self.ledger.get((kind, minion))
        return bank if bank and bank.fingerprint == fingerprint else None

    async def take(self, kind: str, told: Any) -> int:
        """
        Put the values that another member has ``told`` into the cache, where they are newer; return their number.

        :raises WireError: they are malformed, or not those that it has told the versions of.
        """
        async with self._looking:
            jobs = self._newer(kind, told)
            errors: list[LogilabError] = []
            done = await asyncio.to_thread(lambda: [self._put(kind, *job, errors) for job in jobs])
            changes = {(kind, job[0]): bank for job, bank in zip(jobs, done, strict=True) if bank}
            if changes:
                self.ledger.change(changes)
        if errors:
            raise errors[0]
        return len(changes)

    def _newer(self, kind: str, told: Any) -> list[tuple[str, Bank, dict[str, tuple[Part, Any]]]]:
        """Return of what was ``told`` the parts that are newer, by minion, with what is known of that one."""
        accepted, now, jobs = self.keys.accepted(), time.time(), []
        for minion, values in told:
            versions.check_name(minion, values)
            if minion in accepted:
                news = {part: (versions.unpack(one[:-1], now), one[-1]) for part, one in values.items()}
                bank = self._known(kind, minion, accepted[minion]) or Bank(accepted[minion])
                newer = versions.wanted({part: one.version for part, (one, _) in news.items()}, bank)
                jobs.append((minion, bank, {part: news[part] for part in newer}))
        return jobs

    def _put(
        self, kind: str, minion: str, bank: Bank, news: Mapping[str, tuple[Part, Any]], errors: list[LogilabError]
    ) -> Bank | None:
        """
        Write the parts ``news`` into the cache; None when there are none, or the minion has spoken meanwhile.

        What does not work is added to ``errors``, so that the rest is done all the same.
        """
        if not news or self.cache.stamp(kind, minion) != bank.stamp:
            return None
        try:
            data = self.cache.read(kind, minion) if bank.stamp else {}
            for part, (one, blob) in news.items():
                value = self.cache.unpack(blob) if isinstance(blob, bytes) else None
                if (versions.digest(value) if value is not None else b"") != one.digest:
                    raise WireError(f"the {kind} of {minion!r} is not what was told of it")
                data = versions.put(kind, data, part, value)
            stamp = self.cache.write(kind, minion, data)
        except LogilabError as err:
            errors.append(err)
            return None
        return replace(versions.adopt(bank, {part: one for part, (one, _) in news.items()}), stamp=stamp)

    # -- what an operator asks -----------------------------------------------------------------------------------------

    def shown(self, minion: str, names: Mapping[bytes, str]) -> dict[str, Any]:
        """Return the age of the data of ``minion`` in seconds, by kind and function, and which member has seen it."""
        return {kind: self._aged(self.ledger.get((kind, minion)), names) for kind in self.kinds}

    @staticmethod
    def _aged(bank: Bank | None, names: Mapping[bytes, str]) -> dict[str, Any]:
        now = time.time()
        return {
            part or "all": {
                "age": round(max(0.0, now - one.at), 1),
                "by": names.get(one.by, one.by.hex()),
                **({} if one.digest else {"deleted": True}),
            }
            for part, one in sorted(bank.parts.items() if bank else ())
        }

    def counts(self) -> dict[str, int]:
        """Return of how many minions there is data here, by kind."""
        held = [name[0] for name, bank in self.ledger.items() if bank.stamp]
        return {kind: held.count(kind) for kind in self.kinds}
