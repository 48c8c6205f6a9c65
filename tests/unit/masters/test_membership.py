"""How masters come into a group and go: over real links, as the runners ask for it."""

import asyncio
import contextlib
import dataclasses
import json
import time

import pytest

from saltext_logilab.errors import ConfigurationError, RefusedError
from saltext_logilab.masters import invites, membership, status
from saltext_logilab.masters.journal import FRESH
from saltext_logilab.masters.keydirs import KeyDirectories
from tests.support.minion_keys import KEYS
from tests.unit.masters.test_members import Site, be_one_group, play, until


def apart(folder, story, names=("paris", "nantes")):
    """Run ``story`` with members of ``names`` that are in no group yet."""

    async def run():
        sites = [Site(folder, name) for name in names]
        for site in sites:
            site.start()
        for site in sites:
            await until((site.state / "control").exists, f"{site.name} listens to its operator")
        try:
            await story(*sites)
        finally:
            for site in sites:
                with contextlib.suppress(Exception):
                    await site.kill()

    asyncio.run(run())


def states(site):
    """The state of each member by name, as ``site`` sees it."""
    return {one.name: one.state for one in site.journal.group().members.values()}


async def refused(work, sentence):
    """Wait for ``work`` to be refused with ``sentence``."""
    with pytest.raises(RefusedError, match=sentence):
        await work


def test_a_master_is_invited_and_joins(tmp_path):
    """Init, invite, join: then keys are shared, and both are members by the same fingerprints."""

    async def story(paris, nantes):
        await paris.ask("init")
        text = await paris.ask("invite")
        done = await nantes.ask("join", text=text, adopt=False, dry_run=False)
        assert done["joined"]
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted(), "web1 on nantes")
        nantes.place("web2", KEYS[1])
        await until(lambda: "web2" in paris.accepted(), "web2 on paris")
        assert states(paris) == states(nantes) == {"paris": "active", "nantes": "active"}
        await until(lambda: status.status(paris.settings, time.time())["ok"], "all is well")

    apart(tmp_path, story)


def test_an_invite_is_good_once(tmp_path):
    """The second master that shows it is refused, and so is the first one's when it has expired."""

    async def story(paris, nantes, lyon):
        await paris.ask("init")
        text = await paris.ask("invite")
        await nantes.ask("join", text=text, adopt=False, dry_run=False)
        await refused(lyon.ask("join", text=text, adopt=False, dry_run=False), "was redeemed, or has expired")
        assert states(paris) == {"paris": "active", "nantes": "active"}
        late = await paris.ask("invite")
        paris.journal._db.execute("UPDATE invites SET until = ?", (int(time.time()) - 1,))
        await refused(lyon.ask("join", text=late, adopt=False, dry_run=False), "was redeemed, or has expired")

    apart(tmp_path, story, ("paris", "nantes", "lyon"))


def test_an_invite_without_its_secret_is_worth_nothing(tmp_path):
    """Another secret, another inviter, another address: refused; the invite is not used up by that."""

    async def story(paris, nantes):
        await paris.ask("init")
        invite = invites.parse(await paris.ask("invite"))
        other = invites.new(invite.founder, invite.inviter, invite.address, invite.master_key)
        forged = dataclasses.replace(invite, secret=other.secret).encode()
        await refused(nantes.ask("join", text=forged, adopt=False, dry_run=False), "without an answer")
        elsewhere = dataclasses.replace(invite, inviter=nantes.identity.fingerprint).encode()
        await refused(nantes.ask("join", text=elsewhere, adopt=False, dry_run=False), "it is not trusted")
        assert states(paris) == {"paris": "active"}
        assert (await nantes.ask("join", text=invite.encode(), adopt=False, dry_run=False))["joined"]

    apart(tmp_path, story)


def test_another_master_key_is_refused_with_the_steps(tmp_path):
    """Minions keep one master key: nothing is joined, and nothing travels."""

    async def story(paris, nantes):
        nantes.around.key = "cc:dd"
        await paris.ask("init")
        text = await paris.ask("invite")
        await refused(
            nantes.ask("join", text=text, adopt=False, dry_run=False), "put the group's master.pem and master.pub"
        )
        assert states(nantes) == {}

    apart(tmp_path, story)


