"""Pictures of the containers as targets, of a real Docker and a real Podman."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.containers import targetrules, targets
from saltext_logilab.containers.targets import Reserved, Targets
from saltext_logilab.errors import UnavailableError
from saltext_logilab.within.transport import Command, NotRunningError
from tests.support.docker import DockerHost
from tests.support.podman import PodmanHost

ALL = targetrules.read(None)
NONE = Reserved.told("m1", {})


def test_what_is_a_target(docker_host: DockerHost, run_container: Callable[..., Any], tmp_path: Path) -> None:
    """Running and stopped ones; none that never started; ids that somebody has are refused, with the reason."""
    run_container("web", labels={"k": "v" * 1000})
    run_container("stopped").kill()
    run_container("taken")
    run_container("theirs")
    docker_host.client().containers.create(docker_host.busybox, ["true"], name="never")
    daemons = {"docker": docker_host.url, "gone": f"unix://{tmp_path}/gone.sock"}
    reserved = Reserved.told("m1", {"minions": ["taken.m1"], "owned": {"theirs.m1": "m2", "web.m1": "m1"}})
    known = Targets()
    picture = known.look(daemons, ALL, "m1", reserved)
    assert set(picture.targets) == {"web.m1", "stopped.m1"}
    assert picture.refused["taken.m1"] == "'taken.m1' is the id of a minion"
    assert picture.refused["theirs.m1"] == "'theirs.m1' belongs to the minion 'm2'"
    assert "gone.sock cannot be reached" in picture.errors["gone"]
    assert picture.summary()["targets"]["stopped.m1"] == {"daemon": "docker", "container": "stopped", "state": "exited"}
    grains = known.grains("web.m1", "m1")
    assert len(grains["labels"]["k"]) == targets.LONGEST_LABEL
    assert targets.ping(known.target("web.m1")) is True
    with pytest.raises(NotRunningError, match="the container 'stopped' is not running: it is exited"):
        targets.ping(known.target("stopped.m1"))
    with pytest.raises(UnavailableError, match=r"there is no container 'nobody\.m1' on this minion"):
        known.target("nobody.m1")


def test_two_daemons_with_one_name(docker_host: DockerHost, run_container: Callable[..., Any]) -> None:
    """Neither gets the id; a template with the daemon gives each its own."""
    run_container("web")
    daemons = {"one": docker_host.url, "two": docker_host.url}
    refused = Targets().look(daemons, ALL, "m1", NONE)
    assert (refused.targets, "stands for both" in refused.refused["web.m1"]) == ({}, True)
    told = Targets().look(daemons, targetrules.read({"id": "{name}.{daemon}.{minion}"}), "m1", NONE)
    assert set(told.targets) == {"web.one.m1", "web.two.m1"}


def test_a_daemon_that_goes_away(new_docker_host: Callable[[], DockerHost]) -> None:
    """Its containers stay targets, and answer why they cannot be reached."""
    host = new_docker_host()
    host.client().containers.run(host.busybox, ["sleep", "1000"], name="web", detach=True, stop_signal="KILL")
    known = Targets()
    assert set(known.look({"docker": host.url}, ALL, "m1", NONE).targets) == {"web.m1"}
    host.kill()
    picture = known.look({"docker": host.url}, ALL, "m1", NONE)
    assert (set(picture.targets), set(picture.errors)) == ({"web.m1"}, {"docker"})
    with pytest.raises(UnavailableError, match="cannot be reached"):
        targets.ping(known.target("web.m1"))
    host.start()


def test_a_job_lists_nothing(docker_host: DockerHost, run_container: Callable[..., Any]) -> None:
    """The process of a job has the picture of the minion that started it."""
    run_container("web")
    known = Targets()
    known.look({"docker": docker_host.url}, ALL, "m1", NONE)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        found = known.look({"docker": "unix:///nowhere.sock"}, ALL, "m1", NONE)
        os.write(writer, ",".join([*found.targets, *found.errors]).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    assert os.read(reader, 1000) == b"web.m1"
    os.close(reader)


def test_podman(podman_host: PodmanHost) -> None:
    """The same in Podman: targets, grains, commands, files, and a stopped one."""
    made = podman_host.client.containers.run(
        podman_host.busybox, ["sleep", "1000"], name="pod", detach=True, labels={"role": "web"}
    )
    try:
        known = Targets()
        picture = known.look({"podman": podman_host.url}, targetrules.read({"match": {"label": "role=w*"}}), "m1", NONE)
        assert set(picture.targets) == {"pod.m1"}
        grains = known.grains("pod.m1", "m1")
        assert (grains["container"], grains["state"], grains["labels"]["role"]) == ("pod", "running", "web")
        target = known.target("pod.m1")
        assert targets.ping(target) is True
        inside = target.interior(30)
        assert inside.run(Command(("cat",), stdin=b"told")).stdout == b"told"
        made.kill()
        with pytest.raises(NotRunningError, match="is not running"):
            targets.ping(target)
    finally:
        made.remove(force=True)
