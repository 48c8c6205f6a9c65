"""
Two real masters with files of their own, and a minion: one is held while it is behind, and pulls from the other.

The other one, which is the reference, is of Salt 3006.
"""

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.lab.lab import Lab
from tests.fleet.masters.test_files import configure, files
from tests.fleet.masters.test_group import ping, runner
from tests.fleet.masters.test_keys import engine, status
from tests.support.labs import LabFactory, accept_all
from tests.support.waiting import wait_until

PATIENCE = 90
STATE = "web:\n  test.succeed_without_changes:\n    - name: {}\n"
LARGE = 96 << 20
SCHEDULE = ("web", "function=state.apply", "job_args=[web]", "seconds=4", "maxrunning=1", "persist=False")
HELD = {"reference": "paris", "after": 1, "minutes": 30}


@pytest.fixture(scope="module")
def lab(make_module_lab: LabFactory) -> Lab:
    """Two masters, each with a root of files of its own, of which nantes follows paris, and a minion."""
    made = make_module_lab(masters=("paris", "nantes"), minions=("m1",), salt={"paris": "3006"})
    for master in ("paris", "nantes"):
        own(made, master).mkdir()
        (own(made, master) / "web.sls").write_text(STATE.format(master))

        def change(config: Any, master: str = master) -> None:
            config["file_roots"]["base"] = [str(own(made, master))]
            config["ext_pillar"] = [{"logilab_hold": {}}]
            config["logilab"]["masters"] |= {"pull": {"offer": ["files"], "take": ["files"]}, "hold": HELD}

        configure(made, master, change)
    accept_all(made)
    return made


def own(lab: Lab, master: str) -> Path:
    """Return the root of files of ``master``."""
    return lab.folder / master / "salt"


def apply(run: Callable[..., subprocess.CompletedProcess[str]], *command: str) -> tuple[int, str]:
    """Apply the state; return the exit code and what was told."""
    done = run(*command, "state.apply", "web")
    return done.returncode, done.stdout + done.stderr


def scheduled(lab: Lab, master: str) -> str:
    """Return all that the minion's schedule has told ``master``."""
    found = json.loads(
        lab.run(master, "salt-run", "jobs.list_jobs", "search_function=state.apply", "--out=json").stdout
    )
    return "".join(lab.run(master, "salt-run", "jobs.lookup_jid", jid).stdout for jid in sorted(found)[-3:])


def test_a_master_that_is_behind_is_held(lab: Lab) -> None:
    """Published, scheduled and salt-call runs are refused with the reason, other functions and force=True are not."""
    wait_until(lambda: "held until" in str(status(lab, "nantes")["problems"]), PATIENCE, "nantes is held")
    assert "held until" not in str(status(lab, "paris")["problems"])
    assert lab.run("nantes", "salt-run", "masters.status").returncode == 1
    lab.kill("paris")  # so that all that m1 does goes to nantes, which stays held
    address = next(one.address for one in lab.plan.masters if one.name == "nantes")
    configure(lab, "m1", lambda config: config.update(master=address), "minion")
    wait_until(lambda: ping(lab, "nantes"), PATIENCE, "m1 answers nantes")
    lab.run("nantes", "salt", "m1", "schedule.add", *SCHEDULE)
    wait_until(lambda: "held until" in scheduled(lab, "nantes"), PATIENCE, "a scheduled run is refused")
    lab.run("nantes", "salt", "m1", "schedule.delete", "web")
    wait_until(lambda: "web" not in lab.run("nantes", "salt", "m1", "state.running").stdout, PATIENCE, "nothing runs")
    for command in (("nantes", "salt", "m1"), ("m1", "salt-call")):
        code, told = apply(lab.run, *command)
        assert code != 0
        assert "held until" in told
        assert "masters.release" in told
        assert "Name: nantes" not in told
    assert ping(lab, "nantes")
    done = lab.run("nantes", "salt", "m1", "state.apply", "web", "force=True")
    assert (done.returncode, "Name: nantes" in done.stdout) == (0, True)


def test_the_hold_is_ended_by_an_operator(lab: Lab) -> None:
    """Though paris is still away and the files still differ."""
    assert runner(lab, "nantes", "masters.release") == {"released": True}
    code, told = apply(lab.run, "nantes", "salt", "m1")
    assert (code, "Name: nantes" in told) == (0, True)
    done = lab.run("nantes", "salt-run", "masters.release", "--out=json")
    assert (done.returncode, json.loads(done.stdout)["error"]) == (1, "this master is not held")


def test_the_files_of_a_member_are_pulled(lab: Lab) -> None:
    """Told first; the engine is killed while a large file comes: the old tree is whole, and the next pull goes on."""
    lab.start("paris")
    large = own(lab, "paris") / "large"
    large.write_bytes(os.urandom(LARGE))
    wait_until(lambda: "error" not in str(files(lab, "nantes")[1]["masters"]), PATIENCE, "paris answers")
    told = runner(lab, "nantes", "masters.pull", "paris", "dry_run=True")["trees"]["files base"]
    assert (told["add"], told["change"], told["bytes"]) == (["large"], ["web.sls"], LARGE + len(STATE.format("paris")))
    words, environment = lab.command("nantes", ("salt-run", "masters.pull", "paris", "--out=json"))
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as pulling:
        parts = own(lab, "nantes").parent / ".salt.logilab-pull" / "parts"
        wait_until(lambda: any(one.stat().st_size > 1 << 20 for one in parts.glob("*.part")), PATIENCE, "some has come")
        os.kill(engine(lab, "nantes"), signal.SIGKILL)
        assert "error" in json.loads(pulling.communicate(timeout=PATIENCE)[0])
        assert pulling.returncode == 1
    assert [one.name for one in own(lab, "nantes").iterdir()] == ["web.sls"]
    come = max(one.stat().st_size for one in parts.iterdir())
    assert come > 1 << 20
    wait_until(lambda: "paris" in str(runner(lab, "nantes", "masters.pull", "paris")), PATIENCE, "pulled")
    for name in ("large", "web.sls"):
        digests = {hashlib.sha256((own(lab, one) / name).read_bytes()).digest() for one in ("paris", "nantes")}
        assert len(digests) == 1
    # a comparison for the hold may have been at work meanwhile: Salt keeps what it has listed then for 20 s
    wait_until(lambda: files(lab, "nantes")[0] == 0, PATIENCE, "both serve the same")
    wait_until(lambda: "Name: paris" in apply(lab.run, "nantes", "salt", "m1")[1], PATIENCE, "m1 gets what was pulled")
    assert list(runner(lab, "nantes", "masters.pull", "undo=True")["undone"]) == ["files base"]
    assert (own(lab, "nantes") / "web.sls").read_text() == STATE.format("nantes")


def test_what_is_not_offered_or_nobody_is_a_sentence(lab: Lab) -> None:
    """With exit code 1."""
    for words, reason in ((("lyon",), "'lyon' is no other member"), ((), "pull from which member?")):
        done = lab.run("nantes", "salt-run", "masters.pull", *words, "--out=json")
        assert done.returncode == 1
        assert reason in json.loads(done.stdout)["error"]
