"""
Install what a make target lacks: Debian packages, a virtual environment, the project with the target's extras.

``python3 tools/install.py --venv .venv demo|test|lint|docs``

It needs Python's standard library only, says what it will install before it does, writes the output of apt and pip to
``install.log`` inside the environment, and does nothing when a stamp there says that nothing changed.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036  an older one gets a sentence, not a traceback
    sys.exit(f"install: Python 3.10 or newer is needed, this is {sys.version.split()[0]} ({sys.executable})")

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "tools" / "packages"
STAMP = "install.json"
LOG = "install.log"
LOCK = ".install.lock"
EXTRAS = {
    "demo": ("lab",),
    "test": ("docker", "etcd", "lab", "postgresql", "tests", "virt"),
    "lint": ("lab", "postgresql", "lint"),
    "docs": ("lab", "docs"),
}

# What the end of a log tells about a failure; the first that is found is said.
CAUSES = (
    (r"No space left on device|\[Errno 28\]", "the disk is full"),
    (
        r"NewConnectionError|Failed to establish a new connection|Temporary failure in name resolution"
        r"|Name or service not known|Could not resolve|Connection refused|Network is unreachable"
        r"|ConnectTimeoutError|Read timed out|ProxyError|Failed to fetch",
        "a package registry cannot be reached: is there a network, a proxy, a mirror to set (PIP_INDEX_URL)?",
    ),
    (r"CERTIFICATE_VERIFY_FAILED", "the certificate of a package registry is not trusted here"),
    (r"Could not get lock|Unable to lock", "another package manager is running"),
    (r"Unable to locate package", "the package sources of this system lack a package (proven: Debian 12)"),
    (r"requires a different Python", "a Python package does not support this Python"),
    (
        r"No matching distribution found",
        "a Python package is not in the registry that pip asks, or the registry does not answer",
    ),
)


class InstallError(Exception):
    """What went wrong, as one sentence for the user."""


def read_packages(text: str) -> list[str]:
    """Return the Debian packages named in ``text``: one a line, ``#`` starts a comment."""
    names = (line.partition("#")[0].strip() for line in text.splitlines())
    return [name for name in names if name]


def digest(target: str) -> str:
    """Return a hash of all that the installation of ``target`` depends on."""
    parts = [target.encode(), sys.version.encode(), os.fsencode(ROOT)]
    inputs = [Path(__file__), ROOT / "setup.cfg", ROOT / "pyproject.toml", PACKAGES / f"{target}.txt"]
    parts += [path.read_bytes() for path in inputs if path.exists()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def cause(log: str) -> str | None:
    """Return what the end of ``log`` says about a failure, or None when it says nothing known."""
    return next((sentence for pattern, sentence in CAUSES if re.search(pattern, log)), None)


class Progress:
    """One line per step, with its seconds; on a terminal the running step is shown alive."""

    def __init__(self, log: Path) -> None:
        """Write what the steps' programs print to ``log``."""
        self.log = log
        self.live = sys.stdout.isatty()

    def run(self, what: str, command: Sequence[str], env: dict[str, str] | None = None) -> None:
        """
        Run ``command`` as the step ``what``.

        :raises InstallError: it cannot be started or fails.
        """
        start = time.monotonic()
        with self.log.open("ab") as log:
            begin = log.seek(0, os.SEEK_END)
            log.write(f"$ {' '.join(command)}\n".encode())
            log.flush()
            code = self._wait(what, start, command, env, log.fileno())
        self.say(f"{'  ' if code == 0 else '! '}{time.monotonic() - start:6.1f} s  {what}")
        if code:
            with self.log.open("rb") as log:
                log.seek(begin)
                text = log.read().decode(errors="replace")
            full = shutil.disk_usage(self.log).free < 2**20  # then the log may have no room for the cause
            known = "the disk is full" if full else cause(text[-20000:])
            raise InstallError(known or f"the step {what!r} failed (exit code {code})")

    def say(self, line: str) -> None:
        """Print ``line`` in the place of the live one."""
        print(("\r\033[K" if self.live else "") + line, flush=True)

    def _wait(self, what: str, start: float, command: Sequence[str], env: dict[str, str] | None, out: int) -> int:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env) as process:
            while True:
                try:
                    return process.wait(timeout=0.5 if self.live else None)
                except subprocess.TimeoutExpired:
                    print(f"\r\033[K  {time.monotonic() - start:6.1f} s  {what} …", end="", flush=True)
                except KeyboardInterrupt:
                    process.terminate()
                    raise


def missing_for_building() -> list[str]:
    """Return the Debian packages without which this Python can make no environment or build Salt's dependencies."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    missing = []
    try:
        import ensurepip  # noqa: F401, PLC0415  Debian ships Python without it
    except ImportError:
        missing.append(f"{version}-venv")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        missing.append(f"{version}-dev")
    if not compiles(compiler):
        missing += ["gcc", "libc6-dev"]
    return missing


def compiles(compiler: str) -> bool:
    """Say whether ``compiler`` exists and finds the C library's headers."""
    if shutil.which(compiler) is None:
        return False
    done = subprocess.run(
        [compiler, "-x", "c", "-fsyntax-only", "-"], input=b"#include <stdlib.h>\n", capture_output=True, check=False
    )
    return done.returncode == 0


