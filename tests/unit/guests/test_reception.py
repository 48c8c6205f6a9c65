"""Who is let in at a master: only who was named or may be brought in, with the right signature, and not for ever."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.errors import LogilabError, RefusedError
from saltext_logilab.guests.fleet import Reply
from saltext_logilab.guests.seeds import keys
from saltext_logilab.guests.seeds.ledger import ACCEPTED, EXPECTED, EXPIRED, KEPT, REFUSED, REVOKED, Ledger
from saltext_logilab.guests.seeds.making import Making
from saltext_logilab.guests.seeds.offer import Offer
from saltext_logilab.guests.seeds.reception import GRACE, Reception

HYPERVISOR, GUEST = keys.make_pair(), keys.make_pair()
TASK, NONCE = "20261123T101500-1a2b3c4d", "n-1"
OFFER = Offer("kvm1", TASK, NONCE, "web", 900, GUEST.public)


class Store:
    """A key store in memory, with the key of the hypervisor."""

    def __init__(self) -> None:
        self.keys = {"kvm1": HYPERVISOR.public}
        self.broken = False

    def state(self, minion: str) -> str | None:
        """See :class:`~saltext_logilab.guests.seeds.reception.Keys`."""
        return "accepted" if minion in self.keys else None

    def public(self, minion: str) -> str | None:
        """Return the key."""
        return self.keys.get(minion)

    def accept(self, minion: str, public: str) -> None:
        """Keep it."""
        if self.broken:
            raise RefusedError("the disk is full")
        self.keys[minion] = public

    def revoke(self, minion: str, public: str) -> bool:
        """Forget it."""
        return self.keys.get(minion) == public and bool(self.keys.pop(minion))


class World:
    """A hypervisor with one seed, the guest, and the clock of the master."""

    def __init__(self, folder: Path, **permitted: tuple[str, ...]) -> None:
        self.now, self.silent, self.guest = 1000.0, False, False
        self.seed: dict[str, Any] = {"nonce": NONCE, "id": "web", "task": TASK, "kind": "create", "state": "running"}
        self.seed |= {"percent": 50, "total": 0, "rate": 0, "left": None}
        self.seed |= {"step": "accept", "offer": OFFER.signed(HYPERVISOR.private.encode()).plain(), "reason": None}
        self.words: list[tuple[str, str | None]] = []
        self.begins: Any = Reply(TASK)
        self.store, self.ledger = Store(), Ledger(folder, lambda: self.now)
        self.reception = Reception(self.ledger, self.store, self.ask, lambda *_: self.guest, permitted)

    def ask(self, minions: Collection[str], function: str, named: Mapping[str, Any]) -> dict[str, Reply]:
        """Answer as the minions would."""
        (minion,) = minions
        if self.silent:
            return {}
        if function == "libvirt_task.create":
            return {minion: self.begins}
        if function == "libvirt_seed.answer":
            self.words.append((named["word"], named.get("reason")))
            self.seed |= {"accepted": {"step": "answer", "offer": None}, "answered": {"state": "done"}}.get(
                named["word"], {"state": "failed", "reason": named.get("reason")}
            )
            return {minion: Reply({})}
        return {minion: Reply([self.seed])}

    @property
    def state(self) -> str:
        """What the ledger says of the seed."""
        entry = self.ledger.get(NONCE)
        assert entry is not None
        return entry.state

    def expected(self) -> World:
        """Return itself once the seed is expected."""
        self.ledger.expect(NONCE, "web", "kvm1", self.now + 3600)
        return self

    def attend(self) -> World:
        """Return itself after one round."""
        self.reception.attend(NONCE)
        return self


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One world."""
    made = World(tmp_path, kvm1=("web*",))
    yield made
    made.ledger.close()


def test_a_guest_comes(world: World) -> None:
    """Its key is accepted before it starts, the hypervisor hears when it answers, and then it is kept for good."""
    world.expected().attend()
    assert (world.state, world.store.keys["web"]) == (ACCEPTED, GUEST.public)
    world.attend()
    assert world.words == [("accepted", None)]
    world.guest = True
    world.attend()
    assert world.words[-1] == ("answered", None)
    assert world.attend().state == KEPT
    world.now += 10 * 86400
    world.reception.attend_all()
    assert "web" in world.store.keys


