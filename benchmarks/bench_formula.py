"""
Formulas: what it costs to compile one, to check a pillar, and to serve the files.

A formula is compiled with its example pillar, as ``state.show_sls`` does it, in this process; what counts is what it
costs more than an empty SLS in the same run, in the least disturbed of several compilations. The figures beside it are
those of the formulas of saltstack-formulas, measured earlier on the same kind of machine, as their trees cannot be had
in the run: docker-formula took 619 ms where an empty SLS took 67 ms.
"""

from __future__ import annotations

import copy
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import salt.config
import salt.fileserver
import salt.state

from benchmarks.table import Row
from saltext_logilab.formula import catalogue
from saltext_logilab.formula.packaged import formulas
from saltext_logilab.formula.schemas.validator import validate

ROUNDS = 7
GRAINS = {"os_family": "Debian", "os": "Debian", "osfinger": "Debian-12", "mem_total": 4096, "kernel": "Linux"}
UPSTREAM = {"docker": "619 ms (67 ms empty)", "haproxy": "87 ms (67 ms empty)", "salt": "144 ms (67 ms empty)"}


def options(root: Path) -> dict[str, Any]:
    """Return a masterless minion's options below ``root``."""
    (root / "srv").mkdir()
    (root / "srv" / "empty.sls").touch()
    (root / "etc").mkdir()
    settings = {
        "root_dir": str(root),
        "conf_file": str(root / "etc/minion"),
        "id": "bench",
        "file_client": "local",
        "file_roots": {"base": [str(root / "srv")]},
        "fileserver_backend": ["roots", "logilab_formulas"],
    }
    return salt.config.apply_minion_config(settings, copy.deepcopy(salt.config.DEFAULT_MINION_OPTS))


def cpu(work: Callable[[], Any], prepare: Callable[[], Any] = lambda: None) -> float:
    """Return the CPU milliseconds of the least disturbed of several runs of ``work``, each after a ``prepare``."""
    spent = []
    for _ in range(ROUNDS):
        prepare()
        gc.collect()
        begin = time.process_time()
        work()
        spent.append(1000 * (time.process_time() - begin))
    return min(spent)


def compiled(opts: dict[str, Any], sls: str, pillar: dict[str, Any]) -> float:
    """Return what it costs to compile ``sls`` with a compiler that has loaded nothing yet, as each job has."""
    own = {**copy.deepcopy(opts), "grains": GRAINS, "pillar": pillar}
    fresh: list[salt.state.HighState] = []

    def work() -> None:
        _, errors = fresh[-1].render_highstate({"base": [sls]})
        assert errors == [], errors

    return cpu(work, lambda: fresh.append(salt.state.HighState(own, initial_pillar=pillar)))


def compilations(opts: dict[str, Any]) -> Iterator[Row]:
    """Compile every formula."""
    empty = compiled(opts, "empty", {})
    yield Row("compile an empty SLS (CPU)", empty, "ms")
    for name, formula in catalogue.read_all(formulas()).items():
        pillar = {name: formula.schema["examples"][0]}
        more = compiled(opts, name, pillar) - empty
        yield Row(f"  more for {name}", more, "ms", UPSTREAM.get(name, ""), bar=25)


def validations() -> Iterator[Row]:
    """Check the largest example pillar, as a first time (files read anew) and again."""
    name = max(catalogue.read_all(formulas()), key=lambda one: (formulas() / one / "schema.yaml").stat().st_size)
    formula = catalogue.read(formulas() / name)
    pillar = formula.schema["examples"][0]
    peer = cpu(lambda: list(jsonschema.Draft202012Validator(formula.schema).iter_errors(pillar)))
    first = cpu(lambda: catalogue.read(formulas() / name).data(GRAINS, pillar))
    again = cpu(lambda: formula.data(GRAINS, pillar))
    alone = cpu(lambda: validate(formula.schema, pillar))
    yield Row(f"check and merge {name}, files read first (CPU)", first, "ms", "", bar=20)
    yield Row("  again", again, "ms", "", bar=5)
    yield Row("  the check alone", alone, "ms", f"{peer:.2f} ms jsonschema", bar=5)


def serving(opts: dict[str, Any]) -> Iterator[Row]:
    """Update the file server when nothing has changed; count the files that it has copied."""
    server = salt.fileserver.Fileserver(opts)
    server.init()
    server.update("logilab_formulas")
    yield Row("fileserver.update without change (CPU)", cpu(lambda: server.update("logilab_formulas")), "ms", bar=5)
    copies = [path for path in Path(opts["cachedir"]).rglob("*.sls") if path.is_file()]
    yield Row("  files copied at its start", len(copies), "files", bar=0)


def statements() -> Row:
    """Count the statements of Jinja."""
    counts = []
    for folder in (one.parent for one in formulas().glob("*/schema.yaml")):
        files = [file for file in folder.rglob("*") if file.suffix in (".sls", ".j2", ".jinja")]
        counts.append(sum(file.read_text(encoding="utf-8").count("{%") for file in files))
    return Row("statements of Jinja, median formula", statistics.median(counts), "", bar=12)


def rows() -> list[Row]:
    """Measure all."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        opts = options(Path(folder))
        return [*serving(opts), *validations(), *compilations(opts), statements()]
