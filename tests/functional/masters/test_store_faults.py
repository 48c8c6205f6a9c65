"""What becomes of members whose store dies, is emptied, set back, forged or refuses: nothing is lost or undone."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.masters import status
from saltext_logilab.masters.addresses import Address
from saltext_logilab.masters.settings import MastersSettings
from saltext_logilab.masters.stores.settings import EtcdSettings, PostgresqlSettings, StoreSettings, Tls
from tests.functional.masters.test_carriers import StoreSite
from tests.support.addresses import free_address
from tests.support.certificates import Authority, place
from tests.support.etcd import EtcdServer
from tests.support.minion_keys import KEYS
from tests.support.roots import new_root
from tests.support.stores import KINDS, EtcdStore, PostgresqlStore, Store
from tests.unit.masters.test_members import Site, play, until

Story = Callable[..., Any]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, own_servers: Callable[[str], Store]) -> Store:
    """A store that a test may kill, if it starts it again."""
    return own_servers(request.param)


def over(store: Store, folder: Path, story: Story, names: tuple[str, ...] = ("paris", "nantes")) -> None:
    """Play ``story`` with members that only share ``store``."""
    play(folder, story, names, type("StoreSiteOf", (StoreSite,), {"carried_by": store}))


def problems(site: Site) -> str:
    """What ``masters.status`` calls a problem."""
    return "\n".join(status.status(site.settings, time.time())["problems"])


async def both_have(sites: tuple[StoreSite, ...], names: set[str]) -> None:
    """Wait until the accepted keys of all ``sites`` are ``names``."""
    for site in sites:
        await until(lambda site=site: set(site.accepted()) == names, f"{site.name} has {names}")


def head_of(store: Store, site: Site) -> str:
    """Return the name under which the head of ``site`` lies in ``store``."""
    member = site.member.membership.public
    from saltext_logilab.masters.records import member_id  # noqa: PLC0415

    return next(name for name in store.content() if name.endswith(f"heads/{member_id(member).hex()}"))


def test_a_store_that_is_killed_and_comes_back(store: Store, tmp_path: Path) -> None:
    """kill -9 in the middle of changes: the status says so; what was decided meanwhile arrives when it is back."""

    async def story(paris: StoreSite, nantes: StoreSite) -> None:
        paris.place("web1", KEYS[0])
        await both_have((paris, nantes), {"web1"})
        for number in range(20):
            paris.place(f"many{number}", KEYS[1])
            if number == 10:
                await asyncio.to_thread(store.kill)
        nantes.place("web2", KEYS[2])
        await until(lambda: "is away for" in problems(paris) and "changes wait" in problems(paris), "paris says so")
        await asyncio.to_thread(store.start)
        await both_have((paris, nantes), {"web1", "web2", *(f"many{number}" for number in range(20))})
        await until(lambda: "away" not in problems(paris) and not paris.told()["waiting"], "paris says that it is back")

    over(store, tmp_path, story)


def test_a_store_that_is_emptied_is_filled_again(store: Store, tmp_path: Path) -> None:
    """Absence is no delete: the keys stay, and everything is written again, also what a member that is away knew."""

    async def story(paris: StoreSite, nantes: StoreSite, lyon: StoreSite) -> None:
        lyon.place("web1", KEYS[0])
        paris.place("web2", KEYS[1])
        await both_have((paris, nantes, lyon), {"web1", "web2"})
        await lyon.kill()
        await asyncio.to_thread(store.empty)
        for site in (paris, nantes):
            await until(lambda site=site: site.told()["set_back"], f"{site.name} has noticed")
            assert set(site.accepted()) == {"web1", "web2"}
        for path in lyon.state.glob("journal*"):
            path.unlink()
        (lyon.pki / "minions" / "web1").unlink()
        (lyon.pki / "minions" / "web2").unlink()
        lyon.start()
        await both_have((paris, nantes, lyon), {"web1", "web2"})

    over(store, tmp_path, story, ("paris", "nantes", "lyon"))


def test_a_store_that_is_set_back_undoes_nothing(store: Store, tmp_path: Path) -> None:
    """An old backup of the store is restored: what was deleted stays deleted, what was accepted stays accepted."""

    async def story(paris: StoreSite, nantes: StoreSite) -> None:
        paris.place("web1", KEYS[0])
        await both_have((paris, nantes), {"web1"})
        copy = await asyncio.to_thread(store.backup)
        nantes.delete("web1")
        paris.place("web2", KEYS[1])
        await both_have((paris, nantes), {"web2"})
        for site in (paris, nantes):
            await until(lambda site=site: site.journal.counts()["deleted"] == 0, "all have acknowledged")
        await asyncio.to_thread(store.restore, copy)
        await until(lambda: paris.told()["set_back"] and nantes.told()["set_back"], "both have noticed")
        nantes.place("web3", KEYS[2])
        await both_have((paris, nantes), {"web2", "web3"})
        await nantes.kill()
        for path in nantes.state.glob("journal*"):
            path.unlink()
        for minion in ("web2", "web3"):
            (nantes.pki / "minions" / minion).unlink()
        nantes.start()
        await both_have((paris, nantes), {"web2", "web3"})

    over(store, tmp_path, story)


def test_what_a_dead_member_has_written_is_there(store: Store, tmp_path: Path) -> None:
    """Two members that are never up at the same time agree all the same, over what lies in the store."""

    async def story(paris: StoreSite, nantes: StoreSite) -> None:
        paris.place("web1", KEYS[0])
        await both_have((paris, nantes), {"web1"})
        await nantes.kill()
        paris.place("web2", KEYS[1])
        await until(lambda: paris.journal.counts()["accepted"] == 2, "noted on paris")
        await until(lambda: not paris.told()["waiting"], "written by paris")
        await paris.kill()
        nantes.start()
        await both_have((nantes,), {"web1", "web2"})

    over(store, tmp_path, story)


def test_a_record_that_was_tampered_with_is_refused(store: Store, tmp_path: Path) -> None:
    """Somebody changes a part of a log while its member is away: reported, not taken, and mended by its member."""

    async def story(paris: StoreSite, nantes: StoreSite) -> None:
        paris.place("web1", KEYS[0])
        await both_have((paris, nantes), {"web1"})
        await nantes.kill()
        paris.place("web2", KEYS[1])
        await until(lambda: paris.journal.counts()["accepted"] == 2, "noted on paris")
        await until(lambda: not paris.told()["waiting"], "written by paris")
        head = head_of(store, paris)
        await paris.kill()
        log = head.replace("heads", "logs")
        name = sorted(one for one in store.content() if one.startswith(log))[-1]
        was = store.content()[name]
        await asyncio.to_thread(store.put, name, was[:-1] + bytes([was[-1] ^ 1]))
        nantes.start()
        await until(lambda: "paris in the store are not taken" in problems(nantes), "nantes says so")
        assert set(nantes.accepted()) == {"web1"}
        paris.start()
        await both_have((paris, nantes), {"web1", "web2"})
        await until(lambda: "not taken" not in problems(nantes), "all is well")

    over(store, tmp_path, story)


def test_what_was_changed_under_a_member_that_is_there_is_written_again(store: Store, tmp_path: Path) -> None:
    """Its head is replaced by an older one of its own: the others undo nothing, and it writes a newer one."""

    async def story(paris: StoreSite, nantes: StoreSite) -> None:
        paris.place("web1", KEYS[0])
        await both_have((paris, nantes), {"web1"})
        name = head_of(store, paris)
        old = store.content()[name]
        paris.delete("web1")
        await both_have((paris, nantes), set())
        for site in (paris, nantes):
            await until(lambda site=site: site.journal.counts()["deleted"] == 0, "all have acknowledged")
        await asyncio.to_thread(store.put, name, old)
        await until(lambda: store.content()[name] != old, "written again")
        assert paris.accepted() == nantes.accepted() == {}
        paris.place("web2", KEYS[1])
        await both_have((paris, nantes), {"web2"})

    over(store, tmp_path, story)


def test_a_head_of_somebody_else_is_no_head(store: Store, tmp_path: Path) -> None:
    """Under a member's name lies what another one has signed, or nonsense: reported, and nothing follows."""

    async def story(paris: StoreSite, nantes: StoreSite) -> None:
        paris.place("web1", KEYS[0])
        await both_have((paris, nantes), {"web1"})
        name, other = head_of(store, paris), head_of(store, nantes)
        await paris.kill()
        for wrong in (store.content()[other], b"nonsense", b""):
            await asyncio.to_thread(store.put, name, wrong)
            await until(lambda: "paris says of itself in the store is not taken" in problems(nantes), "reported")
        assert set(nantes.accepted()) == {"web1"}
        paris.start()
        nantes.place("web2", KEYS[1])
        await both_have((paris, nantes), {"web1", "web2"})
        await until(lambda: "not taken" not in problems(nantes), "all is well")

    over(store, tmp_path, story)