def test_masters_that_lived_apart_are_told_first(tmp_path):
    """The dry run says what would change and changes nothing; without ``adopt`` it is refused; then all is shared."""

    async def story(paris, nantes):
        await paris.ask("init")
        for site, minion, key in (
            (paris, "same", KEYS[0]), (nantes, "same", KEYS[0]), (paris, "theirs", KEYS[0]), (nantes, "mine", KEYS[1]),
            (paris, "both", KEYS[0]), (nantes, "both", KEYS[1]),
        ):  # fmt: skip
            site.place(minion, key)
        nantes.place("no", KEYS[2], "minions_rejected")
        paris.place("no", KEYS[2])
        await until(lambda: paris.journal.counts()["accepted"] == 4, "all noted on paris")
        text = await paris.ask("invite")
        told = await nantes.ask("join", text=text, adopt=False, dry_run=True)
        lists = {"come": ["theirs"], "go_out": ["mine"], "conflicts": ["both"], "restricted": ["no"], "same": 1}
        assert told == {"joined": False, **lists}
        assert states(nantes) == {}
        assert set(nantes.accepted()) == {"same", "mine", "both"}
        await refused(nantes.ask("join", text=text, adopt=False, dry_run=False), "1 only here, 1 different")
        assert (await nantes.ask("join", text=text, adopt=True, dry_run=False))["joined"]
        await until(lambda: {"same", "theirs", "mine"} <= nantes.accepted().keys(), "theirs came")
        await until(lambda: "mine" in paris.accepted() and "no" not in paris.accepted(), "mine went, no is rejected")
        assert (paris.accepted()["both"], nantes.accepted()["both"]) == (KEYS[0], KEYS[1])
        await until(lambda: any(one.kind == "conflict" for one in paris.journal.reports()), "both is a conflict")

    apart(tmp_path, story)


def test_a_group_of_one_becomes_part_of_another(tmp_path):
    """What was decided in it before is decided anew there: nothing of it counts as applied any more."""

    async def story(paris, nantes):
        await paris.ask("init")
        await nantes.ask("init")
        nantes.place("mine", KEYS[1])
        paris.place("theirs", KEYS[0])
        await until(lambda: nantes.journal.counts()["accepted"] == 1, "noted on nantes")
        await until(lambda: paris.journal.counts()["accepted"] == 1, "noted on paris")
        text = await paris.ask("invite")
        assert (await nantes.ask("join", text=text, adopt=True, dry_run=False))["joined"]
        await until(lambda: "mine" in paris.accepted() and "theirs" in nantes.accepted(), "both are shared")

    apart(tmp_path, story)


def test_two_masters_of_one_name_are_refused(tmp_path):
    """Else no operator could tell one from the other."""

    async def story(paris, nantes):
        nantes.name = "paris"
        await nantes.kill()
        nantes.start()
        await until((nantes.state / "control").exists, "listens")
        await paris.ask("init")
        text = await paris.ask("invite")
        await refused(nantes.ask("join", text=text, adopt=False, dry_run=False), "another member is called paris")

    apart(tmp_path, story)


def test_who_leaves_is_signed_off_by_one_that_stays(tmp_path):
    """Its decisions stay valid, its later records are refused, and it can come back only as somebody new."""

    async def story(paris, nantes, lyon):
        nantes.place("web1", KEYS[0])
        await until(lambda: "web1" in paris.accepted() and "web1" in lyon.accepted(), "everywhere")
        old = nantes.journal.origin
        await nantes.ask("leave")
        await until(nantes._task.done, "nantes has ended")
        for site in (paris, lyon):
            await until(lambda site=site: states(site)["nantes"] == "left", f"{site.name} knows")
            assert "web1" in site.accepted()
            assert not site.journal.group().permits(old, 99)
            assert len(site.journal.records(["web1"])) == 1

    play(tmp_path, story, ("paris", "nantes", "lyon"))


def test_who_is_alone_cannot_be_signed_off(tmp_path):
    """A member that reaches nobody is told so, and stays one."""

    async def story(paris, nantes):
        await until(lambda: paris.peer(nantes).get("connected"), "connected")
        await nantes.kill()
        await until(lambda: not paris.peer(nantes).get("connected"), "away")
        await refused(paris.ask("leave"), "no other member has let this one go")
        assert states(paris)["paris"] == "active"

    play(tmp_path, story)


