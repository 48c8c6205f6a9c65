"""
Files of the master into a resource.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from saltext_logilab.within import files, publication, salted, sources

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __resource__: dict[str, Any]
    __resource_funcs__: dict[str, Any]


def get_file(path: str, dest: str, saltenv: str = "base", makedirs: bool = False) -> str:
    """
    Put a file of the master at a path inside, whole or not at all; return the path.

    A file that is there keeps its owner and its mode, and is left alone where it is the same.

    path
        A file of the master (``salt://…``).
    dest
        Where it goes inside.
    saltenv
        The environment whose files it is one of.
    makedirs
        Make the folders above it.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker' cp.get_file salt://vimrc /etc/vimrc
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__, "cp.get_file") as inside:
        data = sources.read(path, __opts__, saltenv)
        if not (files.is_file(inside, dest) and files.digest(inside, dest) == hashlib.sha256(data).hexdigest()):
            files.write(inside, dest, data, folders=makedirs)
    return dest


def get_file_str(path: str, saltenv: str = "base") -> str:
    """
    Return what a file of the master holds.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' cp.get_file_str salt://my/file
    """
    with salted.errors():
        return sources.read(path, __opts__, saltenv).decode(errors="replace")


def hash_file(path: str, saltenv: str = "base") -> dict[str, str]:
    """
    Return the SHA-256 of a file of the master.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' cp.hash_file salt://my/file
    """
    with salted.errors():
        data = sources.read(path, __opts__, saltenv)
    return {"hsum": hashlib.sha256(data).hexdigest(), "hash_type": "sha256"}


def push(path: str) -> bool:
    """
    Send a file from inside to the master, which keeps it with those of the resource's minion (``file_recv``).

    On the master it lies in the minion's folder of pushed files, under ``resources/<id>``.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' cp.push /var/log/app.log
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        return sources.push(inside.stream(files.checked_path(path)), path, str(__resource__["id"]), __opts__)
