"""What a master's configuration says of this area: the mapping ``logilab: {formula: …}``."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from saltext_logilab import settings
from saltext_logilab.errors import ConfigurationError

AREA = "formula"


@dataclass(frozen=True)
class FormulaSettings:
    """
    What the file server shows of the formulas.

    ``include`` and ``exclude`` are globs of formulas' names, ``mountpoint`` is the folder of the file server below
    which the formulas appear (empty: at its top), ``pillar_keys`` gives a formula's key in the pillar.
    """

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    mountpoint: str = ""
    saltenvs: tuple[str, ...] = ("base",)
    pillar_keys: Mapping[str, str] = field(default_factory=dict)


def read(opts: Mapping[str, Any]) -> FormulaSettings:
    """
    Read the settings of this area out of a master's or a minion's ``opts``.

    :raises ConfigurationError: a key is unknown, of the wrong type or of an impossible value.
    """
    section = settings.area(opts, AREA)
    found = FormulaSettings(
        include=_texts(section, "include", FormulaSettings.include),
        exclude=_texts(section, "exclude", FormulaSettings.exclude),
        mountpoint=_mountpoint(section),
        saltenvs=_texts(section, "saltenvs", FormulaSettings.saltenvs),
        pillar_keys=section.take("pillar_keys", dict, {}),
    )
    section.done()
    for name, key in found.pillar_keys.items():
        if not (isinstance(name, str) and isinstance(key, str) and key):
            raise ConfigurationError(f"{section.path}:pillar_keys:{name} must be a text, not {key!r}")
    return found


def _texts(section: settings.Section, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    found = section.take(key, list, list(default))
    if wrong := [one for one in found if not isinstance(one, str) or not one]:
        raise ConfigurationError(f"{section.path}:{key} must be a list of texts, but holds {wrong[0]!r}")
    return tuple(found)


def _mountpoint(section: settings.Section) -> str:
    told = section.take("mountpoint", str, "")
    path = told.removeprefix("salt://").strip("/")
    if path and (posixpath.normpath(path) != path or path.startswith("..")):
        raise ConfigurationError(f"{section.path}:mountpoint must be a folder such as salt://logilab, not {told!r}")
    return path
