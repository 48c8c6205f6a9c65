"""Write the pages that follow from the sources: one per module, from its docstrings, one per formula, by its schema."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from saltext_logilab.formula import catalogue, example
from saltext_logilab.formula.schemas.formula import Formula

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
    "wrapper": "Wrapper for salt-ssh",
}
PAGE = """# Formula `{name}`

{description}

Supported values of `os_family`: {systems}. States: {states}.

{text}

## Example

```yaml
{example}```

## Parameters

{table}
"""


def write_all() -> None:
    """Write all generated pages anew."""
    shutil.rmtree(TARGET, ignore_errors=True)
    for kind, file in plugins():
        write(f"plugins/{kind}.{file.stem}", module_page(f"{KINDS[kind]} `{file.stem}`", file))
    for file in sorted(PACKAGE.glob("[!_]*.py")):
        write(f"shared/{file.stem}", module_page(f"Module `{file.stem}`", file))
    for name, formula in catalogue.read_all(FORMULAS).items():
        write(f"formulas/{name}", formula_page(formula))


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


def formula_page(formula: Formula) -> str:
    """Return the page of a formula: what its README says, its parameters, its example pillar."""
    folder = FORMULAS / formula.name
    rows = [("Key", "Type", "Default", "What it is"), ("---",) * 4, *map(row, catalogue.parameters(formula))]
    parts = {
        "text": (folder / "README.md").read_text(encoding="utf-8").strip(),
        "systems": ", ".join(formula.systems),
        "states": " and ".join(f"`{state}`" for state in states(folder)),
        "table": "\n".join(f"| {' | '.join(cells)} |" for cells in rows),
        "example": example.pillar(formula),
    }
    return PAGE.format(name=formula.name, description=formula.schema["description"], **parts)


def states(folder: Path) -> list[str]:
    """Return the states that one applies, the main one first; other SLS are parts of it."""
    return [folder.name, *([f"{folder.name}.clean"] if (folder / "clean.sls").exists() else [])]


def row(parameter: catalogue.Parameter) -> tuple[str, str, str, str]:
    """Return the table's cells for a parameter."""
    schema = parameter.schema
    default = yaml.safe_dump(schema["default"], default_flow_style=True, width=10**6) if "default" in schema else ""
    shown = default.splitlines()[0] if default else ""
    text = parameter.description + (" *A secret.*" if schema.get("writeOnly") else "")
    return f"`{parameter.path}`", " or ".join(parameter.kinds), f"`{shown}`" if shown else "", text.replace("|", "\\|")
