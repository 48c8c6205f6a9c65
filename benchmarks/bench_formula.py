"""
Formulas: what it costs to compile one, to check a pillar, and to serve the files.

A formula is compiled with its example pillar, as ``state.show_sls`` does it, in this process; what counts is what it
costs more than an empty SLS in the same run, in the least disturbed of several compilations. The figures beside it are
those of the formulas of saltstack-formulas, measured earlier on the same kind of machine, as their trees cannot be had
in the run: docker-formula took 619 ms where an empty SLS took 67 ms. A minion's first check of a pillar is measured in
processes of their own.
"""

from __future__ import annotations

import copy
import gc
import json
import logging
import statistics
import subprocess
import sys
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
GRAINS |= {"fqdn": "bench.example.org"}
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


# What a minion has loaded before it renders its first SLS, Salt itself, is not counted.
FIRST = """
import json, sys, time
import salt.state
begin = time.process_time()
from pathlib import Path
from saltext_logilab.formula.schemas.formula import DEFAULTS, SCHEMA, Formula
folder = Path(sys.argv[1])
Formula.parse(folder.name, *[(folder / name).read_text() for name in (SCHEMA, DEFAULTS)]).data(*json.loads(sys.argv[2]))
print(1000 * (time.process_time() - begin))
"""


def first(name: str, pillar: dict[str, Any]) -> float:
    """Return what a process spends on its first check, of several such: imports, files, patterns and all."""
    command = [sys.executable, "-c", FIRST, str(formulas() / name), json.dumps([GRAINS, pillar])]
    return min(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(ROUNDS))


def validations() -> Iterator[Row]:
    """Check the example pillars: one in a process of its own, all again; beside jsonschema."""
    known = catalogue.read_all(formulas())
    name = max(known, key=lambda one: (formulas() / one / "schema.yaml").stat().st_size)
    formula, pillar = known[name], known[name].schema["examples"][0]
    peer = cpu(lambda: list(jsonschema.Draft202012Validator(formula.schema).iter_errors(pillar)))
    again = {one: cpu(lambda it=it: it.data(GRAINS, it.schema["examples"][0])) for one, it in known.items()}
    slowest = max(again, key=lambda one: again[one])
    alone = cpu(lambda: validate(formula.schema, pillar))
    yield Row(f"check and merge {name}, first in its process (CPU)", first(name, pillar), "ms", "", bar=20)
    yield Row(f"  again, the slowest formula ({slowest})", again[slowest], "ms", "", bar=5)
    yield Row(f"  the check of {name} alone", alone, "ms", f"{peer:.2f} ms jsonschema", bar=5)


def serving(opts: dict[str, Any]) -> Iterator[Row]:
    """Update the file server when nothing has changed; count the files that it has copied."""
    server = salt.fileserver.Fileserver(opts)
    server.init()
    server.update("logilab_formulas")
    yield Row("fileserver.update without change (CPU)", cpu(lambda: server.update("logilab_formulas")), "ms", bar=5)
    copies = [path for path in Path(opts["cachedir"]).rglob("*.sls") if path.is_file()]
    yield Row("  files copied at its start", len(copies), "files", bar=0)


class Missing(logging.Handler):
    """Counts the files that were looked for in vain; Salt itself looks for NAME.sls before NAME/init.sls."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.count += "Could not find file" in text and "/" in text.partition("salt://")[2].partition("'")[0]


def lookups(opts: dict[str, Any]) -> Row:
    """Count what all formulas together look for in vain."""
    logger, missing = logging.getLogger("salt.fileclient"), Missing()
    before = logger.level
    logger.addHandler(missing)
    logger.setLevel(logging.DEBUG)
    try:
        for name, formula in catalogue.read_all(formulas()).items():
            pillar = {name: formula.schema["examples"][0]}
            own = {**copy.deepcopy(opts), "grains": GRAINS, "pillar": pillar}
            salt.state.HighState(own, initial_pillar=pillar).render_highstate({"base": [name]})
    finally:
        logger.removeHandler(missing)
        logger.setLevel(before)
    return Row("lookups of missing files, all formulas", missing.count, "", "56 template-formula (earlier)", bar=0)


def statements() -> Row:
    """Count the statements of Jinja."""
    counts = []
    for folder in (one.parent for one in formulas().glob("*/schema.yaml")):
        files = [file for file in folder.rglob("*") if file.suffix in (".sls", ".j2", ".jinja")]
        counts.append(sum(file.read_text(encoding="utf-8").count("{%") for file in files))
    peer = "676 docker-formula (earlier)"
    return Row("statements of Jinja, median formula", statistics.median(counts), "", peer, bar=12)


def rows() -> list[Row]:
    """Measure all."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        opts = options(Path(folder))
        return [*serving(opts), *validations(), *compilations(opts), lookups(opts), statements()]
