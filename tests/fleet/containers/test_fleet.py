"""The fleet's ports: from a minion with the engine to each of its masters, and out of their caches."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import salt.config

from saltext_logilab import locks
from saltext_logilab.containers import database, fleet, mines
from saltext_logilab.containers.registry import Registry
from saltext_logilab.containers.selection import Criteria
from saltext_logilab.lab import configs
from saltext_logilab.lab.lab import Lab
from tests.support.docker import DockerHost
from tests.support.labs import LabFactory, accept_all
from tests.support.waiting import wait_until

PATIENCE = 30
MASTERS = ("paris", "nantes")


def options(host: DockerHost, **more: Any) -> dict[str, Any]:
    """Return the configuration of a minion that follows ``host``."""
    return {
        "engines": [{"docker_ports": {}}],
        "logilab": {"containers": {"daemons": {"docker": host.url}, "labels": ["team"], **more}},
    }


@pytest.fixture(scope="module")
def lab(make_module_lab: LabFactory, docker_host: DockerHost, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """
    Two masters and a minion whose engine follows :func:`docker_host`, and whose pillar declares a container's port.

    They share no minion data: each has what the minion tells it, and keeps what is known of a minion without a key.
    """
    pillar = tmp_path_factory.mktemp("pillar")
    (pillar / "top.sls").write_text("base: {'*': [ports]}")
    (pillar / "ports.sls").write_text("logilab: {containers: {declared: {declared: ['127.0.0.1:25385:80']}}}")
    alone = {"logilab": {"masters": {"data": []}}, "pillar_roots": {"base": [str(pillar)]}}
    minion = options(docker_host)
    made = make_module_lab(masters=MASTERS, minions=("m1",), minion_options=minion, master_options=alone)
    accept_all(made)
    return made


def ask(lab: Lab, master: str, function: str, *arguments: str) -> Any:
    """Return what a runner function answers."""
    done = lab.run(master, "salt-run", f"docker_ports.{function}", *arguments, "--out", "json")
    return json.loads(done.stdout)


def shown(lab: Lab, master: str, port: int) -> list[dict[str, Any]]:
    """Return the rows of the host port ``port`` in the eyes of ``master``."""
    return list(ask(lab, master, "find", f"port={port}")["ports"])


def known(lab: Lab, master: str, port: int | None = None) -> list[dict[str, Any]]:
    """Return the rows of a port, or all, in the cache of ``master``: what is waited for needs no command each time."""
    opts = salt.config.master_config(str(lab.folder / master / "etc/master"))
    return list(fleet.rows(mines.entries(opts), Criteria(port=port), time.time()))


def test_every_master_knows(lab: Lab, run_container: Callable[..., Any]) -> None:
    """Two containers come up and one goes: both masters tell the same, with its age, without a job."""
    run_container("web", {"80/tcp": 25380}, labels={"team": "shop", "secret": "x"})
    gone = run_container("db", {"5432/tcp": ("127.0.0.1", 25381)})
    for master in MASTERS:
        wait_until(lambda master=master: known(lab, master, 25381), PATIENCE, f"both on {master}")
        rows = shown(lab, master, 25380)
        assert {(row["minion"], row["container"], row["host_ip"]) for row in rows} == {
            ("m1", "web", "0.0.0.0"),
            ("m1", "web", "::"),
        }
        assert rows[0]["labels"] == {"team": "shop"}
        assert 0 <= rows[0]["age"] < 60
    gone.remove(force=True)
    for master in MASTERS:
        wait_until(lambda master=master: not known(lab, master, 25381), PATIENCE, f"one gone on {master}")
    jobs = json.loads(lab.run("paris", "salt-run", "jobs.list_jobs", "--out", "json").stdout)
    assert [job for job in jobs.values() if job["Function"].startswith("docker_ports")] == []


def test_events_reach_every_master(lab: Lab, run_container: Callable[..., Any]) -> None:
    """A change is an event on the bus of each master, with what has changed and no more."""
    told: dict[str, str] = {}

    def listen(master: str) -> None:
        pattern = "salt/logilab/containers/docker/changed"
        told[master] = lab.run(master, "salt-run", "state.event", pattern, "count=1", "quiet=False").stdout

    listeners = [threading.Thread(target=listen, args=(master,)) for master in MASTERS]
    for listener in listeners:
        listener.start()
    started = 0

    def heard() -> bool:
        nonlocal started
        started += 1
        run_container(f"told{started}", {"80/tcp": None}, environment={"PASSWORD": "secret"})
        return not any(listener.is_alive() for listener in listeners)

    wait_until(heard, PATIENCE, "events on both masters")
    for master in MASTERS:
        data = json.loads(told[master].splitlines()[0].partition("\t")[2])
        assert {change["what"] for change in data["data"]["changes"]} >= {"started", "opened"}, data
        assert "secret" not in told[master]


@pytest.mark.parametrize(
    ("master", "minion"),
    [("3007", "3006"), *(pytest.param(each, each, marks=pytest.mark.soak) for each in ("3006", "3007"))],
)
def test_older_versions_of_salt(
    make_lab: LabFactory, docker_host: DockerHost, run_container: Callable[..., Any], master: str, minion: str
) -> None:
    """The engine, the mine and the runner do the same on the oldest versions; commands run inside by a name."""
    run_container("web", {"80/tcp": 25384})
    salt = {"paris": master, "m1": minion}
    made = make_lab(masters=("paris",), minions=("m1",), salt=salt, minion_options=options(docker_host))
    accept_all(made)
    wait_until(lambda: known(made, "paris", 25384), PATIENCE, "the table at the master")
    assert ask(made, "paris", "status")["ok"] is True
    told = made.run("m1", "salt-call", "docker_ports.find", "port=25384", "--out", "json").stdout
    assert json.loads(told)["local"]["daemons"]["docker"]["source"] == "engine"
    words = ("salt", "-t", "30", "m1", "docker_exec.run", "web", "echo inside; exit 3", "--out", "json")
    done = made.run("paris", *words)
    assert (json.loads(done.stdout), done.returncode) == ({"m1": "inside"}, 1)
    assert "Traceback" not in made.log("m1").read_text()


def test_audit_proven_by_another_minion(make_lab: LabFactory, connected_docker_host: DockerHost) -> None:
    """What answers another minion is reached, docker-proxy's accept is not; the master keeps a registry of its own."""
    follow = options(connected_docker_host, allow_tgt="m1")
    made = make_lab(masters=("paris",), minions=("m1", "m2"), minion_options=follow, master_options=follow)
    accept_all(made)
    address = connected_docker_host.network.gateway
    ports = {"80/tcp": (address, None), "53/udp": (address, None), "81/tcp": ("127.0.0.1", None)}
    try:
        for name, command in (("web", ["httpd", "-f", "-p", "80"]), ("deaf", ["sleep", "1000"])):
            connected_docker_host.client().containers.run(
                connected_docker_host.busybox, command, name=name, ports=ports, detach=True, stop_signal="KILL"
            )
        wait_until(lambda: len(known(made, "paris")) == 12, PATIENCE, "both tables")
        get = ("salt", "-t", "30", "m*", "mine.get", "m*", "docker_ports", "--out", "json", "--static")
        mine = json.loads(made.run("paris", *get).stdout)
        assert (set(mine["m1"]), mine["m2"]) == ({"m1", "m2"}, {})  # as allow_tgt says
        rows = ask(made, "paris", "audit", "prover=m2")["ports"]
        told = {(row["minion"], row["container"], row["container_port"]): row["reached"] for row in rows}
        assert told == {
            ("m1", "web", 80): True,
            ("m1", "deaf", 80): False,
            **{("m1", name, 53): None for name in ("web", "deaf")},
            **{("m2", name, port): None for name in ("web", "deaf") for port in (80, 53)},
        }
        assert "reached" not in ask(made, "paris", "audit")["ports"][0]
        table = made.run("paris", "salt-run", "docker_ports.audit", "m1", "prover=m2").stdout.splitlines()
        assert table[0].split()[-1] == "REACHED"
        assert {line.split()[-1] for line in table[1:]} == {"yes", "no", "?"}
        with database.opened(configs.root(made.folder, "paris") / "logilab/containers") as own:
            assert {one.name for one in Registry(own).containers("docker").values()} == {"web", "deaf"}
        absent = made.run("paris", "salt-run", "docker_ports.audit", "prover=nobody", "timeout=1")
        assert absent.returncode == 1
        assert "the minion 'nobody' has not proven anything: it does not answer" in absent.stdout
    finally:
        connected_docker_host.remove_containers()


