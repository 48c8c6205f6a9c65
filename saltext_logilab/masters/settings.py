"""What a master's configuration says of this area: the mapping ``logilab: {masters: …}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saltext_logilab import settings
from saltext_logilab.errors import ConfigurationError
from saltext_logilab.masters.addresses import Address, parse_address
from saltext_logilab.masters.data.versions import GRAINS, KINDS, MINE
from saltext_logilab.masters.files import options
from saltext_logilab.masters.files.options import HoldOptions, PullOptions
from saltext_logilab.masters.stores import settings as stores
from saltext_logilab.masters.stores.settings import StoreSettings

AREA = "masters"
IDENTITY = "identity.pem"
SILENCE_DAYS = 7
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - nothing is bound by this
DATA = (MINE, GRAINS)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class MastersSettings:
    """
    The settings of one member; ``folder`` is where its identity and its journal live.

    ``address`` is how the other members reach it, where that is not what it listens at. ``silence_days``: a member that
    was not heard for so long is named in the status. ``keeps_jobs``: its jobs are kept in a database. ``data``: the
    kinds of minion data that it shares. ``pull`` and ``hold``: what may be pulled, and when this member is held.
    ``store``: what carries records besides the links.
    """

    name: str
    listen: Address
    folder: Path
    silence_days: int = SILENCE_DAYS
    address: Address | None = None
    keeps_jobs: bool = False
    data: tuple[str, ...] = DATA
    pull: PullOptions = field(default_factory=PullOptions)
    hold: HoldOptions = field(default_factory=HoldOptions)
    store: StoreSettings | None = None

    @property
    def reached(self) -> str:
        """Where the other members reach this one."""
        return str(self.address or self.listen)

    @property
    def identity(self) -> Path:
        """The file with the member's private key."""
        return self.folder / IDENTITY

    @property
    def journal(self) -> Path:
        """The member's journal."""
        return self.folder / "journal.db"


def read(opts: Mapping[str, Any]) -> MastersSettings:
    """
    Read the settings of this area out of a master's ``opts``.

    :raises ConfigurationError: a key is unknown, missing, of the wrong type or of an impossible value.
    """
    section = settings.area(opts, AREA)
    name = section.take("name", str, str(opts["id"]).removesuffix("_master"))
    listen = parse_address(f"{section.path}:listen", section.take("listen", str))
    told = section.take("address", str, "")
    address = parse_address(f"{section.path}:address", told) if told else None
    silence = section.take("silence_days", int, SILENCE_DAYS)
    jobs = section.sub("jobs").take("dsn", str, "")  # of the job cache, which reads the rest by itself
    data = section.take("data", list, list(DATA))
    pull, hold = options.read_pull(section.sub("pull")), options.read_hold(section.sub("hold"))
    store = stores.read(section.sub("store"))
    section.done()
    if any(kind not in KINDS for kind in data):
        raise ConfigurationError(f"{section.path}:data must be a list of {', '.join(KINDS)}, not {data!r}")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{section.path}: {name!r} is no name of a master (letters, digits and ._-)")
    if silence < 1:
        raise ConfigurationError(f"{section.path}:silence_days must be 1 or more, not {silence}")
    if address is None and listen.host in _EVERYWHERE:
        raise ConfigurationError(
            f"{section.path}:listen is every address of this machine: say in {section.path}:address how the others"
            " reach it"
        )
    folder = settings.state_dir(opts, AREA)
    return MastersSettings(name, listen, folder, silence, address, bool(jobs), tuple(data), pull, hold, store)
