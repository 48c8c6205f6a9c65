"""Pillar files as people write them: what in one is wrong, and on which line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from saltext_logilab.formula.schemas.formula import Formula
from saltext_logilab.formula.schemas.problems import Problem, nearest

_TEMPLATE = re.compile(r"{[{%]|^#!(?!\s*yaml\s*$)", re.M)


@dataclass(frozen=True)
class Finding:
    """A sentence about a line (from 1) of a file; ``wrong`` is false for a mere hint."""

    line: int
    text: str
    wrong: bool = True


def examine(text: str, formulas: Mapping[str, Formula], family: str | None = None) -> list[Finding]:
    """
    Return what is wrong with the pillar file ``text``.

    A file that holds Jinja cannot be read without the minion that it is rendered for: that is a hint, no fault.

    :param family: the ``os_family`` whose defaults count; by default the first that a formula supports.
    """
    if found := _TEMPLATE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        hint = "not checked, as it is a template: `salt-run formula.validate` checks what it gives to each minion"
        return [Finding(line, hint, wrong=False)]
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        return [Finding(mark.line + 1 if mark else 1, f"is no YAML: {getattr(err, 'problem', None) or err}")]
    if values is None:
        return []
    if not isinstance(values, Mapping):
        return [Finding(1, "a pillar file must be a mapping")]
    return sorted(_findings(node, values, formulas, family), key=lambda one: one.line)


def _findings(
    node: Any, values: Mapping[Any, Any], formulas: Mapping[str, Formula], family: str | None
) -> list[Finding]:
    found = []
    for key, value in values.items():
        if key in formulas:
            grains = {"os_family": family or next(iter(formulas[key].systems), None)}
            problems = formulas[key].examine(grains, value)[1]
            found += [Finding(line_of(node, problem), str(problem)) for problem in problems]
        elif hint := nearest(key, formulas):
            found.append(Finding(line_of(node, Problem((str(key),), "")), f"{key} is the key of no formula{hint}"))
    return found


def line_of(node: yaml.Node, problem: Problem) -> int:
    """Return the line (from 1) of the deepest part of ``problem``'s path that is in the file."""
    line = node.start_mark.line
    for step in problem.path:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == step), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
            node = node.value[int(step)]
            line = node.start_mark.line
        else:
            break
    return int(line) + 1


def read(path: Path, formulas: Mapping[str, Formula], family: str | None) -> list[Finding]:
    """Return what is wrong with the pillar file ``path``; one that cannot be read is one finding."""
    try:
        return examine(path.read_text(encoding="utf-8"), formulas, family)
    except (OSError, UnicodeDecodeError) as err:
        return [Finding(1, f"cannot be read: {err}")]
