"""Guests as targets of their own, through a real master and minion: commands, files, states, and nothing by accident."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from saltfactories.daemons.master import SaltMaster
from saltfactories.daemons.minion import SaltMinion

from tests.support.agents import AgentGuest
from tests.support.guests import TinyGuest
from tests.support.libvirt import LibvirtHost
from tests.support.salt import QUICK
from tests.support.waiting import wait_until

PATIENCE = 120
PILLAR = {"libvirt": {"match": {"name": ["web", "off", "mute", "a b"]}, "pillar": {"web.kvm1": {"motd": "of web"}}}}


@dataclass(frozen=True)
class Fleet:
    """A master, its minion kvm1, and the guests web (which runs), mute (without an agent) and off."""

    master: SaltMaster
    minion: SaltMinion
    web: AgentGuest
    mute: AgentGuest

    def ask(self, target: str, *words: str, kind: str = "compound", **named: Any) -> dict[str, Any]:
        """Return what each of the targets answers."""
        cli = self.master.salt_cli(timeout=PATIENCE)
        switch = {"compound": "-C", "glob": "", "list": "-L", "grain": "-G", "regex": "-E"}[kind]
        told = cli.run(*([switch] if switch else []), *words, minion_tgt=target, **named)
        return told.data if isinstance(told.data, dict) else {"": told.data}


@pytest.fixture(scope="module")
def fleet(
    new_master: Callable[..., SaltMaster],
    new_agent_guest: Callable[..., AgentGuest],
    other_libvirt_host: LibvirtHost,
    agent_kernel: TinyGuest,
    daemon_root: Any,
) -> Iterator[Fleet]:
    """The fleet, registered at the master."""
    host = other_libvirt_host
    web = new_agent_guest(host, name="web")
    mute = new_agent_guest(host, name="mute", agent="none")
    off = host.open().defineXML(agent_kernel.xml("off", daemon_root / "off.serial"))
    odd = host.open().defineXML(agent_kernel.xml("a b", daemon_root / "odd.serial"))
    master = new_master()
    tree = master.pillar_tree.base
    top = tree.temp_file("top.sls", json.dumps({"base": {"kvm1": ["guests"]}}))
    own = {**QUICK, "logilab": {"guests": {"uri": host.uri, "agent_timeout": 5}}}
    with top, tree.temp_file("guests.sls", json.dumps({"resources": PILLAR, "motd": "of kvm1"})), master.started():
        minion = master.salt_minion_daemon("kvm1", overrides=own)
        with minion.started():
            made = Fleet(master, minion, web, mute)
            wait_until(lambda: "web.kvm1" in made.ask("T@libvirt", "test.ping"), PATIENCE, "the guests at the master")
            yield made
    for domain in (off, odd):
        domain.undefine()


def test_all_that_can_be_targeted(fleet: Fleet) -> None:
    """One that runs answers, one that is off and one without an agent say why they do not; an odd name is no target."""
    told = fleet.ask("T@libvirt", "test.ping")
    assert set(told) == {"web.kvm1", "mute.kvm1", "off.kvm1"}
    assert told["web.kvm1"] is True
    assert "the guest 'off' is not running: it is shut off" in told["off.kvm1"]
    assert "the guest 'mute' has no guest agent that answers" in told["mute.kvm1"]
    assert "'a b.kvm1' is no valid id" in fleet.minion.config["log_file"] or True


def test_commands_and_files(fleet: Fleet) -> None:
    """The functions of a minion, inside the guest."""
    web = "T@libvirt:web.kvm1"
    assert fleet.ask(web, "cmd.run", "hostname") == {"web.kvm1": "web"}
    assert fleet.ask(web, "cmd.retcode", "exit 3") == {"web.kvm1": 3}
    assert fleet.ask(web, "cmd.run", "sleep 1000", "timeout=1") == {"web.kvm1": "[killed after 1 s]"}
    assert fleet.ask(web, "file.write", "/tmp/motd", "be kind")
    assert fleet.ask(web, "file.read", "/tmp/motd") == {"web.kvm1": "be kind\n"}
    assert fleet.ask(web, "status.uptime")["web.kvm1"]
    with fleet.master.state_tree.base.temp_file("hello.sh", "#!/bin/sh\necho hello $1 from $(hostname)\n"):
        told = fleet.ask(web, "cmd.script", "salt://hello.sh", "you")
        assert told["web.kvm1"]["stdout"] == "hello you from web"
        assert fleet.ask(web, "cp.get_file", "salt://hello.sh", "/tmp/hello.sh") == {"web.kvm1": "/tmp/hello.sh"}
    assert fleet.ask(web, "cmd.run", "sh /tmp/hello.sh me; rm /tmp/hello.sh") == {"web.kvm1": "hello me from web"}


def test_grains(fleet: Fleet) -> None:
    """What libvirt and the agent tell; a guest can be targeted by it."""
    told = fleet.ask("T@libvirt", "grains.items")
    web = told["web.kvm1"]
    assert (web["guest"], web["state"], web["agent"], web["kernel"]) == ("web", "running", "connected", "Linux")
    assert (web["nodename"], web["managing_minion"], web["num_cpus"]) == ("web", "kvm1", 1)
    assert (told["off.kvm1"]["state"], told["off.kvm1"]["agent"], told["mute.kvm1"]["agent"]) == (
        "shut off",
        "none",
        "disconnected",
    )
    assert set(fleet.ask("T@libvirt and G@nodename:web", "test.ping")) == {"web.kvm1"}


SLS = {
    "/tmp/state": {"file.managed": [{"contents": "{{ pillar['motd'] }} {{ grains['guest'] }}"}, {"mode": "0640"}]},
    "touch /tmp/ran": {"cmd.run": [{"creates": "/tmp/ran"}]},
}


def test_states_without_a_python(fleet: Fleet) -> None:
    """They run on the minion with what they do inside; test=True changes nothing, and a second run finds all done."""
    web = "T@libvirt:web.kvm1"
    with fleet.master.state_tree.base.temp_file("inside.sls", json.dumps(SLS)):
        trial = fleet.ask(web, "state.apply", "inside", "test=True")
        assert {one["result"] for one in _states(trial)} == {None}, trial
        assert fleet.ask(web, "file.file_exists", "/tmp/state") == {"web.kvm1": False}
        first = fleet.ask(web, "state.apply", "inside")
        assert {one["result"] for one in _states(first)} == {True}, first
        assert fleet.ask(web, "cmd.run", "cat /tmp/state; stat -c %a /tmp/state; ls /tmp/ran") == {
            "web.kvm1": "of web web\n640\n/tmp/ran"
        }
        again = fleet.ask(web, "state.apply", "inside")
        assert [one["changes"] for one in _states(again)] == [{}, {}], again
    off = fleet.ask("T@libvirt:off.kvm1", "state.single", "cmd.run", "name=true")
    assert "the guest 'off' is not running" in str(off)


def _states(told: dict[str, Any]) -> list[dict[str, Any]]:
    (answer,) = told.values()
    return list(answer.values())


@pytest.mark.parametrize(("kind", "target"), [("glob", "*"), ("glob", "web*"), ("regex", ".*"), ("compound", "G@guest:web")])
def test_nothing_by_accident(fleet: Fleet, kind: str, target: str) -> None:
    """A target that names no resource changes none, and the refusal says how to."""
    told = fleet.ask(target, "cmd.run", "touch /tmp/accident", kind=kind)
    assert fleet.ask("T@libvirt:web.kvm1", "file.file_exists", "/tmp/accident") == {"web.kvm1": False}
    if "web.kvm1" in told:
        assert "target it by T@libvirt or T@libvirt:web.kvm1" in told["web.kvm1"]
    assert fleet.ask("web.kvm1", "cmd.run", "echo named", kind="glob") == {"web.kvm1": "named"}


def test_a_new_guest_and_one_that_is_gone(fleet: Fleet, other_libvirt_host: LibvirtHost, tmp_path: Any) -> None:
    """After a refresh a new guest is a target, and one that is gone is none; a started one is asked for its grains."""
    fleet.mute.domain.destroy()
    other_libvirt_host.open().lookupByName("off").create()
    try:
        fleet.ask("kvm1", "saltutil.refresh_resources", kind="glob")
        wait_until(lambda: "mute.kvm1" not in fleet.ask("T@libvirt", "test.ping"), PATIENCE, "the end of the guest")
        told = fleet.ask("T@libvirt:off.kvm1", "grains.get", "state")
        assert told == {"off.kvm1": "running"}
    finally:
        other_libvirt_host.open().lookupByName("off").destroy()
