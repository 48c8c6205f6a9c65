"""
States of a resource, compiled on its minion as for one of its own: by the resource's id, grains and pillar.

Salt's inside, as of 3008: a state run whose ``opts`` have a ``resource_type`` finds that type's own functions, in
templates too, and its own states. A minion may ask the master for files but for no other's pillar or tops: so the file
client is the minion's, the pillar is what :mod:`.pillars` makes of the minion's, and ``master_tops`` are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import salt.fileclient
import salt.state
import salt.utils.args
import salt.utils.dictupdate
import salt.utils.resources
import salt.utils.state

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.within import pillars, publication
from saltext_logilab.within.guard import Resource

STATES = {
    "cmd": ("mod_watch", "run", "script", "wait"),
    "file": ("absent", "append", "directory", "exists", "managed", "missing", "symlink"),
    "pkg": ("installed", "purged", "removed"),
    "service": ("dead", "disabled", "enabled", "mod_watch", "running"),
    "test": (
        *(
            "configurable_test_state",
            "fail_with_changes",
            "fail_without_changes",
            "mod_watch",
            "nop",
            "show_notification",
        ),
        *("succeed_with_changes", "succeed_without_changes"),
    ),
}
NO_STATES = "no_|-states_|-states_|-None"


@dataclass(frozen=True)
class Asked:
    """What a state run was asked for: the SLS files, None for the highstate, and how."""

    mods: Any = None
    test: Any = None
    pillar: Mapping[str, Any] | None = None
    exclude: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A state run that is ready: its opts, and Salt's compiler, which runs states as well."""

    opts: dict[str, Any]
    compiler: Any

    @property
    def saltenv(self) -> str:
        """The environment whose states are meant."""
        return str(self.opts.get("saltenv") or "base")


class _Compiler(salt.state.HighState):  # type: ignore[misc]  # Salt has no types
    """Salt's own, without the master's tops: a minion that asks gets those for its own id."""

    def _master_tops(self) -> dict[str, Any]:
        return {}


@contextmanager
def prepared(opts: Mapping[str, Any], one: Resource, grains: Mapping[str, Any], asked: Asked) -> Iterator[Run]:
    """
    Give a state run for a resource.

    :raises ConfigurationError: the pillar that was given is no mapping.
    """
    told = run_opts(opts, one, grains, asked)
    with salt.fileclient.get_file_client(dict(opts)) as client:
        context: dict[str, Any] = {}
        compiler = _Compiler(told, None, context=context, initial_pillar=told["pillar"] or {"": ""}, file_client=client)
        with compiler:
            compiler.push_active()
            try:
                yield Run(compiler.opts, compiler)
            finally:
                compiler.pop_active()


