"""What a member gives to others that pull its roots: a signed manifest, its entries in parts, pieces of contents."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saltext_logilab.errors import RefusedError, UnavailableError, WireError
from saltext_logilab.identity import Identity
from saltext_logilab.masters.files.desk import ANSWER_SIZE, FileSource
from saltext_logilab.masters.files.manifest import NONCE_SIZE, Entry, Manifest, summary
from saltext_logilab.masters.files.options import PullOptions
from saltext_logilab.masters.files.trees import Tree, scan

AT_ONCE = 256  # contents in one answer
KEPT = 3600.0  # seconds for which a manifest is good


@dataclass(frozen=True)
class _Given:
    """What was given to one member."""

    nonce: bytes
    trees: Mapping[str, Tree]
    at: float


@dataclass
class Offer:
    """
    What answers the questions of a pull.

    :param founder: returns the raw public key of the group's founder.
    :param clock: seconds that only go forward.
    """

    source: FileSource | None
    options: PullOptions
    identity: Identity
    founder: Callable[[], bytes]
    clock: Callable[[], float] = time.monotonic
    _given: dict[bytes, _Given] = field(default_factory=dict)

    async def manifest(self, public: bytes, about: Any) -> dict[str, Any]:
        """
        Answer with a signed manifest of all that is offered; ``about`` is the number that the taker has made up.

        ``left_out`` tells by tree what cannot be given, and why.
        """
        if not isinstance(about, bytes) or len(about) != NONCE_SIZE:
            raise WireError("a question for files is malformed")
        if self.source is None or not self.options.offer:
            raise UnavailableError("this master offers no files: logilab:masters:pull:offer is not set there")
        trees = await asyncio.to_thread(self._read)
        now = self.clock()
        self._given = {one: given for one, given in self._given.items() if now - given.at < KEPT}
        self._given[public] = _Given(about, trees, now)
        told = {name: summary(tree.entries) for name, tree in trees.items()}
        made = Manifest(self.founder(), self.identity.public, public, about, int(time.time()), told)
        blob, signature = made.sign(self.identity)
        left_out = {name: tree.left_out for name, tree in trees.items() if tree.left_out}
        return {"manifest": blob, "signature": signature, "left_out": left_out}

    def _read(self) -> dict[str, Tree]:
        source, options = self.source, self.options
        assert source is not None
        source.forget_lists()  # so that what is given is what is served
        return {
            name: scan(root, name, options.limits, source.is_ignored if name.startswith("files ") else lambda _: False)
            for name, root in named(source.roots(), options.offer).items()
        }

    async def entries(self, public: bytes, about: Any) -> list[Any]:
        """Answer with as many entries of a tree as fit, from one on: ``about`` is the manifest's number and both."""
        tree, begin = self._asked(public, about)
        if type(begin) is not int or begin < 0:
            raise WireError("a question for files is malformed")
        part: list[Any] = []
        size = 0
        for entry in tree.entries[begin:]:
            size += len(entry.path.encode()) + 64
            if part and size > ANSWER_SIZE:
                break
            part.append(entry.wire())
        return part

    async def pieces(self, public: bytes, about: Any) -> list[bytes]:
        """
        Answer with contents: ``about`` is the manifest's number, the tree, and numbers of entries with offsets.

        As many of them as fit; of the last one perhaps only a part.
        """
        tree, wanted = self._asked(public, about)
        if not isinstance(wanted, (list, tuple)) or not 0 < len(wanted) <= AT_ONCE:
            raise WireError("a question for files is malformed")
        asked = [_place(tree.entries, one) for one in wanted]
        return await asyncio.to_thread(_pieces, tree.root, asked)

    def _asked(self, public: bytes, about: Any) -> tuple[Tree, Any]:
        nonce, name, what = about if isinstance(about, (list, tuple)) and len(about) == 3 else (b"", "", None)
        given = self._given.get(public)
        if given is None or given.nonce != nonce:
            raise UnavailableError("the manifest is not known here any more: pull again")
        tree = given.trees.get(name) if isinstance(name, str) else None
        if tree is None:
            raise WireError("a question for files is malformed")
        return tree, what


def named(roots: Mapping[str, list[str]], kinds: tuple[str, ...]) -> dict[str, Path]:
    """
    Return the roots of ``kinds`` by name: ``files base``, ``pillar base``; further ones of a tree ``files base 2``, ….

    Roots that are not there are passed over, as Salt does.
    """
    found = {}
    for tree, folders in roots.items():
        if tree.split(" ")[0] in kinds:
            for number, folder in enumerate(folders, 1):
                if os.path.isdir(folder):  # noqa: PTH112 - told as text
                    found[tree if number == 1 else f"{tree} {number}"] = Path(folder)
    return found


def _place(entries: list[Entry], one: Any) -> tuple[Entry, int]:
    number, offset = one if isinstance(one, (list, tuple)) and len(one) == 2 else (None, None)
    if type(number) is not int or type(offset) is not int or not 0 <= number < len(entries) or offset < 0:
        raise WireError("a question for files is malformed")
    return entries[number], offset


def _pieces(root: Path, asked: list[tuple[Entry, int]]) -> list[bytes]:
    found: list[bytes] = []
    room = ANSWER_SIZE
    for entry, offset in asked:
        try:
            with (root / entry.path).open("rb") as file:
                file.seek(offset)
                piece = file.read(max(0, min(room, entry.size - offset)))
        except OSError as err:
            raise RefusedError(f"{entry.path} has changed meanwhile: {err.strerror}") from err
        found.append(piece)
        room -= len(piece) + 64
        if room <= 0:
            break
    return found
