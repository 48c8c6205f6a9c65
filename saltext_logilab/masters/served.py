"""
What this area touches of Salt's file servers, for Salt 3006, 3007 and 3008: which files a master really serves, by all
of its backends, and its pillar files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import salt.fileserver
import salt.loader
from salt.exceptions import SaltException

from saltext_logilab.errors import UnavailableError

DIGEST_SIZE = 8
ALL = {"saltenv": None}  # the lists of all environments; without the key Salt clears none of them
_PIECE = 1024 * 1024


class MasterFiles:
    """What the master with ``opts`` serves; see :class:`~saltext_logilab.masters.files.FileSource`."""

    def __init__(self, opts: Mapping[str, Any]) -> None:
        self._opts = dict(opts)

    def trees(self) -> dict[str, dict[str, bytes]]:
        """
        Return by tree (``files base``, ``pillar base``, …) each path with a digest of its content.

        :raises UnavailableError: a backend does not answer, or a file cannot be read.
        """
        try:
            server = salt.fileserver.Fileserver(self._opts)
            found = {f"files {env}": dict(self._served(server, env)) for env in server.envs()}
            pillar = self._opts["pillar_roots"].items()
            return found | {f"pillar {env}": dict(_below(roots)) for env, roots in pillar}
        except (SaltException, OSError) as err:
            raise UnavailableError(f"the files cannot be told: {err}") from err

    def refresh(self) -> None:
        """Have every backend, and git_pillar where it is used, look at its sources now; :raises UnavailableError."""
        try:
            server = salt.fileserver.Fileserver(self._opts)
            server.update()
            server.clear_file_list_cache(dict(ALL))
            if any("git" in one for one in self._opts["ext_pillar"]):
                salt.loader.runner(self._opts)["git_pillar.update"]()
        except (SaltException, OSError) as err:
            raise UnavailableError(f"the files cannot be refreshed: {err}") from err

    def roots(self) -> dict[str, list[str]]:
        """Return by tree (``files base``, ``pillar base``, …) its folders; not those whose path depends on a name."""
        found = {}
        for kind, option in (("files", "file_roots"), ("pillar", "pillar_roots")):
            for env, folders in self._opts[option].items():
                if env != "__env__" and not any("__env__" in str(one) for one in folders):
                    found[f"{kind} {env}"] = [os.path.abspath(str(one)) for one in folders]  # noqa: PTH100
        return found

    def is_ignored(self, path: str) -> bool:
        """Say whether the file server passes over ``path`` (``file_ignore_regex``, ``file_ignore_glob``)."""
        return bool(salt.fileserver.is_file_ignored(self._opts, path))

    def protected(self) -> list[str]:
        """Return the folders of the master's own: keys, caches, sockets and configuration."""
        names = [self._opts[one] for one in ("pki_dir", "cachedir", "sock_dir")]
        return [str(one) for one in (*names, os.path.dirname(self._opts["conf_file"])) if one]  # noqa: PTH120

    def forget_lists(self) -> None:
        """Let the file server look at its roots anew: its lists of files are good for 20 seconds otherwise."""
        try:
            salt.fileserver.Fileserver(self._opts).clear_file_list_cache(dict(ALL))
        except (SaltException, OSError) as err:
            raise UnavailableError(f"the file server's lists cannot be made anew: {err}") from err

    @staticmethod
    def _served(server: Any, env: str) -> Iterator[tuple[str, bytes]]:
        for path in server.file_list({"saltenv": env}):
            told = server.file_hash({"path": path, "saltenv": env})
            yield str(path), hashlib.sha256(str(told.get("hsum", "")).encode()).digest()[:DIGEST_SIZE]


def _below(roots: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the files below ``roots`` with their digests; of a path in several roots the first, as Salt takes it."""
    for root in reversed([Path(one) for one in roots]):
        for folder, _, names in os.walk(root, followlinks=True):
            for path in (Path(folder, name) for name in names):
                yield str(path.relative_to(root)), _digest(path)


def _digest(path: Path) -> bytes:
    content = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            content.update(piece)
    return content.digest()[:DIGEST_SIZE]
