"""
The memory of an engine: what it has for itself, beyond an engine of the same master that does nothing.

Pages of files, such as the code of libraries, are no process's own: they are left out.
"""

from __future__ import annotations

from pathlib import Path

import psutil

BARE = """
import os, pathlib, time

def start(folder):
    pathlib.Path(folder, str(os.getpid())).touch()
    while True:
        time.sleep(60)
"""


def beside(folder: Path) -> dict[str, object]:
    """Return options of a master that let an engine that does nothing run beside that of the area ``masters``."""
    (folder / "modules" / "engines").mkdir(parents=True)
    (folder / "modules" / "engines" / "bare.py").write_text(BARE)
    (folder / "bare").mkdir()
    engines = [{"logilab_masters": {}}, {"bare": {"folder": str(folder / "bare")}}]
    return {"module_dirs": [str(folder / "modules")], "engines": engines}


def beyond_bare(engine: psutil.Process, folder: Path) -> float:
    """Return the memory of ``engine`` beyond that of the bare one beside it, in MiB."""
    siblings = {one.pid for one in psutil.Process(engine.ppid()).children()}
    (bare,) = siblings & {int(one.name) for one in (folder / "bare").iterdir()}
    return (own(engine.pid) - own(bare)) / 1024


def own(pid: int) -> int:
    """Return the memory that a process has for itself, in KiB, in RAM or swapped out."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "VmSwap:")))
