"""What the file server shows of a folder of formulas: which file stands behind a served path."""

from __future__ import annotations

import fnmatch
import os
import posixpath
from dataclasses import dataclass
from pathlib import Path

from saltext_logilab.formula.settings import FormulaSettings

# What Salt syncs from the top of a file server, wherever the formulas are mounted.
TRAVELLING = ("_modules", "_utils")
HIDDEN = ("__pycache__",)


@dataclass(frozen=True)
class Tree:
    """The folder ``root`` as the settings show it."""

    root: Path
    settings: FormulaSettings

    def find(self, path: str) -> Path | None:
        """Return the file that is served as ``path``, None when there is none."""
        if path != posixpath.normpath(path) or path.startswith(("/", "..")):
            return None
        local = self._local(path)
        if local is None or not self._shows(local):
            return None
        file = self.root / local
        return file if file.is_file() else None

    def files(self) -> list[str]:
        """Return all paths that are served, sorted."""
        return sorted(self._served(local) for local in self._walk() if self._shows(local))

    def folders(self) -> list[str]:
        """Return all folders that are served, sorted."""
        found: set[str] = set()
        for file in self.files():
            while file := posixpath.dirname(file):
                found.add(file)
        return sorted(found)

    def _walk(self) -> list[str]:
        found, root = [], len(f"{self.root}/")
        for folder, below, names in os.walk(self.root):
            below[:] = [one for one in below if one not in HIDDEN]
            found += [f"{folder}/{name}"[root:] for name in names]
        return found

    def _shows(self, local: str) -> bool:
        first, *rest = local.split("/")
        if first in TRAVELLING:
            return True
        if not rest or set(rest) & set(HIDDEN):
            return False
        match = [fnmatch.fnmatchcase(first, one) for one in self.settings.include]
        return any(match) and not any(fnmatch.fnmatchcase(first, one) for one in self.settings.exclude)

    def _served(self, local: str) -> str:
        return local if local.startswith(TRAVELLING) else posixpath.join(self.settings.mountpoint, local)

    def _local(self, served: str) -> str | None:
        if served.startswith(TRAVELLING) or not self.settings.mountpoint:
            return served
        prefix = f"{self.settings.mountpoint}/"
        return served[len(prefix) :] if served.startswith(prefix) else None
