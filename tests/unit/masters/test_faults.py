"""Faults that once ended an engine, lost a decision or revived a key."""

import asyncio
import contextlib
import os
import shutil
import time

import pytest

from saltext_logilab.errors import ConfigurationError, UnavailableError
from saltext_logilab.identity import Identity, load
from saltext_logilab.masters import exchange, health, link, status
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.keydirs import Held, KeyDirectories
from tests.support.groups import unite
from tests.support.minion_keys import IDENTITIES, KEYS
from tests.unit.masters.test_convergence import anew, heal, sites  # noqa: F401 - a fixture
from tests.unit.masters.test_members import Site, be_one_group, play, until


def test_a_peers_heartbeat_does_not_put_off_ones_own(tmp_path):
    """Whoever is spoken to all the time speaks all the same."""

    class Silent(exchange.Link):
        """A link that notes what is sent and never ends."""

        def __init__(self):
            self.said = []
            self.public = IDENTITIES[1].public

        async def send(self, message):
            self.said.append(message[0])

    async def run():
        journal = Journal(tmp_path / "journal.db", IDENTITIES[0])
        wire = Silent()
        unite([journal, Journal(tmp_path / "other.db", IDENTITIES[1])])
        side = exchange.Exchange(wire, journal, {}, lambda _ids: None, lambda: None, heartbeat=0.2)
        sending = asyncio.ensure_future(side._send())
        deadline = time.monotonic() + 30
        while wire.said.count("have") < 2:
            assert time.monotonic() < deadline, wire.said
            side.wake()  # as each message of the peer does
            await asyncio.sleep(0.002)
        sending.cancel()
        journal.close()

    asyncio.run(run())


def test_a_lost_key_store_is_no_delete(tmp_path):
    """An empty folder in the place of the accepted keys, found at the start or while at work, is filled again."""

    async def story(paris, nantes):
        for number in range(20):
            paris.place(f"web{number}", KEYS[0])
        await until(lambda: len(nantes.accepted()) == 20, "all on nantes")
        await until(lambda: paris.journal.note("store"), "the store is known")
        for stop in (True, False):
            if stop:
                await paris.kill()
            (paris.pki / "minions").rename(tmp_path / f"away{stop}")
            (paris.pki / "minions").mkdir()
            if stop:
                paris.store = KeyDirectories(paris.pki)
                paris.start()
            await until(lambda: len(paris.accepted()) == 20, "all put back")
        assert len(nantes.accepted()) == 20
        assert paris.journal.counts() == {"accepted": 20, "rejected": 0, "deleted": 0}

    play(tmp_path, story)


def test_a_deleted_key_stays_so_behind_another_one(sites, tmp_path):  # noqa: F811 - a fixture
    """A member that lost its journal holds a key that was deleted, and whose id had another key since."""
    sites[0].store["web1"] = Held("accepted", KEYS[0])
    heal(sites)
    for key in KEYS[:2]:
        sites[0].store["web1"] = Held("accepted", key)
        heal(sites[:2])
        del sites[0].store["web1"]
        heal(sites[:2])
    sites[2].journal = anew(sites[0].journal, tmp_path / "new.db")
    heal(sites)
    assert all("web1" not in site.store for site in sites)


def test_one_bad_file_or_id_stops_no_other(tmp_path):
    """A folder and a pipe among the keys, and an id that cannot be written: the others are shared."""

    async def story(paris, nantes):
        (paris.pki / "minions" / "folder").mkdir()
        os.mkfifo(paris.pki / "minions" / "pipe")
        (nantes.pki / "minions" / "aaa").mkdir()
        paris.place("aaa", KEYS[0])
        paris.place("web1", KEYS[0])
        await until(lambda: nantes.accepted() == {"web1": KEYS[0]}, "web1 on nantes")
        await until(lambda: "'aaa'" in str(nantes.health()["errors"]), "aaa is told")
        (nantes.pki / "minions" / "aaa").rmdir()
        await until(lambda: set(nantes.accepted()) == {"aaa", "web1"}, "both on nantes")
        await until(lambda: not nantes.health()["errors"], "nothing to tell any more")

    play(tmp_path, story)


def test_the_rotation_after_a_delete_is_not_lost(tmp_path):
    """What has to follow a delete is done again until it succeeds, also by the next run of the engine."""

    async def story(paris, nantes):
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted(), "on nantes")

        def fail(_minions):
            raise OSError("no space left")

        nantes.around.forget = fail
        paris.delete("web1")
        await until(lambda: "no space left" in str(nantes.health()["errors"]), "told")
        await nantes.kill()
        del nantes.around.forget
        nantes.start()
        await until(lambda: nantes.around.forgotten == 1, "done when back")

    play(tmp_path, story)


