"""
States that run commands inside a resource that has no Python.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __salt__: dict[str, Any]


def _ran(name: str, function: str, told: dict[str, Any], arguments: tuple[Any, ...]) -> dict[str, Any]:
    if __opts__["test"]:
        return {"name": name, "result": None, "changes": {}, "comment": f"Command {name!r} would have been executed"}
    done = __salt__[function](*arguments, **told)
    comment = f"Command {name!r} run" if not done["retcode"] else f"Command {name!r} failed with {done['retcode']}"
    changes = {key: done[key] for key in ("retcode", "stdout", "stderr")}
    return {"name": name, "result": not done["retcode"], "changes": changes, "comment": comment}


def run(
    name: str,
    cwd: str | None = None,
    runas: str | None = None,
    env: Any = None,
    timeout: float | None = None,
    shell: str | None = None,
    success_retcodes: list[int] | None = None,
    **_: Any,
) -> dict[str, Any]:
    """
    Run a command inside; ``unless``, ``onlyif`` and ``creates`` are commands and files inside as well.

    .. code-block:: yaml

        nginx -t:
          cmd.run:
            - onchanges:
              - file: /etc/nginx/nginx.conf
    """
    told: dict[str, Any] = {"cwd": cwd, "runas": runas, "timeout": timeout, "shell": shell, "ignore_retcode": True}
    told |= {"env": _environment(env), "success_retcodes": success_retcodes}
    return _ran(name, "cmd.run_all", told, (name,))


def wait(name: str, **_: Any) -> dict[str, Any]:
    """
    Do nothing by itself: run where a state that is watched has changed something.

    .. code-block:: yaml

        update-ca-certificates:
          cmd.wait:
            - watch:
              - file: /usr/local/share/ca-certificates/own.crt
    """
    return {"name": name, "result": True, "changes": {}, "comment": ""}


def script(
    name: str,
    source: str | None = None,
    args: str = "",
    cwd: str | None = None,
    runas: str | None = None,
    env: Any = None,
    timeout: float | None = None,
    **_: Any,
) -> dict[str, Any]:
    """
    Run a script of the master's files inside.

    .. code-block:: yaml

        prepare:
          cmd.script:
            - source: salt://scripts/prepare.sh
    """
    told = {"cwd": cwd, "runas": runas, "timeout": timeout, "env": _environment(env), "saltenv": __opts__["saltenv"]}
    told["saltenv"] = told["saltenv"] or "base"
    return _ran(name, "cmd.script", {**told, "ignore_retcode": True}, (source or name, args))


def mod_watch(name: str, **told: Any) -> dict[str, Any]:
    """
    Run the command of a state whose watched state has changed something.

    .. code-block:: yaml

        update-ca-certificates:
          cmd.wait:
            - watch:
              - file: /usr/local/share/ca-certificates/own.crt
    """
    function = script if told.pop("sfun", "run") == "script" else run
    return function(name, **told)


def _environment(env: Any) -> dict[str, Any] | None:
    if isinstance(env, list):
        return {key: value for one in env if isinstance(one, dict) for key, value in one.items()}
    return env if isinstance(env, dict) else None
