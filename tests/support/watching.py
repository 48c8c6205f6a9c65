"""The registry of ports as the engine keeps it, for tests: one service with its threads, and what it told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.containers import database, listing, settings
from saltext_logilab.containers.changes import Change
from saltext_logilab.containers.client import Client
from saltext_logilab.containers.ports import Container, Port
from saltext_logilab.containers.registry import CONNECTED, Registry
from saltext_logilab.containers.service import Effects, Service
from tests.support.docker import DockerHost
from tests.support.waiting import wait_until

PATIENCE = 20


class Watched:
    """A service at work in ``folder`` on ``daemons``: its registry, and the events that it fired."""

    def __init__(self, folder: Path, daemons: dict[str, str], **options: Any) -> None:
        opts = {"pki_dir": str(folder / "pki"), "logilab": {"containers": {"daemons": daemons, **options}}}
        self.settings = settings.read(opts)
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.published = 0
        self._alive = True
        self.service = Service(self.settings, Effects(self._tell, self._publish, lambda: None), lambda: self._alive)
        self._thread = threading.Thread(target=self.service.run, daemon=True)

    def _tell(self, tag: str, data: dict[str, Any]) -> None:
        self.told.append((tag, data))

    def _publish(self) -> None:
        self.published += 1

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, as when the minion ends."""
        self._alive = False
        self.service.stop()
        self._thread.join(timeout=10)

    def containers(self, daemon: str = "docker") -> dict[str, Container]:
        """Return what the registry knows, by name."""
        with database.opened(self.settings.folder) as connection:
            return {one.name: one for one in Registry(connection).containers(daemon).values()}

    def ports(self, daemon: str = "docker") -> dict[str, tuple[Port, ...]]:
        """Return the ports of each container that has some, by its name."""
        return {name: one.ports for name, one in self.containers(daemon).items() if one.ports}

    def history(self, container: str = "") -> list[Change]:
        """Return all changes, oldest first."""
        with database.opened(self.settings.folder) as connection:
            return [change for _, change in Registry(connection).history("", container, 100_000)][::-1]

    def what(self, container: str = "") -> list[str]:
        """Return the kinds of all changes, oldest first."""
        return [change.what for change in self.history(container)]

    def tags(self) -> list[str]:
        """Return the last words of the tags of all events."""
        return [tag.rpartition("/")[2] for tag, _ in self.told]

    def is_connected(self, daemon: str = "docker") -> bool:
        """Whether the daemon is followed now."""
        with database.opened(self.settings.folder) as connection:
            known = Registry(connection).daemons().get(daemon)
        return known is not None and known.state == CONNECTED

    def connected(self, daemon: str = "docker") -> None:
        """Wait until the daemon is followed."""
        wait_until(lambda: self.is_connected(daemon), PATIENCE, f"{daemon} followed")

    def equals(self, url: str, daemon: str = "docker") -> bool:
        """Whether the registry holds exactly the published ports of the live containers that the Engine lists."""
        said = {one.name: one.ports for one in listing.containers(Client(url).listing()) if one.ports}
        return self.ports(daemon) == said

    def agrees(self, url: str, daemon: str = "docker") -> None:
        """Wait until the registry equals what the Engine says."""
        wait_until(lambda: self.equals(url, daemon), PATIENCE, "registry equal to the Engine")


@contextmanager
def watching(folder: Path, daemons: dict[str, str], **options: Any) -> Iterator[Watched]:
    """Run a service on ``daemons`` with its state in ``folder``; end it afterwards."""
    watched = Watched(folder, daemons, **options)
    watched.start()
    try:
        yield watched
    finally:
        watched.stop()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    """Return a maker of services: ``watch(docker_host)`` follows it as ``docker``, and waits until it does."""
    made: list[Watched] = []

    def make(host: DockerHost, folder: Path = tmp_path, **options: Any) -> Watched:
        watched = Watched(folder, {"docker": host.url}, **options)
        made.append(watched)
        watched.start()
        watched.connected()
        return watched

    yield make
    for watched in made:
        watched.stop()
