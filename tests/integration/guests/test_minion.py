"""Tasks and inventory through a real master and minion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import salt.utils.event
from saltfactories.cli.run import SaltRun
from saltfactories.cli.salt import Salt
from saltfactories.daemons.master import SaltMaster
from saltfactories.daemons.minion import SaltMinion

from tests.support.libvirt import LibvirtHost
from tests.support.rigs import SLOW, Rig
from tests.support.waiting import wait_until

PATIENCE = 120


@pytest.fixture(scope="module")
def hypervisor(
    master: SaltMaster, new_minion: Callable[..., SaltMinion], libvirt_host: LibvirtHost
) -> Iterator[SaltMinion]:
    """A running minion of the first host; its key goes with it, for the master serves other tests too."""
    daemon = new_minion(master, {"logilab": {"guests": {"uri": libvirt_host.uri, "progress_interval": 1}}})
    with daemon.started():
        yield daemon
    master.salt_key_cli().run("--yes", "--delete", daemon.id)


def test_a_task_outlives_its_minion(
    master: SaltMaster, hypervisor: SaltMinion, rig: Rig, salt_cli: Salt, salt_run_cli: SaltRun
) -> None:
    """The minion is restarted in the middle of a copy: the runner sees it done, and the bus hears of its progress."""

    def ask(function: str, *words: str, **named: Any) -> Any:
        return salt_cli.run(function, *words, minion_tgt=hypervisor.id, **named).data

    with salt.utils.event.get_event("master", opts=master.config, listen=True) as bus:
        task = ask("libvirt_task.copy_disk", rig.name, "vda", rig.name, bandwidth=SLOW // 4)
        tag = f"salt/logilab/guests/{hypervisor.id}/{task}"
        progress = bus.get_event(wait=PATIENCE, tag=f"{tag}/progress")["data"]
        assert (progress["task"], progress["state"]) == (task, "running")
        assert "spec" not in progress
        hypervisor.terminate()
        hypervisor.start()
        wait_until(lambda: ask("test.ping"), PATIENCE, "the minion")
        told = ask("libvirt_task.status", task)
        assert (told["state"], told["ended"]) == ("running", None), "the copy was too quick for this test"
        waited = salt_run_cli.run("libvirt_task.wait", hypervisor.id, task, _timeout=PATIENCE)
        assert (waited.returncode, waited.data["state"]) == (0, "done")
        assert bus.get_event(wait=PATIENCE, tag=f"{tag}/ended")["data"]["state"] == "done"


def test_waiting_for_what_is_not_there(hypervisor: SaltMinion, salt_run_cli: SaltRun) -> None:
    """An unknown task is a sentence with exit code 1, at once."""
    done = salt_run_cli.run("libvirt_task.wait", hypervisor.id, "nothing", timeout=0)
    assert done.returncode == 1
    assert "there is no task 'nothing'" in done.data["problem"]


def test_the_fleet_is_shown_from_the_mine(
    hypervisor: SaltMinion, rig: Rig, salt_cli: Salt, salt_run_cli: SaltRun
) -> None:
    """What a hypervisor told the mine is shown as data and as a picture; another format is refused."""
    salt_cli.run("mine.send", "libvirt_guest.summary", minion_tgt=hypervisor.id)
    shown = wait_until(lambda: salt_run_cli.run("libvirt_guest.inventory").data, PATIENCE, "the mine")
    assert shown[hypervisor.id]["guests"][rig.name]["state"] == "paused"
    picture = salt_run_cli.run("libvirt_guest.inventory", "*", format="mermaid").stdout
    assert "flowchart LR" in picture
    assert f"{rig.name}<br/>paused" in picture
    assert salt_run_cli.run("libvirt_guest.inventory", format="svg").returncode != 0
