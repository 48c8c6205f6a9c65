"""
Commands inside a guest, by its agent's ``guest-exec``: nothing else has to be installed there.

What comes out is taken as hostile: it is bounded in the guest already, and may be no text. A script around the command
ends it inside at the time-out, with all that it has started, whatever becomes of the minion meanwhile.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from saltext_logilab.errors import ConfigurationError, UnavailableError, WireError
from saltext_logilab.guests import agent as agents
from saltext_logilab.guests import carrying
from saltext_logilab.guests.agent import Agent, AgentRefusal
from saltext_logilab.within.transport import SHELL, Command, Done

MARK = "LOGILAB_EXEC"
MOST = 1024 * 1024  # of each stream in the agent's answer; what is more goes by way of a file in the guest
MOST_INPUT = carrying.PUT // 2  # with the words in one question; what is more goes by way of a file
MOST_BY_FILE = 64 * 1024 * 1024
MOST_WORDS = 64 * 1024
BLOCK = 4096
LONGEST = 30 * 24 * 3600
SOON = 30.0
GRACE = 60.0  # seconds for what has been killed to be gone
FOLDER = "/tmp"  # noqa: S108 - in the guest, and nobody there can guess the mark
_CLOSED = 'umask 077; : > "$0"'
_PAUSES = (0.02, 1.0)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@$-]*")
_TOLD = re.compile(
    rb"\n(?P<mark>[0-9a-f]{32}) (?P<end>[a-z]+) (?P<code>\d{1,3}) (?P<out>\d{1,18}) "
    rb"(?P<err>\d{1,18})\n\Z"
)

# Its words: mark, seconds, blocks kept of output and of errors, user, folder, files of the output and of the input or
# nothing, and the command. The command runs in a session and, where the kernel has them, a cgroup of its own, and bears
# the mark in its environment. The last line on standard error says how it ended and how much output there was: the
# pipes' readers keep so many blocks and count the rest.
SCRIPT = r"""
mark=$1 limit=$2 outs=$3 errs=$4 user=$5 folder=$6 file=$7 input=$8; shift 8
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
say() { printf '\n%s %s %s %s %s\n' "$mark" "$1" "${2:-0}" "${3:-0}" "${4:-0}" >&2; exit 0; }
export PATH
[ -z "$user" ] || id "$user" > /dev/null 2>&1 || say user
cd -- "${folder:-/}" 2> /dev/null || say folder
group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup 2> /dev/null)/logilab-$mark
if [ -n "$input" ]; then
    exec < "$input"
    rm -f "$input"
