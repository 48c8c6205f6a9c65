"""
How a value of a minion is made: a constant, a template, a weighted choice, or a mapping or list of those.

In a specification a text with ``{{ … }}`` is a Jinja template, and a mapping with the only key ``choices`` is a choice.
A template that is one single expression keeps the type of its value: ``"{{ index }}"`` is a number.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jinja2
import jinja2.sandbox

from saltext_logilab.swarm.document import Node

_ENVIRONMENT = jinja2.sandbox.SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
_EXPRESSION = re.compile(r"\{\{((?:(?!\}\}|\{\{).)*)\}\}", re.S)


@dataclass(frozen=True)
class Scene:
    """What a recipe may look at: ``names`` are the variables of templates, ``chance`` gives a draw for a purpose."""

    names: Mapping[str, Any]
    chance: Callable[[str], float]


class Recipe(Protocol):
    """Something that makes a value."""

    def make(self, scene: Scene) -> Any:
        """Return the value in ``scene``."""


@dataclass(frozen=True)
class Constant:
    """Always the same value."""

    value: Any

    def make(self, scene: Scene) -> Any:  # noqa: ARG002  # the contract of Recipe
        """Return the value."""
        return self.value


@dataclass(frozen=True)
class Template:
    """A Jinja template; ``render`` gives its value, and ``node`` is its place in the specification."""

    text: str
    render: Callable[..., Any]
    node: Node

    def make(self, scene: Scene) -> Any:
        """
        Return the rendered value.

        :raises ConfigurationError: it cannot be rendered.
        """
        try:
            value = self.render(scene.names)
            if isinstance(value, jinja2.Undefined):
                str(value)  # a strict one raises, and says what is undefined
        except Exception as err:  # noqa: BLE001  # a template may raise anything
            self.node.refuse(f"the template {self.text!r} cannot be rendered: {err}", err)
        return value


@dataclass(frozen=True)
class Choice:
    """One of ``options``, by weight; ``bounds`` are the running sums of the weights, ``purpose`` names the draw."""

    options: tuple[Recipe, ...]
    bounds: tuple[float, ...]
    purpose: str

    def make(self, scene: Scene) -> Any:
        """Return the value of the option that the draw falls on."""
        at = bisect.bisect_right(self.bounds, scene.chance(self.purpose) * self.bounds[-1])
        return self.options[at].make(scene)


@dataclass(frozen=True)
class Table:
    """A mapping whose values are made."""

    fields: Mapping[str, Recipe]

    def make(self, scene: Scene) -> Any:
        """Return the whole mapping."""
        return {key: recipe.make(scene) for key, recipe in self.fields.items()}


@dataclass(frozen=True)
class Row:
    """A list whose elements are made."""

    elements: tuple[Recipe, ...]

    def make(self, scene: Scene) -> Any:
        """Return the whole list."""
        return [recipe.make(scene) for recipe in self.elements]


class Lazy(Mapping[str, Any]):
    """A mapping that makes a value when it is asked for: it costs a minion nothing to have many grains."""

    __slots__ = ("_fields", "_scene")

    def __init__(self, fields: Mapping[str, Recipe], scene: Scene) -> None:
        """Make the values of ``fields`` in ``scene``."""
        self._fields = fields
        self._scene = scene

    def __getitem__(self, key: str) -> Any:
        """Return the value of ``key``."""
        return self._fields[key].make(self._scene)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys."""
        return iter(self._fields)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._fields)


def recipe(node: Node) -> Recipe:
    """Return how the value ``node`` of a specification is made; raises as :meth:`Node.refuse`."""
    content = node.content
    if isinstance(content, dict):
        if set(content) == {"choices"}:
            return _choice(content["choices"])
        fields = {key: recipe(below) for key, below in content.items()}
        if all(isinstance(each, Constant) for each in fields.values()):
            return Constant(node.plain())
        return Table(fields)
    if isinstance(content, list):
        elements = tuple(map(recipe, content))
        return Constant(node.plain()) if all(isinstance(each, Constant) for each in elements) else Row(elements)
    if isinstance(content, str) and ("{{" in content or "{%" in content):
        return template(node)
    return Constant(content)


def template(node: Node) -> Template:
    """Return the text ``node`` as a template; raises as :meth:`Node.refuse`."""
    text = node.text()
    single = _EXPRESSION.fullmatch(text.strip())
    try:
        if single:
            return Template(text, _ENVIRONMENT.compile_expression(single[1], undefined_to_none=False), node)
        return Template(text, _ENVIRONMENT.from_string(text).render, node)
    except jinja2.TemplateError as err:
        node.refuse(f"{text!r} is no template: {err}")


def _choice(node: Node) -> Choice:
    if isinstance(node.content, list):
        options, weights = [recipe(one) for one in node.items()], [1.0] * len(node.content)
    else:
        pairs = list(node.content.items()) if isinstance(node.content, dict) else node.refuse("must be a mapping")
        options = [recipe(Node(key, one.source, one.line, one.path)) for key, one in pairs]
        weights = [one.number() for _, one in pairs]
    if not weights or not sum(weights):
        node.refuse(f"{node.plain()!r} has nothing to choose: at least one weight above 0")
    return Choice(tuple(options), tuple(itertools.accumulate(weights)), node.path)
