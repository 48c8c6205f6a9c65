"""What the firewall's rules mean for a published port, rule by rule."""

from __future__ import annotations

import pytest

from saltext_logilab.containers import networks, reach
from saltext_logilab.containers.firewall import DNAT, NEW, Firewall, Packet, parse

HEAD = ["-P INPUT ACCEPT", "-P FORWARD ACCEPT", "-N DOCKER-USER"]
JUMP = ["-A FORWARD -j DOCKER-USER", "-A FORWARD -o docker0 -j DOCKER"]
NAT = ["-N DOCKER", "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8200 -j DNAT --to-destination 172.17.0.2:80"]
BY_PUBLISHED = "-A DOCKER-USER -p tcp -m conntrack --ctorigdstport 8200 --ctdir ORIGINAL -j DROP"
RETURN = "-A DOCKER-USER -j RETURN"
ROW = {
    "daemon": "docker",
    "container": "web",
    "protocol": "tcp",
    "container_port": 80,
    "host_ip": "0.0.0.0",
    "host_port": 8200,
    "origin": "published",
    "exposure": "public",
}
PUBLISHED = Packet("tcp", 80, 8200, frozenset({NEW, DNAT}), "docker0")
DIRECT = Packet("tcp", 80, 80, frozenset({NEW}), "docker0", "172.17.0.2")
LAN = networks.Network("1", "bridge", "bridge", "docker0")
WEB = ("docker", networks.Attachment("web", LAN, ("172.17.0.2",), (("tcp", 443),)))
FROM = "-A DOCKER-USER -s {} -p tcp -m conntrack --ctorigdstport 8200 -j RETURN"


@pytest.mark.parametrize(
    ("rules", "admitted"),
    [
        ([BY_PUBLISHED, RETURN], ()),
        (["-A DOCKER-USER -m conntrack --ctorigdstport 8000:8300 -j REJECT --reject-with tcp-reset"], ()),
        (["-A DOCKER-USER -j DROP"], ()),
        (["-A DOCKER-USER -p tcp -m tcp --dport 80 -j DROP"], ()),
        (["-A DOCKER-USER -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN", BY_PUBLISHED], ()),
        ([FROM.format("10.0.0.0/8"), FROM.format("192.0.2.1/32"), BY_PUBLISHED], ("10.0.0.0/8", "192.0.2.1/32")),
        (["-N own", "-A DOCKER-USER -j own", BY_PUBLISHED.replace("DOCKER-USER", "own")], ()),
        (["-N own", "-A DOCKER-USER -j own", "-A own -j ACCEPT", BY_PUBLISHED], None),
        (["-A DOCKER-USER -j LOG", BY_PUBLISHED], ()),
        ([RETURN, BY_PUBLISHED], None),
        (["-A DOCKER-USER -m owner --uid-owner 0 -j ACCEPT", BY_PUBLISHED], None),
        (["-A DOCKER-USER -j own-module", BY_PUBLISHED], None),
        (["-A DOCKER-USER -p tcp -m tcp --dport 8200 -j DROP"], None),
        (["-A DOCKER-USER -p udp -m conntrack --ctorigdstport 8200 -j DROP"], None),
        (["-A DOCKER-USER -s 192.0.2.0/24 -p tcp -m conntrack --ctorigdstport 8200 -j DROP"], None),
        (["-A DOCKER-USER ! -s 10.0.0.0/8 -p tcp -m conntrack --ctorigdstport 8200 -j DROP"], None),
        (["-A DOCKER-USER -p tcp -m conntrack ! --ctorigdstport 8200 -j DROP"], None),
        (["-A DOCKER-USER -m conntrack ! --ctstate DNAT -j DROP"], None),
        ([], None),
    ],
)
def test_whom_the_rules_let_in(rules, admitted):
    """A refusal by the published port, or of all, closes it; what is not understood closes nothing, and may open."""
    assert parse([*HEAD, *JUMP, *rules], NAT).admits("FORWARD", PUBLISHED) == admitted


@pytest.mark.parametrize("jump", [[], JUMP[::-1], ["-A FORWARD -j ACCEPT", *JUMP], ["-A FORWARD -j ufw", *JUMP]])
def test_rules_without_the_jump(jump):
    """An older DOCKER-USER keeps Docker from inserting the jump: the rules are there and close nothing."""
    found = parse([*HEAD, *jump, BY_PUBLISHED], NAT)
    assert not found.jumps
    (told,) = reach.ports([ROW], reach.Scene({4: found, 6: found}))
    assert (told["exposure"], "no rule there counts" in told["why"]) == ("public", True)


