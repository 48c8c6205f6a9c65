"""
A fake minion: an id, a group and a few numbers; what it seems to have, such as grains, is made when somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import salt.version

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.swarm.behaviour import Group, Spec
from saltext_logilab.swarm.document import Node
from saltext_logilab.swarm.draws import draw
from saltext_logilab.swarm.keys import SHARED
from saltext_logilab.swarm.recipes import Constant, Lazy, Recipe, Scene, template

INSTALLED = str(salt.version.__version__)
_NO_PILLAR: Mapping[str, Any] = {}


def _grain(text: str) -> Recipe:
    return template(Node(text, "", 0, ""))


GRAINS: Mapping[str, Recipe] = {
    "id": _grain("{{ id }}"),
    "host": _grain("{{ id.split('.')[0] }}"),
    "nodename": _grain("{{ id }}"),
    "fqdn": _grain("{{ id }}"),
    "saltversion": _grain("{{ version }}"),
    "kernel": Constant("Linux"),
    "fake": Constant(True),
}


class FakeMinion:
    """One fake minion: ``index`` counts within its group, ``number`` within the swarm."""

    __slots__ = ("group", "id", "index", "jobs", "number", "received", "seed")

    def __init__(self, minion_id: str, group: Group, index: int, number: int, seed: int) -> None:
        """Make the minion ``minion_id``; its draws come from ``seed`` and its id."""
        self.id = minion_id
        self.group = group
        self.index = index
        self.number = number
        self.seed = seed
        self.jobs = 0
        self.received: Mapping[str, Any] = _NO_PILLAR

    def chance(self, purpose: str, number: int = 0) -> float:
        """Return the draw ``number`` of this minion for ``purpose``, in [0, 1)."""
        return draw(self.seed, self.id, purpose, number)

    @property
    def key_number(self) -> int:
        """The number of its key in the pool."""
        return self.number + 1 if self.group.own_keys else SHARED

    @property
    def version(self) -> str:
        """The version of Salt that it pretends to have."""
        if self.group.version is None:
            return INSTALLED
        names = {"id": self.id, "index": self.index, "group": self.group.name}
        return str(self.group.version.make(Scene(names, self.chance)))

    @property
    def grains(self) -> Mapping[str, Any]:
        """Its grains."""
        return Lazy({**GRAINS, **self.group.grains}, self.scene())

    @property
    def pillar(self) -> Mapping[str, Any]:
        """Its pillar: what its specification gives, else what a master has sent."""
        return self.received if self.group.pillar is None else Lazy(self.group.pillar, self.scene())

    def scene(self, chance: Callable[[str], float] | None = None, **names: Any) -> Scene:
        """Return what recipes may look at, with more ``names`` for templates."""
        known = {"id": self.id, "index": self.index, "group": self.group.name, "version": self.version}
        return Scene({**known, **names}, chance or self.chance)

    def __repr__(self) -> str:
        """Say who it is."""
        return f"<FakeMinion {self.id}>"


def check_id(text: str) -> str:
    """Return ``text`` when a minion can be called so; :raises ConfigurationError: it cannot."""
    if not text or len(text) > 255 or text in (".", "..") or any(sign in text for sign in "/\\\0\n ,"):
        raise ConfigurationError(f"{text!r} is no minion id: no blanks, commas, slashes or line ends, 1 to 255 signs")
    return text


def cast(spec: Spec) -> list[FakeMinion]:
    """
    Return the minions of ``spec``, in the order of their groups.

    :raises ConfigurationError: an id is impossible, stands twice, or a template cannot be rendered.
    """
    minions: list[FakeMinion] = []
    seen: dict[str, str] = {}
    for group in spec.groups:
        for index in range(group.count):
            minion_id = _id(group, index)
            if minion_id in seen:
                also = f"also in {seen[minion_id]}"
                group.minion_id.node.refuse(f"the id {minion_id!r} stands twice ({also}): use {{{{ index }}}} in it")
            seen[minion_id] = group.name
            minions.append(FakeMinion(minion_id, group, index, len(minions), spec.seed))
    return minions


def rehearse(minions: Iterable[FakeMinion]) -> None:
    """
    Make everything that templates give once, for the first minion of each group: a fault shows before a start.

    :raises ConfigurationError: a template cannot be rendered.
    """
    for minion in _first_of_each(minions):
        dict(minion.grains)
        dict(minion.pillar)
        scene = minion.scene(number=1)
        for periodic in (*minion.group.beacons, *minion.group.events):
            periodic.tag.make(scene)
            periodic.data.make(scene)


def _first_of_each(minions: Iterable[FakeMinion]) -> Iterator[FakeMinion]:
    seen: set[str] = set()
    for minion in minions:
        if minion.group.name not in seen:
            seen.add(minion.group.name)
            yield minion


def _id(group: Group, index: int) -> str:
    def no_chance(_purpose: str) -> float:
        raise ConfigurationError("an id cannot be left to chance")

    made = str(group.minion_id.make(Scene({"index": index, "group": group.name}, no_chance)))
    try:
        return check_id(made)
    except ConfigurationError as err:
        group.minion_id.node.refuse(str(err), err)
