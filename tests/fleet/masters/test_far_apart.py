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
from tests.support.labs import LabFactory, reach_at
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


def far(lab: Lab, tcp_relay: Callable[..., Relay]) -> tuple[list[str], list[Relay]]:
    """
    Put a slow network before the masters' three ports.

    Returns the loopback addresses at which they are found then, and what is between the masters.
    """
    ports = lab.plan.ports
    addresses = [free_address()[0] for _ in lab.plan.masters]
    between = []
    for at, master in zip(addresses, lab.plan.masters, strict=True):
        for port in (ports.publish, ports.request, ports.peers):
            relay = tcp_relay(port, host=master.address, there=DELAY, back=DELAY, at=at)
            between += [relay] if port == ports.peers else []
    return addresses, between


def test_masters_and_a_minion_far_apart(
    make_lab: LabFactory, tcp_relay: Callable[..., Relay], new_minion: Callable[..., SaltMinion]
) -> None:
    """With the settings of the documentation a key is shared, and the minion answers both masters."""
    lab = make_lab(masters=("paris", "nantes"), minions=())
    addresses, between = far(lab, tcp_relay)
    places = {one: f"{at}:{lab.plan.ports.peers}" for one, at in zip(("paris", "nantes"), addresses, strict=True)}
    reach_at(lab, places, **documented("master"))
    wait_until(lambda: any(relay.connections for relay in between), PATIENCE, "a slow link")
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