fi
mkdir "$group" 2> /dev/null && [ -w "$group/cgroup.kill" ] || { rmdir "$group" 2> /dev/null; group=; }
begin() {
    [ -z "$group" ] || echo 0 > "$group/cgroup.procs"
    set -- env "LOGILAB_EXEC=$mark" "$@"
    if [ -n "$user" ]; then
        as=su; ! command -v runuser > /dev/null 2>&1 || as=runuser
        how='exec "$@"'  # what root has opened can be read, but not opened anew as /dev/stdin
        [ -c /proc/self/fd/0 ] || how='cat | "$@"'
        set -- "$as" -s /bin/sh -c "$how" -- "$user" sh "$@"
    fi
    ! command -v setsid > /dev/null 2>&1 || set -- setsid "$@"
    exec "$@"
}
all() {
    found=
    for one in $(grep -l "LOGILAB_EXEC=$mark" /proc/[0-9]*/environ 2> /dev/null); do
        one=${one#/proc/}; found="$found ${one%/environ}"
    done
    more=yes
    while [ -n "$more" ]; do
        more=
        for one in /proc/[0-9]*; do
            one=${one#/proc/}
            case " $found " in *" $one "*) continue ;; esac
            { read -r line < "/proc/$one/stat"; } 2> /dev/null || continue
            line=${line##*) }; parent=${line#? }
            case " $found " in *" ${parent%% *} "*) more=yes found="$found $one" ;; esac
        done
    done
    for one in $found; do
        { read -r line < "/proc/$one/stat"; } 2> /dev/null || continue
        case ${line##*) } in [ZX]*) ;; *) echo "$one" ;; esac
    done
}
end() {
    for round in 1 2 3 4 5 6 7 8 9 10; do
        [ -z "$group" ] || echo 1 > "$group/cgroup.kill" 2> /dev/null
        left=$(all)
        [ -n "$left" ] || exit 9
        kill -9 $left 2> /dev/null
        sleep 0.1 2> /dev/null || sleep 1
    done
    exit 8
}
watch() {
    trap 'kill "$rest"; exit 0' TERM
    sleep "$limit" & rest=$!
    wait "$rest"
    trap '' TERM
    end
}
keep() { dd bs=4096 count="$2" iflag=fullblock 2> /dev/null; echo "$1=$(wc -c)" >&5; }
watch < /dev/null > /dev/null 2>&1 & watcher=$!
exec 3>&1 4>&2
if [ -n "$file" ]; then
    (umask 077; : > "$file") 2> /dev/null || say file
    exec 3> "$file"
fi
told=$(
    exec 5>&1
    {
        {
            (begin "$@" 2>&6 3>&- 4>&- 5>&- 6>&- 7>&-)
            echo "code=$?" >&5
        } 6>&1 1>&7 2> /dev/null | keep err "$errs" >&4
    } 7>&1 | keep out "$outs" >&3
)
kill "$watcher" 2> /dev/null
wait "$watcher"
case $? in 9) how=killed ;; 8) how=left ;; *) how=ended ;; esac
[ -z "$group" ] || rmdir "$group" 2> /dev/null
code=137 out=0 err=0
for one in $told; do
    case $one in code=*) code=${one#*=} ;; out=*) out=${one#*=} ;; err=*) err=${one#*=} ;; esac
done
say "$how" "$code" "$out" "$err"
"""


class NoExecError(UnavailableError):
    """The agent of a guest may run no commands."""


def run(agent: Agent, command: Command) -> Done:
    """
    Run ``command`` in the guest to its end, or kill it there at its time-out.

    :raises ConfigurationError: a part of it is impossible.
    :raises NotRunningError: the guest stopped meanwhile.
    :raises NoExecError: its agent may run no commands.
    :raises UnavailableError: the guest has no agent; it has no shell, no such user or folder.
    :raises WireError: what came back is no answer.
    """
    _check(command)
    mark = secrets.token_hex(16)
    file = f"{FOLDER}/.logilab-{mark}" if command.most_bytes > MOST else ""
    try:
        stdout, stderr = _done(agent, command, mark, file)
        _read(agent.name, command, mark, stdout, stderr)
        if file:
            stdout = b"".join(carrying.fetch(agent, file, MOST_BY_FILE))
    finally:
        if file:
            _done(agent, Command(("rm", "-f", file), timeout=SOON), mark, "")
    return _read(agent.name, command, mark, stdout, stderr)


def _done(agent: Agent, command: Command, mark: str, file: str) -> tuple[bytes, bytes]:
    """Return all that the script has written, once it has ended."""
    by_file = len(command.stdin) > MOST_INPUT
    source = f"{FOLDER}/.logilab-{mark}.in" if by_file else ""
    if by_file:
        _done(agent, Command((SHELL, "-c", _CLOSED, source), timeout=SOON), mark, "")
        carrying.put(agent, source, command.stdin)
    pid = _start(agent, _arguments(command, mark, file, source), b"" if by_file else command.stdin)
    return _wait(agent, pid, command.timeout + GRACE)


def _check(command: Command) -> None:
    """:raises ConfigurationError: a part of ``command`` is impossible."""
    if not 0 < command.timeout <= LONGEST or command.most_bytes < 0:
        raise ConfigurationError(
            f"timeout must be positive and at most {LONGEST}, not {command.timeout!r}, and most_bytes not negative"
        )
    if command.user and not _USER.fullmatch(command.user):
        raise ConfigurationError(f"{command.user!r} is no name of a user")
    if wrong := [key for key in command.env if not _NAME.fullmatch(key)]:
        raise ConfigurationError(f"{wrong[0]!r} is no name of an environment variable")
    said = (*command.words, *command.env.values(), command.cwd)
    if any("\0" in one for one in said) or max(len(one.encode()) for one in said) > MOST_WORDS:
        raise ConfigurationError(f"a word of the command holds a null byte, or more than {MOST_WORDS} bytes")


def _arguments(command: Command, mark: str, file: str, source: str) -> list[str]:
    env = [f"{key}={value}" for key, value in command.env.items()]
    seconds = f"{command.timeout:.3f}".rstrip("0").rstrip(".")  # a plain sleep takes whole numbers alone
    kept = [str(-(-min(command.most_bytes, most) // BLOCK)) for most in (MOST_BY_FILE if file else MOST, MOST)]
    told = [mark, seconds, *kept, command.user, command.cwd, file, source]
    return ["-c", SCRIPT, "logilab", *told, *(["env", *env] if env else []), *command.words]


def _start(agent: Agent, arguments: list[str], stdin: bytes) -> int:
    asked = {"path": SHELL, "arg": arguments, "capture-output": True}
    if stdin:
        asked["input-data"] = agents.encoded(stdin)
    try:
        return agent.number("guest-exec", asked, "pid")
    except AgentRefusal as err:
        if not agent.allows("guest-exec"):
            raise NoExecError(
                f"the agent of the guest {agent.name!r} may run no commands: its configuration there forbids guest-exec"
            ) from err
        raise UnavailableError(f"the guest {agent.name!r} has no {SHELL} that starts: {err}") from err


def _wait(agent: Agent, pid: int, limit: float) -> tuple[bytes, bytes]:
    """Return all that the script has written; ask at first often, then each second."""
    end, (pause, slowest) = agent.clock() + limit, _PAUSES
    what = f"guest-exec of the guest {agent.name!r}"
    while not (told := _status(agent, pid)).get("exited"):
        if agent.clock() > end:
            raise UnavailableError(f"the command in the guest {agent.name!r} took too long and could not be killed")
        agent.pause(pause)
        pause = min(pause * 1.5, slowest)
    room = MOST + BLOCK  # with what the script itself says
    return agents.decoded(told.get("out-data"), what, room), agents.decoded(told.get("err-data"), what, room)


def _status(agent: Agent, pid: int) -> Mapping[str, object]:
    try:
        return agent.mapping("guest-exec-status", {"pid": pid})
    except AgentRefusal as err:  # it knows no such command any more
        raise UnavailableError(f"the agent of the guest {agent.name!r} was restarted while the command ran") from err


def _read(name: str, command: Command, mark: str, stdout: bytes, stderr: bytes) -> Done:
    """Return what came of it, by the script's last line."""
    told = _TOLD.search(stderr)
    if told is None or told["mark"] != mark.encode():
        raise WireError(f"guest-exec of the guest {name!r}: the answer has no end: {agents.short(stderr[-200:])}")
    wrong = {
        b"user": f"there is no user {command.user!r} in the guest {name!r}",
        b"folder": f"there is no folder {command.cwd!r} in the guest {name!r}",
        b"file": f"the guest {name!r} has no /tmp where the output could be kept",
        b"left": f"the command in the guest {name!r} took too long and could not be killed",
    }
    if told["end"] in wrong:
        raise UnavailableError(wrong[told["end"]])
    out = stdout[: command.most_bytes]
    err = stderr[: told.start()][: max(0, command.most_bytes - len(out))]
    code = int(told["code"]) if told["end"] == b"ended" else None
    return Done(code, out, err, len(stdout) + told.start() + int(told["out"]) + int(told["err"]))
