"""Where the formulas and the example pillars of this package lie on disk."""

from __future__ import annotations

from pathlib import Path

# Resolved, as in a checkout both are symbolic links, and Salt's clean_path refuses what a link leads out of.
_HERE = Path(__file__).resolve().parent


def formulas() -> Path:
    """Return the folder that holds one folder per formula: what to put into ``file_roots``."""
    return (_HERE / "formulas").resolve()


def example_pillars() -> Path:
    """Return the folder with ``top.sls`` and one example pillar per formula: ``pillar_roots`` for a trial."""
    return (_HERE / "pillar.example").resolve()
