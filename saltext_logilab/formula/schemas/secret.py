"""Secrets at places of a pillar that the schema does not mark as secret (``writeOnly: true``)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .problems import Problem
from .references import Schema, fitting, items, member

_KEY = re.compile(r"(^|[_.-])(pass|passwd|password|passphrase|secret|token|api_?key|private_?key)$", re.I)
_PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def looks_secret(key: str, value: Any) -> bool:
    """Say whether ``value`` under ``key`` seems to be a password, a token or a private key."""
    return isinstance(value, str) and bool(value) and bool(_PRIVATE.search(value) or _KEY.search(key))


def misplaced(schema: Schema, value: Any, path: tuple[str, ...] = ()) -> list[Problem]:
    """Return a problem for each secret in ``value`` at a place that is not marked; ``path`` stands before each."""
    return list(_walk(schema, value, path, schema))


def _walk(schema: Schema, value: Any, path: tuple[str, ...], root: Schema) -> Iterator[Problem]:
    schema = fitting(schema, value, root)
    if schema.get("writeOnly"):
        return
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _walk(member(schema, key), one, (*path, str(key)), root)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _walk(items(schema), one, (*path, str(index)), root)
    elif looks_secret(path[-1] if path else "", value):
        yield Problem(path, "looks like a secret, but this is no place for one: it would be shown in logs and files")
