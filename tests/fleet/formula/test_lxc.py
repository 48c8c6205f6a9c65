"""The formula ``lxc``, applied for real: a container is made, runs, answers and is destroyed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.formulas import FormulaHost

pytestmark = pytest.mark.soak  # half a minute each, and it changes seldom: `make test` renders it


def test_a_container_runs(formula_host: Callable[..., FormulaHost]) -> None:
    """A container of a template runs with its settings and answers on the bridge; an absent one goes."""
    config = {"lxc.uts.name": "box.test"}
    box = {"template": "busybox", "config": config}
    pillar = {"packages": ["busybox-static"], "containers": {"box": box}, "bridge": {"address": "10.0.9.1"}}
    pillar["bridge"] |= {"network": "10.0.9.0/24", "dhcp_range": "10.0.9.2,10.0.9.254"}
    options = {"cap_add": ["NET_ADMIN", "SYS_CHROOT", "MKNOD"]}
    options["security_opt"] = ["seccomp=unconfined", "apparmor=unconfined"]
    host = formula_host({"lxc": pillar}, **options)
    machine = host.machine
    machine.allow_nesting()
    host.apply_twice("lxc")
    assert "10.0.9.1/24" in machine.exec("ip", "-4", "addr", "show", "lxcbr0").output
    assert machine.exec("lxc-attach", "-n", "box", "--", "/bin/hostname").output == "box.test\n"
    for command in ("ip link set eth0 up", "ip addr add 10.0.9.50/24 dev eth0"):  # busybox has nothing that does it
        machine.exec("lxc-attach", "-n", "box", "--", *command.split())
    machine.exec("lxc-attach", "-n", "box", "--", "/bin/httpd", "-p", "80", "-h", "/bin")
    machine.exec("python3", "-c", "import urllib.request as u; u.urlopen('http://10.0.9.50/busybox', timeout=10)")

    assert "containers run on this host" in "".join(host.apply("lxc.clean").failed)
    host.give({"lxc": {**pillar, "containers": {"box": {**box, "running": False}}}})
    host.apply_twice("lxc")
    assert "STOPPED" in machine.exec("lxc-info", "-n", "box", "-s").output
    host.give({"lxc": {**pillar, "containers": {}, "absent": ["box"]}})
    host.apply_twice("lxc")
    assert machine.exec("lxc-ls", "-1").output.split() == []
    host.apply_twice("lxc.clean")
    assert "lxcbr0" not in machine.exec("ip", "link").output
