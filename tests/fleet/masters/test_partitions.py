"""Three real masters in network namespaces of their own that are parted and killed: see tests.support.partitions."""

import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.support.netns import NetworkNamespace
from tests.support.readable import ROOT

ROUNDS = 2
MANY = 20
SEED = 20261126


@pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(MANY, marks=[pytest.mark.soak, pytest.mark.timeout(3000)])])
def test_partitions_end_well(rounds: int) -> None:
    """After each round all three hold exactly the keys that were accepted and not deleted, and one journal."""
    with ExitStack() as stack:
        home, *spaces = (NetworkNamespace.create() for _ in range(4))
        for one in (*spaces, home):
            stack.callback(one.delete)
        series = [sys.executable, "-m", "tests.support.partitions", str(rounds), str(SEED)]
        command = home.command(*series, *(one.name for one in spaces))
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.stdout.startswith("agreed"), done.stdout + done.stderr
