"""Two masters and a minion that are far from each other: each byte takes 300 ms, in each direction."""

import json
from collections.abc import Callable
from pathlib import Path

import yaml
from saltfactories.daemons.minion import SaltMinion

from saltext_logilab.lab.lab import Lab
from tests.fleet.masters.test_keys import awaited, held, place, status
from tests.support.addresses import free_address
from tests.support.distribution import ROOT
from tests.support.documents import blocks
from tests.support.labs import LabFactory
from tests.support.minion_keys import KEYS
from tests.support.relays import Relay
from tests.support.waiting import wait_until

PATIENCE = 60
DELAY = 0.3
READY = "Minion is ready to receive requests!"


def documented(role: str) -> dict[str, object]:
    """Return the settings that the documentation advises to a master or a minion far away."""
    page = (ROOT / "docs" / "masters.md").read_text(encoding="utf-8")
    part = page.partition("\n## Far apart\n")[2]
    found = [yaml.safe_load(block.text) for block in blocks(part) if block.language == "yaml"]
    return found[("master", "minion").index(role)]


def far(lab: Lab, tcp_relay: Callable[..., Relay]) -> list[str]:
    """Return loopback addresses at which the masters' three ports are found, each behind a slow network."""
    ports = lab.plan.ports
    addresses = [free_address()[0] for _ in lab.plan.masters]
    for at, master in zip(addresses, lab.plan.masters, strict=True):
        for port in (ports.publish, ports.request, ports.peers):
            tcp_relay(port, host=master.address, there=DELAY, back=DELAY, at=at)
    return addresses


def move(lab: Lab, master: str, at: str) -> None:
    """Let the other members find ``master`` at the address ``at``; set what is advised."""
    lab.kill(master)
    path = lab.folder / master / "etc" / "master"
    config = yaml.safe_load(path.read_text())
    config["logilab"]["masters"]["address"] = f"{at}:{lab.plan.ports.peers}"
    path.write_text(json.dumps(config | documented("master")))
    lab.start(master)


def test_masters_and_a_minion_far_apart(
    make_lab: LabFactory, tcp_relay: Callable[..., Relay], new_minion: Callable[..., SaltMinion]
) -> None:
    """With the settings of the documentation a key is shared, and the minion answers both masters."""
    lab = make_lab(masters=("paris", "nantes"), minions=())
    addresses = far(lab, tcp_relay)
    for master, at in zip(("paris", "nantes"), addresses, strict=True):
        move(lab, master, at)
    for one, other, at in (("paris", "nantes", addresses[1]), ("nantes", "paris", addresses[0])):
        wait_until(
            lambda one=one, other=other, at=at: at in str(status(lab, one)["members"][other]),
            PATIENCE,
            f"{other} is far",
        )
    place(lab, "paris", "minions", "web1", KEYS[0].pem)
    awaited(lab, "nantes", "web1", "accepted")
    lab.run("nantes", "salt-key", "-y", "-d", "web1")
    awaited(lab, "paris", "web1", "")
    ports = lab.plan.ports
    own = {"master": addresses, "publish_port": ports.publish, "master_port": ports.request}
    minion = new_minion(overrides={**own, "acceptance_wait_time": 1, **documented("minion")}, start_timeout=1)
    with minion.started():
        wait_until(lambda: held(lab, "paris", minion.id) == "pending", PATIENCE, "the minion asks")
        lab.run("paris", "salt-key", "-y", "-a", minion.id)
        log = Path(minion.config["log_file"])
        wait_until(lambda: log.read_text().count(READY) == 2, PATIENCE, "both masters have let the minion in")
        for master in ("paris", "nantes"):
            done = lab.run(master, "salt", minion.id, "test.ping", "--out", "json", "--static")
            assert json.loads(done.stdout) == {minion.id: True}
    for master in ("paris", "nantes"):
        wait_until(lambda master=master: status(lab, master)["ok"], PATIENCE, f"{master} says that all is well")
