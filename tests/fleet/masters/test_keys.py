"""Two real masters that share their keys: what is done on one with plain ``salt-key`` holds on the other."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from saltext_logilab.lab import configs
from saltext_logilab.lab.lab import Lab
from saltext_logilab.masters import health, settings
from saltext_logilab.masters import status as masters_status
from tests.support.labs import LabFactory, accept_all
from tests.support.minion_keys import KEYS
from tests.support.waiting import wait_until

PATIENCE = 30
MASTERS = ("paris", "nantes")


@pytest.fixture(scope="module")
def lab(make_module_lab: LabFactory) -> Lab:
    """Two masters and two minions of the installed Salt."""
    return make_module_lab(masters=("paris", "nantes"), minions=("m1", "m2"))


def pki(lab: Lab, master: str) -> Path:
    """Return the folder with the keys of ``master``."""
    return configs.root(lab.folder, master) / "pki"


def place(lab: Lab, master: str, folder: str, minion: str, pem: str) -> None:
    """Put a whole key file into a key directory, as an operator does by hand."""
    (pki(lab, master) / ".new").write_text(pem)
    owner = (pki(lab, master) / folder).stat()
    os.chown(pki(lab, master) / ".new", owner.st_uid, owner.st_gid)
    (pki(lab, master) / ".new").rename(pki(lab, master) / folder / minion)


def held(lab: Lab, master: str, minion: str) -> str:
    """Return the state of the key of ``minion`` at ``master``: accepted, pending, rejected, denied or nothing."""
    return next((state for state, ids in lab.keys(master).items() if minion in ids), "")


def awaited(lab: Lab, master: str, minion: str, state: str) -> None:
    """Wait until the key of ``minion`` is in ``state`` at ``master``."""
    wait_until(lambda: held(lab, master, minion) == state, PATIENCE, f"{minion} {state or 'gone'} at {master}")


def settings_of(lab: Lab, master: str) -> settings.MastersSettings:
    """Return the settings of the engine of ``master``."""
    return settings.read(yaml.safe_load((lab.folder / master / "etc" / "master").read_text()))


def status(lab: Lab, master: str) -> dict[str, Any]:
    """Return what the runner ``masters.status`` would tell of ``master``, without the start of a program."""
    return masters_status.status(settings_of(lab, master), time.time())


def engine(lab: Lab, master: str) -> int:
    """Return the pid of the engine of ``master``."""
    return health.read(settings_of(lab, master).folder)["pid"]


@pytest.fixture(autouse=True)
def healthy(lab: Lab) -> None:
    """Each test begins with two masters that are up and agree."""
    lab.up()
    for master in ("paris", "nantes"):
        wait_until(lambda master=master: status(lab, master)["ok"], PATIENCE, f"{master} is healthy")


def test_one_accept_and_the_other_master_commands(lab: Lab) -> None:
    """``salt-key -A`` on the first: the second has the keys, and its minions answer it."""

    def accept() -> bool:
        lab.run("paris", "salt-key", "-A", "-y")
        return not lab.keys("paris")["pending"]  # Salt 3008 may lose an accept when the minion asks at that moment

    wait_until(accept, PATIENCE, "nothing pending on paris")
    for minion in ("m1", "m2"):
        awaited(lab, "nantes", minion, "accepted")
    accept_all(lab)
    done = lab.run("nantes", "salt", "*", "test.ping", "--out", "json", "--static")
    assert json.loads(done.stdout) == {"m1": True, "m2": True}


def test_reject_and_delete_go_both_ways(lab: Lab) -> None:
    """What the second master rejects or deletes is rejected or gone on the first, and the AES key is rotated there."""
    place(lab, "paris", "minions_pre", "web1", KEYS[0].pem)
    lab.run("paris", "salt-key", "-y", "-a", "web1")
    awaited(lab, "nantes", "web1", "accepted")
    lab.run("nantes", "salt-key", "-y", "--include-accepted", "-r", "web1")
    awaited(lab, "paris", "web1", "rejected")
    dropfile = configs.root(lab.folder, "paris") / "cache" / ".dfn"
    wait_until(dropfile.exists, PATIENCE, "a rotation of the AES key was asked for")
    lab.run("nantes", "salt-key", "-y", "-d", "web1")
    awaited(lab, "paris", "web1", "")


def test_what_happened_while_a_master_was_dead(lab: Lab) -> None:
    """The second master is killed; a key is accepted and one deleted on the first; it comes back and knows."""
    place(lab, "paris", "minions", "web2", KEYS[0].pem)
    awaited(lab, "nantes", "web2", "accepted")
    lab.kill("nantes")
    lab.run("paris", "salt-key", "-y", "-d", "web2")
    place(lab, "paris", "minions_pre", "web3", KEYS[1].pem)
    lab.run("paris", "salt-key", "-y", "-a", "web3")
    wait_until(lambda: status(lab, "paris")["members"]["nantes"]["behind"] == 2, PATIENCE, "two changes behind")
    done = lab.run("paris", "salt-run", "masters.status", "--out", "json")
    assert done.returncode == 1
    told = json.loads(done.stdout)["paris"]
    assert told["members"]["nantes"]["behind"] == 2
    assert any("nantes has not been connected" in sentence for sentence in told["problems"])
    lab.start("nantes")
    awaited(lab, "nantes", "web2", "")
    awaited(lab, "nantes", "web3", "accepted")


def test_an_engine_that_is_killed_loses_nothing(lab: Lab) -> None:
    """kill -9 of the engine alone: the master starts it again, and what was done meanwhile is not lost."""
    old = engine(lab, "nantes")
    os.kill(old, signal.SIGKILL)
    place(lab, "nantes", "minions", "web4", KEYS[0].pem)
    wait_until(lambda: engine(lab, "nantes") != old, PATIENCE, "a new engine")
    awaited(lab, "paris", "web4", "accepted")


def test_a_different_key_is_reported_and_not_taken_over(lab: Lab) -> None:
    """The same id with another key on each side: both keep theirs, the status is red and names both fingerprints."""
    lab.kill("nantes")
    place(lab, "paris", "minions", "web5", KEYS[0].pem)
    place(lab, "nantes", "minions", "web5", KEYS[1].pem)
    lab.start("nantes")
    for master, key in (("paris", KEYS[0]), ("nantes", KEYS[1])):
        wait_until(lambda master=master: "web5" in str(status(lab, master)["problems"]), PATIENCE, "reported")
        assert all(one.fingerprint in str(status(lab, master)["problems"]) for one in KEYS[:2])
        assert (pki(lab, master) / "minions" / "web5").read_text() == key.pem
    lab.run("nantes", "salt-key", "-y", "-d", "web5")
    awaited(lab, "nantes", "web5", "accepted")
    assert (pki(lab, "nantes") / "minions" / "web5").read_text() == KEYS[0].pem


def test_state_outlives_a_cleared_cache(lab: Lab) -> None:
    """``saltutil.clear_cache`` empties cachedir: identity and journal lie elsewhere."""
    state = configs.root(lab.folder, "paris") / "state" / "masters"
    cache = configs.root(lab.folder, "paris") / "cache"
    assert {"identity.pem", "journal.db"} <= {path.name for path in state.iterdir()}
    assert not state.resolve().is_relative_to(cache.resolve())
    assert (state / "identity.pem").stat().st_mode & 0o077 == 0


def test_status_is_a_table_for_people(lab: Lab) -> None:
    """On a terminal: a line per master, the records, and that all is well."""
    done = lab.run("paris", "salt-run", "masters.status")
    assert done.returncode == 0
    assert "paris (this)" in done.stdout
    assert done.stdout.strip().endswith("All masters agree.")


def test_members_shows_who_is_in_the_group(lab: Lab) -> None:
    """Both masters list the same members with the same fingerprints."""
    shown = [json.loads(lab.run(one, "salt-run", "masters.members", "--out", "json").stdout) for one in MASTERS]
    assert shown[0] == shown[1]
    assert sorted((one["name"], one["state"]) for one in shown[0].values()) == [
        ("nantes", "active"),
        ("paris", "active"),
    ]


def test_a_conflict_is_shown_and_resolved(lab: Lab) -> None:
    """Both fingerprints with their masters; the one that an operator names is accepted on all."""
    lab.kill("nantes")
    place(lab, "paris", "minions", "web6", KEYS[0].pem)
    place(lab, "nantes", "minions", "web6", KEYS[1].pem)
    lab.start("nantes")
    for master in MASTERS:
        wait_until(lambda master=master: status(lab, master)["conflicts"] == 1, PATIENCE, "a conflict on both")
    shown = json.loads(lab.run("paris", "salt-run", "masters.conflicts", "--out", "json").stdout)
    assert {(one["by"], one["fingerprint"]) for one in shown["web6"]} == {
        ("paris", KEYS[0].fingerprint),
        ("nantes", KEYS[1].fingerprint),
    }
    assert lab.run("nantes", "salt-run", "masters.resolve", "web6", KEYS[2].fingerprint).returncode == 1
    assert lab.run("nantes", "salt-run", "masters.resolve", "web6", KEYS[1].fingerprint).returncode == 0
    accepted = pki(lab, "paris") / "minions" / "web6"
    wait_until(lambda: accepted.read_text() == KEYS[1].pem, PATIENCE, "the chosen key on paris")
    assert json.loads(lab.run("paris", "salt-run", "masters.conflicts", "--out", "json").stdout) == {}
    past = json.loads(lab.run("paris", "salt-run", "masters.history", "web6", "--out", "json").stdout)
    assert [one["by"] for one in past][-1] == "nantes"
    assert past[-1]["decision"] == "accepted (resolves a conflict)"
    assert past[-1]["actor"]


def test_pending_keys_of_all_masters_are_asked_for(lab: Lab) -> None:
    """A key that waits on one master is found from the other; a dead master is named."""
    place(lab, "nantes", "minions_pre", "web7", KEYS[0].pem)
    shown = json.loads(lab.run("paris", "salt-run", "masters.keys", "--out", "json").stdout)
    assert shown["keys"]["web7"] == {"pending": {KEYS[0].fingerprint: ["nantes"]}}
    (pki(lab, "nantes") / "minions_pre" / "web7").unlink()
    lab.kill("nantes")
    shown = json.loads(lab.run("paris", "salt-run", "masters.keys", "--out", "json").stdout)
    assert shown["masters"]["nantes"]["error"]


def test_many_keys_that_vanish_wait_for_an_operator(lab: Lab) -> None:
    """rm of all files on one master deletes nothing on the other until it is confirmed, and can be undone."""
    names = [f"many{number}" for number in range(15)]
    for name in names:
        place(lab, "paris", "minions", name, KEYS[0].pem)
    wait_until(lambda: set(names) <= set(lab.keys("nantes")["accepted"]), PATIENCE, "all on nantes")
    lab.stop("paris")
    for name in names:
        (pki(lab, "paris") / "minions" / name).unlink()
    lab.start("paris")
    wait_until(lambda: status(lab, "paris")["held"] == 15, PATIENCE, "held")
    assert lab.run("paris", "salt-run", "masters.status").returncode == 1
    assert set(names) <= set(lab.keys("nantes")["accepted"])
    assert lab.run("paris", "salt-run", "masters.confirm", "undo=True").returncode == 0
    wait_until(lambda: set(names) <= set(lab.keys("paris")["accepted"]), PATIENCE, "put back")
    lab.run("paris", "salt-key", "-y", "-d", "many*")
    wait_until(lambda: status(lab, "paris")["held"] >= 5, PATIENCE, "held again")
    assert lab.run("paris", "salt-run", "masters.confirm").returncode == 0
    wait_until(lambda: not set(names) & set(lab.keys("nantes")["accepted"]), PATIENCE, "gone from nantes")
