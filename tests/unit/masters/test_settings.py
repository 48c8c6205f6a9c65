"""The area's settings: read once, and every mistake told with its path."""

import pytest

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.masters import settings

GOOD = {"name": "paris", "listen": "192.0.2.1:4507", "silence_days": 3}


def opts(masters, **others):
    """A master's configuration with the area's part ``masters``."""
    logilab = {"masters": masters, **others}
    return {"id": "paris_master", "pki_dir": "/etc/salt/pki/master", "cachedir": "/var/cache/salt", "logilab": logilab}


def test_a_whole_configuration_is_read():
    """Name, address, and the folder beside the pki directory."""
    found = settings.read(opts(GOOD))
    assert (found.name, str(found.listen), str(found.folder)) == (
        "paris",
        "192.0.2.1:4507",
        "/etc/salt/pki/logilab/masters",
    )
    assert found.silence_days == 3


def test_the_name_is_the_masters_id_by_default():
    """Without the ``_master`` that Salt appends."""
    assert settings.read(opts({"listen": "[2001:db8::1]:4507"})).name == "paris"


def test_the_others_may_reach_a_master_elsewhere():
    """``address`` is what they are told, ``listen`` what is bound."""
    found = settings.read(opts({"listen": "0.0.0.0:4507", "address": "paris.example:14507"}))
    assert (str(found.listen), found.reached) == ("0.0.0.0:4507", "paris.example:14507")
    assert settings.read(opts(GOOD)).reached == "192.0.2.1:4507"


def test_nothing_is_pulled_or_held_by_default():
    """What is set is read."""
    plain = settings.read(opts(GOOD))
    assert (plain.pull.offer, plain.pull.take, plain.hold.reference) == ((), (), "")
    told = {"pull": {"offer": ["files"], "take": ["files", "pillar"], "max_size": 5}, "hold": {"reference": "lyon"}}
    found = settings.read(opts({**GOOD, **told}))
    assert (found.pull.offer, found.pull.take, found.pull.limits.size) == (("files",), ("files", "pillar"), 5)
    assert (found.hold.reference, found.hold.after, found.hold.minutes) == ("lyon", 120, 60)


WRONG = [
    ({**GOOD, "pull": {"offer": "files"}}, "logilab:masters:pull:offer must be a list, not 'files'"),
    ({**GOOD, "pull": {"take": ["mine"]}}, "pull:take must be a list of files and pillar, not ['mine']"),
    ({**GOOD, "pull": {"max_files": 0}}, "pull:max_files must be 1 or more, not 0"),
    ({**GOOD, "pull": {"offers": []}}, "did you mean 'offer'"),
    ({**GOOD, "hold": {"after": 0}}, "hold:after must be 1 or more, not 0"),
    ({**GOOD, "hold": {"refrence": "x"}}, "did you mean 'reference'"),
    ({**GOOD, "listn": 1}, "logilab:masters:listn is not a known setting"),
    ({**GOOD, "listne": 1}, "did you mean 'listen'"),
    ({}, "logilab:masters:listen is missing"),
    ({**GOOD, "listen": 4507}, "logilab:masters:listen must be a text, not 4507"),
    ({**GOOD, "listen": "192.0.2.1"}, "listen must be HOST:PORT"),
    ({**GOOD, "listen": "192.0.2.1:0"}, "listen must be HOST:PORT"),
    ({**GOOD, "listen": "2001:db8::1:4507"}, "listen must be HOST:PORT"),
    ({**GOOD, "listen": "a b:4507"}, "listen must be HOST:PORT"),
    ({**GOOD, "listen": "0.0.0.0:4507"}, "say in logilab:masters:address how the others reach it"),
    ({**GOOD, "listen": "[::]:4507"}, "say in logilab:masters:address how the others reach it"),
    ({**GOOD, "address": "paris"}, "address must be HOST:PORT"),
    ({**GOOD, "silence_days": 0}, "silence_days must be 1 or more"),
    ({**GOOD, "silence_days": "a week"}, "silence_days must be a whole number"),
    ({**GOOD, "data": ["mine", "secrets"]}, "data must be a list of mine, grains, pillar, not"),
    ({**GOOD, "data": "mine"}, "data must be a list"),
    ({**GOOD, "data": [["mine"]]}, "data must be a list of mine"),
    ({**GOOD, "name": "../x"}, "is no name of a master"),
    ([], "logilab:masters must be a mapping"),
]


