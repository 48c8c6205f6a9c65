"""The jobs of all members: what each tells in bounded answers, and what the answers say together."""

import asyncio
from typing import Any

import msgpack
import pytest

from saltext_logilab.errors import UnavailableError, WireError
from saltext_logilab.masters.jobs import fleet
from saltext_logilab.masters.jobs.desk import ANSWER_SIZE, COUNT_LIMIT, Desk
from saltext_logilab.masters.jobs.fleet import Fleet

JID, LATER = "20250101120000000001", "20250101120000000002"


class Cache:
    """A job cache in memory, packed as a master's is."""

    def __init__(self, jobs: dict[str, Any], returns: dict[str, Any] | None = None) -> None:
        self.jobs = {jid: msgpack.packb(job) for jid, job in jobs.items()}
        self.returns = {minion: msgpack.packb(told) for minion, told in (returns or {}).items()}

    def newest(self, count: int) -> dict[str, bytes]:
        """Give the newest."""
        return {jid: self.jobs[jid] for jid in sorted(self.jobs, reverse=True)[:count]}

    def job(self, jid: str) -> tuple[bytes, dict[str, bytes]]:
        """Give one; all returns are of it."""
        return self.jobs.get(jid, b""), self.returns

    def running(self) -> dict[str, bytes]:
        """Give all."""
        return self.jobs


class Others:
    """The other members, by name; None is one that does not answer."""

    def __init__(self, **caches: Cache | None) -> None:
        self.caches = caches

    def names(self) -> dict[str, bytes]:
        """Name them."""
        return {name: name.encode() for name in self.caches}

    async def ask(self, short: bytes, what: str, about: Any, timeout: float) -> Any:
        """Let the member's own desk answer."""
        assert timeout > 0
        cache = self.caches[short.decode()]
        if cache is None:
            raise UnavailableError("it is not connected")
        desk = Desk(cache)
        return await {"jobs": desk.newest, "job": desk.job, "active": desk.running}[what](b"", about)


def entry(function: str, **more: Any) -> dict[str, Any]:
    """Return a job as a member tells it."""
    return {"Function": function, **more}


def told(command: str, *about: Any, here: Cache, **others: Cache | None) -> dict[str, Any]:
    """Return what the members answer to ``command`` of one called paris."""
    return asyncio.run(getattr(Fleet("paris", Desk(here), Others(**others)), command)(*about))


def test_the_jobs_of_all_are_listed_the_newest_first_and_who_is_down_is_named() -> None:
    """Each says which master has started it."""
    found = told("jobs", 10, here=Cache({JID: entry("a.b")}), nantes=Cache({LATER: entry("c.d")}), lyon=None)
    assert fleet.listed(found, msgpack.unpackb) == {
        "masters": {"paris": {"jobs": 1}, "nantes": {"jobs": 1}, "lyon": {"error": "it is not connected"}},
        "jobs": {LATER: {"Master": "nantes", "Function": "c.d"}, JID: {"Master": "paris", "Function": "a.b"}},
    }


def test_a_job_of_a_shared_cache_is_told_once_and_of_its_master() -> None:
    """The entry names it, whoever tells the entry."""
    shared = Cache({JID: entry("a.b", Master="nantes")})
    found = fleet.listed(told("jobs", 10, here=shared, nantes=shared), msgpack.unpackb)
    assert found["jobs"] == {JID: {"Master": "nantes", "Function": "a.b"}}


def test_a_running_job_is_of_the_master_in_whose_cache_it_is() -> None:
    """A hot-hot minion tells it to every master; minions of one master only are added."""
    here = Cache({JID: entry("a.b", Here=False, Running=[{"m1": 7}], Returned=[])})
    there = Cache({JID: entry("a.b", Here=True, Running=[{"m1": 7}, {"m2": 8}], Returned=["m3"])})
    found = fleet.listed(told("active", here=here, nantes=there), msgpack.unpackb)
    assert found["jobs"][JID] == {
        "Master": "nantes",
        "Function": "a.b",
        "Running": [{"m1": 7}, {"m2": 8}],
        "Returned": ["m3"],
    }


def test_a_list_that_is_too_long_for_an_answer_is_cut_and_says_so() -> None:
    """The newest stay."""
    many = Cache({f"{number:020}": entry("x" * 1000) for number in range(1000)})
    found = fleet.listed(told("jobs", COUNT_LIMIT, here=many), msgpack.unpackb)
    kept = found["masters"]["paris"]
    assert kept["jobs"] + kept["left_out"] == 1000
    assert kept["left_out"] > 0
    assert next(iter(found["jobs"])) == f"{999:020}"


def test_a_job_with_many_returns_comes_whole_in_many_answers() -> None:
    """Each answer fits into a message."""
    returns = {f"m{number:04}": "x" * 2000 for number in range(1000)}
    there = Cache({JID: entry("a.b")}, returns)
    first = asyncio.run(Desk(there).job(b"", [JID, ""]))
    assert first["more"]
    assert len(msgpack.packb(first)) <= ANSWER_SIZE + 2 * 2100
    found = fleet.job(told("job", JID, here=Cache({}), nantes=there), JID, msgpack.unpackb)
    assert found == {"jid": JID, "Master": "nantes", "Function": "a.b", "Result": returns}


def test_a_return_that_fits_into_no_answer_says_where_it_is() -> None:
    """The others come all the same."""
    there = Cache({JID: entry("a.b")}, {"m1": "x" * (ANSWER_SIZE + 1), "m2": 2})
    found = fleet.job(told("job", JID, here=Cache({}), nantes=there), JID, msgpack.unpackb)
    assert f"salt-run jobs.lookup_jid {JID} on nantes" in found["Result"]["m1"]["error"]
    assert found["Result"]["m2"] == 2


def test_returns_of_several_masters_are_told_together() -> None:
    """A minion may have answered a master that has not published the job."""
    here, there = Cache({JID: entry("a.b")}, {"m1": 1}), Cache({}, {"m2": 2})
    found = fleet.job(told("job", JID, here=here, nantes=there, lyon=None), JID, msgpack.unpackb)
    assert found["Result"] == {"m1": 1, "m2": 2}
    assert found["Master"] == "paris"
    assert found["masters"] == {"lyon": {"error": "it is not connected"}}


def test_a_job_that_nobody_knows_is_an_error_that_names_who_was_not_heard() -> None:
    """It may be known there."""
    with pytest.raises(UnavailableError, match=rf"knows the job {JID}; nantes: it is not connected"):
        fleet.job(told("job", JID, here=Cache({}), nantes=None), JID, msgpack.unpackb)


@pytest.mark.parametrize("about", [0, -1, COUNT_LIMIT + 1, "5", None, True, 1.5])
def test_a_number_of_jobs_that_is_none_is_refused(about: Any) -> None:
    """Whoever asks."""
    with pytest.raises(WireError, match="number of jobs"):
        asyncio.run(Desk(Cache({})).newest(b"", about))


@pytest.mark.parametrize("about", [None, [], ["x"], ["../../etc", ""], ["a" * 65, ""], [JID, 5], [5, ""], ["", ""]])
def test_a_job_id_that_is_none_is_refused(about: Any) -> None:
    """It would become part of a path."""
    with pytest.raises(WireError, match="no job id"):
        asyncio.run(Desk(Cache({})).job(b"", about))


def test_a_master_without_a_job_cache_says_so() -> None:
    """It is an error of that member, in a sentence."""
    found = asyncio.run(Fleet("paris", Desk(None), Others()).jobs(5))
    assert found == {"paris": {"error": "this master has no job cache that can be asked"}}