class Linked(Site):
    """A member with links, and a store besides."""

    where: StoreSettings

    @property
    def settings(self) -> MastersSettings:
        """What its configuration says."""
        return MastersSettings(self.name, self.address, self.state, store=self.where)


@pytest.mark.parametrize("kind", KINDS)
def test_links_go_on_without_the_store(kind: str, tmp_path: Path) -> None:
    """A store that cannot be reached, from the start: members share over their links, and the status names it."""
    host, port = free_address()
    nowhere: StoreSettings = EtcdSettings((Address(host, port),))
    if kind == "postgresql":
        nowhere = PostgresqlSettings(f"host={host} port={port} user=x dbname=x")

    async def story(paris: Site, nantes: Site) -> None:
        paris.place("web1", KEYS[0])
        await both_have((paris, nantes), {"web1"})  # type: ignore[arg-type]
        await until(lambda: "is away for" in problems(paris) and str(port) in problems(paris), "the status says so")

    play(tmp_path, story, kind=type("LinkedTo", (Linked,), {"where": nowhere}))


def refused(settings: StoreSettings, folder: Path) -> str:
    """Return why a member with a store of ``settings`` cannot use it."""
    told: list[str] = []

    async def story(paris: Site) -> None:
        await until(lambda: (paris.health().get("store") or {}).get("error"), "an error")
        told.append(paris.health()["store"]["error"])

    play(folder, story, ("paris",), type("LinkedTo", (Linked,), {"where": settings}))
    return told[0]


