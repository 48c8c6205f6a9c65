"""The pytest fixture, beside the daemons of pytest-salt-factories; run for each version of Salt."""

import asyncio
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.swarm import cleaning, pytest_plugin, spec
from saltext_logilab.swarm.keys import Pool
from saltext_logilab.swarm.swarm import Swarm

pytestmark = pytest.mark.matrix


def test_fake_minions_beside_a_real_one(master: Any, minion: Any, salt_cli: Any, fake_minions: Any) -> None:
    """One command reaches the real minion and all fake ones, and targets tell them apart."""
    swarm = fake_minions(master, 20, grains={"os": "Debian", "number": "{{ index }}"}, answers={"cmd.run": "{{ id }}"})
    answers = salt_cli.run("test.ping", minion_tgt="*").data
    assert answers == {minion.id: True, **dict.fromkeys(swarm.ids, True)}
    assert salt_cli.run("cmd.run", "x", minion_tgt="fake3").data == "fake3"
    found = salt_cli.run("-C", "test.ping", minion_tgt="G@number:7 or fake1?").data
    assert set(found) >= {"fake7", *(f"fake1{number}" for number in range(10))}
    assert swarm.counts.lost == 0


def test_own_keys_mine_pillar_and_restart_of_the_protocol(master: Any, salt_run_cli: Any, fake_minions: Any) -> None:
    """Own keys sign in, the pillar is asked for, the mine is filled, and all of it cleaned: with each Salt."""
    swarm = fake_minions(
        master, 3, id="own{{ index }}", key="own", ask_pillar=True, mine={"functions": {"grains.get": ["id"]}}
    )
    assert swarm.counts.pillars == 3
    mined = salt_run_cli.run("mine.get", "own*", "grains.get").data
    assert mined == {one: one for one in swarm.ids}
    swarm.stop()
    with closing(Pool()) as pool:
        cleaned = cleaning.clean(master.config, pool)
    assert cleaned.minions == tuple(swarm.ids)
    assert salt_run_cli.run("mine.get", "own*", "grains.get").data == {}
    assert [path for path in Path(master.config["cachedir"]).rglob("*own[0-2]*") if "jobs" not in path.parts] == []
    assert not list(Path(master.config["pki_dir"]).rglob("own[0-2]"))


def test_hundreds_come_at_once_and_leave_no_key(master: Any, salt_cli: Any) -> None:
    """A master of pytest-salt-factories accepts a key a second; these come with their minions, and go with them."""
    keys = Path(master.config["pki_dir"]) / "minions"
    before = sorted(path.name for path in keys.iterdir())
    with ExitStack() as stack:
        swarm = pytest_plugin._make(stack)(master, 200, id="many{{ index }}")
        assert len(salt_cli.run("test.ping", minion_tgt="many*").data) == 200
        assert (swarm.counts.refusals, swarm.counts.lost) == (0, 0)
    assert sorted(path.name for path in keys.iterdir()) == before


def test_a_swarm_is_an_async_context_manager(master: Any, salt_cli: Any) -> None:
    """A program that is asynchronous uses the swarm itself."""

    async def main() -> dict[str, Any]:
        made = spec.from_data({"groups": {"direct": {"count": 5}}})
        async with Swarm(made, [f"127.0.0.1:{master.config['ret_port']}"]) as swarm:
            await swarm.ready(180)  # each key is accepted by a salt-key
            done = await asyncio.to_thread(salt_cli.run, "test.ping", minion_tgt="direct*")
            assert swarm.counts.answered == 5
            return dict(done.data)

    assert asyncio.run(main()) == {f"direct{number}": True for number in range(5)}
