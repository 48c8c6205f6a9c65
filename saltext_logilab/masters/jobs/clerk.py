"""The clerk of a master's job cache: it files the spool into the group's database, and throws old days away."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from saltext_logilab import settings as package_settings
from saltext_logilab.errors import ConfigurationError, RefusedError
from saltext_logilab.masters.delivery import Delivery, deliver
from saltext_logilab.masters.jobs.database import Database
from saltext_logilab.masters.jobs.entries import Entry
from saltext_logilab.masters.jobs.spool import FILE, Spool

log = logging.getLogger(__name__)

AREA = "masters"
BATCH = 500
PRUNING = 3600.0  # seconds from one pruning to the next
KEEP_DAYS = 30


@dataclass(frozen=True)
class JobsSettings:
    """Where the group's jobs are kept, for how many days, and where this master's spool is."""

    dsn: str
    keep_days: int
    spool: Path


def read(opts: Mapping[str, Any]) -> JobsSettings:
    """
    Read ``logilab:masters:jobs`` of a master's configuration.

    :raises ConfigurationError: a setting is missing, unknown or of the wrong type.
    """
    section = package_settings.area(opts, AREA).sub("jobs")
    dsn, keep_days = section.take("dsn", str), section.take("keep_days", int, KEEP_DAYS)
    section.done()
    if keep_days < 1:
        raise ConfigurationError(f"{section.path}:keep_days must be at least 1, not {keep_days}")
    return JobsSettings(dsn, keep_days, package_settings.state_dir(opts, AREA) / FILE)


@dataclass
class Clerk:
    """What files the entries of ``spool`` into ``database``."""

    spool: Spool
    database: Database
    keep_days: int
    _prepared: bool = False
    _pruned: float = field(default=float("-inf"))

    def file(self) -> None:
        """File all that waits, oldest first; :raises UnavailableError: the database or the spool cannot be used."""
        if not self._prepared:
            self.database.prepare()
            self._prepared = True
        while waiting := self.spool.waiting(BATCH):
            self._write([entry for _, entry in waiting])
            self.spool.stored(number for number, _ in waiting)
        if time.monotonic() - self._pruned > PRUNING:
            self.database.prune(datetime.now(tz=timezone.utc) - timedelta(days=self.keep_days))
            self._pruned = time.monotonic()

    def _write(self, entries: Sequence[Entry]) -> None:
        """Write ``entries``; what the database will never take is left out, so that it does not hold up the rest."""
        try:
            self.database.write(entries)
        except RefusedError as err:
            if len(entries) == 1:
                log.error("The %s of job %r of minion %r is lost: %s", entries[0].kind.value, entries[0].jid,
                          entries[0].minion, err)  # fmt: skip
                return
            middle = len(entries) // 2
            self._write(entries[:middle])
            self._write(entries[middle:])

    def failed(self, problem: str) -> None:
        """Leave ``problem`` for the status; the tables may be other ones when the database is back."""
        self._prepared = False
        self.spool.fail(problem)


def run(opts: Mapping[str, Any]) -> None:
    """
    File the jobs of the master with ``opts`` until the master ends.

    :raises ConfigurationError: the configuration is wrong.
    :raises UnavailableError: the spool cannot be used, or psycopg is not installed.
    """
    settings = read(opts)
    clerk = Clerk(Spool(settings.spool), Database(settings.dsn, str(opts["id"])), settings.keep_days)
    deliver(settings.spool, [Delivery("the database of jobs", clerk.file, clerk.failed)])
