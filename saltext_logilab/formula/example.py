"""What is generated from the schemas: example pillars, and one JSON schema of all for editors."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from saltext_logilab.formula.schemas.formula import Formula

SCHEMA_FILE = "pillar.schema.json"


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
    """Lists are indented below their key, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def dump(value: Any) -> str:
    """Return ``value`` as YAML."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


def pillar(formula: Formula) -> str:
    """Return the example pillar of ``formula``: its schema's first example, each key with its description above it."""
    example: dict[str, Any] = next(iter(formula.schema.get("examples", [])), {})
    lines = [f"# {line}" for line in textwrap.wrap(str(formula.schema.get("description", "")), 110)]
    lines += [f"# Made from formulas/{formula.name}/schema.yaml, which describes every key.", f"{formula.name}:"]
    for key, value in example.items():
        told = formula.schema.get("properties", {}).get(key, {}).get("description", "")
        lines += [f"  # {line}" for line in textwrap.wrap(told, 108)]
        lines.append(textwrap.indent(dump({key: value}), "  ").rstrip())
    return "\n".join(lines) + ("\n" if example else " {}\n")


def combined(formulas: Iterable[Formula]) -> str:
    """Return a JSON schema of a pillar file with the keys of all ``formulas``, for editors."""
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for formula in formulas:
        for name, one in formula.schema.get("$defs", {}).items():
            definitions[f"{formula.name}.{name}"] = _prefixed(one, formula.name)
        own = {key: value for key, value in formula.schema.items() if key not in ("$defs", "$schema")}
        properties[formula.name] = _prefixed(own, formula.name)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Pillar of the formulas of saltext-logilab",
        "type": "object",
        "properties": properties,
        "$defs": definitions,
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _prefixed(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _reference(one, name) if key == "$ref" else _prefixed(one, name) for key, one in value.items()}
    return [_prefixed(one, name) for one in value] if isinstance(value, list) else value


def _reference(told: Any, name: str) -> str:
    return f"#/properties/{name}" if told == "#" else f"#/$defs/{name}.{str(told).removeprefix('#/$defs/')}"
