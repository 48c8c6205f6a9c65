"""
One Salt per version: the running interpreter's own, or a virtual environment of the cache, made on demand.

A made environment is marked by a file that is written last; what has no mark was left by a crash and is made anew.
The extension in it is the very one that runs: the source checkout, or the files of the installed distribution.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from saltext_logilab.errors import UnavailableError
from saltext_logilab.lab.plan import OLDEST

DISTRIBUTION = "saltext-logilab"
MARK = "saltext-logilab.json"


@dataclass(frozen=True)
class Salt:
    """An installed Salt: its exact version, its interpreter and the folder of its programs."""

    version: str
    python: Path
    programs: Path

    def program(self, name: str) -> Path:
        """Return the path of Salt's program ``name``; :raises UnavailableError: it is not there."""
        path = self.programs / name
        if not path.is_file():
            raise UnavailableError(f"the program {name} of Salt {self.version} is missing in {self.programs}")
        return path


def installed() -> Salt:
    """
    Return the Salt of the running interpreter.

    :raises UnavailableError: it is missing or older than 3006.
    """
    try:
        version = importlib.metadata.version("salt")
    except importlib.metadata.PackageNotFoundError as err:
        raise UnavailableError(f"Salt is missing: {sys.executable} -m pip install 'salt>={OLDEST}'") from err
    if int(version.split(".")[0]) < OLDEST:
        raise UnavailableError(f"Salt {version} is too old for salt-lab: {OLDEST} or newer")
    return Salt(version, Path(sys.executable), Path(sysconfig.get_path("scripts")))


def satisfies(version: str, wanted: str) -> bool:
    """Say whether the exact ``version`` is what ``wanted`` (``3007`` or ``3007.1``) names."""
    return version == wanted or version.startswith(wanted + ".")


def requirement(wanted: str) -> str:
    """Return what pip is asked for: ``salt>=3006,<3007`` for a series, else ``salt==`` the exact version."""
    return f"salt>={wanted},<{int(wanted) + 1}" if wanted.isdecimal() else f"salt=={wanted}"


def requirements(required: Iterable[str]) -> list[str]:
    """Return, out of what the extension requires, what is neither Salt itself nor of an extra."""
    return [line for line in required if "extra ==" not in line and re.split(r"[^A-Za-z0-9._-]", line)[0] != "salt"]


def cache_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of what can be made again: ``${XDG_CACHE_HOME:-~/.cache}/saltext-logilab``."""
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "saltext-logilab"


def get(wanted: str, progress: Callable[[str], None], cache: Path | None = None) -> Salt:
    """
    Return a Salt of version ``wanted``, made in ``cache`` when it is not the running interpreter's.

    :raises UnavailableError: Salt or the extension cannot be installed; the text names the log.
    """
    own = installed()
    if satisfies(own.version, wanted):
        return own
    folder = (cache or cache_dir()) / f"salt-{wanted}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(f".{folder.name}.lock")):
        mark = _mark(folder)
        extension = _extension()
        if not mark:
            progress(f"installing Salt {wanted} (once; about a minute)")
            _make(folder, requirement(wanted))
        if mark.get("extension") != extension:
            _install_extension(folder, extension)
            mark = {"salt": _version(folder), "extension": extension}
            _write_mark(folder, mark)
    return Salt(mark["salt"], folder / "bin" / "python", folder / "bin")


def _make(folder: Path, wanted: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _call(folder, [sys.executable, "-m", "venv", str(folder)], "make a virtual environment")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    _call(folder, [*pip, wanted], f"install {wanted}")


def _install_extension(folder: Path, extension: str) -> None:
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    needed = requirements(importlib.metadata.requires(DISTRIBUTION) or [])
    if needed:
        _call(folder, [*pip, *needed], f"install what {DISTRIBUTION} needs")
    checkout = _checkout()
    if checkout:
        _call(folder, [*pip, "--no-deps", "-e", str(checkout)], f"install {extension}")
        return
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    target = Path(_call(folder, [python, "-c", code], "find its packages").strip())
    for source, relative in _files():
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target / relative)


def _extension() -> str:
    """Return what tells this extension from another: the checkout with its metadata, or the installed files' list."""
    checkout = _checkout()
    if checkout:
        return f"{checkout} {hashlib.sha256((checkout / 'setup.cfg').read_bytes()).hexdigest()}"
    distribution = importlib.metadata.distribution(DISTRIBUTION)
    record = distribution.read_text("RECORD") or ""
    return f"{DISTRIBUTION} {distribution.version} {hashlib.sha256(record.encode()).hexdigest()}"


def _checkout() -> Path | None:
    """Return the source checkout that runs, or None when the extension was installed from a wheel."""
    for parent in (Path(__file__).resolve().parents[2], _editable()):
        if parent and (parent / "setup.cfg").is_file() and (parent / "saltext_logilab").is_dir():
            return parent
    return None


def _editable() -> Path | None:
    try:
        text = importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError as err:
        raise UnavailableError(f"{DISTRIBUTION} is neither installed nor run from its source") from err
    direct = json.loads(text or "{}")
    if not direct.get("dir_info", {}).get("editable"):
        return None
    return Path(urllib.parse.unquote(urllib.parse.urlsplit(direct["url"]).path))


def _files() -> Iterator[tuple[Path, str]]:
    """Yield each file of the installed distribution with its path below the packages' folder, programs left out."""
    for path in importlib.metadata.distribution(DISTRIBUTION).files or []:
        source = Path(str(path.locate()))
        if ".." not in path.parts and source.is_file():
            yield source, str(path)


def _version(folder: Path) -> str:
    code = "import importlib.metadata as m; print(m.version('salt'))"
    return _call(folder, [str(folder / "bin" / "python"), "-c", code], "ask Salt's version").strip()


def _call(folder: Path, command: list[str], purpose: str) -> str:
    log = folder.with_name(f"{folder.name}.log")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    with log.open("a") as file:
        file.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}")
    if done.returncode:
        raise UnavailableError(f"cannot {purpose} in {folder}: see {log}")
    return done.stdout


def _mark(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / MARK).read_text()))
    except (OSError, ValueError):
        return {}


def _write_mark(folder: Path, mark: dict[str, str]) -> None:
    new = folder / f".{MARK}.new"
    new.write_text(json.dumps(mark))
    new.replace(folder / MARK)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
