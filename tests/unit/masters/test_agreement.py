"""Groups in which two members must agree: over real links, as the runners ask for it."""

import itertools
import time

from saltext_logilab.masters import status
from saltext_logilab.masters.journal import FRESH
from tests.support.minion_keys import KEYS
from tests.unit.masters.test_members import until
from tests.unit.masters.test_membership import apart, refused, states


def agreeing(folder, story, names=("paris", "nantes", "lyon")):
    """Run ``story`` with members of a group in which two must agree."""

    async def joined(paris, *others):
        await paris.ask("init", agree=True)
        for other in others:
            await other.ask("join", text=await paris.ask("invite"), adopt=False, dry_run=False)
        for site in (paris, *others):
            await until(lambda site=site: set(states(site)) == set(names), f"{site.name} knows all")
            await until(lambda site=site: not site.journal.note(FRESH), f"{site.name} takes part")
        for site, other in itertools.permutations((paris, *others), 2):
            await until(lambda site=site, other=other: site.peer(other).get("connected"), "all are connected")
        await story(paris, *others)

    apart(folder, joined, names)


def status_of(site):
    """The problems that ``site`` tells."""
    return status.status(site.settings, time.time())["problems"]


def test_two_must_agree_to_an_eviction(tmp_path):
    """The first one proposes it, which all are told, and may take it back; a second one does it."""

    async def story(paris, nantes, lyon):
        told = await paris.ask("evict", name="lyon", actor="root")
        assert told["proposed"] == "lyon"
        for site in (paris, nantes):
            await until(lambda site=site: "proposed to evict lyon" in str(status_of(site)), "all are told")
        assert states(nantes)["lyon"] == "active"
        await refused(paris.ask("evict", name="lyon", actor="root"), "a second one has to agree")
        await paris.ask("evict", name="lyon", actor="root", withdraw=True)
        await until(lambda: not nantes.journal.group().proposals, "taken back")
        await refused(nantes.ask("evict", name="lyon", actor="root", withdraw=True), "has not proposed")
        assert (await nantes.ask("evict", name="lyon", actor="root"))["proposed"] == "lyon"
        await until(lambda: paris.journal.group().proposals, "paris knows")
        assert (await paris.ask("evict", name="lyon", actor="root"))["evicted"] == "lyon"
        for site in (paris, nantes, lyon):
            await until(lambda site=site: states(site)["lyon"] == "evicted", f"{site.name} knows")
        await refused(paris.ask("evict", name="nantes", actor="root"), "leave alone=True")
        assert await nantes.ask("leave")
        await until(nantes._task.done, "nantes has left, by its own word and that of paris")
        await until(lambda: states(paris)["nantes"] == "left", "paris knows")

    agreeing(tmp_path, story)


def test_two_must_agree_to_many_deletes(tmp_path):
    """Confirmed where they were held they are proposed; all are told; confirmed on another member they are shared."""

    async def story(paris, nantes):
        names = [f"web{number:02}" for number in range(25)]
        for one in names:
            paris.place(one, KEYS[0])
        await until(lambda: len(nantes.accepted()) == len(names), "all on nantes")
        await refused(nantes.ask("confirm", undo=False, member="paris"), "asks nobody to agree")
        for one in names:
            paris.delete(one)
        await until(lambda: len(nantes.accepted()) + paris.journal.counts()["deleted"] == len(names), "shared or held")
        await until(lambda: paris.health().get("held", 0) == len(nantes.accepted()) > 0, "the rest is held")
        left = len(nantes.accepted())
        assert await paris.ask("confirm", undo=False) == {"proposed": left}
        await until(lambda: "paris asks to agree: " in str(status_of(nantes)), "nantes is told")
        assert len(nantes.accepted()) == left
        await refused(nantes.ask("confirm", undo=False, member="lyon"), "no other member")
        assert await nantes.ask("confirm", undo=False, member="paris") == {"confirmed": left}
        await until(lambda: not nantes.accepted(), "gone everywhere")
        await until(lambda: "asks to agree" not in str(status_of(nantes)), "nothing is asked any more")

    agreeing(tmp_path, story, ("paris", "nantes"))


def test_a_master_that_nobody_lets_go_leaves_alone(tmp_path):
    """With the keys that it has, into a group of its own."""

    async def story(paris, nantes):
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted(), "on nantes")
        await paris.kill()
        await until(lambda: not nantes.peer(paris).get("connected"), "paris is lost")
        await refused(nantes.ask("leave"), "no other member has let this one go")
        assert await nantes.ask("leave", alone=True)
        await until(nantes._task.done, "nantes has ended")
        assert "web1" in nantes.accepted()

    agreeing(tmp_path, story, ("paris", "nantes"))
