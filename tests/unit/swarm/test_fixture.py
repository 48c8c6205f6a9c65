"""Where the fixture's minions go."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from saltext_logilab.swarm import pytest_plugin
from saltext_logilab.swarm.seats import parse_address


@pytest.mark.parametrize(
    ("interface", "host"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::1", "::1")],
)
def test_the_address_of_a_daemon(interface: str, host: str) -> None:
    """Of a master of pytest-salt-factories that listens on one address, or on all, of either family."""
    master = SimpleNamespace(config={"interface": interface, "ret_port": 24506})
    assert parse_address(pytest_plugin._address(master)) == (host, 24506)
    assert pytest_plugin._address("paris:4506") == "paris:4506"
