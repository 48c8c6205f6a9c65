"""
What has changed: between two pictures of a daemon, or by an event (pure).

A listing may show what happened before the event that tells of it was read. Such a change is marked with the listing's
time, and the event, when it comes, takes its place: every change is told once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from saltext_logilab.containers.listing import Event
from saltext_logilab.containers.ports import LIVE, Container, Port

LIFE = ("started", "died", "destroyed", "paused", "unpaused")
_ACTIONS = {
    "start": "started",
    "die": "died",
    "destroy": "destroyed",
    "pause": "paused",
    "unpause": "unpaused",
    "rename": "renamed",
    "health_status": "health",
    "update": "updated",
    "network connect": "connected",
    "network disconnect": "disconnected",
}


@dataclass(frozen=True)
class Change:
    """
    One change: ``what`` happened to which container, and the detail of it.

    ``what`` is one of :data:`LIFE`, or ``renamed``, ``health``, ``updated``, ``connected``, ``disconnected``,
    ``opened`` or ``closed``; ``key`` is the event's, empty for what a listing has shown.
    """

    at: float
    container: str
    name: str
    what: str
    detail: str = ""
    key: str = ""

    @property
    def group(self) -> tuple[str, ...]:
        """The kinds of change of which an event may take the place of one that a listing has shown."""
        return LIFE if self.what in LIFE else (self.what,)


def between(old: Mapping[str, Container], new: Mapping[str, Container], at: float) -> list[Change]:
    """Return what differs between two pictures of the same containers, as seen at ``at``."""
    found = []
    for one in sorted(old.keys() | new.keys()):
        before, after = old.get(one), new.get(one)
        shown = after or before
        if before == after or shown is None:
            continue
        told = [*_life(before, after), *_ports(before, after)]
        found += [Change(at, one, shown.name, what, detail) for what, detail in told]
    return found


def _life(before: Container | None, after: Container | None) -> Iterable[tuple[str, str]]:
    if after is None:
        yield "destroyed", ""
        return
    if before is not None and before.name != after.name:
        yield "renamed", f"{before.name} -> {after.name}"
    state = before.state if before and before.state in LIVE else ""
    now = after.state if after.state in LIVE else ""
    if now != state:
        yield _step(state, now), ""
    if before is not None and before.health != after.health and after.health not in ("", "starting"):
        yield "health", after.health


def _step(before: str, after: str) -> str:
    if after == "running":
        return "unpaused" if before == "paused" else "started"
    return "paused" if after else "died"


def _ports(before: Container | None, after: Container | None) -> Iterable[tuple[str, str]]:
    old: set[Port] = set(before.ports) if before else set()
    new: set[Port] = set(after.ports) if after else set()
    yield from (("closed", str(port)) for port in sorted(old - new))
    yield from (("opened", str(port)) for port in sorted(new - old))


def told_by(event: Event, name: str) -> Change | None:
    """Return the change of the container ``name`` that ``event`` tells of; None for an action that is no change."""
    what = _ACTIONS.get(event.action)
    if what is None:
        return None
    detail = f"{event.old_name or name} -> {event.name}" if what == "renamed" else event.health
    return Change(event.at, event.container, event.name or name, what, detail, event.key)


def merged(earlier: Event | None, later: Event) -> Event:
    """Return ``later`` with what only ``earlier`` said of the same container."""
    if earlier is None:
        return later
    return replace(
        later,
        state=later.state or earlier.state,
        name=later.name or earlier.name,
        health=later.health or earlier.health,
    )


def after(event: Event, known: Container) -> Container | None:
    """Return what ``known`` is after ``event``; None when it is gone. Its new ports only a listing can tell."""
    if event.state == "gone":
        return None
    changed = replace(
        known,
        state=event.state or known.state,
        name=event.name or known.name,
        health=event.health or known.health,
    )
    return changed if changed.state in LIVE else replace(changed, ports=(), health="")
