"""Tasks and inventory through a real master and minion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import salt.utils.event
from saltfactories.cli.run import SaltRun
from saltfactories.cli.salt import Salt
from saltfactories.daemons.master import SaltMaster
from saltfactories.daemons.minion import SaltMinion

from tests.support.documents import Substitution
from tests.support.libvirt import LibvirtHost
from tests.support.rigs import SLOW, Rig, end_guest
from tests.support.waiting import wait_until

PATIENCE = 120
EVACUATION, BACKUP = "docs/evacuate.md", "docs/back-up-guests.md"


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
        rig.hurry()
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


@pytest.fixture
def guests(
    make_rig: Callable[..., Rig], libvirt_host: LibvirtHost, other_libvirt_host: LibvirtHost
) -> Iterator[tuple[Rig, Rig]]:
    """Two guests, web and db, on the first host; they may end on either."""
    made = make_rig(libvirt_host, name="web"), make_rig(libvirt_host, name="db")
    yield made
    for host in (libvirt_host, other_libvirt_host):
        for rig in made:
            end_guest(host, rig)


def test_back_up_without_stopping(
    *,
    hypervisor: SaltMinion,
    make_rig: Callable[..., Rig],
    libvirt_host: LibvirtHost,
    salt_cli: Salt,
    wrong_on: Callable[..., str],
    tmp_path: Path,
) -> None:
    """A reader who types what the page shows gets what the page shows: backed up, verified, restored, started."""

    def newest(function: str, *words: str) -> str:
        told = salt_cli.run(f"{function}.list", *words, minion_tgt=hypervisor.id).data
        return str(told[0]["task"])

    rig = make_rig(libvirt_host, name="web", root=tmp_path)
    (tmp_path / "backups").mkdir()
    xml = f"<pool type='dir'><name>backups</name><target><path>{tmp_path}/backups</path></target></pool>"
    pool = libvirt_host.open().storagePoolCreateXML(xml)
    command = "salt -c {master} -l error kvm1 libvirt_task."
    restored = Substitution(
        r"sudo salt kvm1 libvirt_task\.restore \S+ (.*)", command + r"restore {backup} \1 2>/dev/null", "its real name"
    )
    verified = Substitution(
        r"sudo salt kvm1 libvirt_task\.verify \S+ (.*)",
        command + r"verify {backup} \1 seconds=1 2>/dev/null",
        "its real name, and no longer than it has to be",
    )
    task = Substitution(
        r"sudo salt-run libvirt_task\.wait kvm1 \S+",
        "salt-run -c {master} libvirt_task.wait kvm1 {task} 2>/dev/null",
        "id",
    )
    names = {"backup": lambda: newest("libvirt_backup", "backups"), "task": lambda: newest("libvirt_task")}
    assert wrong_on(BACKUP, restored, verified, task, **names) == ""
    assert rig.virsh(libvirt_host, "domstate", "web-restored") == "running"
    for words in (("destroy", "web-restored"), ("undefine", "web-restored")):
        rig.virsh(libvirt_host, *words)
    end_guest(libvirt_host, rig)
    pool.destroy()


def test_every_guest_off_this_host(
    hypervisors: tuple[SaltMinion, SaltMinion],
    guests: tuple[Rig, Rig],
    wrong_on: Callable[..., str],
    libvirt_host: LibvirtHost,
    other_libvirt_host: LibvirtHost,
) -> None:
    """A reader who types what the page shows gets what the page shows; virsh sees the guests there and not here."""
    assert all(daemon.is_running() for daemon in hypervisors)
    assert wrong_on(EVACUATION) == ""
    virsh = guests[0].virsh
    assert virsh(libvirt_host, "list", "--all", "--name").split() == []
    assert sorted(virsh(other_libvirt_host, "list", "--name").split()) == ["db", "web"]


def test_what_cannot_move_is_named(
    hypervisors: tuple[SaltMinion, SaltMinion],
    make_rig: Callable[..., Rig],
    tmp_path: Path,
    libvirt_host: LibvirtHost,
    salt_run_cli: SaltRun,
) -> None:
    """A guest whose disk is local is in no plan but for its reason, with exit code 1; so is a host that is none."""
    assert all(daemon.is_running() for daemon in hypervisors)
    rig = make_rig(libvirt_host, name="local", root=tmp_path)
    wanted = f"its disks are local: vda {rig.disk}"
    for function, words in (("evacuate", ["kvm1"]), ("migrate", ["local", "kvm2"])):
        done = salt_run_cli.run(f"libvirt_guest.{function}", *words, test=True)
        assert (done.returncode, done.data["stuck"], done.data["moves"]) == (1, {"local": wanted}, []), done
    end_guest(libvirt_host, rig)
    for words in (
        ["evacuate", "kvm9"],
        ["migrate", "web", "kvm9"],
        ["place", "new", "0x"],
        ["place", "new", "999999999"],
    ):
        done = salt_run_cli.run(f"libvirt_guest.{words[0]}", *words[1:])
        assert done.returncode == 1
        assert done.data.get("error") or done.data["why"]["kvm1"].startswith("needs 999999999 MiB")
