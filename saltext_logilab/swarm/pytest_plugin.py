"""
The pytest plugin: ``fake_minions`` gives a project's tests as many minions as they like, beside pytest-salt-factories.

>>> def test_my_runner(salt_master, fake_minions):
...     swarm = fake_minions(salt_master, 1000, grains={"os": {"choices": {"Debian": 70, "Ubuntu": 30}}})
...     assert len(salt_master.salt_cli().run("test.ping", minion_tgt="*").data) == 1000
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # the swarm itself is imported by who asks for it: every pytest run loads this file
    from saltext_logilab.swarm.background import Background

OF_ALL = ("seed", "connections", "type", "reauth_delay", "ping_interval", "retry")  # keys beside "groups"
FakeMinions = Callable[..., "Background"]


def _make(stack: ExitStack) -> FakeMinions:
    def fake_minions(master: object = None, count: int | None = None, **options: Any) -> Background:
        """
        Start fake minions and wait until they have joined.

        :param master: a master of pytest-salt-factories, an address, or a list of either (hot-hot).
        :param count: how many minions of one group; all other keys of a group may be given too, such as ``grains``.
        :param spec: instead, a whole specification: plain data or the path of a file.
        :param timeout: how many seconds to wait until all have joined (60); 0 does not wait.
        :param accept: have the keys accepted by masters of pytest-salt-factories, as long as the minions are there
            (True): it runs a ``salt-key`` for each by itself, which takes a second.
        """
        from saltext_logilab.swarm.background import Background  # noqa: PLC0415

        timeout, accept = options.pop("timeout", 60), options.pop("accept", True)
        spec = _spec(count, options)
        masters = [one for one in (master if isinstance(master, (list, tuple)) else [master]) if one]
        swarm = Background(spec, [_address(one) for one in masters])
        for one in masters if accept else ():
            if not isinstance(one, str):
                stack.enter_context(_accepted(one, swarm))
        stack.enter_context(swarm)
        if timeout:
            swarm.ready(timeout)
        return swarm

    return fake_minions


@contextmanager
def _accepted(master: Any, swarm: Background) -> Iterator[None]:
    """Let ``master`` accept the keys of all minions, but for ids of which it has one; take them away at the end."""
    from pathlib import Path  # noqa: PLC0415

    from saltext_logilab.swarm.keys import Pool  # noqa: PLC0415

    folder = Path(master.config["pki_dir"]) / "minions"
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    try:
        with closing(Pool()) as pool:
            pool.ensure({minion.key_number for minion in swarm.swarm.minions})
            for minion in swarm.swarm.minions:
                path = folder / minion.id
                if not path.exists():
                    made.append(path)
                    path.write_text(pool.pair(minion.key_number).public, encoding="ascii")
        yield
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def _spec(count: int | None, options: dict[str, Any]) -> Any:
    from pathlib import Path  # noqa: PLC0415

    from saltext_logilab.swarm import spec  # noqa: PLC0415

    given = options.pop("spec", None)
    if isinstance(given, (str, Path)):
        return spec.load(Path(given))
    if given is not None:
        return spec.from_data(given)
    whole: dict[str, Any] = {key: options.pop(key) for key in OF_ALL if key in options}
    return spec.from_data({**whole, "groups": {"fake": {"count": 1 if count is None else count, **options}}})


def _address(master: Any) -> str:
    """Return the address of ``master``: a text, or a daemon of pytest-salt-factories."""
    if isinstance(master, str):
        return master
    host, port = str(master.config["interface"]), master.config["ret_port"]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # it is compared, not bound
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@pytest.fixture
def fake_minions() -> Iterator[FakeMinions]:
    """Give ``fake_minions(master, count, **group)``, which starts fake minions that end with the test."""
    with ExitStack() as stack:
        yield _make(stack)


@pytest.fixture(scope="module")
def module_fake_minions() -> Iterator[FakeMinions]:
    """Give the same as ``fake_minions``, for minions that all tests of a module share."""
    with ExitStack() as stack:
        yield _make(stack)