def test_an_evicted_master_decides_nothing_more(tmp_path):
    """Without its help: its later decisions are refused everywhere, also those made before it knew; AES keys rotate."""

    async def story(paris, nantes, lyon):
        nantes.place("web1", KEYS[0])
        await until(lambda: "web1" in paris.accepted() and "web1" in lyon.accepted(), "everywhere")
        await nantes.kill()
        done = await paris.ask("evict", name="nantes", actor="root")
        assert [(one["id"], one["decision"]) for one in done["changes"]] == [("web1", "accepted")]
        await until(lambda: states(lyon)["nantes"] == "evicted", "lyon knows")
        await until(lambda: paris.around.forgotten == lyon.around.forgotten == 1, "both rotate")
        nantes.place("rogue", KEYS[1])
        nantes.start()
        await until(lambda: states(nantes)["nantes"] == "evicted", "it is told")
        assert nantes.journal.note("fresh") == b""
        nantes.place("rogue2", KEYS[1])
        paris.place("web2", KEYS[2])
        await until(lambda: "web2" in lyon.accepted(), "the others go on")
        assert not {"rogue", "rogue2"} & (paris.accepted().keys() | lyon.accepted().keys())
        assert "web2" not in nantes.accepted()
        told = status.status(paris.settings, time.time())
        assert any("rotate it on all masters" in one for one in told["problems"])
        nantes_told = status.status(nantes.settings, time.time())
        assert any("this master was evicted by paris" in one for one in nantes_told["problems"])

    play(tmp_path, story, ("paris", "nantes", "lyon"))


def test_the_status_is_red_until_the_master_key_is_rotated(tmp_path):
    """The evicted master knows it; with another one in place nothing is left to tell."""

    async def story(paris, nantes):
        await until(lambda: paris.peer(nantes).get("connected"), "connected")
        await nantes.kill()
        await paris.ask("evict", name=nantes.identity.fingerprint, actor="root")
        await until(lambda: not status.status(paris.settings, time.time())["ok"], "red")
        await paris.kill()
        paris.around.key = "ee:ff"
        paris.start()
        await until(lambda: status.status(paris.settings, time.time())["ok"], "green again")

    play(tmp_path, story)


def test_what_an_evicted_master_decided_after_its_last_counter_is_undone(tmp_path):
    """lyon had it already: it drops it, and gets what that had superseded from the others."""

    async def story(paris, nantes, lyon):
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted() and "web1" in lyon.accepted(), "everywhere")
        await paris.kill()
        nantes.place("rogue", KEYS[1])
        (nantes.pki / "minions" / "web1").unlink()
        await until(lambda: "rogue" in lyon.accepted() and "web1" not in lyon.accepted(), "lyon follows nantes")
        await nantes.kill()
        await lyon.kill()
        paris.start()
        await until((paris.state / "control").exists, "paris is up")
        await paris.ask("evict", name="nantes", actor="root")
        lyon.start()
        await until(lambda: lyon.accepted() == {"web1": KEYS[0]}, "lyon is as paris says")
        await until(lambda: paris.journal.digest() == lyon.journal.digest(), "one journal")

    play(tmp_path, story, ("paris", "nantes", "lyon"))


def test_two_that_evict_each_other_wait_for_an_operator(tmp_path):
    """Both are suspended, and share nothing; the third one's operator names the survivor."""

    async def story(paris, nantes, lyon):
        for site in (paris, nantes, lyon):
            await until(lambda site=site: len(site.journal.acknowledged()) == 2, "all know each other")
        await nantes.kill()
        await lyon.kill()
        await paris.ask("evict", name="nantes", actor="a")
        await paris.kill()
        nantes.start()
        await until((nantes.state / "control").exists, "nantes is up")
        await nantes.ask("evict", name="paris", actor="b")
        paris.start()
        lyon.start()
        both = {"paris": "suspended", "nantes": "suspended", "lyon": "active"}
        for site in (paris, nantes, lyon):
            await until(lambda site=site: states(site) == both, f"{site.name} knows of both")
        paris.place("web1", KEYS[0])
        told = status.status(lyon.settings, time.time())
        assert sum("evicted each other" in one for one in told["problems"]) == 2
        await lyon.ask("evict", name="nantes", actor="c")
        for site in (paris, lyon):
            await until(lambda site=site: states(site)["paris"] == "active", f"{site.name}: paris has survived")
        await until(lambda: "web1" in lyon.accepted(), "paris takes part again")
        assert states(lyon)["nantes"] == "evicted"

    play(tmp_path, story, ("paris", "nantes", "lyon"))


