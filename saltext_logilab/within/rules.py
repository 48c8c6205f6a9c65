"""Which things of a minion are targets, under which ids: the mapping ``resources: {<type>: …}`` of its pillar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab import settings
from saltext_logilab.errors import ConfigurationError
from saltext_logilab.within import ids

LIMIT = 3600.0


@dataclass(frozen=True)
class Rule:
    """
    Which things are targets: of each key of ``match``, one of its globs.

    ``limit``: seconds that a command of theirs may take at most.
    """

    match: Mapping[str, tuple[str, ...]]
    template: str = ids.TEMPLATE
    limit: float = LIMIT


@dataclass(frozen=True)
class Reserved:
    """Ids that are not to be had: those of minions, and those of other minions' resources with their owners."""

    minions: frozenset[str] = frozenset()
    owned: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def told(cls, minion: str, reserved: Mapping[str, Any]) -> Reserved:
        """Return what a master tells: ``{"minions": […], "owned": {id: minion}}``, and the minion's own id."""
        owned = {str(one): str(owner) for one, owner in (reserved.get("owned") or {}).items() if owner != minion}
        return cls(frozenset([minion, *map(str, reserved.get("minions") or ())]), owned)


def read(resource_type: str, pillar: object, matches: Sequence[str], fields: Sequence[str]) -> Rule:
    """
    Return the rule that the pillar's mapping tells, with the keys of ``match`` and of the id's template that there are.

    :raises ConfigurationError: a key is unknown, of the wrong type or of an impossible value.
    """
    section = settings.Section(f"resources:{resource_type}", pillar)
    template = section.take("id", str, ids.TEMPLATE)
    limit = section.take("timeout", float, LIMIT)
    match = section.take("match", dict, {})
    section.take("wildcard", bool, False)
    section.take("states", str, "auto")
    section.take("pillar", dict, {})
    section.take("reserved", dict, {})
    section.done()
    ids.check_template(template, fields)
    if limit <= 0:
        raise ConfigurationError(f"{section.path}:timeout must be positive, not {limit!r}")
    globs = {str(key): _globs(section.path, str(key), told, matches) for key, told in match.items()}
    return Rule(globs, template, limit)


def _globs(path: str, key: str, told: object, matches: Sequence[str]) -> tuple[str, ...]:
    if key not in matches:
        raise ConfigurationError(f"{path}:match:{key} is no rule (known: {', '.join(matches)})")
    globs = tuple(told) if isinstance(told, list) else (told,)
    if not globs or not all(isinstance(one, str) and one for one in globs):
        raise ConfigurationError(f"{path}:match:{key} must be a text or a list of texts, not {told!r}")
    return tuple(str(one) for one in globs)
