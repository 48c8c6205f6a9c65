"""A child's wall clock can be set and stepped."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

from tests.support.clocks import FakeClock

TELL = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.monotonic(), flush=True)"


def ask(child: subprocess.Popen[str]) -> tuple[float, float]:
    """Return the child's wall clock as an offset to ours, and its monotonic clock."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n")
    child.stdin.flush()
    wall, monotonic = child.stdout.readline().split()
    return float(wall) - time.time(), float(monotonic)


def test_running_child_sees_steps(faketime: Callable[..., FakeClock]) -> None:
    """A running process sees its wall clock step forth and back by an hour; its monotonic clock only grows."""
    clock = faketime(offset=3600)
    env = {**os.environ, **clock.env}
    argv = [sys.executable, "-c", TELL]
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        ahead, first = ask(child)
        clock.step_to(-3600)
        behind, second = ask(child)
        clock.step_to(0)
        true, third = ask(child)
    assert [round(offset / 3600) for offset in (ahead, behind, true)] == [1, -1, 0]
    assert first < second < third < first + 1800
