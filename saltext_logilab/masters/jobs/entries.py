"""What a job cache holds, as facts: publications, the minions they were for, and returns."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import Enum

_JID = re.compile(r"(\d{20})(_\d+)?")
PAST, FUTURE = timedelta(days=7), timedelta(days=1)


class Kind(str, Enum):
    """What an entry is."""

    LOAD = "load"
    MINIONS = "minions"
    RETURN = "return"


@dataclass(frozen=True)
class Entry:
    """
    One thing that a master wants to keep of a job.

    :param at: when the job was published, to which all of a job's entries are filed.
    :param minion: who returned, of a return.
    :param minions: of the minions that a job is for.
    :param blob: the whole load or return, as Salt packs it: text and bytes come back as they were.
    """

    kind: Kind
    jid: str
    at: datetime
    blob: bytes = b""
    minion: str = ""
    minions: tuple[str, ...] = ()
    function: str = ""
    user: str = ""
    target: str = ""
    retcode: int | None = None


def published(jid: str, now: datetime) -> datetime:
    """
    Return when the job ``jid`` was published, in UTC, as its id says; else ``now``.

    Anybody with an accepted key can return any id: one that lies more than a week back or a day ahead is not believed.
    """
    if not (found := _JID.fullmatch(jid)):
        return now
    try:
        told = datetime.strptime(found[1], "%Y%m%d%H%M%S%f").replace(tzinfo=timezone.utc)
    except ValueError:
        return now
    return told if now - PAST <= told <= now + FUTURE else now


@dataclass
class Job:
    """A job as it was found: its packed load, if it is known, its minions, and the packed returns by minion."""

    load: bytes | None = None
    minions: set[str] = field(default_factory=set)
    returns: dict[str, bytes] = field(default_factory=dict)
    master: str = ""

    def add(self, entry: Entry) -> None:
        """Add what ``entry`` says; what is known already stays, as in Salt's own cache."""
        if entry.kind is Kind.LOAD and self.load is None:
            self.load = entry.blob
        elif entry.kind is Kind.MINIONS:
            self.minions |= set(entry.minions)
        elif entry.kind is Kind.RETURN:
            self.returns.setdefault(entry.minion, entry.blob)
