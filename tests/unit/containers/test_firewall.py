"""What the firewall's rules mean for a published port, rule by rule."""

from __future__ import annotations

import pytest

from saltext_logilab.containers.firewall import Firewall, audit, parse

HEAD = ["-P INPUT DROP", "-P FORWARD DROP", "-N DOCKER-USER"]
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


@pytest.mark.parametrize(
    ("rules", "closed"),
    [
        ([BY_PUBLISHED, RETURN], True),
        (
            ["-A DOCKER-USER -m conntrack --ctorigdstport 8000:8300 -j REJECT --reject-with tcp-reset"],
            True,
        ),
        (["-A DOCKER-USER -j DROP"], True),
        ([RETURN, BY_PUBLISHED], False),
        (["-A DOCKER-USER -p tcp -m tcp --dport 8200 -j DROP"], False),
        (["-A DOCKER-USER -p udp -m conntrack --ctorigdstport 8200 -j DROP"], False),
        (["-A DOCKER-USER -s 192.0.2.0/24 -p tcp -m conntrack --ctorigdstport 8200 -j DROP"], False),
        (["-A DOCKER-USER ! -s 10.0.0.0/8 -p tcp -m conntrack --ctorigdstport 8200 -j DROP"], False),
        (["-A DOCKER-USER -p tcp -m conntrack ! --ctorigdstport 8200 -j DROP"], False),
        ([], False),
    ],
)
def test_what_a_rule_closes(rules, closed):
    """Only a refusal to everybody by the published port, or of all; what is not understood closes nothing."""
    assert parse([*HEAD, *JUMP, *rules], NAT).refuses("tcp", 8200) is closed


@pytest.mark.parametrize("jump", [[], JUMP[::-1], ["-A FORWARD -j ACCEPT", *JUMP], ["-A FORWARD -j ufw", *JUMP]])
def test_rules_without_the_jump(jump):
    """An older DOCKER-USER keeps Docker from inserting the jump: the rules are there and close nothing."""
    found = parse([*HEAD, *jump, BY_PUBLISHED], NAT)
    assert found.refuses("tcp", 8200) is False
    (told,) = audit([ROW], {4: found, 6: found})
    assert (told["exposure"], "no rule there counts" in told["why"]) == ("public", True)


def test_reasons():
    """Filtered, bound to loopback, carried by docker-proxy, or open: each with the reason."""
    closed, empty = parse([*HEAD, *JUMP, BY_PUBLISHED], NAT), Firewall("ACCEPT", False, ())
    rows = [ROW, {**ROW, "host_ip": "127.0.0.1", "exposure": "loopback"}, {**ROW, "host_ip": "::"}]
    told = [(one["exposure"], one["why"]) for one in audit(rows, {4: closed, 6: empty})]
    assert [one for one, _ in told] == ["filtered", "loopback", "public"]
    assert "docker-proxy" in told[2][1]
    assert (closed.is_routed, empty.is_routed) == (False, True)
