"""A formula applied by salt-ssh, over a real sshd, to a machine that has no Salt of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.formulas import BACKENDS, FormulaHost, example

pytestmark = pytest.mark.soak  # half a minute: `make test` asks the wrapper itself


@pytest.fixture
def salt_ssh(formula_host: Callable[..., FormulaHost], tmp_path: Path) -> Callable[..., Any]:
    """Give ``salt_ssh(function, *arguments)``, which runs on a fresh machine with the pillar of ``users``."""
    machine = formula_host({}).machine
    install = ("apt-get", "install", "-y", "--no-install-recommends", "openssh-server", "python3")
    machine.exec(*install, env={"DEBIAN_FRONTEND": "noninteractive"})
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    machine.write("/root/.ssh/authorized_keys", key.with_suffix(".pub").read_text(), mode=0o600)
    for name, content in {
        "master": {**BACKENDS, "root_dir": str(tmp_path), "pillar_roots": {"base": [str(tmp_path / "pillar")]}},
        "roster": {"bare": {"host": machine.address, "user": "root", "priv": str(key), "minion_opts": {}}},
        "pillar/top.sls": {"base": {"*": ["given"]}},
        "pillar/given.sls": {"users": example("users")},
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(yaml.safe_dump(content))

    def call(function: str, *arguments: str) -> Any:
        programs = Path(sys.executable).parent
        command = [programs / "salt-ssh", "-c", tmp_path, "--roster-file", tmp_path / "roster", "-i", "--out", "json"]
        done = subprocess.run(
            [*map(str, command), "bare", function, *arguments], capture_output=True, text=True, timeout=300, check=False
        )
        return json.loads(done.stdout)["bare"], done.stderr

    return call


def test_a_formula_is_applied_over_ssh(salt_ssh: Callable[..., Any]) -> None:
    """The data are checked where salt-ssh runs; users appear on the machine; a second time nothing changes."""
    data, _ = salt_ssh("formula.data", "users")
    assert data["users"]["alice"] == {**data["users"]["alice"], **example("users")["users"]["alice"]}
    for changed in (True, False):
        states, errors = salt_ssh("state.apply", "users")
        assert [one["comment"] for one in states.values() if one["result"] is not True] == [], errors
        assert any(one["changes"] for one in states.values()) is changed
    home, _ = salt_ssh("user.info", "alice")
    assert home["name"] == "alice"
