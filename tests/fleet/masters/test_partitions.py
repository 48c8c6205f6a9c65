"""
Three real masters that lose sight of each other, are killed and come back, in a network namespace of their own.

Between them ``iptables`` drops what goes from one to the other, in both directions or in one.
"""

import subprocess
import sys

import pytest

from tests.support.netns import NetworkNamespace
from tests.support.readable import ROOT

ROUNDS = 2
MANY = 20

SERIES = """
import os, random, signal, subprocess, sys

from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Wish
from saltext_logilab.masters import status as masters_status
from tests.fleet.masters.test_keys import engine, pki, place, status
from tests.fleet.masters.test_kill_series import accepted, digest
from tests.support.labs import running_lab
from tests.support.minion_keys import KEYS
from tests.support.waiting import wait_until

MASTERS = ("paris", "nantes", "lyon")
PATIENCE = 90
rounds, seed = int(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)


def iptables(*rule):
    subprocess.run(["iptables", "-w", *rule], check=True)


def cut(lab, master):
    address = {one.name: one.address for one in lab.plan.masters}
    for other in MASTERS:
        if other != master:
            pairs = [(address[master], address[other]), (address[other], address[master])]
            for source, target in pairs if chance.random() < 0.5 else pairs[:1]:
                iptables("-A", "INPUT", "-s", source, "-d", target, "-p", "tcp", "-j", "DROP")


def disturb(lab):
    master = chance.choice(MASTERS)
    what = chance.choice(["cut", "cut", "kill", "engine"])
    if what == "cut":
        cut(lab, master)
    elif what == "kill":
        lab.kill(master)
    else:
        os.kill(engine(lab, master), signal.SIGKILL)
    return master, what


with running_lab(Wish(masters=MASTERS, minions=())) as lab:
    wanted = set()
    for number in range(rounds):
        master, what = disturb(lab)
        for one in MASTERS:
            if (one, what) != (master, "kill"):
                wait_until(lambda: wanted <= accepted(lab, one), PATIENCE, f"{one} has what it had")
                for new in range(3):
                    place(lab, one, "minions", f"{one}{number}-{new}", KEYS[new].pem)
                    wanted.add(f"{one}{number}-{new}")
                own = [name for name in sorted(wanted) if name.startswith(f"{one}{number - 1}-")]
                for old in own[:1]:
                    (pki(lab, one) / "minions" / old).unlink()
                    wanted.discard(old)
        iptables("-F", "INPUT")
        if what == "kill":
            lab.start(master)
        for one in MASTERS:
            told = f"round {number} ({what} {master}): {one} agrees"
            wait_until(lambda: accepted(lab, one) == wanted, PATIENCE, told)
        wait_until(lambda: len({digest(lab, one) for one in MASTERS}) == 1, PATIENCE, f"round {number}: one journal")
    for one in MASTERS:
        wait_until(lambda: status(lab, one)["ok"], PATIENCE, f"{one} says that all is well")
    print("agreed", len(wanted))
"""


@pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(MANY, marks=[pytest.mark.soak, pytest.mark.timeout(3000)])])
def test_partitions_end_well(rounds: int) -> None:
    """After each round all three hold exactly the keys that were accepted and not deleted, and one journal."""
    space = NetworkNamespace.create()
    try:
        command = space.command(sys.executable, "-c", SERIES, str(rounds), "20261124")
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.stdout.startswith("agreed"), done.stdout + done.stderr
    finally:
        space.delete()
