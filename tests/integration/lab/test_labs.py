"""Labs of other kinds, labs that were left by a crash, and what is refused."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from saltext_logilab.errors import RefusedError, UnavailableError
from saltext_logilab.lab import daemons, directory, layout, networks
from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Wish
from tests.support.labs import LabFactory, end, short_folder
from tests.support.waiting import wait_until

PATIENCE = 60
SALT_LAB = [sys.executable, "-m", "saltext_logilab.lab.cli"]


def mentioning(text: str) -> list[str]:
    """Return the command lines of all processes that name ``text``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_text().replace("\0", " ")
        except OSError:
            continue
        if text in command:
            found.append(command)
    return found


def test_crash_in_up_then_resume_then_down() -> None:
    """After a SIGKILL of salt-lab in mid-up, status tells what runs, up completes it, and down leaves nothing."""
    with short_folder() as base:
        lab = Lab(base / "lab")
        try:
            up = subprocess.Popen([*SALT_LAB, "up", "--lab", str(lab.folder), "--masters", "1", "--minions", "1"])
            wait_until(lambda: daemons.read(lab.folder / "paris"), PATIENCE, "a record of paris")
            up.send_signal(signal.SIGKILL)
            up.wait()
            states = {one.name: one.state for one in lab.status()}
            assert states["paris"] != "down"
            lab.up()
            assert [one.state for one in lab.status()] == ["up", "up"]
            assert lab.keys("paris")["pending"] == ["m1"]
            done = subprocess.run(
                [*SALT_LAB, "down", "--lab", str(lab.folder)], capture_output=True, text=True, check=True
            )
            assert "is gone" in done.stdout
            assert mentioning(str(lab.folder)) == []
            assert not lab.folder.exists()
            assert list(base.iterdir()) == []
            again = subprocess.run(
                [*SALT_LAB, "down", "--lab", str(lab.folder)], capture_output=True, text=True, check=True
            )
            assert "there is no lab" in again.stdout
        finally:
            end(lab)


def test_failover_by_a_long_path(make_lab: LabFactory, tmp_path: Path) -> None:
    """Failover minions have one master and take the other when it dies; a long path is reached by a short link."""
    lab = make_lab(tmp_path / ("long" * 15), masters=("one", "two"), minions=("web",), kind="failover")
    link = Path(lab.plan.short)
    assert link.is_symlink()
    assert sum("web" in lab.keys(master)["pending"] for master in ("one", "two")) == 1

    def serving() -> tuple[str, ...]:
        for master in ("one", "two"):
            if lab.keys(master)["pending"]:
                lab.run(master, "salt-key", "-A", "-y")
        return next(one.connected for one in lab.status() if one.name == "web")

    wait_until(lambda: len(serving()) == 1, PATIENCE, "web connected to one master")
    (first,) = serving()
    (other,) = {"one", "two"} - {first}
    wait_until(
        lambda: "True" in lab.run(first, "salt", "web", "test.ping").stdout, PATIENCE, f"an answer by way of {first}"
    )
    lab.kill(first)
    wait_until(lambda: serving() == (other,), PATIENCE, f"web connected to {other}")
    lab.down(grace=0)
    assert not link.is_symlink()


def test_a_folder_closed_to_the_masters_user(make_lab: LabFactory, tmp_path: Path) -> None:
    """A folder that the user of the masters cannot enter is refused, and nothing is left."""
    tmp_path.chmod(0o700)
    with pytest.raises(RefusedError, match="nobody cannot enter"):
        make_lab(tmp_path / "lab", masters=("paris",), minions=(), user="nobody")
    assert list(tmp_path.iterdir()) == []


def test_address_in_use(tmp_path: Path) -> None:
    """A network that somebody else uses is one sentence, and nothing is made."""
    network, _ports = networks.choose(1)
    with socket.create_server((f"{network}.1", 4505)):
        done = subprocess.run(
            [*SALT_LAB, "up", "--lab", str(tmp_path / "lab"), "--network", network],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        f"salt-lab: the address {network}.1:4505 is in use: take another --network, or none to have one chosen\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["up", "down", "status", "kill"])
def test_not_a_lab(tmp_path: Path, command: str) -> None:
    """A folder with other things in it is refused and stays as it is."""
    (tmp_path / "thesis.tex").write_text("years of work")
    extra = ["m1"] if command == "kill" else []
    done = subprocess.run(
        [*SALT_LAB, command, "--lab", str(tmp_path), *extra], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "is not empty and no lab" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--masters", "a/b"], "is no name"),
        (["--masters", "0"], "1 to 8 masters"),
        (["--minions", "paris"], "two members"),
        (["--salt", "3005"], "too old"),
        (["--salt", "lille=3006"], "no 'lille'"),
        (["--network", "10.0.0"], "no loopback network"),
        (["--type", "warm"], "invalid choice"),
        (["--user", "no-such-user"], "no user 'no-such-user'"),
    ],
)
def test_wrong_values(tmp_path: Path, arguments: list[str], words: str) -> None:
    """An impossible value is told and exit code 2, before anything is made."""
    folder = str(tmp_path / "lab")
    done = subprocess.run([*SALT_LAB, "up", "--lab", folder, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_daemon_that_cannot_start(tmp_path: Path) -> None:
    """A master that ends at once is told with the last words of its log, and a new lab is removed again."""
    with pytest.raises(UnavailableError, match="paris ended while it was starting; its log ends with"):
        Lab(tmp_path / "lab").up(Wish(masters=("paris",), minions=(), master_options={"user": "no-such-user"}))
    assert list(tmp_path.iterdir()) == []
    assert mentioning(str(tmp_path)) == []


def test_folder_that_was_there_stays(tmp_path: Path) -> None:
    """An empty folder that the user made is there again after an up that failed."""
    with pytest.raises(UnavailableError):
        Lab(tmp_path).up(Wish(masters=("paris",), minions=(), master_options={"user": "no-such-user"}))
    assert tmp_path.is_dir()
    with pytest.raises(directory.NoLabError):
        Lab(tmp_path).status()


def test_user_is_checked_first() -> None:
    """The current user needs no right."""
    layout.check_user(layout.current_user())


def test_fake_minions_of_a_lab(make_lab: LabFactory) -> None:
    """The fake minions of a lab are one daemon: their keys are pending, then accepted; killed, it comes back by up."""
    lab = make_lab(masters=("paris",), minions=("m1",), fake=30)
    assert len(lab.keys("paris")["pending"]) == 31
    lab.run("paris", "salt-key", "-A", "-y")
    lab.up()

    def answers() -> int:
        return lab.run("paris", "salt", "-t", "60", "*", "test.ping", "--out", "txt").stdout.count("True")

    assert {s.name: s.connected for s in lab.status()}["fake"] == ("paris",)
    assert answers() == 31
    lab.kill("fake")
    assert {s.name: s.state for s in lab.status()}["fake"] == "dead"
    lab.up()
    assert answers() == 31
    with pytest.raises(RefusedError, match="fake minions"):
        lab.up(Wish(fake=31))
    lab.down(grace=2)
    assert mentioning(str(lab.folder)) == []
