"""Ids of resources: their form, and which are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.within import ids

FIELDS = {"name": "web", "minion": "m1", "project": "shop"}


@pytest.mark.parametrize(("template", "found"), [(ids.TEMPLATE, "web.m1"), ("{project}-{name}", "shop-web")])
def test_templates(template, found):
    """The fields are put in."""
    ids.check_template(template, FIELDS)
    assert ids.fill(template, FIELDS) == found


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{minion}", "no {name}: all would get one id"),
        ("{name}.{host}", "may hold {minion}, {name}, {project} and nothing more"),
        ("{name.__class__}", "and nothing more"),
        ("{name!r}", "and nothing more"),
        ("{name:>999999999}", "and nothing more"),
        ("{name", "is malformed"),
        ("{0}", "and nothing more"),
        ("", "no {name}"),
    ],
)
def test_templates_that_are_refused(template, sentence):
    """Unknown fields, anything but plain fields, and what gives one id to all."""
    with pytest.raises(ConfigurationError) as caught:
        ids.check_template(template, FIELDS)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("one", ["web.m1", "a", "web_1.m-2", "A9"])
def test_valid(one):
    """Letters, digits, underscores, dots and dashes."""
    assert ids.is_valid(one)


@pytest.mark.parametrize(
    "one", ["", "a/b", "../x", "a b", "a*", "a?", "a[b]", "a,b", "a:b", "T@a", "-a", ".a", "a\n", "ä", "a" * 201, "a;b"]
)
def test_invalid(one):
    """What a path, a target or a shell would take for something else."""
    assert not ids.is_valid(one)


def test_sorting_out():
    """An id of a minion, of another minion's resource, or of two things is refused with a sentence; the rest stay."""
    wanted = [("web.m1", "web"), ("m2", "m2"), ("db.m1", "db"), ("x", "a"), ("x", "b"), ("a/b", "c"), ("x", "d")]
    found = ids.sort_out(wanted, {"m1", "m2"}, {"db.m1": "m3"})
    assert found.names == {"web.m1": "web"}
    assert found.refused["m2"] == "'m2' is the id of a minion"
    assert found.refused["db.m1"] == "'db.m1' belongs to the minion 'm3'"
    assert "'x' stands for both 'a' and" in found.refused["x"]
    assert "is no valid id" in found.refused["a/b"]


NAMES = st.text("ab./", min_size=1, max_size=3)


@given(st.lists(st.tuples(NAMES, NAMES), max_size=12), st.sets(NAMES), st.dictionaries(NAMES, NAMES))
def test_every_id_has_one_fate(wanted, minions, owned):
    """Each is registered or refused, never both; none that is registered is invalid, a minion's or another's."""
    found = ids.sort_out(wanted, minions, owned)
    assert set(found.names) | set(found.refused) == {one for one, _ in wanted}
    assert not set(found.names) & set(found.refused)
    assert all(ids.is_valid(one) and one not in minions and one not in owned for one in found.names)


@pytest.mark.parametrize(
    ("now", "before", "told"),
    [
        (["b", "a"], [], ["a", "b"]),
        (["a", "b", "c"], ["b", "a"], ["c", "b", "a"]),
        (["a", "c"], ["c", "b", "a"], ["c", "a"]),
        ([], ["a"], []),
    ],
)
def test_the_latest_come_first(now: list[str], before: list[str], told: list[str]) -> None:
    """Those that were known keep their order, so that a master takes up what is new before all else."""
    assert ids.newest_first(now, before) == told
