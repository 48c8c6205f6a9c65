"""
Members over each of the three carriers, the links between them, etcd and PostgreSQL: the same stories on all.

Where a store carries, the members cannot reach each other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.masters.addresses import Address
from saltext_logilab.masters.settings import MastersSettings
from tests.support.minion_keys import KEYS
from tests.support.stores import KINDS, Store
from tests.unit.masters.test_members import Site, play, until

Play = Callable[..., None]

NOWHERE = Address("127.0.0.1", 1)


class StoreSite(Site):
    """A member that the others reach over a store only."""

    carried_by: Store

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name)
        self.listens, self.address = self.address, NOWHERE

    @property
    def settings(self) -> MastersSettings:
        """What its configuration says."""
        return MastersSettings(
            self.name, self.listens, self.state, address=NOWHERE, store=self.carried_by.settings()
        )

    def told(self) -> dict[str, Any]:
        """What the health file says of the store."""
        return self.health().get("store") or {}


@pytest.fixture(params=["embedded", *KINDS])
def carry(request: pytest.FixtureRequest, tmp_path: Path, store_servers: Callable[[str], Store]) -> Play:
    """Return what plays a story with members over one carrier."""
    kind: type[Site] = Site
    if request.param != "embedded":
        kind = type("StoreSiteOf", (StoreSite,), {"carried_by": store_servers(request.param)})
    return lambda story, names=("paris", "nantes"): play(tmp_path, story, names, kind)


def test_a_key_goes_to_the_other_member_and_back(carry: Play) -> None:
    """Accepted on one, rejected on the other, deleted on the first."""

    async def story(paris: Site, nantes: Site) -> None:
        nantes.place("web1", KEYS[0], "minions_pre")
        paris.place("web1", KEYS[0])
        await until(lambda: nantes.accepted() == {"web1": KEYS[0]}, "accepted on nantes")
        (nantes.pki / "minions" / "web1").rename(nantes.pki / "minions_rejected" / "web1")
        await until(lambda: dict(paris.store.scan())["web1"].state == "rejected", "rejected on paris")
        (paris.pki / "minions_rejected" / "web1").unlink()
        await until(lambda: dict(nantes.store.scan()) == {}, "deleted on nantes")

    carry(story)