def test_etcd_with_a_certificate_of_somebody_else(own_servers: Callable[[str], Store], tmp_path: Path) -> None:
    """An authority that did not sign the server's, a client's certificate of another authority, and none at all."""
    known = own_servers("etcd").settings()
    assert isinstance(known, EtcdSettings)
    assert known.tls
    files = place(Authority(), tmp_path / "other")
    wrong = [
        Tls(files.ca, known.tls.certificate, known.tls.key),
        Tls(known.tls.ca, files.certificate, files.key),
        Tls(known.tls.ca),
    ]
    for number, tls in enumerate(wrong):
        assert refused(dataclasses.replace(known, tls=tls), tmp_path / str(number)).startswith("etcd")


def test_etcd_with_users_and_a_role_for_the_group_alone(daemon_root: Path, tmp_path: Path) -> None:
    """With a password, and rights for its own keys only, a member shares; with a wrong one it says why."""
    store = EtcdStore(EtcdServer(new_root(daemon_root, "etcd"), Authority()))
    store.server.start()
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("sesame\n")
    signed_in = dataclasses.replace(store.settings(), user="salt", password_file=password)

    class SignedIn(StoreSite):
        @property
        def settings(self) -> MastersSettings:
            return MastersSettings(self.name, self.listens, self.state, address=self.address, store=signed_in)

    async def story(paris: StoreSite, nantes: StoreSite) -> None:
        paris.place("web1", KEYS[0])
        await both_have((paris, nantes), {"web1"})
        nantes.delete("web1")
        paris.place("web2", KEYS[1])
        await both_have((paris, nantes), {"web2"})
        password.write_text("wrong\n")
        await asyncio.to_thread(store.server.restart)
        await until(lambda: "authentication failed" in problems(paris), "paris says why")
        assert "wrong" not in problems(paris)
        password.write_text("sesame\n")
        nantes.place("web3", KEYS[2])
        await both_have((paris, nantes), {"web2", "web3"})

    try:
        store.ask_for_passwords({"root": "root", "salt": "sesame"})
        play(tmp_path, story, kind=SignedIn)
    finally:
        store.server.stop()


