"""What a master's configuration says of files: ``logilab: {masters: {pull: …, hold: …}}``."""

from __future__ import annotations

from dataclasses import dataclass, field

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.masters.files.manifest import Limits
from saltext_logilab.settings import Section

FILES, PILLAR = "files", "pillar"
TREES = (FILES, PILLAR)


@dataclass(frozen=True)
class PullOptions:
    """
    What may be pulled: nothing, unless configured.

    ``offer``: the kinds of trees that other members may take from this one; ``take``: those that it lets be replaced by
    what another member serves; ``limits``: how large a tree may be.
    """

    offer: tuple[str, ...] = ()
    take: tuple[str, ...] = ()
    limits: Limits = field(default_factory=lambda: Limits(50_000, 1 << 30))


@dataclass(frozen=True)
class HoldOptions:
    """
    When this member is held: never, without a ``reference``, the name of a member.

    It is when it has served something else than the reference for ``after`` seconds, and for ``minutes`` at most.
    """

    reference: str = ""
    after: int = 120
    minutes: int = 60


def read_pull(section: Section) -> PullOptions:
    """Read the mapping ``pull``; :raises ConfigurationError."""
    default = PullOptions()
    offer, take = (_trees(section, key) for key in ("offer", "take"))
    files = _positive(section, "max_files", default.limits.files)
    size = _positive(section, "max_size", default.limits.size)
    section.done()
    return PullOptions(offer, take, Limits(files, size))


def read_hold(section: Section) -> HoldOptions:
    """Read the mapping ``hold``; :raises ConfigurationError."""
    default = HoldOptions()
    reference = section.take("reference", str, "")
    after = _positive(section, "after", default.after)
    minutes = _positive(section, "minutes", default.minutes)
    section.done()
    return HoldOptions(reference, after, minutes)


def _trees(section: Section, key: str) -> tuple[str, ...]:
    told = section.take(key, list, [])
    if any(one not in TREES for one in told):
        raise ConfigurationError(f"{section.path}:{key} must be a list of {' and '.join(TREES)}, not {told!r}")
    return tuple(told)


def _positive(section: Section, key: str, default: int) -> int:
    value = section.take(key, int, default)
    if value < 1:
        raise ConfigurationError(f"{section.path}:{key} must be 1 or more, not {value}")
    return value
