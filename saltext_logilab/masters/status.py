"""What ``salt-run masters.status`` tells: the facts, and in one sentence each what is wrong."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from typing import Any

from saltext_logilab.errors import UnavailableError
from saltext_logilab.identity import load
from saltext_logilab.masters import health, service
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.settings import MastersSettings

STALE = 30.0
LAG = 10.0


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
    peers = {name: _peer(peer, running, now) for name, peer in seen["peers"].items()}
    for peer in settings.peers:
        peers[peer.name] = {"address": str(peer.address), "fingerprint": peer.fingerprint, **peers.get(peer.name, {})}
    records, reports = _journal(settings) if settings.journal.exists() else ({}, [])
    problems = [*_own_problems(seen, running, now), *_peer_problems(peers, running), *reports]
    return {
        "ok": not problems,
        "fingerprint": load(settings.identity).fingerprint,
        "listen": str(settings.listen),
        "engine": "running" if running else "stopped",
        "salt": seen.get("salt", "?"),
        "age": round(now - seen["written"], 1),
        "records": records,
        "peers": peers,
        "problems": problems,
    }


def _peer(seen: Mapping[str, Any], running: bool, now: float) -> dict[str, Any]:
    """Return what the health file says of a peer; one that another version has written may lack something."""
    heard, lagging = seen.get("heard"), seen.get("lagging")
    return {
        "connected": bool(seen.get("connected")) and running,
        "for": round(now - seen.get("since", now), 1),
        "heard": round(now - heard, 1) if heard else None,
        "behind": seen.get("behind"),
        "lagging": round(now - lagging, 1) if lagging else 0.0,
        "differs": bool(seen.get("differs")),
        "refused": seen.get("refused", 0),
        "error": seen.get("error", ""),
        "versions": seen.get("versions", {}),
    }


def _journal(settings: MastersSettings) -> tuple[dict[str, int], list[str]]:
    journal = Journal(settings.journal)
    try:
        reports = [f"{one.subject}: {one.detail} ({_when(one.at)})" for one in journal.reports()]
        return journal.counts(), reports
    except sqlite3.Error as err:
        raise UnavailableError(f"the journal {settings.journal} cannot be read: {err}") from err
    finally:
        journal.close()


def _own_problems(seen: Mapping[str, Any], running: bool, now: float) -> list[str]:
    problems = list(seen["errors"])
    age = now - seen["written"]
    if not running:
        problems.insert(0, f"the engine does not run on this master; what is shown was true {_span(age)} ago")
    elif age > STALE:
        problems.insert(0, f"the engine has not shown itself for {_span(age)}")
    if seen.get("waiting"):
        problems.append(f"{seen['waiting']} ids wait to be applied to the key store")
    return problems


def _peer_problems(peers: Mapping[str, Mapping[str, Any]], running: bool) -> list[str]:
    problems = []
    for name, peer in sorted(peers.items()) if running else ():
        if "address" not in peer:
            problems.append(f"{name} is no longer configured, but the running engine knows it: restart this master")
        elif "connected" not in peer:
            problems.append(f"{name} is configured, but the running engine does not know it: restart this master")
        elif not peer["connected"]:
            reason = f": {peer['error']}" if peer["error"] else ""
            problems.append(f"{name} has not been connected for {_span(peer['for'])}{reason}")
        elif peer["behind"] and peer["lagging"] > LAG:
            problems.append(f"{name} has not acknowledged {peer['behind']} changes of this master")
        elif peer["differs"]:
            problems.append(f"{name} has other records than this master")
        elif peer["refused"]:
            problems.append(f"{name} passes on records of a member that is no peer of this master")
    return problems


def table(name: str, found: Mapping[str, Any]) -> str:
    """Return the status ``found`` of the master ``name`` as text for people."""
    lines = []
    if "peers" in found:
        rows = [["MASTER", "ADDRESS", "LINK", "HEARD", "BEHIND", "SALT"]]
        rows.append([f"{name} (this)", found["listen"], f"engine {found['engine']}", "", "", found["salt"]])
        rows += [_row(peer, facts) for peer, facts in sorted(found["peers"].items())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines += ["", "records: " + ", ".join(f"{count} {state}" for state, count in found["records"].items())]
    lines += [f"PROBLEM: {sentence}" for sentence in found["problems"]] or ["All masters agree."]
    return "\n".join(lines)


def _row(name: str, peer: Mapping[str, Any]) -> list[str]:
    if "connected" not in peer:
        return [name, peer["address"], "unknown", "", "", ""]
    link = f"{'up' if peer['connected'] else 'DOWN'} for {_span(peer['for'])}"
    heard = "never" if peer["heard"] is None else f"{_span(peer['heard'])} ago"
    behind = "?" if peer["behind"] is None else str(peer["behind"])
    return [name, peer.get("address", "not configured"), link, heard, behind, peer["versions"].get("salt", "?")]


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _when(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
