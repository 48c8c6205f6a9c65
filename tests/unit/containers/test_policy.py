"""A policy of ports, and the rules that it means."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saltext_logilab.containers import boot, policy
from saltext_logilab.containers.firewall import DNAT, NEW, Packet, parse
from saltext_logilab.containers.policy import Ground, Policy
from saltext_logilab.errors import ConfigurationError

GROUND = Ground(frozenset({"docker0"}), frozenset({(8080, "tcp"), (9090, "tcp")}))
NETWORKS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).flatmap(
    lambda one: st.integers(1, one.max_prefixlen).map(
        lambda bits: (
            str(ipaddress.ip_network((int(one), bits), False))
            if one.version == 4
            else str(ipaddress.IPv6Network((int(one), bits), False))
        )
    )
)
KEYS = st.tuples(st.integers(1, 65535), st.sampled_from(["tcp", "udp", "sctp"]))
POLICIES = st.builds(
    Policy,
    st.dictionaries(
        KEYS, st.lists(NETWORKS, unique=True, max_size=4).map(lambda some: policy.parse_sources(some, "x"))
    ),
    st.booleans(),
    st.booleans(),
)


def live(chains):
    """Return the firewall in which these chains are in force."""
    lines = ["-P FORWARD ACCEPT", "-P INPUT ACCEPT", "-N DOCKER-USER", "-A FORWARD -j DOCKER-USER"]
    lines += [f"-N {name}" for name in chains]
    lines += [f"-A {hook} -j {name}" for name, hook in policy.HOOKS.items()]
    return parse([*lines, *(f"-A {name} {one}" for name, rules in chains.items() for one in rules)])


@settings(max_examples=40)
@given(POLICIES, st.sampled_from([4, 6]))
def test_the_rules_let_in_whom_the_policy_names(wanted, family):
    """In the eyes of the audit: by DNAT and by INPUT, for each port the networks of that family and no more."""
    found = live(policy.chains(wanted, GROUND, family))
    for (port, protocol), sources in wanted.ports.items():
        own = sorted(one for one in sources if ipaddress.ip_network(one).version == family)
        forwarded = Packet(protocol, 80, port, frozenset({NEW, DNAT}), "docker0")
        assert sorted(found.admits("FORWARD", forwarded)) == own
        assert sorted(found.admits("INPUT", Packet(protocol, port, port))) == own
    other = Packet("tcp", 80, 7, frozenset({NEW, DNAT}), "docker0")
    if (7, "tcp") not in wanted.ports:
        assert (found.admits("FORWARD", other) == ()) == wanted.only
    direct = Packet("tcp", 80, 80, frozenset({NEW}), "docker0")
    assert (found.admits("FORWARD", direct) == ()) == (not wanted.routed)


@settings(max_examples=40)
@given(POLICIES, st.sampled_from([4, 6]))
def test_rules_in_force_are_left_alone(wanted, family):
    """Nothing to do where they are, something where one of them, or a jump, is not."""
    chains = policy.chains(wanted, GROUND, family)
    found = live(chains)
    assert policy.script(found, chains) == ""
    assert policy.script(live({}), chains) != ""
    assert policy.removal(parse(["-P INPUT ACCEPT"])) == ""
    assert "-D INPUT -j LOGILAB-INPUT" in policy.removal(found)


@settings(max_examples=40)
@given(POLICIES)
def test_kept_and_read(wanted):
    """A policy and its grounds are the same after they were kept."""
    assert policy.of_data(policy.to_data(wanted, {"docker": GROUND})) == (wanted, {"docker": GROUND})


def test_everybody():
    """A network of all addresses leaves that family open, and the other one closed."""
    wanted = Policy({(8080, "tcp"): ("0.0.0.0/0",)})
    packet = Packet("tcp", 8080, 8080)
    assert live(policy.chains(wanted, GROUND, 4)).admits("INPUT", packet) is None
    assert live(policy.chains(wanted, GROUND, 6)).admits("INPUT", packet) == ()


def test_ports_one_by_one():
    """A second port keeps closed what the first has closed; the last one that goes opens it again."""
    one = Policy().with_port((80, "tcp"), (), routed=False)
    both = one.with_port((53, "udp"), (), routed=True)
    assert (one.routed, both.routed, bool(both)) == (False, False, True)
    assert both.without_port((80, "tcp")).ports == {(53, "udp"): ()}
    assert not both.without_port((80, "tcp")).without_port((53, "udp"))
    assert one.with_port((80, "tcp"), (), routed=True).routed is True
    with pytest.raises(ConfigurationError, match="80/tcp has to stand there"):
        Policy(only=True).with_port((80, "tcp"), (), routed=True)


@pytest.mark.parametrize(
    "damaged", [{}, [], {"ports": 1, "only": 1, "routed": 1, "grounds": {}}, {"grounds": {"d": 1}}]
)
def test_a_damaged_policy(damaged):
    """One sentence."""
    with pytest.raises(ConfigurationError):
        policy.of_data(damaged)


def test_at_boot(tmp_path):
    """Only our own chains are named, so that nothing else is flushed; a family that the host lacks is left out."""
    assert boot.rules_text({"LOGILAB-INPUT": ["-i lo -j RETURN"]}).splitlines() == [
        "*filter",
        ":LOGILAB-INPUT - [0:0]",
        "-A LOGILAB-INPUT -i lo -j RETURN",
        "COMMIT",
    ]
    text = boot.drop_in({"iptables": "/sbin/iptables", "iptables-restore": "/sbin/iptables-restore"}, tmp_path)
    assert f"ExecStartPre=/sbin/iptables-restore -w --noflush {tmp_path}/filter.v4" in text.splitlines()
    assert "ip6tables" not in text
