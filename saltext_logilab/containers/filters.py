"""
A policy of ports in force: in the kernel, and before the daemon's containers at boot.

The policy is kept in the state folder; the rules are compared with those of the kernel at each call.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from saltext_logilab import files, locks
from saltext_logilab.containers import boot, firewall, networks, picture, place, policy
from saltext_logilab.containers.client import Client
from saltext_logilab.containers.policy import Ground, Policy
from saltext_logilab.containers.settings import ContainersSettings
from saltext_logilab.errors import ConfigurationError, UnavailableError

KEPT = "filter.json"
LOCK = "filter.lock"
_SYSTEMD = Path("/run/systemd/system")
_IPV6 = Path("/proc/net/if_inet6")
_UNIT = re.compile(r"[A-Za-z0-9:_.@-]*")


@dataclass(frozen=True)
class Outcome:
    """What was changed, or would be; ``gaps``: a sentence for each way to a port that could not be closed."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    gaps: tuple[str, ...] = ()


def enforce(
    settings: ContainersSettings, decide: Callable[[Policy], Policy], service: str = "docker", test: bool = False
) -> Outcome:
    """
    Put the policy that ``decide`` makes of the present one in force; ``test``: only tell what would change.

    ``service`` is the unit of the daemon before whose start the rules are loaded; empty: none.

    :raises ConfigurationError: ``decide`` refuses, or ``service`` is no name of a unit.
    :raises UnavailableError: the firewall or the state folder cannot be used.
    """
    if not _UNIT.fullmatch(service):
        raise ConfigurationError(f"{service!r} is no name of a systemd unit")
    with locks.elected(settings.folder / LOCK, _wait):
        before, known = kept(settings)
        after = decide(before)
        grounds, gaps = survey(settings, known) if after else ({}, [])
        if not test:  # before the rules: who is killed in between leaves a policy that the next run puts in force
            _keep(settings.folder / KEPT, after, grounds)
        wanted = _chains(after, grounds)
        changes = {**dict(_ports_changed(before, after)), **_in_kernel(wanted, test)}
        changes.update(_at_boot(settings, wanted, service, test))
        if after and not (service and settings.systemd.is_dir()):
            gaps.append(f"nothing loads the rules at boot: no unit is named, or {settings.systemd} is missing")
    return Outcome(changes, tuple(gaps))


def kept(settings: ContainersSettings) -> tuple[Policy, dict[str, Ground]]:
    """
    Return the policy of this host, and what it met of each daemon when it was applied.

    :raises UnavailableError: the file that keeps it cannot be read or is damaged.
    """
    path = settings.folder / KEPT
    text = files.read(path)
    try:
        return policy.of_data(json.loads(text)) if text is not None else (Policy(), {})
    except (ValueError, ConfigurationError) as err:
        raise UnavailableError(f"{path} is damaged: {err}") from err


def survey(settings: ContainersSettings, known: Mapping[str, Ground]) -> tuple[dict[str, Ground], list[str]]:
    """Return what of each daemon the rules depend on, what was ``known`` where it is away, and what is not covered."""
    grounds, gaps = {}, []
    here = {name for _, name in socket.if_nameindex()}
    for name, url in settings.daemons.items():
        client = Client(url)
        try:
            rootless = place.of(url).rootless
            found = () if rootless else networks.of(client.networks())
            rows = picture.listed(name, url, settings).rows()
            beside = networks.beside_the_host(client.listing(), found)
        except UnavailableError as err:
            gaps.append(f"{err}: its networks and ports are not known")
            grounds[name] = known.get(name, Ground())
            continue
        bridges = {one.interface for one in found if one.interface}
        grounds[name] = Ground(
            frozenset(bridges & here), frozenset((row["host_port"], row["protocol"]) for row in rows)
        )
        gaps += [f"the interface {one} of the daemon {name} is not on this host" for one in sorted(bridges - here)]
        gaps += [f"{one} of the daemon {name} passes by this host's firewall" for one in beside]
    return grounds, gaps


def families() -> tuple[int, ...]:
    """Return the families that this host speaks."""
    return (4, 6) if _IPV6.exists() else (4,)


def _wait() -> bool:
    time.sleep(0.1)
    return True


def _chains(after: Policy, grounds: Mapping[str, Ground]) -> dict[int, dict[str, list[str]]]:
    ground = reduce(or_, grounds.values(), Ground())
    return {family: policy.chains(after, ground, family) if after else {} for family in families()}


def _ports_changed(before: Policy, after: Policy) -> Iterator[tuple[str, Any]]:
    for key in sorted(before.ports.keys() | after.ports.keys()):
        old, new = before.ports.get(key), after.ports.get(key)
        if old != new:
            yield policy.shown(key), {"old": None if old is None else [*old], "new": None if new is None else [*new]}
    for what in ("only", "routed"):
        if (old := getattr(before, what)) != (new := getattr(after, what)):
            yield what, {"old": old, "new": new}


def _in_kernel(wanted: Mapping[int, Mapping[str, list[str]]], test: bool) -> dict[str, Any]:
    """Return what changes in each family's rules, and change it."""
    changes = {}
    for family, chains in wanted.items():
        found = firewall.read(family)
        text = policy.script(found, chains) if chains else policy.removal(found)
        if text:
            changes[f"IPv{family}"] = policy.differences(found, chains)
            if not test:
                firewall.restore(family, text)
    return changes


def _at_boot(
    settings: ContainersSettings, wanted: Mapping[int, Mapping[str, list[str]]], service: str, test: bool
) -> dict[str, Any]:
    """Return which of the files that load the rules at the daemon's start change, and change them."""
    unit = settings.systemd / f"{service}.service.d" / boot.NAME
    wanted_files: dict[Path, str | None] = {
        boot.rules_file(settings.folder, family): boot.rules_text(chains) if chains else None
        for family, chains in wanted.items()
    }
    if service and settings.systemd.is_dir():
        programs = {name: firewall.program(name) for one in wanted for name in boot.programs(one)}
        wanted_files[unit] = boot.drop_in(programs, settings.folder) if any(wanted.values()) else None
    changed = {path: text for path, text in wanted_files.items() if files.read(path) != text}
    if changed and not test:
        for path, text in changed.items():
            _put(path, text)
        if unit in changed and _SYSTEMD.is_dir():
            _reload()
    written = sorted(str(path) for path, text in changed.items() if text is not None)
    removed = sorted(str(path) for path, text in changed.items() if text is None)
    return {"boot": {"old": removed, "new": written}} if changed else {}


def _put(path: Path, text: str | None) -> None:
    try:
        if text is None:
            path.unlink()
            with contextlib.suppress(OSError):  # others have a drop-in there as well
                path.parent.rmdir()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UnavailableError(f"{path} cannot be written: {err.strerror}") from err
    if text is not None:
        files.replace(path, text, 0o644)


def _reload() -> None:
    try:
        subprocess.run(["systemctl", "daemon-reload"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as err:
        raise UnavailableError(f"systemd does not read its units anew: {err}") from err


def _keep(path: Path, after: Policy, grounds: Mapping[str, Ground]) -> None:
    text = json.dumps(policy.to_data(after, grounds), indent=1) if after else None
    if files.read(path) != text:
        _put(path, text)
