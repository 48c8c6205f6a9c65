"""Formulas applied into containers that have no Salt, from their host's minion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.support.containers import SystemdContainer
from tests.support.distribution import ROOT
from tests.support.docker import DockerHost
from tests.support.labs import LabFactory, accept_all
from tests.support.targets import Targets

FORMULAS = ("haproxy", "rsyslog")


@pytest.fixture(scope="module")
def targets(make_module_lab: LabFactory, connected_docker_host: DockerHost) -> Targets:
    """A master that serves the formulas, and a minion whose containers are targets."""
    minion = {
        "engines": [{"docker_ports": {}}],
        "logilab": {"containers": {"daemons": {"docker": connected_docker_host.url}}},
    }
    made = make_module_lab(masters=("paris",), minions=("m1",), minion_options=minion)
    accept_all(made)
    return Targets(made)


def pillar() -> dict[str, Any]:
    """Return the example pillar of the formulas."""
    found: dict[str, Any] = {}
    for name in FORMULAS:
        found |= yaml.safe_load((ROOT / "pillar.example" / f"{name}.sls").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("way", ["python", "minion"])
def test_formulas_in_a_container(
    targets: Targets, systemd_container: Callable[..., SystemdContainer], updated_image: str, way: str
) -> None:
    """By the Python inside and without one: applied, applied again without a change, and the services run."""
    made = systemd_container(image=updated_image)
    name = made.name
    targets.configure(resources={"docker": {"match": {"name": name}, "states": way}}, **pillar())
    targets.wait_for(name)
    assert targets.grains(name)["os_family"] == "Debian"
    tried = targets.one(name, "state.apply", ",".join(FORMULAS), test=True)
    assert isinstance(tried, dict), tried
    assert not targets.one(name, "pkg.version", "haproxy")
    first = targets.one(name, "state.apply", ",".join(FORMULAS))
    assert {one["result"] for one in first.values()} == {True}, first
    again = targets.one(name, "state.apply", ",".join(FORMULAS))
    assert [(one["result"], one["changes"]) for one in again.values()] == [(True, {})] * len(again), again
    for formula in FORMULAS:
        assert made.exec("systemctl", "is-active", formula).output.strip() == "active"
        assert targets.one(name, "service.status", formula) is True
        assert targets.one(name, "pkg.version", formula)
    left = made.exec("sh", "-c", "ls -A /tmp | grep -c '^.salt-' || true").output.strip()
    assert left == "0", "nothing of Salt is left inside"
