"""What a minion's configuration says of this area: the mapping ``logilab: {guests: …}``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltext_logilab import settings
from saltext_logilab.errors import ConfigurationError

AREA = "guests"
URI = "qemu:///system"


@dataclass(frozen=True)
class GuestsSettings:
    """
    The settings of one hypervisor.

    :param uri: where libvirt listens.
    :param folder: where the tasks are kept.
    :param progress_interval: seconds between two progress events of one task, at least.
    """

    uri: str
    folder: Path
    progress_interval: float


def read(opts: Mapping[str, Any]) -> GuestsSettings:
    """
    Read the settings of this area out of a minion's ``opts``.

    :raises ConfigurationError: a key is unknown, of the wrong type or of an impossible value.
    """
    section = settings.area(opts, AREA)
    uri = section.take("uri", str, URI)
    interval = section.take("progress_interval", float, 5.0)
    section.done()
    if "://" not in uri:
        raise ConfigurationError(f"{section.path}:uri must be a libvirt URI such as {URI}, not {uri!r}")
    if interval < 1:
        raise ConfigurationError(f"{section.path}:progress_interval must be at least 1 second, not {interval:g}")
    return GuestsSettings(uri, settings.state_dir(opts, AREA), interval)
