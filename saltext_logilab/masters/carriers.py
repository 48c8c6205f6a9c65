"""
What carries records between members: the links, and a store where there is one, behind one interface.

They are independent of each other: what comes in over one goes out over the others, and each may be away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from saltext_logilab.masters.stores.backend import Backend
from saltext_logilab.masters.stores.settings import EtcdSettings, StoreSettings


class Carrier(Protocol):
    """Something that carries records to the other members and brings theirs."""

    async def run(self) -> None:
        """Carry until cancelled."""

    def refresh(self) -> None:
        """Follow the group: it has changed."""

    def send(self) -> None:
        """Carry what is new in the journal."""

    async def first_contact(self) -> None:
        """Wait until there was word of the others, or none could be had, but not for long."""

    def has_compared(self) -> bool:
        """Say whether all that one other member knows is here."""
        ...


class Carriers:
    """Several carriers as one."""

    def __init__(self, several: Sequence[Carrier]) -> None:
        """Take ``several``."""
        self._several = several

    async def run(self) -> None:
        """Let all carry until cancelled."""
        await asyncio.gather(*(one.run() for one in self._several))

    def refresh(self) -> None:
        """Let all follow the group."""
        for one in self._several:
            one.refresh()

    def send(self) -> None:
        """Let all carry what is new."""
        for one in self._several:
            one.send()

    async def first_contact(self) -> None:
        """Wait for the word of all."""
        await asyncio.gather(*(one.first_contact() for one in self._several))

    def has_compared(self) -> bool:
        """Say whether all that one member knows has come, over whichever."""
        return any(one.has_compared() for one in self._several)


def opener(settings: StoreSettings) -> Callable[[str], Backend]:
    """Return what makes connections to the store of ``settings`` for a group; each to the next one of its endpoints."""
    turn = -1

    def make(group: str) -> Backend:
        nonlocal turn
        turn += 1
        if isinstance(settings, EtcdSettings):
            from saltext_logilab.masters.stores import etcd  # noqa: PLC0415 - gRPC is large

            return etcd.Etcd(settings, turn, group)
        from saltext_logilab.masters.stores import postgresql  # noqa: PLC0415 - as above

        return postgresql.Postgresql(settings, group)

    return make
