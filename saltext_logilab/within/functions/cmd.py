"""
Commands inside a resource, in the place of those of its minion.

A text is given to the shell inside, a list of words is run as it is. A command that takes too long is killed inside,
with all that it has started, and its code is 124; of its output 1 MiB is kept, and it is said that it was cut.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from salt.exceptions import SaltInvocationError

from saltext_logilab.within import publication, salted, sources, telling, transport

if TYPE_CHECKING:
    __context__: dict[str, Any]
    __opts__: dict[str, Any]
    __resource__: dict[str, Any]
    __resource_funcs__: dict[str, Any]

# What Salt's own cmd takes as well and what means nothing here, or what it means here anyhow.
_NOTHING = (
    "python_shell",
    "output_loglevel",
    "hide_output",
    "use_vt",
    "rstrip",
    "saltenv",
    "log_callback",
    "raise_err",
)


def _checked(options: dict[str, Any]) -> None:
    """Refuse an option that would be left out: a command must not run otherwise than it was asked to."""
    wrong = [name for name, value in options.items() if name not in _NOTHING and not name.startswith("__") and value]
    if wrong:
        raise SaltInvocationError(f"{', '.join(sorted(wrong))}: no option of a command inside a resource")


def _told(command: Any) -> Any:
    """Return a command as it was typed: a command line turns ``true`` and ``7`` into something else."""
    if isinstance(command, bool):
        return str(command).lower()
    return str(command) if isinstance(command, int | float) else command


def _done(function: str, command: Any, stdin: bytes, most_bytes: int, told: dict[str, Any]) -> dict[str, Any]:
    with publication.reached(__resource__, __resource_funcs__, __opts__, function) as inside:
        words = transport.words(inside, _told(command))
        if told["shell"] and isinstance(command, str):
            words = (str(told["shell"]), *words[1:])
        extra = {str(key): str(value) for key, value in (told["env"] or {}).items()}
        place = (str(told["runas"] or ""), str(told["cwd"] or ""), extra)
        timeout = transport.TIMEOUT if told["timeout"] is None else told["timeout"]
        done = inside.run(transport.Command(words, *place, stdin, timeout, most_bytes))
    answer = telling.mapping(done)
    is_expected = answer["retcode"] in (told["success_retcodes"] or ())
    if "retcode" in __context__ or answer["retcode"]:
        __context__["retcode"] = 0 if told["ignore_retcode"] or is_expected else answer["retcode"]
    if is_expected:
        answer["retcode"] = 0
    return {**answer, **{key: answer[key].rstrip("\n") for key in ("stdout", "stderr")}, "pid": 0, "timeout": timeout}


def _text(answer: dict[str, Any], *streams: str) -> str:
    return telling.text(answer, answer["timeout"], *streams)


def run_all(
    cmd: Any,
    cwd: str | None = None,
    stdin: str = "",
    runas: str | None = None,
    shell: str | None = None,
    env: dict[str, Any] | None = None,
    timeout: float | None = None,
    ignore_retcode: bool = False,
    success_retcodes: list[int] | None = None,
    most_bytes: int = transport.MOST,
    **options: Any,
) -> dict[str, Any]:
    """
    Run a command inside and return what came of it.

    A mapping of ``retcode``, ``stdout`` and ``stderr`` (bytes that are no UTF-8 are replaced), ``cut`` (there was more
    output than ``most_bytes``; it is counted in ``bytes``) and ``timed_out``.

    cmd
        A text for the shell inside, or a list of words, for which none is needed.
    cwd
        The folder inside; by default that of the resource.
    stdin
        What the command reads.
    runas
        The user or ``user:group`` inside; by default that of the resource.
    shell
        Another shell than ``/bin/sh``.
    env
        What more stands in its environment.
    timeout
        Seconds after which it is killed, by default 60.
    ignore_retcode
        Do not take another code than 0 for a failure of the job.
    success_retcodes
        Further codes that mean success.
    most_bytes
        How much of the output is kept at most, by default 1 MiB.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' cmd.run_all 'ps | wc -l'
    """
    _checked(options)
    told: dict[str, Any] = {"cwd": cwd, "runas": runas, "shell": shell, "env": env, "timeout": timeout}
    told |= {"ignore_retcode": ignore_retcode, "success_retcodes": success_retcodes}
    return _done("cmd.run_all", cmd, str(stdin or "").encode(), most_bytes, told)


def run(
    cmd: Any,
    cwd: str | None = None,
    stdin: str = "",
    runas: str | None = None,
    shell: str | None = None,
    env: dict[str, Any] | None = None,
    timeout: float | None = None,
    ignore_retcode: bool = False,
    success_retcodes: list[int] | None = None,
    most_bytes: int = transport.MOST,
    **options: Any,
) -> str:
    """
    Run a command inside and return its output, that of errors behind the other.

    Output that was cut, and a time-out, are said in a last line. The arguments are those of :py:func:`run_all`.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' cmd.run 'cat /etc/hostname'
        salt -C 'T@docker' cmd.run '["/app", "--version"]' timeout=5
    """
    _checked(options)
    told: dict[str, Any] = {"cwd": cwd, "runas": runas, "shell": shell, "env": env, "timeout": timeout}
    told |= {"ignore_retcode": ignore_retcode, "success_retcodes": success_retcodes}
    return _text(_done("cmd.run", cmd, str(stdin or "").encode(), most_bytes, told), "stdout", "stderr")


def run_stdout(cmd: Any, cwd: str | None = None, timeout: float | None = None, **options: Any) -> str:
    """
    Run a command inside and return what it says, without its errors; the arguments are those of :py:func:`run_all`.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' cmd.run_stdout 'nginx -T'
    """
    return _text(run_all(cmd, cwd=cwd, timeout=timeout, **options), "stdout")


def run_stderr(cmd: Any, cwd: str | None = None, timeout: float | None = None, **options: Any) -> str:
    """
    Run a command inside and return its errors alone; the arguments are those of :py:func:`run_all`.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' cmd.run_stderr 'nginx -t'
    """
    return _text(run_all(cmd, cwd=cwd, timeout=timeout, **options), "stderr")


def shell(cmd: str, cwd: str | None = None, timeout: float | None = None, **options: Any) -> str:
    """
    Run a text by the shell inside: the same as :py:func:`run`.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' cmd.shell 'echo $HOSTNAME'
    """
    return run(cmd, cwd=cwd, timeout=timeout, **options)


def retcode(cmd: Any, cwd: str | None = None, timeout: float | None = None, **options: Any) -> int:
    """
    Run a command inside and return its exit code; 124 where it was killed at its time-out.

    The arguments are those of :py:func:`run_all`.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' cmd.retcode 'test -e /etc/nginx/nginx.conf'
    """
    return int(run_all(cmd, cwd=cwd, timeout=timeout, **{"most_bytes": 4096, **options})["retcode"])


def has_exec(cmd: str) -> bool:
    """
    Say whether a program is on the usual paths inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' cmd.has_exec nginx
    """
    folders = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        return any(inside.has(posixpath.join(folder, posixpath.basename(cmd))) for folder in folders)


def script(
    source: str,
    args: str = "",
    cwd: str | None = None,
    runas: str | None = None,
    env: dict[str, Any] | None = None,
    timeout: float | None = None,
    saltenv: str = "base",
    ignore_retcode: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """
    Run a script of the master's files inside and return what came of it, as :py:func:`run_all`.

    Nothing is left inside: the interpreter of its first line, else ``/bin/sh``, reads it from its standard input.

    source
        A file of the master (``salt://…``).
    args
        The arguments, as they stand on a command line.
    saltenv
        The environment whose files it is one of.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker' cmd.script salt://scripts/check.sh 'a b'
    """
    _checked(options)
    with salted.errors():
        body = sources.read(source, __opts__, saltenv)
        words = [*transport.interpreter(body), "/dev/stdin", *transport.split(str(args or ""))]
    told: dict[str, Any] = {"cwd": cwd, "runas": runas, "shell": None, "env": env, "timeout": timeout}
    told |= {"ignore_retcode": ignore_retcode, "success_retcodes": None}
    return _done("cmd.script", words, body, transport.MOST, told)
