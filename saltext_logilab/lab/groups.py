"""
The masters of a lab made one group, as an operator does it: init on the first, an invite for each of the others.

Whether a master is in a group is seen by the file that its engine keeps of it.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from saltext_logilab.errors import UnavailableError
from saltext_logilab.lab import configs

Run = Callable[..., "subprocess.CompletedProcess[str]"]

GROUP = Path("state", "masters", "group.json")


def is_in_one(folder: Path, name: str) -> bool:
    """Say whether the master ``name`` of the lab in ``folder`` is in a group."""
    return (configs.root(folder, name) / GROUP).exists()


def unite(folder: Path, names: Iterable[str], run: Run, timeout: float) -> None:
    """
    Make the masters ``names`` one group, those that are in none.

    :param run: runs a command at a member, as :meth:`Lab.run`.
    :raises UnavailableError: it did not work out within ``timeout`` seconds.
    """
    first, *others = names
    deadline = time.monotonic() + timeout
    if not is_in_one(folder, first):
        _until_done(lambda: _call(run, first, "init"), deadline)
    for name in others:
        if not is_in_one(folder, name):
            invite = configs.root(folder, first) / "state" / f"{name}.invite"
            try:
                invite.unlink(missing_ok=True)
                _until_done(lambda path=invite: _call(run, first, "invite", str(path)), deadline)  # type: ignore[misc]
                _until_done(lambda path=invite, at=name: _call(run, at, "join", str(path)), deadline)  # type: ignore[misc]
            finally:
                invite.unlink(missing_ok=True)


def _call(run: Run, master: str, *words: str) -> str:
    """Run ``masters.<words>`` at ``master``; return what is wrong, empty when nothing is."""
    done = run(master, "salt-run", f"masters.{words[0]}", *words[1:], "--out", "json", "--log-level", "quiet")
    try:
        told: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return (done.stderr or done.stdout).strip()[-300:] or f"exit code {done.returncode}"
    return str(told.get("error", ""))


def _until_done(step: Callable[[], str], deadline: float) -> None:
    while error := step():
        if time.monotonic() > deadline:
            raise UnavailableError(f"the masters could not be made one group: {error}")
        time.sleep(0.2)
