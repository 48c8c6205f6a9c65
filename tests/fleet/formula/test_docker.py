"""The formula ``docker``, applied for real: its Engine takes an image and makes a container."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.support.docker import busybox_tree
from tests.support.formulas import FormulaHost

MIRROR = "https://mirror.example.org"


def test_the_engine_serves(formula_host: Callable[..., FormulaHost]) -> None:
    """The Engine has the settings, makes a container for a user of the pillar, and prunes by a timer."""
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
    host.apply_twice("docker")
    info = json.loads(machine.exec("docker", "info", "--format", "{{json .}}").output)
    assert (info["Driver"], info["LiveRestoreEnabled"]) == ("vfs", True)
    assert info["RegistryConfig"]["Mirrors"] == [f"{MIRROR}/"]
    machine.exec("mkdir", "-p", "/srv/busybox")
    machine.container.put_archive("/srv/busybox", busybox_tree())
    machine.exec("sh", "-c", "tar -C /srv/busybox -c . | docker import - busybox")
    # Not started: control groups are read-only within the test's container.
    create = ("docker", "create", "--name", "box", "--network", "none", "busybox", "true")
    machine.exec("runuser", "-u", "games", "--", *create)
    assert machine.exec("docker", "ps", "--all", "--format", "{{.Names}} {{.Status}}").output == "box Created\n"
    login = json.loads(machine.exec("cat", "/root/.docker/config.json").output)
    assert login == {"auths": {"registry.example.org": {"auth": "cHVsbGVyOmNoYW5nZS1tZQ=="}}}
    machine.exec("systemctl", "start", "salt-docker-prune.service")
    assert "salt-docker-prune.timer" in machine.exec("systemctl", "list-timers", "--no-legend").output

    host.apply_twice("docker.clean")
