"""The formula "salt": what it writes for a master that shares its keys is what the engine reads."""

from __future__ import annotations

from typing import Any

import yaml

from saltext_logilab.masters import settings
from tests.support.formulas import DEBIAN, Renderer


def written(render: Renderer, chunk: dict[str, Any]) -> dict[str, Any]:
    """Return the settings in the file that the state ``chunk`` writes."""
    found: dict[str, Any] = yaml.safe_load(render.written(chunk))
    return found


def test_a_master_that_shares_its_keys(render: Renderer) -> None:
    """Every key of ``share_keys`` is a setting of the engine, and the engine is configured."""
    shared = {"name": "paris", "listen": "0.0.0.0:4507", "address": "paris.example.org:4507", "silence_days": 3}
    states = render("salt", {"salt": {"master": {"share_keys": shared}}})
    assert states.errors == []
    config = written(render, states["salt_master_config"])
    assert config["engines"] == [{"logilab_masters": {}}]
    assert config["fileserver_backend"] == ["roots", "logilab_formulas"]
    found = settings.read({**config, "id": "paris_master", "pki_dir": "/etc/salt/pki/master"})
    assert (found.name, str(found.listen), found.reached) == ("paris", "0.0.0.0:4507", "paris.example.org:4507")
    assert found.silence_days == 3


def test_settings_of_ones_own_stay(render: Renderer) -> None:
    """Engines of the pillar stand beside the one that shares keys; its file servers take the place of the default."""
    config = {"engines": [{"reactor": {}}], "fileserver_backend": ["git"], "logilab": {"formula": {"exclude": ["lxc"]}}}
    master = {"share_keys": {"listen": "0.0.0.0:4507", "address": "{fqdn}:4507"}, "config": config}
    states = render("salt", {"salt": {"master": master, "minion": {"id": "m1", "masters": ["a", "b"]}, "api": {}}})
    assert states.errors == []
    found = written(render, states["salt_master_config"])
    assert found["engines"] == [{"reactor": {}}, {"logilab_masters": {}}]
    assert found["fileserver_backend"] == ["git"]
    assert found["logilab"] == {
        "formula": {"exclude": ["lxc"]},
        "masters": {"listen": "0.0.0.0:4507", "address": f"{DEBIAN['fqdn']}:4507"},
    }
    assert written(render, states["salt_minion_config"]) == {"id": "m1", "master": ["a", "b"]}
    assert written(render, states["salt_api_config"])["netapi_enable_clients"] == ["local", "runner", "wheel"]


def test_packages_of_the_roles_alone(render: Renderer) -> None:
    """With ``install: packages`` the packages are those of the roles that the pillar has."""
    states = render("salt", {"salt": {"install": "packages", "minion": {"id": "m1", "masters": ["a"]}, "api": {}}})
    assert states.errors == []
    named = {one: states[one]["name"] for one in states.ids if one.endswith("_package")}
    assert named == {"salt_minion_package": "salt-minion", "salt_api_package": "salt-api"}
    assert {states[one]["onlyif"] for one in named} == {"test packages = packages"}