def test_what_differs_and_what_is_ambiguous(lab: Lab, run_container: Callable[..., Any]) -> None:
    """Declared ports that are missing, real ones that nobody declared, one port with two containers: exit code 1."""
    away = {"minions": {"m1": {"declared": {"missing": ["127.0.0.1:25385:80/tcp"], "undeclared": []}}}, "retcode": 1}
    wait_until(lambda: not known(lab, "paris"), PATIENCE, "no port")
    assert ask(lab, "paris", "diff") == away
    run_container("declared", {"80/tcp": ("127.0.0.1", 25385)})
    wait_until(lambda: known(lab, "paris", 25385), PATIENCE, "the declared port")
    assert ask(lab, "paris", "diff") == {"minions": {}}
    assert ask(lab, "paris", "conflicts") == {"conflicts": []}
    run_container("second", {"80/tcp": ("127.0.0.2", 25385)})
    wait_until(lambda: len(known(lab, "paris", 25385)) == 2, PATIENCE, "both")
    told = ask(lab, "paris", "diff")["minions"]["m1"]
    assert told == {"second": {"missing": [], "undeclared": ["127.0.0.2:25385->80/tcp"]}}
    (found,) = ask(lab, "paris", "conflicts")["conflicts"]
    assert (found["minion"], found["conflict"], {one["container"] for one in found["ports"]}) == (
        "m1",
        "several containers",
        {"declared", "second"},
    )
    assert lab.run("paris", "salt-run", "docker_ports.conflicts").returncode == 1


