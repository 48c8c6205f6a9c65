"""What ``salt-run masters.status`` tells: the facts, and in one sentence each what is wrong."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from saltext_logilab.errors import UnavailableError
from saltext_logilab.identity import load
from saltext_logilab.masters import health, service
from saltext_logilab.masters.files import follow
from saltext_logilab.masters.group import Group
from saltext_logilab.masters.jobs.spool import FILE, Spool, Standing
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.records import member_id
from saltext_logilab.masters.settings import MastersSettings
from saltext_logilab.masters.stores.duty import SILENCE

STALE = 30.0
LAG = 10.0
DAY = 86400
_ABOUT = ("salt", "logilab", "master_key", "asks")


def status(settings: MastersSettings, now: float) -> dict[str, Any]:
    """
    Return the state of this member as plain data.

    ``ok`` is true when there are no ``problems`` (sentences). ``age``, ``for`` and ``heard`` are in seconds.

    :raises UnavailableError: the engine has never run here, or its state cannot be read.
    """
    seen = health.read(settings.folder)
    if seen is None:
        raise UnavailableError(
            f"the engine logilab_masters has not run on this master yet: {settings.folder} holds no state"
        )
    running = service.is_running(settings.folder)
    public = load(settings.identity).public if settings.identity.exists() else b""
    journal = open_journal(settings) if settings.journal.exists() else None
    try:
        return _Told(settings, seen, public, journal, running, now).data()
    finally:
        if journal:
            journal.close()


def open_journal(settings: MastersSettings) -> Journal:
    """Open the journal for reading; :raises UnavailableError: it cannot be."""
    try:
        return Journal(settings.journal)
    except sqlite3.Error as err:
        raise UnavailableError(f"the journal {settings.journal} cannot be read: {err}") from err


@dataclass(frozen=True)
class _Told:
    """What the health file, the journal and the clock say together."""

    _settings: MastersSettings
    _seen: Mapping[str, Any]
    _public: bytes
    _journal: Journal | None
    _running: bool
    _now: float

    @cached_property
    def _own(self) -> bytes:
        return member_id(self._public)

    @cached_property
    def _group(self) -> Group:
        return self._journal.group() if self._journal else Group({})

    @cached_property
    def _heard(self) -> dict[bytes, int]:
        known = self._journal.acknowledged() if self._journal else {}
        return {short: one.at for short, one in known.items()}

    def data(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        members = [self._member(short) for short in self._group.members]
        problems = [
            *self._own_problems(),
            *self._job_problems(),
            *self._store_problems(),
            *self._group_problems(),
            *self._proposals(),
            *self._peer_problems(members),
            *self._reports(),
        ]
        me = self._group.members.get(self._own)
        records = self._journal.counts() if self._journal else {}
        return {
            "ok": not problems,
            "group": me.state if me else "none",
            "engine": "running" if self._running else "stopped",
            "salt": self._seen.get("salt", "?"),
            "age": round(self._now - self._seen["written"], 1),
            "records": records,
            "held": self._seen.get("held", 0),
            **self._jobs(),
            **({"pull": self._seen["pull"]} if self._seen.get("pull") else {}),
            **self._store(),
            "conflicts": sum(one.kind == "conflict" for one in self._all_reports()),
            "members": {
                self._unique(one, members): one
                for one in sorted(members, key=lambda one: (not one["this"], one["name"]))
            },
            "problems": problems,
        }

    @staticmethod
    def _unique(member: Mapping[str, Any], members: list[dict[str, Any]]) -> str:
        """Return the member's name; of several with one name, with the fingerprint's beginning."""
        twins = sum(one["name"] == member["name"] for one in members)
        return member["name"] if twins == 1 else f"{member['name']} {member['fingerprint'][7:15]}"

    def _member(self, short: bytes) -> dict[str, Any]:
        """Return what is known of a member; a health file that another version has written may lack something."""
        member = self._group.members[short]
        seen = self._seen["peers"].get(member.fingerprint, {})
        heard = seen.get("heard") or self._heard.get(short)
        lagging = seen.get("lagging")
        about = seen.get("about", {}) if short != self._own else self._seen
        return {
            "name": member.name,
            "this": short == self._own,
            "fingerprint": member.fingerprint,
            "address": member.address,
            "state": member.state,
            "connected": bool(seen.get("connected")) and self._running,
            "for": round(self._now - seen.get("since", self._now), 1),
            "heard": round(self._now - heard, 1) if heard else None,
            "behind": seen.get("behind"),
            "lagging": round(self._now - lagging, 1) if lagging else 0.0,
            "differs": bool(seen.get("differs")),
            "refused": seen.get("refused", 0),
            "error": seen.get("error", ""),
            "by_store": self._running and self._now - seen.get("elsewhere", 0.0) < SILENCE,
            "data": str(about.get("data", "")),
            **{key: str(about.get(key, "")) for key in _ABOUT},
        }

    def _all_reports(self) -> list[Any]:
        return self._journal.reports() if self._journal else []

    def _reports(self) -> Iterator[str]:
        for one in self._all_reports():
            yield f"{one.subject}: {one.detail} ({_when(one.at)})"

    def _own_problems(self) -> Iterator[str]:
        age = self._now - self._seen["written"]
        if not self._running:
            yield f"the engine does not run on this master; what is shown was true {_span(age)} ago"
        elif age > STALE:
            yield f"the engine has not shown itself for {_span(age)}"
        yield from self._seen["errors"]
        if self._seen.get("waiting") and self._group.members:
            yield f"{self._seen['waiting']} ids wait to be applied to the key store"

    @cached_property
    def _spooled(self) -> Standing | None:
        """How the spool of jobs stands; None when no jobs are kept."""
        path = self._settings.folder / FILE
        if not self._settings.keeps_jobs or not path.exists():
            return None
        spool = Spool(path)
        try:
            return spool.standing()
        finally:
            spool.close()

    def _jobs(self) -> dict[str, Any]:
        one = self._spooled
        if one is None:
            return {}
        reached = round(self._now - one.reached, 1) if one.reached else None
        return {"jobs": {"waiting": one.waiting, "reached": reached}}

    def _job_problems(self) -> Iterator[str]:
        one = self._spooled
        if one and one.problem:
            span = _span(self._now - (one.since or self._now))
            yield f"the database of jobs takes nothing for {span}, {one.waiting} entries wait: {one.problem}"
        elif one and one.oldest and self._now - one.oldest > STALE:
            span = _span(self._now - one.oldest)
            yield f"{one.waiting} entries wait for the database of jobs, for {span}: does the engine logilab_jobs run?"

    def _store(self) -> dict[str, Any]:
        """
        Return how the store is, if there is one.

        ``lag`` is for how many seconds something waits to be written; ``refilled`` how long ago it did not hold what
        this master had written, and was filled again, None when that was not so in the last hour.
        """
        one = self._seen.get("store")
        if not one or not one["place"]:  # in no group there is nothing to carry
            return {}
        return {
            "store": {
                "place": one["place"],
                "connected": one["connected"] and self._running,
                "for": round(self._now - one["since"], 1),
                "waiting": one["waiting"],
                "lag": round(self._now - one["lagging"], 1) if one["lagging"] else 0.0,
                "error": one["error"],
                "refilled": round(self._now - one["set_back"], 1) if one["set_back"] else None,
            }
        }

    def _store_problems(self) -> Iterator[str]:
        one, own = self._store().get("store"), self._seen.get("store")
        if not one or not own or not self._running:
            return
        if not one["connected"]:
            reason = f": {one['error']}" if one["error"] else ""
            waiting = f", {one['waiting']} changes wait" if one["waiting"] else ""
            yield f"the store ({one['place']}) is away for {_span(one['for'])}{waiting}{reason}"
        elif one["lag"] > LAG:
            yield f"{one['waiting']} changes wait for the store ({one['place']}) for {_span(one['lag'])}"
        yield from own["troubles"]
        for name in own["differs"]:
            yield f"{name} has other records than this master, as it says in the store"

    def _group_problems(self) -> Iterator[str]:
        me = self._group.members.get(self._own)
        if me is None and self._running:
            yield "this master is in no group: `salt-run masters.init` makes one, `salt-run masters.join` enters one"
        for short, member in self._group.members.items():
            who = "this master" if short == self._own else member.name
            if member.state == "suspended":
                yield (
                    f"{who} and another master have evicted each other: both are suspended until an operator names the"
                    " survivor, by `salt-run masters.evict` of the other one"
                )
            if short == self._own and member.state in ("left", "evicted"):
                gone = "let go" if member.state == "left" else member.state
                yield f"this master was {gone} by {member.by}: `salt-run masters.leave` makes room to join"
            elif member.state == "evicted" and member.master_key == self._seen.get("master_key"):
                yield f"{who} was evicted and knows Salt's master key: rotate it on all masters (see the documentation)"

    def _proposals(self) -> Iterator[str]:
        """Tell what waits for a second member, where two must agree."""
        members = self._group.members
        for one in self._group.proposals:
            by, about = members[one.by].name, members[one.about].name
            if one.by == self._own:
                yield f"this master has proposed to evict {about}: `salt-run masters.evict {about}` on another agrees"
            elif one.by != one.about:
                yield f"{by} has proposed to evict {about} ({_when(one.at)}): `salt-run masters.evict {about}` agrees"

    def _peer_problems(self, members: list[dict[str, Any]]) -> Iterator[str]:
        for one in members:
            if one["this"] or one["state"] not in ("active", "suspended"):
                continue
            name = self._unique(one, members)
            silent = one["heard"] is not None and one["heard"] > self._settings.silence_days * DAY
            if silent:
                yield (
                    f"{name} has been silent for {_span(one['heard'])}; what was deleted is kept for it:"
                    f" `salt-run masters.evict {name}` if it does not come back"
                )
            elif self._running:
                yield from self._link_problems(name, one)

    def _link_problems(self, name: str, one: Mapping[str, Any]) -> Iterator[str]:
        own_key = self._seen.get("master_key")
        if not one["connected"] and one["by_store"]:
            if set(one["data"].split()) & set(self._settings.data):
                reason = f" ({one['error']})" if one["error"] else ""
                yield f"{name} is reached over the store only{reason}: minion data, jobs and files do not go that way"
            elif one["behind"] and one["lagging"] > LAG:
                yield f"{name} has not acknowledged {one['behind']} changes of this master"
        elif not one["connected"]:
            reason = f": {one['error']}" if one["error"] else ""
            yield f"{name} has not been connected for {_span(one['for'])}{reason}"
        elif one["behind"] and one["lagging"] > LAG:
            yield f"{name} has not acknowledged {one['behind']} changes of this master"
        elif one["differs"]:
            yield f"{name} has other records than this master"
        elif one["refused"]:
            yield f"{name} passes on records of a member that this master does not know"
        if one["asks"]:
            yield f"{name} asks to agree: {one['asks']}; `salt-run masters.confirm member={name}` has them deleted"
        if one["master_key"] and own_key and one["master_key"] != own_key:
            yield f"{name} has another master key than this master: a minion takes only one of them"


def table(name: str, found: Mapping[str, Any]) -> str:
    """Return the status ``found`` of the master ``name`` as text for people."""
    lines = []
    if found.get("members"):
        rows = [["MASTER", "ADDRESS", "LINK", "HEARD", "BEHIND", "RECORDS", "SALT", "LOGILAB"]]
        rows += [_row(member, facts, found) for member, facts in found["members"].items()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        counts = [f"{count} {state}" for state, count in found["records"].items()]
        lines += ["", f"records: {', '.join(counts)}; conflicts: {found['conflicts']}; held: {found['held']}"]
    lines += [_pull(found["pull"])] if "pull" in found else []
    if "store" in found:
        one = found["store"]
        link = f"{'up' if one['connected'] else 'AWAY'} for {_span(one['for'])}"
        lines += [f"store: {one['place']}, {link}; changes that wait for it: {one['waiting']}"]
        if one["refilled"] is not None:
            lines += [f"it was found emptied, set back or changed, and filled again, {_span(one['refilled'])} ago"]
    if "jobs" in found:
        lines += [f"jobs that wait for the database: {found['jobs']['waiting']}"]
    lines += [f"PROBLEM: {sentence}" for sentence in found["problems"]] or ["All masters agree."]
    return "\n".join(lines) if lines else name


def _row(name: str, one: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    if one["this"]:
        return [f"{name} (this)", one["address"], f"engine {found['engine']}", "", "", "", one["salt"], one["logilab"]]
    if one["state"] in ("left", "evicted"):
        return [name, one["address"], one["state"], *[""] * 5]
    link = f"{'up' if one['connected'] else 'DOWN'} for {_span(one['for'])}"
    link = f"by the store, {link}" if one["by_store"] and not one["connected"] else link
    link = link if one["state"] == "active" else f"{one['state']}, {link}"
    heard = "never" if one["heard"] is None else f"{_span(one['heard'])} ago"
    behind = "?" if one["behind"] is None else str(one["behind"])
    records = "differ" if one["differs"] else "same" if one["behind"] == 0 and one["connected"] else "?"
    return [name, one["address"], link, heard, behind, records, one["salt"] or "?", one["logilab"] or "?"]


def _pull(told: Mapping[str, Any]) -> str:
    """Return how a pull of files is, or how the last one has ended."""
    kind = "dry run of a pull" if told["dry_run"] else "pull"
    if "ended" not in told:
        return follow.sentence(told)
    return f"last {kind}: from {told['member']}, {_when(int(told['ended']))}, {told.get('error') or 'done'}"


def _span(seconds: float) -> str:
    for unit, size in (("d", DAY), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _when(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
