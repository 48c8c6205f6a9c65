"""
What a member tells the others about the files that it serves: a digest of each tree, and the paths of one tree in
answers of limited size.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from saltext_logilab.errors import UnavailableError, WireError
from saltext_logilab.masters.link import MESSAGE_LIMIT

ANSWER_SIZE = MESSAGE_LIMIT // 2


class FileSource(Protocol):
    """What a master serves; each method may take long, and raises UnavailableError when it cannot tell."""

    def trees(self) -> dict[str, dict[str, bytes]]:
        """Return by tree (``files base``, ``pillar base``, …) each path with a digest of its content."""
        ...

    def refresh(self) -> None:
        """Look at the sources anew."""

    def roots(self) -> dict[str, list[str]]:
        """Return by tree (``files base``, ``pillar base``, …) the folders that it is served from, in their order."""
        ...

    def is_ignored(self, path: str) -> bool:
        """Say whether the file server passes over ``path``, below a root of files."""
        ...

    def protected(self) -> list[str]:
        """Return the folders of the master's own, which no pull may replace."""
        ...

    def forget_lists(self) -> None:
        """Let the file server look at its roots anew."""


@dataclass
class Desk:
    """What answers the questions about files; the key of the member that asks does not matter."""

    source: FileSource | None
    _trees: dict[str, dict[str, bytes]] = field(default_factory=dict)

    async def digests(self, _public: bytes, _about: Any) -> dict[str, Any]:
        """Answer with digest and number of files of each tree; what was told stays for :meth:`paths`."""
        self._trees = await asyncio.to_thread(self._source.trees)
        return {name: [digest(tree), len(tree)] for name, tree in self._trees.items()}

    async def paths(self, _public: bytes, about: Any) -> dict[str, Any]:
        """
        Answer with the paths of a tree that follow one, in their order: ``about`` is both.

        ``more``: there are further ones.
        """
        name, after = about if isinstance(about, (list, tuple)) and len(about) == 2 else (None, None)
        if not isinstance(name, str) or not isinstance(after, str):
            raise WireError("a question about files is malformed")
        waiting = sorted(one for one in self._trees.get(name, {}) if one > after)
        part: list[list[Any]] = []
        size = 0
        for path in waiting:
            size += len(path.encode()) + 16
            if part and size > ANSWER_SIZE:
                break
            part.append([path, self._trees[name][path]])
        return {"paths": part, "more": len(part) < len(waiting)}

    async def refresh(self, _public: bytes, _about: Any) -> bool:
        """Look at the sources anew."""
        await asyncio.to_thread(self._source.refresh)
        return True

    @property
    def _source(self) -> FileSource:
        if self.source is None:
            raise UnavailableError("this master's files cannot be asked for")
        return self.source


def digest(tree: Mapping[str, bytes]) -> str:
    """Return a digest of the paths of ``tree`` and of what is in them, 16 hexadecimal digits."""
    whole = hashlib.sha256()
    for path in sorted(tree):
        whole.update(path.encode() + b"\0" + tree[path])
    return whole.hexdigest()[:16]
