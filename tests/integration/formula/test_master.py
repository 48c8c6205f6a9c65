"""A real master serves the formulas, and a real minion renders them with the pillar that the master compiles."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from saltfactories.daemons.master import SaltMaster
from saltfactories.daemons.minion import SaltMinion

from saltext_logilab.formula.packaged import example_pillars
from tests.support.formulas import BACKENDS


@pytest.fixture(scope="module")
def master(new_master: Callable[..., SaltMaster], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SaltMaster]:
    """A master with the backend, whose pillar is the example of "users" for everyone."""
    pillar = tmp_path_factory.mktemp("pillar")
    shutil.copy(example_pillars() / "users.sls", pillar)
    (pillar / "top.sls").write_text("base: {'*': [users]}\n")
    roots = {"pillar_roots": {"base": [str(pillar)]}}
    daemon = new_master({**BACKENDS, **roots})
    with daemon.started():
        yield daemon


def test_a_minion_gets_formulas_from_its_master(master: SaltMaster, new_minion: Callable[..., SaltMinion]) -> None:
    """The states come over the wire; a wrong pillar is told by the minion, and before by the master's runner."""
    minion = new_minion(master)
    with minion.started():
        salt, run = master.salt_cli(timeout=120), master.salt_run_cli(timeout=120)
        synced = salt.run("saltutil.sync_all", minion_tgt=minion.id).data
        assert "modules.formula" in synced["modules"]
        assert "utils.logilab_schemas.validator" in synced["utils"]
        states = salt.run("state.show_sls", "users", minion_tgt=minion.id).data
        assert "users_user_alice" in states
        checked = run.run("formula.validate", minion.id)
        assert checked.data == {"ok": True, "minions": 1, "problems": {}}

        (Path(master.config["pillar_roots"]["base"][0]) / "users.sls").write_text("users: {user: {}}\n")
        problem = "users:user is not a known key (did you mean 'users'?); its value is {}"
        checked = run.run("formula.validate", minion.id)
        assert (checked.returncode, checked.data["problems"]) == (1, {minion.id: [problem]})
        told = salt.run("state.apply", "users", minion_tgt=minion.id)
        assert told.returncode == 1
        assert problem in told.data[0]
