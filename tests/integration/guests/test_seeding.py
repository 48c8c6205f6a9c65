"""
Guests made through real masters: some whole, and others that never come.

Whether a key is let in, and taken back, needs no guest that boots. Of those that come, the test is the cloud-init of a
small one, and a real Debian shows that all of it fits together.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from saltfactories.cli.salt import Salt
from saltfactories.daemons.master import SaltMaster
from saltfactories.daemons.minion import SaltMinion

from saltext_logilab.guests.keystore import MasterKeys
from saltext_logilab.guests.seeds.keys import fingerprint
from tests.integration.guests.conftest import SUMMARY
from tests.support.cloud_init import parts, standing_in
from tests.support.debian_guest import DebianGuest
from tests.support.documents import Substitution
from tests.support.guests import TinyGuest
from tests.support.libvirt import LibvirtHost
from tests.support.pools import pool
from tests.support.processes import run
from tests.support.roots import new_root
from tests.support.salt import QUICK
from tests.support.waiting import wait_until

PAGE = "docs/make-guests.md"
BOOT = 2400  # seconds: there is no KVM, and machines are loaded
PATIENCE = 240
IMAGE = "debian-12.qcow2"


@pytest.fixture
def default_pool(libvirt_host: LibvirtHost, daemon_root: Path) -> Iterator[Path]:
    """The pool ``default`` of the first host."""
    with pool(libvirt_host, "default", daemon_root / f"p{secrets.token_hex(3)}") as folder:
        yield folder


PageTest = Callable[..., str]


@pytest.fixture
def page(
    hypervisors: tuple[SaltMinion, SaltMinion], master: SaltMaster, salt_cli: Salt, wrong_on: PageTest
) -> Iterator[PageTest]:
    """
    Return what reads the page and says what is wrong: ``page(xml=…, address=…, timeout=…)``.

    ``xml`` is what a guest needs on this machine, ``address`` the master's as the guest reaches it.
    """
    for daemon in hypervisors:
        salt_cli.run("mine.send", SUMMARY, minion_tgt=daemon.id)
    ports = {"master_port": master.config["ret_port"], "publish_port": master.config["publish_port"]}
    light = {**QUICK, "multiprocessing": False, "mine_enabled": False, "enable_gpu_grains": False}  # there is no KVM

    def more(xml: str, address: str, timeout: float) -> str:
        told = {
            "xml": " ".join(xml.split()),  # Salt takes no line ends in an argument
            "accelerator": "qemu",
            "interfaces": json.dumps([{"user": True}]),
            "seed": json.dumps({"minion": {"master": address, **ports, **light}}),
            "timeout": timeout,
        }
        return " ".join(shlex.quote(f"{key}={value}") for key, value in told.items())

    made = Substitution(
        r"sudo salt-run (libvirt_guest\.create \S+ \S+ \S+ \S+ \S+) interfaces=.*",
        r"salt-run -c {master} -l error \1 {more} 2>/dev/null",
        "no KVM, no libvirt network, no Debian mirror on this machine",
    )
    told = Substitution(
        r"sudo salt web (.*)", r"salt -c {master} -l error -t 60 web \1 2>/dev/null", "no KVM: it is slow"
    )
    yield lambda xml, address, timeout: wrong_on(
        PAGE, made, told, timeout=timeout + 600, more=lambda: more(xml, address, timeout)
    )
    master.salt_key_cli().run("--yes", "--delete", "web")


def came(master: SaltMaster, host: LibvirtHost, folder: Path) -> None:
    """Assert that the master has let in ``web`` by the key that the hypervisor made, and that no seed is left."""
    (entry,) = [
        one
        for one in master.salt_run_cli().run("libvirt_seed.list", every=True).data
        if one["id"] == "web" and one["state"] == "kept"
    ][-1:]
    assert entry["fingerprint"] == fingerprint(str(MasterKeys(master.config).public("web")))
    assert list(folder.glob("*.iso")) == []
    assert ".iso" not in run("virsh", "-c", host.uri, "dumpxml", "web")


@pytest.mark.timeout(1800)
def test_a_guest_from_nothing(
    *,
    page: PageTest,
    default_pool: Path,
    master: SaltMaster,
    tiny_guest: TinyGuest,
    libvirt_host: LibvirtHost,
    daemon_root: Path,
) -> None:
    """
    A reader who types what the page shows has a guest whose minion answers, by the key that the hypervisor made.

    The guest is small, and the test plays its cloud-init; Debian's own is the soak.
    """
    run("qemu-img", "create", "-q", "-f", "qcow2", default_pool / IMAGE, "2G")
    xml = parts(tiny_guest, default_pool.parent / f"{default_pool.name}.serial")
    with standing_in(libvirt_host, "web", default_pool, new_root(daemon_root, "web")) as minions:
        assert page(xml, "127.0.0.1", 600) == ""
        came(master, libvirt_host, default_pool)
        (minion,) = minions
        pem = minion.root / "etc/salt/pki/minion/minion.pem"
        assert (stat.S_IMODE(pem.stat().st_mode), minion.told["meta-data"]["local-hostname"]) == (0o400, "web")


@pytest.mark.soak
@pytest.mark.timeout(3 * BOOT)
def test_a_debian_from_nothing(
    *,
    page: PageTest,
    default_pool: Path,
    master: SaltMaster,
    salt_cli: Salt,
    debian_guest: DebianGuest,
    libvirt_host: LibvirtHost,
) -> None:
    """The same with Debian's cloud-init and a minion in the guest, which sees its disk alone and has its key."""
    shutil.copy(debian_guest.image, default_pool / IMAGE)
    serial = default_pool.parent / f"{default_pool.name}.serial"
    wrong = page(debian_guest.parts(serial), "10.0.2.2", BOOT)
    assert wrong == "", serial.read_text(errors="replace")[-4000:] if serial.exists() else "no console"
    came(master, libvirt_host, default_pool)
    asked = "hostname; stat -c %a /etc/salt/pki/minion/minion.pem; ls /dev/vd?; df --output=size / | tail -1"
    name, mode, *disks, size = salt_cli.run("cmd.run", asked, minion_tgt="web", timeout=120).data.split()
    assert (name, mode, disks) == ("web", "400", ["/dev/vda"])
    assert int(size) > 0


