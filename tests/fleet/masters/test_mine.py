"""The mine through the outbox: a dead master makes no minion deaf, and has everything when it is back."""

import json
from typing import Any

import pytest

from saltext_logilab.lab.lab import Lab
from tests.support.labs import LabFactory, accept_all
from tests.support.waiting import wait_until

PATIENCE = 60
OUTBOX = {"providers": {"mine": "logilab_mine"}, "engines": [{"logilab_mine": {}}], "mine_interval": 1}


def ask(lab: Lab, master: str, *command: str) -> Any:
    """Return what ``salt m1 …`` answers from ``master``; None when the minion does not answer."""
    done = lab.run(master, "salt", "-t", "10", "m1", *command, "--out", "json")
    return json.loads(done.stdout).get("m1") if done.returncode == 0 else None


def mine(lab: Lab, master: str, function: str) -> Any:
    """Return the value of ``function`` that ``master`` has of m1."""
    done = lab.run(master, "salt-run", "mine.get", "m1", function, "--out", "json")
    return json.loads(done.stdout).get("m1")


def send(lab: Lab, value: str) -> None:
    """Put ``value`` into the mine, from the first master."""
    assert ask(lab, "paris", "mine.send", "said", "mine_function=test.echo", value) is True


@pytest.mark.parametrize(("salt", "data"), [("3006", ["mine", "grains"]), (None, [])], ids=["3006", "installed"])
def test_a_dead_master_blocks_nothing_and_loses_nothing(
    make_lab: LabFactory, salt: str | None, data: list[str]
) -> None:
    """
    While one master is dead each command from the other is answered; back again, it has the latest mine.

    From the minion; and where the masters share minion data, also when the minion is dead by then, and its grains too.
    """
    versions = dict.fromkeys(("paris", "nantes", "m1"), salt) if salt else None
    options = {**OUTBOX, "mine_functions": {"uptime": [{"mine_function": "test.echo"}, "up"], "test.ping": []}}
    shared = {"logilab": {"masters": {"data": data}}}
    lab = make_lab(
        masters=("paris", "nantes"), minions=("m1",), minion_options=options, master_options=shared, salt=versions
    )
    accept_all(lab)
    send(lab, "both up")
    for master in ("paris", "nantes"):
        wait_until(lambda master=master: mine(lab, master, "said") == "both up", PATIENCE, f"the mine at {master}")
    lab.kill("nantes")
    for number in range(3):
        send(lab, f"number {number}")
        assert ask(lab, "paris", "test.ping") is True
    wait_until(lambda: mine(lab, "paris", "said") == "number 2", PATIENCE, "the latest value at paris")
    assert ask(lab, "paris", "mine.delete", "test.ping") is True
    told = ask(lab, "paris", "mine.outbox")
    behind = {master: one["behind"] for master, one in told.items()}
    assert sorted(behind.values())[-1] > 0, told
    if data:
        assert ask(lab, "paris", "grains.setval", "role", "db") == {"role": "db"}
        wait_until(lambda: grains(lab, "paris").get("role") == "db", PATIENCE, "the grain at paris")
        lab.kill("m1")
    lab.start("nantes")
    wait_until(lambda: mine(lab, "nantes", "said") == "number 2", PATIENCE, "the latest value at nantes")
    if data:
        wait_until(lambda: grains(lab, "nantes").get("role") == "db", PATIENCE, "the grain at nantes")


def grains(lab: Lab, master: str) -> Any:
    """Return the grains of m1 that ``master`` has cached."""
    return json.loads(lab.run(master, "salt-run", "cache.grains", "m1", "--out", "json").stdout).get("m1", {})


def test_stock_behaviour_without_the_engine(make_lab: LabFactory) -> None:
    """The provider alone sends as Salt does; nothing waits in an outbox that nobody empties."""
    lab = make_lab(masters=("paris",), minions=("m1",), minion_options={"providers": {"mine": "logilab_mine"}})
    accept_all(lab)
    send(lab, "hello")
    wait_until(lambda: mine(lab, "paris", "said") == "hello", PATIENCE, "the mine at paris")
    assert ask(lab, "paris", "mine.outbox") == {}
