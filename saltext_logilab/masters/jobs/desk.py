"""
What a member tells the others about its jobs: the newest ones, one with its returns, those that run; in answers of
limited size, each job as Salt packs it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from saltext_logilab.errors import UnavailableError, WireError
from saltext_logilab.masters.link import MESSAGE_LIMIT

COUNT_LIMIT = 1000
ANSWER_SIZE = MESSAGE_LIMIT // 2
_JID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class JobSource(Protocol):
    """A master's job cache; each method may take seconds, and raises UnavailableError when it cannot tell."""

    def newest(self, count: int) -> dict[str, bytes]:
        """Return the newest jobs, packed, by job id, the newest first."""
        ...

    def job(self, jid: str) -> tuple[bytes, dict[str, bytes]]:
        """Return the job ``jid``, packed (empty when it is not known), and its returns, packed, by minion."""
        ...

    def running(self) -> dict[str, bytes]:
        """Return the jobs that this master's minions work on, packed, by job id."""
        ...


@dataclass(frozen=True)
class Desk:
    """What answers the questions about jobs; the key of the member that asks does not matter."""

    source: JobSource | None

    async def newest(self, _public: bytes, about: Any) -> dict[str, Any]:
        """Answer with the newest ``about`` jobs, and how many of them found no room."""
        if type(about) is not int or not 0 < about <= COUNT_LIMIT:
            raise WireError(f"the number of jobs must be between 1 and {COUNT_LIMIT}, not {about!r}")
        return _listed(await asyncio.to_thread(self._source.newest, about))

    async def running(self, _public: bytes, _about: Any) -> dict[str, Any]:
        """Answer with the jobs that run, and how many of them found no room."""
        return _listed(await asyncio.to_thread(self._source.running))

    async def job(self, _public: bytes, about: Any) -> dict[str, Any]:
        """
        Answer with a job and those of its returns that follow a minion, in the order of ids: ``about`` is both.

        A return that is too large for an answer is told by its size in bytes. ``more``: there are further ones.
        """
        jid, after = about if isinstance(about, (list, tuple)) and len(about) == 2 else ("", "")
        if not isinstance(jid, str) or not _JID.fullmatch(jid) or not isinstance(after, str):
            raise WireError(f"{str(jid)[:80]!r} is no job id")
        load, returns = await asyncio.to_thread(self._source.job, jid)
        waiting = [(minion, returns[minion]) for minion in sorted(returns) if minion > after]
        small = [(minion, blob if len(blob) <= ANSWER_SIZE else len(blob)) for minion, blob in waiting]
        part = _fitting(small)
        return {"job": load, "returns": part, "more": len(part) < len(waiting)}

    @property
    def _source(self) -> JobSource:
        if self.source is None:
            raise UnavailableError("this master has no job cache that can be asked")
        return self.source


def _listed(found: Mapping[str, bytes]) -> dict[str, Any]:
    jobs = _fitting(found.items())
    return {"jobs": jobs, "left_out": len(found) - len(jobs)}


def _fitting(pairs: Iterable[tuple[str, bytes | int]]) -> list[list[Any]]:
    """Return the first of ``pairs``, as many as fit into an answer, but one at least."""
    part: list[list[Any]] = []
    size = 0
    for name, told in pairs:
        size += len(name) + (len(told) if isinstance(told, bytes) else 8) + 16
        if part and size > ANSWER_SIZE:
            break
        part.append([name, told])
    return part