@dataclass(frozen=True)
class Gate:
    """A master with the engine, and a hypervisor that may bring in ``allowed*``."""

    master: SaltMaster
    hypervisor: SaltMinion
    folder: Path
    host: LibvirtHost

    @property
    def keys(self) -> MasterKeys:
        """The key store."""
        return MasterKeys(self.master.config)

    def ask(self, function: str, *words: Any, **named: Any) -> Any:
        """Call a function of the hypervisor."""
        return self.master.salt_cli(timeout=120).run(function, *words, minion_tgt=self.hypervisor.id, **named).data

    def begin(self, name: str) -> str:
        """Begin to make a guest that has nothing to boot from, and return the task."""
        told = {"accelerator": "qemu", "linked": True, "seed": {"minion": {"master": "x"}}}
        return str(self.ask("libvirt_task.create", name, "empty.qcow2", "gate", 64, **told))

    def ended(self, task: str) -> dict[str, Any]:
        """Return how a task has ended."""
        return wait_until(lambda: self._over(task), PATIENCE, f"end of {task}")

    def _over(self, task: str) -> dict[str, Any] | None:
        told = self.ask("libvirt_task.status", task)
        return told if isinstance(told, dict) and told["ended"] else None

    def task_of(self, minion: str) -> str | None:
        """Return the task that makes the guest of ``minion``, once there is one."""
        told = self.ask("libvirt_seed.list")
        return next((one["task"] for one in told if one["id"] == minion), None)

    def left(self) -> tuple[list[str], list[str]]:
        """Return the guests and the volumes that there are."""
        guests = run("virsh", "-c", self.host.uri, "list", "--all", "--name").split()
        return guests, sorted(path.name for path in self.folder.iterdir())


