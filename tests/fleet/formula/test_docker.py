"""The formula ``docker``, applied for real: its Engine runs a container, whose port the formula ``haproxy`` finds."""

from __future__ import annotations

import json
from collections.abc import Callable

import requests

from tests.support.docker import busybox_tree
from tests.support.formulas import FormulaHost
from tests.support.waiting import wait_until

MIRROR = "https://mirror.example.org"
BEHIND = {
    "frontends": {"web": {"bind": ["*:80"], "default_backend": "app"}},
    "backends": {"app": {"docker_ports": {"container": "web", "container_port": 80}}},
}


def test_the_engine_serves(formula_host: Callable[..., FormulaHost]) -> None:
    """A user of the pillar runs a container on the port that was reserved, which HAProxy finds; a timer prunes."""
    pillar = {
        "daemon": {"storage-driver": "vfs", "registry-mirrors": [MIRROR]},  # overlays cannot lie upon each other
        "users": ["games"],
        "registries": {"registry.example.org": {"user": "puller", "password": "change-me"}},
        "prune": {"older_than_hours": 1, "all": True},
        "ports": {"web": {"container_port": 80}},
    }
    options = {"cap_add": ["NET_ADMIN"], "security_opt": ["seccomp=unconfined", "apparmor=unconfined"]}
    host = formula_host({"docker": pillar, "haproxy": BEHIND}, **options)
    machine = host.machine
    machine.allow_nesting()
    host.apply_twice("docker")
    info = json.loads(machine.exec("docker", "info", "--format", "{{json .}}").output)
    assert (info["Driver"], info["LiveRestoreEnabled"]) == ("vfs", True)
    assert info["RegistryConfig"]["Mirrors"] == [f"{MIRROR}/"]
    machine.exec("mkdir", "-p", "/srv/busybox")
    machine.container.put_archive("/srv/busybox", busybox_tree())
    machine.exec("sh", "-c", "tar -C /srv/busybox -c . | docker import - busybox")

    port = machine.salt_call("docker_ports.port", "web", "80")
    serve = ("busybox", "httpd", "-f", "-p", "80", "-h", "/bin")
    machine.exec("runuser", "-u", "games", "--", "docker", "run", "-d", "--name", "web", "-p", f"{port}:80", *serve)
    direct, through = f"http://{machine.address}:{port}/busybox", f"http://{machine.address}/busybox"
    wait_until(lambda: requests.head(direct, timeout=10).ok, 60, "the container's port")
    assert host.apply("haproxy").failed == []  # twice in its own test
    wait_until(lambda: requests.head(through, timeout=10).ok, 60, "the container behind HAProxy")

    login = json.loads(machine.exec("cat", "/root/.docker/config.json").output)
    assert login == {"auths": {"registry.example.org": {"auth": "cHVsbGVyOmNoYW5nZS1tZQ=="}}}
    machine.exec("sh", "-c", "tar -C /srv/busybox -c . | docker import - old")
    assert "salt-docker-prune.timer" in machine.exec("systemctl", "list-timers", "--no-legend").output
    machine.exec("systemctl", "start", "salt-docker-prune.service")
    assert machine.exec("docker", "ps", "--format", "{{.Names}}").output == "web\n"

    # What dockerd would not start with is told, and the container runs on; mended, one run is enough.
    host.give({"docker": {**pillar, "daemon": {"storage-driver": "nosuch"}}})
    assert host.apply("docker").failed != []
    assert requests.head(direct, timeout=10).ok
    host.give({"docker": pillar})
    assert host.apply("docker").failed == []
    host.apply_twice("docker.clean")
