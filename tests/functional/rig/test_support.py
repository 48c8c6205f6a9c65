"""The small tools behind the fixtures say clearly what is wrong, and leave nothing half done."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.debian import debian_sources
from tests.support.optional import MissingLibrary, Optional
from tests.support.processes import Daemon, MissingProgram, program
from tests.support.roots import cached
from tests.support.waiting import wait_until

DEBIAN = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n"
VENDOR = "deb https://vendor.example/apt bookworm main\n"


def test_missing_program_names_its_package() -> None:
    """A program that is not there is an error with the package to install."""
    with pytest.raises(MissingProgram, match="no-such-daemon is not installed: apt-get install its-package"):
        program("no-such-daemon", "its-package")


def test_missing_library_names_its_extra() -> None:
    """A library that is not there is an error with the extra to install, at its first use and not before."""
    library = Optional("no_such_library", extra="docker")
    with pytest.raises(MissingLibrary, match=r"pip install -e '\.\[docker\]'"):
        _ = library.anything


def test_dead_daemon_is_an_error_with_its_output(tmp_path: Path) -> None:
    """A daemon that ends instead of getting ready is an error with its code and what it said."""
    daemon = Daemon("liar", [sys.executable, "-c", "print('no port left'); raise SystemExit(3)"], tmp_path)
    with pytest.raises(RuntimeError, match=r"(?s)liar ended with 3.*no port left"):
        daemon.start(lambda: False, timeout=30)


def test_daemon_that_never_gets_ready_is_ended(tmp_path: Path) -> None:
    """A daemon that is not ready in time is an error, and does not run on."""
    daemon = Daemon("sleeper", [sys.executable, "-c", "import signal; signal.pause()"], tmp_path)
    with pytest.raises(RuntimeError, match=r"sleeper is ready: not within 0\.2 s"):
        daemon.start(lambda: False, timeout=0.2)
    assert not daemon.running


def test_waiting_ends_with_what_was_waited_for() -> None:
    """Waiting returns what the condition gave, or raises an error that names it."""
    answers = iter([None, 0, "seen"])
    assert wait_until(lambda: next(answers), 60, "an answer") == "seen"
    with pytest.raises(TimeoutError, match="the impossible: not within 0 s"):
        wait_until(lambda: False, 0, "the impossible")


def test_failed_build_is_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that fails half-way leaves nothing under the name; the next one builds afresh, and only once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    builds: list[Path] = []

    def build(target: Path) -> None:
        builds.append(target)
        target.write_text("half")
        if len(builds) == 1:
            raise ValueError("half-way")
        target.write_text("whole")

    with pytest.raises(ValueError, match="half-way"):
        cached("thing-1", build)
    assert cached("thing-1", build).read_text() == "whole"
    assert cached("thing-1", build).read_text() == "whole"
    assert len(builds) == 2


def test_stale_versions_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new version of a thing removes those that nobody used for long, and nothing else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("thing-1.2-old", "thing-1.2-used", "other-1.2-old"):
        path = cached(name, Path.mkdir)
        if name.endswith("old"):
            os.utime(path, (0, 0))
    new = cached("thing-1.2-new", Path.mkdir)
    left = [path.name for path in new.parent.iterdir() if path.is_dir()]
    assert sorted(left) == ["other-1.2-old", "thing-1.2-new", "thing-1.2-used"]


def test_only_debian_sources_are_carried(tmp_path: Path) -> None:
    """Of apt's sources an image gets those of Debian, without comments."""
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/vendor.list").write_text(VENDOR)
    assert debian_sources(tmp_path) == ""
    (tmp_path / "sources.list.d/debian.sources").write_text(f"# ours\n{DEBIAN}")
    assert debian_sources(tmp_path) == DEBIAN
