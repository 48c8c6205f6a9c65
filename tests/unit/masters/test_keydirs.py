"""Key directories: read whole or not at all, written by renames, nothing shown that is no key."""

import asyncio

import pytest

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.keydirs import Held, KeyDirectories
from saltext_logilab.masters.records import State
from tests.support.minion_keys import KEYS


@pytest.fixture
def store(tmp_path):
    """An empty key store."""
    return KeyDirectories(tmp_path)


def place(tmp_path, folder, minion, key):
    """Put a key file where Salt has it."""
    (tmp_path / folder / minion).write_text(key.pem)


def test_each_state_is_seen(store, tmp_path):
    """Accepted, rejected and pending keys are seen; denied ones are nobody's."""
    for folder, minion in [("minions", "a"), ("minions_rejected", "r"), ("minions_pre", "p"), ("minions_denied", "d")]:
        place(tmp_path, folder, minion, KEYS[0])
    assert {minion: held.state for minion, held in store.scan()} == {
        "a": "accepted",
        "r": "rejected",
        "p": "pending",
    }
    assert store.read(["a", "d"]) == {"a": Held("accepted", KEYS[0])}


def test_a_key_in_two_places_is_read_as_salt_does(store, tmp_path):
    """The rejected one counts before the pending one, and that before the accepted one."""
    for folder in ("minions", "minions_pre", "minions_rejected"):
        place(tmp_path, folder, "web1", KEYS[0])
    assert dict(store.scan())["web1"].state == store.read(["web1"])["web1"].state == "rejected"


def test_names_that_are_no_ids_are_passed_over(store, tmp_path):
    """Hidden files and cut-off writes are no keys; a link is none, as for Salt, but not absent."""
    for name in (".key_cache", "tmpab12cd34", ".hidden"):
        place(tmp_path, "minions", name, KEYS[0])
    (tmp_path / "minions" / "link").symlink_to(tmp_path / "minions" / ".hidden")
    (tmp_path / "minions" / "folder").mkdir()
    assert dict(store.scan()) == store.read(["../minions/.hidden", "link", "folder"]) == {"link": Held("damaged", None)}


def test_what_is_no_key_is_damaged(store, tmp_path):
    """A file that is no PEM is damaged, not absent; a whole one elsewhere counts instead."""
    (tmp_path / "minions" / "web1").write_text("")
    assert dict(store.scan()) == store.read(["web1"]) == {"web1": Held("damaged", None)}
    place(tmp_path, "minions_pre", "web1", KEYS[0])
    assert dict(store.scan()) == store.read(["web1"]) == {"web1": Held("pending", KEYS[0])}


def test_a_directory_that_is_gone_is_no_set_of_deletes(store, tmp_path):
    """A key directory that is missing is a fault."""
    (tmp_path / "minions").rmdir()
    with pytest.raises(UnavailableError, match="minions"):
        dict(store.scan())
    with pytest.raises(UnavailableError, match="minions"):
        store.read(["web1"])


def test_a_pending_key_is_moved(store, tmp_path):
    """Accepting moves the file: at no moment it is in two places or in none."""
    place(tmp_path, "minions_pre", "web1", KEYS[0])
    inode = (tmp_path / "minions_pre" / "web1").stat().st_ino
    store.put("web1", State.ACCEPTED, KEYS[0])
    assert (tmp_path / "minions" / "web1").stat().st_ino == inode
    assert dict(store.scan()) == {"web1": Held("accepted", KEYS[0])}
    store.put("web1", State.REJECTED, KEYS[0])
    assert dict(store.scan()) == {"web1": Held("rejected", KEYS[0])}


def test_another_pending_key_becomes_denied(store, tmp_path):
    """A key that waits under an id for which another one was accepted is kept, as a denied one."""
    place(tmp_path, "minions_pre", "web1", KEYS[1])
    store.put("web1", State.ACCEPTED, KEYS[0])
    assert dict(store.scan()) == {"web1": Held("accepted", KEYS[0])}
    assert (tmp_path / "minions_denied" / "web1").read_text() == KEYS[1].pem


