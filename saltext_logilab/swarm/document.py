"""
A YAML document whose every value knows its line, so that an error can name the line and the value.

The same :class:`Node` is made from plain Python data, for specifications that a program gives; it has no lines then.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from saltext_logilab.errors import ConfigurationError, UnavailableError

T = TypeVar("T")
D = TypeVar("D")

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MERGE = "tag:yaml.org,2002:merge"
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list"}


@dataclass(frozen=True)
class Node:
    """A value with its place: ``content`` is a scalar, a list of nodes, or a dict of nodes."""

    content: Any
    source: str
    line: int
    path: str

    def refuse(self, why: str, cause: Exception | None = None) -> NoReturn:
        """:raises ConfigurationError: always: this value cannot be used, because of ``why``; ``cause`` has told so."""
        line = f":{self.line}" if self.line else ""
        path = f"{self.path}: " if self.path else ""
        raise ConfigurationError(f"{self.source}{line}: {path}{why}") from cause

    def plain(self) -> Any:
        """Return the value as plain Python data."""
        if isinstance(self.content, dict):
            return {key: node.plain() for key, node in self.content.items()}
        if isinstance(self.content, list):
            return [node.plain() for node in self.content]
        return self.content

    def fields(self) -> Fields:
        """Return the keys of this mapping, to be taken one by one."""
        return Fields(self)

    def entries(self) -> list[tuple[str, Node]]:
        """Return the keys and values of this mapping, whose keys the user chooses."""
        return [(str(key), node) for key, node in self._mapping().items()]

    def items(self) -> list[Node]:
        """Return the elements of this list."""
        if not isinstance(self.content, list):
            self.refuse(f"must be a list, not {self.plain()!r}")
        return self.content

    def text(self) -> str:
        """Return this text."""
        return str(self._scalar(str))

    def flag(self) -> bool:
        """Return this true or false."""
        return bool(self._scalar(bool))

    def whole(self, low: int, high: int) -> int:
        """Return this whole number from ``low`` to ``high``."""
        number = int(self._scalar(int))
        if not low <= number <= high:
            self.refuse(f"{number} is out of bounds: {low} to {high}")
        return number

    def number(self, low: float = 0.0) -> float:
        """Return this number, at least ``low``."""
        number = float(self._scalar(float))
        if not low <= number < float("inf"):
            self.refuse(f"{number:g} is out of bounds: {low:g} or more")
        return number

    def rate(self) -> float:
        """Return this rate: 0 to 1, or a text such as ``2.5%``."""
        value = self.content
        if isinstance(value, str) and value.endswith("%"):
            try:
                value = float(value[:-1]) / 100
            except ValueError:
                self.refuse(f"{self.content!r} is no rate: 0 to 1, or 0% to 100%")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            self.refuse(f"{self.content!r} is no rate: 0 to 1, or 0% to 100%")
        return float(value)

    def seconds(self) -> float:
        """Return this duration in seconds: a number, or a text such as ``250ms``, ``5s``, ``2m``, ``1h``."""
        value = self.content
        if isinstance(value, str):
            unit = next((unit for unit in UNITS if value.endswith(unit)), "")
            try:
                value = float(value.removesuffix(unit)) * UNITS[unit]
            except (ValueError, KeyError):
                self.refuse(f"{self.content!r} is no duration: seconds, or 250ms, 5s, 2m, 1h")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
            self.refuse(f"{self.content!r} is no duration: seconds, or 250ms, 5s, 2m, 1h")
        return float(value)

    def one_of(self, known: tuple[str, ...]) -> str:
        """Return this text, which has to be one of ``known``."""
        if self.content not in known:
            self.refuse(f"{self.plain()!r} is not known{_hint(self.content, known)}")
        return str(self.content)

    def _mapping(self) -> dict[str, Node]:
        if not isinstance(self.content, dict):
            self.refuse(f"must be a mapping, not {self.plain()!r}")
        return self.content

    def _scalar(self, kind: type) -> Any:
        wanted = (int, float) if kind is float else (kind,)
        if not isinstance(self.content, wanted) or (isinstance(self.content, bool) and kind is not bool):
            self.refuse(f"must be {_KINDS[kind]}, not {self.plain()!r}")
        return self.content


class Fields:
    """A mapping of which the known keys are taken; :meth:`done` refuses the rest."""

    def __init__(self, node: Node) -> None:
        """Take from ``node``, a mapping (or nothing: an empty one)."""
        self.node = node
        self._left = {} if node.content is None else dict(node.entries())
        self._known: list[str] = []

    def take(self, key: str, read: Callable[[Node], T], default: D) -> T | D:
        """Return what ``read`` makes of the value of ``key``, or ``default`` when it is absent."""
        self._known.append(key)
        node = self._left.pop(key, None)
        return default if node is None else read(node)

    def need(self, key: str, read: Callable[[Node], T]) -> T:
        """Return what ``read`` makes of the value of ``key``, which has to be there."""
        self._known.append(key)
        if key not in self._left:
            for near in difflib.get_close_matches(key, self._left, n=1):
                self._left[near].refuse(f"{near!r} is not a known key (did you mean {key!r}?)")
            self.node.refuse(f"{key!r} is missing")
        return read(self._left.pop(key))

    def done(self) -> None:
        """Refuse what is left: unknown keys."""
        for key, node in self._left.items():
            node.refuse(f"{key!r} is not a known key{_hint(key, tuple(self._known))}")


def load(path: Path) -> Node:
    """
    Read the YAML document in the file ``path``.

    :raises UnavailableError: it cannot be read.
    :raises ConfigurationError: it is no YAML, or a key stands twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as err:
        raise UnavailableError(f"{path} cannot be read: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise ConfigurationError(f"{path} is no UTF-8 text") from err
    return parse(text, str(path))


def parse(text: str, source: str) -> Node:
    """Read ``text``, a YAML document out of ``source``; raises as :func:`load`."""
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            return Node(None, source, 1, "") if root is None else _node(loader, root, source, "")
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as err:
        line = f":{err.problem_mark.line + 1}" if err.problem_mark else ""
        raise ConfigurationError(f"{source}{line}: no YAML: {err.problem}") from err
    except (yaml.YAMLError, RecursionError) as err:
        raise ConfigurationError(f"{source}: no YAML: {err}") from err


def from_data(value: Any, source: str = "specification", path: str = "") -> Node:
    """Return ``value``, plain Python data, as a node."""
    if isinstance(value, Node):
        return value
    if isinstance(value, Mapping):
        value = {key: from_data(below, source, _join(path, key)) for key, below in value.items()}
    elif isinstance(value, (list, tuple)):
        value = [from_data(below, source, f"{path}[{number}]") for number, below in enumerate(value)]
    return Node(value, source, 0, path)


def _node(loader: yaml.SafeLoader, node: yaml.Node, source: str, path: str) -> Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return Node(dict(_pairs(loader, node, source, path)), source, line, path)
    if isinstance(node, yaml.SequenceNode):
        below = enumerate(node.value)
        return Node([_node(loader, one, source, f"{path}[{number}]") for number, one in below], source, line, path)
    return Node(loader.construct_object(node), source, line, path)


def _pairs(loader: yaml.SafeLoader, node: yaml.MappingNode, source: str, path: str) -> Iterator[tuple[Any, Node]]:
    seen: set[Hashable] = set()
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node)
        place = Node(None, source, key_node.start_mark.line + 1, _join(path, key))
        if key_node.tag == _MERGE or not isinstance(key, (str, int, float, bool)):
            place.refuse(f"{key_node.value!r} is no key here")
        if key in seen:
            place.refuse(f"{key!r} stands twice")
        seen.add(key)
        made = _node(loader, value_node, source, place.path)
        yield key, Node(made.content, source, place.line, place.path)


def _join(path: str, key: object) -> str:
    return f"{path}:{key}" if path else str(key)


def _hint(value: object, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(str(value), known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(sorted(known))})"