@pytest.mark.parametrize(("masters", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_a_mistake_is_told_with_its_path(masters, sentence):
    """One sentence with the key's whole path and the value."""
    with pytest.raises(ConfigurationError) as told:
        settings.read(opts(masters))
    assert sentence in str(told.value)


def test_an_unknown_area_is_told():
    """A slip in the area's own name is not passed over."""
    with pytest.raises(ConfigurationError, match=r"logilab:mastres is not a known setting .*'masters'"):
        settings.read(opts(GOOD, mastres={}))


@pytest.mark.parametrize("folder", ["/var/cache/salt/logilab", "/var/cache/salt/../salt/x"])
def test_state_never_lies_under_cachedir(folder):
    """``saltutil.clear_cache`` would empty it."""
    with pytest.raises(ConfigurationError, match="clear_cache"):
        settings.read(opts(GOOD, state_dir=folder))


def test_state_dir_must_be_absolute():
    """A relative path would depend on where the master was started."""
    with pytest.raises(ConfigurationError, match="absolute"):
        settings.read(opts(GOOD, state_dir="state"))


ETCD = {"endpoints": ["etcd1.example:2379", "[2001:db8::1]:2379"], "ca": "/etc/salt/etcd/ca.pem"}
DSN = "host=db.example dbname=salt user=salt sslmode=verify-full"


def with_store(store):
    """A configuration with a store."""
    return opts({**GOOD, "store": store})


def test_a_store_is_read():
    """etcd with all that belongs to it; PostgreSQL; none."""
    etcd = settings.read(
        with_store({"etcd": {**ETCD, "certificate": "/a", "key": "/b", "user": "salt", "password_file": "/c"}})
    ).store
    assert [str(one) for one in etcd.endpoints] == ["etcd1.example:2379", "[2001:db8::1]:2379"]
    assert (str(etcd.tls.ca), str(etcd.tls.key), etcd.user) == ("/etc/salt/etcd/ca.pem", "/b", "salt")
    assert settings.read(with_store({"postgresql": {"dsn": DSN}})).store.dsn == DSN
    assert settings.read(opts(GOOD)).store is None


@pytest.mark.parametrize(
    "store",
    [
        {"etcd": {"endpoints": ["127.0.0.1:2379", "localhost:2379", "[::1]:2379"]}},
        {"postgresql": {"dsn": "dbname=salt"}},
        {"postgresql": {"dsn": "host=/run/postgresql dbname=salt"}},
        {"postgresql": {"dsn": "host=127.0.0.1 dbname=salt"}},
        {"postgresql": {"dsn": "postgresql://salt@localhost:5432/salt"}},
    ],
    ids=str,
)
def test_a_store_on_this_machine_needs_no_tls(store):
    """Nothing leaves the machine."""
    assert settings.read(with_store(store)).store


WRONG_STORES = [
    ({"redis": {}}, "store:redis is not a known setting"),
    ({"etcd": ETCD, "postgresql": {"dsn": DSN}}, "a group has one store"),
    ({"etcd": {}}, "store:etcd:endpoints is missing"),
    ({"etcd": {"endpoints": []}}, "endpoints must be a list of HOST:PORT"),
    ({"etcd": {"endpoints": "etcd1:2379"}}, "endpoints must be a list"),
    ({"etcd": {"endpoints": ["etcd1"], "ca": "/ca"}}, "endpoints must be HOST:PORT"),
    ({"etcd": {"endpoints": ["etcd1:2379"]}}, "etcd:ca is missing"),
    ({"etcd": {"endpoints": ["127.0.0.1:2379", "etcd1:2379"]}}, "etcd:ca is missing"),
    ({"etcd": {**ETCD, "ca": "ca.pem"}}, "ca must be an absolute path"),
    ({"etcd": {**ETCD, "key": "/key"}}, "certificate, key and ca belong together"),
    ({"etcd": {**ETCD, "user": "salt"}}, "user and password_file belong together"),
    ({"etcd": {**ETCD, "prefix": "a b"}}, "prefix must be"),
    ({"etcd": {**ETCD, "pasword_file": "/x"}}, "did you mean 'password_file'"),
    ({"postgresql": {}}, "store:postgresql:dsn is missing"),
    ({"postgresql": {"dsn": f"{DSN} password=secret"}}, "dsn holds a password"),
    ({"postgresql": {"dsn": "postgresql://salt:secret@db.example/salt?sslmode=verify-full"}}, "dsn holds a password"),
    ({"postgresql": {"dsn": "host=db.example dbname=salt"}}, "sslmode=verify-full"),
    ({"postgresql": {"dsn": "host=db.example dbname=salt sslmode=require"}}, "sslmode=verify-full"),
    ({"postgresql": {"dsn": "host=localhost hostaddr=192.0.2.7 dbname=salt"}}, "sslmode=verify-full"),
    ({"postgresql": {"dsn": "postgresql:///salt?host=db.example"}}, "sslmode=verify-full"),
    ({"postgresql": {"dsn": "host=localhost,db.example dbname=salt"}}, "sslmode=verify-full"),
    ({"postgresql": {"dsn": "postgresql://salt@db.example/salt"}}, "sslmode=verify-full"),
    ([], "logilab:masters:store must be a mapping"),
]


@pytest.mark.parametrize(("store", "error"), WRONG_STORES, ids=str)
def test_each_mistake_about_a_store_is_told_with_its_path(store, error):
    """Secrets neither stand in the configuration nor travel in the clear; and the secret is not in the error."""
    with pytest.raises(ConfigurationError, match=error) as told:
        settings.read(with_store(store))
    assert "secret" not in str(told.value)
