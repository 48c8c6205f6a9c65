"""Two real masters and a minion: what a rogue minion, bad names and a flood cannot do; eviction, a new master key."""

import json
from typing import Any

import pytest

from saltext_logilab.lab import configs
from saltext_logilab.lab.lab import Lab
from saltext_logilab.masters.journal import Journal
from tests.fleet.masters.test_keys import awaited, pki, place, settings_of, status
from tests.support.labs import LabFactory, accept_all
from tests.support.minion_keys import KEYS, new_minion_key
from tests.support.waiting import wait_until

PATIENCE = 60
MASTERS = ("paris", "nantes")
FLOOD = 2000


@pytest.fixture(scope="module")
def lab(make_module_lab: LabFactory) -> Lab:
    """Two masters and a minion whose key both have accepted."""
    made = make_module_lab(masters=MASTERS, minions=("m1",))
    accept_all(made)
    return made


def records(lab: Lab, master: str) -> dict[str, int]:
    """Return the number of records of ``master`` by state."""
    journal = Journal(settings_of(lab, master).journal)
    try:
        return journal.counts()
    finally:
        journal.close()


def ping(lab: Lab, master: str) -> bool:
    """Say whether m1 answers ``master``."""
    done = lab.run(master, "salt", "m1", "test.ping", "--out", "json", "--static")
    return done.returncode == 0 and json.loads(done.stdout) == {"m1": True}


def shared(lab: Lab, name: str) -> None:
    """Let a key be accepted on the first master and wait for it on the second: what came before has been looked at."""
    place(lab, "paris", "minions", name, KEYS[0].pem)
    awaited(lab, "nantes", name, "accepted")


def runner(lab: Lab, master: str, *command: str) -> dict[str, Any]:
    """Return what a function of the runner answers on ``master``."""
    told: dict[str, Any] = json.loads(lab.run(master, "salt-run", *command, "--out", "json").stdout)
    return told


def test_jobs_of_all_masters_are_shown_on_each(lab: Lab) -> None:
    """One of nantes on paris, with its return and while it runs; when nantes is down, paris says so."""
    wait_until(lambda: ping(lab, "nantes"), PATIENCE, "m1 answers nantes")
    jid = lab.run("nantes", "salt", "m1", "test.sleep", "8", "--async").stdout.split()[-1]
    running = runner(lab, "paris", "masters.active")["jobs"][jid]
    assert (running["Master"], running["Function"], list(running["Running"][0])) == ("nantes", "test.sleep", ["m1"])
    assert runner(lab, "paris", "masters.jobs")["jobs"][jid]["Master"] == "nantes"
    wait_until(lambda: runner(lab, "paris", "masters.job", jid)["Result"], PATIENCE, "its return")
    found = runner(lab, "paris", "masters.job", jid)
    assert (found["Master"], found["Minions"], found["Result"]["m1"]["return"]) == ("nantes", ["m1"], True)
    lab.kill("nantes")
    lab.run("paris", "salt", "m1", "grains.setval", "role", "db")
    told = runner(lab, "paris", "masters.jobs", "5")
    assert told["masters"]["paris"]["jobs"] == 5
    assert "error" in told["masters"]["nantes"]
    assert "nantes" in runner(lab, "paris", "masters.job", jid)["error"]
    assert "between 1 and 1000" in runner(lab, "paris", "masters.jobs", "0")["masters"]["paris"]["error"]
    assert "is no job id" in str(runner(lab, "paris", "masters.job", "../x"))
    lab.start("nantes")
    grain = ("salt", "-G", "role:db", "test.ping", "--preview-target", "--out", "json")
    wait_until(lambda: json.loads(lab.run("nantes", *grain).stdout) == ["m1"], PATIENCE, "the grain on nantes")
    assert runner(lab, "nantes", "masters.data", "m1")["grains"]["all"]["age"] >= 0
    assert runner(lab, "nantes", "masters.data")["minions"]["grains"] == 1


def test_events_of_an_accepted_minion_decide_nothing(lab: Lab) -> None:
    """m1 says that keys were accepted, deleted and rejected, and that there is a conflict: nothing comes of it."""
    shared(lab, "web1")
    before = records(lab, "paris")
    for act, minion in (("accept", "evil"), ("delete", "web1"), ("reject", "web1")):
        data = json.dumps({"act": act, "id": minion, "result": True, "pub": KEYS[1].pem})
        lab.run("m1", "salt-call", "event.send", "salt/key", data)
    lab.run("m1", "salt-call", "event.send", "salt/logilab/masters/conflict", json.dumps({"id": "web1"}))
    shared(lab, "web2")
    for master in MASTERS:
        assert {"m1", "web1", "web2"} <= set(lab.keys(master)["accepted"])
        assert "evil" not in str(lab.keys(master))
    assert records(lab, "nantes") == {**before, "accepted": before["accepted"] + 1}


