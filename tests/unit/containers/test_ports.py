"""Port specifications: what ``docker run -p`` takes is understood, and what it refuses is refused with the value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.containers.ports import Port, Wanted, parse, parse_container_port, parse_range
from saltext_logilab.errors import ConfigurationError

NUMBERS = st.integers(1, 65535)
ADDRESSES = st.one_of(st.just(""), st.ip_addresses().map(str))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("80", [Wanted("", 0, 0, 80, "tcp")]),
        (80, [Wanted("", 0, 0, 80, "tcp")]),
        ("25020:53/udp", [Wanted("", 25020, 25020, 53, "udp")]),
        ("25070:80/TCP", [Wanted("", 25070, 25070, 80, "tcp")]),
        ("25030:99/sctp", [Wanted("", 25030, 25030, 99, "sctp")]),
        ("127.0.0.1::80", [Wanted("127.0.0.1", 0, 0, 80, "tcp")]),
        ("[::1]:8080:80", [Wanted("::1", 8080, 8080, 80, "tcp")]),
        ("[::]:8080:80/udp", [Wanted("::", 8080, 8080, 80, "udp")]),
        ("[0:0::1]:8080:80", [Wanted("::1", 8080, 8080, 80, "tcp")]),
        ("8000-8001:80-81", [Wanted("", 8000, 8000, 80, "tcp"), Wanted("", 8001, 8001, 81, "tcp")]),
        ("8000-8010:80", [Wanted("", 8000, 8010, 80, "tcp")]),
        ("80-81/udp", [Wanted("", 0, 0, 80, "udp"), Wanted("", 0, 0, 81, "udp")]),
    ],
)
def test_what_docker_takes(text, wanted):
    """One wanted port for each container port; of a range for one port, the first free one."""
    assert list(parse(text)) == wanted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("99/sctq", "'sctq' in '99/sctq' is no protocol"),
        ("70000", "'70000' is no port"),
        ("8080:70000", "'70000' in '8080:70000' is no port"),
        ("0:80", "'0' in '0:80' is no port"),
        ("a-b", "'a' in 'a-b' is no port"),
        ("8002-8000:80", "'8002-8000' in '8002-8000:80' runs backwards"),
        ("8000-8002:80-81", "'8000-8002:80-81' has ranges of different lengths"),
        ("::1:8080:80", "no port specification"),
        ("[::1:8080:80", "no port specification"),
        ("1.2.3:8080:80", "'1.2.3' in '1.2.3:8080:80' is no IP address"),
        ("", "no port specification"),
        ("80/", "'' in '80/' is no protocol"),
        ("-1", "'' in '-1' is no port"),
        ("80\n", None),
    ],
)
def test_what_docker_refuses(text, sentence):
    """One sentence that names the value, whole and in part."""
    if sentence is None:
        assert parse(text) == parse(text.strip())
        return
    with pytest.raises(ConfigurationError) as told:
        parse(text)
    assert sentence in str(told.value)


@given(ADDRESSES, NUMBERS, NUMBERS, st.sampled_from(["tcp", "udp", "sctp"]))
def test_both_directions(ip, host, inside, protocol):
    """What a wanted port shows is read back as the same one, and a port bound so meets it."""
    wanted = Wanted(ip, host, host, inside, protocol)
    assert parse(str(wanted)) == (wanted,)
    assert wanted.is_met_by(Port(protocol, inside, ip or "::", host))
    assert not wanted.is_met_by(Port(protocol, inside, ip or "::", host % 65535 + 1))


@given(st.text(max_size=30))
def test_no_text_breaks_the_parser(text):
    """Any text is a specification or a sentence."""
    try:
        assert parse(text)
    except ConfigurationError as err:
        assert repr(text) in str(err) or text.strip() in str(err)  # noqa: PT017


@pytest.mark.parametrize("value", ["30-20", "x", "1-70000", "", "5-", True])
def test_a_wrong_range(value):
    """A range runs forwards between two ports."""
    with pytest.raises(ConfigurationError):
        parse_range(value)


@pytest.mark.parametrize(("value", "found"), [("80", (80, "tcp")), (80, (80, "tcp")), ("53/UDP", (53, "udp"))])
def test_container_ports(value, found):
    """The protocol may stand behind the number."""
    assert parse_container_port(value) == found