def test_a_master_evicts_neither_itself_nor_nobody(tmp_path):
    """A slip of the finger is told."""

    async def story(paris, _nantes):
        await until((paris.state / "control").exists, "up")
        await refused(paris.ask("evict", name="paris", actor=""), "does not evict itself")
        await refused(paris.ask("evict", name="brest", actor=""), "no member is called so")
        await refused(paris.ask("init"), "in a group already")

    play(tmp_path, story)


def test_a_file_that_is_no_invite_is_told_without_its_text(tmp_path):
    """Whatever it is, it may be a secret."""
    for text in ("", "secret", f"{invites.HEADER}\nc2VjcmV0\n", f"{invites.HEADER}\n!\n", "x" * 5000):
        with pytest.raises(ConfigurationError) as told:
            invites.parse(text)
        assert "secret" not in str(told.value).replace("a secret", "")
    path = tmp_path / "invite"
    invites.write(path, invites.new("a", "b", "c:1", "d"))
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RefusedError, match="overwrites nothing"):
        invites.write(path, invites.new("a", "b", "c:1", "d"))
    path.chmod(0o640)
    with pytest.raises(RefusedError, match="others can read"):
        invites.read(path)


def test_a_damaged_journal_is_made_anew(tmp_path):
    """The peers and the key store give all back; the damaged file is kept; nothing deleted meanwhile comes back."""

    async def story(paris, nantes):
        for number in range(4):
            paris.place(f"web{number}", KEYS[0])
        await until(lambda: len(nantes.accepted()) == 4, "all on nantes")
        await nantes.kill()
        paris.delete("web0")
        await until(lambda: paris.journal.counts()["deleted"] == 1, "noted")
        (nantes.state / "journal.db").write_bytes(b"garbage" * 1000)
        nantes.start()
        await until(lambda: set(nantes.accepted()) == {"web1", "web2", "web3"}, "as on paris")
        await until(lambda: nantes.journal.digest() == paris.journal.digest(), "one journal")
        assert len(list(nantes.state.glob("damaged-*/journal.db"))) == 1
        assert set(paris.accepted()) == {"web1", "web2", "web3"}

    play(tmp_path, story)


def test_a_key_that_a_new_journal_cannot_explain_waits(tmp_path):
    """It may have been deleted, and its tombstone dropped: an operator is asked."""

    async def story(paris, nantes):
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted(), "on nantes")
        await nantes.kill()
        for path in nantes.state.glob("journal*"):
            path.unlink()
        nantes.place("old", KEYS[1])
        nantes.start()
        await until(lambda: nantes.health().get("held") == 1, "held")
        assert "old" in str(nantes.health()["errors"])
        assert "old" not in paris.accepted()
        await nantes.ask("confirm", undo=False)
        await until(lambda: "old" in paris.accepted(), "shared then")
        await until(lambda: nantes.health()["held"] == 0, "nothing waits")

    play(tmp_path, story)


def test_a_member_from_a_backup_revives_nothing(tmp_path):
    """Its tombstone was dropped everywhere meanwhile: the peers tell it that it knew more, and it compares first."""

    async def story(paris, nantes):
        paris.place("web1", KEYS[0])
        paris.place("web2", KEYS[0])
        await until(lambda: set(nantes.accepted()) == {"web1", "web2"}, "on nantes")
        await until(lambda: nantes.journal.applied().keys() == {"web1", "web2"}, "noted")
        await nantes.kill()
        backup = {path.name: path.read_bytes() for path in nantes.state.glob("journal*")}
        nantes.start()
        paris.delete("web1")
        await until(lambda: "web1" not in nantes.accepted(), "deleted on nantes")
        for site in (paris, nantes):
            await until(lambda site=site: "web1" not in site.journal.records(), f"tombstone dropped on {site.name}")
        await nantes.kill()
        for path in nantes.state.glob("journal*"):
            path.unlink()
        for name, content in backup.items():
            (nantes.state / name).write_bytes(content)
        nantes.place("web1", KEYS[0])
        nantes.store = KeyDirectories(nantes.pki)
        nantes.start()
        await until(lambda: nantes.accepted() == {"web2": KEYS[0]}, "web1 is gone from nantes again")
        assert set(paris.accepted()) == {"web2"}

    play(tmp_path, story)


