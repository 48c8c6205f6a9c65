"""
Who is meant by a publication: every kind of target that a real minion matches by itself.

As ``salt/matchers`` of Salt 3008 do it; a target is compiled once for all minions. Ranges and Salt 3008's resources
(``R@``, ``T@``, ``M@``) match no fake minion: it has none.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from salt.utils.data import subdict_match
from salt.utils.minions import parse_target

DELIMITER = ":"


class Facts(Protocol):
    """What a target looks at."""

    @property
    def id(self) -> str:
        """The minion's id."""

    @property
    def grains(self) -> Mapping[str, Any]:
        """Its grains."""

    @property
    def pillar(self) -> Mapping[str, Any]:
        """Its pillar."""


Matcher = Callable[[Facts], bool]
Token = str | Matcher


def nobody(_facts: Facts) -> bool:
    """Match no minion."""
    return False


def compiled(load: Mapping[str, Any]) -> Matcher:
    """Return who is meant by the publication ``load``; a target that nobody understands is for nobody."""
    kind = str(load.get("tgt_type") or "glob")
    make = _MATCHERS.get(kind)
    if make is None:
        return nobody
    try:
        return make(load["tgt"], str(load.get("delimiter") or DELIMITER))
    except (TypeError, ValueError, re.error):
        return nobody


def _glob(target: Any, _delimiter: str) -> Matcher:
    pattern = re.compile(fnmatch.translate(_text(target)))
    return lambda facts: pattern.match(facts.id) is not None


def _pcre(target: Any, _delimiter: str) -> Matcher:
    pattern = re.compile(_text(target))
    return lambda facts: pattern.match(facts.id) is not None


def _list(target: Any, _delimiter: str) -> Matcher:
    ids = frozenset(target.split(",") if isinstance(target, str) else map(str, target))
    return lambda facts: facts.id in ids


def _ipcidr(target: Any, _delimiter: str) -> Matcher:
    network = ipaddress.ip_network(_text(target))
    single = "/" not in target
    grain = f"ipv{network.version}"

    def match(facts: Facts) -> bool:
        known = facts.grains.get(grain) or []
        addresses = [known] if isinstance(known, str) else known
        if single:
            return target in addresses
        return any(ipaddress.ip_address(address) in network for address in addresses)

    return match


def _data(source: str, *, regex: bool = False, exact: bool = False) -> Callable[[Any, str], Matcher]:
    """Return the maker of a matcher for values in the minions' ``source``: grains or pillar."""

    def make(target: Any, delimiter: str) -> Matcher:
        top, found, _ = _text(target).partition(delimiter)
        if not found:
            return nobody

        def match(facts: Facts) -> bool:
            whole: Mapping[str, Any] = getattr(facts, source)
            if top == "*":
                part = dict(whole)
            elif top in whole:
                part = {top: whole[top]}  # lazily made grains: no more of them than asked for
            else:
                return False
            return bool(subdict_match(part, target, delimiter, regex_match=regex, exact_match=exact))

        return match

    return make


def _compound(target: Any, _delimiter: str) -> Matcher:
    words = target.split() if isinstance(target, str) else list(target)
    return _Expression([_token(word) for word in words]).parse()


def _token(word: str) -> Token:
    if word in ("and", "or", "not", "(", ")"):
        return word
    info = parse_target(word)
    if not info or not info["engine"]:
        return _glob(word, DELIMITER)
    if info["engine"] in "RTM":
        return nobody
    if info["engine"] not in _ENGINES:
        raise ValueError(f"{word!r} is of no known kind")
    return _MATCHERS[_ENGINES[info["engine"]]](info["pattern"], info["delimiter"] or DELIMITER)


class _Expression:
    """A compound target: ``or`` binds least, then ``and``, then ``not``, as in Salt, which asks Python."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = list(tokens)

    def parse(self) -> Matcher:
        """Return the whole expression; :raises ValueError: it is none."""
        matcher = self._any()
        if self._tokens:
            raise ValueError("something is left over")
        return matcher

    def _any(self) -> Matcher:
        parts = [self._all()]
        while self._next("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda facts: any(part(facts) for part in parts)

    def _all(self) -> Matcher:
        parts = [self._not()]
        while self._next("and") or self._tokens[:1] == ["not"]:  # Salt puts the "and" that is missing before a "not"
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else lambda facts: all(part(facts) for part in parts)

    def _not(self) -> Matcher:
        if self._next("not"):
            if self._tokens[:1] == ["not"]:
                raise ValueError("a double not, which Salt does not take")
            inner = self._not()
            return lambda facts: not inner(facts)
        if self._next("("):
            inner = self._any()
            if not self._next(")"):
                raise ValueError("a bracket is open")
            return inner
        if not self._tokens or isinstance(self._tokens[0], str):
            raise ValueError("a target is missing")
        matcher = self._tokens.pop(0)
        assert not isinstance(matcher, str)
        return matcher

    def _next(self, word: str) -> bool:
        if self._tokens and self._tokens[0] == word:
            self._tokens.pop(0)
            return True
        return False


def _text(target: Any) -> str:
    if not isinstance(target, str):
        raise TypeError(f"a target that is no text: {target!r}")
    return target


_ENGINES = {
    "G": "grain",
    "P": "grain_pcre",
    "I": "pillar",
    "J": "pillar_pcre",
    "L": "list",
    "S": "ipcidr",
    "E": "pcre",
}
_MATCHERS: dict[str, Callable[[Any, str], Matcher]] = {
    "glob": _glob,
    "pcre": _pcre,
    "list": _list,
    "ipcidr": _ipcidr,
    "grain": _data("grains"),
    "grain_pcre": _data("grains", regex=True),
    "pillar": _data("pillar"),
    "pillar_pcre": _data("pillar", regex=True),
    "pillar_exact": _data("pillar", exact=True),
}
_MATCHERS["compound"] = _compound
