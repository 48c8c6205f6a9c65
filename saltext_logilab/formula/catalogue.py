"""The formulas of a file server, for people: what there is, what each takes, which files hide others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltext_logilab.formula.schemas.formula import DEFAULTS, SCHEMA, Formula
from saltext_logilab.formula.schemas.references import Schema, resolved
from saltext_logilab.formula.schemas.values import TYPES, types_of


@dataclass(frozen=True)
class Parameter:
    """A key of a formula's pillar; ``NAME`` in its path is a key that the user chooses, ``[]`` an item of a list."""

    path: str
    kinds: tuple[str, ...]
    schema: Schema

    @property
    def description(self) -> str:
        """What it is for."""
        return str(self.schema.get("description", ""))


def parameters(formula: Formula) -> list[Parameter]:
    """Return the parameters of ``formula``, in the order of its schema."""
    return list(_below(formula.schema, formula.name, formula.schema, 0))


def _below(schema: Schema, path: str, root: Schema, depth: int) -> Iterator[Parameter]:
    if depth > 8:  # a schema that refers to itself
        return
    for branch in schema.get("oneOf", schema.get("anyOf", ())):
        yield from _below(resolved(branch, root), path, root, depth + 1)
    named, listed = schema.get("additionalProperties"), schema.get("items")
    below = {**schema.get("properties", {}), **({"NAME": named} if isinstance(named, Mapping) and named else {})}
    for key, one in below.items():
        found = resolved(one, root)
        yield Parameter(f"{path}:{key}", kinds(found, root), found)
        yield from _below(found, f"{path}:{key}", root, depth + 1)
    if isinstance(listed, Mapping):
        yield from _below(resolved(listed, root), f"{path}:[]", root, depth + 1)


def kinds(schema: Schema, root: Schema) -> tuple[str, ...]:
    """Return the types that ``schema`` allows, but null."""
    branches = schema.get("oneOf", schema.get("anyOf"))
    if branches:
        found = [kind for one in branches for kind in kinds(resolved(one, root), root)]
        return tuple(dict.fromkeys(found))
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    listed = [one for one in ("string", "integer", "boolean") if any(TYPES[one](value) for value in values)]
    return tuple(one for one in types_of(schema) or listed if one != "null") or ("string",)


def read(folder: Path) -> Formula:
    """
    Read the formula in ``folder``.

    :raises OSError: a file cannot be read.
    :raises FormulaError: a file is wrong.
    """
    schema, defaults = ((folder / name).read_text(encoding="utf-8") for name in (SCHEMA, DEFAULTS))
    return Formula.parse(folder.name, schema, defaults)


def read_all(root: Path) -> dict[str, Formula]:
    """Read the formulas below ``root``, by name; errors as for :func:`read`."""
    return {file.parent.name: read(file.parent) for file in sorted(root.glob(f"*/{SCHEMA}"))}


def summary(formula: Formula) -> dict[str, Any]:
    """Return what a person wants to know of ``formula``: description, systems, parameters, an example."""
    told = {
        one.path: {
            "type": " or ".join(one.kinds),
            "description": one.description,
            **({"default": one.schema["default"]} if "default" in one.schema else {}),
            **({"secret": True} if one.schema.get("writeOnly") else {}),
        }
        for one in parameters(formula)
    }
    example: Any = next(iter(formula.schema.get("examples", [])), {})
    return {
        "description": str(formula.schema.get("description", "")),
        "systems": list(formula.systems),
        "parameters": told,
        "example": {formula.name: example},
    }


def shadows(listings: Mapping[str, Sequence[str]], own: Collection[str]) -> dict[str, str]:
    """
    Return which file hides another of the same path, where one of the two is of ``own``.

    :param listings: the files of each backend or folder, the first one wins.
    :return: by path, a sentence.
    """
    found: dict[str, str] = {}
    winners: dict[str, str] = {}
    for backend, files in listings.items():
        for file in files:
            winner = winners.setdefault(file, backend)
            if winner != backend and (winner in own or backend in own):
                found[file] = f"the file of {winner} hides the one of {backend}"
    return found
