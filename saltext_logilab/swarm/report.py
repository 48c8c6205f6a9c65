"""
What a swarm has seen, for a person and for a program: written by ``salt-swarm run``, shown by ``salt-swarm report``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saltext_logilab.errors import ConfigurationError, UnavailableError

FORMAT = 1
MOST_PROBLEMS = 1000
MOST_SAMPLES = 3600

_LINES = (
    ("jobs published", "publications"),
    ("asked of minions", "asked"),
    ("answered", "answered"),
    ("of these failed, as told", "failed"),
    ("dropped, as told", "dropped"),
    ("missed while away, as told", "absent"),
    ("lost", "lost"),
    ("requests repeated", "retried"),
    ("sign-ins", "sign_ins"),
    ("sign-ins refused", "refusals"),
    ("events", "events"),
    ("beacons", "beacons"),
    ("mine updates", "mines"),
    ("moves to the next master", "failovers"),
    ("moves back to the first", "failbacks"),
)


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Write a report; the file is the old one or the new one, whole."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(json.dumps({"format": FORMAT, **values}), encoding="utf-8")
        new.replace(path)
    except OSError as err:
        raise UnavailableError(f"the report {path} cannot be written: {err.strerror}") from err


def read(path: Path) -> dict[str, Any]:
    """
    Read a report.

    :raises UnavailableError: it cannot be read.
    :raises ConfigurationError: it is none.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise UnavailableError(f"the report {path} cannot be read: {err.strerror}") from err
    except ValueError as err:
        raise ConfigurationError(f"{path} is no report of salt-swarm") from err
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ConfigurationError(f"{path} is no report of this salt-swarm")
    return values


def line(values: Mapping[str, Any]) -> str:
    """Return the state in one line."""
    counts, latency = values["counts"], values["latency"]
    parts = [
        f"{values['joined']} of {values['wanted']} joined",
        f"{counts['answered']} returns ({values.get('rate', 0.0):.0f}/s)",
    ]
    if counts["answered"]:
        parts.append(f"p50 {_duration(latency['p50'])} p99 {_duration(latency['p99'])}")
    parts += [f"{counts[key]} {key}" for key in ("dropped", "lost") if counts[key]]
    return " · ".join(parts)


def text(values: Mapping[str, Any]) -> str:
    """Return the whole report as lines for a person."""
    counts, latency = values["counts"], values["latency"]
    rows = [
        ("minions", f"{values['minions']} at {', '.join(values['masters'])} ({values['connections']})"),
        ("joined", f"{values['joined']} of {values['wanted']}"),
        ("time", f"{values['seconds']:.1f} s, {values['cpu']:.2f} s of CPU"),
        *((title, str(counts[key])) for title, key in _LINES),
    ]
    if counts["answered"]:
        shown = ", ".join(f"{name} {_duration(latency[name])}" for name in ("p50", "p90", "p99", "max"))
        rows.append(("from job to acknowledged return", shown))
    if "master_cpu" in values:
        rows.append(("CPU of the master", f"{values['master_cpu']:.2f} s"))
    problems = values.get("problems", [])
    width = max(len(title) for title, _ in rows)
    made = [f"{title.ljust(width)}  {value}" for title, value in rows]
    made += [f"{one['minion']} at {one['master']}: {one['state']}: {one['text']}" for one in problems[:10]]
    if len(problems) > 10:
        made.append(f"… and {len(problems) - 10} more; --json shows them")
    return "\n".join(made)


def kept(samples: Sequence[Mapping[str, Any]], sample: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return ``samples`` with one more: of a time in which no answer came, only the first and the last one."""
    last = [one["answered"] for one in samples[-2:]]
    idle = last == [sample["answered"]] * 2
    return [*(samples[:-1] if idle else samples[-MOST_SAMPLES:]), sample]


def burst(values: Mapping[str, Any]) -> tuple[float, float]:
    """
    Return (returns per second, CPU seconds of the master per return) over the seconds in which returns came.

    :raises ConfigurationError: the report holds no returns, or nothing of the master's CPU.
    """
    samples = values.get("samples", [])
    if not samples or not values["counts"]["answered"]:
        raise ConfigurationError("a report without returns says nothing about the master: give jobs during the run")
    if samples[-1].get("master_cpu") is None:
        raise ConfigurationError("a report without the master's CPU cannot be plotted: run with --master-pid")
    returns = seconds = cpu = 0.0
    for before, after in itertools.pairwise(samples):
        came = after["answered"] - before["answered"]
        if came:
            returns += came
            seconds += after["seconds"] - before["seconds"]
            cpu += after["master_cpu"] - before["master_cpu"]
    if not returns:
        raise ConfigurationError("a report without returns says nothing about the master: give jobs during the run")
    return returns / seconds, cpu / returns


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
