"""Labs for tests: real masters and minions, ended and removed after the test."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from saltext_logilab.lab import directory
from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Wish
from tests.support.waiting import wait_until

LabFactory = Callable[..., Lab]


def accept_all(lab: Lab, timeout: float = 60) -> None:
    """Accept the keys of all minions on every master that is up, and wait until all minions are connected there."""
    masters = [status.name for status in lab.status() if status.role == "master" and status.state == "up"]
    minions = {member.name for member in lab.plan.minions}

    def connected() -> bool:
        for master in masters:  # once more when a minion that asked meanwhile made its key pending again
            if lab.keys(master)["pending"]:
                lab.run(master, "salt-key", "-A", "-y")
        return all(set(masters) <= set(status.connected) for status in lab.status() if status.name in minions)

    wait_until(connected, timeout, f"minions connected to {masters}")


def reach_at(lab: Lab, places: Mapping[str, str], **settings: object) -> None:
    """Let the others reach each master at the ``HOST:PORT`` given for it, and give it further ``settings``."""
    for master, place in places.items():
        lab.kill(master)
        path = lab.folder / master / "etc" / "master"
        config = yaml.safe_load(path.read_text())
        config["logilab"]["masters"]["address"] = place
        path.write_text(json.dumps(config | settings))
        lab.start(master)  # it tells the others
    for master in places:
        wait_until(lambda master=master: _knows(lab, master, places), 60, f"{master} knows where the others are")
    for act in (lab.kill, lab.start):  # links that were dialled by the old addresses still stand
        for master in places:
            act(master)


def _knows(lab: Lab, master: str, places: Mapping[str, str]) -> bool:
    told = json.loads(lab.run(master, "salt-run", "masters.status", "--out", "json").stdout)[master]["members"]
    return all(told[other]["address"] == place for other, place in places.items() if other != master)


@contextmanager
def short_folder() -> Iterator[Path]:
    """Give a folder with a short path that other users can enter, and remove it with all that is in it."""
    folder = Path(tempfile.mkdtemp(prefix="lab-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_lab(wish: Wish, folder: Path | None = None, timeout: float = 120) -> Iterator[Lab]:
    """Start the lab ``wish`` in ``folder`` (a short one of its own); end and remove it afterwards."""
    with ExitStack() as stack:
        lab = Lab(folder or stack.enter_context(short_folder()) / "lab")
        try:
            lab.up(wish, timeout)
            yield lab
        finally:
            end(lab)


def end(lab: Lab) -> None:
    """End ``lab``, if there is one."""
    try:
        lab.down(grace=0)
    except directory.NoLabError:
        return


@pytest.fixture
def make_lab() -> Iterator[LabFactory]:
    """Give ``make_lab(folder=None, **wish)``, which starts a lab (see ``Wish``) that ends with the test."""
    with ExitStack() as stack:

        def make(folder: Path | None = None, **wish: object) -> Lab:
            return stack.enter_context(running_lab(Wish(**wish), folder))  # type: ignore[arg-type]

        yield make


@pytest.fixture(scope="module")
def make_module_lab() -> Iterator[LabFactory]:
    """Give the same as ``make_lab``, for labs that all tests of a module share."""
    with ExitStack() as stack:

        def make(folder: Path | None = None, **wish: object) -> Lab:
            return stack.enter_context(running_lab(Wish(**wish), folder))  # type: ignore[arg-type]

        yield make
