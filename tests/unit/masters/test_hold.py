"""The hold of a member that is behind: when it begins, and that it always ends."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.files import hold
from saltext_logilab.masters.files.hold import Standing, after_a_look, mark, read, reason
from saltext_logilab.masters.files.options import HoldOptions, PullOptions
from saltext_logilab.masters.settings import MastersSettings
from saltext_logilab.masters.status import status
from tests.unit.masters.test_members import play, until
from tests.unit.masters.test_membership import refused
from tests.unit.masters.test_pull import WIDE, Serving, content, write

OPTIONS = HoldOptions("paris", after=100, minutes=10)
OLD, NEW, NEWER = ({"files base": one, "pillar base": "p"} for one in ("old", "new", "newer"))
LOOK = 50
END = 2 * LOOK + 60 * OPTIONS.minutes


def looks(*seen: tuple[dict[str, str] | None, dict[str, str]], begin: float = 1000.0) -> list[Standing]:
    """Return how a member stands after each look at ``(theirs, own)``, one every :data:`LOOK` seconds."""
    standing, found = Standing(), []
    for number, (theirs, own) in enumerate(seen):
        standing = after_a_look(standing, own, theirs, begin + number * LOOK, OPTIONS)
        found.append(standing)
    return found


def test_it_begins_only_after_a_while() -> None:
    """The files that differ are named; a member that has them in time is never held."""
    first, second, third = looks((NEW, OLD), (NEW, OLD), (NEW, OLD))
    assert [one.until for one in (first, second)] == [0, 0]
    assert (third.since, third.until, third.trees) == (1100, 1700, ("files base",))
    assert not any(one.until for one in looks((NEW, OLD), (NEW, OLD), (NEW, NEW), (NEWER, NEW), (NEWER, NEW)))


def test_who_cannot_be_reached_begins_nothing() -> None:
    """However long; and the time begins anew when it is back."""
    found = looks((NEW, OLD), *[(None, OLD)] * 50, (NEW, OLD), (NEW, OLD))
    assert not any(one.until for one in found)
    assert looks((NEW, OLD), (None, OLD), *[(NEW, OLD)] * 3)[-1].until


def test_it_ends_when_both_are_equal() -> None:
    """A tree that the reference does not have does not matter."""
    *_, held, free = looks((NEW, OLD), (NEW, OLD), (NEW, OLD), (NEW, {**NEW, "files dev": "x"}))
    assert held.is_held(1100)
    assert free == Standing()


def test_it_expires_by_itself() -> None:
    """Also when the reference is gone; the same files do not begin it again, other ones do."""
    for theirs in (NEW, None):
        found = looks(*[(NEW, OLD)] * 3, *[(theirs, OLD)] * 40)
        assert found[2].is_held(1100)
        assert not any(one.is_held(1000 + number * LOOK) for number, one in enumerate(found) if number > 2 + 12)
    away = looks(*[(NEW, OLD)] * 3, *[(None, OLD)] * 20, *[(NEW, OLD)] * 10)
    assert not any(one.until for one in away[-25 + 12 :])
    again = looks(*[(NEW, OLD)] * 40, *[(NEWER, OLD)] * 3)
    assert again[-1].is_held(1000 + 42 * LOOK)


def test_a_reference_that_changes_all_the_time_holds_no_longer() -> None:
    """The end is told at the beginning."""
    found = looks(*[({"files base": str(number)}, OLD) for number in range(14)])
    assert {one.until for one in found if one.until} == {1700}


def test_a_clock_that_is_set_back_ends_it() -> None:
    """Rather than make it longer."""
    *_, held = looks((NEW, OLD), (NEW, OLD), (NEW, OLD))
    assert not held.is_held(0)
    assert not after_a_look(held, OLD, NEW, 0, OPTIONS).is_held(0)


@given(some.lists(some.sampled_from([(NEW, OLD), (NEWER, OLD), (None, OLD), (NEW, NEW)]), max_size=80))
def test_no_hold_is_longer_than_told(seen: list) -> None:
    """Whatever is seen."""
    held = [one for one in looks(*seen) if one.until]
    assert all(one.until - one.since == 60 * OPTIONS.minutes for one in held)
    assert all(one.trees for one in held)


@pytest.mark.parametrize("damaged", ["{", "[]", '{"since": 1, "more": 2}'])
def test_a_damaged_file_is_a_sentence(tmp_path: Path, damaged: str) -> None:
    """And none is no hold."""
    assert read(tmp_path) == Standing()
    (tmp_path / hold.NAME).write_text(damaged)
    with pytest.raises(UnavailableError, match="damaged"):
        read(tmp_path)


class Behind(Serving):
    """A member that is held while it serves other files than paris."""

    @property
    def settings(self) -> MastersSettings:
        """What its configuration says."""
        offer = PullOptions(("files", "pillar"), ("files", "pillar"), WIDE)
        return MastersSettings(
            self.name, self.address, self.state, pull=offer, hold=HoldOptions("paris", after=1, minutes=5)
        )


def held(site: Behind) -> bool:
    """Say whether the plugin would refuse."""
    standing = read(site.state)
    return standing.is_held(standing.since + 1)


def test_a_member_that_is_behind_is_held(tmp_path: Path) -> None:
    """It is told in the status with what helps; a pull ends it, and so does an operator; the reference never is."""

    async def story(paris: Behind, nantes: Behind) -> None:
        write(paris.srv / "salt", top="new")
        await until(lambda: held(nantes), "held")
        await until(lambda: "held until" in str(nantes.health()["errors"]), "told")
        told = status(nantes.settings, nantes.health()["written"])["problems"]
        assert any("masters.release" in one and "files base" in one for one in told)
        assert ("held", {"reference": "paris", "trees": ["files base"]}) in nantes.around.told
        await nantes.pull("paris")
        assert content(nantes.srv / "salt") == {"top": "new"}
        await until(lambda: not held(nantes), "free")
        await refused(nantes.ask("release"), "is not held")
        write(paris.srv / "salt", top="newer")
        await until(lambda: held(nantes), "held again")
        assert await nantes.ask("release") == {"released": True}
        assert not held(nantes)
        assert read(nantes.state).spent == mark({name: one[0] for name, one in (await digests(paris)).items()})
        assert not held(paris)
        assert json.loads((nantes.state / hold.NAME).read_text())["until"] == 0

    play(tmp_path, story, kind=Behind)


async def digests(site: Behind) -> dict[str, list]:
    """Return what ``site`` tells others of its files."""
    return await site.member._watch.desk.digests(b"", None)


def test_the_reason_says_what_helps() -> None:
    """In one sentence."""
    told = reason("nantes", "paris", Standing(0, 0, 60, ("files base",)))
    assert told.startswith("the master nantes is held until 1970-01-01 00:01:00 UTC, because it serves other files")
    assert all(one in told for one in ("masters.files", "masters.release", "force=True"))
