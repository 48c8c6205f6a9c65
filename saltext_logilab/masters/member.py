"""
A member at work: its links with its peers, its rounds over the key store, what an operator asks of it by the control
socket, and its health, in one asyncio loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from saltext_logilab.errors import RefusedError, UnavailableError
from saltext_logilab.masters import archive, control, health
from saltext_logilab.masters.carriers import Carriers, opener
from saltext_logilab.masters.data.keeper import Cache, Keeper
from saltext_logilab.masters.data.ledger import FILE, open_ledger
from saltext_logilab.masters.data.sharing import Sharing
from saltext_logilab.masters.files.desk import Desk as FileDesk
from saltext_logilab.masters.files.fleet import Fleet as FileFleet
from saltext_logilab.masters.files.hold import Watch
from saltext_logilab.masters.files.manifest import Manifest
from saltext_logilab.masters.files.offer import Offer
from saltext_logilab.masters.files.pull import Puller
from saltext_logilab.masters.files.stage import finish
from saltext_logilab.masters.guard import forever
from saltext_logilab.masters.jobs.desk import Desk
from saltext_logilab.masters.jobs.fleet import Fleet
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.membership import Membership
from saltext_logilab.masters.peers import FAREWELL, Hooks, Peers
from saltext_logilab.masters.reconcile import decided
from saltext_logilab.masters.records import MEMBER_SIZE
from saltext_logilab.masters.rounds import Rounds
from saltext_logilab.masters.settings import MastersSettings
from saltext_logilab.masters.stores import carrier as stores
from saltext_logilab.masters.stores.carrier import StoreCarrier
from saltext_logilab.masters.stores.settings import StoreSettings
from saltext_logilab.masters.surroundings import KeyStore, Surroundings
from saltext_logilab.patience import within

log = logging.getLogger(__name__)

HEALTH_INTERVAL = 10.0
HEALTH_PAUSE = 0.5
KEYS_SHOWN = 200
LEAVE_TRIES = 2  # each other member is asked: what was decided last may still be on its way at the first time


class LeftError(Exception):
    """This master has left its group: the engine begins anew, with a new identity."""


class Member:
    """One member of the group, for one master; to be made in a running loop."""

    def __init__(
        self, settings: MastersSettings, journal: Journal, store: KeyStore, surroundings: Surroundings
    ) -> None:
        self._folder = settings.folder
        self._journal = journal
        self._store = store
        self._surroundings = surroundings
        self._news = asyncio.Event()
        self._left = asyncio.Event()
        self._started = time.time()
        self._about = {"name": settings.name, **surroundings.versions}
        self.membership = Membership(settings, journal, surroundings.master_key, self._held, self._group_changed)
        desk, file_desk = Desk(surroundings.jobs), FileDesk(surroundings.files)
        offer = Offer(surroundings.files, settings.pull, journal.identity, lambda: journal.founder)
        answers = {
            "leave": self.membership.endorse_leave,
            "keys": lambda _public, _about: store.waiting(KEYS_SHOWN),
            "jobs": desk.newest,
            "job": desk.job,
            "active": desk.running,
            "files": file_desk.digests,
            "paths": file_desk.paths,
            "refresh": file_desk.refresh,
            "agree": self._agree,
            "manifest": offer.manifest,
            "entries": offer.entries,
            "pieces": offer.pieces,
        }
        hooks = Hooks(self._arrived, self._news.set, self.membership.admit, answers)
        self._peers = Peers(settings, journal, self._about, hooks)
        fleet = Fleet(settings.name, desk, self._peers)
        files = FileFleet(settings.name, file_desk, self._peers)
        self._puller = Puller(
            settings.folder, settings.pull, surroundings.files, self._peers, self._expected, self._pulled
        )
        self._watch = Watch(
            settings.name, settings.folder, settings.hold, file_desk, self._peers, surroundings.tell, self._news.set
        )
        self._store_carrier = self._carry(settings.store)
        self._carriers = Carriers([self._peers, *([self._store_carrier] if self._store_carrier else [])])
        self._rounds = Rounds(journal, store, surroundings, self._carriers, self._news.set)
        self._sharing = self._share(surroundings.data, settings.data)
        if self._sharing:
            self._about["data"] = " ".join(settings.data)
            answers["data"] = self._sharing.answer
        self._commands: dict[str, Callable[..., Awaitable[Any]]] = {
            "init": self._init,
            "invite": self._invite,
            "join": self._join,
            "leave": self._leave,
            "evict": self._evict,
            "confirm": self._confirm,
            "resolve": self._resolve,
            "keys": self._keys,
            "jobs": fleet.jobs,
            "job": fleet.job,
            "active": fleet.active,
            "files": files.files,
            "refresh": files.refresh,
            "data": self._data,
            "pull": self._puller.start,
            "pulling": self._puller.progress,
            "stop_pull": self._puller.stop,
            "undo_pull": self._puller.undo,
            "release": self._watch.release,
        }
        self._states = self._member_states()

    async def run(self) -> None:
        """
        Work until cancelled.

        :raises LeftError: this master has left its group.
        """
        self._know_master_key()
        work: asyncio.Future[Any] = asyncio.gather(
            self._carriers.run(),
            self._begin_rounds(),
            *([self._sharing.run()] if self._sharing else ()),
            *([forever(self._watch.run, self._mute)] if self._watch.is_due else ()),
            forever(self._keep_health, self._mute),
            forever(lambda: control.serve(self._folder, self._commands), self._mute),
        )
        leaving = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                await asyncio.sleep(HEALTH_PAUSE)  # the answer to the operator is on its way
                raise LeftError
            await work
        finally:
            leaving.cancel()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _begin_rounds(self) -> None:
        try:
            await asyncio.to_thread(finish, self._folder)  # a pull that was cut off while it exchanged roots
        except UnavailableError as err:
            self._rounds.errors["pull"] = str(err)
        await self._carriers.first_contact()  # a journal that was set back learns so before it makes records
        self.membership.keep_address()
        await self._rounds.run()

    def _share(self, cache: Cache | None, kinds: tuple[str, ...]) -> Sharing | None:
        if cache is None or not kinds or not cache.is_followed:
            return None
        try:
            ledger = open_ledger(self._folder / FILE)
        except UnavailableError as err:  # keys are shared all the same
            self._rounds.errors["data"] = str(err)
            return None
        keeper = Keeper(ledger, cache, kinds, self._rounds, self._journal.origin[:MEMBER_SIZE])
        return Sharing(keeper, self._peers, self._news.set)

    def _carry(self, store: StoreSettings | None) -> StoreCarrier | None:
        if store is None:
            return None
        hooks = stores.Hooks(self._arrived, self._news.set, self._peers.heard_elsewhere)
        return StoreCarrier(self._journal, self._about, hooks, opener(store))

    def _know_master_key(self) -> None:
        try:
            self._about["master_key"] = self._surroundings.master_key()
        except UnavailableError as err:
            log.warning("%s", err)

    # -- what changes --------------------------------------------------------------------------------------------------

    def _arrived(self, subjects: set[str]) -> None:
        if not subjects or any(one.startswith("SHA256:") for one in subjects):
            self._follow_group()
        self._carriers.send()  # what has come over one carrier goes out over the others
        self._rounds.arrived({one for one in subjects if not one.startswith("SHA256:")})

    def _group_changed(self) -> None:
        before = self._states
        self._follow_group()
        if not before.items() <= self._states.items():  # one more member of this group changes nothing about keys
            self._rounds.look_again()

    def _follow_group(self) -> None:
        """Follow what the records say of the members: links, and what an eviction entails."""
        self._carriers.refresh()
        archive.keep(self._journal)
        before, self._states = self._states, self._member_states()
        if any(state == "evicted" != before.get(short) for short, state in self._states.items()):
            self._rounds.forget_soon()  # whoever was evicted knows the AES key
            self._rounds.look_again()

    def _member_states(self) -> dict[bytes, str]:
        """Return the state of each member, and who has founded the group: another founder's is another group."""
        members = self._journal.group().members
        return {self._journal.founder: "founder", **{short: one.state for short, one in members.items()}}

    def _held(self) -> dict[str, tuple[str, str]]:
        shown = {minion: decided(held) for minion, held in self._store.scan()}
        return {minion: (one[0].value, one[1].fingerprint) for minion, one in shown.items() if one}

    def _expected(self, short: bytes, nonce: bytes) -> Manifest:
        journal = self._journal
        source = journal.group().members[short].public
        return Manifest(journal.founder, source, journal.identity.public, nonce, 0, {})

    def _pulled(self, about: dict[str, Any]) -> None:
        self._surroundings.tell("pulled", about)
        self._watch.look_soon()
        self._news.set()

    # -- commands ------------------------------------------------------------------------------------------------------

    async def _init(self, agree: bool = False) -> dict[str, Any]:
        return {"group": self.membership.init(agree=agree)}

    async def _invite(self) -> str:
        return self.membership.invite()

    async def _join(self, text: str, adopt: bool, dry_run: bool) -> dict[str, Any]:
        return await self.membership.join(self._peers.doors, text, adopt=adopt, look=dry_run)

    async def _leave(self, alone: bool = False) -> dict[str, Any]:
        me = self.membership.me
        if me is None:
            raise RefusedError("this master is in no group")
        if not alone and me.is_active and len(self._journal.group().active()) > 1:
            await self._endorsed()
        self._left.set()
        return {"left": True}

    async def _endorsed(self) -> None:
        """Have a remaining member sign that this one has left, with its last counter."""
        own = self._journal.origin[:MEMBER_SIZE]
        self.membership.propose_leave()
        counters = {origin: n for origin, n in self._journal.frontier().items() if origin[:MEMBER_SIZE] == own}
        others = [one for one in self._journal.group().active().items() if one[0] != own]
        errors: list[str] = []
        for number, (short, member) in enumerate(LEAVE_TRIES * others):
            errors = errors if number % len(others) else []
            try:
                await self._peers.ask(short, "leave", counters)
            except UnavailableError as err:
                errors.append(f"{member.name}: {err}")
                await asyncio.sleep(FAREWELL)
                me = self.membership.me
                if me and me.is_active:
                    continue  # else the record was quicker than the answer
            return
        self.membership.propose_leave(withdraw=True)
        raise RefusedError(f"no other member has let this one go ({'; '.join(errors)}): try again, or evict it there")

    async def _evict(self, name: str, actor: str, withdraw: bool = False) -> dict[str, Any]:
        return self.membership.evict(name, actor, withdraw=withdraw)

    async def _confirm(self, undo: bool, member: str = "") -> dict[str, Any]:
        if member:
            short = self._peers.names().get(member)
            if short is None:
                raise RefusedError(f"{member!r} is no other member of the group (salt-run masters.members)")
            return {"confirmed": await self._peers.ask(short, "agree", None)}
        if not undo and self._rounds.caution.absent and self._journal.group().agree:
            self._ask_for(self._rounds.caution.vanished())
            return {"proposed": len(self._rounds.caution.absent)}
        self._ask_for("")
        return {"undone" if undo else "confirmed": self._rounds.confirm(undo=undo)}

    def _agree(self, _public: bytes, _about: Any) -> int:
        """Share the deletes that this master's operator has proposed, because another member's has agreed."""
        if not self._about.get("asks"):
            raise RefusedError("this master asks nobody to agree: `salt-run masters.confirm` there comes first")
        self._ask_for("")
        return self._rounds.confirm(undo=False)

    def _ask_for(self, what: str) -> None:
        """Tell the others what they are asked to agree to."""
        if self._about.get("asks", "") != what:
            self._about["asks"] = what
            self._peers.introduce()

    async def _resolve(self, minion: str, fingerprint: str, actor: str) -> bool:
        self._rounds.resolve(minion, fingerprint, actor)
        return True

    async def _keys(self) -> dict[str, Any]:
        own = {str(self._about["name"]): {"answer": self._store.waiting(KEYS_SHOWN)}}
        return {**own, **await self._peers.ask_all("keys", None)}

    async def _data(self, minion: str) -> dict[str, Any]:
        if self._sharing is None:
            raise RefusedError("this master shares no minion data: it is told so, or Salt's cache is no localfs")
        names = {short: one.name for short, one in self._journal.group().members.items()}
        return self._sharing.shown(minion, names)

    # -- health --------------------------------------------------------------------------------------------------------

    @staticmethod
    def _mute(error: str) -> None:
        """The health file or the control socket cannot be made: their absence tells so."""
        log.error("%s", error)

    async def _keep_health(self) -> None:
        """Write the health file when something has changed, but at most twice a second, and every ten seconds."""
        while True:
            health.write(self._folder, self._health())
            self._news.clear()
            await asyncio.sleep(HEALTH_PAUSE)
            try:
                await within(HEALTH_INTERVAL - HEALTH_PAUSE, self._news.wait())
            except asyncio.TimeoutError:
                continue

    def _health(self) -> dict[str, Any]:
        if not self._rounds.caution.absent:
            self._ask_for("")
        data = self._sharing.errors if self._sharing else {}
        own = [*self._rounds.errors.values(), *data.values(), self._peers.error, self._rounds.caution.sentence()]
        own.append(self._watch.sentence())
        return {
            "pid": os.getpid(),
            "salt": self._about["salt"],
            "logilab": self._about["logilab"],
            "started": self._started,
            "written": time.time(),
            "listening": self._peers.listening,
            "errors": sorted(filter(None, own)),
            "waiting": len(self._rounds.unapplied),
            "held": len(self._rounds.caution.absent | self._rounds.caution.unknown),
            "master_key": self._about.get("master_key", ""),
            "pull": self._puller.shown(),
            "store": self._store_carrier.facts() if self._store_carrier else None,
            "peers": {state.member.fingerprint: state.facts(self._journal) for state in self._peers.states.values()},
        }
