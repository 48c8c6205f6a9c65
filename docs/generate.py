"""Write the pages that follow from the sources: one per module, from its docstrings, one per formula, by its schema."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "saltext_logilab"
FORMULAS = DOCS.parent / "formulas"
TARGET = DOCS / "reference" / "_generated"
KINDS = {
    "modules": "Execution module",
    "states": "State module",
    "runners": "Runner",
    "engines": "Engine",
    "resources": "Resource type",
    "fileserver": "File server backend",
    "output": "Outputter",
    "returners": "Returner",
}


def write_all() -> None:
    """Write all generated pages anew."""
    shutil.rmtree(TARGET, ignore_errors=True)
    for kind, file in plugins():
        write(f"plugins/{kind}.{file.stem}", module_page(f"{KINDS[kind]} `{file.stem}`", file))
    for file in sorted(PACKAGE.glob("[!_]*.py")):
        write(f"shared/{file.stem}", module_page(f"Module `{file.stem}`", file))
    for schema in sorted(FORMULAS.glob("*/schema.yaml")):
        name = schema.parent.name
        write(f"formulas/{name}", formula_page(name, yaml.safe_load(schema.read_text(encoding="utf-8"))))


def write(page: str, text: str) -> None:
    """Write ``text`` as the generated ``page``."""
    file = TARGET / f"{page}.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def plugins() -> Iterator[tuple[str, Path]]:
    """Yield the loader type and the file of each plugin that has a page."""
    for kind in KINDS:
        for file in sorted(PACKAGE.glob(f"*/{kind}/[!_]*")):
            if file.suffix == ".py" or (file / "__init__.py").exists():
                yield kind, file


def module_page(title: str, file: Path) -> str:
    """Return the page of a module: the docstrings of what is public in it."""
    module = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
    return f"# {title}\n\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```\n"


def formula_page(name: str, schema: dict[str, Any]) -> str:
    """Return the page of a formula: what it is for, its parameters, its example pillar."""
    example = (DOCS.parent / "pillar.example" / f"{name}.sls").read_text(encoding="utf-8")
    rows = [("Key", "Type", "Default", "What it is"), ("---",) * 4, *parameters(schema, name, schema["$defs"])]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"# Formula `{name}`\n\n{schema['description']}\n\n{table}\n\nAn example:\n\n```yaml\n{example}```\n"


def parameters(schema: dict[str, Any], path: str, definitions: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each key below ``path``; ``NAME`` stands for a key that the user chooses."""
    named = schema.get("additionalProperties")
    below = {**schema.get("properties", {}), **({"NAME": named} if isinstance(named, dict) else {})}
    for key, value in below.items():
        found = resolve(value, definitions)
        kind = " or ".join(kinds(found, definitions))
        default = (
            f"`{yaml.safe_dump(found['default'], default_flow_style=True).splitlines()[0]}`"
            if "default" in found
            else ""
        )
        yield f"`{path}:{key}`", kind, default, found["description"]
        yield from parameters(found, f"{path}:{key}", definitions)


def kinds(schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    """Return the types that ``schema`` allows, but null."""
    if "oneOf" in schema:
        return [kind for one in schema["oneOf"] for kind in kinds(resolve(one, definitions), definitions)]
    told = schema.get("type", [])
    return [one for one in ([told] if isinstance(told, str) else told) if one != "null"]


def resolve(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return ``schema`` with what its ``$ref`` names, which its own keys override."""
    name = schema.get("$ref", "").removeprefix("#/$defs/")
    return {**definitions.get(name, {}), **schema}
