"""Who is meant by a target: held against Salt's own matchers."""

from types import SimpleNamespace
from typing import Any

import pytest
import salt.loader
from hypothesis import given, settings
from hypothesis import strategies as st

from saltext_logilab.swarm import targets

MINIONS = {
    "web1": {"grains": {"os": "Debian", "ipv4": ["10.0.0.1"], "deep": {"a": {"b": 1}}, "roles": ["x", "y"]}},
    "web2": {"grains": {"os": "Ubuntu", "ipv4": ["10.0.1.2", "127.0.0.1"], "roles": "x"}},
    "db.example": {"grains": {"os": "Debian", "ipv6": ["fd00::1"]}},
}
PILLAR = {"web1": {"role": "web", "k": {"v": "one"}}, "web2": {"role": "web"}, "db.example": {"role": "db"}}

WORDS = [
    "web*",
    "db.example",
    "E@web[12]",
    "L@web1,db.example",
    "G@os:Debian",
    "G@deep:a:b:1",
    "P@os:(Deb|Ub).*",
    "I@role:web",
]
WORDS += ["J@role:(web|x)", "S@10.0.0.0/24", "S@10.0.1.2", "G@roles:x", "*", "nobody"]
KINDS = {
    "glob": ["*", "web?", "[wd]*", "", "db.example"],
    "pcre": ["web.", "db", ".*example$", "(a|web1)"],
    "list": ["web1", "web1,web2", ["web1", "db.example"], "web"],
    "grain": ["os:Debian", "os:*", "deep:a:b:1", "deep:*", "roles:y", "os", "*:Debian", "none:1"],
    "grain_pcre": ["os:^D", "roles:[xz]", "os:["],
    "pillar": ["role:web", "k:v:o*", "k:*"],
    "pillar_pcre": ["role:(web|db)"],
    "pillar_exact": ["role:web", "role:w*"],
    "ipcidr": ["10.0.0.0/16", "10.0.0.1", "fd00::/8", "fd00::1", "x"],
}


@pytest.fixture(scope="module")
def by_salt(session_loaders: Any) -> Any:
    """Ask the matchers of the installed Salt who is meant."""
    matchers = salt.loader.matchers(session_loaders.opts)

    def matches(kind: str, target: Any, minion: str) -> bool:
        opts = {**session_loaders.opts, "id": minion, "grains": MINIONS[minion]["grains"], "pillar": PILLAR[minion]}
        try:
            return bool(matchers[f"{kind}_match.match"](target, opts=opts, minion_id=minion))
        except Exception:  # noqa: BLE001  # Salt's matchers raise on what is malformed: the minion is then not meant
            return False

    return lambda kind, target: {minion for minion in MINIONS if matches(kind, target, minion)}


def ours(kind: str, target: Any) -> set[str]:
    meant = targets.compiled({"tgt": target, "tgt_type": kind})
    facts = [SimpleNamespace(id=one, grains=MINIONS[one]["grains"], pillar=PILLAR[one]) for one in MINIONS]
    return {one.id for one in facts if meant(one)}


@pytest.mark.parametrize(("kind", "target"), [(kind, target) for kind, found in KINDS.items() for target in found])
def test_each_kind_matches_as_salt_does(by_salt: Any, kind: str, target: Any) -> None:
    """Every target of every kind means the same minions as to a real minion."""
    assert ours(kind, target) == by_salt(kind, target)


@settings(max_examples=150, deadline=None)
@given(words=st.lists(st.sampled_from([*WORDS, "and", "or", "not", "(", ")"]), max_size=9))
def test_compound_targets_match_as_salt_does(by_salt: Any, words: list[str]) -> None:
    """Any row of words, sensible or not, means the same minions as to a real minion."""
    target = " ".join(words)
    assert ours("compound", target) == by_salt("compound", target)


@pytest.mark.parametrize(
    "load",
    [
        {"tgt": 5},
        {"tgt": None, "tgt_type": "pcre"},
        {"tgt": "*", "tgt_type": "range"},
        {"tgt": "(", "tgt_type": "pcre"},
    ],
)
def test_what_nobody_understands_is_for_nobody(load: dict[str, Any]) -> None:
    """A malformed target matches no minion and raises nothing."""
    assert not targets.compiled(load)(SimpleNamespace(id="web1", grains={}, pillar={}))
