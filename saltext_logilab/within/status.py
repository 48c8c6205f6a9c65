"""How a system inside is: load, memory, time since its start, what runs; read as Linux tells it in ``/proc``."""

from __future__ import annotations

from typing import Any

from saltext_logilab.within import transport
from saltext_logilab.within.transport import Command, Transport


def _proc(inside: Transport, name: str) -> str:
    return transport.checked(inside, Command(("cat", f"/proc/{name}")))


def load(inside: Transport) -> dict[str, float]:
    """Return the load over 1, 5 and 15 minutes; in a container it is that of the host."""
    words = _proc(inside, "loadavg").split()[:3]
    return dict(zip(("1-min", "5-min", "15-min"), map(float, words), strict=False))


def uptime(inside: Transport) -> float:
    """Return the seconds since the first process inside was started."""
    since_boot = float(_proc(inside, "uptime").split()[0])
    started = _proc(inside, "1/stat").rpartition(")")[2].split()[19]  # field 22, in ticks since boot (proc(5))
    return max(0.0, round(since_boot - int(started) / 100, 2))


def memory(inside: Transport) -> dict[str, dict[str, str]]:
    """Return ``/proc/meminfo`` as Salt's ``status.meminfo`` does."""
    found = {}
    for line in _proc(inside, "meminfo").splitlines():
        key, _, rest = line.partition(":")
        words = rest.split()
        if words:
            found[key] = {"value": words[0], **({"unit": words[1]} if len(words) > 1 else {})}
    return found


def disks(inside: Transport) -> dict[str, dict[str, Any]]:
    """Return the use of each mounted file system, in KiB."""
    found: dict[str, dict[str, Any]] = {}
    for line in transport.checked(inside, Command(("df", "-P", "-k"))).splitlines()[1:]:
        words = line.split(None, 5)
        if len(words) == 6 and words[1].isdigit():
            names = ("filesystem", "1K-blocks", "used", "available", "capacity")
            found[words[5]] = dict(zip(names, words, strict=False))
    return found


def processes(inside: Transport) -> dict[str, dict[str, str]]:
    """Return the processes inside by number, with user and command, as ``ps`` tells them."""
    found = {}
    lines = transport.checked(inside, Command(("ps", "-o", "pid,user,args"))).splitlines()
    for line in lines[1:]:
        words = line.split(None, 2)
        if len(words) == 3 and words[0].isdigit():
            found[words[0]] = {"user": words[1], "cmd": words[2]}
    return found
