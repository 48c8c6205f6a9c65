"""The formula ``lxc``, applied for real: a container is made, has its configuration and is destroyed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.formulas import FormulaHost

pytestmark = pytest.mark.soak  # half a minute each, and it changes seldom: `make test` renders it


def test_a_container_is_made(formula_host: Callable[..., FormulaHost]) -> None:
    """The bridge has its address; a container of a template exists with its settings; an absent one goes."""
    config = {"lxc.uts.name": "box.test", "lxc.net.0.type": "none"}
    box = {"template": "busybox", "config": config, "running": False}
    pillar = {"packages": ["busybox-static"], "containers": {"box": box}, "bridge": {"address": "10.0.9.1"}}
    pillar["bridge"] |= {"network": "10.0.9.0/24", "dhcp_range": "10.0.9.2,10.0.9.254"}
    host = formula_host({"lxc": pillar}, cap_add=["NET_ADMIN", "SYS_CHROOT", "MKNOD"])
    machine = host.machine
    machine.exec("mount", "-o", "remount,rw", "/proc/sys")  # lxc-net lets the host route
    host.apply_twice("lxc")
    assert "10.0.9.1/24" in machine.exec("ip", "-4", "addr", "show", "lxcbr0").output
    assert machine.exec("lxc-ls", "-1").output.split() == ["box"]
    assert "box.test" in machine.exec("lxc-info", "-n", "box", "-c", "lxc.uts.name").output
    host.give({"lxc": {**pillar, "containers": {}, "absent": ["box"]}})
    host.apply_twice("lxc")
    assert machine.exec("lxc-ls", "-1").output.split() == []
    host.apply_twice("lxc.clean")
    assert "lxcbr0" not in machine.exec("ip", "link").output
