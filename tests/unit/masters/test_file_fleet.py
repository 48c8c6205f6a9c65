"""The files of all members: what each tells in bounded answers, and where they differ."""

import asyncio
from typing import Any

import pytest

from saltext_logilab.errors import UnavailableError, WireError
from saltext_logilab.masters.files.desk import ANSWER_SIZE, Desk
from saltext_logilab.masters.files.fleet import SHOWN, Fleet

Trees = dict[str, dict[str, bytes]]


class Served:
    """Files in memory."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self.refreshed = 0

    def trees(self) -> Trees:
        """Give all."""
        return self._trees

    def refresh(self) -> None:
        """Count."""
        self.refreshed += 1


class Others:
    """The other members, by name; None is one that does not answer."""

    def __init__(self, **sources: Served | None) -> None:
        self._desks = {name: Desk(source) if source else None for name, source in sources.items()}

    def names(self) -> dict[str, bytes]:
        """Name them."""
        return {name: name.encode() for name in self._desks}

    async def ask(self, short: bytes, what: str, about: Any, timeout: float) -> Any:
        """Let the member's own desk answer."""
        assert timeout > 0
        desk = self._desks[short.decode()]
        if desk is None:
            raise UnavailableError("it is not connected")
        return await {"files": desk.digests, "paths": desk.paths, "refresh": desk.refresh}[what](b"", about)


def compare(own: Trees, **others: Served | None) -> Any:
    """Return what the member paris tells, which serves ``own``."""
    return asyncio.run(Fleet("paris", Desk(Served(own)), Others(**others)).files())


def test_equal_files_are_the_same() -> None:
    """The order of files does not matter; one that does not answer is named, and makes nothing different."""
    told = compare(
        {"files base": {"a": b"1", "b": b"2"}}, nantes=Served({"files base": {"b": b"2", "a": b"1"}}), lyon=None
    )
    assert told["trees"]["files base"]["same"] is True
    assert "paths" not in told["trees"]["files base"]
    assert told["masters"] == {
        "paris": {"files base": 2},
        "nantes": {"files base": 2},
        "lyon": {"error": "it is not connected"},
    }


def test_what_differs_is_named() -> None:
    """A changed file, one that is missing, and a whole environment that one master does not have."""
    nantes = Served({"files base": {"a": b"1", "b": b"3"}})
    told = compare({"files base": {"a": b"1", "b": b"2", "c": b"4"}, "files dev": {"d": b"5"}}, nantes=nantes)
    base, dev = told["trees"]["files base"], told["trees"]["files dev"]
    assert (base["same"], dev["same"]) == (False, False)
    assert base["paths"] == {"b": {"paris": "32", "nantes": "33"}, "c": {"paris": "34", "nantes": ""}}
    assert dev["paths"] == {"d": {"paris": "35", "nantes": ""}}


def test_many_paths_come_in_parts() -> None:
    """More than one answer takes: nothing is lost, and no more than some are shown."""
    many = {f"{number:06}{'x' * 200}": b"12345678" for number in range(3 * ANSWER_SIZE // 200)}
    told = compare({"files base": {}}, nantes=Served({"files base": many}))
    base = told["trees"]["files base"]
    assert len(base["paths"]) == SHOWN
    assert base["left_out"] == len(many) - SHOWN


def test_all_refresh() -> None:
    """Each member looks anew; who does not answer is named."""
    own, nantes = Served({}), Served({})
    told = asyncio.run(Fleet("paris", Desk(own), Others(nantes=nantes, lyon=None)).refresh())
    assert told == {"paris": True, "nantes": True, "lyon": "it is not connected"}
    assert (own.refreshed, nantes.refreshed) == (1, 1)


@pytest.mark.parametrize("about", [None, "files base", ["files base"], [1, ""], ["files base", b""]], ids=str)
def test_malformed_questions_are_refused(about: Any) -> None:
    """Whatever a member asks for."""
    with pytest.raises(WireError, match="malformed"):
        asyncio.run(Desk(Served({})).paths(b"", about))
