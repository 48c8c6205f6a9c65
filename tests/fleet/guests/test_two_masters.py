"""Guests that come in through one master of a group: all masters know them before they boot, or forget them again."""

from __future__ import annotations

import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.lab.lab import Lab
from tests.support.cloud_init import parts, standing_in
from tests.support.guests import TinyGuest
from tests.support.labs import LabFactory, accept_all
from tests.support.libvirt import LibvirtHost
from tests.support.pools import pool
from tests.support.processes import run
from tests.support.roots import new_root
from tests.support.waiting import wait_until

SUMMARY = "libvirt_guest.summary"
MASTERS = ("paris", "nantes")
PATIENCE = 240


def ask(lab: Lab, master: str, minion: str, function: str, *words: str) -> Any:
    """Return what a minion answers to a master, None when it does not."""
    done = lab.run(master, "salt", "--out", "json", "--static", minion, function, *words)
    told = json.loads(done.stdout or "{}")
    return told.get(minion) if isinstance(told, dict) else None


def command(name: str, xml: str) -> list[str]:
    """Return the command that makes the guest."""
    told = {"accelerator": "qemu", "linked": True, "xml": " ".join(xml.split()), "timeout": PATIENCE}
    more = [f"{key}={value}" for key, value in told.items()]
    return ["salt-run", "--out", "json", "libvirt_guest.create", name, "empty.qcow2", "group", "192", *more]


def keys(lab: Lab, name: str) -> list[bool]:
    """Return whether each master has the key of ``name`` accepted."""
    return [name in lab.keys(master)["accepted"] for master in MASTERS]


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_all_masters_of_a_group(
    make_lab: LabFactory, libvirt_host: LibvirtHost, tiny_guest: TinyGuest, daemon_root: Path
) -> None:
    """A guest's minion answers to both, by the masters of its hypervisor; the key of one that does not come is gone."""
    own = {"logilab": {"guests": {"uri": libvirt_host.uri}}, "mine_functions": {SUMMARY: []}}
    engines = {"engines": [{"logilab_masters": {}}, {"libvirt_seed": {}}]}
    lab = make_lab(masters=MASTERS, minions=("kvm1",), minion_options=own, master_options=engines)
    accept_all(lab)
    with pool(libvirt_host, "group", daemon_root / f"p{secrets.token_hex(3)}") as folder:
        run("qemu-img", "create", "-q", "-f", "qcow2", folder / "empty.qcow2", "16M")
        wait_until(lambda: ask(lab, "paris", "kvm1", "mine.send", SUMMARY), PATIENCE, "the mine")
        with standing_in(libvirt_host, "web", folder, new_root(daemon_root, "web")) as minions:
            xml = parts(tiny_guest, folder.parent / f"{folder.name}.web")
            done = lab.run("paris", *command("web", xml), timeout=PATIENCE + 120)
            assert json.loads(done.stdout)["state"] == "done", done
            assert keys(lab, "web") == [True, True]
            for master in MASTERS:
                wait_until(lambda master=master: ask(lab, master, "web", "test.ping"), PATIENCE, f"web at {master}")
            assert len(minions) == 1
            assert list(folder.glob("*.iso")) == []
        xml = parts(tiny_guest, folder.parent / f"{folder.name}.gone")
        words, environment = lab.command("paris", command("gone", xml))
        with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as making:
            wait_until(lambda: keys(lab, "gone") == [True, True], PATIENCE, "the key at both masters")
            task = next(one["task"] for one in ask(lab, "nantes", "kvm1", "libvirt_seed.list") if one["id"] == "gone")
            ask(lab, "nantes", "kvm1", "libvirt_task.cancel", task)
            told = json.loads(making.communicate(timeout=PATIENCE)[0])
        assert (told["state"], told["problem"]) == ("cancelled", "cancelled: by request")
        wait_until(lambda: keys(lab, "gone") == [False, False], PATIENCE, "neither master has the key")
        assert "gone" not in run("virsh", "-c", libvirt_host.uri, "list", "--all", "--name").split()
