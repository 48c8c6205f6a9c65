"""
What the installed extension adds to every Salt process: to a loader's creation, and to its imports.

Two folders of links to the same installed packages stand in for two installations: one holds this package too. Both
are measured in turn, each time in a process of its own. What is added is the difference of the two least disturbed
runs, so a cost within the noise may come out as a little less than nothing.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from benchmarks.table import Row

ROOT = Path(__file__).resolve().parent.parent
PAIRS = 15
LOADERS = 40

# Salt keeps the distributions for half a second: the cache is emptied each time, as a new process has none.
LOADER = """
import sys, time
sys.path.append(sys.argv[1])
loaders = int(sys.argv[2])
import salt.loader
from salt.utils.entrypoints import iter_entry_points
opts = {"extension_modules": "/nonexistent", "optimization_order": [0]}
def create():
    iter_entry_points.__wrapped__.cache_clear()
    return salt.loader._module_dirs(opts, "modules")
found = any("saltext_logilab" in p.value for p in iter_entry_points("salt.loader"))
assert found == sys.argv[1].endswith("/with"), found
create()
start = time.process_time()
for _ in range(loaders):
    create()
print((time.process_time() - start) / loaders * 1000)
"""

IMPORT = """
import sys, time
sys.path.append(sys.argv[1])
start = time.process_time()
if sys.argv[1].endswith("/with"):
    import saltext_logilab
print((time.process_time() - start) * 1000)
"""


def make_sides(folder: Path) -> tuple[Path, Path]:
    """Make the two installations in ``folder`` and return them: with this package and without it."""
    sides = folder / "with", folder / "without"
    ours = ("saltext_logilab", "__editable__")
    for side in sides:
        side.mkdir()
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if not entry.name.startswith(ours) and entry.suffix != ".pth":
                (side / entry.name).symlink_to(entry)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--target", str(sides[0]), str(ROOT)], check=True, stderr=subprocess.DEVNULL)
    return sides


def measure(code: str, side: Path) -> float:
    """Return the CPU milliseconds that ``code`` prints for one side."""
    command = [sys.executable, "-ISWignore", "-c", code, str(side), str(LOADERS)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def compare(code: str, sides: tuple[Path, Path]) -> tuple[float, float]:
    """Return the least disturbed run of each side, out of pairs that run in turn."""
    pairs = [[measure(code, side) for side in sides] for _ in range(PAIRS)]
    with_it, without = (min(column) for column in zip(*pairs, strict=True))
    return with_it, without


def rows() -> list[Row]:
    """Measure both figures."""
    with tempfile.TemporaryDirectory() as folder:
        sides = make_sides(Path(folder))
        with_it, without = compare(LOADER, sides)
        imported, nothing = compare(IMPORT, sides)
    peer = f"{without:.2f} ms without, {with_it:.2f} ms with"
    return [
        Row("added to a loader's creation (CPU)", with_it - without, "ms", peer, 3),
        Row("import of saltext_logilab (CPU)", imported - nothing, "ms", "a process without it", 1),
    ]