def run_opts(opts: Mapping[str, Any], one: Resource, grains: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    """Return the opts of a state run for a resource."""
    if asked.pillar is not None and not isinstance(asked.pillar, Mapping):
        raise ConfigurationError(f"pillar must be a mapping, not {asked.pillar!r}")
    pillar = pillars.of(opts, one.type, one.id)
    told = dict(salt.utils.state.get_sls_opts(dict(opts), **asked.options))
    tree = salt.utils.resources.pillar_resources_tree(opts)
    told["id"], told["grains"] = one.id, dict(grains)
    told["pillar"] = salt.utils.dictupdate.update(pillar, dict(asked.pillar)) if asked.pillar else pillar
    told["test"] = is_test(opts.get("test") if asked.test is None else asked.test)
    told["resource_type"] = one.type
    told[publication.STATES] = {"minion": opts["id"], "tree": tree}
    return told


def is_test(told: Any) -> bool:
    """Say whether ``test=`` asks for a test: all does but what clearly says no, for a test must change nothing."""
    return str(told).strip().lower() not in ("none", "false", "no", "off", "0", "")


def high(run: Run, mods: Any) -> tuple[dict[str, Any], list[str]]:
    """Return what SLS files say, and the errors in them."""
    found, errors = run.compiler.render_highstate({run.saltenv: salt.utils.args.split_input(mods)})
    return found, list(errors)


def chunks(run: Run, asked: Asked) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the states in their order, and the errors."""
    if asked.mods is None:
        compiler = run.compiler
        top = compiler.get_top()
        errors = list(compiler.verify_tops(top))
        matches = compiler.top_matches(top) if not errors else {}
        found, more = compiler.render_highstate(matches) if matches else ({}, [])
        errors += more
    else:
        found, errors = high(run, asked.mods)
    return ([], errors) if errors else _compiled(run.compiler.state, found, asked.exclude)


def _compiled(state: Any, found: dict[str, Any], exclude: Any) -> tuple[list[dict[str, Any]], list[str]]:
    if exclude:
        told = salt.utils.args.split_input(exclude) if isinstance(exclude, str) else list(exclude)
        found.setdefault("__exclude__", []).extend(told)
    found, errors = state.reconcile_extend(found)
    errors += state.verify_high(found)
    found, more = state.requisite_in(found)
    errors += more
    found = state.apply_exclude(found)
    if errors:
        return [], list(errors)
    low, errors = state.compile_high_data(found)
    return list(low), list(errors or [])


def single(run: Run, fun: str, name: str, told: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the one state that is asked for by its function and its arguments."""
    module, dot, function = str(fun).partition(".")
    if not dot or not module or not function:
        raise ConfigurationError(f"{fun!r} is no state function (such as pkg.installed)")
    arguments = [{key: value} for key, value in told.items()]
    found = {name: {module: [function, {"name": name}, *arguments], "__sls__": "single", "__env__": run.saltenv}}
    return _compiled(run.compiler.state, found, None)


def redirected(run: Run, low: list[dict[str, Any]], label: str) -> dict[str, Any]:
    """
    Run states on the minion, with all that they do inside.

    A state that is none of :data:`STATES` would be done to the minion itself: it fails by its name instead.
    """
    state, call = run.compiler.state, run.compiler.state.call

    def guarded(chunk: dict[str, Any], *more: Any, **told: Any) -> Any:
        name = f"{chunk['state']}.{chunk['fun']}"
        if chunk["fun"] in STATES.get(chunk["state"], ()):
            return call(chunk, *more, **told)
        comment = f"{name} is not to be had: {label} has no Python that Salt could run by"
        return {
            **{"name": chunk["name"], "result": False, "changes": {}, "comment": comment, "duration": 0.0},
            **{"__id__": chunk["__id__"], "__sls__": chunk.get("__sls__"), "__run_num__": chunk.get("order", 0)},
            "start_time": "",
        }

    def checked(chunk: dict[str, Any]) -> dict[str, Any]:
        """Look for the files of ``creates`` inside, in the place of Salt's own look at the minion's."""
        told, names = chunk["creates"], ("file.file_exists", "file.directory_exists")
        paths = [told] if isinstance(told, str) else list(told)
        found = all(any(state.functions[name](path) for name in names) for path in paths)
        verdict: dict[str, Any] = {"result": found, "comment": "All files in creates exist"}
        verdict = {**verdict, "skip_watch": True} if found else {**verdict, "comment": "Creates files not found"}
        return {**{key: chunk.get(key) for key in ("__sls__", "__id__", "name")}, **verdict}

    state._run_check_creates = checked
    state.call = guarded
    state.module_refresh = lambda: None  # nothing that is installed inside gives this process new functions
    return dict(state.call_listen(low, state.call_chunks(low)))


def nothing(resource: str) -> dict[str, Any]:
    """Return what Salt returns where no top file names a minion."""
    comment = f"No Top file data matches found for the resource {resource!r}"
    return {NO_STATES: {"result": False, "comment": comment, "name": "No States", "changes": {}, "__run_num__": 0}}


def failed(found: Any) -> bool:
    """Say whether a state failed, or nothing could be run."""
    if not isinstance(found, dict):
        return True
    return any(isinstance(one, dict) and one.get("result") is False for one in found.values())
