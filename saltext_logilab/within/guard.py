"""
Nothing by accident: only a target that names resources may change one.

Salt sends ``*``, globs, expressions on ids, pillar and addresses, and what a nodegroup stands for, to each resource of
a minion too. So a function that may change something looks at the target of its publication.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from saltext_logilab.errors import RefusedError

_OPERATORS = ("and", "or", "not", "(", ")")
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Resource:
    """A thing that can be targeted: its type and its id."""

    type: str
    id: str


@dataclass(frozen=True)
class Target:
    """The target of a publication, and of which kind it is: what ``salt`` was called with."""

    told: str | tuple[str, ...]
    kind: str = "glob"

    @classmethod
    def of(cls, load: Mapping[str, Any]) -> Target:
        """Return the target of a publication's load."""
        told = load.get("tgt", "")
        text = told if isinstance(told, str) else tuple(map(str, told)) if isinstance(told, Iterable) else ""
        return cls(text, str(load.get("tgt_type") or "glob"))

    def __str__(self) -> str:
        text = self.told if isinstance(self.told, str) else ",".join(self.told)
        return f"{text!r}" if self.kind == "glob" else f"{text!r} ({self.kind})"


def names(target: Target, resource: Resource) -> bool:
    """
    Say whether ``target`` names ``resource``: its id, in a list or alone, or its type or id by ``T@`` and outside of a
    ``not``.

    What only happens to match it names nothing: a glob, a regular expression, a grain, the rest of a ``not``.
    """
    if target.kind == "glob":
        return target.told == resource.id and not _WILD.search(resource.id)
    if target.kind == "list":
        return resource.id in _listed(target.told)
    return target.kind == "compound" and any(_term(word, resource) for word in _affirmed(target.told))


def check(target: Target | None, resource: Resource, wildcard: bool, function: str) -> None:
    """
    Let a function that may change something pass; ``target`` is None where nothing was published.

    :raises RefusedError: the target does not name the resource, and the pillar does not say ``wildcard: true``.
    """
    if target is None or wildcard or names(target, resource):
        return
    raise RefusedError(
        f"{function} may change {resource.id}, and the target {target} does not name it:"
        f" target it by T@{resource.type} or T@{resource.type}:{resource.id}"
        f" (or set resources:{resource.type}:wildcard in its minion's pillar)"
    )


def _listed(told: str | tuple[str, ...]) -> list[str]:
    return [one.strip() for one in (told.split(",") if isinstance(told, str) else told)]


def _affirmed(told: str | tuple[str, ...]) -> list[str]:
    """Return the terms of a compound target that stand under no ``not``."""
    found: list[str] = []
    depth, denied, is_next = 0, 0, False  # denied: the depth of the bracket that a `not` stands before
    for word in told.replace("(", " ( ").replace(")", " ) ").split() if isinstance(told, str) else told:
        if word == "not":
            is_next = True
        elif word == "(":
            depth += 1
            if is_next and not denied:
                denied = depth
            is_next = False
        elif word == ")":
            denied = 0 if denied == depth else denied
            depth -= 1
        elif word not in _OPERATORS:
            if not is_next and not denied:
                found.append(word)
            is_next = False
    return found


def _term(word: str, resource: Resource) -> bool:
    if word.startswith("T@"):
        kind, _, told = word[2:].partition(":")
        return kind == resource.type and told in ("", resource.id)
    return word.startswith("L@") and resource.id in _listed(word[2:])
