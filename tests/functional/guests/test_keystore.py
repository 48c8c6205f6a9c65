"""Keys of guests in a master's real key store, seen by the group of masters, which takes them on from there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.errors import RefusedError
from saltext_logilab.guests.keystore import MasterKeys
from saltext_logilab.guests.seeds import keys as pairs
from saltext_logilab.masters import keystore as group
from tests.support.waiting import wait_until


@pytest.fixture
def opts(new_master_opts: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """The options of a master of its own that does not run."""
    made = new_master_opts()
    Path(made["pki_dir"]).mkdir(parents=True)
    for folder in ("sock_dir", "cachedir"):
        Path(made[folder]).mkdir(parents=True, exist_ok=True)
    return made


def test_a_key_is_let_in_and_taken_back(opts: dict[str, Any]) -> None:
    """The group's own view of the store sees it come and go, and is told when it does."""
    keys, public, other = MasterKeys(opts), pairs.make_pair().public, pairs.make_pair().public
    store = group.open_store(opts)
    assert (keys.state("web"), keys.public("web")) == (None, None)
    seen: list[str] = []

    async def watched() -> None:
        following = asyncio.create_task(store.follow(seen.append))
        await asyncio.sleep(0)
        await asyncio.to_thread(keys.accept, "web", public)
        await asyncio.to_thread(wait_until, lambda: "web" in seen, 20, "the group hears of it")
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following

    asyncio.run(watched())
    assert (keys.state("web"), pairs.same(str(keys.public("web")), public)) == ("accepted", True)
    held = store.read(["web"])["web"]
    assert (held.state, held.fingerprint) == ("accepted", pairs.fingerprint(public))
    with pytest.raises(RefusedError, match="knows a key of 'web' already"):
        keys.accept("web", other)
    assert not keys.revoke("web", other)
    assert keys.state("web") == "accepted"
    assert keys.revoke("web", public)
    assert (keys.state("web"), store.read(["web"])) == (None, {})
    assert not keys.revoke("web", public)


@pytest.mark.parametrize("folder", ["minions_pre", "minions_rejected", "minions_denied"])
def test_whoever_is_known_in_any_way_is_not_let_in(opts: dict[str, Any], folder: str) -> None:
    """A key that is pending, rejected or denied stays as it is, and no other one is accepted in its place."""
    keys, mine, theirs = MasterKeys(opts), pairs.make_pair().public, pairs.make_pair().public
    place = Path(opts["pki_dir"]) / folder
    place.mkdir(exist_ok=True)
    (place / "web").write_text(f"{theirs}\n")
    with pytest.raises(RefusedError, match="knows a key of 'web' already"):
        keys.accept("web", mine)
    assert keys.public("web") is None
    assert (place / "web").read_text() == f"{theirs}\n"
