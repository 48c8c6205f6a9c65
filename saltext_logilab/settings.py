"""
The product's settings: the mapping ``logilab:`` of a master's or minion's configuration.

Each area reads its own part once, through :func:`area`, and gets a :class:`Section`: it takes the keys that it
knows and then calls :meth:`Section.done`, which refuses the rest. All errors name the key's whole path.
"""

from __future__ import annotations

import difflib
import os.path
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

from saltext_logilab.errors import ConfigurationError

AREAS = ("containers", "guests", "masters", "swarm", "formula", "lab")

T = TypeVar("T")


class _Missing:
    """The mark of a setting without a default."""


_MISSING = _Missing()


class Section:
    """One mapping of the configuration, taken key by key."""

    def __init__(self, path: str, values: object) -> None:
        """
        Read ``values`` under the name ``path``.

        :raises ConfigurationError: ``values`` is no mapping (None is an empty one).
        """
        if values is None:
            values = {}
        if not isinstance(values, Mapping):
            raise ConfigurationError(f"{path} must be a mapping, not {values!r}")
        self.path = path
        self._values = dict(values)
        self._known: list[str] = []

    @overload
    def take(self, key: str, kind: type[T]) -> T: ...
    @overload
    def take(self, key: str, kind: type[T], default: None) -> T | None: ...
    @overload
    def take(self, key: str, kind: type[T], default: T) -> T: ...

    def take(self, key: str, kind: type[T], default: T | _Missing | None = _MISSING) -> T | None:
        """
        Return the value of ``key``, or ``default`` when it is absent.

        An integer is accepted where a float is wanted; a boolean is not a number.

        :raises ConfigurationError: the type is wrong, or the key is absent and has no default.
        """
        self._known.append(key)
        if key not in self._values:
            if not isinstance(default, _Missing):
                return default
            near = difflib.get_close_matches(key, map(str, self._values), n=1)
            if near:
                raise ConfigurationError(f"{self.path}:{near[0]} is not a known setting (did you mean {key!r}?)")
            raise ConfigurationError(f"{self.path}:{key} is missing")
        value = self._values.pop(key)
        if kind is float and type(value) is int:
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ConfigurationError(f"{self.path}:{key} must be {_article(kind)}, not {value!r}")
        return value

    def sub(self, key: str) -> Section:
        """Return the mapping under ``key`` as a section (an empty one when it is absent)."""
        self._known.append(key)
        return Section(f"{self.path}:{key}", self._values.pop(key, None))

    def items(self) -> list[tuple[str, Section]]:
        """Return all keys that are left, each with a mapping under it: a set of named things."""
        named = [(str(key), Section(f"{self.path}:{key}", value)) for key, value in self._values.items()]
        self._values.clear()
        return named

    def done(self) -> None:
        """
        Say that all known keys were taken.

        :raises ConfigurationError: something is left: an unknown key.
        """
        for key in self._values:
            near = difflib.get_close_matches(str(key), self._known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(self._known)) or 'none'}"
            raise ConfigurationError(f"{self.path}:{key} is not a known setting ({hint})")


def area(opts: Mapping[str, Any], name: str) -> Section:
    """
    Return the settings of area ``name`` out of Salt's ``opts``.

    :raises ConfigurationError: ``logilab`` is no mapping or holds something that is no area.
    """
    top = _top(opts)
    top.take("state_dir", str, None)
    sections = {known: top.sub(known) for known in AREAS}
    top.done()
    return sections[name]


def state_dir(opts: Mapping[str, Any], area_name: str) -> Path:
    """
    Return the folder in which area ``area_name`` keeps what must not be lost; it is not created.

    It is ``logilab:state_dir``, by default ``logilab`` beside ``pki_dir`` (``/etc/salt/pki/logilab``), and below it
    one folder per area. Never under ``cachedir``, which ``saltutil.clear_cache`` empties.

    :raises ConfigurationError: the folder is not absolute or lies under ``cachedir``.
    """
    wanted = _top(opts).take("state_dir", str, None)
    folder = Path(os.path.normpath(wanted)) if wanted else Path(os.path.normpath(opts["pki_dir"])).parent / "logilab"
    if not folder.is_absolute():
        raise ConfigurationError(f"logilab:state_dir must be an absolute path, not {wanted!r}")
    cachedir = opts.get("cachedir")
    if cachedir and folder.is_relative_to(os.path.normpath(cachedir)):
        raise ConfigurationError(f"logilab:state_dir {folder} lies under cachedir, which saltutil.clear_cache empties")
    return folder / area_name


def _top(opts: Mapping[str, Any]) -> Section:
    return Section("logilab", opts.get("logilab"))


def _article(kind: type) -> str:
    names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
    return names.get(kind, f"a {kind.__name__}")
