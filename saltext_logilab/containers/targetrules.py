"""Which containers are targets, under which ids: the mapping ``resources: {docker: …}`` of a minion's pillar (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from saltext_logilab.containers import listing
from saltext_logilab.within import ids, rules

FIELDS = ("name", "minion", "daemon", "project", "service")
MATCHES = ("name", "label", "project", "image", "state")


class Rule(rules.Rule):
    """Which containers are targets; a label is told as ``KEY`` or ``KEY=VALUE``."""

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
    return Rule(**vars(rules.read("docker", pillar, MATCHES, FIELDS)))


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
