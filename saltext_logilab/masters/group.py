"""
The group: who is a member, told from the signed records about members by a pure function.

The group begins with the record by which its founder has joined. A member's record lets another master join; a member's
record lets one leave or evicts one, and names the last counter that counts of it: what it signed later is refused, its
later decisions about members included. So an eviction may take the ground from another record, also from another
eviction, when neither knew of the other. Which of them hold is the grounded labelling of that graph of attacks (Dung,
"On the acceptability of arguments", 1995): a record holds when all that attack it have fallen, it falls when one that
holds attacks it. What is left over are members that have evicted each other: all of them are suspended, until an
operator's eviction, made knowing of both, names the survivor.

A group may be founded so that two members must agree. Then nobody goes by the word of one member alone: what ends a
membership counts only when it refers to a proposal by another member, and it falls with that. Who leaves proposes it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from saltext_logilab import identity
from saltext_logilab.errors import WireError
from saltext_logilab.masters.records import MEMBER_SIZE, ORIGIN_SIZE, Record, State, Vector, member_id

KIND = "member"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ADDRESS_LIMIT = 300
CUTS = (State.LEFT, State.EVICTED)
_MORE = {"agree": bool, "proposal": str, "withdrawn": bool}


@dataclass(frozen=True)
class Facts:
    """
    What a record about a member says of it.

    ``last`` (of one that goes) names the last counter that counts, by origin; ``master_key`` is the fingerprint of
    Salt's master key that it knew; ``survivor`` marks an operator's word on masters that have evicted each other. The
    founder says by ``agree`` that two must agree; then ``proposal`` names the one that is agreed to, and a proposal
    that is ``withdrawn`` takes back the earlier ones of its member.
    """

    public: bytes
    name: str
    address: str
    last: Vector = field(default_factory=dict, hash=False)
    master_key: str = ""
    survivor: bool = False
    agree: bool = False
    proposal: str = ""
    withdrawn: bool = False

    def encode(self) -> str:
        """Return the value of a record with these facts."""
        last = {origin.hex(): counter for origin, counter in sorted(self.last.items())}
        public = base64.b64encode(self.public).decode()
        more = {name: value for name in _MORE if (value := getattr(self, name))}
        told = [public, self.name, self.address, last, self.master_key, self.survivor, *([more] if more else [])]
        return json.dumps(told, separators=(",", ":"))


@dataclass(frozen=True)
class Member:
    """
    A master that is or was in the group.

    ``state`` is active, left, evicted or suspended. Of one that is not active, ``last`` names the last counters that
    count, ``by`` the name of the member that says so, ``at`` its clock then, and ``master_key`` what it knew.
    """

    public: bytes
    name: str
    address: str
    state: str
    last: Vector = field(default_factory=dict, hash=False)
    by: str = ""
    at: int = 0
    master_key: str = ""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its identity, ``SHA256:…``."""
        return identity.fingerprint(self.public)

    @property
    def is_active(self) -> bool:
        """Whether it takes part."""
        return self.state == "active"


@dataclass(frozen=True)
class Proposal:
    """That the member ``by`` wants the member ``about`` to go (both short names): by which record, and when."""

    about: bytes
    by: bytes
    name: str
    at: int


@dataclass(frozen=True)
class Group:
    """All members that there are and were, by their short name; whether two must agree, and what is proposed."""

    members: Mapping[bytes, Member]
    agree: bool = False
    proposals: tuple[Proposal, ...] = ()

    def active(self) -> dict[bytes, Member]:
        """Return the members that take part."""
        return {short: member for short, member in self.members.items() if member.is_active}

    def publics(self) -> dict[bytes, bytes]:
        """Return the raw public keys of all, by short name: whose signatures can be checked."""
        return {short: member.public for short, member in self.members.items()}

    def permits(self, origin: bytes, counter: int) -> bool:
        """Say whether the record ``counter`` of ``origin`` counts."""
        member = self.members.get(origin[:MEMBER_SIZE])
        return member is not None and (member.is_active or counter <= member.last.get(origin, 0))

    def find(self, name: str) -> list[Member]:
        """Return who is called ``name`` or has the fingerprint ``name``: the active first."""
        found = [one for one in self.members.values() if name in (one.name, one.fingerprint)]
        return sorted(found, key=lambda one: not one.is_active)