@pytest.mark.parametrize(
    ("rules", "raw", "routed"),
    [
        ([], [], True),
        (["-P FORWARD DROP", "-N DOCKER"], [], False),
        (
            ["-P FORWARD DROP", "-N DOCKER", "-A DOCKER -d 172.17.0.2/32 ! -i docker0 -p tcp --dport 80 -j ACCEPT"],
            [],
            True,
        ),
        (
            ["-P FORWARD DROP", "-N DOCKER", "-A DOCKER -d 172.17.0.9/32 ! -i docker0 -p tcp --dport 80 -j ACCEPT"],
            [],
            False,
        ),
        (["-A DOCKER-USER ! -i docker0 -o docker0 -m conntrack ! --ctstate DNAT -j DROP"], [], False),
        (["-A DOCKER-USER ! -i br-1 -o br-1 -j DROP"], [], True),
        ([], ["-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP"], False),
        ([], ["-A PREROUTING -d 172.17.0.3/32 ! -i docker0 -j DROP"], True),
    ],
)
def test_what_a_route_leads_to(rules, raw, routed):
    """The policy of FORWARD, Docker's own rule for a published port, a rule for the bridge, Docker 28's own refusal."""
    scene = reach.Scene({4: parse([*HEAD, *JUMP, *rules], NAT, raw)}, [WEB])
    (told,) = reach.ports([ROW], scene)
    assert told["routed"] == (["172.17.0.2"] if routed else [])


def test_unpublished_ports_by_a_route():
    """They are open where FORWARD accepts what nobody has decided, not where only the published one is let on."""
    accepted = "-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT"
    published = parse([*HEAD, "-P FORWARD DROP", *JUMP, "-N DOCKER", accepted], NAT)
    assert reach.unpublished(reach.Scene({4: published}, [WEB])) == []
    assert reach.unpublished(reach.Scene({4: parse([*HEAD, *JUMP], NAT)}, [WEB])) == [
        {"daemon": "docker", "container": "web", "address": "172.17.0.2", "ports": ["443/tcp"]}
    ]


def test_reasons():
    """Filtered, limited to networks, bound to loopback, carried by docker-proxy, or open: each with the reason."""
    closed, empty = parse([*HEAD, *JUMP, BY_PUBLISHED], NAT), Firewall()
    limited = parse([*HEAD, *JUMP, FROM.format("10.0.0.0/8"), BY_PUBLISHED], NAT)
    rows = [ROW, {**ROW, "host_ip": "127.0.0.1", "exposure": "loopback"}, {**ROW, "host_ip": "::"}]
    told = [(one["exposure"], one["why"]) for one in reach.ports(rows, reach.Scene({4: closed, 6: empty}))]
    assert [one for one, _ in told] == ["filtered", "loopback", "public"]
    assert "INPUT, which DOCKER-USER does not see" in told[2][1]
    (one,) = reach.ports([ROW], reach.Scene({4: limited, 6: empty}))
    assert (one["exposure"], one["why"]) == ("local", "bound to 0.0.0.0; FORWARD lets in 10.0.0.0/8 alone")


def test_what_shares_a_containers_network_is_reached_as_its_port_is():
    """By the DNAT of the published port; what listens on the host's own network comes through INPUT."""
    scene = reach.Scene({4: parse([*HEAD, *JUMP, BY_PUBLISHED], NAT), 6: Firewall()})
    guest, hosted = ({**ROW, "container": name, "origin": "listener"} for name in ("guest", "hosted"))
    both = reach.ports([ROW, guest], scene)
    assert [one["exposure"] for one in both] == ["filtered", "filtered"]
    (alone,) = reach.ports([hosted], scene)
    assert alone["exposure"] == "public"


def test_networks_past_the_host():
    """A container on a macvlan network has no interface here: it is named; one that has stopped is not."""
    found = networks.of(
        [
            {"Id": "a" * 64, "Name": "lan", "Driver": "macvlan"},
            {"Id": "b" * 64, "Name": "shop", "Driver": "bridge", "Options": {}},
            {"Id": "c" * 64, "Name": "bridge", "Driver": "bridge", "Options": {"com.docker.network.bridge.name": "d0"}},
        ]
    )
    assert [one.interface for one in found] == ["", "br-bbbbbbbbbbbb", "d0"]
    on_lan = {"NetworkSettings": {"Networks": {"lan": {"NetworkID": "a" * 64, "IPAddress": "192.0.2.9"}}}}
    listed = [{"Names": ["/own"], "State": "running", **on_lan}, {"Names": ["/off"], "State": "exited", **on_lan}]
    assert networks.beside_the_host(listed, found) == ["the container 'own' on the macvlan network 'lan'"]