def forged(world: World, **changed: Any) -> None:
    """Let the hypervisor offer something else, with its signature."""
    made = dataclasses.replace(OFFER, **changed)
    world.seed["offer"] = made.signed(HYPERVISOR.private.encode()).plain()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda world: world.store.keys.update(web=HYPERVISOR.public), "knows a key of 'web' already"),
        (lambda world: world.store.keys.pop("kvm1"), "key of the hypervisor 'kvm1' is not accepted"),
        (lambda world: world.store.keys.update(kvm1=GUEST.public), "not that of the hypervisor"),
        (lambda world: forged(world, id="db"), "offers 'db'"),
        (lambda world: forged(world, nonce="old"), "as 'old'"),
        (lambda world: forged(world, public="x"), "is none"),
        (lambda world: world.seed["offer"].update(public=HYPERVISOR.public), "not that of the hypervisor"),
        (lambda world: world.seed.update(offer="x"), "sent no offer"),
        (lambda world: setattr(world.store, "broken", True), "the disk is full"),
    ],
)
def test_who_is_not_let_in(world: World, spoil: Any, why: str) -> None:
    """The hypervisor hears why, no key stays that was not there before, and it is not tried again."""
    world.expected()
    spoil(world)
    before = dict(world.store.keys)
    world.attend().attend()
    assert world.state == REFUSED
    assert world.store.keys == before
    (word, reason), *more = world.words
    assert (word, more) == ("refused", [])
    assert why in str(reason)


@pytest.mark.parametrize("end", ["failed", "cancelled", "lost"])
def test_a_guest_that_does_not_come_loses_its_key(world: World, end: str) -> None:
    """When its task has ended otherwise, the key goes, and only that key."""
    world.expected().attend()
    world.seed.update(state=end, reason="answer: late")
    world.attend()
    assert (world.state, sorted(world.store.keys)) == (REVOKED, ["kvm1"])


def test_another_key_of_the_id_stays(world: World) -> None:
    """An operator who has put another key in its place meanwhile keeps it."""
    world.expected().attend()
    world.store.keys["web"] = HYPERVISOR.public
    world.seed.update(state="failed")
    world.attend()
    assert (world.state, world.store.keys["web"]) == (REVOKED, HYPERVISOR.public)


@pytest.mark.parametrize(("answers", "end"), [(False, REVOKED), (True, KEPT)])
def test_a_hypervisor_that_falls_silent(world: World, answers: bool, end: str) -> None:
    """Nothing is decided before the guest must have been ended there; then the guest's own answer decides."""
    world.expected().attend()
    world.silent, world.guest = True, answers
    world.now += 900 + GRACE - 1
    assert world.attend().state == ACCEPTED
    world.now += 2
    assert world.attend().state == end
    assert ("web" in world.store.keys) is answers


def test_what_was_never_offered_expires(world: World) -> None:
    """Nobody waits for ever, and the id is free again."""
    world.expected()
    world.seed.update(offer=None, step="copy")
    world.now += 3601
    assert world.attend().state == EXPIRED
    world.ledger.expect("n-2", "web", "kvm1", world.now + 1)


def test_a_task_that_failed_before_its_offer(world: World) -> None:
    """The record of the master ends with it."""
    world.expected()
    world.seed.update(offer=None, step="copy", state="failed", reason="copy: no space")
    assert world.attend().state == EXPIRED


def test_a_master_killed_between_record_and_key(world: World) -> None:
    """The record was first: the next round accepts the key; where another one came in, it refuses."""
    world.expected()
    world.ledger.accept(NONCE, TASK, GUEST.public, world.now + 900)
    world.attend()
    assert world.store.keys["web"] == GUEST.public
    world.attend()
    assert world.words == [("accepted", None)]


def test_a_master_killed_between_record_and_key_and_another_key_came(world: World) -> None:
    """Nobody's key is replaced."""
    world.expected()
    world.ledger.accept(NONCE, TASK, GUEST.public, world.now + 900)
    world.store.keys["web"] = HYPERVISOR.public
    world.attend()
    assert (world.state, world.store.keys["web"]) == (REFUSED, HYPERVISOR.public)


