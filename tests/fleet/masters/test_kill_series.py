"""Masters and engines that are killed again and again while keys come and go: nothing is lost, nothing comes back."""

import os
import random
import signal

import pytest

from saltext_logilab.lab.lab import Lab
from saltext_logilab.masters.journal import Journal
from tests.fleet.masters.test_keys import engine, pki, place, settings_of
from tests.support.labs import LabFactory
from tests.support.minion_keys import KEYS
from tests.support.waiting import wait_until

PATIENCE = 60
SEED = 20261123
MASTERS = ("paris", "nantes")


def digest(lab: Lab, master: str) -> bytes:
    """Return the digest of the records of ``master``."""
    journal = Journal(settings_of(lab, master).journal)
    try:
        return journal.digest()
    finally:
        journal.close()


def accepted(lab: Lab, master: str) -> set[str]:
    """Return the ids whose keys are accepted at ``master``."""
    return set(lab.keys(master)["accepted"])


def disturb(lab: Lab, chance: random.Random) -> str:
    """Kill something; return the master that is dead now, or nothing."""
    master = chance.choice(MASTERS)
    what = chance.choice(["master", "engine", "nothing"])
    if what == "engine":
        os.kill(engine(lab, master), signal.SIGKILL)
    if what != "master":
        return ""
    lab.kill(master)
    return master


@pytest.mark.parametrize("rounds", [3, pytest.param(25, marks=pytest.mark.soak)])
def test_nothing_is_lost_and_nothing_comes_back(make_lab: LabFactory, rounds: int) -> None:
    """After each round both masters hold exactly the keys that were accepted and not deleted since."""
    chance = random.Random(SEED)
    lab = make_lab(masters=MASTERS, minions=())
    wanted: set[str] = set()
    for number in range(rounds):
        dead = disturb(lab, chance)
        master = next(one for one in chance.sample(MASTERS, 2) if one != dead)
        wait_until(lambda one=master: wanted <= accepted(lab, one), PATIENCE, f"{master} has what it had")
        for new in range(3):
            place(lab, master, "minions", f"web{number}-{new}", KEYS[new].pem)
            wanted.add(f"web{number}-{new}")
        for old in chance.sample(sorted(wanted), min(2, len(wanted))):
            (pki(lab, master) / "minions" / old).unlink()
            wanted.discard(old)
        if dead:
            lab.start(dead)
        for one in MASTERS:
            wait_until(lambda one=one: accepted(lab, one) == wanted, PATIENCE, f"round {number}: {one} agrees")
        wait_until(lambda: digest(lab, "paris") == digest(lab, "nantes"), PATIENCE, f"round {number}: one journal")