@pytest.mark.parametrize("name", [".hidden", "..%2f", "a\x01b", "tmpabcd1234", "a\\b"], ids=repr)
def test_names_that_are_no_ids_are_not_shared(lab: Lab, name: str) -> None:
    """Files of such names among the accepted keys are passed over, and stop nothing."""
    (pki(lab, "paris") / "minions" / name).write_text(KEYS[0].pem)
    shared(lab, f"beside-{abs(hash(name))}")
    assert not (pki(lab, "nantes") / "minions" / name).exists()
    (pki(lab, "paris") / "minions" / name).unlink()


def test_a_flood_of_pending_keys_is_nothing_to_the_group(lab: Lab) -> None:
    """They become no records, block nothing, and are shown bounded."""
    before = records(lab, "paris")
    for number in range(FLOOD):
        (pki(lab, "paris") / "minions_pre" / f"flood{number}").write_text(KEYS[number % 3].pem)
    shared(lab, "web3")
    assert records(lab, "paris") == {**before, "accepted": before["accepted"] + 1}
    told = json.loads(lab.run("nantes", "salt-run", "masters.keys", "--out", "json").stdout)
    assert told["masters"]["paris"]["pending"] == FLOOD
    assert len(told["keys"]) == 200
    for number in range(FLOOD):
        (pki(lab, "paris") / "minions_pre" / f"flood{number}").unlink()


def test_a_denied_key_that_is_deleted_touches_no_accepted_one(lab: Lab) -> None:
    """Salt's own cluster removes the accepted key of that id on the other masters."""
    shared(lab, "web4")
    place(lab, "paris", "minions_denied", "web4", KEYS[1].pem)
    (pki(lab, "paris") / "minions_denied" / "web4").unlink()
    shared(lab, "web5")
    assert all("web4" in lab.keys(master)["accepted"] for master in MASTERS)


def test_after_a_delete_all_masters_still_command(lab: Lab) -> None:
    """In Salt's own cluster one delete splits the AES key."""
    shared(lab, "web6")
    lab.run("paris", "salt-key", "-y", "-d", "web6")
    awaited(lab, "nantes", "web6", "")
    for master in MASTERS:
        wait_until(lambda master=master: ping(lab, master), PATIENCE, f"m1 answers {master}")


def test_a_reinstalled_minion_is_taken_over(lab: Lab) -> None:
    """Deleted on one master and accepted with a new key there, while the other has the new key denied."""
    shared(lab, "web7")
    place(lab, "nantes", "minions_denied", "web7", KEYS[1].pem)
    lab.run("paris", "salt-key", "-y", "-d", "web7")
    place(lab, "paris", "minions_pre", "web7", KEYS[1].pem)
    lab.run("paris", "salt-key", "-y", "-a", "web7")
    there = pki(lab, "nantes") / "minions" / "web7"
    wait_until(lambda: there.exists() and there.read_text() == KEYS[1].pem, PATIENCE, "the new key on nantes")
    assert status(lab, "paris")["conflicts"] == 0


def test_an_evicted_master_and_a_new_master_key(lab: Lab) -> None:
    """nantes is evicted: red. The master key is rotated as the documentation says: green, and m1 answers."""
    done = lab.run("paris", "salt-run", "masters.evict", "nantes", "--out", "json")
    assert json.loads(done.stdout)["evicted"] == "nantes"
    wait_until(lambda: status(lab, "nantes")["group"] == "evicted", PATIENCE, "nantes knows")
    place(lab, "nantes", "minions", "rogue", new_minion_key().pem)
    shared_after = status(lab, "paris")["problems"]
    assert any("rotate it on all masters" in one for one in shared_after)
    lab.stop("nantes")
    (configs.root(lab.folder, "m1") / "pki" / "minion_master.pub").unlink()
    lab.stop("paris")
    for name in ("master.pem", "master.pub", "paris.pem", "paris.pub", "paris_master.pem", "paris_master.pub"):
        (pki(lab, "paris") / name).unlink(missing_ok=True)
    lab.start("paris")
    lab.stop("m1")
    lab.start("m1")
    wait_until(lambda: ping(lab, "paris"), PATIENCE, "m1 has taken the new key")
    wait_until(lambda: status(lab, "paris")["ok"], PATIENCE, "green again")
    assert "rogue" not in lab.keys("paris")["accepted"]
