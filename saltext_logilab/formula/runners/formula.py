"""
Look at the formulas that this master serves, and check the pillars of its minions against them.

What goes wrong is told in a sentence, with exit code 1: an exception in a runner would be shown as a traceback.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import salt.fileserver
import salt.pillar
import salt.utils.minions

from saltext_logilab.errors import LogilabError
from saltext_logilab.formula import catalogue, packaged, settings
from saltext_logilab.formula.schemas import lookup
from saltext_logilab.formula.schemas.formula import Formula
from saltext_logilab.formula.schemas.problems import FormulaError, nearest

if TYPE_CHECKING:
    __opts__: dict[str, Any]

BACKEND = "logilab_formulas"
__func_alias__ = {"list_": "list"}


def list_(saltenv: str = "base") -> dict[str, Any]:
    """
    List the formulas that the file server has in ``saltenv``, the package's and others with a schema.

    Returns ``formulas`` (name: its description, the systems it supports, its folder in the file server) and
    ``shadows``: each file of the package that a file of the same path in another backend hides, or that hides one.

    CLI Example:

    .. code-block:: bash

        salt-run formula.list
    """
    return _told(lambda: _list(saltenv))


def show(name: str, saltenv: str = "base") -> dict[str, Any]:
    """
    Show the formula ``name``: description, supported systems, all parameters with type and default, an example.

    CLI Example:

    .. code-block:: bash

        salt-run formula.show haproxy
    """
    return _told(lambda: catalogue.summary(_load(_fileserver(), name, saltenv)))


def path() -> str:
    """
    Return the folder with the package's formulas, for ``file_roots`` of those who do not use the backend.

    CLI Example:

    .. code-block:: bash

        salt-run formula.path
    """
    return str(packaged.formulas())


def validate(tgt: str = "*", tgt_type: str = "glob", saltenv: str = "base") -> dict[str, Any]:
    """
    Check the compiled pillars of minions against the schemas, on the master: nothing is sent to them.

    Each formula whose key stands in a minion's pillar is checked, with the grains that this master knows of the minion.
    Returns ``ok``, the number of ``minions`` that were looked at, and ``problems``: by minion, a list of sentences.
    With problems the exit code is 1.

    tgt
        The minions, as for ``salt``.

    tgt_type
        ``glob``, ``list``, ``grain`` …, as for ``salt``.

    saltenv
        The environment of the file server in which the formulas are.

    CLI Example:

    .. code-block:: bash

        salt-run formula.validate '*'
        salt-run formula.validate 'role:web' tgt_type=grain
    """
    return _told(lambda: _validate(tgt, tgt_type, saltenv))


def _told(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return ask()
    except (LogilabError, FormulaError) as err:
        return {"error": str(err), "retcode": 1}


def _fileserver() -> salt.fileserver.Fileserver:
    settings.read(__opts__)  # first, as a wrong setting has a better sentence here
    return salt.fileserver.Fileserver(__opts__)


def _load(server: salt.fileserver.Fileserver, name: str, saltenv: str) -> Formula:
    def read(served: str) -> str | None:
        file = server.find_file(served, saltenv)["path"]
        return Path(file).read_text(encoding="utf-8") if file else None

    return lookup.load(name, read, lambda: server.file_list({"saltenv": saltenv}), settings.read(__opts__).mountpoint)


def _list(saltenv: str) -> dict[str, Any]:
    server = _fileserver()
    formulas = {}
    for folder in lookup.folders(server.file_list({"saltenv": saltenv})):
        formula = _load(server, posixpath.basename(folder), saltenv)
        described = str(formula.schema.get("description", ""))
        formulas[formula.name] = {"description": described, "systems": list(formula.systems), "folder": folder}
    own = (BACKEND, str(packaged.formulas()))
    return {"formulas": formulas, "shadows": catalogue.shadows(dict(_listings(server, saltenv)), own)}


def _listings(server: salt.fileserver.Fileserver, saltenv: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what each backend has, the first one wins; folder by folder where the package's is one of file_roots."""
    folders = __opts__["file_roots"].get(saltenv, [])
    for backend in __opts__["fileserver_backend"]:
        if backend == "roots" and str(packaged.formulas()) in folders:
            for folder in folders:
                files = (one for one in Path(folder).rglob("*") if one.is_file())
                yield folder, [one.relative_to(folder).as_posix() for one in files]
        else:
            yield backend, server.file_list({"saltenv": saltenv, "fsbackend": [backend]})


def _validate(tgt: str, tgt_type: str, saltenv: str) -> dict[str, Any]:
    server = _fileserver()
    names = [posixpath.basename(one) for one in lookup.folders(server.file_list({"saltenv": saltenv}))]
    formulas = [_load(server, name, saltenv) for name in names]
    minions = salt.utils.minions.CkMinions(__opts__).check_minions(tgt, tgt_type)["minions"]
    problems = {minion: found for minion in sorted(minions) if (found := _problems(minion, formulas, saltenv))}
    if not minions:
        problems = {tgt: ["no minion matches"]}
    answer = {"ok": not problems, "minions": len(minions), "problems": problems}
    return answer if not problems else {**answer, "retcode": 1}


def _problems(minion: str, formulas: list[Formula], saltenv: str) -> list[str]:
    """Return what is wrong with the pillar of ``minion``, in sentences."""
    _, grains, _ = salt.utils.minions.get_minion_data(minion, __opts__)
    if not grains:
        return ["its grains are not known to this master yet: have it run a job, such as test.ping"]
    pillar = salt.pillar.Pillar(__opts__, grains, minion, saltenv).compile_pillar()
    found = [f"the pillar cannot be compiled: {one}" for one in pillar.get("_errors", ())]
    keys = {formula.name: lookup.pillar_key(__opts__, pillar, formula.name) for formula in formulas}
    for formula in formulas:
        told = lookup.traverse(pillar, keys[formula.name])
        if told is not None:
            found += map(str, formula.examine(grains, told, keys[formula.name])[1])
    near = (
        (key, nearest(key, keys)) for key in pillar if key not in keys.values() and key not in ("logilab", "_errors")
    )
    return [*found, *(f"{key} is the key of no formula{hint}" for key, hint in near if hint)]
