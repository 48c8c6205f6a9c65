"""
States of a resource: compiled on its minion, run by a Python found inside, or where there is none on the minion with
their files, commands, packages and services inside.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.within import applying, publication, salted, thin
from saltext_logilab.within.guard import Resource

if TYPE_CHECKING:
    __context__: dict[str, Any]
    __opts__: dict[str, Any]
    __resource__: dict[str, Any]
    __resource_funcs__: dict[str, Any]

__func_alias__ = {"apply_": "apply"}
WAYS = ("auto", "python", "minion")
COMPILER, FAILURE = 1, 2  # Salt's exit codes: states that cannot be compiled, states that failed


def _one() -> Resource:
    return Resource(str(__resource__["type"]), str(__resource__["id"]))


def _prepared(asked: applying.Asked) -> Any:
    grains = __resource_funcs__[f"{__resource__['type']}.grains"]()
    return applying.prepared(dict(__opts__), _one(), grains, asked)


def _way(inside: Any) -> str:
    """Return the Python by which states are run inside; empty: on the minion."""
    way = publication.configured(__opts__, _one().type).get("states", "auto")
    if way not in WAYS:
        raise ConfigurationError(f"resources:{_one().type}:states must be one of {', '.join(WAYS)}, not {way!r}")
    found = "" if way == "minion" else thin.python(inside)
    if way == "python" and not found:
        raise ConfigurationError(f"{inside.label} has no Python of at least {'.'.join(map(str, thin.OLDEST))}")
    return found


def _run(function: str, asked: applying.Asked, compiled: Any) -> Any:
    """
    Compile states and run them; ``compiled`` gives them of a run.

    An error is returned as a text: one that is raised in a state function Salt writes into the log with its traceback.
    """
    try:
        return _ran(function, asked, compiled)
    except (CommandExecutionError, SaltInvocationError) as err:
        __context__["retcode"] = COMPILER
        return f"ERROR: {err}"


def _ran(function: str, asked: applying.Asked, compiled: Any) -> Any:
    with publication.reached(__resource__, __resource_funcs__, __opts__, function) as inside:
        __resource_funcs__[f"{__resource__['type']}.ping"]()
        with publication.entered(inside), _prepared(asked) as run:
            low, errors = compiled(run)
            if errors:
                __context__["retcode"] = COMPILER
                return errors
            if not low:
                found: Any = applying.nothing(_one().id)
            elif interpreter := _way(inside):
                found = thin.run(inside, interpreter, run, low)
            else:
                found = applying.redirected(run, low, inside.label)
    __context__["retcode"] = FAILURE if applying.failed(found) else 0
    return found


def apply_(mods: Any = None, **kwargs: Any) -> Any:
    """
    Apply the highstate of the resource, or the SLS files that are named.

    The arguments are those of :py:func:`highstate` and :py:func:`sls`.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' state.apply
        salt -C 'T@docker:web.host1' state.apply haproxy test=True
    """
    return sls(mods, **kwargs) if mods else highstate(**kwargs)


def highstate(
    test: bool | None = None, pillar: dict[str, Any] | None = None, exclude: Any = None, **options: Any
) -> Any:
    """
    Apply what the top file says for the id and the grains of the resource.

    test
        Change nothing, and tell what would be changed.
    pillar
        What is laid over the resource's pillar for this run.
    exclude
        SLS files or state ids that are left out.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker' state.highstate test=True
    """
    asked = applying.Asked(None, test, pillar, exclude, options)
    return _run("state.highstate", asked, lambda run: applying.chunks(run, asked))


def sls(
    mods: Any,
    test: bool | None = None,
    pillar: dict[str, Any] | None = None,
    exclude: Any = None,
    **options: Any,
) -> Any:
    """
    Apply SLS files, by the comma where there are several; the arguments are those of :py:func:`highstate`.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' state.sls haproxy,rsyslog
    """
    asked = applying.Asked(mods, test, pillar, exclude, options)
    return _run("state.sls", asked, lambda run: applying.chunks(run, asked))


def single(fun: str, name: str, test: bool | None = None, **kwargs: Any) -> Any:
    """
    Apply one state, by its function and its arguments.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' state.single file.managed name=/etc/motd contents=hello
    """
    told = {key: value for key, value in kwargs.items() if not key.startswith("__")}
    asked = applying.Asked(None, test)
    return _run("state.single", asked, lambda run: applying.single(run, fun, name, told))


def show_sls(mods: Any, pillar: dict[str, Any] | None = None, **options: Any) -> Any:
    """
    Return what SLS files say for the resource, without applying them.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' state.show_sls haproxy
    """
    with salted.errors(), _prepared(applying.Asked(mods, True, pillar, None, options)) as run:
        found, errors = applying.high(run, mods)
        return errors or found


def show_low_sls(mods: Any, pillar: dict[str, Any] | None = None, **options: Any) -> Any:
    """
    Return the states of SLS files in their order, without applying them.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' state.show_low_sls haproxy
    """
    asked = applying.Asked(mods, True, pillar, None, options)
    with salted.errors(), _prepared(asked) as run:
        low, errors = applying.chunks(run, asked)
        return errors or low


def show_lowstate(pillar: dict[str, Any] | None = None, **options: Any) -> Any:
    """
    Return the states of the highstate in their order, without applying them.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' state.show_lowstate
    """
    asked = applying.Asked(None, True, pillar, None, options)
    with salted.errors(), _prepared(asked) as run:
        low, errors = applying.chunks(run, asked)
        return errors or low


def show_top(**options: Any) -> Any:
    """
    Return which SLS files the top file names for the resource.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker' state.show_top
    """
    with salted.errors(), _prepared(applying.Asked(None, True, None, None, options)) as run:
        return {env: list(names) for env, names in run.compiler.top_matches(run.compiler.get_top()).items()}
