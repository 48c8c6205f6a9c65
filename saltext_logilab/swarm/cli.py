"""The command ``salt-swarm``: arguments in, a swarm run, reports and exit codes out."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from saltext_logilab import __version__
from saltext_logilab.errors import ConfigurationError, LogilabError, UnavailableError
from saltext_logilab.swarm import pacing, plot, report, running, spec
from saltext_logilab.swarm.behaviour import Spec
from saltext_logilab.swarm.keys import Pool
from saltext_logilab.swarm.minions import cast, rehearse
from saltext_logilab.swarm.running import Voice, Wishes
from saltext_logilab.swarm.swarm import Swarm

CONFIG = Path("/etc/salt")


def main(arguments: list[str] | None = None) -> int:
    """Run ``salt-swarm``; return its exit code: 0, 1 for what failed, 2 for wrong usage, 130 for Ctrl-C."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(format="salt-swarm: %(message)s", level=logging.WARNING)
    try:
        return int(given.function(given))
    except ConfigurationError as err:
        return _fail(err, 2)
    except LogilabError as err:
        return _fail(err, 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="salt-swarm", description="Fake Salt minions: thousands in one process.")
    parser.add_argument("--version", action="version", version=f"salt-swarm {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        return command

    _add_run(add("run", _run, "let fake minions join masters, until SIGTERM or Ctrl-C"))
    command = add("validate", _validate, "check a specification without any master")
    command.add_argument("spec", metavar="SPEC", type=Path)
    _add_report(add("report", _report, "show what a swarm has seen, or plot what a master bears"))
    _add_record(add("record", _record, "on a master: record what a real minion answers"))
    command = add("clean", _clean, "on a master: remove the keys, grains and mine of fake minions, and nothing else")
    command.add_argument("--config", metavar="DIR", type=Path, default=CONFIG, help="the master's (/etc/salt)")
    command.add_argument("--keys", metavar="DIR", type=Path, help="the folder of the fake minions' keys")
    command.add_argument("--test", action="store_true", help="only say what would be removed")
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    what = run.add_mutually_exclusive_group(required=True)
    what.add_argument("spec", metavar="SPEC", type=Path, nargs="?", help="a specification, in YAML")
    what.add_argument("--minions", metavar="N", type=int, help="N minions fake0, fake1, … without a specification")
    run.add_argument("--master", metavar="HOST[:PORT]", action="append", default=[], help="again for several masters")
    run.add_argument("--yes-master", metavar="HOST", action="append", default=[], help="HOST may be another machine")
    run.add_argument("--type", choices=spec.KINDS, help="how minions use several masters (hot-hot)")
    run.add_argument("--connections", choices=spec.CONNECTIONS, help="a few sockets for all, or each its own (pooled)")
    run.add_argument("--seed", metavar="N", type=int, help="another course of the same specification")
    run.add_argument("--seconds", metavar="N", type=float, default=0.0, help="stop after that time")
    run.add_argument("--report", metavar="FILE", type=Path, help="keep a report in FILE, written anew each second")
    run.add_argument("--master-pid", metavar="PID", type=int, default=0, help="measure the CPU of this salt-master too")
    run.add_argument("--keys", metavar="DIR", type=Path, help="the folder of the minions' keys (the user's cache)")
    run.add_argument("--with-parent", action="store_true", help="end when the process ends that has started this one")
    run.add_argument("--json", action="store_true", help="print the report for a program")


def _add_report(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", type=Path, nargs="+", help="what `run --report` has written")
    command.add_argument("--json", action="store_true", help="for a program")
    command.add_argument("--follow", action="store_true", help="show one line, again and again")
    command.add_argument("--plot", metavar="OUT.svg", type=Path, help="returns/s and the master's CPU against minions")
    command.add_argument("--title", default="What the master bears", help="of the plot")


def _add_record(command: argparse.ArgumentParser) -> None:
    command.add_argument("minion", metavar="MINION")
    command.add_argument(
        "--ask", metavar="'FUN ARGS'", action="append", default=[], help="record this; again for more (a usual set)"
    )
    command.add_argument("--config", metavar="DIR", type=Path, default=CONFIG, help="the master's (/etc/salt)")
    command.add_argument("--output", metavar="FILE", type=Path, required=True)
    command.add_argument("--timeout", metavar="SECONDS", type=int, default=30)
    command.add_argument("--force", action="store_true", help="replace FILE")


def _run(given: argparse.Namespace) -> int:
    wanted = _wanted(given)
    wishes = Wishes(given.report, given.seconds, master_pid=given.master_pid, with_parent=given.with_parent)
    with running.live_line() as show:
        swarm = Swarm(wanted, given.master, yes_master=given.yes_master, keys=given.keys, progress=show)
        voice = Voice(show, (lambda _text: None) if given.json else _say)
        values = pacing.run(running.run(swarm, wishes, voice), wanted.width)
    if not values:
        return _fail("stopped before the keys were made", 130)
    if given.report:
        report.write(given.report, values)
    _say(json.dumps(values) if given.json else report.text(values))
    return 0


def _wanted(given: argparse.Namespace) -> Spec:
    simple = {"groups": {"fake": {"count": given.minions}}}
    wanted = spec.load(given.spec) if given.spec else spec.from_data(simple)
    changes: dict[str, Any] = {"kind": given.type, "connections": given.connections, "seed": given.seed}
    return replace(wanted, **{name: value for name, value in changes.items() if value is not None})


def _validate(given: argparse.Namespace) -> int:
    wanted = spec.load(given.spec)
    minions = cast(wanted)
    rehearse(minions)
    for group in wanted.groups:
        ids = [minion.id for minion in minions if minion.group is group]
        shown = f"{ids[0]} … {ids[-1]}" if len(ids) > 1 else ", ".join(ids) or "none"
        _say(f"{group.name}: {group.count} minions: {shown}")
    return 0


def _report(given: argparse.Namespace) -> int:
    reports = [report.read(path) for path in given.file]
    if given.plot:
        found = plot.points(reports)
        try:
            given.plot.write_text(plot.svg(found, given.title), encoding="utf-8")
        except OSError as err:
            raise UnavailableError(f"{given.plot} cannot be written: {err.strerror}") from err
        _say(plot.table(found))
        return 0
    if given.follow:
        with running.live_line(sys.stdout) as show:
            while True:
                show(report.line(report.read(given.file[0])))
                time.sleep(1)
    for values in reports:
        _say(json.dumps(values, indent=2) if given.json else report.text(values))
    return 0


def _record(given: argparse.Namespace) -> int:
    from saltext_logilab.swarm import recorder  # noqa: PLC0415  # it loads all of Salt

    commands = given.ask or list(recorder.USUAL)
    if "grains.items" not in commands:
        commands = ["grains.items", *commands]
    recording = recorder.record(given.config, given.minion, commands, given.timeout)
    recorder.write(recording, given.output, force=given.force)
    numbers = f"{len(recording['answers'])} answers and {len(recording['grains'])} grains"
    _say(f"{numbers} of {given.minion} are in {given.output}")
    return 0


def _clean(given: argparse.Namespace) -> int:
    from saltext_logilab.swarm import cleaning  # noqa: PLC0415  # it loads all of Salt

    cleaned = cleaning.clean(cleaning.options(given.config), Pool(given.keys), test=given.test)
    verb = "would be removed" if given.test else "are removed"
    _say(f"{len(cleaned.minions)} fake minions {verb}; {cleaned.left} other keys are left alone")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _fail(reason: object, code: int) -> int:
    sys.stderr.write(f"salt-swarm: {reason}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