def test_only_the_key_that_is_meant_is_removed(store, tmp_path):
    """A delete of one key leaves another one under the same id alone, and denied and pending ones too."""
    place(tmp_path, "minions", "web1", KEYS[0])
    place(tmp_path, "minions_denied", "web1", KEYS[1])
    assert not store.remove("web1", KEYS[1].fingerprint)
    assert store.remove("web1", KEYS[0].fingerprint)
    assert dict(store.scan()) == {}
    assert (tmp_path / "minions_denied" / "web1").exists()


def test_a_change_is_seen_whatever_it_is(store, tmp_path):
    """The stamp changes when a file comes or goes; a scan sees one that was rewritten in place."""
    before = store.stamp()
    place(tmp_path, "minions", "web1", KEYS[0])
    assert store.stamp() != before
    assert dict(store.scan())["web1"].key == KEYS[0]
    place(tmp_path, "minions", "web1", KEYS[1])
    assert dict(store.scan())["web1"].key == KEYS[1]


def test_a_store_that_cannot_be_written_says_so(store, tmp_path):
    """A put that fails leaves the store as it was."""
    (tmp_path / "minions" / "web1").mkdir()
    with pytest.raises(UnavailableError, match="web1"):
        store.put("web1", State.ACCEPTED, KEYS[0])
    assert not list(tmp_path.glob(".logilab-*"))


def test_changes_are_told_at_once(store, tmp_path):
    """Each id whose files change is named, moves and deletes too."""

    async def follow():
        told: asyncio.Queue[str] = asyncio.Queue()
        task = asyncio.ensure_future(store.follow(told.put_nowait))
        await asyncio.sleep(0)
        place(tmp_path, "minions_pre", "web1", KEYS[0])
        assert await asyncio.wait_for(told.get(), 10) == "web1"
        (tmp_path / "minions_pre" / "web1").rename(tmp_path / "minions" / "web1")
        assert [await asyncio.wait_for(told.get(), 10) for _ in range(2)] == ["web1", "web1"]
        (tmp_path / "minions" / "web1").unlink()
        assert await asyncio.wait_for(told.get(), 10) == "web1"
        task.cancel()

    asyncio.run(follow())


def test_an_accept_that_salt_has_lost_is_mended(store, tmp_path):
    """The same key as accepted and as pending is an accepted one; written once more it stands in one place."""
    place(tmp_path, "minions", "web1", KEYS[0])
    place(tmp_path, "minions_pre", "web1", KEYS[0])
    assert dict(store.scan()) == store.read(["web1"]) == {"web1": Held("accepted", KEYS[0], doubled=True)}
    store.put("web1", State.ACCEPTED, KEYS[0])
    assert dict(store.scan()) == {"web1": Held("accepted", KEYS[0])}


def test_another_pending_key_beside_an_accepted_one_is_read_as_salt_does(store, tmp_path):
    """Only the same key in both places is known to be an accepted one."""
    place(tmp_path, "minions", "web1", KEYS[0])
    place(tmp_path, "minions_pre", "web1", KEYS[1])
    assert dict(store.scan()) == {"web1": Held("pending", KEYS[1])}


def test_what_is_written_here_is_no_change(store, tmp_path):
    """It is not told; but another key in its place is, also when both happen before anybody has looked."""

    async def follow():
        told = []
        following = asyncio.ensure_future(store.follow(told.append))
        try:
            await asyncio.sleep(0)
            for number in range(3):
                store.put(f"ours{number}", State.ACCEPTED, KEYS[0])
            (tmp_path / ".new").write_text(KEYS[1].pem)
            (tmp_path / ".new").rename(tmp_path / "minions" / "ours1")
            (tmp_path / "minions" / "ours2").unlink()
            place(tmp_path, "minions", "last", KEYS[2])
            while "last" not in told:
                await asyncio.sleep(0.01)
        finally:
            following.cancel()
        return set(told)

    assert asyncio.run(asyncio.wait_for(follow(), 20)) == {"ours1", "ours2", "last"}
    assert store.read(["ours0", "ours1", "ours2"]) == {
        "ours0": Held("accepted", KEYS[0]),
        "ours1": Held("accepted", KEYS[1]),
    }
