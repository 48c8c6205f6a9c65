"""What a group must not disturb, over TCP: Salt's own commands, and reactors, which fire where it was decided."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from saltext_logilab.lab.lab import Lab
from tests.fleet.masters.test_files import configure
from tests.fleet.masters.test_group import ping
from tests.fleet.masters.test_keys import awaited, place, status
from tests.support.labs import LabFactory, accept_all
from tests.support.minion_keys import KEYS
from tests.support.waiting import wait_until

PATIENCE = 60
MASTERS = ("paris", "nantes")
WHEEL = """
import sys, salt.config, salt.wheel
client = salt.wheel.WheelClient(salt.config.master_config(sys.argv[1]))
print(client.cmd(sys.argv[2], [sys.argv[3]], print_event=False))
"""


@pytest.fixture(scope="module")
def lab(make_module_lab: LabFactory) -> Lab:
    """Two masters and a minion over Salt's transport TCP; both masters have a reactor on events about keys."""
    tcp = {"transport": "tcp"}
    made = make_module_lab(masters=MASTERS, minions=("m1",), master_options=tcp, minion_options=tcp)
    for master in MASTERS:
        reaction = made.folder / master / "reaction.sls"
        reaction.write_text(
            "{% if data.get('id', '').startswith('web') %}\n"
            "note:\n"
            "  runner.salt.cmd:\n"
            "    - args:\n"
            "      - fun: file.append\n"
            f"      - path: {reactions(made, master)}\n"
            "      - args: \"{{ data['act'] }} {{ data['id'] }}\"\n"
            "{% endif %}\n"
        )
        configure(made, master, lambda config, sls=reaction: config.update(reactor=[{"salt/key": [str(sls)]}]))
    accept_all(made)
    return made


def reactions(lab: Lab, master: str) -> Path:
    """Return the file that the reactor of ``master`` writes."""
    return lab.folder / master / "reactions"


def reacted(lab: Lab, master: str) -> str:
    """Return what the reactor of ``master`` has written."""
    file = reactions(lab, master)
    return file.read_text() if file.exists() else ""


def wheel(lab: Lab, master: str, function: str, minion: str) -> None:
    """Call a wheel function on ``master``, as Salt's API does."""
    command = [sys.executable, "-c", WHEEL, str(lab.folder / master / "etc" / "master"), function, minion]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)


def test_reactors_fire_where_it_was_decided_and_nowhere_else(lab: Lab) -> None:
    """A key accepted on paris and deleted on nantes: each master's reactor hears of its own decision alone."""
    place(lab, "paris", "minions_pre", "web1", KEYS[0].pem)
    lab.run("paris", "salt-key", "-y", "-a", "web1")
    awaited(lab, "nantes", "web1", "accepted")
    wait_until(lambda: "web1" in reacted(lab, "paris"), PATIENCE, "paris reacts")
    lab.run("nantes", "salt-key", "-y", "-d", "web1")
    awaited(lab, "paris", "web1", "")
    wait_until(lambda: "delete web1" in reacted(lab, "nantes"), PATIENCE, "nantes reacts")
    assert "accept" not in reacted(lab, "nantes")
    assert "delete" not in reacted(lab, "paris")


def test_what_the_wheel_decides_is_shared(lab: Lab) -> None:
    """As salt-api and other programs do it."""
    place(lab, "nantes", "minions_pre", "web2", KEYS[0].pem)
    wheel(lab, "nantes", "key.accept", "web2")
    awaited(lab, "paris", "web2", "accepted")
    wheel(lab, "paris", "key.delete", "web2")
    awaited(lab, "nantes", "web2", "")


def test_salts_own_commands_see_nothing_of_the_group(lab: Lab) -> None:
    """``salt '*'``, ``salt-key -L`` and ``manage.status`` know m1 and nobody else, and end with exit code 0."""
    for master in MASTERS:
        wait_until(lambda master=master: ping(lab, master), PATIENCE, f"m1 answers {master}")
        done = lab.run(master, "salt", "*", "test.ping", "--out=json", "--static")
        assert (done.returncode, json.loads(done.stdout)) == (0, {"m1": True})
        keys = json.loads(lab.run(master, "salt-key", "-L", "--out=json").stdout)
        assert keys == {"minions": ["m1"], "minions_pre": [], "minions_denied": [], "minions_rejected": []}
        done = lab.run(master, "salt-run", "manage.status", "--out=json")
        assert (done.returncode, json.loads(done.stdout)) == (0, {"up": ["m1"], "down": []})
        assert status(lab, master)["ok"]
