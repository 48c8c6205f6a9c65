"""
The state folder of a member when its journal is damaged, was lost, or belongs to a group that it has left.

Beside the journal stands the group's founder with all records about members: enough to find the others again, and to
know them. Nothing is thrown away: what is not used any more is put into a folder of its own.
"""

from __future__ import annotations

import base64
import json
import logging
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from saltext_logilab import files
from saltext_logilab.errors import UnavailableError
from saltext_logilab.identity import Identity
from saltext_logilab.masters import group
from saltext_logilab.masters.journal import FRESH, DamagedError, Journal
from saltext_logilab.masters.kinds import chain

log = logging.getLogger(__name__)

GROUP = "group.json"
JOURNAL = ("journal.db", "journal.db-wal", "journal.db-shm")


def open_journal(path: Path, identity: Identity) -> Journal:
    """
    Open the journal at ``path``; one that is damaged is put away, and made anew from what is known of the group.

    :raises UnavailableError: it cannot be opened or made.
    """
    try:
        journal = Journal(path, identity)
    except DamagedError as err:
        log.error("%s: it is made anew from the other members and the key store", err)
        put_away(path.parent, JOURNAL, "damaged")
        journal = Journal(path, identity)
    if not journal.founder:
        _recall(journal, path.with_name(GROUP))
    return journal


def keep(journal: Journal) -> None:
    """
    Write down the group of ``journal``, atomically, where its loss does no harm.

    :raises UnavailableError: it cannot be written.
    """
    pairs = [[_text(blob), _text(signature)] for blob, signature in journal.beyond({}, group.KIND)]
    told = json.dumps({"founder": _text(journal.founder), "records": pairs})
    path = journal.path.with_name(GROUP)
    try:
        if path.exists() and path.read_text(encoding="ascii") == told:
            return
    except OSError as err:
        raise UnavailableError(f"{path} cannot be read: {err.strerror}") from err
    files.replace(path, told)


def put_away(folder: Path, names: Iterable[str], why: str) -> None:
    """Move the files ``names`` of ``folder`` into a new folder of it, named after ``why`` and the time."""
    place = Path(tempfile.mkdtemp(dir=folder, prefix=time.strftime(f"{why}-%Y%m%d-%H%M%S-", time.gmtime())))
    for name in names:
        if (folder / name).exists():
            (folder / name).rename(place / name)


def _recall(journal: Journal, path: Path) -> None:
    """Enter the group that is written down at ``path``: the journal was lost, the group is not."""
    try:
        told = json.loads(path.read_text(encoding="ascii"))
        founder = base64.b64decode(told["founder"])
        records = chain(founder, [(base64.b64decode(one), base64.b64decode(two)) for one, two in told["records"]])
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise UnavailableError(f"{path} is damaged; remove it, and join the group anew") from err
    if not founder:
        return
    journal.enter(founder)
    journal.set_note(FRESH, b"due")
    journal.merge(records, {})


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
