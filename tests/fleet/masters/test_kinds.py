"""Groups of other kinds: other versions of Salt, masters of a user of their own, and wrong configurations."""

import json
import subprocess
import sys

import pytest

from tests.fleet.masters.test_keys import awaited, place, status
from tests.support.labs import LabFactory
from tests.support.minion_keys import KEYS
from tests.support.readable import ROOT, readable_by_all
from tests.support.waiting import wait_until

PATIENCE = 60


def test_masters_of_3006_and_3007_share_a_key(make_lab: LabFactory) -> None:
    """A key accepted by the salt-key of one version, and deleted by that of the other one."""
    lab = make_lab(masters=("paris", "nantes"), minions=(), salt={"paris": "3006", "nantes": "3007"})
    versions = {one.name: one.salt for one in lab.status()}
    assert versions["paris"].startswith("3006.")
    assert versions["nantes"].startswith("3007.")
    place(lab, "paris", "minions_pre", "web1", KEYS[0].pem)
    lab.run("paris", "salt-key", "-y", "-a", "web1")
    awaited(lab, "nantes", "web1", "accepted")
    lab.run("nantes", "salt-key", "-y", "-d", "web1")
    awaited(lab, "paris", "web1", "")
    assert status(lab, "paris")["members"]["nantes"]["salt"] == versions["nantes"]


AS_NOBODY = """
import pwd, sys
from pathlib import Path
from saltext_logilab.lab import configs
from tests.fleet.masters.test_keys import awaited, place
from tests.support.labs import running_lab
from tests.support.minion_keys import KEYS
from tests.support.readable import ROOT, readable_by_all
from saltext_logilab.lab.plan import Wish

with running_lab(Wish(masters=("paris", "nantes"), minions=(), user="nobody")) as lab:
    nobody = pwd.getpwnam("nobody").pw_uid
    assert {Path(f"/proc/{one.pid}").stat().st_uid for one in lab.status()} == {nobody}
    place(lab, "paris", "minions_pre", "web1", KEYS[0].pem)
    done = lab.run("paris", "salt-key", "-y", "-a", "web1")
    assert done.returncode == 0, done
    awaited(lab, "nantes", "web1", "accepted")
    assert (configs.root(lab.folder, "nantes") / "pki" / "minions" / "web1").stat().st_uid == nobody
    assert lab.run("nantes", "salt-run", "masters.status").returncode == 0
    print("shared")
"""


def test_masters_of_an_unprivileged_user() -> None:
    """Masters that run as another user, operated by root: what root does with salt-key is shared."""
    command = readable_by_all(sys.executable, "-c", AS_NOBODY)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.strip() == "shared", done.stdout + done.stderr


@pytest.mark.parametrize(
    ("masters", "sentence"),
    [
        ({"listne": "127.0.0.1:1"}, "logilab:masters:listne is not a known setting (did you mean 'listen'?)"),
        ({"listen": "nowhere"}, "logilab:masters:listen must be HOST:PORT"),
    ],
    ids=["unknown key", "wrong address"],
)
def test_a_wrong_configuration_is_one_sentence(make_lab: LabFactory, masters: dict, sentence: str) -> None:
    """The master runs; its engine stands still, and the status says what is wrong, with exit code 1."""
    options = {"engines": [{"logilab_masters": {}}], "logilab": {"masters": masters}}
    lab = make_lab(masters=("paris",), minions=(), master_options=options)
    done = lab.run("paris", "salt-run", "masters.status", "--out", "json")
    assert done.returncode == 1
    assert sentence in json.loads(done.stdout)["paris"]["problems"][0]
    assert "Traceback" not in done.stdout + done.stderr
    wait_until(lambda: sentence in lab.log("paris").read_text(), PATIENCE, "the log says so too")