@pytest.fixture(scope="module")
def gate(new_master: Callable[..., SaltMaster], libvirt_host: LibvirtHost, daemon_root: Path) -> Iterator[Gate]:
    """One for the module."""
    accept = {"accept": {"kvm-gate": ["allowed*"]}}
    master = new_master({"engines": [{"libvirt_seed": {}}], "logilab": {"guests": {"seeds": accept}}})
    own = {**QUICK, "logilab": {"guests": {"uri": libvirt_host.uri, "progress_interval": 1}}}
    hypervisor = master.salt_minion_daemon("kvm-gate", overrides={**own, "mine_functions": {SUMMARY: []}})
    with pool(libvirt_host, "gate", daemon_root / f"p{secrets.token_hex(3)}") as folder:
        run("qemu-img", "create", "-q", "-f", "qcow2", folder / "empty.qcow2", "16M")
        with master.started(), hypervisor.started():
            made = Gate(master, hypervisor, folder, libvirt_host)
            made.ask("mine.send", SUMMARY)
            yield made


@pytest.mark.timeout(1800)
def test_who_may_come_in_unasked(gate: Gate) -> None:
    """A permitted id is let in by the engine, and its key goes when it does not come; nobody lets in another id."""
    before = gate.left()
    other = gate.begin("other")
    wait_until(lambda: gate.ask("libvirt_task.status", other)["step"] == "accept", PATIENCE, "the offer")
    task = gate.begin("allowed1")
    wait_until(lambda: gate.keys.public("allowed1"), PATIENCE, "the key")
    wait_until(lambda: gate.ask("libvirt_task.status", task)["step"] == "answer", PATIENCE, "the start")
    assert gate.keys.state("other") is None
    for one in (other, task):
        gate.ask("libvirt_task.cancel", one)
        assert gate.ended(one)["state"] == "cancelled"
    wait_until(lambda: gate.keys.state("allowed1") is None, PATIENCE, "the key is gone")
    assert gate.left() == before


@pytest.mark.timeout(1800)
def test_a_command_that_is_killed(gate: Gate) -> None:
    """Its guest is let in by the engine all the same, under the id that was named, and the key goes with the guest."""
    before = gate.left()
    words = ["libvirt_guest.create", "named", "empty.qcow2", "gate", "64", "accelerator=qemu", "linked=True"]
    command = [Path(sys.executable).parent / "salt-run", "-c", Path(gate.master.config["conf_file"]).parent, *words]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    given = [*map(str, command), "seed={minion: {master: x}}"]
    with subprocess.Popen(given, start_new_session=True, **quiet) as process:
        task = wait_until(lambda: gate.task_of("named"), PATIENCE, "the task")
        os.killpg(process.pid, signal.SIGKILL)
    wait_until(lambda: gate.keys.public("named"), PATIENCE, "the key")
    gate.ask("libvirt_task.cancel", task)
    assert gate.ended(task)["state"] == "cancelled"
    wait_until(lambda: gate.keys.state("named") is None, PATIENCE, "the key is gone")
    assert gate.left() == before


@pytest.mark.timeout(1800)
def test_what_a_command_refuses(gate: Gate) -> None:
    """A known id, a host or an image that is not there, and impossible words are sentences with exit code 1."""
    create = gate.master.salt_run_cli(timeout=PATIENCE).run
    words = ("web", "empty.qcow2", "gate", "64")
    for told, more, sentence in (
        (("kvm-gate", *words[1:]), {}, "the master knows a key of 'kvm-gate' already (accepted)"),
        (("web", "none.qcow2", "gate", "64"), {}, "has no image 'none.qcow2'"),
        (("web", "empty.qcow2", "none", "64"), {}, "there is no active pool 'none'"),
        (words, {"host": "kvm9"}, "there is no hypervisor 'kvm9': it told no mine"),
        (words, {"seed": "x"}, "seed must be a mapping"),
        (words, {"seed": {"id": "../web"}}, "a minion's id has letters"),
        (words, {"seed": {"user_data": {"password": "x"}}}, "would be read by others"),
        (("web", "empty.qcow2", "gate", "999999999"), {}, "needs 999999999 MiB"),
    ):
        done = create("libvirt_guest.create", *told, accelerator="qemu", **more)
        assert (done.returncode, sentence in done.stdout) == (1, True), done
    assert gate.keys.state("web") is None
    assert "error" in create("libvirt_seed.accept", "kvm-gate", "web").data
