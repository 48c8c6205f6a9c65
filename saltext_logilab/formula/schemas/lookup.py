"""Where a formula lies among the files of a file server, and whether this copy of the code is the one served there."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .formula import DEFAULTS, SCHEMA, Formula, Reader
from .problems import FormulaError, nearest

SERVED_MODULE = "_modules/formula.py"
SERVED_CORE = "_utils/logilab_schemas"


def load(
    name: str,
    read: Callable[[str], str | None],
    files: Callable[[], Iterable[str]],
    mountpoint: str = "",
    mapping: Reader | None = None,
) -> Formula:
    """
    Return the formula ``name``.

    :param read: returns the text of a served file, None where there is none.
    :param files: returns the paths of all served files; asked only when the formula is not below ``mountpoint``.
    :param mapping: makes a mapping of a file's name and its text; by default it is read as YAML.
    :raises FormulaError: there is no such formula, there are two, or its files are wrong.
    """
    folder = posixpath.join(mountpoint, name)
    schema = read(f"{folder}/{SCHEMA}")
    if schema is None:
        folder = _home(name, folders(files()))
        schema = read(f"{folder}/{SCHEMA}")
    return Formula.parse(name, schema or "", read(f"{folder}/{DEFAULTS}") or "", mapping)


def folders(files: Iterable[str]) -> list[str]:
    """Return the folders of the formulas among ``files``."""
    return sorted(posixpath.dirname(file) for file in files if posixpath.basename(file) == SCHEMA)


def _home(name: str, known: list[str]) -> str:
    homes = [folder for folder in known if posixpath.basename(folder) == name]
    if len(homes) > 1:
        raise FormulaError(f"there are {len(homes)} formulas {name!r}: {', '.join(homes)}")
    if homes:
        return homes[0]
    names = [posixpath.basename(folder) for folder in known]
    if not names:
        raise FormulaError(
            f"there is no formula {name!r}: the file server serves none (is logilab_formulas in fileserver_backend?)"
        )
    raise FormulaError(f"there is no formula {name!r}{nearest(name, names)}; known: {', '.join(names)}")


def traverse(values: Any, path: str) -> Any:
    """Return what stands in the mapping ``values`` at ``path``, keys with colons between them; None for nothing."""
    for key in path.split(":"):
        values = values.get(key) if hasattr(values, "get") else None
    return values


def settings(opts: Mapping[str, Any], pillar: Mapping[str, Any], name: str) -> Any:
    """Return the setting ``logilab:formula:<name>`` of the pillar, else of ``opts``, else None."""
    path = f"logilab:formula:{name}"
    found = traverse(pillar, path)
    return traverse(opts, path) if found is None else found


def pillar_key(opts: Mapping[str, Any], pillar: Mapping[str, Any], name: str) -> str:
    """
    Return the key of the pillar under which the formula ``name`` finds its data.

    :raises FormulaError: ``logilab:formula:pillar_keys`` is no mapping of texts.
    """
    keys = settings(opts, pillar, "pillar_keys") or {}
    if not isinstance(keys, Mapping) or not isinstance(keys.get(name, name), str):
        raise FormulaError(f"logilab:formula:pillar_keys must be a mapping of formulas to keys, not {keys!r}")
    return str(keys.get(name, name))


def files_of(module: Path) -> dict[str, Path]:
    """Return the files that travel with the execution module ``module``: where each is served, and where it lies."""
    core = {f"{SERVED_CORE}/{path.name}": path for path in sorted(Path(__file__).parent.glob("*.py"))}
    return {SERVED_MODULE: module, **core}


def outdated(module: Path, same: Callable[[str, Path], bool]) -> str | None:
    """
    Return a sentence when ``module`` or what travels with it is not what is served, else None.

    :param same: says whether the served file of that path has the bytes of the local one.
    """
    old = [path for served, path in files_of(module).items() if not same(served, path)]
    if not old:
        return None
    return (
        f"the synced copy {old[0]} is not the one that the file server has: bring it up to date by"
        " `salt-call saltutil.sync_all` (or `salt MINION saltutil.sync_all`)"
    )
