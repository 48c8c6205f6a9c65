"""A machine whose Salt has nothing of this package: formulas as a plain folder, and what Salt syncs out of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.containers import EXTENSION, SALT, SystemdContainer
from tests.support.formulas import FormulaHost, example

pytestmark = pytest.mark.soak  # half a minute: `make test` has it without a machine of its own

ROOTS = f"file_roots: {{base: [{EXTENSION}/saltext_logilab/formula/formulas]}}\nfileserver_backend: [roots]\n"


def call(machine: SystemdContainer, *arguments: str) -> Any:
    """Return what salt-call answers without the package on its path."""
    command = (f"{SALT}/bin/salt-call", "--local", "--out=json", "--log-level=error", *arguments)
    done = machine.exec(*command, check=False, env={"PYTHONWARNINGS": "ignore"})
    return json.loads(done.output[done.output.index('{\n    "local"') :])["local"]


def test_a_formula_needs_only_what_salt_syncs(formula_host: Callable[..., FormulaHost]) -> None:
    """Before the sync the function is missing; after it states are applied, and a stale copy is named."""
    host = formula_host({"users": example("users")})
    machine = host.machine
    configuration = machine.exec("cat", "/etc/salt/minion").output
    own = [line for line in configuration.splitlines() if not line.startswith(("file_roots", "fileserver_backend"))]
    machine.write("/etc/salt/minion", "\n".join(own) + f"\n{ROOTS}")
    assert machine.exec(f"{SALT}/bin/python", "-c", "import saltext_logilab", check=False).code != 0
    assert "formula.data" in str(call(machine, "state.apply", "users"))

    synced = call(machine, "saltutil.sync_all")
    assert synced["modules"] == ["modules.formula"]
    for changed in (True, False):
        states = call(machine, "state.apply", "users")
        assert [one["comment"] for one in states.values() if one["result"] is not True] == []
        assert any(one["changes"] for one in states.values()) is changed
    assert machine.exec("id", "-u", "alice").output == "2001\n"

    core = "/var/cache/salt/minion/extmods/utils/logilab_schemas/validator.py"
    machine.exec("sh", "-c", f"echo '# older' >> {core}")
    (told,) = call(machine, "state.apply", "users")
    assert f"{core} is not the one" in told
