"""
Run the benchmarks and print one table each: ``python -m benchmarks [NAME …]``.

A benchmark is a file ``bench_NAME.py`` in this folder whose docstring's first line is its title and whose function
``rows()`` returns a list of :class:`benchmarks.table.Row`. The exit code is 1 when a bar is missed.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from benchmarks.table import render


def main(wanted: list[str]) -> int:
    """Run the benchmarks named in ``wanted``, or all."""
    known = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    unknown = set(wanted) - set(known)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    missed = 0
    for name in wanted or known:
        module = importlib.import_module(f"benchmarks.bench_{name}")
        rows = module.rows()
        print(render((module.__doc__ or name).strip().splitlines()[0], rows), end="\n\n", flush=True)
        missed += sum(not row.met for row in rows)
    print(f"{missed} bars missed" if missed else "all bars met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