def test_a_silent_member_is_named(tmp_path):
    """After days: the status says what is kept for it, and how to go on without it."""

    async def story(paris, nantes):
        await until(lambda: paris.peer(nantes).get("heard"), "heard")
        await nantes.kill()
        later = time.time() + 8 * 86400
        told = status.status(paris.settings, later)
        assert any(
            "nantes has been silent for 8 d" in one and "masters.evict nantes" in one for one in told["problems"]
        )

    play(tmp_path, story)


def test_the_table_shows_members_and_problems(tmp_path):
    """A line for each member, whatever became of it."""

    async def story(paris, nantes, lyon):
        await until(lambda: paris.peer(lyon).get("connected"), "connected")
        await nantes.kill()
        await paris.ask("evict", name="nantes", actor="root")
        await until(lambda: states(lyon)["nantes"] == "evicted", "lyon knows")
        text = status.table("paris", status.status(paris.settings, time.time()))
        assert "paris (this)" in text
        assert "evicted" in text
        (lyon_row,) = [line for line in text.splitlines() if line.startswith("lyon")]
        assert lyon_row.split()[-3:] == ["same", "3008", "0"]
        assert text.count("PROBLEM") == 1
        assert json.loads((paris.state / "group.json").read_text())["founder"]

    play(tmp_path, story, ("paris", "nantes", "lyon"))


def test_an_invite_names_no_secret_in_what_it_returns():
    """The secret is in the text alone; nothing else tells it."""
    invite = invites.new("f", "i", "a:1", "k")
    assert membership.INVITE_TIME <= 3600
    assert invites.parse(invite.encode()) == invite
    assert invite.secret not in invite.encode()


def test_the_invites_of_an_evicted_member_are_void(tmp_path):
    """Who is let in by one that did not know of its eviction is no member to the others, and decides nothing there."""

    async def run():
        paris, nantes, lyon = sites = [Site(tmp_path, name) for name in ("paris", "nantes", "lyon")]
        be_one_group([paris, nantes])
        for site in sites:
            site.start()
            await until((site.state / "control").exists, f"{site.name} listens to its operator")
        await until(lambda: nantes.peer(paris).get("connected"), "connected")
        text = await nantes.ask("invite")
        await nantes.kill()
        await paris.ask("evict", name="nantes", actor="root")
        await paris.kill()
        nantes.start()
        await until((nantes.state / "control").exists, "nantes is back, and knows nothing")
        assert (await lyon.ask("join", text=text, adopt=False, dry_run=False))["joined"]
        await until(lambda: lyon.peer(nantes).get("connected") and not lyon.journal.note(FRESH), "lyon takes part")
        lyon.place("rogue", KEYS[1])
        await until(lambda: "rogue" in nantes.accepted(), "shared with who has let it in")
        paris.start()
        await until(lambda: states(nantes)["nantes"] == "evicted", "nantes knows")
        assert set(states(paris)) == {"paris", "nantes"}
        text = await paris.ask("invite")
        await refused(nantes.ask("invite"), "this master is evicted")
        paris.place("web1", KEYS[0])
        await until(lambda: paris.journal.counts()["accepted"] == 1, "paris goes on")
        assert "rogue" not in paris.accepted()
        for site in sites:
            await site.kill()

    asyncio.run(run())


def test_nothing_is_kept_any_more_for_a_member_that_was_evicted(tmp_path):
    """A tombstone waits for a member that is away, and goes when that is none any more."""

    async def story(paris, nantes, lyon):
        paris.place("web1", KEYS[0])
        for site in (nantes, lyon):
            await until(lambda site=site: "web1" in site.accepted(), f"on {site.name}")
        await until(lambda: len(paris.journal.acknowledged()) == 2, "both have acknowledged something")
        await lyon.kill()
        paris.delete("web1")
        await until(lambda: "web1" not in nantes.accepted(), "gone from nantes")
        await until(lambda: paris.peer(nantes).get("behind") == 0, "nantes has acknowledged it")
        assert paris.journal.collect() == 0
        assert "web1" in paris.journal.records()
        await paris.ask("evict", name="lyon", actor="root")
        for site in (paris, nantes):
            await until(lambda site=site: "web1" not in site.journal.records(), f"dropped on {site.name}")

    play(tmp_path, story, ("paris", "nantes", "lyon"))
