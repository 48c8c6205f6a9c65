"""The jobs of all members, as one of them tells an operator: it asks the others and names those that do not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from saltext_logilab.errors import LogilabError, UnavailableError
from saltext_logilab.masters.control import ANSWER_LIMIT
from saltext_logilab.masters.jobs.desk import Desk

PATIENCE = 20.0  # seconds for an answer from a job cache on a disk
RUNNING_PATIENCE = 45.0  # seconds for one from all minions, dead ones too

Told = dict[str, Any]
Decode = Callable[[bytes], Any]


class Peers(Protocol):
    """What is needed of the links with the other members."""

    def names(self) -> dict[str, bytes]:
        """Return the short names of the active ones by name."""
        ...

    async def ask(self, short: bytes, what: str, about: Any, timeout: float) -> Any:
        """Ask one; :raises UnavailableError: it does not answer."""
        ...


@dataclass(frozen=True)
class Fleet:
    """What one member, called ``name``, can tell of the jobs of all; without peers those of its own job cache."""

    name: str
    desk: Desk
    peers: Peers | None = None

    async def jobs(self, count: int) -> Told:
        """Return by member the ``answer`` with its newest jobs, or the ``error``."""
        return await self._ask_all("jobs", count, self.desk.newest, PATIENCE)

    async def active(self) -> Told:
        """Return by member the ``answer`` with the jobs that its minions work on, or the ``error``."""
        return await self._ask_all("active", None, self.desk.running, RUNNING_PATIENCE)

    async def job(self, jid: str) -> Told:
        """Return by member the ``answer`` with what it knows of the job ``jid``, or the ``error``."""
        asks = self._asks()
        room = ANSWER_LIMIT // 2 // (1 + len(asks))

        async def whole(ask: Callable[[str, Any], Awaitable[Told]]) -> Told:
            found: Told = {"job": b"", "returns": [], "left_out": False}
            size, after, more = 0, "", True
            while more and size < room:
                part = await ask("job", [jid, after])
                found["job"] = found["job"] or part["job"]
                found["returns"] += part["returns"]
                size += sum(len(told) if isinstance(told, bytes) else 0 for _, told in part["returns"])
                after, more = (part["returns"][-1][0], part["more"]) if part["returns"] else ("", False)
            return {**found, "left_out": more}

        own = _told(whole(lambda _, about: self.desk.job(b"", about)))
        told = await asyncio.gather(own, *(_told(whole(partial(ask, timeout=PATIENCE))) for ask in asks.values()))
        return dict(zip([self.name, *asks], told, strict=True))

    async def _ask_all(
        self, what: str, about: Any, here: Callable[[bytes, Any], Awaitable[Told]], patience: float
    ) -> Told:
        asks = self._asks()
        asked = [_told(ask(what, about, timeout=patience)) for ask in asks.values()]
        told = await asyncio.gather(_told(here(b"", about)), *asked)
        return dict(zip([self.name, *asks], told, strict=True))

    def _asks(self) -> dict[str, Callable[..., Awaitable[Told]]]:
        """Return by name what asks each of the others."""
        names = self.peers.names() if self.peers else {}
        return {name: partial(self.peers.ask, short) for name, short in names.items() if self.peers}


async def _told(work: Awaitable[Told]) -> Told:
    try:
        return {"answer": await work}
    except LogilabError as err:
        return {"error": str(err)}


# -- what the answers say together -------------------------------------------------------------------------------------


def listed(told: Mapping[str, Told], decode: Decode) -> Told:
    """
    Return the jobs that the members have told, the newest first, and the number of each one's.

    A job that several know is told once: of the master that its entry names, else of the one in whose cache it is.
    """
    masters: Told = {}
    jobs: dict[str, Any] = {}
    for name, one in told.items():
        if "error" in one:
            masters[name] = {"error": str(one["error"])}
            continue
        answer = one["answer"]
        masters[name] = {"jobs": len(answer["jobs"]), **_unless(answer.get("left_out", 0), "left_out")}
        for jid, blob in answer["jobs"]:
            entry = decode(blob)
            here = name if entry.pop("Here", True) else ""
            master = entry.pop("Master", "") or here
            known = jobs.setdefault(str(jid), {"Master": master, **entry})
            known["Master"] = known["Master"] or master
            for each in ("Running", "Returned"):
                if each in entry:
                    known[each] = [*known[each], *(one for one in entry[each] if one not in known[each])]
    return {"masters": masters, "jobs": {jid: jobs[jid] for jid in sorted(jobs, reverse=True)}}


def job(told: Mapping[str, Told], jid: str, decode: Decode) -> Told:
    """
    Return what the members know of the job ``jid``, with each minion's return, wherever it was kept.

    :raises UnavailableError: no member that has answered knows it.
    """
    errors = {name: {"error": str(one["error"])} for name, one in told.items() if "error" in one}
    found: Told = {}
    results: Told = {}
    cut = []
    for name, answer in ((name, one["answer"]) for name, one in told.items() if "answer" in one):
        if answer["job"] and not found:
            entry = decode(answer["job"])
            found = {"jid": jid, "Master": entry.pop("Master", "") or name, **entry}
        for minion, blob in answer["returns"]:
            large = {"error": f"a return of {blob} bytes: salt-run jobs.lookup_jid {jid} on {name} shows it"}
            results.setdefault(str(minion), decode(blob) if isinstance(blob, bytes) else large)
        cut += [name] if answer["left_out"] else []
    if not found and not results:
        unheard = "".join(f"; {name}: {one['error']}" for name, one in errors.items())
        raise UnavailableError(f"no master that has answered knows the job {jid}{unheard}")
    return {
        **(found or {"jid": jid}),
        "Result": dict(sorted(results.items())),
        **_unless(errors, "masters"),
        **_unless(cut, "left_out"),
    }


def _unless(value: Any, name: str) -> Told:
    """Return ``value`` under ``name``, unless it says nothing."""
    return {name: value} if value else {}
