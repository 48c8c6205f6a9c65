"""Which containers are targets, under which ids: the mapping ``resources: {docker: …}`` of a minion's pillar (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from saltext_logilab import settings
from saltext_logilab.containers import listing
from saltext_logilab.errors import ConfigurationError
from saltext_logilab.within import ids

FIELDS = ("name", "minion", "daemon", "project", "service")
LIMIT = 3600.0
MATCHES = ("name", "label", "project", "image", "state")


@dataclass(frozen=True)
class Rule:
    """
    Which containers are targets: of each key of ``match``, one of its globs; a label as ``KEY`` or ``KEY=VALUE``.

    ``limit``: seconds that a command of theirs may take at most.
    """

    match: Mapping[str, tuple[str, ...]]
    template: str = ids.TEMPLATE
    limit: float = LIMIT

    def takes(self, listed: Mapping[str, Any]) -> bool:
        """Say whether the container of an entry of a listing is a target."""
        return all(any(_meets(listed, key, glob) for glob in globs) for key, globs in self.match.items())

    def id_of(self, listed: Mapping[str, Any], daemon: str, minion: str) -> str:
        """Return the id of a container."""
        labels = listed.get("Labels") or {}
        told = {
            "name": listing.name(listed.get("Names") or ()),
            "minion": minion,
            "daemon": daemon,
            "project": str(labels.get(listing.PROJECT, "")),
            "service": str(labels.get(listing.SERVICE, "")),
        }
        return ids.fill(self.template, told)


def read(pillar: object) -> Rule:
    """
    Return the rule that the pillar's mapping ``resources: {docker: …}`` tells.

    :raises ConfigurationError: a key is unknown, of the wrong type or of an impossible value.
    """
    section = settings.Section("resources:docker", pillar)
    template = section.take("id", str, ids.TEMPLATE)
    limit = section.take("timeout", float, LIMIT)
    match = section.take("match", dict, {})
    section.take("wildcard", bool, False)
    section.take("states", str, "auto")
    section.take("pillar", dict, {})
    section.take("reserved", dict, {})
    section.done()
    ids.check_template(template, FIELDS)
    if limit <= 0:
        raise ConfigurationError(f"resources:docker:timeout must be positive, not {limit!r}")
    return Rule({str(key): _globs(str(key), told) for key, told in match.items()}, template, limit)


def _globs(key: str, told: object) -> tuple[str, ...]:
    if key not in MATCHES:
        raise ConfigurationError(f"resources:docker:match:{key} is no rule (known: {', '.join(MATCHES)})")
    globs = tuple(told) if isinstance(told, list) else (told,)
    if not globs or not all(isinstance(one, str) and one for one in globs):
        raise ConfigurationError(f"resources:docker:match:{key} must be a text or a list of texts, not {told!r}")
    return tuple(str(one) for one in globs)


def _meets(listed: Mapping[str, Any], key: str, glob: str) -> bool:
    labels = listed.get("Labels") or {}
    if key == "label":
        name, equals, value = glob.partition("=")
        return name in labels and (not equals or fnmatchcase(str(labels[name]), value))
    told = {
        "name": lambda: listing.name(listed.get("Names") or ()),
        "project": lambda: str(labels.get(listing.PROJECT, "")),
        "image": lambda: str(listed.get("Image") or ""),
        "state": lambda: listing.state(listed),
    }
    return fnmatchcase(told[key](), glob)
