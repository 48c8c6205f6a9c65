"""
What a fake minion answers: as its group was told, as a real minion was recorded, or as any minion does.

A function that nobody knows is refused in the words of a real minion.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saltext_logilab.errors import LogilabError
from saltext_logilab.swarm import highstate
from saltext_logilab.swarm.behaviour import Answer, Group
from saltext_logilab.swarm.minions import FakeMinion
from saltext_logilab.swarm.recipes import Scene

MISSING = 254  # what a real minion returns for a function that it has not
FAILURE = "ERROR: this minion fails as its specification says"


@dataclass(frozen=True)
class Call:
    """A function that a minion is to run: ``chance`` gives the draws of this very job."""

    fun: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    jid: str
    chance: Callable[[str], float]


@dataclass(frozen=True)
class Outcome:
    """What a function has given; ``out`` names the outputter that fits, if any."""

    value: Any
    retcode: int = 0
    out: str = ""


def arguments(given: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Split what a publication holds as ``arg`` into positional and keyword arguments."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for one in given if isinstance(given, (list, tuple)) else ():
        if isinstance(one, dict) and one.get("__kwarg__"):
            kwargs.update({key: value for key, value in one.items() if key != "__kwarg__"})
        else:
            args.append(one)
    return tuple(args), kwargs


def answer(minion: FakeMinion, call: Call, running: Callable[[], Sequence[dict[str, Any]]]) -> Outcome:
    """
    Return the answer of ``minion`` to ``call``.

    :param running: gives the jobs that this minion is at.
    """
    group = minion.group
    told = _telling(group.answers.get(call.fun))
    if told or call.fun in group.recorded:
        return _told(minion, call, told) if told else _recorded(group, call)
    if call.fun in highstate.FUNCTIONS:
        return _state_run(minion, call)
    if call.fun in ("saltutil.find_job", "saltutil.running"):
        return _jobs(call, running())
    if call.fun in _BUILTIN:
        return _run(minion, call)
    anything = _telling(group.answers.get("*"))
    return _told(minion, call, anything) if anything else _missing(call)


def is_told(group: Group, fun: str) -> bool:
    """Say whether the specification says what ``fun`` answers."""
    return fun in group.recorded or _telling(group.answers.get(fun)) is not None


def misused(call: Call, err: TypeError) -> Outcome:
    """Return the answer to a call whose arguments do not fit."""
    return Outcome(f"Passed invalid arguments to {call.fun}: {err}", 1)


def failure(call: Call) -> Outcome:
    """Return the answer of a minion that fails at ``call``."""
    if call.fun in highstate.FUNCTIONS:
        return Outcome([FAILURE], 1, "highstate")
    return Outcome(FAILURE, 1)


def _missing(call: Call) -> Outcome:
    return Outcome(f"'{call.fun}' is not available.", MISSING, "nested")


def _telling(told: Answer | None) -> Answer | None:
    """Return ``told`` when it says what to answer, and not only how late."""
    return told if told and (told.recipe or told.call) else None


def _jobs(call: Call, running: Sequence[dict[str, Any]]) -> Outcome:
    if call.fun == "saltutil.running":
        return Outcome(list(running))
    found = [job for job in running if call.args and job["jid"] == str(call.args[0])]
    return Outcome(found[0] if found else {})


def _scene(minion: FakeMinion, call: Call) -> Scene:
    names = {"fun": call.fun, "args": list(call.args), "kwargs": dict(call.kwargs), "jid": call.jid}
    return minion.scene(call.chance, **names, grains=minion.grains)


def _told(minion: FakeMinion, call: Call, told: Answer) -> Outcome:
    try:
        if told.call:
            return Outcome(told.call(minion, *call.args, **call.kwargs), told.retcode)
        assert told.recipe
        return Outcome(told.recipe.make(_scene(minion, call)), told.retcode)
    except LogilabError as err:
        return Outcome(f"ERROR: {err}", 1)
    except Exception as err:  # noqa: BLE001  # a user's function may raise anything: so does a real module
        return Outcome(f"The minion function caused an exception: {type(err).__name__}: {err}", 1)


def _recorded(group: Group, call: Call) -> Outcome:
    known = group.recorded[call.fun]
    given = [*call.args, *([dict(call.kwargs)] if call.kwargs else [])]
    found = next((one for one in known if list(one.args) == given), known[0])
    return Outcome(found.value, found.retcode, "highstate" if call.fun in highstate.FUNCTIONS else "")


def _state_run(minion: FakeMinion, call: Call) -> Outcome:
    named = call.args[0] if call.args else call.kwargs.get("mods", "")
    sls = named if isinstance(named, list) else [part for part in str(named).split(",") if part]
    test = call.fun == "state.test" or call.kwargs.get("test") is True
    value, retcode = highstate.run(minion.group.states, call.chance, sls, test=test, now=time.time())
    return Outcome(value, retcode, "highstate")


def _run(minion: FakeMinion, call: Call) -> Outcome:
    try:
        return Outcome(_BUILTIN[call.fun](minion, *call.args, **call.kwargs))
    except TypeError as err:
        return misused(call, err)


def _get(data: Mapping[str, Any], key: str, default: Any = "", delimiter: str = ":") -> Any:
    value: Any = data
    for part in str(key).split(delimiter):
        if not isinstance(value, Mapping) or part not in value:
            return default
        value = value[part]
    return value


def _all_grains(minion: FakeMinion, sanitize: bool = False) -> dict[str, Any]:  # noqa: ARG001  # as grains.items takes it
    return dict(minion.grains)


_BUILTIN: dict[str, Callable[..., Any]] = {
    "test.ping": lambda _minion: True,
    "test.true": lambda _minion: True,
    "test.false": lambda _minion: False,
    "test.version": lambda minion: minion.version,
    "test.echo": lambda _minion, text: text,
    "test.sleep": lambda _minion, _length: True,
    "test.arg": lambda _minion, *args, **kwargs: {"args": list(args), "kwargs": kwargs},
    "test.get_opts": lambda minion: {"id": minion.id},
    "grains.items": _all_grains,
    "grains.ls": lambda minion: sorted(minion.grains),
    "grains.get": lambda minion, key, default="", **_rest: _get(minion.grains, key, default),
    "grains.item": lambda minion, *keys: {key: _get(minion.grains, key) for key in keys},
    "grains.has_value": lambda minion, key: bool(_get(minion.grains, key)),
    "pillar.items": lambda minion, **_rest: dict(minion.pillar),
    "pillar.get": lambda minion, key, default="", **_rest: _get(minion.pillar, key, default),
    "pillar.item": lambda minion, *keys: {key: _get(minion.pillar, key) for key in keys},
    "pillar.ls": lambda minion: sorted(minion.pillar),
    "config.get": lambda minion, key, default="", **_rest: _get({"id": minion.id, **minion.grains}, key, default),
    **{
        f"saltutil.{name}": lambda _minion, *_args, **_kwargs: True
        for name in ("refresh_grains", "refresh_modules", "refresh_beacons", "clear_cache", "revoke_auth", "is_running")
    },
    **{
        f"saltutil.sync_{name}": lambda _minion, *_args, **_kwargs: []
        for name in ("modules", "states", "grains", "renderers", "returners", "beacons", "engines", "pillar", "utils")
    },
    "saltutil.sync_all": lambda _minion, *_args, **_kwargs: {
        name: [] for name in ("beacons", "engines", "grains", "modules", "renderers", "returners", "states", "utils")
    },
}
