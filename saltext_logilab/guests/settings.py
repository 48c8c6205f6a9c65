"""What the configuration of minions and masters says of this area: the mapping ``logilab: {guests: …}``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltext_logilab import settings
from saltext_logilab.errors import ConfigurationError
from saltext_logilab.guests import agent
from saltext_logilab.guests.placement import STRATEGIES, Rules
from saltext_logilab.guests.sizes import MIB

AREA = "guests"
URI = "qemu:///system"
PLACEMENT = "placement"
SEEDS = "seeds"


@dataclass(frozen=True)
class GuestsSettings:
    """
    The settings of one hypervisor.

    :param uri: where libvirt listens.
    :param folder: where the tasks are kept.
    :param progress_interval: seconds between two progress events of one task, at least.
    :param reach: this host's libvirt as other hosts reach it; empty where no guest shall come here by a plan.
    :param transport: the migration URI at which this host takes the memory of guests; empty for libvirt's choice.
    :param shared: folders that all hosts share although nothing shows it.
    :param agent_timeout: seconds after which a guest's agent that does not answer one question is none.
    """

    uri: str
    folder: Path
    progress_interval: float
    reach: str
    transport: str
    shared: tuple[str, ...]
    agent_timeout: float


def read(opts: Mapping[str, Any]) -> GuestsSettings:
    """
    Read the settings of this area out of a minion's ``opts``.

    :raises ConfigurationError: a key is unknown, of the wrong type or of an impossible value.
    """
    section = settings.area(opts, AREA)
    uri = section.take("uri", str, URI)
    interval = section.take("progress_interval", float, 5.0)
    reach, transport = section.take("reach", str, ""), section.take("transport", str, "")
    shared = tuple(map(str, section.take("shared", list, [])))
    patience = section.take("agent_timeout", float, agent.TIMEOUT)
    for masters in (PLACEMENT, SEEDS):  # one file may serve both
        section.sub(masters)
    section.done()
    for key, value in (("uri", uri), ("reach", reach or URI), ("transport", transport or URI)):
        if "://" not in value:
            raise ConfigurationError(f"{section.path}:{key} must be a URI such as {URI}, not {value!r}")
    if wrong := [one for one in shared if not one.startswith("/")]:
        raise ConfigurationError(f"{section.path}:shared must be absolute paths, not {wrong[0]!r}")
    if interval < 1:
        raise ConfigurationError(f"{section.path}:progress_interval must be at least 1 second, not {interval:g}")
    if patience < 1:
        raise ConfigurationError(f"{section.path}:agent_timeout must be at least 1 second, not {patience:g}")
    return GuestsSettings(uri, settings.state_dir(opts, AREA), interval, reach, transport, shared, patience)


def read_seeds(opts: Mapping[str, Any]) -> tuple[Path, dict[str, tuple[str, ...]]]:
    """
    Read what a master's ``opts`` say of seeds: where they are kept, and which ids a hypervisor may bring in unasked.

    :raises ConfigurationError: a key is unknown, of the wrong type or of an impossible value.
    """
    nothing: dict[str, Any] = {}
    section = settings.area(opts, AREA).sub(SEEDS)
    accept = section.take("accept", dict, nothing)
    section.done()
    for host, patterns in accept.items():
        if not isinstance(patterns, list) or not all(isinstance(one, str) for one in patterns):
            raise ConfigurationError(
                f"{section.path}:accept:{host} must be a list of ids or patterns, not {patterns!r}"
            )
    return settings.state_dir(opts, AREA), {str(host): tuple(patterns) for host, patterns in accept.items()}


def read_rules(opts: Mapping[str, Any]) -> Rules:
    """
    Read what a master's ``opts`` say of placement.

    :raises ConfigurationError: a key is unknown, of the wrong type or of an impossible value.
    """
    section = settings.area(opts, AREA).sub(PLACEMENT)
    reserve = section.take("reserve_memory_mib", int, Rules.reserve // MIB)
    overcommit = section.take("overcommit", float, Rules.overcommit)
    strategy = section.take("strategy", str, Rules.strategy)
    groups = section.take("apart", list, [])
    section.done()
    if strategy not in STRATEGIES:
        raise ConfigurationError(f"{section.path}:strategy must be one of {', '.join(STRATEGIES)}, not {strategy!r}")
    if reserve < 0 or overcommit <= 0:
        raise ConfigurationError(f"{section.path}: reserve_memory_mib is at least 0, and overcommit more than 0")
    if not all(isinstance(group, list) and all(isinstance(one, str) for one in group) for group in groups):
        raise ConfigurationError(f"{section.path}:apart must be lists of names or patterns, not {groups!r}")
    return Rules(reserve * MIB, overcommit, tuple(tuple(group) for group in groups), strategy)
