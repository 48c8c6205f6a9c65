"""The formula "salt": what it writes for a master that shares its keys is what the engine reads."""

from __future__ import annotations

from typing import Any

from saltext_logilab.masters import settings
from tests.support.formulas import Renderer


def test_a_master_that_shares_its_keys(render: Renderer) -> None:
    """Every key of ``share_keys`` is a setting of the engine, and the engine is configured."""
    shared = {"name": "paris", "listen": "0.0.0.0:4507", "address": "paris.example.org:4507", "silence_days": 3}
    states = render("salt", {"salt": {"master": {"share_keys": shared}}})
    assert states.errors == []
    config: dict[str, Any] = states["salt_master_config"]["dataset"]
    assert config["engines"] == [{"logilab_masters": {}}]
    found = settings.read({**config, "id": "paris_master", "pki_dir": "/etc/salt/pki/master"})
    assert (found.name, str(found.listen), found.reached) == ("paris", "0.0.0.0:4507", "paris.example.org:4507")
    assert found.silence_days == 3
