"""What a configuration says of this area: the mapping ``logilab: {containers: …}``, in Salt's opts or in pillar."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from saltext_logilab import settings
from saltext_logilab.containers import client
from saltext_logilab.containers.ports import parse_range
from saltext_logilab.errors import ConfigurationError

AREA = "containers"
DAEMONS = {"docker": "unix:///var/run/docker.sock"}
POOL = "default"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True)
class Pool:
    """Host ports to give away: from ``dynamic`` by itself, from ``static`` to who asks for a certain one."""

    name: str
    static: tuple[int, int]
    dynamic: tuple[int, int]

    def holds(self, port: int) -> bool:
        """Say whether ``port`` belongs to either band."""
        return any(low <= port <= high for low, high in (self.static, self.dynamic))


@dataclass(frozen=True)
class ContainersSettings:
    """The settings of one host: its daemons by name with their URLs, and what is told of them."""

    daemons: Mapping[str, str]
    labels: tuple[str, ...]
    pools: Mapping[str, Pool]
    history: int
    heartbeat: float
    mine: bool
    declared: Mapping[str, Any]
    allow_tgt: str
    allow_tgt_type: str
    folder: Path
    systemd: Path = Path("/etc/systemd/system")

    def choose(self, daemon: str | None) -> dict[str, str]:
        """
        Return the daemon of that name, or all of them.

        :raises ConfigurationError: there is none of that name.
        """
        if daemon is None:
            return dict(self.daemons)
        if daemon not in self.daemons:
            raise ConfigurationError(f"{daemon!r} is no configured daemon (known: {', '.join(sorted(self.daemons))})")
        return {daemon: self.daemons[daemon]}

    def pool(self, name: str) -> Pool:
        """
        Return the pool of that name.

        :raises ConfigurationError: there is none.
        """
        if name not in self.pools:
            raise ConfigurationError(f"{name!r} is no configured pool (known: {', '.join(sorted(self.pools))})")
        return self.pools[name]


DEFAULT_POOL = Pool(POOL, (20000, 20999), (21000, 31999))


def read(opts: Mapping[str, Any], pillar: Mapping[str, Any] | None = None) -> ContainersSettings:
    """
    Read the settings of this area out of ``opts`` and, over it key by key, out of ``pillar``.

    :raises ConfigurationError: a key is unknown, of the wrong type or of an impossible value.
    """
    section = settings.area(_merged(opts, pillar or {}), AREA)
    daemons = section.take("daemons", dict, DAEMONS)
    labels = section.take("labels", list, [])
    history = section.take("history", int, 1000)
    heartbeat = section.take("heartbeat", float, 300.0)
    mine = section.take("mine", bool, True)
    declared = section.take("declared", dict, {})
    allow_tgt = section.take("allow_tgt", str, "")
    allow_tgt_type = section.take("allow_tgt_type", str, "glob")
    systemd = Path(section.take("systemd", str, str(ContainersSettings.systemd)))
    pools = {name: _pool(name, each) for name, each in section.sub("pools").items()} or {POOL: DEFAULT_POOL}
    section.done()
    _check_daemons(section.path, daemons)
    _check_pools(section.path, pools)
    if history < 1 or heartbeat < 1:
        raise ConfigurationError(f"{section.path}: history and heartbeat must be at least 1")
    folder = settings.state_dir(opts, AREA)
    tail = (history, heartbeat, mine, declared, allow_tgt, allow_tgt_type, folder, systemd)
    return ContainersSettings(daemons, tuple(map(str, labels)), pools, *tail)


def _merged(opts: Mapping[str, Any], pillar: Mapping[str, Any]) -> dict[str, Any]:
    top, other = opts.get("logilab") or {}, pillar.get("logilab") or {}
    if not isinstance(top, Mapping) or not isinstance(other, Mapping) or AREA not in other:
        return {"logilab": top}
    own, more = (told if told is not None else {} for told in (top.get(AREA), other[AREA]))
    if not isinstance(own, Mapping) or not isinstance(more, Mapping):
        return {"logilab": {AREA: more}}
    return {"logilab": {**top, AREA: {**own, **more}}}


def _pool(name: str, section: settings.Section) -> Pool:
    dynamic = _band(section, "dynamic")
    static = _band(section, "static")
    section.done()
    if dynamic == (0, -1):
        raise ConfigurationError(f"{section.path}:dynamic is missing")
    if max(static[0], dynamic[0]) <= min(static[1], dynamic[1]):
        raise ConfigurationError(f"{section.path}: the static and the dynamic band overlap")
    return Pool(name, static, dynamic)


def _band(section: settings.Section, key: str) -> tuple[int, int]:
    told = section.take(key, str, "")
    try:
        return parse_range(told) if told else (0, -1)
    except ConfigurationError as err:
        raise ConfigurationError(f"{section.path}:{key}: {err}") from err


def _check_daemons(path: str, daemons: Mapping[Any, Any]) -> None:
    for name, url in daemons.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigurationError(f"{path}:daemons: {name!r} is no name of a daemon (letters, digits and ._-)")
        try:
            client.split(url)
        except ConfigurationError as err:
            raise ConfigurationError(f"{path}:daemons:{name}: {err}") from err


def _check_pools(path: str, pools: Mapping[str, Pool]) -> None:
    bands = sorted((*band, name) for name, pool in pools.items() for band in (pool.static, pool.dynamic) if band[0])
    for (_, high, one), (low, _, other) in pairwise(bands):
        if low <= high:
            raise ConfigurationError(f"{path}:pools: {one} and {other} overlap at port {low}")
