"""
The ids of resources: ``<name>.<minion>``, or another form by a template, one owner each.

Salt takes every id that a minion registers, and where two minions register one, the last wins without a word: so what
is wrong with an id is found before it is told to a master.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from saltext_logilab.errors import ConfigurationError

TEMPLATE = "{name}.{minion}"
LONGEST = 200
_VALID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Ids:
    """Which ids are registered, each with the name of its thing, and why each of the others is refused."""

    names: Mapping[str, str]
    refused: Mapping[str, str]


def check_template(template: str, fields: Iterable[str]) -> None:
    """
    Check the form of the ids.

    :raises ConfigurationError: it is malformed, uses another field than ``fields``, or leaves the name out.
    """
    known = sorted(fields)
    try:
        told = [(name, conversion, spec) for _, name, spec, conversion in string.Formatter().parse(template)]
    except ValueError as err:
        raise ConfigurationError(f"the id template {template!r} is malformed: {err}") from err
    used = {name for name, _, _ in told if name is not None}
    if any(conversion or spec for name, conversion, spec in told if name is not None) or used - set(known):
        raise ConfigurationError(f"the id template {template!r} may hold {{{'}, {'.join(known)}}} and nothing more")
    if "name" not in used:
        raise ConfigurationError(f"the id template {template!r} has no {{name}}: all would get one id")


def fill(template: str, fields: Mapping[str, str]) -> str:
    """Return an id; raises nothing where :func:`check_template` has passed."""
    return template.format_map(dict(fields))


def is_valid(one: str) -> bool:
    """Say whether Salt and a target can carry an id: no ``/``, nothing that a shell or a glob takes for its own."""
    return len(one) <= LONGEST and _VALID.fullmatch(one) is not None


def sort_out(wanted: Iterable[tuple[str, str]], minions: Iterable[str], owned: Mapping[str, str]) -> Ids:
    """
    Return which of the ids in ``wanted`` (each with the name of its thing) can be registered.

    ``minions``: ids of minions; ``owned``: ids that other minions have registered, each with its owner.
    """
    taken = set(minions)
    names: dict[str, str] = {}
    refused: dict[str, str] = {}
    for one, name in sorted(wanted):
        if not is_valid(one):
            refused[one] = f"{one!r} is no valid id (letters, digits, '_', '.' and '-')"
        elif one in taken:
            refused[one] = f"{one!r} is the id of a minion"
        elif one in owned:
            refused[one] = f"{one!r} belongs to the minion {owned[one]!r}"
        elif one in names:
            refused[one] = f"{one!r} stands for both {names[one]!r} and {name!r}"
        else:
            names[one] = name
    for one in set(names) & set(refused):  # neither of two: whichever came first would be a matter of chance
        del names[one]
    return Ids(names, refused)


def newest_first(now: Iterable[str], before: Iterable[str]) -> list[str]:
    """
    Return the ids that there are ``now``: those that were not there ``before`` first, the others in their order.

    A master takes up the ids of a registration one by one, and writes each to its disk.
    """
    left = set(now)
    kept = [one for one in before if one in left]
    return [*sorted(left.difference(kept)), *kept]
