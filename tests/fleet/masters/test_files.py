"""Two real masters, one of which serves another file: it is named, until both serve the same."""

import json
from collections.abc import Callable
from typing import Any

import yaml

from saltext_logilab.lab.lab import Lab
from tests.support.labs import LabFactory
from tests.support.waiting import wait_until

PATIENCE = 60


def files(lab: Lab, master: str) -> tuple[int, Any]:
    """Return the exit code of ``masters.files`` on ``master``, and what it tells."""
    done = lab.run(master, "salt-run", "masters.files", "--out", "json")
    return done.returncode, json.loads(done.stdout)


def configure(lab: Lab, member: str, change: Callable[[Any], object], role: str = "master") -> None:
    """Have ``change`` change the configuration of ``member``, and start it anew."""
    lab.kill(member)
    path = lab.folder / member / "etc" / role
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    lab.start(member)


def test_files_that_differ_are_named(make_lab: LabFactory) -> None:
    """From either master; after the file was brought in line and all have refreshed, nothing differs."""
    lab = make_lab(masters=("paris", "nantes"), minions=())
    own = lab.folder / "nantes" / "srv"
    own.mkdir()
    for folder, content in ((lab.folder / "srv" / "salt", "new"), (own, "old")):
        (folder / "web.sls").write_text(content)
    configure(lab, "nantes", lambda config: config["file_roots"]["base"].insert(0, str(own)))
    wait_until(lambda: "error" not in str(files(lab, "paris")[1]["masters"]), PATIENCE, "nantes answers")
    for master in ("paris", "nantes"):
        code, told = files(lab, master)
        assert (code, told["trees"]["pillar base"]["same"]) == (1, True)
        assert list(told["trees"]["files base"]["paths"]) == ["web.sls"]
        assert told["masters"]["nantes"] == told["masters"]["paris"]
    (own / "web.sls").write_text("new")
    done = lab.run("paris", "salt-run", "masters.refresh", "--out", "json")
    assert json.loads(done.stdout) == {"nantes": True, "paris": True}
    code, told = files(lab, "nantes")
    assert (code, {tree["same"] for tree in told["trees"].values()}) == (0, {True})
    lab.kill("nantes")
    code, told = files(lab, "paris")
    assert (code, "error" in told["masters"]["nantes"]) == (1, True)
