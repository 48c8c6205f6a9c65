"""
The hold of a member that is behind: while it serves other files than a reference member, its minions apply no states.

When it begins and ends is told by a pure function, :func:`after_a_look`. It begins only when the reference has said
what it serves and that was something else for a while; somebody who cannot be reached begins nothing. It ends when both
are equal, when an operator says so, and by itself: then the same files of the reference do not begin it again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from saltext_logilab import files
from saltext_logilab.errors import RefusedError, UnavailableError
from saltext_logilab.masters.files.desk import Desk
from saltext_logilab.masters.files.fleet import PATIENCE
from saltext_logilab.masters.files.options import HoldOptions
from saltext_logilab.masters.guard import sentence
from saltext_logilab.masters.jobs.fleet import Peers
from saltext_logilab.patience import within

NAME = "hold.json"
LOOKS = (1.0, 60.0)  # seconds between two looks: a quarter of ``after``, within these

Digests = Mapping[str, str]


@dataclass(frozen=True)
class Standing:
    """
    How a member stands to its reference; times are Unix times, 0 is never.

    ``differs``: since when it serves other ``trees``. ``since`` and ``until``: the hold. ``seen``: what the reference
    served when it was last heard during the hold; ``spent``: what it served when one had expired, or was ended by an
    operator.
    """

    differs: float = 0.0
    since: float = 0.0
    until: float = 0.0
    trees: tuple[str, ...] = ()
    spent: str = ""
    seen: str = ""

    def is_held(self, now: float) -> bool:
        """Say whether the member is held; a clock that was set back ends it."""
        return self.since <= now < self.until


def after_a_look(was: Standing, own: Digests, theirs: Digests | None, now: float, options: HoldOptions) -> Standing:
    """
    Return how a member stands after a look.

    :param own: by tree the digest of what it serves.
    :param theirs: the same of the reference; None when that has not said it.
    """
    held = was.is_held(now)
    if theirs is None:
        return was if held else Standing(spent=was.seen or was.spent)
    trees = tuple(sorted(name for name, one in theirs.items() if own.get(name) != one))
    if not trees:
        return Standing()
    seen = mark(theirs)
    differs = was.differs or now
    if held:
        return replace(was, differs=differs, trees=trees, seen=seen)
    if was.until or was.spent == seen:  # a hold has just expired, or has ended for the same files
        return Standing(differs, trees=trees, spent=seen)
    begun = Standing(differs, now, now + 60 * options.minutes, trees, seen=seen)
    return begun if now - differs >= options.after else Standing(differs, trees=trees)


def mark(digests: Digests) -> str:
    """Return what stands for all that a member serves."""
    return sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()[:16]


def read(folder: Path) -> Standing:
    """Return how the member with the state ``folder`` stands; :raises UnavailableError: it cannot be read."""
    told = files.read(folder / NAME)
    try:
        found = json.loads(told) if told else {}
        return Standing(**{**found, "trees": tuple(found.get("trees", ()))})
    except (ValueError, TypeError, AttributeError) as err:
        raise UnavailableError(f"{folder / NAME} is damaged: {err}") from err


def reason(name: str, reference: str, standing: Standing) -> str:
    """Return why the minions of the master ``name`` apply no states now, and what helps."""
    until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(standing.until))
    return (
        f"the master {name} is held until {until}, because it serves other files than {reference}"
        f" ({', '.join(standing.trees)}): bring them up to date (salt-run masters.files shows what differs), or end the"
        f" hold by `salt-run masters.release` on {name}, or say force=True for one run"
    )


@dataclass
class Watch:
    """
    What compares the member ``name`` with its reference, again and again.

    :param folder: its state folder.
    :param tell: fires an event, ``held`` or ``released``.
    :param news: called when something has changed that the status shows.
    """

    name: str
    folder: Path
    options: HoldOptions
    desk: Desk
    peers: Peers
    tell: Callable[[str, dict[str, Any]], None]
    news: Callable[[], None]
    error: str = ""
    _standing: Standing = field(default_factory=Standing)
    _due: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_due(self) -> bool:
        """Whether there is a reference, and it is another member."""
        return self.options.reference not in ("", self.name)

    def look_soon(self) -> None:
        """Say that what is served has changed."""
        self._due.set()

    async def run(self) -> None:
        """Look until cancelled."""
        self._standing = read(self.folder)
        pause = min(max(self.options.after / 4, LOOKS[0]), LOOKS[1])
        while True:
            await self._look()
            self._due.clear()
            try:
                await within(pause, self._due.wait())
            except asyncio.TimeoutError:
                continue

    async def release(self) -> dict[str, Any]:
        """End the hold; it does not begin again before the reference serves something else."""
        if not self._standing.is_held(time.time()):
            raise RefusedError("this master is not held")
        theirs = await self._theirs()
        self._keep(Standing(trees=self._standing.trees, spent=mark(theirs) if theirs else self._standing.seen))
        return {"released": True}

    def sentence(self) -> str:
        """Return that this member is held, or why it cannot be told; empty when nothing is to tell."""
        if not self.is_due:
            return ""
        if self._standing.is_held(time.time()):
            return reason(self.name, self.options.reference, self._standing)
        return self.error

    async def _look(self) -> None:
        theirs = await self._theirs()
        own: dict[str, str] = {}
        if theirs is not None:
            try:
                own = _digests(await self.desk.digests(b"", None))
            except Exception as err:  # noqa: BLE001 - what cannot be told here holds nobody
                self._fail(f"the hold cannot compare what is served here: {sentence(err)}")
                theirs = None
        self._keep(after_a_look(self._standing, own, theirs, time.time(), self.options))

    async def _theirs(self) -> dict[str, str] | None:
        reference = self.options.reference
        short = self.peers.names().get(reference)
        if short is None:
            self._fail(f"logilab:masters:hold:reference is {reference!r}, which is no member of the group")
            return None
        try:
            found = _digests(await self.peers.ask(short, "files", None, timeout=PATIENCE))
        except UnavailableError:
            return None  # masters.status names it already
        self._fail("")
        return found

    def _keep(self, standing: Standing) -> None:
        was, self._standing = self._standing, standing
        if was == standing:
            return
        files.replace(self.folder / NAME, json.dumps(asdict(standing)))
        now = time.time()
        if standing.is_held(now) != was.is_held(now):
            what = "held" if standing.is_held(now) else "released"
            self.tell(what, {"reference": self.options.reference, "trees": list(standing.trees or was.trees)})
        self.news()

    def _fail(self, error: str) -> None:
        if self.error != error:
            self.error = error
            self.news()


def _digests(told: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(one[0]) for name, one in told.items()}
