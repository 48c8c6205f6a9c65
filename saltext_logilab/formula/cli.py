"""The command ``salt-formula``: check pillars and formulas, make a new formula, write what follows from schemas."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from saltext_logilab import __version__
from saltext_logilab.errors import LogilabError, UnavailableError
from saltext_logilab.formula import catalogue, dialect, example, packaged, pillarfile, skeleton
from saltext_logilab.formula.pillarfile import Finding
from saltext_logilab.formula.schemas.formula import SCHEMA, Formula
from saltext_logilab.formula.schemas.problems import FormulaError


def main(arguments: list[str] | None = None) -> int:
    """Run ``salt-formula``; return its exit code: 0, 1 for what is wrong, 2 for wrong usage."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.function(given))
    except (LogilabError, FormulaError) as err:
        _say(f"salt-formula: {err}", error=True)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="salt-formula", description="Formulas and their pillars.")
    parser.add_argument("--version", action="version", version=f"salt-formula {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="check pillar files, and folders of formulas, against the schemas")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    check.add_argument("--formulas", action="append", default=[], type=Path, metavar="DIR", help="more formulas")
    check.add_argument("--os-family", help="check for this os_family (default: the first that a formula supports)")
    check.set_defaults(function=_check)
    new = commands.add_parser("new", help="make a formula with schema and test, which works as it is")
    new.add_argument("name")
    new.add_argument("--into", type=Path, default=Path(), metavar="DIR", help="where its folder is made (here)")
    new.set_defaults(function=_new)
    generate = commands.add_parser("generate", help="write the example pillars and the editors' schema of formulas")
    generate.add_argument("formulas", type=Path, metavar="FORMULAS", help="the folder of the formulas")
    generate.add_argument("pillars", type=Path, metavar="PILLARS", help="the folder of the example pillars")
    generate.set_defaults(function=_generate)
    return parser


def _check(given: argparse.Namespace) -> int:
    formulas: dict[str, Formula] = {}
    for root in (packaged.formulas(), *given.formulas):
        formulas |= _read_all(root)
    wrong = 0
    for file in given.files:
        if file.is_dir() or file.name == SCHEMA:
            found = _check_formula(file if file.is_dir() else file.parent)
        else:
            found = pillarfile.read(file, formulas, given.os_family)
        for one in found:
            _say(f"{file}:{one.line}: {one.text}")
        wrong += sum(one.wrong for one in found)
    return 1 if wrong else 0


def _check_formula(folder: Path) -> list[Finding]:
    try:
        return [Finding(1, str(problem)) for problem in dialect.check(catalogue.read(folder))]
    except (OSError, FormulaError) as err:
        return [Finding(1, str(err))]


def _read_all(root: Path) -> dict[str, Formula]:
    if not root.is_dir():
        raise UnavailableError(f"{root} is no folder of formulas")
    try:
        return catalogue.read_all(root)
    except OSError as err:
        raise UnavailableError(f"a formula in {root} cannot be read: {err}") from err


def _new(given: argparse.Namespace) -> int:
    for file in skeleton.write(given.name, given.into):
        _say(str(file))
    return 0


def _generate(given: argparse.Namespace) -> int:
    formulas = _read_all(given.formulas)
    for path, text in generated(formulas, given.formulas, given.pillars).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            _say(str(path))
    return 0


def generated(formulas: dict[str, Formula], root: Path, pillars: Path) -> dict[Path, str]:
    """Return the files that follow from the schemas of ``formulas``, with their texts."""
    files = {pillars / f"{name}.sls": example.pillar(formula) for name, formula in formulas.items()}
    return {**files, root / example.SCHEMA_FILE: example.combined(formulas.values())}


def _say(text: str, error: bool = False) -> None:
    (sys.stderr if error else sys.stdout).write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
