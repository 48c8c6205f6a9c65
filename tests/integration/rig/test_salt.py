"""A real master and minion."""

from __future__ import annotations

import socket
from pathlib import Path

from saltfactories.cli.run import SaltRun
from saltfactories.cli.salt import Salt
from saltfactories.daemons.master import SaltMaster
from saltfactories.daemons.minion import SaltMinion


def test_minion_answers(salt_cli: Salt, minion: SaltMinion) -> None:
    """The master's command reaches the minion, and its answer comes back."""
    assert salt_cli.run("test.ping", minion_tgt=minion.id).data is True


def test_runner_sees_the_minion(salt_run_cli: SaltRun, minion: SaltMinion) -> None:
    """A runner on the master sees the minion up."""
    assert salt_run_cli.run("manage.up").data == [minion.id]


def test_master_is_private(master: SaltMaster, daemon_root: Path) -> None:
    """The master keeps everything below the session's root, scripts included, and listens on 127.0.0.1 alone."""
    assert Path(master.config["root_dir"]).is_relative_to(daemon_root)
    assert Path(master.get_script_path()).is_relative_to(daemon_root)
    assert master.config["interface"] == "127.0.0.1"
    with socket.create_connection(("127.0.0.1", master.config["ret_port"]), timeout=10):
        pass