def test_postgresql_with_a_wrong_authority_or_password(own_servers: Callable[[str], Store], tmp_path: Path) -> None:
    """What PostgreSQL says is what the status says; the password is not in it."""
    known = own_servers("postgresql").settings()
    assert isinstance(known, PostgresqlSettings)
    files = place(Authority(), tmp_path / "other")
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("wrong\n")
    dsn = known.dsn.rpartition("sslrootcert=")[0] + f"sslrootcert={files.ca}"
    assert "SSL error" in refused(dataclasses.replace(known, dsn=dsn), tmp_path / "1")
    told = refused(dataclasses.replace(known, password_file=password), tmp_path / "2")
    assert "password authentication failed" in told
    password.chmod(0o644)
    told = refused(dataclasses.replace(known, password_file=password), tmp_path / "3")
    assert "can be read by others" in told


def test_an_etcd_that_is_full(daemon_root: Path, tmp_path: Path) -> None:
    """It takes nothing more: the status says so, the members go on; when there is room all is written."""
    server = EtcdServer(new_root(daemon_root, "etcd"), Authority(), "--quota-backend-bytes", "16777216")
    server.start()
    store = EtcdStore(server)

    async def story(paris: StoreSite, nantes: StoreSite) -> None:
        paris.place("web1", KEYS[0])
        await both_have((paris, nantes), {"web1"})
        await asyncio.to_thread(store.fill)
        paris.place("web2", KEYS[1])
        await until(lambda: "space exceeded" in problems(paris), "paris says so")
        await asyncio.to_thread(store.make_room)
        await both_have((paris, nantes), {"web1", "web2"})

    try:
        over(store, tmp_path, story)
    finally:
        server.stop()


def test_a_postgresql_that_takes_nothing(own_servers: Callable[[str], Store], tmp_path: Path) -> None:
    """Read-only, as a standby is: the status says so, and when it takes writes again all is written."""
    store = own_servers("postgresql")
    assert isinstance(store, PostgresqlStore)

    async def story(paris: StoreSite, nantes: StoreSite) -> None:
        paris.place("web1", KEYS[0])
        await both_have((paris, nantes), {"web1"})
        await asyncio.to_thread(store.set_for_all, "default_transaction_read_only = on")
        paris.place("web2", KEYS[1])
        await until(lambda: "read-only transaction" in problems(paris), "paris says so")
        await asyncio.to_thread(store.set_for_all, "default_transaction_read_only = off")
        await both_have((paris, nantes), {"web1", "web2"})

    over(store, tmp_path, story)


def test_notifications_that_are_lost(own_servers: Callable[[str], Store], tmp_path: Path) -> None:
    """A database in which no notification is sent: what lies there is seen all the same, a few seconds later."""
    store = own_servers("postgresql")
    assert isinstance(store, PostgresqlStore)
    with store.connect() as connection:
        connection.execute("CREATE FUNCTION public.pg_notify(text, text) RETURNS void LANGUAGE sql AS ''")
    store.set_for_all("search_path = public, pg_catalog")

    async def story(paris: StoreSite, nantes: StoreSite) -> None:
        paris.place("web1", KEYS[0])
        await both_have((paris, nantes), {"web1"})
        nantes.delete("web1")
        await both_have((paris, nantes), set())

    over(store, tmp_path, story)


def test_an_etcd_that_forgets_its_history(own_servers: Callable[[str], Store], tmp_path: Path) -> None:
    """A compaction while members watch, and one while they cannot: they list anew and miss nothing."""
    store = own_servers("etcd")
    assert isinstance(store, EtcdStore)

    async def story(paris: StoreSite, nantes: StoreSite) -> None:
        for number in range(3):
            paris.place(f"web{number}", KEYS[0])
            await asyncio.to_thread(store.compact)
        await both_have((paris, nantes), {"web0", "web1", "web2"})
        await nantes.kill()
        paris.delete("web0")
        await until(lambda: paris.journal.counts()["deleted"] == 1, "noted on paris")
        await until(lambda: not paris.told()["waiting"], "written by paris")
        await asyncio.to_thread(store.compact)
        nantes.start()
        await both_have((paris, nantes), {"web1", "web2"})

    over(store, tmp_path, story)