def subject(public: bytes) -> str:
    """Return the subject of the records about the member with the raw public key ``public``."""
    return identity.fingerprint(public)


def digest(public: bytes) -> str:
    """Return what stands as ``fingerprint`` in the records about the member."""
    return sha256(public).digest().hex(":")


def facts(record: Record) -> Facts:
    """Return what ``record`` says of a member; :raises WireError: it is malformed."""
    try:
        public, name, address, last, master_key, survivor, *rest = json.loads(record.value)
        (more,) = rest or [{}]
        if any(not isinstance(value, _MORE[key]) for key, value in more.items()):
            raise ValueError("an ill-typed fact")
        read = {bytes.fromhex(origin): counter for origin, counter in last.items()}
        told = Facts(base64.b64decode(public, validate=True), name, address, read, master_key, survivor, **more)
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error) as err:
        raise WireError(f"a record about the member {record.subject!r} cannot be read") from err
    texts = all(isinstance(one, str) for one in (name, address, master_key))
    if not texts or len(told.public) != 32 or not NAME.fullmatch(name) or len(address) > ADDRESS_LIMIT:
        raise WireError(f"a record about the member {record.subject!r} is malformed")
    if not all(len(one) == ORIGIN_SIZE and type(counter) is int for one, counter in read.items()):
        raise WireError(f"a record about the member {record.subject!r} names malformed counters")
    return told


def check(record: Record) -> None:
    """
    Check what is particular to a record about a member.

    :raises WireError: it is no such record.
    """
    told = facts(record)
    if record.state not in (State.JOINED, State.PROPOSED, *CUTS):
        raise WireError(f"a record about the member {told.name} has the state {record.state.value!r}")
    if record.subject != subject(told.public) or record.fingerprint != digest(told.public):
        raise WireError(f"a record about the member {told.name} has another key than its subject")
    if record.state in CUTS and record.origin[:MEMBER_SIZE] == member_id(told.public):
        raise WireError(f"the member {told.name} has named its own last counter")


@dataclass(frozen=True)
class _Said:
    """A record with what it says, and the proposal that it agrees to."""

    record: Record
    facts: Facts
    proposal: _Said | None = None

    @property
    def signer(self) -> bytes:
        return self.record.origin[:MEMBER_SIZE]

    @property
    def about(self) -> bytes:
        return member_id(self.facts.public)

    @property
    def cuts(self) -> bool:
        return self.record.state in CUTS

    @property
    def joins(self) -> bool:
        return self.record.state is State.JOINED

    @property
    def name(self) -> str:
        return f"{self.record.origin.hex()}:{self.record.counter}"


def evaluate(founder: bytes, records: Iterable[Record]) -> Group:
    """Return the group that was founded by the member with the raw public key ``founder``, as ``records`` tell."""
    said = [_Said(record, facts(record)) for record in sorted(records, key=lambda one: one.dot)]
    first = member_id(founder)
    agree = any(one.facts.agree and one.joins and one.signer == one.about == first for one in said)
    said = _seconded(said) if agree else said
    while True:
        holding, open_ = _label(said)
        known = _known(first, [*holding, *open_])
        rest = [one for one in said if {one.signer, one.proposal.signer if one.proposal else one.signer} <= known]
        if len(rest) == len(said):
            members = {short: _member(short, said, holding, open_) for short in sorted(known)}
            return Group(members, agree, _proposals(holding, members))
        said = rest


def _seconded(said: list[_Said]) -> list[_Said]:
    """Return ``said`` without what ends a membership by the word of one member alone."""
    proposals = {one.name: one for one in said if one.record.state is State.PROPOSED and not one.facts.withdrawn}
    found = []
    for one in said:
        proposal = proposals.get(one.facts.proposal) if one.cuts else None
        if proposal and _is_good(proposal, one) and not _is_withdrawn(proposal, one, said):
            found.append(replace(one, proposal=proposal))
        elif not one.cuts:
            found.append(one)
    return found


def _is_good(proposal: _Said, cut: _Said) -> bool:
    """Say whether ``cut`` agrees to ``proposal``: another member's, and that of its victim only when it leaves."""
    if proposal.about != cut.about or proposal.signer == cut.signer:
        return False
    return cut.record.state is State.LEFT or proposal.signer != cut.about


