"""Guests as targets of their own: a real master, a real minion, a real libvirtd with guests and their agents."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agents import AgentGuest, end_guest
from tests.support.guests import TinyGuest
from tests.support.labs import LabFactory, accept_all
from tests.support.libvirt import LibvirtHost
from tests.support.targets import Targets
from tests.support.waiting import wait_until

PATIENCE = 60
RULE = {"match": {"name": ["web", "off", "mute", "a b", "brief"]}, "pillar": {"web.m1": {"motto": "of web"}}}


@pytest.fixture(scope="module")
def web(new_agent_guest: Callable[..., AgentGuest], other_libvirt_host: LibvirtHost) -> Iterator[AgentGuest]:
    """A guest that runs and has an agent; other tests of this host have a guest of that name too."""
    made = new_agent_guest(other_libvirt_host, name="web")
    yield made
    end_guest(made.domain)


@pytest.fixture(scope="module")
def others(
    new_agent_guest: Callable[..., AgentGuest],
    other_libvirt_host: LibvirtHost,
    agent_kernel: TinyGuest,
    daemon_root: Path,
) -> Iterator[None]:
    """The guests mute, which has no agent, off, which is off, and one whose name cannot be an id."""
    mute = new_agent_guest(other_libvirt_host, name="mute", agent="none")
    link = other_libvirt_host.open()
    made = [link.defineXML(agent_kernel.xml(name, daemon_root / f"{name}.serial")) for name in ("off", "a b")]
    yield
    for domain in made:
        domain.undefine()
    end_guest(mute.domain)


@pytest.fixture(scope="module")
def targets(make_module_lab: LabFactory, web: AgentGuest, others: None) -> Targets:  # noqa: ARG001
    """A master and a minion whose guests are targets."""
    minion = {
        "engines": [{"libvirt_targets": {}}],
        "logilab": {"guests": {"uri": web.host.uri, "agent_timeout": 5}},
        "process_count_max": 10,
    }
    made = make_module_lab(masters=("paris",), minions=("m1",), minion_options=minion)
    accept_all(made)
    found = Targets(made, "libvirt")
    with found.hearing("salt/logilab/guests/refused") as refused:
        found.configure(resources={"libvirt": RULE}, motto="of the minion")
        found.wait_for("web", "off", "mute")
        assert "no valid id" in refused()["refused"]["a b.m1"]
    return found


def test_all_that_can_be_targeted(targets: Targets) -> None:
    """One that runs answers, one that is off and one without an agent say why they do not; an odd name is no target."""
    told = targets.ask("T@libvirt", "test.ping")
    assert (set(told), told["web.m1"]) == ({"web.m1", "mute.m1", "off.m1"}, True)
    assert "the guest 'off' is not running: it is shut off" in told["off.m1"]
    assert "the guest 'mute' has no guest agent that answers" in told["mute.m1"]
    listed = targets.ask("m1", "libvirt_targets.list", kind="glob")["m1"]
    assert listed["targets"]["web.m1"] == {"guest": "web", "state": "running", "agent": "connected"}
    assert "no valid id" in listed["refused"]["a b.m1"]


def test_commands_and_files(targets: Targets) -> None:
    """The functions of a minion, inside the guest; a command that never ends is killed there."""
    assert targets.one("web", "cmd.run", "hostname") == "web"
    assert targets.one("web", "cmd.retcode", "exit 3") == 3
    assert targets.one("web", "cmd.run", "sleep 1000", timeout=1) == "[killed after 1 s]"
    assert targets.one("web", "file.write", "/tmp/motd", "be kind")
    assert targets.one("web", "file.read", "/tmp/motd") == "be kind\n"
    assert targets.one("web", "status.uptime")
    targets.write({"hello.sh": "#!/bin/sh\necho hello $1 from $(hostname)\n"})
    assert targets.one("web", "cmd.script", "salt://hello.sh", "you")["stdout"] == "hello you from web"
    assert targets.one("web", "cp.get_file", "salt://hello.sh", "/tmp/hello.sh") == "/tmp/hello.sh"
    assert targets.one("web", "cmd.run", "sh /tmp/hello.sh me; rm /tmp/hello.sh") == "hello me from web"


def test_grains(targets: Targets) -> None:
    """What libvirt and the agent tell; a guest can be targeted by it."""
    told = targets.grains("web")
    assert (told["guest"], told["state"], told["agent"], told["kernel"]) == ("web", "running", "connected", "Linux")
    assert (told["nodename"], told["managing_minion"], told["num_cpus"]) == ("web", "m1", 1)
    assert (targets.grains("off")["state"], targets.grains("off")["agent"]) == ("shut off", "none")
    assert targets.grains("mute")["agent"] == "disconnected"
    assert set(targets.ask("T@libvirt and G@nodename:web", "test.ping")) == {"web.m1"}


SLS = """
/tmp/state:
  file.managed:
    - contents: {{ pillar['motto'] }}, {{ grains['guest'] }}
    - mode: '0640'
