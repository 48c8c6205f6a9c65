"""What a member needs of a store: heads by member, parts of logs by their number, and word of what changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from saltext_logilab.errors import UnavailableError

CALL_TIME = 10.0


class ChangedError(UnavailableError):
    """Somebody else has changed what a member has written."""


@dataclass(frozen=True)
class Word:
    """
    Something of ``member`` has changed in the store: of its head (``log`` is empty), or the part ``number`` of ``log``.

    ``content`` is what stands there now, None when nothing does. ``known`` is false when only that something has
    changed is known, not what.
    """

    member: str
    log: str = ""
    number: int = 0
    content: bytes | None = None
    known: bool = True


class Backend(Protocol):
    """
    A store for one group.

    Members and logs are named by hexadecimal text. All but :meth:`close` raise UnavailableError when it cannot be done.
    """

    @property
    def place(self) -> str:
        """Which store this is, and where, for people."""
        ...

    async def open(self) -> None:
        """Connect; from now on changes are noted for :meth:`follow`."""

    async def close(self) -> None:
        """End the connection."""

    async def heads(self) -> dict[str, bytes]:
        """Return the head of each member that has one."""
        ...

    async def parts(self, member: str, log: str, after: int) -> list[tuple[int, bytes]]:
        """Return some of the parts behind number ``after``, in order; none when there are no more."""
        ...

    async def count(self, member: str, log: str) -> int:
        """Return the number of parts of a log."""
        ...

    async def write(
        self, member: str, log: str, parts: Sequence[tuple[int, bytes]], head: bytes, before: bytes
    ) -> None:
        """
        Write ``parts``, then the head: whoever sees it finds them.

        :raises ChangedError: the head that stood there was not ``before`` (any when that is empty).
        """

    async def clean(self, member: str, keep: str) -> None:
        """Remove all logs of ``member`` but ``keep``; when that is empty, its head, too."""

    async def follow(self, told: Callable[[Word], None]) -> None:
        """Tell all that changes since :meth:`open`, until the connection is lost, which is an error."""

    def check(self) -> None:
        """See whether :meth:`follow` tells what was written over this connection."""


def slices(parts: Sequence[tuple[int, bytes]], size: int, count: int) -> list[Sequence[tuple[int, bytes]]]:
    """Cut ``parts`` into pieces of at most ``size`` bytes (or one part) and ``count`` parts."""
    pieces: list[Sequence[tuple[int, bytes]]] = []
    begin = total = 0
    for end, (_, content) in enumerate(parts):
        if end > begin and (total + len(content) > size or end - begin >= count):
            pieces.append(parts[begin:end])
            begin, total = end, 0
        total += len(content)
    return [*pieces, parts[begin:]] if parts else []
