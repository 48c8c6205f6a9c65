"""The command ``salt-lab``: arguments in, :class:`~saltext_logilab.lab.lab.Lab` called, tables and exit codes out."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import NoReturn

from saltext_logilab import __version__
from saltext_logilab.errors import ConfigurationError, LogilabError
from saltext_logilab.lab import directory, plan, show, story
from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Wish

RCFILE = """\
[ -f ~/.bashrc ] && . ~/.bashrc
PATH={bin}:$PATH
PS1='({name}) '"$PS1"
"""


def main(arguments: list[str] | None = None) -> int:
    """Run ``salt-lab``; return its exit code: 0, 1 for what failed, 2 for wrong usage, 130 for Ctrl-C."""
    given = _parser().parse_args(arguments)
    line = show.Line()
    try:
        folder = given.lab or directory.default_folder().with_name(given.folder)
        return int(given.function(given, Lab(folder, line), line))
    except ConfigurationError as err:
        line.clear()
        return _fail(err, 2)
    except LogilabError as err:
        line.clear()
        return _fail(err, 1)
    except KeyboardInterrupt:
        line.clear()
        return _fail("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--lab", metavar="DIR", type=Path, help="the lab's folder")
    parser = argparse.ArgumentParser(prog="salt-lab", description="Real Salt masters and minions on one machine.")
    parser.add_argument("--version", action="version", version=f"salt-lab {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, parents=[common], help=text, description=text)
        command.set_defaults(function=function, folder="lab")
        return command

    _add_up(add("up", _up, "start a lab, or what is missing of it"))
    add("status", _status, "show how each daemon is").add_argument("--json", action="store_true", help="for a program")
    command = add("run", _run, "run a program of Salt's at a master or minion: salt-lab run paris salt-key -L")
    command.add_argument("name")
    command.add_argument("command", nargs=argparse.REMAINDER)
    add("shell", _shell, "a shell in which salt, salt-key … are a master's").add_argument("name", nargs="?")
    command = add("logs", _logs, "show what a daemon says")
    command.add_argument("name")
    command.add_argument("-f", "--follow", action="store_true", help="go on")
    command.add_argument("-n", "--lines", type=int, default=40, help="how many lines (40)")
    add("start", _start, "start a daemon").add_argument("name")
    add("stop", _stop, "stop a daemon").add_argument("name")
    add("restart", _restart, "stop a daemon and start it again").add_argument("name")
    add("kill", _kill, "kill a daemon with SIGKILL, with all its processes").add_argument("name")
    add("down", _down, "end all daemons and remove the lab; asks nothing")
    add("demo", _demo, "tell a short story with real commands, in a lab of its own").set_defaults(folder="demo")
    return parser


def _add_up(up: argparse.ArgumentParser) -> None:
    up.add_argument("--masters", metavar="N|NAMES", help="how many, or paris,nantes (2)")
    up.add_argument("--minions", metavar="N|NAMES", help="how many, or web1,web2 (4)")
    up.add_argument("--fake", metavar="N", help="as many fake minions more, all in one process")
    up.add_argument("--salt", metavar="VERSIONS", help="3007 for all, or paris=3006,m1=3008 (the installed one)")
    up.add_argument("--type", choices=plan.KINDS, help="how minions use several masters (hot-hot)")
    up.add_argument("--user", help="who the masters run as (you)")
    up.add_argument("--network", metavar="127.x.y", help="the masters' addresses (a free one by chance)")
    up.add_argument(
        "--store", metavar="KIND=WHERE", help="what the masters share: etcd=HOST:PORT or postgresql=DSN (none)"
    )
    up.add_argument("--timeout", metavar="SECONDS", type=float, default=120, help="how long to wait (120)")
    up.add_argument("--json", action="store_true", help="for a program")


def _up(given: argparse.Namespace, lab: Lab, line: show.Line) -> int:
    wish = Wish(
        masters=plan.parse_masters(given.masters) if given.masters else None,
        minions=plan.parse_minions(given.minions) if given.minions else None,
        fake=plan.parse_fake(given.fake) if given.fake else None,
        salt=plan.parse_salt(given.salt) if given.salt else None,
        kind=given.type,
        user=given.user,
        network=plan.parse_network(given.network) if given.network else None,
        master_options=plan.parse_store(given.store) if given.store else {},
    )
    changed = lab.up(wish, given.timeout)
    line.clear()
    if given.json:
        show.say(show.as_json(lab.status(), str(lab.folder)))
        return 0
    if not changed:
        show.say(f"the lab in {lab.folder} is up already")
    show.statuses(lab.status())
    return 0


def _status(given: argparse.Namespace, lab: Lab, _line: show.Line) -> int:
    if given.json:
        show.say(show.as_json(lab.status(), str(lab.folder)))
    else:
        show.statuses(lab.status())
    return 0


def _run(given: argparse.Namespace, lab: Lab, _line: show.Line) -> int:
    if not given.command:
        raise ConfigurationError(f"what to run? Such as: salt-lab run {given.name} salt-key -L")
    _become(*lab.command(given.name, given.command))


def _shell(given: argparse.Namespace, lab: Lab, _line: show.Line) -> int:
    name = given.name or lab.plan.masters[0].name
    shell = os.environ.get("SHELL") or "/bin/sh"
    command, environment = lab.command(name, [shell])
    folder = lab.folder / name / "bin"
    if Path(shell).name == "bash":
        rcfile = lab.folder / name / "etc" / "bashrc"
        rcfile.write_text(RCFILE.format(bin=shlex.quote(str(folder)), name=name))
        command += ["--rcfile", str(rcfile), "-i"]
    programs = ", ".join(sorted(path.name for path in folder.iterdir()))
    show.say(f"{programs} are those of {name} here; leave with exit")
    _become(command, environment)


def _logs(given: argparse.Namespace, lab: Lab, _line: show.Line) -> int:
    path = lab.log(given.name)
    if not path.is_file():
        raise LogilabError(f"{given.name} has not been started yet, so it has no log")
    follow = ["-F"] if given.follow else []
    _become(["tail", "-n", str(given.lines), *follow, str(path)], dict(os.environ))


def _start(given: argparse.Namespace, lab: Lab, line: show.Line) -> int:
    started = lab.start(given.name)
    line.clear()
    show.say(f"{given.name} is up" + ("" if started else " already"))
    return 0


def _stop(given: argparse.Namespace, lab: Lab, _line: show.Line) -> int:
    lab.stop(given.name)
    show.say(f"{given.name} is down")
    return 0


def _restart(given: argparse.Namespace, lab: Lab, line: show.Line) -> int:
    lab.restart(given.name)
    line.clear()
    show.say(f"{given.name} is up again")
    return 0


def _kill(given: argparse.Namespace, lab: Lab, _line: show.Line) -> int:
    lab.kill(given.name)
    show.say(f"{given.name} is dead; start it again with: salt-lab start {given.name}")
    return 0


def _down(_given: argparse.Namespace, lab: Lab, line: show.Line) -> int:
    try:
        lab.down()
    except directory.NoLabError:
        show.say(f"there is no lab in {lab.folder}")
        return 0
    line.clear()
    show.say(f"the lab in {lab.folder} is gone")
    return 0


def _demo(_given: argparse.Namespace, lab: Lab, line: show.Line) -> int:
    story.tell(lab, line)
    return 0


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    """Become the program ``command``, which then has the terminal, and gives its own exit code."""
    sys.stdout.flush()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execvpe(command[0], command, environment)  # noqa: S606  # a list of arguments, no shell


def _fail(reason: object, code: int) -> int:
    show.say(f"salt-lab: {reason}", sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