def test_a_link_to_a_key_is_no_delete(tmp_path):
    """A key file that was replaced by a link is written anew."""

    async def story(paris, nantes):
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted(), "on nantes")
        (nantes.pki / "minions" / "web1").rename(tmp_path / "elsewhere")
        (nantes.pki / "minions" / "web1").symlink_to(tmp_path / "elsewhere")
        await until(lambda: not (nantes.pki / "minions" / "web1").is_symlink(), "a file again")
        assert set(paris.accepted()) == {"web1"}

    play(tmp_path, story)


def test_a_denied_key_that_is_gone_is_not_told_any_more(tmp_path):
    """The report ends with what it reports."""

    async def story(paris, nantes):
        nantes.place("web1", KEYS[1], "minions_pre")
        paris.place("web1", KEYS[0])
        await until(nantes.journal.reports, "reported")
        (nantes.pki / "minions_denied" / "web1").unlink()
        await until(lambda: not nantes.journal.reports(), "settled")

    play(tmp_path, story)


@pytest.mark.parametrize(
    "raw",
    [b"\x92\xa4have\x81\x90\x01", b"\x94\xa7records\x90\x81\xac" + b"x" * 12 + b"\xcf" + b"\xff" * 8 + b"\xc4\x00"],
)
def test_a_peer_that_is_dialled_and_sends_nonsense_ends_no_engine(tmp_path, raw):
    """What cannot be decoded or kept ends the link, whoever has dialled it."""

    async def run():
        paris, nantes = Site(tmp_path, "paris"), Site(tmp_path, "nantes")
        be_one_group([paris, nantes])
        served = asyncio.Event()

        async def serve(wire):
            wire.writer.write(len(raw).to_bytes(4, "big") + raw)
            with contextlib.suppress(OSError, EOFError):
                while True:
                    await wire.receive()
            served.set()

        doors = link.Doors(nantes.identity, tmp_path)
        server = await doors.listen(nantes.address, lambda _public: True, serve, serve)
        paris.start()
        await asyncio.wait_for(served.wait(), 20)
        server.close()
        await doors.close()
        nantes.start()
        paris.place("web1", KEYS[0])
        await until(lambda: "web1" in nantes.accepted(), "paris goes on")
        await paris.kill()
        await nantes.kill()

    asyncio.run(run())


def odd(**health_file):
    """A health file with ``health_file`` in it."""
    return {"written": time.time(), "errors": [], "peers": {}, **health_file}


@pytest.mark.parametrize("peers", [{}, {"nantes": {}}, {"removed": {"connected": True}}], ids=str)
def test_a_status_of_an_odd_health_file_is_told(tmp_path, peers):
    """A peer that the engine does not know yet, knows no more, or an older engine has described."""
    site = Site(tmp_path, "paris")
    other = Site(tmp_path, "nantes")
    be_one_group([site, other])
    health.write(
        site.state,
        odd(peers={other.identity.fingerprint if name == "nantes" else name: one for name, one in peers.items()}),
    )
    found = status.status(site.settings, time.time())
    assert not found["ok"]
    assert "PROBLEM" in status.table("paris", found)


@pytest.mark.parametrize("content", ["", "[]", "{}", "{"])
def test_a_damaged_health_file_is_a_sentence(tmp_path, content):
    """A power cut may leave anything in it."""
    (tmp_path / health.NAME).write_text(content)
    with pytest.raises(UnavailableError, match=r"health\.json"):
        health.read(tmp_path)


def test_health_on_a_full_disk_is_a_sentence(small_disk):
    """A health file that cannot be written leaves the old one, and nothing else."""
    folder = small_disk("256k")
    health.write(folder, odd())
    with pytest.raises(UnavailableError, match=r"health\.json cannot be written"):
        health.write(folder, odd(errors=["x" * 1024 * 1024]))
    assert health.read(folder)["errors"] == []
    assert [path.name for path in folder.iterdir() if path.name.startswith(".health")] == []


def test_an_encrypted_identity_is_a_sentence(tmp_path):
    """A key with a password is no identity."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415

    path = tmp_path / "identity.pem"
    secret = form.BestAvailableEncryption(b"secret")
    path.write_bytes(IDENTITIES[0].key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, secret))
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="no unencrypted private key"):
        load(path)
    path.write_bytes(Identity(IDENTITIES[0].key).pem)
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="can be read by others"):
        load(path)


def test_a_key_rewritten_with_its_old_time_is_seen(tmp_path):
    """The same size and modification time are no proof of the same content."""
    store = KeyDirectories(tmp_path)
    path = tmp_path / "minions" / "web1"
    path.write_text(KEYS[0].pem)
    assert dict(store.scan())["web1"].key == KEYS[0]
    before = path.stat()
    path.write_text(KEYS[1].pem)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert dict(store.scan())["web1"].key == KEYS[1]
    shutil.rmtree(tmp_path / "minions_pre")
    with pytest.raises(UnavailableError, match="minions_pre"):
        store.stamp()
