"""How minions come to a master that is there again."""

import asyncio
from pathlib import Path

from saltext_logilab.swarm import minions, spec
from saltext_logilab.swarm.engine import Engine
from saltext_logilab.swarm.joining import Joining
from saltext_logilab.swarm.keys import SHARED, Pool
from saltext_logilab.swarm.seats import Master, State


def test_a_master_that_is_back_is_asked_at_once(tmp_path: Path) -> None:
    """Who could not reach it does not wait until its back-off ends, and nothing says any more that it is away."""
    made = spec.from_data({"retry": 600, "retry_max": 600, "groups": {"web": {"count": 3}}})
    pool = Pool(tmp_path)
    pool.ensure([SHARED])

    async def main() -> set[State]:
        master = Master("127.0.0.1:1", "127.0.0.1", 1)
        engine = Engine(made, minions.cast(made), [master], pool)
        joining = Joining(engine, lambda _seat, _publication: None, lambda _seat: None)
        for minion in engine.minions:
            joining.begin(minion)
        joining._missing(master, "nobody listens", 1)
        assert [problem.text for problem in master.problems()] == ["nobody listens"] * 3
        joining._arrived(master)
        assert list(master.problems()) == []
        for _ in range(500):
            await asyncio.sleep(0.01)
            if master.tally[State.ASKING] == 3:
                break
        engine.close()
        return {seat.state for seat in master.seats.values()}

    assert asyncio.run(main()) == {State.ASKING}
    pool.close()
