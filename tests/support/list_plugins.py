"""
Load every plugin of this package with the Salt of the Python that runs this script, and print JSON.

It prints ``{"salt", "areas", "plugins": [{"type", "file", "virtual", "loaded", "functions"}]}``;
a plugin that is not loaded has its reason in ``loaded``. It exits with an error when an argument specification cannot
be pickled or packed by msgpack, as Salt must send both. It imports nothing but Salt and the package.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import pickle
import sys
import tempfile
from pathlib import Path
from typing import Any

import salt.config
import salt.loader
import salt.utils.args
import salt.utils.msgpack
import salt.version

# The folders that a loader scans in every package of an entry point (``utils`` is scanned by none).
# fmt: off
LOADER_TYPES = [
    "auth", "beacons", "cache", "clouds", "engines", "executors", "fileserver", "grains", "log_handlers",
    "matchers", "metaproxy", "modules", "netapi", "output", "pillar", "pkgdb", "pkgfiles", "proxy", "queues",
    "renderers", "resources", "returners", "roster", "runners", "sdb", "serializers", "states", "thorium",
    "tokens", "tops", "wheel", "wrapper",
]
# fmt: on


def areas() -> dict[str, Path]:
    """Return the folders of the package's entry points of group ``salt.loader``, by module name."""
    found = {}
    for point in importlib.metadata.distribution("saltext-logilab").entry_points:
        if point.group == "salt.loader":
            module = point.load()
            found[module.__name__] = Path(module.__file__).parent
    return found


def loader_types(folders: dict[str, Path]) -> list[str]:
    """Return the loader types that the areas have folders for and that this Salt knows (resources came with 3008)."""
    salts = Path(salt.loader.__file__).parent.parent
    wanted = [kind for kind in LOADER_TYPES if any((folder / kind).is_dir() for folder in folders.values())]
    return [kind for kind in wanted if (salts / kind).is_dir()]


def load(kind: str, folders: dict[str, Path], opts: dict[str, Any]) -> Any:
    """Return a loader of type ``kind`` for those of the folders that Salt finds by itself which lie in the areas."""
    wanted = {str(folder / kind) for folder in folders.values()}
    directories = [one for one in salt.loader._module_dirs(opts, kind) if one in wanted]
    pack: dict[str, Any] = {name: {} for name in ("__salt__", "__context__", "__pillar__", "__grains__", "__utils__")}
    loader = salt.loader.LazyLoader(directories, opts, tag=kind, pack=pack, loaded_base_name=f"listed.{kind}")
    loader._load_all()
    return loader


def plugins(kind: str, folders: dict[str, Path], opts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the loaders of a master and of a minion made of each file of type ``kind``."""
    loaders, rows = [load(kind, folders, {**opts, "__role": role}) for role in ("master", "minion")], []
    for folder in folders.values():
        files = sorted((folder / kind).glob("[!_]*")) if (folder / kind).is_dir() else []
        for file in files:
            if file.suffix == ".py" or (file / "__init__.py").exists():
                rows.append({"type": kind, "file": str(file), **describe(loaders, file)})
    return rows


def describe(loaders: list[Any], file: Path) -> dict[str, Any]:
    """Return how the plugin in ``file`` loaded: its virtual name and its functions with argspec and docstring."""
    source = str(file / "__init__.py" if file.is_dir() else file)
    items = {name: one for loader in loaders for name, one in loader.items()}
    functions = {name: one for name, one in items.items() if inspect.unwrap(one).__globals__.get("__file__") == source}
    virtual = sorted({name.split(".")[0] for name in functions})
    reasons = {str(key): str(value) for loader in loaders for key, value in loader.missing_modules.items()}
    return {
        "virtual": virtual,
        "loaded": True if functions else reasons.get(file.stem, False),
        "functions": {name: specification(name, one) for name, one in sorted(functions.items())},
    }


def specification(name: str, function: Any) -> dict[str, Any]:
    """Return argspec and docstring of ``function``; fail when the argspec cannot travel."""
    spec = salt.utils.args.argspec_report({name: function}, name)[name]
    pickle.dumps(spec)
    salt.utils.msgpack.packb(spec)
    return {"argspec": spec, "doc": function.__doc__}


def main() -> None:
    """Print what is found."""
    with tempfile.TemporaryDirectory() as root:
        opts = {
            **salt.config.DEFAULT_MASTER_OPTS,
            **salt.config.DEFAULT_MINION_OPTS,
            "id": "listed",
            "providers": {"mine": "logilab_mine"},
            "logilab": {"masters": {"jobs": {"dsn": "dbname=none"}}},
            "grains": {},
        }
        opts |= {
            "root_dir": root,
            "cachedir": f"{root}/cache",
            "extension_modules": f"{root}/extmods",
            "pki_dir": f"{root}/pki",
        }
        folders = areas()
        rows = [row for kind in loader_types(folders) for row in plugins(kind, folders, opts)]
    json.dump({"salt": salt.version.__version__, "areas": sorted(folders), "plugins": rows}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
