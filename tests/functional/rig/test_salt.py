"""Salt's loaders work without daemons, with the extension."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import salt.utils.entrypoints
from saltfactories.utils.functional import Loaders

from tests.support.salt import coverage_settings


def test_modules_and_states_run(loaders: Loaders, tmp_path: Path) -> None:
    """Execution functions and states run, and a state's second run changes nothing."""
    assert loaders.modules.test.ping() is True
    made = str(tmp_path / "made")
    first = loaders.states.file.managed(made, contents="by a state")
    second = loaders.states.file.managed(made, contents="by a state")
    assert (first.result, second.result) == (True, True)
    assert first.changes
    assert not second.changes


def test_loaders_take_options(new_loaders: Callable[..., Loaders], daemon_root: Path) -> None:
    """Loaders of their own have the options that a test gives, and keep all they write below the session's root."""
    own = new_loaders({"logilab": {"state_dir": "/srv/logilab"}})
    assert own.modules.config.get("logilab:state_dir") == "/srv/logilab"
    assert all(
        Path(own.opts[key]).is_relative_to(daemon_root) for key in ("cachedir", "pki_dir", "sock_dir", "log_file")
    )


def test_runners_load(new_runners: Callable[..., Any]) -> None:
    """Runners run on the options of a master that is not there."""
    assert "test.arg" in new_runners()["doc.runner"]()


def test_extension_is_known() -> None:
    """Salt finds the extension by its entry points."""
    names = [entry.name for entry in salt.utils.entrypoints.iter_entry_points("salt.loader")]
    assert "logilab_masters" in names


def test_daemons_are_measured_only_with_coverage() -> None:
    """The paths of coverage are given both, or neither."""
    assert set(coverage_settings(False).values()) == {None, False}
    assert coverage_settings(True)["coverage_rc_path"].exists()
