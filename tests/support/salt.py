"""
Salt itself: its loaders without daemons, and real masters and minions on 127.0.0.1 with ports that the kernel chose.

Each of them has a root directory of this session, so that nothing is shared with another run or project; the extension
comes in by its entry points, as for a user.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest
import salt._logging
import salt.config
import salt.loader
from saltfactories.cli.key import SaltKey
from saltfactories.cli.run import SaltRun
from saltfactories.cli.salt import Salt
from saltfactories.daemons.master import SaltMaster
from saltfactories.daemons.minion import SaltMinion
from saltfactories.manager import FactoriesManager
from saltfactories.utils import random_string
from saltfactories.utils.functional import Loaders

from tests.support.roots import new_root

REPOSITORY = Path(__file__).parents[2]
START_TIMEOUT = 120
salt._logging.shutdown_temp_handler()  # else it writes at exit into the stream that pytest has closed
QUICK = {"enable_fqdns_grains": False}


def measuring() -> bool:
    """Whether coverage is on in this process, or asked of its children."""
    return coverage.Coverage.current() is not None or "COVERAGE_PROCESS_START" in os.environ


def coverage_settings(on: bool) -> dict[str, Any]:
    """Return what salt-factories has to know so that daemons are measured, or are not."""
    return {
        "coverage_db_path": REPOSITORY / ".coverage" if on else None,
        "coverage_rc_path": REPOSITORY / "pyproject.toml" if on else None,
        "inject_sitecustomize": on,
    }


@pytest.fixture(scope="session")
def salt_factories_config(daemon_root: Path) -> dict[str, Any]:
    """Settings of salt-factories: a root of this session alone (it shares scripts between all runs by default)."""
    return {
        "code_dir": REPOSITORY,
        "root_dir": new_root(daemon_root, "salt"),
        "start_timeout": START_TIMEOUT,
        "slow_stop": measuring(),  # coverage data are written at a slow stop
        **coverage_settings(measuring()),
    }


@pytest.fixture(scope="session")
def new_master(salt_factories: FactoriesManager) -> Callable[..., SaltMaster]:
    """Return a maker of masters that are not started: ``new_master({"logilab": …})``; start by ``.started()``."""

    def make(overrides: dict[str, Any] | None = None, **options: Any) -> SaltMaster:
        settings = {**QUICK, "worker_threads": 3, **(overrides or {})}
        return salt_factories.salt_master_daemon(
            random_string("master-", uppercase=False), overrides=settings, **options
        )

    return make


@pytest.fixture(scope="session")
def new_minion(salt_factories: FactoriesManager) -> Callable[..., SaltMinion]:
    """
    Return a maker of minions that are not started.

    ``new_minion(master)`` makes a minion of one master; for several give ``overrides={"master": [...]}``. A master of
    salt-factories accepts its minions' keys by itself.
    """

    def make(master: SaltMaster | None = None, overrides: dict[str, Any] | None = None, **options: Any) -> SaltMinion:
        settings = {**QUICK, **(overrides or {})}
        name = random_string("minion-", uppercase=False)
        if master is None:
            return salt_factories.salt_minion_daemon(name, overrides=settings, **options)
        return master.salt_minion_daemon(name, overrides=settings, **options)

    return make


@pytest.fixture(scope="session")
def master(new_master: Callable[..., SaltMaster]) -> Iterator[SaltMaster]:
    """One running master for the session."""
    daemon = new_master()
    with daemon.started():
        yield daemon


@pytest.fixture(scope="session")
def minion(master: SaltMaster, new_minion: Callable[..., SaltMinion]) -> Iterator[SaltMinion]:
    """One running minion of :func:`master` for the session; its key is accepted."""
    daemon = new_minion(master)
    with daemon.started():
        yield daemon


@pytest.fixture(scope="session")
def salt_cli(master: SaltMaster) -> Salt:
    """``salt`` on the master: ``salt_cli.run("test.ping", minion_tgt=minion.id).data``."""
    return master.salt_cli(timeout=120)


@pytest.fixture(scope="session")
def salt_run_cli(master: SaltMaster) -> SaltRun:
    """``salt-run`` on the master: ``salt_run_cli.run("manage.up").data``."""
    return master.salt_run_cli(timeout=120)


@pytest.fixture(scope="session")
def salt_key_cli(master: SaltMaster) -> SaltKey:
    """``salt-key`` on the master."""
    return master.salt_key_cli()


@pytest.fixture(scope="session")
def new_minion_opts(daemon_root: Path) -> Callable[..., dict[str, Any]]:
    """Return a maker of a masterless minion's options, with a root, a state tree and a pillar of its own."""

    def make(overrides: dict[str, Any] | None = None) -> dict[str, Any]:
        root = new_root(daemon_root, "opts")
        settings = {**_private(root, "minion"), "file_client": "local", **(overrides or {})}
        return salt.config.apply_minion_config(settings, copy.deepcopy(salt.config.DEFAULT_MINION_OPTS))

    return make


@pytest.fixture(scope="session")
def new_master_opts(daemon_root: Path) -> Callable[..., dict[str, Any]]:
    """Return a maker of a master's options, with a root, a state tree and a pillar of its own; no master runs."""

    def make(overrides: dict[str, Any] | None = None) -> dict[str, Any]:
        root = new_root(daemon_root, "opts")
        settings = {**_private(root, "master"), **(overrides or {})}
        return salt.config.apply_master_config(settings, copy.deepcopy(salt.config.DEFAULT_MASTER_OPTS))

    return make


def _private(root: Path, role: str) -> dict[str, Any]:
    """Return options that keep everything below ``root``."""
    trees = {"file_roots": root / "srv/salt", "pillar_roots": root / "srv/pillar"}
    for tree in trees.values():
        tree.mkdir(parents=True)
    (root / "etc/salt").mkdir(parents=True)
    return {
        **QUICK,
        "id": random_string(f"{role}-", uppercase=False),
        "root_dir": str(root),
        "conf_file": str(root / "etc/salt" / role),
        **{name: {"base": [str(tree)]} for name, tree in trees.items()},
    }


@pytest.fixture(scope="session")
def new_loaders(new_minion_opts: Callable[..., dict[str, Any]]) -> Callable[..., Loaders]:
    """Return a maker of loaders with options of their own: ``new_loaders({"logilab": …}).modules.test.ping()``."""
    return lambda overrides=None: Loaders(new_minion_opts(overrides))


@pytest.fixture(scope="session")
def session_loaders(new_loaders: Callable[..., Loaders]) -> Loaders:
    """The loaders behind :func:`loaders`."""
    return new_loaders()


@pytest.fixture
def loaders(session_loaders: Loaders) -> Iterator[Loaders]:
    """Salt's loaders of a masterless minion: ``loaders.modules``, ``loaders.states``; context and cache reset after."""
    yield session_loaders
    session_loaders.reset_state()


@pytest.fixture(scope="session")
def new_runners(new_master_opts: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """Return a maker of the runners of a master that does not run: ``new_runners({"logilab": …})["doc.runner"]()``."""
    return lambda overrides=None: salt.loader.runner(new_master_opts(overrides))
