"""The states on a real Docker Engine: what they change once, what they refuse, and that they destroy nothing."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.containers.test_module import POOLS, SERVE
from tests.support.docker import DockerHost


@pytest.fixture(scope="module")
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of all tests here; :func:`states` empties it."""
    return tmp_path_factory.mktemp("state") / "logilab"


@pytest.fixture(scope="module")
def shared_loaders(new_loaders: Callable[..., Any], docker_host: DockerHost, state_folder: Path) -> Any:
    """Salt's loaders on :func:`docker_host`."""
    area = {"daemons": {"docker": docker_host.url}, "pools": POOLS}
    return new_loaders({"logilab": {"state_dir": str(state_folder), "containers": area}})


@pytest.fixture
def states(shared_loaders: Any, docker_host: DockerHost, state_folder: Path) -> Iterator[Any]:
    """The states with nothing reserved, applied in the network namespace of the Engine."""
    shutil.rmtree(state_folder, ignore_errors=True)
    with docker_host.netns.entered():
        yield shared_loaders.states.docker_ports


def test_reserved_once(states: Any, shared_loaders: Any) -> None:
    """A trial reserves nothing and tells the port; the run gives that one; the second run changes nothing."""
    trial = states.reserved(name="web", container_port=80, test=True)
    assert trial.result is None
    assert shared_loaders.modules.docker_ports.reservations() == []
    first = states.reserved(name="web", container_port=80)
    assert (first.result, first.changes) == (True, trial.changes)
    second = states.reserved(name="web", container_port=80)
    assert (second.result, second.changes) == (True, {})
    assert states.reserved(name="web", container_port=80, test=True).result is True


def test_released_once(states: Any) -> None:
    """A trial keeps it; the run releases it; the second run changes nothing."""
    port = states.reserved(name="web", container_port="53/udp", port=20001).changes["web 53/udp"]["new"]
    assert states.released(name="web", container_port="53/udp", test=True).result is None
    done = states.released(name="web", container_port="53/udp")
    assert done.changes == {"web 53/udp": {"old": port, "new": None}}
    again = states.released(name="web", container_port="53/udp")
    assert (again.result, again.changes) == (True, {})


def test_a_reservation_that_cannot_be_had(states: Any) -> None:
    """A port outside the pool, a wrong protocol, a pool that is unknown or exhausted: False and the sentence."""
    assert "does not lie in the pool" in states.reserved(name="web", container_port=80, port=8080).comment
    assert "'sctq' in '80/sctq' is no protocol" in states.reserved(name="web", container_port="80/sctq").comment
    assert "'x' is no configured pool" in states.reserved(name="web", container_port=80, pool="x", test=True).comment
    assert states.reserved(name="one", container_port=80, pool="tiny").result is True
    assert states.reserved(name="two", container_port=80, pool="tiny").result is True
    full = states.reserved(name="three", container_port=80, pool="tiny")
    assert (full.result, full.changes) == (False, {})
    assert "exhausted" in full.comment


def test_available_before_a_container_is_replaced(states: Any, run_container: Callable[..., Any]) -> None:
    """A free port, and the port of the container itself, are available; another's or a process's is not."""
    assert states.available(name="25280").result is True
    container = run_container("web", {"80/tcp": 25280})
    assert states.available(name="25280", container="web").result is True
    taken = states.available(name="25280", container="other")
    assert (taken.result, taken.changes) == (False, {})
    assert "the container 'web' holds it" in taken.comment
    with socket.create_server(("127.0.0.1", 25281)):
        assert "another process" in states.available(name="25281", container="web").comment
    container.reload()
    assert container.status == "running"


def test_published_as_specified(states: Any, run_container: Callable[..., Any]) -> None:
    """Addresses of both families, any port, a range, UDP; what lacks and what is too much is named."""
    ports = {"80/tcp": 25282, "443/tcp": [("127.0.0.1", None), ("::1", 25443)], "53/udp": ("127.0.0.1", 25283)}
    run_container("web", {**ports, "8000/udp": 25800, "8001/udp": 25801})
    good = [
        "25282:80",
        "127.0.0.1::443",
        "[::1]:25443:443",
        "25800-25801:8000-8001/udp",
        "127.0.0.1:25280-25290:53/udp",
    ]
    assert states.published(name="web", ports=good, exact=True).result is True
    lacking = states.published(name="web", ports=["25299:80"])
    assert (lacking.result, lacking.changes) == (False, {})
    assert "it does not publish 25299:80/tcp" in lacking.comment
    assert (
        "it also publishes 127.0.0.1:25283->53/udp" in states.published(name="web", ports=good[:4], exact=True).comment
    )
    assert states.published(name="nobody", ports=["80"]).result is False
    trial = states.published(name="nobody", ports=["80"], test=True)
    assert (trial.result, trial.comment) == (None, "nobody: it does not publish 80/tcp, as yet")
    assert "runs backwards" in states.published(name="web", ports=["25290-25280:80"]).comment


def test_answering(states: Any, run_container: Callable[..., Any]) -> None:
    """A server answers, a mere sleep does not; a trial run does not wait."""
    run_container("web", {"80/tcp": 25284}, SERVE)
    run_container("deaf", {"80/tcp": 25285})
    assert states.answering(name="web", ports=[80], timeout=20).result is True
    deaf = states.answering(name="deaf", ports=[80], timeout=0.2)
    assert deaf.result is False
    assert "deaf does not answer on 80 within 0.2 s" in deaf.comment
    assert states.answering(name="deaf", ports=[80], test=True).result is None


def test_file(states: Any, run_container: Callable[..., Any], tmp_path: Path) -> None:
    """Written once, kept with its mode, not rewritten when equal, and never emptied unasked."""
    path = tmp_path / "backends.cfg"
    wanted = {"name": str(path), "form": "haproxy", "mode": "0640"}
    nothing = states.file(**wanted)
    assert (nothing.result, path.exists()) == (False, False)
    container = run_container("web", {"80/tcp": 25286})
    assert states.file(**wanted, test=True).result is None
    assert not path.exists()
    done = states.file(**wanted)
    assert done.result is True
    assert "+backend web-80" in done.changes["diff"]
    assert path.stat().st_mode & 0o777 == 0o640
    before = path.stat()
    again = states.file(**wanted)
    assert (again.result, again.changes) == (True, {})
    assert path.stat().st_ino == before.st_ino
    container.remove(force=True)
    assert "stays as it is" in states.file(**wanted).comment
    assert "backend web-80" in path.read_text()
    assert states.file(**wanted, allow_empty=True).result is True
    assert path.read_text() == ""
    assert list(tmp_path.iterdir()) == [path]


def test_file_of_a_daemon_that_is_away(new_loaders: Callable[..., Any], tmp_path: Path) -> None:
    """The last good content stays, and the sentence names the daemon."""
    path = tmp_path / "targets.json"
    path.write_text("last good")
    area = {"daemons": {"docker": f"unix://{tmp_path}/none.sock"}}
    state = new_loaders({"logilab": {"state_dir": str(tmp_path / "s"), "containers": area}}).states.docker_ports
    kept = state.file(name=str(path), form="prometheus")
    assert kept.result is False
    assert "none.sock cannot be reached" in kept.comment
    assert path.read_text() == "last good"
    assert "'table' is no format of a file" in state.file(name=str(path), form="table").comment
    assert "no absolute path" in state.file(name="x", form="json").comment
