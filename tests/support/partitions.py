"""
Three real masters, each in a network namespace of its own, that lose sight of each other, are killed and come back.

``python -m tests.support.partitions ROUNDS SEED NAMESPACE NAMESPACE NAMESPACE`` in the namespace with the bridge. Each
master reaches the others over its end of a pair of virtual interfaces; the other end is a port of the bridge. A port
that is down, or rules of a namespace's own, part it from the others, in both directions or in one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence, Set
from pathlib import Path

import yaml

from saltext_logilab.identity import load_or_create
from saltext_logilab.lab import daemons, processes
from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Wish
from saltext_logilab.masters import archive, settings
from saltext_logilab.masters.journal import Journal
from saltext_logilab.masters.kinds import chain
from saltext_logilab.masters.reconcile import Change
from tests.fleet.masters.test_keys import engine, pki, place, settings_of, status
from tests.fleet.masters.test_kill_series import accepted, digest
from tests.support.groups import joined
from tests.support.labs import running_lab
from tests.support.minion_keys import KEYS
from tests.support.netns import NetworkNamespace
from tests.support.processes import program, run
from tests.support.waiting import wait_until

MASTERS = ("paris", "nantes", "lyon")
SUBNET = "10.77.1"
BRIDGE = "apart0"
PATIENCE = 90


class Networks:
    """A bridge in this namespace, and of each master the namespace that has a port of it."""

    def __init__(self, names: Sequence[str]) -> None:
        """Join the namespaces ``names`` by a bridge."""
        self.spaces = {master: NetworkNamespace(name) for master, name in zip(MASTERS, names, strict=True)}
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "link", "set", BRIDGE, "up")
        for master, space in self.spaces.items():
            run("ip", "link", "add", master, "type", "veth", "peer", "name", "eth0", "netns", space.name)
            run("ip", "link", "set", master, "master", BRIDGE, "up")
            run(*space.command("ip", "address", "add", f"{self.address(master)}/24", "dev", "eth0"))
            run(*space.command("ip", "link", "set", "eth0", "up"))

    @staticmethod
    def address(master: str) -> str:
        """Return the address of ``master``."""
        return f"{SUBNET}.{MASTERS.index(master) + 1}"

    def iptables(self, master: str, *rule: str) -> None:
        """Change the rules of the namespace of ``master``."""
        run(*self.spaces[master].command(program("iptables", "iptables"), "-w", *rule))

    def part(self, master: str, chance: random.Random) -> str:
        """Part ``master`` from the others in one of the ways in which networks do."""
        how = chance.choice(["port", "both", "in", "out"])
        if how == "port":
            run("ip", "link", "set", master, "down")
        for other in (one for one in MASTERS if one != master):
            if how in ("both", "in"):
                self.iptables(master, "-A", "INPUT", "-s", self.address(other), "-j", "DROP")
            if how in ("both", "out"):
                self.iptables(master, "-A", "OUTPUT", "-d", self.address(other), "-j", "DROP")
        return how

    def heal(self) -> None:
        """Join all again."""
        for master in MASTERS:
            run("ip", "link", "set", master, "up")
            for rules in ("INPUT", "OUTPUT"):
                self.iptables(master, "-F", rules)


def move(lab: Lab, networks: Networks) -> None:
    """Stop the masters, and start each one in its own namespace, where all know it to be."""
    for master in MASTERS:
        lab.stop(master)
    journals = {}
    for master in MASTERS:
        path = lab.folder / master / "etc" / "master"
        config = yaml.safe_load(path.read_text())
        config["logilab"]["masters"]["listen"] = f"{networks.address(master)}:{lab.plan.ports.peers}"
        path.write_text(json.dumps(config))
        at = settings_of(lab, master)
        journals[master] = Journal(at.journal, load_or_create(at.identity))
    tell(journals, {master: settings_of(lab, master) for master in MASTERS})
    spawn, look = daemons.start, processes.sockets

    def start(where: Path, command: Sequence[str], log: Path, salt: str) -> daemons.Record:
        return spawn(where, networks.spaces[where.name].command(*command), log, salt)

    def sockets() -> list[processes.Socket]:
        told = [run(*one.command("cat", "/proc/self/net/tcp")) for one in networks.spaces.values()]
        return [*look(), *(each for text in told for each in processes.parse_sockets(text))]

    daemons.start, processes.sockets = start, sockets
    for master in MASTERS:
        lab.start(master)


def tell(journals: dict[str, Journal], told: dict[str, settings.MastersSettings]) -> None:
    """Let each journal know where all masters are reached now."""
    for master, journal in journals.items():
        change = joined(journal.identity, master, told[master].reached)
        known = Change(**{**vars(change), "context": journal.latest()})
        journal.originate([known], at=int(time.time()), shown=False)
    for journal in journals.values():
        for other in journals.values():
            journal.merge(chain(other.founder, other.beyond({}, "member")), {})
        archive.keep(journal)
    for journal in journals.values():
        journal.close()


def disturb(lab: Lab, networks: Networks, chance: random.Random) -> tuple[str, str]:
    """Let something happen to a master; return what, and to which one."""
    master = chance.choice(MASTERS)
    what = chance.choice(["part", "part", "kill", "engine"])
    if what == "part":
        return networks.part(master, chance), master
    if what == "kill":
        lab.kill(master)
    else:
        os.kill(engine(lab, master), signal.SIGKILL)
    return what, master


def change(lab: Lab, master: str, number: int, before: Set[str], wanted: Set[str]) -> set[str]:
    """
    Accept keys on ``master``, and delete one of those that it has accepted in the round before.

    Returns what is ``wanted`` after that on all; ``before`` is what was there before this round.
    """
    wait_until(lambda: before <= accepted(lab, master), PATIENCE, f"{master} has what it had")
    new = {f"{master}{number}-{each}": key for each, key in enumerate(KEYS)}
    for name, key in new.items():
        place(lab, master, "minions", name, key.pem)
    old = sorted(name for name in before if name.startswith(f"{master}{number - 1}-"))[:1]
    for name in old:
        (pki(lab, master) / "minions" / name).unlink()
    return (wanted | new.keys()) - set(old)


def play(lab: Lab, networks: Networks, rounds: int, chance: random.Random) -> int:
    """Play so many rounds; return the number of keys in the end."""
    wanted: set[str] = set()
    for number in range(rounds):
        what, where = disturb(lab, networks, chance)
        acting = [one for one in MASTERS if (what, where) != ("kill", one)]
        before = frozenset(wanted)
        for one in acting:
            wanted = change(lab, one, number, before, wanted)
        networks.heal()
        if what == "kill":
            lab.start(where)
        for one in MASTERS:
            told = f"round {number} ({what} {where}): {one} agrees"
            wait_until(lambda one=one, all_=wanted: accepted(lab, one) == all_, PATIENCE, told)
        told = f"round {number} ({what} {where}): one journal"
        wait_until(lambda: len({digest(lab, one) for one in MASTERS}) == 1, PATIENCE, told)
    for one in MASTERS:
        wait_until(lambda one=one: status(lab, one)["ok"], PATIENCE, f"{one} says that all is well")
    return len(wanted)


def main(rounds: str, seed: str, *names: str) -> None:
    """Play, and say so when all was as it must be."""
    with running_lab(Wish(masters=MASTERS, minions=())) as lab:
        networks = Networks(names)
        move(lab, networks)
        sys.stdout.write(f"agreed {play(lab, networks, int(rounds), random.Random(int(seed)))}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
