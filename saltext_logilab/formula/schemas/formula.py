"""A formula as its files describe it: the schema, and the defaults that differ between systems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from .merging import fill, merge
from .problems import FormulaError, PillarError, Problem, nearest
from .references import Schema
from .secret import misplaced
from .validator import validate

SCHEMA, DEFAULTS = "schema.yaml", "defaults.yaml"
LAYERS = ("os_family", "os", "osfinger")
Reader = Callable[[str, str], Mapping[str, Any]]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Formula:
    """
    A formula.

    ``layers`` gives for ``os_family``, ``os`` and ``osfinger`` what differs from the schema's defaults, by the grain's
    value; the families named in it are those that the formula supports.
    """

    name: str
    schema: Schema
    layers: Mapping[str, Mapping[str, Any]]

    @classmethod
    def parse(cls, name: str, schema: str, defaults: str, read: Reader | None = None) -> Formula:
        """
        Read a formula out of the texts of its two files.

        :param read: makes a mapping of a file's name and its text; by default :func:`mapping`.
        :raises FormulaError: one of them is no YAML, or no mapping.
        """
        read = read or mapping
        told, layers = read(f"{name}/{SCHEMA}", schema), read(f"{name}/{DEFAULTS}", defaults)
        if unknown := [key for key in layers if key not in LAYERS]:
            raise FormulaError(f"{name}/{DEFAULTS}: {unknown[0]!r} is not one of {', '.join(LAYERS)}")
        return cls(name, told, {layer: layers.get(layer) or {} for layer in LAYERS})

    @property
    def systems(self) -> tuple[str, ...]:
        """The values of the grain ``os_family`` that are supported."""
        return tuple(self.layers["os_family"])

    def data(self, grains: Mapping[str, Any], pillar: Any, key: str | None = None) -> dict[str, Any]:
        """
        Return the checked data: defaults, overlaid with what the system needs, then with the pillar.

        :param pillar: what stands in the pillar under ``key`` (by default the formula's name); None is empty.
        :raises PillarError: with all problems, when there are any.
        """
        data, problems = self.examine(grains, pillar, key)
        if problems:
            raise PillarError(self.name, problems)
        return data

    def examine(
        self, grains: Mapping[str, Any], pillar: Any, key: str | None = None
    ) -> tuple[dict[str, Any], list[Problem]]:
        """Return the data and all that is wrong with them; parameters as for :meth:`data`."""
        path = tuple((key or self.name).split(":"))
        pillar = {} if pillar is None else pillar
        if not isinstance(pillar, Mapping):
            return {}, validate({"type": "object"}, pillar, path)
        merged = fill(self.schema, {})
        for layer in (*self._layers_for(grains), pillar):
            merged = merge(self.schema, merged, layer)
        data = fill(self.schema, merged)
        problems = validate(self.schema, data, path)
        told = {problem.path for problem in problems}
        hidden = [one for one in misplaced(self.schema, pillar, path) if one.path not in told]
        return data, [*self._unsupported(grains), *problems, *hidden]

    def _layers_for(self, grains: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        for layer in LAYERS:
            yield self.layers[layer].get(str(grains.get(layer))) or {}

    def _unsupported(self, grains: Mapping[str, Any]) -> Iterator[Problem]:
        family = grains.get("os_family")
        if family not in self.systems:
            known = f"it supports {', '.join(self.systems)}{nearest(family, self.systems)}"
            yield Problem((self.name,), f"does not support the os_family {family!r}: {known}")


def mapping(file: str, text: str) -> Mapping[str, Any]:
    """
    Return the mapping that the YAML ``text`` of ``file`` is; nothing is an empty one.

    :raises FormulaError: it is no YAML, or no mapping.
    """
    try:
        found = yaml.load(text, Loader=_LOADER)  # noqa: S506  one of the two safe loaders
    except yaml.YAMLError as err:
        raise FormulaError(f"{file} is no YAML: {err}") from err
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise FormulaError(f"{file} must be a mapping, not {found!r}")
    return found