def test_one_owner(lab: Lab) -> None:
    """The minion runs the engine once per master; one of the processes keeps the registry."""
    folder = Path(json.loads(lab.run("paris", "salt", "m1", "config.get", "pki_dir", "--out", "json").stdout)["m1"])
    assert locks.is_held(folder.parent / "logilab/containers" / locks.ENGINE)
    log = lab.log("m1").read_text()
    assert "docker_ports does not run" not in log
    assert "Traceback" not in log


def test_for_people(lab: Lab, run_container: Callable[..., Any]) -> None:
    """A table, pictures, and files that need an explicit target."""
    run_container("web", {"80/tcp": 25382})
    wait_until(lambda: known(lab, "paris", 25382), PATIENCE, "web")
    table = lab.run("paris", "salt-run", "docker_ports.find", "port=25382").stdout
    assert table.splitlines()[0].split()[:4] == ["HOST", "PORT", "ADDRESS", "PROTO"]
    assert table.splitlines()[1].split()[:5] == ["m1", "25382", "0.0.0.0", "tcp", "web:80"]
    assert "flowchart LR" in lab.run("paris", "salt-run", "docker_ports.export", "mermaid").stdout
    refused = lab.run("paris", "salt-run", "docker_ports.export", "haproxy")
    assert refused.returncode == 1
    assert "needs an explicit target" in refused.stdout
    assert "Traceback" not in refused.stdout + refused.stderr
    backend = lab.run("paris", "salt-run", "docker_ports.export", "haproxy", "tgt=m*").stdout
    assert "backend web-80" in backend


def test_a_minion_without_an_accepted_key(lab: Lab, run_container: Callable[..., Any]) -> None:
    """What is known of it stays, marked orphaned, and status says so; a mistake is one sentence with exit code 1."""
    run_container("web", {"80/tcp": 25383})
    wait_until(lambda: known(lab, "nantes", 25383), PATIENCE, "web")
    assert ask(lab, "nantes", "status")["ok"] is True
    for wrong, sentence in (("port=99/sctq", "is no protocol"), ("exposure=x", "is no exposure")):
        done = lab.run("nantes", "salt-run", "docker_ports.find", wrong)
        assert done.returncode == 1
        assert sentence in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
    lab.kill("m1")
    assert shown(lab, "nantes", 25383)
    (configs.root(lab.folder, "nantes") / "pki/minions/m1").unlink()
    rows = shown(lab, "nantes", 25383)
    assert {row["orphaned"] for row in rows} == {True}
    status = lab.run("nantes", "salt-run", "docker_ports.status", "--out", "json")
    assert status.returncode == 1
    assert "its key is not accepted" in status.stdout
