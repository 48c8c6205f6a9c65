"""What an operator looks at: members, conflicts, the history of an id; read from the journal while the engine works."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.keys import effect
from saltext_logilab.masters.records import MEMBER_SIZE

Data = dict[str, Any]


def members(journal: Journal) -> Data:
    """Return all members that there are and were by their fingerprint, the active first."""
    known = sorted(journal.group().members.values(), key=lambda one: (not one.is_active, one.name))
    return {
        one.fingerprint: {
            "name": one.name,
            "address": one.address,
            "state": one.state,
            **({} if one.is_active or not one.by else {"by": one.by, "at": _when(one.at)}),
        }
        for one in known
    }


def conflicts(journal: Journal) -> dict[str, list[Data]]:
    """Return the ids with different accepted keys: of each key its fingerprint, and which master decided when."""
    found = {subject: effect(known).rivals for subject, known in journal.records().items()}
    return {
        subject: [
            {
                "fingerprint": one.fingerprint,
                "state": one.state.value,
                "by": _name(journal, one.origin),
                "at": _when(one.at),
            }
            for one in rivals
        ]
        for subject, rivals in sorted(found.items())
        if rivals
    }


def history(journal: Journal, minion: str) -> list[Data]:
    """Return what was decided about ``minion``, the oldest first: what, which key, on which master, when."""
    return [
        {
            "at": _when(one.at),
            "decision": f"{one.state} (resolves a conflict)" if one.settles else one.state,
            "fingerprint": one.fingerprint,
            "by": _name(journal, one.origin),
            **({"actor": one.actor} if one.actor else {}),
        }
        for one in journal.history(minion)
    ]


def keys(told: Mapping[str, Mapping[str, Any]]) -> Data:
    """Return what the members answered about pending and denied keys: by id, state and fingerprint, who has it."""
    found: dict[str, dict[str, dict[str, list[str]]]] = {}
    counts: dict[str, Any] = {}
    for name, one in sorted(told.items()):
        if "error" in one:
            counts[name] = {"error": str(one["error"])}
            continue
        counts[name] = {}
        for state in ("pending", "denied"):
            answer = one["answer"].get(state, {})
            counts[name][state] = answer.get("count", 0)
            for minion, fingerprint in answer.get("keys", {}).items():
                found.setdefault(str(minion), {}).setdefault(state, {}).setdefault(str(fingerprint), []).append(name)
    return {"masters": counts, "keys": {minion: _capped(states) for minion, states in sorted(found.items())}}


def _capped(states: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
    """Return no more than five keys of one minion in a state: who floods pending keys fills no screen."""
    return {state: dict(sorted(prints.items())[:5]) for state, prints in states.items()}


def _name(journal: Journal, origin: bytes) -> str:
    member = journal.group().members.get(origin[:MEMBER_SIZE])
    return member.name if member else origin[:MEMBER_SIZE].hex()


def _when(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
