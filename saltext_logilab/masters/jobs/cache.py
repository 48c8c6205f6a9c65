"""The job cache as a master asks it: the group's database and the master's own spool, taken together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TypeVar

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.jobs.database import Database
from saltext_logilab.masters.jobs.entries import Entry, Job, Kind, published
from saltext_logilab.masters.jobs.spool import Spool

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class JobCache:
    """One master's view: what it writes goes to the spool alone, what it reads comes from both."""

    spool: Spool
    database: Database

    def save_load(self, jid: str, blob: bytes, *, function: str, user: str, target: str) -> None:
        """Keep the packed load of a publication."""
        function, user, target = map(_text, (function, user, target))
        self._append(Entry(Kind.LOAD, jid, _at(jid), blob, function=function, user=user, target=target))

    def save_minions(self, jid: str, minions: Iterable[str]) -> None:
        """Keep for which minions a job is."""
        self._append(Entry(Kind.MINIONS, jid, _at(jid), minions=tuple(sorted(minions))))

    def save_return(self, jid: str, minion: str, blob: bytes, *, function: str, retcode: int | None) -> None:
        """Keep the packed return of a minion."""
        self._append(Entry(Kind.RETURN, jid, _at(jid), blob, minion=minion, function=_text(function), retcode=retcode))

    def _append(self, entry: Entry) -> None:
        self.spool.append([entry])

    def job(self, jid: str) -> Job:
        """Return what is known of the job ``jid``; without the database, what this master knows of the last hour."""
        found, here = self._ask(lambda: self.database.job(jid), Job()), self.spool.job(jid)
        found.load = found.load if found.load is not None else here.load
        found.minions |= here.minions
        found.returns = here.returns | found.returns
        return found

    def loads(self, count: int | None = None) -> dict[str, bytes]:
        """Return the packed loads of the newest jobs, all or so many, by jid; newest first."""
        stored: dict[str, tuple[str, bytes]] = self._ask(lambda: self.database.loads(count), {})
        found = self.spool.loads() | {jid: load for jid, (_, load) in stored.items()}
        return {jid: found[jid] for jid in sorted(found, reverse=True)[:count]}

    def last_returns(self, function: str) -> dict[str, str]:
        """Return for each minion the jid of its last return of ``function``."""
        return self._ask(lambda: self.database.last_returns(function), {})

    def masters(self, jids: Iterable[str]) -> dict[str, str]:
        """Return which master has started each of the jobs, where that is known."""
        wanted = list(jids)
        here = dict.fromkeys(self.spool.loads().keys() & set(wanted), self.database.master)
        stored: dict[str, str] = self._ask(lambda: self.database.masters(wanted), {})
        return here | stored

    def minions(self) -> list[str]:
        """Return the ids of all minions that have returned something."""
        return self._ask(self.database.minions, [])

    def _ask(self, question: Callable[[], T], otherwise: T) -> T:
        try:
            return question()
        except UnavailableError as err:
            log.error("The job cache tells only what this master knows of the last hour: %s", err)
            return otherwise


def _at(jid: str) -> datetime:
    return published(jid, datetime.now(tz=timezone.utc))


def _text(told: str) -> str:
    """Return ``told`` without what no database takes; any minion may have made it up."""
    return told.replace("\0", "").encode(errors="replace").decode()
