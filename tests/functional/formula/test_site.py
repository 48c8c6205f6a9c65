"""The example site: each of its machines has a valid pillar, and its highstate compiles."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import salt.pillar
import salt.state

from saltext_logilab.formula.packaged import example_pillars
from tests.support.formulas import BACKENDS, DEBIAN, FORMULAS

SITE = {
    "paris": {"salt"},
    "nantes": {"salt"},
    "docker1": {"docker", "rsyslog"},
    "hypervisor1": {"libvirt", "btrfs"},
    "db1": {"postgresql", "munin"},
    "web1": {"haproxy"},
    "services": {"openldap", "nagios", "graphite", "lxc"},
}


@pytest.mark.parametrize("minion", SITE)
def test_the_highstate_compiles(minion: str, new_minion_opts: Callable[..., dict[str, Any]]) -> None:
    """Users and firewall on each machine, beside what it is for."""
    opts = new_minion_opts({**BACKENDS, "id": minion, "pillar_roots": {"base": [str(example_pillars())]}})
    shutil.copy(example_pillars() / "top.sls", Path(opts["file_roots"]["base"][0]))
    opts["grains"] = {**DEBIAN, "id": minion}
    pillar = salt.pillar.Pillar(opts, opts["grains"], minion, "base").compile_pillar()
    assert set(pillar) == SITE[minion] | {"users", "firewall"}
    opts["pillar"] = pillar
    with salt.state.HighState(opts, initial_pillar=pillar) as state:
        chunks = state.compile_low_chunks()
    assert [one for one in chunks if not isinstance(one, dict)] == []
    assert {one["__sls__"].partition(".")[0] for one in chunks} == set(pillar)


def test_every_formula_is_on_the_site() -> None:
    """No formula is without a machine that shows it."""
    assert set().union(*SITE.values()) | {"users", "firewall"} == set(FORMULAS)
