"""
What changes the group: init, invite, join, leave, evict, and the two ends of an invite that is redeemed.

Everything here ends in signed records about members; who is a member follows from them, see :mod:`.group`.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any

from saltext_logilab.errors import RefusedError, UnavailableError, WireError
from saltext_logilab.identity import fingerprint
from saltext_logilab.masters import adoption, group, invites
from saltext_logilab.masters.addresses import parse_address
from saltext_logilab.masters.group import Facts, Member, Proposal
from saltext_logilab.masters.invites import Invite
from saltext_logilab.masters.journal import FRESH, Journal
from saltext_logilab.masters.kinds import chain
from saltext_logilab.masters.link import INVITED, Doors, Link
from saltext_logilab.masters.reconcile import Change
from saltext_logilab.masters.records import MEMBER_SIZE, Record, State, member_id
from saltext_logilab.masters.settings import MastersSettings

INVITE_TIME = 3600
LAST_CHANGES = 20
_ROWS = 2000

OTHER_MASTER_KEY = (
    "this master has another master key ({own}) than the group ({theirs}), and minions keep one: stop this master,"
    " put the group's master.pem and master.pub into its pki_dir in place of what is there (remove {id}.pem and"
    " {id}.pub too, where they exist), start it, and join again. Keys do not travel by themselves: carry them by hand"
)


class Membership:
    """
    What one member can do about the group.

    :param master_key: returns the fingerprint of this master's Salt key.
    :param held: returns the decisions in this master's key store: id → state and fingerprint.
    :param changed: called when the group has changed by what was done here.
    """

    def __init__(
        self,
        settings: MastersSettings,
        journal: Journal,
        master_key: Callable[[], str],
        held: Callable[[], Mapping[str, tuple[str, str]]],
        changed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._master_key = master_key
        self._held = held
        self._changed = changed

    @property
    def public(self) -> bytes:
        """This member's raw public key."""
        return self._journal.identity.public

    @property
    def me(self) -> Member | None:
        """This master as a member; None when it is in no group."""
        return self._journal.group().members.get(member_id(self.public))

    # -- init and address ----------------------------------------------------------------------------------------------

    def init(self, *, agree: bool = False) -> str:
        """Found a group with this master as its first member, in which two must ``agree``; return its fingerprint."""
        if self._journal.founder:
            raise RefusedError("this master is in a group already: salt-run masters.members shows it")
        self._journal.enter(self.public)
        told = Facts(self.public, self._settings.name, self._settings.reached, agree=agree)
        self._record(State.JOINED, told)
        return fingerprint(self.public)

    def keep_address(self) -> None:
        """Tell the others when this member's name or address is another one than they know."""
        me = self.me
        own = (self._settings.name, self._settings.reached)
        if me and me.is_active and (me.name, me.address) != own:
            self._record(State.JOINED, self._facts(self.public, *own))

    # -- invite and join -----------------------------------------------------------------------------------------------

    def invite(self) -> str:
        """Return the text of a new invite, to be redeemed here once and within the hour."""
        self._check_active()
        key = self._master_key()
        made = invites.new(fingerprint(self._journal.founder), fingerprint(self.public), self._settings.reached, key)
        now = int(time.time())
        self._journal.add_invite(bytes.fromhex(made.id), made.encode(), now + INVITE_TIME, now)
        return made.encode()

    async def admit(self, link: Link) -> None:
        """
        Hear somebody who says to have an invite, and let it in when that is so.

        :raises WireError: it is not so; it is told no reason but that.
        """
        message = await link.receive(invites.LIMIT)
        try:
            what, invite_id, proof, name, address = message
            invite = invites.parse(self._journal.invite(invite_id, int(time.time())))
            role = {"join": "joins", "look": "looks"}[what]
            known = hmac.compare_digest(invite.mac(role, link.public, self.public, name, address), proof)
        except Exception as err:
            await link.send(["refused", "the invite is not valid here: it was redeemed, or has expired"])
            raise WireError("an invite was shown that is none") from err
        if not known:
            raise WireError("an invite was shown without a proof")
        refusal = self._refusal(link.public, name, address, invite)
        if refusal:
            await link.send(["refused", refusal])
        elif what == "look":
            await self._show(link)
        else:
            await self._welcome(link, invite, name, address)

    def _refusal(self, public: bytes, name: str, address: str, invite: Invite) -> str:
        me, short = self.me, member_id(public)
        members = self._journal.group().members
        if me is None or not me.is_active:
            return f"{self._settings.name} is no active member of its group itself"
        if invite.master_key != self._master_key():
            return "the group's master key was rotated since the invite was made: make a new one"
        if short in members and not members[short].is_active:
            return "this identity was a member and is gone: salt-run masters.leave makes room for a new one"
        if any(one.name == name and key != short for key, one in self._journal.group().active().items()):
            return f"another member is called {name} already: set logilab:masters:name"
        parse_address("the address of the invited master", address)
        return "" if group.NAME.fullmatch(name) else f"{name!r} is no name of a master"

    async def _show(self, link: Link) -> None:
        rows = [list(row) for row in adoption.table(self._journal.records())]
        for begin in range(0, len(rows), _ROWS):
            await link.send(["keys", rows[begin : begin + _ROWS]])
        await link.send(["end"])

    async def _welcome(self, link: Link, invite: Invite, name: str, address: str) -> None:
        if not self._journal.redeem(bytes.fromhex(invite.id)):
            raise WireError("an invite was redeemed twice at once")
        self._record(State.JOINED, self._facts(link.public, name, address))
        pairs = [list(pair) for pair in self._journal.beyond({}, group.KIND)]
        proof = invite.mac("welcomes", link.public, self.public, name, address)
        await link.send(["welcome", proof, self._journal.founder, pairs])

    async def join(self, doors: Doors, text: str, *, adopt: bool, look: bool) -> dict[str, Any]:
        """
        Join the group by the invite ``text``; with ``look`` tell only what that would change.

        :raises RefusedError: the master keys differ, keys differ and it was not said to ``adopt`` them, or the inviter
            refuses.
        """
        me = self.me
        if me and (len(self._journal.group().members) > 1 or not me.is_active):
            raise RefusedError("this master is in a group already: salt-run masters.leave first")
        invite = invites.parse(text)
        own = self._master_key()
        if own != invite.master_key:
            raise RefusedError(OTHER_MASTER_KEY.format(own=own, theirs=invite.master_key, id=self._settings.name))
        found = adoption.compare(self._held(), await self._look(doors, invite))
        if look:
            return {"joined": False, **found.data()}
        if found.differs and not adopt:
            raise RefusedError(
                f"the keys here and in the group differ ({found.sentence()}): look at what would change by"
                " `salt-run masters.join FILE dry_run=True`, then join with adopt=True"
            )
        await self._redeem(doors, invite, adopt=adopt)
        return {"joined": True, **found.data()}

    async def _look(self, doors: Doors, invite: Invite) -> list[adoption.Row]:
        link = await self._ask(doors, invite, "look", "looks")
        rows: list[adoption.Row] = []
        try:
            while (message := await self._answer(link))[0] == "keys":
                rows += [adoption.Row(*map(str, row)) for row in message[1]]
        finally:
            link.close()
        return rows

    async def _redeem(self, doors: Doors, invite: Invite, *, adopt: bool) -> None:
        link = await self._ask(doors, invite, "join", "joins")
        try:
            _, proof, founder, pairs = await self._answer(link)
        finally:
            link.close()
        expected = invite.mac("welcomes", self.public, link.public, self._settings.name, self._settings.reached)
        if not hmac.compare_digest(expected, proof) or fingerprint(founder) != invite.founder:
            raise RefusedError("who has answered does not know the invite: nothing was joined")
        records = chain(founder, pairs)
        if self.me:  # a group of this master alone: it becomes part of the other one, under another founder
            self._journal.dissolve()
        self._journal.enter(founder)
        self._journal.set_note(FRESH, b"adopt" if adopt else b"due")
        self._journal.merge(records, {})
        self._changed()

    async def _ask(self, doors: Doors, invite: Invite, what: str, role: str) -> Link:
        address = parse_address("the inviter's address", invite.address)
        link = await doors.dial(address, invite.inviter, INVITED)
        own = (self._settings.name, self._settings.reached)
        await link.send([what, bytes.fromhex(invite.id), invite.mac(role, self.public, link.public, *own), *own])
        return link

    @staticmethod
    async def _answer(link: Link) -> list[Any]:
        try:
            message = await link.receive()
        except (OSError, EOFError) as err:
            raise RefusedError("the inviter has ended the connection without an answer") from err
        if message[0] == "refused":
            raise RefusedError(f"the inviter refuses: {message[1]}")
        return message

    # -- leave and evict -----------------------------------------------------------------------------------------------

    def endorse_leave(self, public: bytes, about: Any) -> bool:
        """Let the member with ``public`` go, when all that it has decided (``about``: its counters) is here."""
        known = self._journal.frontier()
        if any(known.get(origin, 0) < counter for origin, counter in dict(about).items()):
            raise UnavailableError("not all that the leaving member has decided has arrived yet: try again")
        short, now = member_id(public), self._journal.group()
        own = next((one for one in now.proposals if one.about == one.by == short), None)
        if now.agree and own is None:
            raise UnavailableError("the leaving member's own word has not arrived yet: try again")
        self._cut(State.LEFT, now.members[short], "", proposal=own)
        return True

    def propose_leave(self, *, withdraw: bool = False) -> None:
        """Say that this member wants to leave, where two must agree; or that it does not any more."""
        me = self.me
        if me and self._journal.group().agree:
            self._record(State.PROPOSED, Facts(me.public, me.name, me.address, withdrawn=withdraw))

    def evict(self, name: str, actor: str, *, withdraw: bool = False) -> dict[str, Any]:
        """
        Take the member ``name`` (its name or fingerprint) out of the group; return its last changes.

        Where two must agree the first only proposes it, and may ``withdraw`` that.

        :raises RefusedError: it is none, several or this one, or was evicted already; or nobody else could agree.
        """
        known = self._journal.group().find(name)
        found = [one for one in known if one.state in ("active", "suspended")]
        if len(found) != 1:
            reason = "several members are called so: name its fingerprint" if found else "no member is called so"
            raise RefusedError(f"{name!r} cannot be evicted: {reason} (salt-run masters.members)")
        victim, me = found[0], self.me
        disputed = victim.state == "suspended"
        if victim.public == self.public:
            raise RefusedError("a master does not evict itself: salt-run masters.leave, or evict it from another one")
        if me is None or not (me.is_active or (disputed and me.state == "suspended")):
            raise RefusedError("this master is no active member of the group")
        told = {"fingerprint": victim.fingerprint, "changes": self.changes(victim)}
        proposal = self._proposal(victim)
        if withdraw or (self._journal.group().agree and proposal is None):
            self._propose(victim, actor, withdraw=withdraw)
            return {"withdrawn" if withdraw else "proposed": victim.name, **told}
        self._cut(State.EVICTED, victim, actor, survivor=disputed, proposal=proposal)
        return {"evicted": victim.name, **told}

    def _proposal(self, victim: Member) -> Proposal | None:
        """Return what another member has proposed about ``victim``."""
        own, short = member_id(self.public), member_id(victim.public)
        found = (one for one in self._journal.group().proposals if one.about == short)
        return next((one for one in found if one.by not in (own, short)), None)

    def _propose(self, victim: Member, actor: str, *, withdraw: bool) -> None:
        own, short, now = member_id(self.public), member_id(victim.public), self._journal.group()
        mine = any((one.by, one.about) == (own, short) for one in now.proposals)
        if withdraw and not mine:
            raise RefusedError(f"this master has not proposed to evict {victim.name}")
        if mine and not withdraw:
            raise RefusedError(f"this master has proposed it: a second one has to agree by masters.evict {victim.name}")
        if not withdraw and not now.active().keys() - {own, short}:
            raise RefusedError(
                "two members must agree in this group, and there is no other one: `salt-run masters.leave alone=True`"
                " lets this master go on alone and make a new group"
            )
        self._record(State.PROPOSED, Facts(victim.public, victim.name, victim.address, withdrawn=withdraw), actor)

    def changes(self, victim: Member) -> list[dict[str, Any]]:
        """Return the last decisions of ``victim`` as plain data, the latest first."""
        past = self._journal.history_of(member_id(victim.public), LAST_CHANGES)
        return [
            {"id": one.subject, "decision": one.state, "fingerprint": one.fingerprint, "at": one.at}
            for one in past
            if not one.subject.startswith("SHA256:")
        ]

    def _cut(
        self, state: State, victim: Member, actor: str, *, survivor: bool = False, proposal: Proposal | None = None
    ) -> None:
        short = member_id(victim.public)
        last = {one: counter for one, counter in self._journal.frontier().items() if one[:MEMBER_SIZE] == short}
        for one in self._disputed(short) if survivor else ():
            last[one.origin] = min(last.get(one.origin, 0), one.counter - 1)
        agreed = proposal.name if proposal else ""
        told = Facts(victim.public, victim.name, victim.address, last, self._master_key(), survivor, proposal=agreed)
        self._record(state, told, actor)

    def _disputed(self, short: bytes) -> list[Record]:
        """Return the evictions by the suspended member ``short`` of which it cannot be told whether they hold."""
        known = self._journal.group().members
        said = (one for each in self._journal.records(None, group.KIND).values() for one in each)
        return [
            one
            for one in said
            if one.origin[:MEMBER_SIZE] == short
            and one.state in group.CUTS
            and known[member_id(group.facts(one).public)].state == "suspended"
        ]

    # -- records -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _facts(public: bytes, name: str, address: str) -> Facts:
        return Facts(public, name, address)

    def _record(self, state: State, told: Facts, actor: str = "") -> None:
        change = Change(
            group.subject(told.public), state, group.digest(told.public), told.encode(), self._journal.latest(),
            kind=group.KIND, actor=actor,
        )  # fmt: skip
        self._journal.originate([change], int(time.time()), shown=False)
        self._changed()

    def _check_active(self) -> None:
        me = self.me
        if me is None:
            raise RefusedError("this master is in no group: salt-run masters.init makes one")
        if not me.is_active:
            raise RefusedError(f"this master is {me.state}")
