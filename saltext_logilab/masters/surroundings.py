"""What the rounds of a member need of the rest: the key store, the master, and the links with the other members."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from saltext_logilab.masters.data.keeper import Cache
from saltext_logilab.masters.files.desk import FileSource
from saltext_logilab.masters.jobs.desk import JobSource
from saltext_logilab.masters.keydirs import Held
from saltext_logilab.masters.keys import Key
from saltext_logilab.masters.records import State


class KeyStore(Protocol):
    """What a member needs of a master's key store; see :class:`~saltext_logilab.masters.keydirs.KeyDirectories`."""

    async def follow(self, hint: Callable[[str], None]) -> None: ...
    def stamp(self) -> object: ...
    def identity(self) -> str: ...
    def is_denied(self, minion: str) -> bool: ...
    def scan(self) -> Iterable[tuple[str, Held]]: ...
    def read(self, ids: Iterable[str]) -> dict[str, Held]: ...
    def look(self, minion: str) -> Held | None: ...
    def put(self, minion: str, state: State, key: Key) -> None: ...
    def remove(self, minion: str, fingerprint: str) -> bool: ...
    def waiting(self, limit: int) -> dict[str, Any]: ...


class Surroundings(Protocol):
    """What a member knows of its master and does to it besides the key store."""

    @property
    def versions(self) -> dict[str, str]:
        """The versions of ``salt`` and of ``logilab`` (this extension)."""
        ...

    @property
    def jobs(self) -> JobSource | None:
        """What the master knows of its jobs, if it can be asked."""
        ...

    @property
    def files(self) -> FileSource | None:
        """What the master knows of the files that it serves, if it can be asked."""
        ...

    @property
    def data(self) -> Cache | None:
        """The master's cache of minion data, if there is one."""
        ...

    def master_key(self) -> str:
        """Return the fingerprint of Salt's master key."""
        ...

    def forget(self, minions: Iterable[str]) -> None:
        """Do what ``salt-key`` does after it has deleted or rejected keys: drop cached data, rotate the AES key."""

    def tell(self, what: str, data: dict[str, Any]) -> None:
        """Fire the event ``salt/logilab/masters/<what>``."""


class Links(Protocol):
    """What a round needs of the links with the other members."""

    def send(self) -> None:
        """Send the new records of this member."""

    def has_compared(self) -> bool:
        """Say whether all that one peer knows is here: a new journal decides nothing before."""
        ...
