"""
Commands inside the containers of this host, with nothing installed there.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab.containers import host
from saltext_logilab.containers import settings as containers_settings
from saltext_logilab.containers.interior import Interior
from saltext_logilab.errors import ConfigurationError, LogilabError
from saltext_logilab.within import transport

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __pillar__: dict[str, Any]
    __context__: dict[str, Any]


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except ConfigurationError as err:
        raise SaltInvocationError(str(err)) from err
    except LogilabError as err:
        raise CommandExecutionError(str(err)) from err


def run_all(
    name: str,
    cmd: str | list[str],
    runas: str = "",
    cwd: str = "",
    env: dict[str, str] | None = None,
    timeout: float = 60.0,
    most_bytes: int = transport.MOST,
    daemon: str | None = None,
) -> dict[str, Any]:
    """
    Run a command in a running container and return what came of it.

    A mapping of ``retcode``, ``stdout`` and ``stderr`` (bytes that are no UTF-8 are replaced), ``cut`` (there was more
    output than ``most_bytes``; it is counted in ``bytes``) and ``timed_out``: then the command was killed inside, with
    all that it had started, and ``retcode`` is 124, as of ``timeout(1)``.

    name
        The container's name or id.
    cmd
        A text for its ``/bin/sh``, or a list of words, for which the image needs no shell.
    runas
        The user or ``user:group`` inside; by default that of the container.
    cwd
        The folder inside; by default that of the container.
    env
        What more stands in its environment.
    timeout
        Seconds after which it is killed, by default 60.
    most_bytes
        How much of the output is kept at most, by default 1 MiB.
    daemon
        The name of one of the configured daemons; by default it is looked for in all.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_exec.run_all web 'ps | wc -l'
    """
    with _errors():
        settings = containers_settings.read(__opts__, __pillar__)
        _, client, _ = host.inspect(settings, name, daemon)
        inside = Interior(client, name)
        words = transport.words(inside, cmd)
        extra = {str(key): str(value) for key, value in (env or {}).items()}
        done = inside.run(transport.Command(words, str(runas), str(cwd), extra, timeout=timeout, most_bytes=most_bytes))
    return {
        "retcode": transport.TIMED_OUT if done.code is None else done.code,
        "stdout": done.stdout.decode(errors="replace"),
        "stderr": done.stderr.decode(errors="replace"),
        "bytes": done.size,
        "cut": done.is_cut,
        "timed_out": done.code is None,
    }


def run(
    name: str,
    cmd: str | list[str],
    runas: str = "",
    cwd: str = "",
    env: dict[str, str] | None = None,
    timeout: float = 60.0,
    most_bytes: int = transport.MOST,
    daemon: str | None = None,
) -> str:
    """
    Run a command in a running container and return its output, that of errors behind the other.

    Output that was cut, and a time-out, are said in a last line. The job's exit code is that of the command. The
    arguments are those of :py:func:`run_all`.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_exec.run web 'cat /etc/hostname'
        salt web1 docker_exec.run web '["/app", "--version"]'
    """
    done = run_all(name, cmd, runas, cwd, env, timeout, most_bytes, daemon)
    __context__["retcode"] = done["retcode"]
    told = [done["stdout"].rstrip("\n"), done["stderr"].rstrip("\n")]
    if done["cut"]:
        told.append(f"[cut: {done['bytes']} bytes in all]")
    if done["timed_out"]:
        told.append(f"[killed after {timeout:g} s]")
    return "\n".join(one for one in told if one)


def retcode(
    name: str,
    cmd: str | list[str],
    runas: str = "",
    cwd: str = "",
    env: dict[str, str] | None = None,
    timeout: float = 60.0,
    daemon: str | None = None,
) -> int:
    """
    Run a command in a running container and return its exit code; 124 where it was killed after ``timeout`` seconds.

    The arguments are those of :py:func:`run_all`.

    CLI Example:

    .. code-block:: bash

        salt web1 docker_exec.retcode web 'test -e /etc/nginx/nginx.conf'
    """
    return int(run_all(name, cmd, runas, cwd, env, timeout, 0, daemon)["retcode"])
