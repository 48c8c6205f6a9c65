"""How the demo's parts are told: commands with their real output, and claims that are looked at."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path

from saltext_logilab.errors import LogilabError
from saltext_logilab.lab import show
from saltext_logilab.lab.lab import Lab

PATIENCE = 45.0
MOMENT = 2.0


class StoryError(LogilabError):
    """A claim of the demo could not be seen."""


def command(lab: Lab, name: str, text: str, *, shown: bool = True) -> str:
    """Run ``text`` at ``name`` as a user would, show it with its output, and return that."""
    show.say(f"\n{name}$ {text}")
    done = lab.run(name, *shlex.split(text))
    if shown and done.stdout.strip():
        show.say(done.stdout.strip())
    if done.returncode:
        raise StoryError(f"`{text}` at {name} ended with exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def answers(text: str) -> dict[str, object]:
    """Return the answers by minion out of the JSON of ``salt --static``; raises :class:`StoryError`."""
    try:
        return dict(json.loads(text))
    except ValueError as err:
        raise StoryError(f"an answer is no JSON: {text.strip()[:200]!r}") from err


def shown(lab: Lab, words: str) -> None:
    """Show a command of salt-lab that does what the next step does."""
    show.say(f"\n$ {salt_lab(lab, words)}")


def salt_lab(lab: Lab, words: str) -> str:
    """Return the command of salt-lab as a user types it."""
    command, _, rest = words.partition(" ")
    place = shlex.quote(str(lab.folder))
    if lab.folder.is_relative_to(Path.home()):
        place = f"~/{shlex.quote(str(lab.folder.relative_to(Path.home())))}"
    return " ".join(["salt-lab", command, "--lab", place, *([rest] if rest else [])])


def await_(lab: Lab, line: show.Line, condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition`` holds and show that on ``line``; raises :class:`StoryError` when it never does."""
    begin = time.monotonic()
    while not condition():
        waited = time.monotonic() - begin
        if waited > PATIENCE:
            raise StoryError(
                f"{what}: not seen within {PATIENCE:.0f} s; look at it with `{salt_lab(lab, 'logs paris')}`"
            )
        line(f"waiting for {what} ({waited:.0f} s)")
        time.sleep(0.1)


def is_soon(condition: Callable[[], bool]) -> bool:
    """Say whether ``condition`` holds within a moment."""
    end = time.monotonic() + MOMENT
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


def check(claim: bool, otherwise: str) -> None:
    """Go on only if ``claim`` is true; else raise :class:`StoryError`."""
    if not claim:
        raise StoryError(otherwise)
