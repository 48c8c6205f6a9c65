"""The files of all members, as one of them tells an operator: which trees are equal, and where they differ."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from saltext_logilab.errors import LogilabError
from saltext_logilab.masters.files.desk import Desk
from saltext_logilab.masters.jobs.fleet import Peers

PATIENCE = 25.0  # seconds: file servers hash what they have not hashed before
REFRESH_PATIENCE = 50.0  # and fetch from remote repositories; who takes longer goes on by itself
SHOWN = 50

Told = dict[str, Any]
Asks = Mapping[str, Any]


@dataclass(frozen=True)
class Fleet:
    """What one member, called ``name``, can tell of the files of all."""

    name: str
    desk: Desk
    peers: Peers

    async def files(self) -> Told:
        """Return what :func:`compared` says of all members, and of the trees that differ the paths that do."""
        told = await self._ask_all("files", PATIENCE)
        found = compared(told)
        answered = [name for name, one in told.items() if "answer" in one]
        for name, tree in found["trees"].items():
            if not tree["same"]:
                listed = await asyncio.gather(*(_told(self._paths(one, name)) for one in answered))
                pairs = zip(answered, listed, strict=True)
                tree.update(different({one: paths["answer"] for one, paths in pairs if "answer" in paths}))
        return found

    async def refresh(self) -> Told:
        """Have all members look at their sources; return by name True, or the sentence that says why not."""
        told = await self._ask_all("refresh", REFRESH_PATIENCE)
        return {name: one.get("answer", one.get("error")) for name, one in told.items()}

    async def _ask_all(self, what: str, patience: float) -> Told:
        asks = self._asks()
        told = await asyncio.gather(*(_told(ask(what, None, timeout=patience)) for ask in asks.values()))
        return dict(zip(asks, told, strict=True))

    async def _paths(self, member: str, tree: str) -> dict[str, bytes]:
        """Return all paths that ``member`` serves in ``tree``, with the digests of what is in them."""
        ask = self._asks()[member]
        found: dict[str, bytes] = {}
        after, more = "", True
        while more:
            part = await ask("paths", [tree, after], timeout=PATIENCE)
            found.update((str(path), bytes(one)) for path, one in part["paths"])
            after, more = max(found, default=""), part["more"] and part["paths"]
        return found

    def _asks(self) -> Asks:
        """Return by name what asks each member, this one among them."""
        others = {name: partial(self.peers.ask, short) for name, short in self.peers.names().items()}
        return {self.name: self._here, **others}

    async def _here(self, what: str, about: Any, *, timeout: float) -> Any:  # noqa: ARG002 - as peers are asked
        answers = {"files": self.desk.digests, "paths": self.desk.paths, "refresh": self.desk.refresh}
        return await answers[what](b"", about)


async def _told(work: Awaitable[Any]) -> Told:
    try:
        return {"answer": await work}
    except LogilabError as err:
        return {"error": str(err)}


def compared(told: Mapping[str, Told]) -> Told:
    """
    Return what the members' answers say together.

    ``masters``: by name the number of files of each tree, or why it has not answered (``error``). ``trees``: by name
    whether all that have answered serve the ``same``, and the ``digest`` of each.
    """
    answers = {name: one["answer"] for name, one in told.items() if "answer" in one}
    masters = {
        name: {tree: count for tree, (_, count) in one["answer"].items()}
        if "answer" in one
        else {"error": one["error"]}
        for name, one in told.items()
    }
    trees = {}
    for tree in sorted({tree for one in answers.values() for tree in one}):
        digests = {name: one[tree][0] if tree in one else "" for name, one in answers.items()}
        trees[tree] = {"same": len(set(digests.values())) == 1, "digest": digests}
    return {"masters": masters, "trees": trees}


def different(known: Mapping[str, Mapping[str, bytes]]) -> Told:
    """
    Return the paths that are not the same on all members that are ``known``.

    ``paths``: by path, of each member the beginning of the digest of what it serves, empty where it has none; no more
    than :data:`SHOWN`, ``left_out`` is the number of the others.
    """
    paths = sorted({path for tree in known.values() for path in tree})
    unlike = [path for path in paths if len({tree.get(path) for tree in known.values()}) > 1]
    shown = {path: {name: tree.get(path, b"").hex() for name, tree in known.items()} for path in unlike[:SHOWN]}
    return {"paths": shown, "left_out": len(unlike) - len(shown)}