def test_what_a_hypervisor_may_bring_in(world: World) -> None:
    """Ids of its patterns are let in unasked, others are left alone, and an offer counts once."""
    assert world.reception.discover(["kvm1"]) == [NONCE]
    assert world.attend().state == ACCEPTED
    forged(world, nonce="n-2")
    world.seed.update(nonce="n-2", id="db", step="accept")
    assert world.reception.discover(["kvm1"]) == []
    assert world.reception.discover(["kvm1"], "db") == ["n-2"], "the operator has named it"
    world.seed.update(nonce="n-3", id="../web")
    assert world.reception.discover(["kvm1"]) == []
    world.seed.update(nonce=NONCE, id="web")
    assert world.reception.discover(["kvm1"]) == []


def test_a_second_offer_of_an_id_is_left_alone(world: World) -> None:
    """While a guest of this id is being made, another hypervisor's offer of it is not taken up."""
    world.expected()
    world.seed["nonce"] = "n-2"
    assert world.reception.discover(["kvm1"]) == []
    assert world.ledger.get("n-2") is None


def test_one_broken_entry_holds_up_nobody(world: World) -> None:
    """A key store that fails for one guest leaves the others to be attended to."""
    world.expected().attend()
    world.ledger.expect("n-0", "db", "kvm1", world.now + 1)
    world.seed["state"] = "failed"
    world.store.revoke = lambda *_: (_ for _ in ()).throw(RefusedError("no"))  # type: ignore[method-assign]
    world.now += 10
    world.reception.attend_all()
    entry = world.ledger.get("n-0")
    assert entry is not None
    assert (entry.state, world.state) == (EXPIRED, ACCEPTED)


def test_an_offer_of_before_counts_no_more(world: World) -> None:
    """An offer that was let in, and whose key was revoked, is not let in when somebody shows it again."""
    world.expected().attend()
    world.seed.update(state="failed")
    world.attend()
    world.seed.update(state="running", step="accept", offer=OFFER.signed(HYPERVISOR.private.encode()).plain())
    assert world.reception.discover(["kvm1"]) == []
    world.attend()
    assert "web" not in world.store.keys
    with pytest.raises(RefusedError, match="before"):
        world.expected()


def test_two_guests_of_one_id(world: World) -> None:
    """The second one is refused while the first is being made."""
    world.expected()
    with pytest.raises(RefusedError, match="is being made on kvm1 already"):
        world.ledger.expect("n-2", "web", "kvm2", world.now)


def making(world: World, nonce: str = NONCE) -> Making:
    """Return what makes the guest; it pauses by a second of the world."""

    def pause(seconds: float) -> None:
        world.now += seconds
        world.guest = world.seed["step"] == "answer"

    return Making(world.reception, lambda _line: None, 1.0, pause, lambda: world.now, lambda: nonce)


def test_a_command_makes_a_guest(world: World) -> None:
    """It begins, attends to it, and says that it is done."""
    work = making(world)
    nonce = work.begin("kvm1", "web", {})
    assert (nonce, world.state) == (NONCE, EXPECTED)
    last, problem = work.wait(nonce, 60)
    assert (last["state"], problem, world.state) == ("done", None, KEPT)


def test_a_command_that_fails(world: World) -> None:
    """A host that refuses, a known id, and a time that is over are sentences; the id is free again after a refusal."""
    work = making(world)
    world.begins = Reply(problem="there is a guest 'web' already")
    with pytest.raises(LogilabError, match="kvm1: there is a guest"):
        work.begin("kvm1", "web", {})
    assert world.state == REFUSED
    work = making(world, "n-2")
    world.begins = Reply(TASK)
    world.seed["nonce"] = "other"
    nonce = work.begin("kvm1", "web", {})
    assert "it goes on: salt-run libvirt_seed.attend" in str(work.wait(nonce, 5)[1])
    world.store.keys["web"] = GUEST.public
    with pytest.raises(RefusedError, match="salt-key -d web"):
        work.begin("kvm1", "web", {})


def test_a_command_whose_task_fails(world: World) -> None:
    """The answer names the step and the reason."""
    world.expected().attend()
    world.seed.update(state="failed", reason="answer: its minion has not answered within 900 s")
    last, problem = making(world).wait(NONCE, 60)
    assert problem == "failed: answer: its minion has not answered within 900 s"
    assert last["state"] == "failed"
