"""
The pull of a member's roots: what it offers takes the place of what is served here, or nothing is changed.

One pull at a time. It asks for the signed manifest, compares, fetches what is not here, builds the new trees beside the
roots and exchanges them. What has come is kept when it is cut off: the next pull goes on from there.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saltext_logilab.errors import LogilabError, RefusedError, UnavailableError, WireError
from saltext_logilab.masters.files import manifest as manifests
from saltext_logilab.masters.files.desk import ANSWER_SIZE, FileSource
from saltext_logilab.masters.files.manifest import NONCE_SIZE, Difference, Entry, Manifest, difference
from saltext_logilab.masters.files.offer import AT_ONCE, named
from saltext_logilab.masters.files.options import PullOptions
from saltext_logilab.masters.files.stage import Stage, check_root, finish, switch
from saltext_logilab.masters.files.trees import Tree, scan, stamp
from saltext_logilab.masters.guard import sentence
from saltext_logilab.masters.jobs.fleet import Peers

MANIFEST_PATIENCE = 300.0  # seconds: all files are read there
PATIENCE = 30.0
PAUSES = (1.0, 2.0, 4.0, 8.0)  # before a question is put again to a member that was lost
SHOWN = 50

Told = dict[str, Any]
Expected = Callable[[bytes, bytes], Manifest]
"""Returns what must stand in the manifest of the member with this short name, for this number."""


@dataclass
class _Work:
    """What is done about one tree."""

    name: str
    stage: Stage
    wanted: list[Entry]
    here: Tree
    differs: Difference
    stamp: bytes
    refused: str = ""

    def missing(self) -> list[Entry]:
        """Return one entry of each content that is not here."""
        here = self.here.contents()
        return list({one.digest: one for one in self.wanted if one.digest and one.digest not in here}.values())

    def data(self) -> Told:
        """Return what an operator is told of it."""
        if not self.differs:
            return {"root": str(self.stage.root), "same": True}
        lists = {"add": self.differs.add, "change": self.differs.change, "remove": self.differs.remove}
        return {
            "root": str(self.stage.root),
            "same": False,
            **{what: _capped(paths) for what, paths in lists.items() if paths},
            "bytes": sum(one.size for one in self.missing()),
            **({"links": self.here.links} if self.here.links else {}),
            **({"refused": self.refused} if self.refused else {}),
        }


@dataclass
class Puller:
    """
    What pulls on one member.

    :param folder: the member's state folder.
    :param done: called with what has been pulled from whom.
    """

    folder: Path
    options: PullOptions
    source: FileSource | None
    peers: Peers
    expected: Expected
    done: Callable[[Told], None]
    _told: Told = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None
    _stopping: bool = False

    # -- commands ------------------------------------------------------------------------------------------------------

    async def start(self, member: str, dry_run: bool) -> Told:
        """Begin to pull from ``member``; :raises RefusedError: that cannot be."""
        self._check_idle()
        short = self.peers.names().get(member)
        if short is None:
            raise RefusedError(f"{member!r} is no other member of the group (salt-run masters.members)")
        if self.source is None or not self.options.take:
            raise RefusedError("nothing here may be replaced: logilab:masters:pull:take is not set on this master")
        self._stopping = False
        self._told = {"member": member, "dry_run": dry_run, "began": time.time(), "step": "asking", "done": 0, "of": 0}
        self._task = asyncio.ensure_future(self._run(short, member, dry_run))
        return self.state()

    async def progress(self) -> Told:
        """Return the :meth:`state`."""
        return self.state()

    def state(self) -> Told:
        """
        Return how the pull is, or the last one; empty when there was none.

        ``member``, ``dry_run``, ``began``, ``step``, and of how many bytes (``of``) how many are ``done``. When it has
        ``ended`` its ``result``, or the ``error``.
        """
        return dict(self._told)

    def shown(self) -> Told:
        """Return the :meth:`state` without the result, for the health file."""
        return {key: value for key, value in self._told.items() if key != "result"}

    async def stop(self) -> bool:
        """Stop the pull before it changes anything; return whether there was one."""
        self._stopping = self._is_busy
        return self._stopping

    async def undo(self) -> Told:
        """Let what was served before the last pull take its place again; return by tree its root."""
        self._check_idle()
        if self.source is None:
            raise RefusedError("this master's files cannot be replaced")
        roots = named(self.source.roots(), self.options.take)
        stages = {name: Stage(root) for name, root in roots.items() if Stage(root).old.is_dir()}
        if not stages:
            raise RefusedError("nothing was pulled here, or what was served before is not there any more")
        await asyncio.to_thread(switch, self.folder, [one.old for one in stages.values()])
        await asyncio.to_thread(self.source.forget_lists)
        return {name: str(one.root) for name, one in stages.items()}

    @property
    def _is_busy(self) -> bool:
        return self._task is not None and not self._task.done()

    def _check_idle(self) -> None:
        if self._is_busy:
            told = self._told
            raise RefusedError(
                f"a pull from {told['member']} is at work ({told['step']}): `salt-run masters.pull stop=True` stops it"
            )

    # -- the work ------------------------------------------------------------------------------------------------------

    async def _run(self, short: bytes, member: str, dry_run: bool) -> None:
        try:
            result = await self._pull(short, dry_run)
        except Exception as err:  # noqa: BLE001 - the outermost loop of a task
            self._told |= {"error": sentence(err), "ended": time.time()}
            return
        if not dry_run and any(not one["same"] for one in result["trees"].values()):
            self.done({"member": member, "trees": sorted(result["trees"])})
        self._told |= {"result": {"member": member, "dry_run": dry_run, **result}, "step": "done", "ended": time.time()}

    async def _pull(self, short: bytes, dry_run: bool) -> Told:
        assert self.source is not None
        await asyncio.to_thread(finish, self.folder)
        nonce = secrets.token_bytes(NONCE_SIZE)
        told = await self.peers.ask(short, "manifest", nonce, timeout=MANIFEST_PATIENCE)
        signed = manifests.verify(told["manifest"], told["signature"], self.expected(short, nonce))
        roots = named(self.source.roots(), self.options.take)
        wanted = await self._wanted(short, signed, roots)
        self._step("comparing")
        work = await asyncio.to_thread(self._compare, wanted, roots)
        report = {"trees": {one.name: one.data() for one in work}, **_left_out(signed, told, roots, self.options.take)}
        if dry_run:
            return report
        due = [one for one in work if one.differs]
        for one in due:
            if one.refused:
                raise RefusedError(f"{one.name}: {one.refused}")
        if due:
            await self._replace(short, nonce, due)
        return report

    def _step(self, step: str) -> None:
        if self._stopping:
            raise RefusedError("the pull was stopped; nothing here was changed")
        self._told["step"] = step

    async def _wanted(self, short: bytes, signed: Manifest, roots: Mapping[str, Path]) -> dict[str, list[Entry]]:
        """Return the entries of all trees that are taken, as they were signed."""
        wanted = {}
        for name in sorted(signed.trees.keys() & roots.keys()):
            summary = signed.trees[name]
            self.options.limits.check(name, summary.files, summary.size)
            entries: list[Entry] = []
            while len(entries) < summary.files:
                self._step("asking")
                part = manifests.read(await self._ask(short, "entries", [signed.nonce, name, len(entries)]))
                if not part or len(entries) + len(part) > summary.files:
                    raise WireError("the files that were named are not those of the signed manifest")
                entries += part
            manifests.check(entries, summary)
            wanted[name] = entries
        return wanted

    def _compare(self, wanted: Mapping[str, list[Entry]], roots: Mapping[str, Path]) -> list[_Work]:
        assert self.source is not None
        work = []
        for name, entries in wanted.items():
            before = stamp(roots[name])
            ignored = self.source.is_ignored if name.startswith("files ") else lambda _path: False
            here = scan(roots[name], name, self.options.limits, ignored)
            found = _Work(name, Stage(roots[name]), entries, here, difference(here.entries, entries), before)
            if found.differs:
                found.refused = self._refusal(found)
            work.append(found)
        return work

    def _refusal(self, work: _Work) -> str:
        """Return why the root of ``work`` may not be replaced; empty when it may."""
        assert self.source is not None
        root = work.stage.root
        if work.here.copies:
            return f"{root}/{work.here.copies[0]} is of a version control system: let that bring the files"
        real = Path(os.path.realpath(root))
        others = [Path(os.path.realpath(one)) for each in self.source.roots().values() for one in each]
        nested = [one for one in others if one != real and (one.is_relative_to(real) or real.is_relative_to(one))]
        if nested or others.count(real) > 1:
            return f"{root} overlaps with another root ({nested[0] if nested else real})"
        for own in (*self.source.protected(), str(self.folder)):
            if Path(os.path.realpath(own)).is_relative_to(real):
                return f"{root} holds {own}, which is the master's own"
        try:
            check_root(root)
        except RefusedError as err:
            return str(err)
        return ""

    async def _replace(self, short: bytes, nonce: bytes, due: list[_Work]) -> None:
        assert self.source is not None
        try:
            for one in due:
                missing = [each for each in one.missing() if not one.stage.has(each)]
                size = sum(each.size - one.stage.begun(each) for each in missing)
                kept = sum(each.size for each in one.wanted) - sum(each.size for each in one.missing())
                await asyncio.to_thread(one.stage.prepare, size + kept)
                self._told["of"] += size
            for one in due:
                await self._fetch(short, nonce, one)
            for one in due:
                self._step("building")
                await asyncio.to_thread(one.stage.build, one.wanted, one.here.contents())
            self._step("switching")
            await self._switch(short, due)
        except LogilabError as err:
            if getattr(err.__cause__, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                for one in due:
                    await asyncio.to_thread(one.stage.clean)
            raise
        for one in due:
            await asyncio.to_thread(one.stage.clean)
        await asyncio.to_thread(self.source.forget_lists)

    async def _switch(self, short: bytes, due: list[_Work]) -> None:
        if short not in self.peers.names().values():
            raise RefusedError("the member that was pulled from is none any more: nothing here was changed")
        for one in due:
            if await asyncio.to_thread(stamp, one.stage.root) != one.stamp:
                raise RefusedError(f"{one.stage.root} was changed here meanwhile: nothing was replaced; pull again")
        await asyncio.shield(asyncio.to_thread(switch, self.folder, [one.stage.new for one in due]))

    async def _fetch(self, short: bytes, nonce: bytes, work: _Work) -> None:
        """Fetch the contents that are not here; what has come in an earlier pull is not asked for again."""
        numbers = {one.digest: number for number, one in enumerate(work.wanted)}
        missing = [one for one in work.missing() if not work.stage.has(one)]
        waiting = [(one, work.stage.begun(one)) for one in missing]
        resumed = {one.digest for one, begun in waiting if begun}
        while waiting:
            self._step("fetching")
            batch = _batch(waiting)
            asked = [[numbers[one.digest], offset] for one, offset in batch]
            pieces = await self._ask(short, "pieces", [nonce, work.name, asked])
            if not isinstance(pieces, list) or not 0 < len(pieces) <= len(batch):
                raise WireError("a member has answered with something else than contents")
            left = await asyncio.to_thread(self._keep, work.stage, batch, pieces, resumed)
            waiting = [*left, *waiting[len(pieces) :]]

    def _keep(
        self, stage: Stage, batch: list[tuple[Entry, int]], pieces: list[Any], resumed: set[bytes]
    ) -> list[tuple[Entry, int]]:
        """Keep the ``pieces`` that have come; return what is still lacking of their entries."""
        left = []
        for (entry, offset), piece in zip(batch, pieces, strict=False):
            if not isinstance(piece, bytes) or (not piece and offset < entry.size):
                raise RefusedError(f"{entry.path} has changed on the other member meanwhile: pull again")
            try:
                whole = stage.add(entry, offset, piece)
            except RefusedError:
                if entry.digest not in resumed:
                    raise
                resumed.discard(entry.digest)  # what an earlier pull has left is not the beginning of it
                left.append((entry, 0))
                continue
            self._told["done"] += len(piece)
            if not whole:
                left.append((entry, offset + len(piece)))
        return left

    async def _ask(self, short: bytes, what: str, about: Any) -> Any:
        """Ask, more than once: a link that was lost is made anew soon."""
        for pause in PAUSES:
            try:
                return await self.peers.ask(short, what, about, timeout=PATIENCE)
            except UnavailableError:
                await asyncio.sleep(pause)
                self._step(self._told["step"])
        return await self.peers.ask(short, what, about, timeout=PATIENCE)


def _batch(waiting: list[tuple[Entry, int]]) -> list[tuple[Entry, int]]:
    """Return the first of ``waiting`` that an answer may hold."""
    size = 0
    for count, (entry, offset) in enumerate(waiting[:AT_ONCE]):
        size += entry.size - offset + 64
        if size > ANSWER_SIZE:
            return waiting[: count + 1]
    return waiting[:AT_ONCE]


def _capped(paths: tuple[str, ...]) -> list[str]:
    more = len(paths) - SHOWN
    return [*paths[:SHOWN], *([f"… and {more} more"] if more > 0 else [])]


def _printable(text: str) -> str:
    """Return ``text``, another member's words, without what would steer a terminal."""
    return "".join(one if one.isprintable() else "?" for one in text)


def _left_out(signed: Manifest, told: Told, roots: Mapping[str, Path], take: tuple[str, ...]) -> Told:
    """Return by tree why it, or something of it, is not pulled."""
    found = {
        str(name): [_printable(str(one)[:500]) for one in each[:SHOWN]]
        for name, each in dict(told["left_out"]).items()
        if name in roots and isinstance(each, (list, tuple))
    }
    for name in signed.trees.keys() - roots.keys():
        if name.split(" ")[0] in take:
            found[name] = ["this master has no such root: it is not in file_roots or pillar_roots here, or not there"]
    for name in roots.keys() - signed.trees.keys():
        found[name] = ["the other member does not offer it: it stays as it is"]
    return {"left_out": dict(sorted(found.items()))} if found else {}
