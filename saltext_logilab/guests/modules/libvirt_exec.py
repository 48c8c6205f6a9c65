"""
Commands and files inside the guests of this host, by the QEMU guest agent: without a network path into the guest.

The guest runs ``qemu-guest-agent`` and has a channel ``org.qemu.guest_agent.0``; nothing else is needed in it.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import shlex
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab.errors import ConfigurationError, LogilabError
from saltext_logilab.guests import interior, told
from saltext_logilab.guests import settings as guests_settings
from saltext_logilab.within import files, transport

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __context__: dict[str, Any]
    __salt__: dict[str, Any]


@contextmanager
def _inside(name: str) -> Iterator[interior.Interior]:
    try:
        settings = guests_settings.read(__opts__)
        yield interior.enter(settings.uri, name, settings.agent_timeout)
    except ConfigurationError as err:
        raise SaltInvocationError(str(err)) from err
    except LogilabError as err:
        raise CommandExecutionError(str(err)) from err


def ping(name: str) -> bool:
    """
    Return True when the agent of a guest answers.

    :raises CommandExecutionError: there is no such guest, it does not run, or it has no agent that answers.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_exec.ping web
    """
    with _inside(name) as inside:
        inside.agent.ask("guest-ping")
    return True


def about(name: str) -> dict[str, Any]:
    """
    Return what a guest tells of itself by its agent.

    A mapping of ``agent`` (its version), ``system``, ``host_name``, ``timezone``, ``interfaces`` (each with ``mac`` and
    ``addresses``) and ``file_systems`` (each with ``type``, and ``used`` and ``total`` in bytes). What the agent does
    not know, or may not tell, is left out.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_exec.about web
    """
    with _inside(name) as inside:
        return told.everything(inside.agent)


def run_all(
    name: str,
    cmd: str | list[str],
    runas: str = "",
    cwd: str = "",
    env: dict[str, str] | None = None,
    stdin: str = "",
    timeout: float = 60.0,
    most_bytes: int = transport.MOST,
) -> dict[str, Any]:
    """
    Run a command in a running guest and return what came of it.

    A mapping of ``retcode``, ``stdout`` and ``stderr`` (bytes that are no UTF-8 are replaced), ``cut`` (there was more
    output than ``most_bytes``; it is counted in ``bytes``) and ``timed_out``: then the command was killed inside, with
    all that it had started, and ``retcode`` is 124, as of ``timeout(1)``. It is killed there even if the minion has
    ended meanwhile.

    name
        The guest's name.
    cmd
        A text for its ``/bin/sh``, or a list of words.
    runas
        The user inside; by default that of the agent, which is root.
    cwd
        The folder inside; by default ``/``.
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

        salt kvm1 libvirt_exec.run_all web 'ps | wc -l'
    """
    return _run(name, cmd, (str(runas), str(cwd), env), str(stdin or "").encode(), timeout, most_bytes)


def _run(
    name: str,
    cmd: str | list[str],
    place: tuple[str, str, dict[str, str] | None],
    stdin: bytes,
    timeout: float,
    most_bytes: int,
) -> dict[str, Any]:
    user, folder, env = place
    extra = {str(key): str(value) for key, value in (env or {}).items()}
    with _inside(name) as inside:
        words = transport.words(inside, cmd)
        done = inside.run(transport.Command(words, user, folder, extra, stdin, timeout, most_bytes))
    return {
        "retcode": transport.TIMED_OUT if done.code is None else done.code,
        "stdout": done.text,
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
    stdin: str = "",
    timeout: float = 60.0,
    most_bytes: int = transport.MOST,
) -> str:
    """
    Run a command in a running guest and return its output, that of errors behind the other.

    Output that was cut, and a time-out, are said in a last line. The job's exit code is that of the command. The
    arguments are those of :py:func:`run_all`.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_exec.run web 'cat /etc/hostname'
        salt kvm1 libvirt_exec.run web '["systemctl", "is-system-running"]'
    """
    done = run_all(name, cmd, runas, cwd, env, stdin, timeout, most_bytes)
    __context__["retcode"] = done["retcode"]
    said = [done["stdout"].rstrip("\n"), done["stderr"].rstrip("\n")]
    if done["cut"]:
        said.append(f"[cut: {done['bytes']} bytes in all]")
    if done["timed_out"]:
        said.append(f"[killed after {timeout:g} s]")
    return "\n".join(one for one in said if one)


def retcode(
    name: str,
    cmd: str | list[str],
    runas: str = "",
    cwd: str = "",
    env: dict[str, str] | None = None,
    stdin: str = "",
    timeout: float = 60.0,
) -> int:
    """
    Run a command in a running guest and return its exit code; 124 where it was killed after ``timeout`` seconds.

    The arguments are those of :py:func:`run_all`.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_exec.retcode web 'test -e /etc/nginx/nginx.conf'
    """
    return int(run_all(name, cmd, runas, cwd, env, stdin, timeout, 0)["retcode"])


def read(name: str, path: str, most_bytes: int = transport.MOST, base64: bool = False) -> str:
    """
    Return what a file in a running guest holds.

    path
        Its absolute path there; links are followed there.
    most_bytes
        Refuse a larger file than this, by default 1 MiB.
    base64
        Return it in base64, whole, as a file that is no text needs; by default what is no UTF-8 is replaced.

    CLI Example:

    .. code-block:: bash

        salt kvm1 libvirt_exec.read web /etc/hostname
    """
    with _inside(name) as inside:
        data = transport.read(inside, files.checked_path(path), most_bytes)
    return b64encode(data).decode() if base64 else data.decode(errors="replace")


def write(name: str, path: str, contents: str, mode: str | int = "", owner: str = "", base64: bool = False) -> bool:
    """
    Write a file in a running guest, whole or not at all; returns True.

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

        salt kvm1 libvirt_exec.write web /etc/motd 'be kind' mode=0644
    """
    try:
        data = b64decode(contents, validate=True) if base64 else str(contents).encode()
        bits = int(str(mode), 8) if str(mode) else None
    except ValueError as err:
        raise SaltInvocationError(f"the contents are no base64, or {mode!r} is no mode: {err}") from err
    with _inside(name) as inside:
        files.write(inside, path, data, bits)
        if owner:
            user, _, group = owner.partition(":")
            files.set_owner(inside, path, user, group)
    return True


def script(
    name: str,
    source: str,
    args: str = "",
    runas: str = "",
    cwd: str = "",
    env: dict[str, str] | None = None,
    timeout: float = 60.0,
    most_bytes: int = transport.MOST,
    saltenv: str = "base",
) -> dict[str, Any]:
    """
    Run a script of the master's files in a running guest; returns the same as :py:func:`run_all`.

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

        salt kvm1 libvirt_exec.script web salt://scripts/check.sh 'a b' timeout=300
    """
    if not str(source).startswith("salt://"):
        raise SaltInvocationError(f"{source!r} is no file of the master (salt://…)")
    found = __salt__["cp.cache_file"](source, saltenv)
    if not found:
        raise CommandExecutionError(f"the master has no {source} in {saltenv}")
    body = Path(found).read_bytes()
    try:
        words = [*transport.interpreter(body), "/dev/stdin", *shlex.split(str(args))]
    except (ConfigurationError, ValueError) as err:
        raise SaltInvocationError(str(err)) from err
    return _run(name, words, (str(runas), str(cwd), env), body, timeout, most_bytes)
