"""Whether there is anything new to tell of the containers of a real Engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from saltext_logilab.containers.lookout import Lookout
from tests.support.docker import DockerHost


def test_what_is_news(docker_host: DockerHost, run_container: Callable[..., Any], tmp_path: Path) -> None:
    """A container that comes, changes or goes; not the time that passes, and not a daemon that is away."""
    lookout = Lookout({"docker": docker_host.url, "away": f"unix://{tmp_path}/away.sock"})
    assert [lookout.has_news(), lookout.has_news()] == [True, False]
    web = run_container("web", {"80/tcp": None})
    assert [lookout.has_news(), lookout.has_news()] == [True, False]
    web.exec_run(["true"])
    assert not lookout.has_news()
    for change in (web.pause, web.unpause, lambda: web.rename("db"), web.kill, lambda: web.remove(force=True)):
        change()
        assert [lookout.has_news(), lookout.has_news()] == [True, False]
    assert not Lookout({"away": f"unix://{tmp_path}/away.sock"})._seen
