"""What a group must not disturb, over TCP: Salt's own commands, and reactors, which fire where it was decided."""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import salt.config

from saltext_logilab.lab.lab import Lab
from saltext_logilab.masters import control
from saltext_logilab.masters.mines import MinionData
from tests.fleet.masters.test_group import ping
from tests.fleet.masters.test_keys import awaited, place, settings_of, status
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


LISTEN = """
import sys, salt.config, salt.utils.event
opts = salt.config.master_config(sys.argv[1])
with salt.utils.event.get_master_event(opts, opts["sock_dir"], listen=True) as bus:
    bus.connect_pub(timeout=30)
    print("listening", flush=True)
    for event in bus.iter_events(tag="", full=True):
        if event["tag"] == "end/of/test":
            break
        if event["tag"].startswith("salt/key"):
            print(event["data"]["act"], event["data"]["id"], flush=True)
"""


KEPT = """
import sys, salt.config, salt.daemons.masterapi
from saltext_logilab.masters.mines import MinionData
opts, text = salt.config.master_config(sys.argv[1]), sys.argv[2]
functions = salt.daemons.masterapi.RemoteFuncs(opts)
functions._mine({"id": "m1", "data": {"said": text}}, skip_verify=True)
for kind in ("grains", "pillar"):
    MinionData(opts).write(kind, "m1", {"id": "m1", "told": text})
returners = functions.mminion.returners
jid = returners["local_cache.prep_jid"]()
load = {"jid": jid, "fun": "test.arg", "arg": [text], "tgt": "m1", "tgt_type": "glob", "user": "root"}
returners["local_cache.save_load"](jid, load, minions=["m1"])
print(jid)
"""


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both masters note all that an ``event_return`` is told, which is what their buses tell to anybody."""
    return tmp_path_factory.mktemp("events") / "events.json"


@pytest.fixture(scope="module")
def lab(make_module_lab: LabFactory, events: Path) -> Lab:
    """Two masters that share all minion data, and a minion, over Salt's transport TCP."""
    tcp = {"transport": "tcp"}
    noting = {"event_return": "rawfile_json", "rawfile_json.filename": str(events)}
    shared = {"logilab": {"masters": {"data": ["mine", "grains", "pillar"]}}}
    made = make_module_lab(
        masters=MASTERS, minions=("m1",), master_options={**tcp, **noting, **shared}, minion_options=tcp
    )
    accept_all(made)
    return made


def configuration(lab: Lab, master: str) -> str:
    """Return the configuration file of ``master``."""
    return str(lab.folder / master / "etc" / "master")


@contextmanager
def listening(lab: Lab, master: str) -> Iterator[list[str]]:
    """Give a list that holds, in the end, what ``master``'s bus has told of keys, as its reactors hear it."""
    command = [sys.executable, "-c", LISTEN, configuration(lab, master)]
    heard: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout
        try:
            assert listener.stdout.readline() == "listening\n"
            yield heard
            lab.run(master, "salt-run", "event.send", "end/of/test")
            heard += listener.communicate(timeout=PATIENCE)[0].splitlines()
        finally:
            listener.kill()


def wheel(lab: Lab, master: str, function: str, minion: str) -> None:
    """Call a wheel function on ``master``, as Salt's API does."""
    command = [sys.executable, "-c", WHEEL, configuration(lab, master), function, minion]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)


def test_reactors_fire_where_it_was_decided_and_nowhere_else(lab: Lab) -> None:
    """A key accepted on paris and deleted on nantes: each master's bus tells of its own decision alone."""
    with listening(lab, "paris") as paris, listening(lab, "nantes") as nantes:
        place(lab, "paris", "minions_pre", "web1", KEYS[0].pem)
        lab.run("paris", "salt-key", "-y", "-a", "web1")
        awaited(lab, "nantes", "web1", "accepted")
        lab.run("nantes", "salt-key", "-y", "-d", "web1")
        awaited(lab, "paris", "web1", "")
    assert paris == ["accepted web1"]
    assert nantes == ["delete web1"]


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


def test_no_reader_of_the_bus_learns_what_masters_tell_each_other(lab: Lab, events: Path) -> None:
    """Mine, grains and pillar of a minion and the arguments of a job go from nantes to paris, and over no bus."""
    secret = f"secret-{secrets.token_hex(8)}"
    command = [sys.executable, "-c", KEPT, configuration(lab, "nantes"), secret]
    jid = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout.strip()
    cache = MinionData(salt.config.master_config(configuration(lab, "paris")))
    for kind in ("mine", "grains", "pillar"):
        wait_until(lambda kind=kind: secret in str(cache.read(kind, "m1")), PATIENCE, f"the {kind} on paris")
    told = control.call(settings_of(lab, "paris").folder, "job", jid=jid)
    assert secret in str(told["nantes"])
    for master in MASTERS:
        lab.run(master, "salt-run", "event.send", f"end/of/{master}")
        wait_until(lambda master=master: f"end/of/{master}" in events.read_text(), PATIENCE, f"the last of {master}")
    assert secret not in events.read_text()
