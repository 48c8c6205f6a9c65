"""Tasks and inventory through a real master and minion."""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import sys
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
from tests.support.processes import run
from tests.support.rigs import MIB, SLOW, Rig, end_guest, has_memory, options
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
        task = ask("libvirt_task.copy_disk", rig.name, "vda", rig.name, bandwidth=SLOW // 16)
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


@pytest.mark.soak
def test_tasks_whose_minion_is_gone(
    *,
    hypervisors: tuple[SaltMinion, SaltMinion],
    traveller: Rig,
    other_libvirt_host: LibvirtHost,
    salt_cli: Salt,
    salt_run_cli: SaltRun,
) -> None:
    """Of a silent minion the reaper knows the task, and sees the guest arrive elsewhere; once back, it says done."""

    def ask(function: str, *words: str, **named: Any) -> Any:
        return salt_cli.run(function, *words, minion_tgt=gone.id, **named).data

    def reaped() -> tuple[int, dict[str, Any]]:
        done = salt_run_cli.run("libvirt_task.reap", "kvm*")
        return done.returncode, done.data

    def seen() -> bool:
        told = reaped()[1]["silent"][gone.id]["tasks"]
        return [one["seen"] for one in told] == ["kvm2 (running)"]

    gone = hypervisors[0]
    wait_until(lambda: has_memory(traveller, 24 * MIB), PATIENCE, "a guest with something in its memory")
    named = options(traveller, other_libvirt_host)
    task = ask("libvirt_task.migrate", traveller.name, **named, bandwidth=MIB)
    wait_until(lambda: ask("libvirt_task.status", task)["state"] == "running", PATIENCE, "the migration")
    ask("mine.send", "libvirt_guest.summary")
    code, told = reaped()
    assert (code, [one["task"] for one in told["going"][gone.id]]) == (0, [task])
    gone.terminate()
    try:
        code, told = reaped()
        (work,) = told["silent"][gone.id]["tasks"]
        assert (code, work["task"], work["kind"], work["guest"]) == (1, task, "migrate", traveller.name)
        with contextlib.suppress(RuntimeError):  # on a slow machine it has arrived
            traveller.virsh(traveller.host, "migrate-setspeed", traveller.name, "1000")
        wait_until(seen, PATIENCE, "the guest at kvm2")
    finally:
        gone.start()
    wait_until(lambda: ask("test.ping"), PATIENCE, "the minion")
    assert ask("libvirt_task.wait", task, 30)["state"] == "done"
    code, told = reaped()
    assert (code, told["going"], told["silent"]) == (0, {"kvm1": [], "kvm2": []}, {})


def test_waiting_on_a_terminal(master: SaltMaster, hypervisor: SaltMinion, rig: Rig, salt_cli: Salt) -> None:
    """A bar is shown in one line, and goes again before the answer."""
    task = salt_cli.run("libvirt_task.copy_disk", rig.name, "vda", rig.name, minion_tgt=hypervisor.id).data
    folder = Path(master.config["conf_file"]).parent
    words = [str(Path(sys.executable).parent / "salt-run"), "-c", str(folder), "libvirt_task.wait", hypervisor.id, task]
    shown = run("script", "-qec", shlex.join(words), "/dev/null", timeout=PATIENCE)
    assert re.search(r"[\r\n]\x1b\[K\[#*\.*\] +\d+ %  (running|done)", shown), shown
    assert "done" in shown.rpartition("\x1b[K")[2]


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


@pytest.mark.soak
def test_an_evacuation_is_taken_up(
    *,
    hypervisors: tuple[SaltMinion, SaltMinion],
    guests: tuple[Rig, Rig],
    master: SaltMaster,
    salt_cli: Salt,
    salt_run_cli: SaltRun,
    other_libvirt_host: LibvirtHost,
) -> None:
    """The command is killed while a guest moves: called again, it waits for that one and moves the others."""
    for daemon in hypervisors:
        salt_cli.run("mine.send", "libvirt_guest.summary", minion_tgt=daemon.id)
    for rig in guests:
        wait_until(lambda rig=rig: has_memory(rig, 24 * MIB), PATIENCE, "a guest with something in its memory")

    def going() -> list[str]:
        told = salt_cli.run("libvirt_task.list", state="running", minion_tgt=hypervisors[0].id).data
        return [one["task"] for one in told if one["kind"] == "migrate"]

    folder = str(Path(master.config["conf_file"]).parent)
    words = ["libvirt_guest.evacuate", "kvm1", "parallel=1", f"bandwidth={MIB}"]
    with subprocess.Popen([Path(sys.executable).parent / "salt-run", "-c", folder, *words]) as first:
        (task,) = wait_until(going, PATIENCE, "the first move")
        first.kill()
    assert going() == [task]
    done = salt_run_cli.run("libvirt_guest.evacuate", "kvm1", parallel=1, _timeout=2 * PATIENCE)
    assert (done.returncode, done.data["failed"], done.data["left"]) == (0, {}, []), done
    assert sorted(one["guest"] for one in done.data["done"]) == ["db", "web"]
    assert sorted(guests[0].virsh(other_libvirt_host, "list", "--name").split()) == ["db", "web"]
    assert salt_cli.run("libvirt_task.status", task, minion_tgt="kvm1").data["state"] == "done"


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
