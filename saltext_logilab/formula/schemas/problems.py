"""
What is wrong with a pillar, and the words for it.

``FormulaError`` stands beside the package's own error tree, as it travels to minions that do not have the package.
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST = 60
HIDDEN = "(hidden, as it is a secret)"


class FormulaError(Exception):
    """A formula or its pillar is wrong; the text is for the user."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where (keys and indices from the top), and a sentence without its subject."""

    path: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return f"{':'.join(self.path)} {self.message}"


class PillarError(FormulaError):
    """All that is wrong with the pillar of one formula."""

    def __init__(self, formula: str, problems: Sequence[Problem]) -> None:
        """Keep ``problems``, which is not empty."""
        super().__init__(formula, problems)
        self.formula = formula
        self.problems = tuple(problems)

    def __str__(self) -> str:
        count = "a problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        return "\n  ".join([f"the pillar of the formula {self.formula} has {count}:", *map(str, self.problems)])


def show(value: Any, secret: bool = False) -> str:
    """Return ``value`` as a message shows it: cut where it is long, hidden where it is a secret."""
    if secret:
        return HIDDEN
    text = str(value) if isinstance(value, datetime.date) else repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def nearest(word: object, known: Iterable[object]) -> str:
    """Return " (did you mean …?)" for the one of ``known`` that is nearest to ``word``; empty when none is near."""
    found = difflib.get_close_matches(str(word), [str(one) for one in known], n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def alternatives(words: Sequence[str]) -> str:
    """Return ``words`` as a list with "or"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
