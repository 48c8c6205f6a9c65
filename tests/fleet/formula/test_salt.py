"""The formula ``salt``, applied for real: a master and a minion run, and the minion answers."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.containers import SALT
from tests.support.formulas import FormulaHost
from tests.support.waiting import wait_until


def test_a_minion_answers(formula_host: Callable[..., FormulaHost]) -> None:
    """The services run with the settings of the pillar, out of the environment that is there already."""
    pillar = {
        "install": "none",
        "environment": SALT,
        "extension": {"enabled": False},
        "minion": {
            "id": "here",
            "masters": ["127.0.0.1"],
            "config": {"grains": {"role": "web"}, "file_client": "remote"},
        },
        "master": {"config": {"worker_threads": 3, "auto_accept": True}},
    }
    host = formula_host({"salt": pillar})
    host.machine.exec("mkdir", "-p", "/etc/salt/master.d", "/etc/salt/minion.d")
    host.apply_twice("salt")
    salt = f"{SALT}/bin/salt"

    def answer() -> str:
        return host.machine.exec(salt, "--out", "txt", "-t", "5", "*", "grains.get", "role", check=False).output

    wait_until(lambda: "here: web" in answer(), 90, "the answer of the minion")
