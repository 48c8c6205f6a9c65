"""What goes wrong in Salt's own cluster, or by usual commands, on two real masters with a minion."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from saltext_logilab.lab import configs
from saltext_logilab.lab.lab import Lab
from saltext_logilab.masters.keys import parse_key
from tests.fleet.masters.test_group import ping
from tests.fleet.masters.test_keys import awaited, engine, pki, place, status
from tests.fleet.masters.test_mine import OUTBOX, mine, send
from tests.support.labs import LabFactory, accept_all
from tests.support.minion_keys import KEYS
from tests.support.waiting import wait_until

PATIENCE = 60
MASTERS = ("paris", "nantes")
MANY = 3000


@pytest.fixture(scope="module")
def lab(make_module_lab: LabFactory) -> Lab:
    """Two masters and a minion whose key both have accepted, with the mine outbox."""
    options = {"autosign_file": "/autosign"}  # Salt puts root_dir before it
    made = make_module_lab(masters=MASTERS, minions=("m1",), master_options=options, minion_options=OUTBOX)
    accept_all(made)
    return made


def typed(lab: Lab, master: str, text: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run ``command`` at ``master`` with ``text`` on its standard input."""
    words, environment = lab.command(master, command)
    return subprocess.run(words, env=environment, input=text, capture_output=True, text=True, check=False, timeout=120)


def accepted(lab: Lab, master: str) -> set[str]:
    """Return the ids whose keys are accepted at ``master``."""
    return set(lab.keys(master)["accepted"])


def test_a_master_killed_while_it_joins_gets_all_keys(lab: Lab, tmp_path: Path) -> None:
    """Salt's own cluster keeps part of the keys for ever. The invite comes over standard input; nothing tells it."""
    assert lab.run("nantes", "salt-run", "masters.leave").returncode == 0
    for file in (pki(lab, "nantes") / "minions").iterdir():
        file.unlink()
    for number in range(MANY):
        (pki(lab, "paris") / "minions" / f"many{number}").write_text(KEYS[number % 3].pem)
    wait_until(lambda: status(lab, "paris")["records"].get("accepted", 0) > MANY, PATIENCE, "the keys of paris")
    assert lab.run("paris", "salt-run", "masters.invite", str(tmp_path / "invite")).returncode == 0
    invite = (tmp_path / "invite").read_text()
    old = engine(lab, "nantes")
    done = typed(lab, "nantes", invite, "salt-run", "masters.join", "-")
    assert done.returncode == 0, done
    secret = max(invite.split(), key=len)
    assert secret not in done.stdout + done.stderr + lab.log("nantes").read_text()
    wait_until(lambda: accepted(lab, "nantes"), PATIENCE, "the first keys on nantes")
    os.kill(old, signal.SIGKILL)
    assert 0 < len(accepted(lab, "nantes")) < MANY
    wait_until(lambda: accepted(lab, "nantes") == accepted(lab, "paris"), PATIENCE, "all keys on nantes")
    assert len(accepted(lab, "paris")) == MANY + 1
    wait_until(lambda: status(lab, "nantes")["ok"], PATIENCE, "nantes is healthy")


def test_denied_keys_stay_where_they_are_and_are_told_as_they_are(lab: Lab) -> None:
    """In Salt's own cluster they come over as "-"."""
    place(lab, "paris", "minions_denied", "m1", KEYS[1].pem)
    told = json.loads(lab.run("nantes", "salt-run", "masters.keys", "--out", "json").stdout)
    assert told["keys"]["m1"] == {"denied": {KEYS[1].fingerprint: ["paris"]}}
    place(lab, "paris", "minions", "web1", KEYS[0].pem)
    awaited(lab, "nantes", "web1", "accepted")
    assert lab.keys("nantes")["denied"] == []
    (pki(lab, "paris") / "minions_denied" / "m1").unlink()


def test_a_cleared_cache_loses_nothing(lab: Lab) -> None:
    """``saltutil.clear_cache`` on a master and on a minion: keys, history and mine are what they were."""
    wait_until(lambda: ping(lab, "paris"), PATIENCE, "m1 answers paris")
    send(lab, "kept")
    wait_until(lambda: mine(lab, "nantes", "said") == "kept", PATIENCE, "the mine on nantes")
    before, past = accepted(lab, "paris"), lab.run("paris", "salt-run", "masters.history", "web1").stdout
    lab.run("paris", "salt", "m1", "saltutil.clear_cache")
    lab.run("paris", "salt-run", "salt.cmd", "saltutil.clear_cache")
    cache = configs.root(lab.folder, "paris") / "cache"
    assert list(cache.glob(".*_key")) == []  # the mine may be back by now
    lab.stop("paris")
    lab.start("paris")
    wait_until(lambda: status(lab, "paris")["ok"], PATIENCE, "paris is healthy")
    assert accepted(lab, "paris") == accepted(lab, "nantes") == before
    assert lab.run("paris", "salt-run", "masters.history", "web1").stdout == past
    wait_until(lambda: mine(lab, "paris", "said") == "kept", PATIENCE, "the mine on paris")
    assert mine(lab, "nantes", "said") == "kept"


def reinstall(lab: Lab) -> None:
    """Take the key of m1, which does not run, from it: it makes another one at its next start."""
    for file in (configs.root(lab.folder, "m1") / "pki").glob("minion.p*"):
        file.unlink()


def key(lab: Lab, master: str) -> str:
    """Return the fingerprint of the key of m1 that is accepted at ``master``; empty for none."""
    file = pki(lab, master) / "minions" / "m1"
    found = parse_key(file.read_text()) if file.exists() else None
    return found.fingerprint if found else ""


def same_new_key(lab: Lab, old: str) -> bool:
    """Say whether both masters have accepted one key of m1, another one than ``old``."""
    found = {key(lab, master) for master in MASTERS}
    return len(found) == 1 and not found & {"", old}


def test_a_reinstalled_minion_whose_key_is_accepted_by_itself(lab: Lab) -> None:
    """
    Deleted while nantes is down, and accepted anew before it knows; then deleted while all is up.

    One master accepts by ``autosign_file``, the other one all that comes (``auto_accept``): no conflict.
    """
    (configs.root(lab.folder, "paris") / "autosign").write_text("m1\n")
    extra = lab.folder / "nantes" / "etc" / "master.d"
    extra.mkdir(exist_ok=True)
    (extra / "auto.conf").write_text("auto_accept: True\n")
    old = key(lab, "paris")
    lab.kill("nantes")
    lab.stop("m1")
    lab.run("paris", "salt-key", "-y", "-d", "m1")
    reinstall(lab)
    lab.start("m1")
    wait_until(lambda: "m1" in accepted(lab, "paris"), PATIENCE, "the new key on paris")
    assert key(lab, "nantes") == old
    lab.start("nantes")
    wait_until(lambda: same_new_key(lab, old), PATIENCE, "the new key on nantes")
    newer = key(lab, "paris")
    lab.stop("m1")
    lab.run("nantes", "salt-key", "-y", "-d", "m1")
    awaited(lab, "paris", "m1", "")
    reinstall(lab)
    lab.start("m1")
    wait_until(lambda: same_new_key(lab, newer), PATIENCE, "the newest key on both")
    for master in MASTERS:
        wait_until(lambda master=master: ping(lab, master), PATIENCE, f"m1 answers {master}")
        assert status(lab, master)["conflicts"] == 0