def _is_withdrawn(proposal: _Said, cut: _Said | None, said: list[_Said]) -> bool:
    """Say whether ``proposal`` was taken back, as the maker of ``cut`` knew (without one: as anybody knows)."""
    return any(
        one.facts.withdrawn
        and (one.signer, one.about) == (proposal.signer, proposal.about)
        and one.record.knows(proposal.record)
        and (cut is None or cut.record.knows(one.record))
        for one in said
    )


def _proposals(holding: list[_Said], members: Mapping[bytes, Member]) -> tuple[Proposal, ...]:
    """Return the latest proposal of each member about each other that is still one, and those of who wants to leave."""
    latest: dict[tuple[bytes, bytes], Proposal] = {}
    there = {short for short, one in members.items() if one.state in ("active", "suspended")}
    for one in sorted(holding, key=lambda one: one.record.counter):
        is_open = one.record.state is State.PROPOSED and not one.facts.withdrawn and {one.signer, one.about} <= there
        if is_open and not _is_withdrawn(one, None, holding):
            latest[one.signer, one.about] = Proposal(one.about, one.signer, one.name, one.record.at)
    return tuple(latest.values())


def _known(founder: bytes, said: list[_Said]) -> set[bytes]:
    """Return who has been let in by somebody who was, beginning with the founder."""
    joins = [one for one in said if one.joins]
    known: set[bytes] = set()
    new = {one.about for one in joins if one.about == one.signer == founder}
    while new:
        known |= new
        new = {one.about for one in joins if one.signer in known} - known
    return known


def _attacks(one: _Said, other: _Said) -> bool:
    """Say whether ``one`` takes the ground from ``other``, or from the proposal that this agrees to."""
    return _cuts_off(one, other) or (other.proposal is not None and _cuts_off(one, other.proposal))


def _cuts_off(one: _Said, other: _Said) -> bool:
    """Say whether ``one`` ends the membership of the signer of ``other`` at an earlier counter."""
    if not one.cuts or one.about != other.signer:
        return False
    if other.record.counter <= one.facts.last.get(other.record.origin, 0):
        return False
    decides = one.facts.survivor and other.cuts and not other.facts.survivor
    if one.record.knows(other.record):
        return decides
    decided = other.facts.survivor and not one.facts.survivor
    return not (decided and other.record.knows(one.record))


def _label(said: list[_Said]) -> tuple[list[_Said], list[_Said]]:
    """Return the records that hold, and those of which it cannot be told."""
    attackers = {number: [n for n, one in enumerate(said) if _attacks(one, other)] for number, other in enumerate(said)}
    holding: set[int] = set()
    fallen: set[int] = set()
    while True:
        before = len(holding) + len(fallen)
        for number, against in attackers.items():
            if number not in holding | fallen:
                if all(each in fallen for each in against):
                    holding.add(number)
                elif any(each in holding for each in against):
                    fallen.add(number)
        if len(holding) + len(fallen) == before:
            left = [one for number, one in enumerate(said) if number not in holding | fallen]
            return [said[number] for number in sorted(holding)], left


def _member(short: bytes, said: list[_Said], holding: list[_Said], open_: list[_Said]) -> Member:
    joins = [one for one in (*open_, *holding) if one.joins and one.about == short]
    latest = next(
        (one for one in joins if not any(other.record.knows(one.record) for other in joins if other != one)), joins[0]
    )
    names = {one.about: one.facts.name for one in said}
    cuts = [one for one in holding if one.cuts and one.about == short]
    state = cuts[0].record.state.value if cuts else "suspended"
    cuts = cuts or [one for one in open_ if one.cuts and one.about == short]
    if not cuts:
        pending = latest in open_
        return Member(
            latest.facts.public, latest.facts.name, latest.facts.address, "suspended" if pending else "active"
        )
    first = min(cuts, key=lambda one: (one.record.at, one.record.dot))
    return Member(
        latest.facts.public,
        latest.facts.name,
        latest.facts.address,
        state,
        _lowest([one.facts.last for one in cuts]),
        names.get(first.signer, ""),
        first.record.at,
        first.facts.master_key,
    )


def _lowest(vectors: list[Vector]) -> dict[bytes, int]:
    """Return the largest vector that each of ``vectors`` covers."""
    return {origin: min(one.get(origin, 0) for one in vectors) for origin in vectors[0]}
