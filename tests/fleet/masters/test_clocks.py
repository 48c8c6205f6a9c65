"""Clocks that are wrong and are stepped: no decision depends on them."""

import json
from collections.abc import Callable

import pytest

from tests.fleet.masters.test_keys import awaited, held, pki, place, status
from tests.support.clocks import FakeClock
from tests.support.labs import LabFactory
from tests.support.minion_keys import KEYS
from tests.support.waiting import wait_until

PATIENCE = 60
HOUR = 3600


def test_steps_of_an_hour(
    make_lab: LabFactory, faketime: Callable[..., FakeClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A master lives an hour ahead, then an hour behind: each decision arrives, and the last one counts."""
    lab = make_lab(masters=("paris", "nantes"), minions=())
    clock = faketime(offset=HOUR)
    lab.kill("nantes")
    with monkeypatch.context() as environment:
        for name, value in clock.env.items():
            environment.setenv(name, value)
        lab.start("nantes")
        for offset in (HOUR, -HOUR):
            clock.step_to(offset)
            for number, (one, other) in enumerate((("paris", "nantes"), ("nantes", "paris"))):
                place(lab, one, "minions", f"web{number}", KEYS[number].pem)
                awaited(lab, other, f"web{number}", "accepted")
                (pki(lab, other) / "minions" / f"web{number}").unlink()  # later, whatever the clocks say
                awaited(lab, one, f"web{number}", "")
                assert held(lab, other, f"web{number}") == ""
            told = json.loads(lab.run("nantes", "salt-run", "masters.status", "--out", "json").stdout)
            assert told["nantes"]["problems"] == []
    wait_until(lambda: status(lab, "paris")["ok"], PATIENCE, "paris says that all is well")
