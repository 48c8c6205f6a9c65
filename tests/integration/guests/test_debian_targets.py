"""A real Debian guest as a target: states by the Python in it, packages and services, commands that are ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agents import answers, end_guest
from tests.support.debian_guest import DebianGuest
from tests.support.labs import LabFactory, accept_all
from tests.support.libvirt import LibvirtHost
from tests.support.targets import Targets
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]  # minutes: there is no KVM
BOOT = 1200
SLS = """
somebody:
  user.present:
    - home: /srv/somebody
/srv/somebody/motto:
  file.managed:
    - contents: {{ pillar['motto'] }}, {{ grains['guest'] }}
    - user: somebody
    - mode: '0640'
    - require:
      - user: somebody
apache2:
  pkg.removed: []
systemd-networkd:
  service.running: []
"""


@pytest.fixture(scope="module")
def targets(
    make_module_lab: LabFactory, libvirt_host: LibvirtHost, debian_guest: DebianGuest, daemon_root: Path
) -> Iterator[Targets]:
    """A master and the minion of a host with the guest ``deb``, whose agent answers."""
    minion = {"engines": [{"libvirt_targets": {}}], "logilab": {"guests": {"uri": libvirt_host.uri}}}
    lab = make_module_lab(masters=("paris",), minions=("m1",), minion_options=minion)
    accept_all(lab)
    found = Targets(lab, "libvirt")
    found.configure(resources={"libvirt": {"match": {"name": "deb"}}}, motto="be kind")
    disk = debian_guest.overlay(daemon_root / "deb.qcow2")
    guest = libvirt_host.open().createXML(debian_guest.xml("deb", disk, daemon_root / "deb.serial"))
    found.wait_for("deb")
    wait_until(lambda: answers(guest), BOOT, "the guest's agent")
    wait_until(lambda: found.grains("deb").get("os") == "Debian", BOOT, "what its agent tells")
    yield found
    end_guest(guest)


def test_states_by_the_python_inside(targets: Targets) -> None:
    """All that Salt has: a test changes nothing, a second run finds all done, and nothing of Salt is left."""
    targets.write({"inside.sls": SLS})
    trial = targets.one("deb", "state.apply", "inside", test=True)
    assert sorted(str(one["result"]) for one in trial.values()) == ["None", "None", "True", "True"], trial
    assert targets.one("deb", "cmd.retcode", "id somebody") != 0
    first = targets.one("deb", "state.apply", "inside")
    assert {one["result"] for one in first.values()} == {True}, first
    assert targets.one("deb", "cmd.run", "cd /srv/somebody; cat motto; stat -c '%a %U' motto") == (
        "be kind, deb\n640 somebody"
    )
    again = targets.one("deb", "state.apply", "inside")
    assert [(one["result"], one["changes"]) for one in again.values()] == [(True, {})] * len(again), again
    assert targets.one("deb", "cmd.run", "ls -A /tmp | grep -c '^.salt-'; true") == "0"


def test_packages_and_services(targets: Targets) -> None:
    """Those of Debian, by the agent alone."""
    assert targets.one("deb", "pkg.version", "qemu-guest-agent")
    assert targets.one("deb", "service.status", "qemu-guest-agent") is True
    assert "apache2.service" in targets.one("deb", "service.stop", "apache2")
    assert targets.one("deb", "grains.get", "os_family") == "Debian"


@pytest.mark.parametrize(
    "command",
    ["trap '' TERM INT; sleep 1000 & sleep 1000", "(env -i setsid sleep 1000 &) ; sleep 1000", "sleep 1000 &"],
)
def test_a_command_that_never_ends(targets: Targets, command: str) -> None:
    """It is killed there with all that it started, also what has escaped."""
    done = targets.one("deb", "cmd.run_all", f"echo begun; {command}", timeout=3)
    assert (done["retcode"], done["timed_out"], done["stdout"]) == (124, True, "begun")
    assert targets.one("deb", "cmd.run", "ps ax | grep -c '[s]leep 1000'; true") == "0"
    assert targets.one("deb", "cmd.run", "ls -d /sys/fs/cgroup/*/logilab-* 2>/dev/null | wc -l") == "0"
