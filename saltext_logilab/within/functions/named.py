"""
Commands and files inside something that is named: the functions that ``docker_exec`` and ``libvirt_exec`` share.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from salt.exceptions import SaltInvocationError

from saltext_logilab.within import files, salted, sources, telling, transport

if TYPE_CHECKING:
    __context__: dict[str, Any]
    __opts__: dict[str, Any]


def _inside(name: str, **where: Any) -> AbstractContextManager[transport.Transport]:
    """Give the way in, and turn our errors into Salt's: each module that takes these functions over has its own."""
    raise NotImplementedError(f"no way into {name!r} ({where})")


def _where(told: dict[str, Any]) -> dict[str, Any]:
    """Return what says where the thing is, without what Salt adds to each call."""
    return {key: value for key, value in told.items() if not key.startswith("__")}


def _done(name: str, cmd: Any, told: dict[str, Any], where: dict[str, Any]) -> dict[str, Any]:
    env = {str(key): str(value) for key, value in (told["env"] or {}).items()}
    stdin = told["stdin"] if isinstance(told["stdin"], bytes) else str(told["stdin"] or "").encode()
    with _inside(name, **_where(where)) as inside:
        words = transport.words(inside, cmd)
        place = (str(told["runas"] or ""), str(told["cwd"] or ""), env)
        return telling.mapping(inside.run(transport.Command(words, *place, stdin, told["timeout"], told["most_bytes"])))


def run_all(
    name: str,
    cmd: str | list[str],
    runas: str = "",
    cwd: str = "",
    env: dict[str, str] | None = None,
    stdin: str = "",
    timeout: float = transport.TIMEOUT,
    most_bytes: int = transport.MOST,
    **where: Any,
) -> dict[str, Any]:
    """
    Run a command inside and return what came of it.

    A mapping of ``retcode``, ``stdout`` and ``stderr`` (bytes that are no UTF-8 are replaced), ``cut`` (there was more
    output than ``most_bytes``; it is counted in ``bytes``) and ``timed_out``: then the command was killed inside, with
    all that it had started, and ``retcode`` is 124, as of ``timeout(1)``.

    name
        The name of what it is run in.
    cmd
        A text for the ``/bin/sh`` there, or a list of words, for which none is needed.
    runas
        The user there; by default that of the container, or the guest's root.
    cwd
        The folder there; by default that of the container, or ``/``.
    env
        What more stands in its environment.
    stdin
        What it reads at its standard input; by default nothing.
    timeout
        Seconds after which it is killed, by default 60.
    most_bytes
        How much of the output is kept at most, by default 1 MiB.

    CLI Example:

    .. code-block:: bash

        salt host1 docker_exec.run_all web 'ps | wc -l'
    """
    told: dict[str, Any] = {"runas": runas, "cwd": cwd, "env": env, "stdin": stdin}
    return _done(name, cmd, {**told, "timeout": timeout, "most_bytes": most_bytes}, where)


def run(
    name: str,
    cmd: str | list[str],
    runas: str = "",
    cwd: str = "",
    env: dict[str, str] | None = None,
    **options: Any,
) -> str:
    """
    Run a command inside and return its output, that of errors behind the other.

    Output that was cut, and a time-out, are said in a last line. The job's exit code is that of the command. The
    arguments are those of :py:func:`run_all`.

    CLI Example:

    .. code-block:: bash

        salt host1 docker_exec.run web 'cat /etc/hostname'
        salt host1 docker_exec.run web '["uname", "-a"]' timeout=5
    """
    told = run_all(name, cmd, runas, cwd, env, **options)
    __context__["retcode"] = told["retcode"]
    return telling.text(told, options.get("timeout", transport.TIMEOUT), "stdout", "stderr")


def retcode(name: str, cmd: str | list[str], runas: str = "", cwd: str = "", **options: Any) -> int:
    """
    Run a command inside and return its exit code; 124 where it was killed at its time-out.

    The arguments are those of :py:func:`run_all`.

    CLI Example:

    .. code-block:: bash

        salt host1 docker_exec.retcode web 'test -e /etc/nginx/nginx.conf'
    """
    return int(run_all(name, cmd, runas, cwd, **{**options, "most_bytes": 0})["retcode"])


def script(
    name: str,
    source: str,
    args: str = "",
    runas: str = "",
    cwd: str = "",
    env: dict[str, str] | None = None,
    timeout: float = transport.TIMEOUT,
    most_bytes: int = transport.MOST,
    saltenv: str = "base",
    **where: Any,
) -> dict[str, Any]:
    """
    Run a script of the master's files inside; returns the same as :py:func:`run_all`.

    Nothing is left inside: the interpreter of its first line, else ``/bin/sh``, reads it from its standard input.

    source
        A file of the master (``salt://…``).
    args
        The arguments, as they stand on a command line.
    saltenv
        The environment whose files it is one of, by default ``base``.

    The other arguments are those of :py:func:`run_all`.

    CLI Example:

    .. code-block:: bash

        salt host1 docker_exec.script web salt://scripts/check.sh 'a b' timeout=300
    """
    with salted.errors():
        body = sources.read(source, __opts__, saltenv)
        words = [*transport.interpreter(body), "/dev/stdin", *transport.split(str(args))]
    told: dict[str, Any] = {"runas": runas, "cwd": cwd, "env": env, "stdin": body}
    return _done(name, words, {**told, "timeout": timeout, "most_bytes": most_bytes}, where)


def read(name: str, path: str, most_bytes: int = transport.MOST, base64: bool = False, **where: Any) -> str:
    """
    Return what a file inside holds.

    path
        Its absolute path there; links are followed there.
    most_bytes
        Refuse a larger file than this, by default 1 MiB.
    base64
        Return it in base64, whole, as a file that is no text needs; by default what is no UTF-8 is replaced.

    CLI Example:

    .. code-block:: bash

        salt host1 docker_exec.read web /etc/hostname
    """
    with _inside(name, **_where(where)) as inside:
        data = transport.read(inside, files.checked_path(path), most_bytes)
    return b64encode(data).decode() if base64 else data.decode(errors="replace")


def write(
    name: str, path: str, contents: str, mode: str | int = "", owner: str = "", base64: bool = False, **where: Any
) -> bool:
    """
    Write a file inside, whole or not at all; returns True.

    path
        Its absolute path there, in a folder that exists; the file at the end of a link is replaced.
    contents
        All that it shall hold.
    mode
        Its permissions, as ``0640``; by default those that it has, or ``0644``.
    owner
        ``user`` or ``user:group`` there, by name or number; by default those that it has, or root.
    base64
        ``contents`` are in base64.

    CLI Example:

    .. code-block:: bash

        salt host1 docker_exec.write web /etc/motd 'be kind' mode=0644
    """
    try:
        data = b64decode(contents, validate=True) if base64 else str(contents).encode()
        bits = int(str(mode), 8) if str(mode) else None
    except ValueError as err:
        raise SaltInvocationError(f"the contents are no base64, or {mode!r} is no mode: {err}") from err
    with _inside(name, **_where(where)) as inside:
        files.write(inside, path, data, bits)
        if owner:
            user, _, group = owner.partition(":")
            files.set_owner(inside, path, user, group)
    return True