ran:
  cmd.run:
    - name: touch /tmp/ran
    - creates: /tmp/ran
passed over, for it is there inside:
  cmd.run:
    - name: 'false'
    - creates: /init
"""


def test_states_without_a_python(targets: Targets) -> None:
    """They run on the minion with what they do inside; test=True changes nothing, and a second run finds all done."""
    targets.write({"inside.sls": SLS})
    trial = targets.one("web", "state.apply", "inside", test=True)
    assert sorted(str(one["result"]) for one in trial.values()) == ["None", "None", "True"], trial
    assert targets.one("web", "file.file_exists", "/tmp/state") is False
    first = targets.one("web", "state.apply", "inside")
    assert {one["result"] for one in first.values()} == {True}, first
    assert (
        targets.one("web", "cmd.run", "cat /tmp/state; stat -c %a /tmp/state; ls /tmp/ran")
        == "of web, web\n640\n/tmp/ran"
    )
    again = targets.one("web", "state.apply", "inside")
    assert [one["changes"] for one in again.values()] == [{}, {}, {}], again
    wrong = targets.one("web", "state.single", "user.present", "somebody")
    assert "user.present is not to be had: the guest 'web' has no Python" in str(wrong)
    assert "the guest 'off' is not running" in str(targets.one("off", "state.single", "cmd.run", "true"))


@pytest.mark.parametrize(("kind", "target"), [("glob", "*"), ("pcre", ".*"), ("compound", "G@guest:web")])
def test_nothing_by_accident(targets: Targets, kind: str, target: str) -> None:
    """A target that names no resource changes none, and the refusal says how to."""
    told = targets.ask(target, "cmd.run", "echo accident > /dev/kmsg", kind=kind)
    if kind != "pcre":  # of those a master waits for minions alone
        assert "target it by T@libvirt or T@libvirt:web.m1" in told["web.m1"]
    assert "accident" not in targets.ask("web.m1", "cmd.run", "dmesg", kind="glob")["web.m1"]


def test_a_guest_that_comes_and_goes(
    targets: Targets, new_agent_guest: Callable[..., AgentGuest], other_libvirt_host: LibvirtHost
) -> None:
    """It is a target without a word; a job on one that is destroyed ends with a sentence; then it is none."""
    guest = new_agent_guest(other_libvirt_host, name="brief")
    targets.wait_for("brief")
    wait_until(lambda: targets.grains("brief").get("nodename") == "brief", PATIENCE, "what its agent tells")
    told: list[Any] = []
    job = threading.Thread(target=lambda: told.append(targets.one("brief", "cmd.run", "sleep 500", timeout=500)))
    job.start()
    wait_until(lambda: "sleep 500" in targets.one("brief", "cmd.run", "ps"), PATIENCE, "the command")
    guest.domain.destroy()
    job.join(PATIENCE)
    assert "the guest 'brief' is not running" in str(told)
    wait_until(lambda: "brief.m1" not in targets.known(), PATIENCE, "the end of the guest at the master")


def test_a_guest_that_starts_and_stops(targets: Targets, other_libvirt_host: LibvirtHost) -> None:
    """The master knows it by libvirt's events."""
    off = other_libvirt_host.open().lookupByName("off")
    off.create()
    wait_until(lambda: targets.grains("off")["state"] == "running", PATIENCE, "the state at the master")
    assert "has no guest agent" in targets.one("off", "test.ping")
    off.destroy()
    wait_until(lambda: targets.grains("off")["state"] == "shut off", PATIENCE, "the state at the master")
    assert "the guest 'off' is not running: it is shut off" in targets.one("off", "cmd.run", "true")
