"""
The data of a formula: its schema's defaults and this minion's pillar, merged and checked.

A minion that lacks the package gets this module by ``saltutil.sync_all``, with its core as ``logilab_schemas``.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import salt.utils.hashutils
from salt.exceptions import CommandExecutionError

# What was synced wins over what is installed, as everywhere in Salt. A refresh of the modules loads this file anew, but
# Python would keep the old core.
for _name in [name for name in sys.modules if name.partition(".")[0] == "logilab_schemas"]:
    del sys.modules[_name]
try:
    from logilab_schemas import lookup
    from logilab_schemas.formula import LAYERS, Formula
    from logilab_schemas.kept import Kept
    from logilab_schemas.problems import FormulaError
    from logilab_schemas.values import copied
except ImportError:
    from saltext_logilab.formula.schemas import lookup
    from saltext_logilab.formula.schemas.formula import LAYERS, Formula
    from saltext_logilab.formula.schemas.kept import Kept
    from saltext_logilab.formula.schemas.problems import FormulaError
    from saltext_logilab.formula.schemas.values import copied

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __pillar__: dict[str, Any]
    __salt__: dict[str, Any]
    __context__: dict[str, Any]

INSTALLED = "saltext_logilab"
CONTEXT = "formula"


class _WithoutTraceback(logging.Filter):
    """Salt logs a template's error with a traceback; of a wrong pillar it says nothing that the message does not."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        cause = error.__context__.__cause__ if error and error.__context__ else None
        if type(cause).__name__ in ("PillarError", "FormulaError"):  # of any copy of the core
            record.exc_info = None
        return True


def __init__(_opts: dict[str, Any]) -> None:
    """Keep a wrong pillar's traceback out of the log (once a process)."""
    logger = logging.getLogger("salt.utils.templates")
    if not any(type(one).__name__ == _WithoutTraceback.__name__ for one in logger.filters):
        logger.addFilter(_WithoutTraceback())


def data(name: str, saltenv: str | None = None) -> dict[str, Any]:
    """
    Return the data of the formula ``name`` for this minion: a mapping of all keys that its schema knows and that have a
    value.

    They are the schema's defaults, overlaid with what ``defaults.yaml`` says of this minion's ``os_family``, ``os`` and
    ``osfinger``, then with the pillar. In an SLS it is the one line that a formula needs::

        {%- set cfg = salt["formula.data"]("haproxy") %}

    name
        The formula: the name of its folder.

    saltenv
        Where its files are looked for; by default the minion's ``saltenv``, else ``base``.

    Raises CommandExecutionError, which stops the rendering: the pillar is wrong (all problems are told at once), the
    system is not supported, there is no such formula, or this module is an outdated synced copy.

    .. versionadded:: 0.1.0

    CLI Example:

    .. code-block:: bash

        salt '*' formula.data haproxy
    """
    saltenv = saltenv or __opts__.get("saltenv") or "base"
    try:
        _check_copy(saltenv)
        return _data(name, saltenv, lookup.pillar_key(__opts__, __pillar__, name))
    except FormulaError as err:
        raise CommandExecutionError(str(err)) from err


def _data(name: str, saltenv: str, key: str) -> dict[str, Any]:
    """Return the data, made once a run for the same pillar and system: a formula may have several SLS."""
    asked = {"pillar": lookup.traverse(__pillar__, key), **{layer: __grains__.get(layer) for layer in LAYERS}}
    known = __context__.setdefault(f"{CONTEXT}:data", {})
    before, found = known.get((name, saltenv, key), (None, {}))
    if before != asked:
        found = _formula(name, saltenv).data(__grains__, asked["pillar"], key)
        known[name, saltenv, key] = asked, found
    own: dict[str, Any] = copied(found)
    return own


def _formula(name: str, saltenv: str) -> Formula:
    """Return the formula, read once a run."""
    known = __context__.setdefault(CONTEXT, {})
    if (name, saltenv) not in known:
        mountpoint = (lookup.settings(__opts__, __pillar__, "mountpoint") or "").removeprefix("salt://")

        def read(path: str) -> str | None:
            return __salt__["cp.get_file_str"](f"salt://{path}", saltenv) or None

        kept = Kept(Path(__opts__["cachedir"]) / "formula")
        files = lambda: __salt__["cp.list_master"](saltenv)  # noqa: E731
        known[name, saltenv] = lookup.load(name, read, files, mountpoint, kept.mapping)
    found: Formula = known[name, saltenv]
    return found


def _check_copy(saltenv: str) -> None:
    """
    Refuse to go on as an outdated synced copy; looked at once a run.

    :raises FormulaError: it is one.
    """
    module = Path(__file__)
    if INSTALLED in module.parts or __context__.get(f"{CONTEXT}:current"):
        return

    def same(served: str, path: Path) -> bool:
        told = __salt__["cp.hash_file"](f"salt://{served}", saltenv)
        if not told:
            return _is_installed(served, path)
        return bool(salt.utils.hashutils.get_hash(str(path), told["hash_type"]) == told["hsum"])

    if sentence := lookup.outdated(module, same):
        raise FormulaError(sentence)
    __context__[f"{CONTEXT}:current"] = True


def _is_installed(served: str, path: Path) -> bool:
    """Say whether ``path`` is what the installed package has; so it is where there is no package."""
    package = importlib.util.find_spec(INSTALLED)
    if package is None or package.origin is None:
        return True
    own = Path(package.origin).parent / "formula" / "formulas" / served
    return not own.exists() or own.read_bytes() == path.read_bytes()
