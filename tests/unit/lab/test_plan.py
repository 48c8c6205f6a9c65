"""What a lab consists of."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import ConfigurationError, RefusedError
from saltext_logilab.lab import plan
from saltext_logilab.lab.plan import Plan, Ports, Wish

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(lambda name: name not in plan.RESERVED)


def planned(wish: Wish | None = None) -> Plan:
    return Plan(
        "id", plan.members(wish or Wish(), "127.1.2", "3008.3"), "127.1.2", Ports(4505, 4506, 4507), user="root"
    )


def test_defaults() -> None:
    """A lab without a wish has two masters on addresses of their own and four minions of the installed Salt."""
    made = planned()
    assert [(m.name, m.address, m.salt) for m in made.masters] == [
        ("paris", "127.1.2.1", "3008.3"),
        ("nantes", "127.1.2.2", "3008.3"),
    ]
    assert [m.name for m in made.minions] == ["m1", "m2", "m3", "m4"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-x", "a/b", "../x", "a b", "é", "a" * 65, "srv", "keys", "lab.json", "a\n"]
)
def test_impossible_names(name: str) -> None:
    """A name that is no file name, or one of the lab's own files, is refused."""
    with pytest.raises(ConfigurationError):
        plan.check_name(name)


@given(NAMES)
def test_possible_names(name: str) -> None:
    """Letters, digits, dots, dashes and underscores make a name."""
    assert plan.check_name(name) == name


def test_same_name_twice() -> None:
    """A master and a minion cannot have the same name."""
    with pytest.raises(ConfigurationError, match="'paris'"):
        planned(Wish(minions=("paris",)))


def test_numbers_of_members() -> None:
    """A number stands for that many default names."""
    assert plan.parse_masters("3") == ("paris", "nantes", "toulouse")
    assert plan.parse_minions("0") == ()
    assert plan.parse_minions("web1, web2") == ("web1", "web2")
    for wrong in ("0", "99"):
        with pytest.raises(ConfigurationError):
            plan.parse_masters(wrong)
    with pytest.raises(ConfigurationError):
        plan.parse_minions("100000")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("3007", {"": "3007"}),
        ("3006.9", {"": "3006.9"}),
        ("paris=3006,nantes=3008.1", {"paris": "3006", "nantes": "3008.1"}),
        ("3007,m1=3008rc1", {"": "3007", "m1": "3008rc1"}),
    ],
)
def test_versions(text: str, parsed: dict[str, str]) -> None:
    """A version is given to everyone or by name."""
    assert plan.parse_salt(text) == parsed


@pytest.mark.parametrize(
    "text", ["", "3005", "2019.2.0", "latest", "paris=", "=3006", "3006,3007", "paris=3006,paris=3007", "3006;x"]
)
def test_wrong_versions(text: str) -> None:
    """What is no version, too old or given twice is refused."""
    with pytest.raises(ConfigurationError):
        plan.parse_salt(text)


def test_version_of_somebody_unknown() -> None:
    """A version for a member that the lab has not is refused, with its name."""
    with pytest.raises(ConfigurationError, match="'lille'"):
        planned(Wish(salt={"lille": "3006"}))


@given(st.integers(0, 255), st.integers(0, 255))
def test_networks(second: int, third: int) -> None:
    """A loopback network is taken with and without its mask."""
    assert plan.parse_network(f"127.{second}.{third}") == f"127.{second}.{third}"
    assert plan.parse_network(f"127.{second}.{third}.0/24") == f"127.{second}.{third}"


@pytest.mark.parametrize("text", ["10.0.0", "127.1", "127.1.256", "127.1.2.3", "::1", ""])
def test_wrong_networks(text: str) -> None:
    """What is no /24 of 127.0.0.0/8 is refused."""
    with pytest.raises(ConfigurationError):
        plan.parse_network(text)


@given(st.lists(NAMES, min_size=1, max_size=6, unique=True), st.integers(1, 6), st.sampled_from(plan.KINDS))
def test_json_there_and_back(names: list[str], masters: int, kind: str) -> None:
    """What lab.json holds gives the same plan again."""
    wish = Wish(masters=tuple(names[:masters]), minions=tuple(names[masters:]))
    made = Plan(
        "x", plan.members(wish, "127.9.9", "3007.1"), "127.9.9", Ports(1, 2, 3), kind, "salt", "/tmp/x", {"a": 1}
    )
    assert plan.from_json(json.loads(json.dumps(plan.to_json(made)))) == made


@pytest.mark.parametrize("values", [None, [], {}, {"format": 99}, {"format": 1}, {"format": 1, "members": 5}])
def test_damaged_json(values: object) -> None:
    """A lab.json that is no plan is a configuration error."""
    with pytest.raises(ConfigurationError):
        plan.from_json(values)


def test_path_in_json() -> None:
    """A lab.json whose member has a path for a name is refused: nothing outside the lab is ever removed."""
    values = plan.to_json(planned())
    values["members"][0] = {**values["members"][0], "name": "../../etc"}
    with pytest.raises(ConfigurationError):
        plan.from_json(values)


def test_same_lab() -> None:
    """A wish without values, or with the lab's own, is the same lab; another one names what differs."""
    made = planned()
    plan.check_same(Wish(), made)
    plan.check_same(Wish(masters=("paris", "nantes"), salt={"": "3008.3"}, kind="hot-hot", user="root"), made)
    for wish, word in [
        (Wish(masters=("paris",)), "masters"),
        (Wish(minions=()), "minions"),
        (Wish(kind="failover"), "type"),
        (Wish(salt={"m1": "3006"}), "salt"),
        (Wish(network="127.9.9"), "network"),
    ]:
        with pytest.raises(RefusedError, match=f"its {word} differ"):
            plan.check_same(wish, made)


def test_fake_minions_are_one_member() -> None:
    """However many they are; their name is taken then."""
    made = plan.members(Wish(minions=("m1",), fake=plan.parse_fake("1000")), "127.1.2", "3008.3")
    assert [(one.name, one.role) for one in made[2:]] == [("m1", "minion"), ("fake", "swarm")]
    with pytest.raises(ConfigurationError, match="two members"):
        plan.members(Wish(minions=("fake",), fake=1), "127.1.2", "3008.3")


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "100000"])
def test_impossible_numbers_of_fake_minions(text: str) -> None:
    """A number that no lab bears is refused."""
    with pytest.raises(ConfigurationError, match="--fake"):
        plan.parse_fake(text)


@pytest.mark.parametrize(
    ("text", "store"),
    [
        ("etcd=127.0.0.1:2379", {"etcd": {"endpoints": ["127.0.0.1:2379"]}}),
        ("postgresql=host=127.0.0.1 dbname=salt", {"postgresql": {"dsn": "host=127.0.0.1 dbname=salt"}}),
    ],
)
def test_a_store_becomes_an_option_of_the_masters(text, store):
    """What stands behind the first ``=`` may hold more of them."""
    assert plan.parse_store(text) == {"logilab": {"masters": {"store": store}}}


@pytest.mark.parametrize("text", ["etcd", "etcd=", "redis=127.0.0.1:6379", "=x", ""])
def test_what_is_no_store_is_refused(text):
    """The error names both kinds."""
    with pytest.raises(ConfigurationError, match="etcd=HOST:PORT or postgresql=DSN"):
        plan.parse_store(text)
