"""
From a specification, in YAML or as plain data, to :class:`~saltext_logilab.swarm.behaviour.Spec`.

Whatever is unknown, ill-typed or impossible is refused with its line and its value.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from saltext_logilab.errors import ConfigurationError, UnavailableError
from saltext_logilab.swarm import distributions, document, recipes
from saltext_logilab.swarm.behaviour import (
    NOW,
    Answer,
    Flapping,
    Group,
    Mine,
    Periodic,
    Recorded,
    Spec,
    Stage,
    States,
)
from saltext_logilab.swarm.distributions import Distribution
from saltext_logilab.swarm.document import Fields, Node
from saltext_logilab.swarm.recipes import Recipe
from saltext_logilab.swarm.seats import parse_address

KINDS = ("hot-hot", "failover")
CONNECTIONS = ("pooled", "per-minion")
MOST = 100_000
_NO_RECORDING: tuple[Mapping[str, tuple[Recorded, ...]], Mapping[str, Recipe]] = ({}, {})
_FINGERPRINT = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){15,63}")
_ANSWER = {"value", "template", "python", "retcode", "latency", "fail", "drop"}


def load(path: Path) -> Spec:
    """
    Read the specification in the file ``path``.

    :raises UnavailableError: it cannot be read.
    :raises ConfigurationError: something in it is wrong; the text names line and value.
    """
    return read(document.load(path), path.parent)


def from_data(data: object, folder: Path | None = None) -> Spec:
    """Read a specification given as plain data; files in it are below ``folder``; raises as :func:`load`."""
    return read(document.from_data(data), folder or Path.cwd())


def read(node: Node, folder: Path) -> Spec:
    """Read the document ``node``; files that it names are below ``folder``; raises as :func:`load`."""
    fields = node.fields()
    default = Spec(())
    spec = Spec(
        groups=fields.need("groups", lambda one: tuple(_group(name, below, folder) for name, below in one.entries())),
        seed=fields.take("seed", lambda one: one.whole(-(2**63), 2**63), default.seed),
        masters=fields.take("masters", _masters, default.masters),
        kind=fields.take("type", lambda one: one.one_of(KINDS), default.kind),
        connections=fields.take("connections", lambda one: one.one_of(CONNECTIONS), default.connections),
        sockets=fields.take("sockets", lambda one: one.whole(1, 1000), default.sockets),
        fingerprint=fields.take("master_finger", _fingerprint, default.fingerprint),
        sign_key=fields.take("master_sign_key", lambda one: _public_key(one, folder), default.sign_key),
        ping_interval=fields.take("ping_interval", Node.seconds, default.ping_interval),
        timeout=fields.take("timeout", _some_seconds, default.timeout),
        tries=fields.take("tries", lambda one: one.whole(1, 1000), default.tries),
        retry=fields.take("retry", _some_seconds, default.retry),
        retry_max=fields.take("retry_max", _some_seconds, default.retry_max),
        reauth_delay=fields.take("reauth_delay", Node.seconds, default.reauth_delay),
        alive_interval=fields.take("alive_interval", _some_seconds, default.alive_interval),
        failback_interval=fields.take("failback_interval", Node.seconds, default.failback_interval),
    )
    fields.done()
    if not spec.groups:
        node.refuse("groups: there has to be one at least")
    if spec.count > MOST:
        node.refuse(f"{spec.count} minions are too many for one swarm: {MOST} at most")
    return spec


def _group(name: str, node: Node, folder: Path) -> Group:
    fields = node.fields()
    recorded, grains = fields.take("recorded", lambda one: _recording(one, folder), _NO_RECORDING)
    group = Group(
        name=name,
        count=fields.take("count", lambda one: one.whole(0, MOST), 1),
        minion_id=fields.take("id", recipes.template, _default_id(name, node)),
        own_keys=fields.take("key", lambda one: one.one_of(("shared", "own")), "shared") == "own",
        version=fields.take("salt", recipes.recipe, None),
        grains={**grains, **fields.take("grains", _recipes, {})},
        pillar=fields.take("pillar", _recipes, None),
        ask_pillar=fields.take("ask_pillar", Node.flag, default=False),
        answers=fields.take("answers", lambda one: {fun: _answer(below, folder) for fun, below in one.entries()}, {}),
        recorded=recorded,
        latency=fields.take("latency", _distribution, NOW),
        fail=fields.take("fail", Node.rate, 0.0),
        drop=fields.take("drop", Node.rate, 0.0),
        states=fields.take("states", _states, States()),
        start=fields.take("start", _distribution, NOW),
        flapping=fields.take("flapping", _flapping, None),
        mine=fields.take("mine", _mine, None),
        beacons=fields.take("beacons", _beacons, ()),
        events=fields.take("events", _events, ()),
        start_event=fields.take("start_event", Node.flag, default=True),
    )
    fields.done()
    return group


def _default_id(name: str, node: Node) -> recipes.Template:
    return recipes.template(Node(f"{name}{{{{ index }}}}", node.source, node.line, node.path))


def _masters(node: Node) -> tuple[str, ...]:
    return tuple(_master(one) for one in ([node] if isinstance(node.content, str) else node.items()))


def _master(node: Node) -> str:
    try:
        parse_address(node.text())
    except ConfigurationError as err:
        node.refuse(str(err), err)
    return node.text()


def _some_seconds(node: Node) -> float:
    return node.seconds() or node.refuse("must be more than 0 seconds")


def _fingerprint(node: Node) -> str:
    if not _FINGERPRINT.fullmatch(node.text()):
        node.refuse(f"{node.content!r} is no fingerprint as in a minion's master_finger: 3c:5f:…")
    return node.text()


def _public_key(node: Node, folder: Path) -> str:
    path = folder / node.text()
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeError) as err:
        node.refuse(f"{str(path)!r} cannot be read: {err}")
    if "-----BEGIN PUBLIC KEY-----" not in text:
        node.refuse(f"{str(path)!r} is no public key: it is the file master_sign.pub of the master's pki_dir")
    return text.strip()


def _recipes(node: Node) -> dict[str, Recipe]:
    return {key: recipes.recipe(below) for key, below in node.entries()}


def _distribution(node: Node) -> Distribution:
    if not isinstance(node.content, dict):
        return distributions.Constant(node.seconds())
    if len(node.content) != 1:
        node.refuse(f"{node.plain()!r} is no distribution: one of {', '.join(_DISTRIBUTIONS)}")
    ((kind, below),) = node.entries()
    if kind not in _DISTRIBUTIONS:
        below.refuse(f"{kind!r} is no distribution: one of {', '.join(_DISTRIBUTIONS)}")
    return _DISTRIBUTIONS[kind](below)


def _uniform(node: Node) -> Distribution:
    ends = [one.seconds() for one in node.items()]
    if len(ends) != 2 or ends[0] > ends[1]:
        node.refuse(f"{node.plain()!r} must be [LOW, HIGH]")
    return distributions.Uniform(*ends)


def _two(node: Node, first: str, second: str, read: Callable[[Node], float]) -> tuple[float, float]:
    fields = node.fields()
    pair = fields.need(first, Node.seconds), fields.need(second, read)
    fields.done()
    return pair


_DISTRIBUTIONS: dict[str, Callable[[Node], Distribution]] = {
    "constant": lambda node: distributions.Constant(node.seconds()),
    "uniform": _uniform,
    "normal": lambda node: distributions.Normal(*_two(node, "mean", "deviation", Node.seconds)),
    "lognormal": lambda node: distributions.LogNormal(*_two(node, "median", "sigma", Node.number)),
    "exponential": lambda node: distributions.Exponential(node.seconds()),
}


def _answer(node: Node, folder: Path) -> Answer:
    if not isinstance(node.content, dict):
        return Answer(recipe=recipes.recipe(node))
    if not set(node.content) <= _ANSWER:
        _refuse_answer(node)
    fields = node.fields()
    made: dict[str, Any] = {
        "recipe": fields.take("value", recipes.recipe, None) or fields.take("template", recipes.template, None),
        "call": fields.take("python", lambda one: _callable(one, folder), None),
        "retcode": fields.take("retcode", lambda one: one.whole(0, 255), 0),
        "stage": _stage(fields),
    }
    if len({"value", "template", "python"} & set(node.content)) > 1:
        node.refuse("an answer has one of value, template, python")
    return Answer(**made)


def _refuse_answer(node: Node) -> None:
    if set(node.content) & _ANSWER or set(node.content) == {"choices"}:
        fields = node.fields()
        for key in sorted(_ANSWER):
            fields.take(key, Node.plain, None)
        fields.done()
    node.refuse(f"an answer that is a mapping stands below 'value': {{value: {node.plain()!r}}}")


def _stage(fields: Fields) -> Stage:
    return Stage(
        latency=fields.take("latency", _distribution, None),
        fail=fields.take("fail", Node.rate, None),
        drop=fields.take("drop", Node.rate, None),
    )


def _callable(node: Node, folder: Path) -> Callable[..., Any]:
    if callable(node.content):
        return node.content  # type: ignore[no-any-return]
    place, colon, name = node.text().rpartition(":")
    if not colon or not name.isidentifier():
        node.refuse(f"{node.content!r} names no function: FILE.py:NAME or PACKAGE.MODULE:NAME")
    try:
        module = _module_file(folder / place) if place.endswith(".py") else importlib.import_module(place)
        found = getattr(module, name)
    except Exception as err:  # noqa: BLE001  # a module may raise anything
        node.refuse(f"{node.content!r} cannot be had: {type(err).__name__}: {err}")
    if not callable(found):
        node.refuse(f"{node.content!r} is no function")
    return found  # type: ignore[no-any-return]


def _module_file(path: Path) -> object:
    name = f"_swarm_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


def _states(node: Node) -> States:
    fields, default = node.fields(), States()
    states = States(
        count=fields.take("count", lambda one: one.whole(1, 10_000), default.count),
        changed=fields.take("changed", Node.rate, default.changed),
        failed=fields.take("failed", Node.rate, default.failed),
        duration=fields.take("duration", _distribution, default.duration),
    )
    fields.done()
    if states.changed + states.failed > 1:
        node.refuse(f"changed {states.changed:g} and failed {states.failed:g} are more than 1 together")
    return states


def _flapping(node: Node) -> Flapping:
    fields = node.fields()
    repeat = fields.take("repeat", Node.seconds, 0.0)
    share = fields.take("share", Node.rate, 1.0)
    windows = tuple(sorted(fields.need("windows", lambda one: [_window(below) for below in one.items()])))
    fields.done()
    end = 0.0
    for begin, length in windows:
        if begin < end or (repeat and begin + length > repeat):
            node.refuse(f"the window at {begin:g} s overlaps the one before, or ends after the {repeat:g} s of repeat")
        end = begin + length
    return Flapping(windows, repeat, share)


def _window(node: Node) -> tuple[float, float]:
    fields = node.fields()
    window = fields.need("at", Node.seconds), fields.need("down", _some_seconds)
    fields.done()
    return window


def _mine(node: Node) -> Mine:
    fields = node.fields()
    mine = Mine(
        interval=fields.take("interval", _some_seconds, 3600.0),
        functions=fields.need("functions", lambda one: {name: _mined(name, below) for name, below in one.entries()}),
    )
    fields.done()
    return mine


def _mined(alias: str, node: Node) -> tuple[str, tuple[Any, ...]]:
    if node.content is None:
        return alias, ()
    if isinstance(node.content, dict):
        fields = node.fields()
        made = fields.take("function", Node.text, alias), tuple(fields.take("args", lambda one: one.plain(), ()))
        fields.done()
        return made
    return alias, tuple(one.plain() for one in node.items())


def _beacons(node: Node) -> tuple[Periodic, ...]:
    return tuple(_periodic(name, below, beacon=True) for name, below in node.entries())


def _events(node: Node) -> tuple[Periodic, ...]:
    return tuple(_periodic(name, below, beacon=False) for name, below in node.entries())


def _periodic(name: str, node: Node, *, beacon: bool) -> Periodic:
    fields = node.fields()
    tag = f"salt/beacon/{{{{ id }}}}/{name}/" if beacon else name
    made = Periodic(
        name=name,
        interval=fields.need("interval", _some_seconds),
        tag=fields.take("tag", recipes.recipe, recipes.recipe(Node(tag, node.source, node.line, node.path))),
        data=fields.take("data", recipes.recipe, recipes.Constant({})),
    )
    fields.done()
    return made


def _recording(node: Node, folder: Path) -> tuple[Mapping[str, tuple[Recorded, ...]], Mapping[str, Recipe]]:
    try:
        fields = document.load(folder / node.text()).fields()
    except (ConfigurationError, UnavailableError) as err:
        node.refuse(str(err), err)
    for key in ("minion", "salt"):
        fields.take(key, Node.text, "")
    answers: dict[str, tuple[Recorded, ...]] = {}
    for one in fields.take("answers", Node.items, ()):
        recorded = _recorded(one)
        answers[recorded.fun] = (*answers.get(recorded.fun, ()), recorded)
    grains = fields.take("grains", lambda one: {key: recipes.Constant(v.plain()) for key, v in one.entries()}, {})
    fields.done()
    return answers, grains


def _recorded(node: Node) -> Recorded:
    fields = node.fields()
    recorded = Recorded(
        fun=fields.need("fun", Node.text),
        args=tuple(fields.take("args", Node.plain, ())),
        value=fields.take("return", Node.plain, None),
        retcode=fields.take("retcode", lambda one: one.whole(0, 255), 0),
    )
    fields.done()
    return recorded