def not_installed(packages: Sequence[str]) -> list[str]:
    """Return those of the Debian ``packages`` that dpkg does not have installed."""
    if not packages:
        return []
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *packages]
    lines = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    have = {line.split()[1] for line in lines if line.startswith("installed ")}
    return [package for package in packages if package not in have]


def missing_packages(target: str) -> list[str]:
    """Return the Debian packages that ``target`` lacks on this system."""
    listed = PACKAGES / f"{target}.txt"
    wanted = read_packages(listed.read_text(encoding="utf-8")) if listed.exists() else []
    if wanted and shutil.which("dpkg-query") is None:
        print(f"install: this is no Debian, so these packages cannot be looked for: {' '.join(wanted)}", flush=True)
        wanted = []
    return missing_for_building() + not_installed(wanted)


def as_root() -> list[str] | None:
    """Return what to put before a command so that root runs it, or None when there is no way."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    if sys.stdin.isatty():
        return ["sudo"]
    allowed = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    return ["sudo", "-n"] if allowed else None


def install_packages(target: str, progress: Progress) -> None:
    """
    Install the Debian packages that ``target`` lacks.

    :raises InstallError: it cannot be done; the sentence says what to install by hand.
    """
    missing = missing_packages(target)
    if not missing:
        return
    names = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise InstallError(f"this system has no apt-get: install what Debian calls {names} by hand, then try again")
    prefix = as_root()
    if prefix is None:
        raise InstallError(f"neither root nor sudo: as root run 'apt-get install {names}', then try again")
    progress.say(f"install: Debian packages that 'make {target}' needs: {names}")
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-o", "DPkg::Lock::Timeout=300"]
    progress.run("apt-get update", [*apt, "update"])
    try:
        progress.run("apt-get install", [*apt, "install", "--no-install-recommends", *missing])
    except InstallError:
        # A service that cannot start in a container makes apt fail; what counts is that the files are there.
        if missing_packages(target):
            raise


class Environment:
    """The virtual environment: its folder, and the stamp in it that says how far it is made."""

    def __init__(self, path: Path) -> None:
        """Look at the environment in ``path``, which need not exist."""
        self.path = path
        self.python = path / "bin" / "python"
        self.log = path / LOG

    def stamp(self) -> dict[str, str]:
        """Return the digest per installed target; empty when the environment is absent or half made."""
        try:
            stamp = json.loads((self.path / STAMP).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) and self.python.exists() else {}

    def write_stamp(self, stamp: dict[str, str]) -> None:
        """Replace the stamp; a crash leaves the old one or the new one."""
        descriptor, name = tempfile.mkstemp(dir=self.path, prefix=STAMP)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(stamp, file)
        Path(name).replace(self.path / STAMP)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep other installers out of it meanwhile."""
        if self.path.exists() and not (self.path / LOCK).exists() and any(self.path.iterdir()):
            raise InstallError(f"{self.path} was not made by this tool: remove it, or name another folder by VENV=")
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def make(self, progress: Progress) -> None:
        """Make the environment anew, unless it was made whole by this Python."""
        made = {"python": sys.version, "path": str(self.path.resolve())}  # an environment that was moved is broken
        if made.items() <= self.stamp().items():
            return
        self.write_stamp({})  # from here on it is half made
        for entry in self.path.iterdir():
            if entry.name not in (STAMP, LOG, LOCK):
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        progress.run(f"virtual environment {self.path}", [sys.executable, "-I", "-m", "venv", str(self.path)])
        self.write_stamp(made)

    def install(self, target: str, progress: Progress) -> None:
        """Install the project with the extras of ``target``, and say so in the stamp."""
        project = f"{ROOT}[{','.join(EXTRAS[target])}]"
        progress.say(f"install: Salt and the Python packages of [{','.join(EXTRAS[target])}] into {self.path}")
        options = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        # -I: neither PYTHONPATH nor the user's own packages may stand in for what the environment lacks.
        pip = [str(self.python), "-I", "-m", "pip", "install", *options, "--editable", project]
        progress.run("pip install", pip)
        self.write_stamp({**self.stamp(), target: digest(target)})


def install(path: Path, target: str) -> None:
    """
    Install all that ``target`` lacks, in the environment ``path``.

    :raises InstallError: it cannot be done.
    """
    environment = Environment(path)
    if environment.stamp().get(target) == digest(target):
        return
    with environment.locked():
        if environment.stamp().get(target) == digest(target):  # another installer was quicker
            return
        progress = Progress(environment.log)
        try:
            install_packages(target, progress)
            environment.make(progress)
            environment.install(target, progress)
        except InstallError as err:
            raise InstallError(f"{err}\nThe log: {environment.log}") from err


def main() -> int:
    """Read the command line, install, and return the exit code."""
    parser = argparse.ArgumentParser(description="Install what a make target lacks.")
    parser.add_argument("--venv", type=Path, default=Path(".venv"), help="the virtual environment (default .venv)")
    parser.add_argument("target", choices=EXTRAS)
    arguments = parser.parse_args()
    try:
        install(arguments.venv.absolute(), arguments.target)
    except (InstallError, OSError) as err:
        print(f"install: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninstall: interrupted; the next run goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
