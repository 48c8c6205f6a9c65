"""The example site in a lab: `salt-lab` loads its pillar, and a machine's highstate is rendered there."""

from __future__ import annotations

import json
import shutil

from saltext_logilab.formula.packaged import example_pillars
from tests.support.labs import LabFactory, accept_all
from tests.support.waiting import wait_until


def test_a_lab_loads_the_site(make_lab: LabFactory) -> None:
    """A new lab has the site's pillar; with its top file as the states' too, a machine has its whole highstate."""
    lab = make_lab(masters=("paris",), minions=("web1",), master_options={"engines": []})
    accept_all(lab)
    # The master knows a minion's grains from the pillar on that it asks for before it takes jobs.
    wait_until(lambda: "True" in lab.run("paris", "salt", "web1", "test.ping").stdout, 60, "web1's answer")
    checked = json.loads(lab.run("paris", "salt-run", "formula.validate", "*", "--out", "json").stdout)
    assert checked == {"ok": True, "minions": 1, "problems": {}}
    shutil.copy(example_pillars() / "top.sls", lab.folder / "srv" / "salt")
    # Shown, not applied: a lab's minions are on the machine of who runs the tests.
    done = lab.run("paris", "salt", "web1", "state.show_highstate", "--out", "json", "-t", "60")
    states = json.loads(done.stdout)["web1"]
    assert {one["__sls__"].partition(".")[0] for one in states.values()} == {"users", "firewall", "haproxy"}
