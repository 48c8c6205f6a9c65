"""tools/install.py, run: what it says and leaves when something that it needs cannot be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import install

BASE_PYTHON = str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
UNREACHABLE = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:1/",
    "PIP_NO_CACHE_DIR": "1",
    "PIP_RETRIES": "1",
}


class Installer:
    """A copy of what the installer reads, so that each run has a project and an environment of its own."""

    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        self.venv = root / "venv"
        self.bin = root / "bin"
        (self.project / "tools").mkdir(parents=True)
        self.bin.mkdir()
        shutil.copy(install.__file__, self.project / "tools" / "install.py")
        for name in ("setup.cfg", "pyproject.toml"):
            shutil.copy(install.ROOT / name, self.project / name)

    def command(self, target: str) -> list[str]:
        """Return the command that installs ``target``."""
        return [BASE_PYTHON, str(self.project / "tools" / "install.py"), "--venv", str(self.venv), target]

    def run(self, target: str, *prefix: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Install ``target``; ``prefix`` goes before the command, ``environ`` into its environment."""
        env = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")} | environ
        command = [*prefix, *self.command(target)]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    def offer(self, *programs: str) -> str:
        """Return a PATH on which only ``programs`` are found."""
        for program in programs:
            found = shutil.which(program)
            assert found
            (self.bin / program).symlink_to(found)
        return str(self.bin)


@pytest.fixture
def installer(tmp_path: Path) -> Installer:
    """An installer with an empty environment."""
    return Installer(tmp_path)


def test_a_registry_that_cannot_be_reached(installer: Installer) -> None:
    """It says so in one sentence with the log's path, and the next run does not take the rest for whole."""
    done = installer.run("demo", **UNREACHABLE)
    assert done.returncode == 1
    sentence, log = done.stderr.splitlines()
    assert "a package registry cannot be reached" in sentence
    assert log == f"The log: {installer.venv / 'install.log'}"
    assert "pip install" in (installer.venv / "install.log").read_text(encoding="utf-8")
    assert "demo" not in install.Environment(installer.venv).stamp()


def test_no_compiler_and_no_apt(installer: Installer) -> None:
    """On a system without apt-get it names the packages to install by hand."""
    done = installer.run("demo", PATH=installer.offer("env"), CC="no-such-compiler")
    assert done.returncode == 1
    assert "no apt-get: install what Debian calls gcc libc6-dev by hand" in done.stderr


def test_neither_root_nor_sudo(installer: Installer) -> None:
    """A user without rights gets the command that root has to run."""
    (installer.bin / "apt-get").symlink_to("/bin/false")
    path = installer.offer("env")
    done = installer.run("demo", "/usr/bin/unshare", "--user", "--map-user=1000", PATH=path, CC="no-such-compiler")
    assert done.returncode == 1
    assert "neither root nor sudo: as root run 'apt-get install gcc libc6-dev'" in done.stderr


def test_a_failing_apt_is_told_before_and_after(installer: Installer) -> None:
    """What will be installed is said before apt runs; apt's failure ends the run."""
    apt = installer.bin / "apt-get"
    apt.write_text("#!/bin/sh\necho 'E: Unable to locate package gcc'\nexit 100\n", encoding="utf-8")
    apt.chmod(0o755)
    (installer.bin / "sudo").write_text('#!/bin/sh\nshift\nexec "$@"\n', encoding="utf-8")
    (installer.bin / "sudo").chmod(0o755)
    done = installer.run("demo", PATH=installer.offer("env", "sh", "true"), CC="no-such-compiler")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "install: Debian packages that 'make demo' needs: gcc libc6-dev"
    assert "the package sources of this system lack a package" in done.stderr


def test_a_folder_of_something_else_is_left_alone(installer: Installer) -> None:
    """A folder that this tool did not make is refused and stays as it was."""
    installer.venv.mkdir()
    (installer.venv / "letter.txt").write_text("dear", encoding="utf-8")
    done = installer.run("demo")
    assert done.returncode == 1
    assert "was not made by this tool" in done.stderr
    assert [path.name for path in installer.venv.iterdir()] == ["letter.txt"]


def test_a_half_made_environment_is_made_anew(installer: Installer) -> None:
    """What an interrupted run left is cleared before the environment is made again."""
    stale = installer.venv / "lib" / "stale"
    stale.parent.mkdir(parents=True)
    stale.touch()
    (installer.venv / install.LOCK).touch()
    done = installer.run("demo", **UNREACHABLE)
    assert "virtual environment" in done.stdout
    assert not stale.exists()
    assert (installer.venv / "bin" / "pip").exists()


def test_an_up_to_date_environment_is_left_alone(installer: Installer) -> None:
    """With the stamp of the target nothing is run, written or said: not even a registry is needed."""
    ask = [BASE_PYTHON, "-c", "from tools import install; print(install.digest('demo'))"]
    digest = subprocess.run(ask, cwd=installer.project, capture_output=True, text=True, check=True).stdout.strip()
    environment = install.Environment(installer.venv)
    environment.python.parent.mkdir(parents=True)
    environment.python.touch()
    environment.write_stamp({"demo": digest})
    done = installer.run("demo", **UNREACHABLE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.name for path in installer.venv.iterdir()) == ["bin", install.STAMP]


def test_an_unknown_target_is_refused(installer: Installer) -> None:
    """The targets are named in the answer to a wrong one."""
    done = installer.run("demmo")
    assert done.returncode == 2
    assert "demo" in done.stderr
    assert not installer.venv.exists()
