"""The formula ``docker``, applied for real: a container runs in the Engine that it has set up."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.support.docker import busybox_tree
from tests.support.formulas import FormulaHost

MIRROR = "https://mirror.example.org"


def test_a_container_runs(formula_host: Callable[..., FormulaHost]) -> None:
    """The Engine has the settings, runs a container for a user of the pillar, and prunes by a timer."""
    # An Engine within an Engine: no rules of the firewall, and a storage driver that needs nothing of the kernel.
    daemon = {"storage-driver": "vfs", "iptables": False, "bridge": "none", "registry-mirrors": [MIRROR]}
    pillar = {
        "daemon": daemon,
        "users": ["games"],
        "registries": {"registry.example.org": {"user": "puller", "password": "change-me"}},
        "prune": {"older_than_hours": 1, "all": True},
    }
    options = {"cap_add": ["NET_ADMIN"], "security_opt": ["seccomp=unconfined", "apparmor=unconfined"]}
    host = formula_host({"docker": pillar}, **options)
    machine = host.machine
    machine.exec("sh", "-c", "for one in /sys/fs/cgroup/*; do mount -o remount,rw $one; done", check=False)
    host.apply_twice("docker")
    info = json.loads(machine.exec("docker", "info", "--format", "{{json .}}").output)
    assert (info["Driver"], info["LiveRestoreEnabled"]) == ("vfs", True)
    assert info["RegistryConfig"]["Mirrors"] == [f"{MIRROR}/"]
    machine.exec("mkdir", "-p", "/srv/busybox")
    machine.container.put_archive("/srv/busybox", busybox_tree())
    machine.exec("sh", "-c", "tar -C /srv/busybox -c . | docker import - busybox")
    ran = machine.exec(
        "runuser", "-u", "games", "--", "docker", "run", "--network", "none", "busybox", "echo", "it runs"
    )
    assert "it runs" in ran.output
    login = json.loads(machine.exec("cat", "/root/.docker/config.json").output)
    assert login == {"auths": {"registry.example.org": {"auth": "cHVsbGVyOmNoYW5nZS1tZQ=="}}}
    machine.exec("systemctl", "start", "salt-docker-prune.service")
    assert "salt-docker-prune.timer" in machine.exec("systemctl", "list-timers", "--no-legend").output

    host.apply_twice("docker.clean")
