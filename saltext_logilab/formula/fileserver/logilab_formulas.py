"""
Serve the formulas of this package to minions.

.. code-block:: yaml

    fileserver_backend:
      - roots
      - logilab_formulas

A backend that stands before it wins: a file of the same path in ``file_roots`` takes the place of the formula's. The
options ``include``, ``exclude``, ``mountpoint`` and ``saltenvs`` stand under ``logilab:formula``. Files change with
the package only, so there is nothing to update and nothing is copied.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import salt.fileserver
import salt.utils.gzip_util
import salt.utils.hashutils
from salt.exceptions import FileserverConfigError

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.formula import settings
from saltext_logilab.formula.packaged import formulas
from saltext_logilab.formula.tree import Tree

if TYPE_CHECKING:
    __opts__: dict[str, Any]

NOT_FOUND = {"path": "", "rel": ""}
TREES: dict[str, Tree] = {}  # by what the configuration says, as each file is asked for several times


def _tree() -> Tree:
    """
    Return what is served.

    :raises FileserverConfigError: the settings are wrong.
    """
    told = repr(__opts__.get("logilab"))
    try:
        if told not in TREES:
            TREES[told] = Tree(formulas(), settings.read(__opts__))
        return TREES[told]
    except ConfigurationError as err:
        raise FileserverConfigError(str(err)) from err


def init() -> None:
    """Check the settings; a master with wrong ones does not start."""
    _tree()


def envs() -> list[str]:
    """Return the environments in which the formulas are served."""
    return list(_tree().settings.saltenvs)


def update() -> None:
    """Do nothing: the files change with the package only."""


def find_file(path: str, tgt_env: str = "base", **_options: Any) -> dict[str, Any]:
    """Return where the file that is served as ``path`` lies; empty values when there is none."""
    tree = _tree()
    file = tree.find(path) if tgt_env in tree.settings.saltenvs else None
    if file is None or salt.fileserver.is_file_ignored(__opts__, path):
        return dict(NOT_FOUND)
    return {"path": str(file), "rel": path, "stat": list(file.stat())}


def serve_file(load: dict[str, Any], fnd: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a found file that begins at ``load["loc"]``."""
    if not fnd["path"]:
        return {"data": "", "dest": ""}
    with Path(fnd["path"]).open("rb") as file:
        file.seek(load["loc"])
        part = file.read(__opts__["file_buffer_size"])
    answer: dict[str, Any] = {"data": part, "dest": fnd["rel"]}
    if part and load.get("gzip"):
        answer |= {"data": salt.utils.gzip_util.compress(part, load["gzip"]), "gzip": load["gzip"]}
    return answer


def file_hash(load: dict[str, Any], fnd: dict[str, Any]) -> dict[str, Any]:
    """Return the hash of a found file, of the master's ``hash_type``."""
    if not fnd.get("path") or load["saltenv"] not in envs():
        return {}
    kind = __opts__["hash_type"]
    return {"hash_type": kind, "hsum": salt.utils.hashutils.get_hash(os.fspath(fnd["path"]), kind)}


def file_list(load: dict[str, Any]) -> list[str]:
    """Return the paths of all files that are served in ``load["saltenv"]``."""
    tree = _tree()
    found = tree.files() if load["saltenv"] in tree.settings.saltenvs else []
    return [path for path in found if not salt.fileserver.is_file_ignored(__opts__, path)]


def dir_list(load: dict[str, Any]) -> list[str]:
    """Return the paths of all folders that are served in ``load["saltenv"]``."""
    tree = _tree()
    return tree.folders() if load["saltenv"] in tree.settings.saltenvs else []
