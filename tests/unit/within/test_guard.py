"""Which targets name a resource, and which only happen to match it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import RefusedError
from saltext_logilab.within.guard import Resource, Target, check, names

WEB = Resource("docker", "web.m1")


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("web.m1", "glob"),
        ("m1,web.m1", "list"),
        (["m2", "web.m1"], "list"),
        ("T@docker", "compound"),
        ("T@docker:web.m1", "compound"),
        ("T@docker and G@health:healthy", "compound"),
        ("m1 or T@docker:web.m1", "compound"),
        ("m1 or L@web.m1,db.m1", "compound"),
        ("not T@docker:db.m1 and T@docker", "compound"),
        ("not ( m2 or m3 ) and T@docker", "compound"),
        ("( T@docker )", "compound"),
        ("(T@docker and not T@docker:db.m1)", "compound"),
        (["T@docker", "and", "m1"], "compound"),
    ],
    ids=str,
)
def test_targets_that_name_it(told, kind):
    """Its id, alone or in a list; its type, or its type and id, outside of a `not`."""
    target = Target.of({"tgt": told, "tgt_type": kind})
    assert names(target, WEB)
    check(target, WEB, False, "state.apply")


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("*", "glob"),
        ("web*", "glob"),
        ("web.m?", "glob"),
        ("web.m[1]", "glob"),
        ("m1", "glob"),
        ("", "glob"),
        (None, "glob"),
        (r"web\.m1", "pcre"),
        ("web.m1", "pcre"),
        ("id:web.m1", "grain"),
        ("id:web.*", "grain_pcre"),
        ("role:web", "pillar"),
        ("role:web", "pillar_exact"),
        ("10.0.0.0/8", "ipcidr"),
        ("group", "nodegroup"),
        ("%web", "range"),
        ("m1,m2", "list"),
        ("web.m1.other,web", "list"),
        ("*", "compound"),
        ("G@os:Debian", "compound"),
        ("E@web.*", "compound"),
        ("T@libvirt", "compound"),
        ("T@docker:db.m1", "compound"),
        ("not T@docker:db.m1", "compound"),
        ("* and not T@docker", "compound"),
        ("not ( m2 or T@docker )", "compound"),
        ("not ( m2 or ( m3 and T@docker ) )", "compound"),
        ("not (T@docker or L@web.m1)", "compound"),
        ("G@a:T@docker", "compound"),
    ],
    ids=str,
)
def test_targets_that_only_match_it(told, kind):
    """Globs, expressions, grains, pillar, addresses, groups, what a `not` leaves, and others' names."""
    target = Target.of({"tgt": told, "tgt_type": kind})
    assert not names(target, WEB)
    with pytest.raises(
        RefusedError, match=r"^state\.apply may change web\.m1, .* does not name it: target it by T@docker"
    ):
        check(target, WEB, False, "state.apply")
    check(target, WEB, True, "state.apply")


def test_where_nothing_was_published():
    """A call from within Python, such as of a state, passes."""
    check(None, WEB, False, "cmd.run")


@given(st.text(max_size=60), st.sampled_from(["glob", "list", "compound", "pcre", "grain", "", "x"]))
def test_any_target(told, kind):
    """Whatever it is, there is an answer; a name that does not stand in it is not named."""
    target = Target.of({"tgt": told, "tgt_type": kind})
    assert not (
        names(target, Resource("nowhere", "nothing.at.all")) and "nothing" not in told and "nowhere" not in told
    )
