"""The demo's part with Docker: with a real Engine, and without one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from saltext_logilab.lab import docker_story, show
from saltext_logilab.lab.docker import LABEL
from saltext_logilab.lab.lab import Lab
from tests.support.docker import DockerHost
from tests.support.labs import LabFactory, accept_all


@pytest.fixture(scope="module")
def lab(make_module_lab: LabFactory) -> Lab:
    """Two masters and the minion of the story."""
    made = make_module_lab(masters=("paris", "nantes"), minions=("m1",))
    accept_all(made)
    return made


def test_two_containers_on_every_master(
    lab: Lab, docker_host: DockerHost, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both masters show both, and nothing is left: no container, of a demo that was killed neither, and no image."""
    left = docker_host.client().containers.run(
        docker_host.busybox, ["sleep", "1000"], name="demo-web", labels=[LABEL], detach=True
    )
    monkeypatch.setenv("DOCKER_HOST", docker_host.url)
    docker_story.tell(lab, show.Line())
    told = capsys.readouterr().out
    for master in ("paris", "nantes"):
        table = told.partition(f"{master}$ salt-run docker_ports.find container='demo-*'")[2]
        assert re.search(r"^m1 +\d+ +127\.0\.0\.1 +tcp +demo-(web:80|api:8080) ", table, re.M), told
        asked = told.partition(f"{master}$ salt -C 'T@docker' cmd.run")[2]
        assert re.search(r"^demo-(web|api)\.m1:\n +\S+ up ", asked, re.M), told
    assert re.search(r"^\d+\.\d s after the second one is up", told, re.M), told
    names = [one.name for one in docker_host.client().containers.list(all=True)]
    assert (left.name in names, "demo-api" in names) == (False, False)
    assert docker_host.client().images.list("logilab-demo") == []


@pytest.mark.parametrize("url", ["unix://{}/none.sock", "tcp://192.0.2.1:2375"])
def test_without_an_engine(
    lab: Lab, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says why, and the story goes on."""
    monkeypatch.setenv("DOCKER_HOST", url.format(tmp_path))
    docker_story.tell(lab, show.Line())
    assert f"This part is left out: {'no Docker' if 'unix' in url else 'tcp://'}" in capsys.readouterr().out
