"""
Files inside a resource, in the place of those of its minion.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saltext_logilab.within import files, publication, transport

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __resource__: dict[str, Any]
    __resource_funcs__: dict[str, Any]


def file_exists(path: str) -> bool:
    """
    Say whether there is a regular file inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.file_exists /etc/passwd
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        return files.is_file(inside, path)


def directory_exists(path: str) -> bool:
    """
    Say whether there is a folder inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.directory_exists /srv
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        return files.is_directory(inside, path)


def is_link(path: str) -> bool:
    """
    Say whether there is a symbolic link inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.is_link /var/run
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        found = files.stat(inside, path, follow=False)
        return found is not None and found.kind == transport.LINK


def readlink(path: str) -> str:
    """
    Return where a symbolic link inside leads.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.readlink /var/run
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        found = files.stat(inside, path, follow=False)
        if found is None or found.kind != transport.LINK:
            raise transport.NoSuchFileError(f"{inside.label} has no link {path}")
        return found.target


def readdir(path: str) -> list[str]:
    """
    Return the names in a folder inside, sorted.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.readdir /etc
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        return files.listing(inside, path)


def stats(path: str, follow_symlinks: bool = False) -> dict[str, Any]:
    """
    Return what stands at a path inside: type, size, mode (``0644``), owner and group by name and number, mtime, target.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.stats /etc/passwd
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        found = files.stat(inside, path, follow=follow_symlinks)
        if found is None:
            raise transport.NoSuchFileError(f"there is no {path} in {inside.label}")
        kinds = {transport.DIRECTORY: "dir"}
        return {
            "type": kinds.get(found.kind, found.kind),
            "size": found.size,
            "mode": f"{found.mode:04o}",
            "uid": found.uid,
            "gid": found.gid,
            "user": files.owner_name(inside, found.uid),
            "group": files.owner_name(inside, found.gid, "/etc/group"),
            "mtime": found.mtime,
            "target": found.target or path,
        }


def get_mode(path: str, follow_symlinks: bool = True) -> str:
    """
    Return the permissions of a file inside, such as ``0644``.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.get_mode /etc/shadow
    """
    return str(stats(path, follow_symlinks)["mode"])


def read(path: str, binary: bool = False, most_bytes: int = transport.MOST) -> str | bytes:
    """
    Return what a file inside holds, of at most ``most_bytes`` (1 MiB); bytes that are no UTF-8 are replaced.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.read /etc/hostname
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        found = transport.read(inside, files.checked_path(path), most_bytes)
    return found if binary else found.decode(errors="replace")


def contains(path: str, text: str) -> bool:
    """
    Say whether a file inside contains a text.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.contains /etc/crontab mymaintenance.sh
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        if not files.is_file(inside, path):
            return False
        return str(text).strip() in transport.read(inside, path, 64 * transport.MOST).decode(errors="replace")


def get_hash(path: str, form: str = "sha256") -> str:
    """
    Return the hash of what a file inside holds, of any size.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.get_hash /usr/sbin/nginx
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__) as inside:
        return files.digest(inside, path, form)


def check_hash(path: str, file_hash: str) -> bool:
    """
    Say whether a file inside has a hash, given as ``sha256=…`` or alone.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.check_hash /etc/motd md5=c44bd2c8b2ad1b51e5a5d3c6ad8d2a5b
    """
    form, separator, digest = str(file_hash).replace(":", "=").partition("=")
    lengths = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
    if not separator:
        form, digest = lengths.get(len(form), "sha256"), form
    return get_hash(path, form) == digest.lower()


def write(path: str, *args: str, **options: Any) -> str:
    """
    Write the given lines into a file inside, whole or not at all; one that is there keeps its owner and its mode.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.write /etc/motd 'first line' 'second line'
    """
    lines = options.get("args", args)
    text = "".join(f"{line}\n" for line in ([lines] if isinstance(lines, str) else lines))
    with publication.reached(__resource__, __resource_funcs__, __opts__, "file.write") as inside:
        files.write(inside, path, text.encode())
    return f"Wrote {len(text.splitlines())} lines to {path!r}"


def append(path: str, *args: str, **options: Any) -> str:
    """
    Write the given lines at the end of a file inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.append /etc/motd 'one more line'
    """
    lines = options.get("args", args)
    text = "".join(f"{line}\n" for line in ([lines] if isinstance(lines, str) else lines))
    with publication.reached(__resource__, __resource_funcs__, __opts__, "file.append") as inside:
        files.append(inside, path, text.encode())
    return f"Wrote {len(text.splitlines())} lines to {path!r}"


def touch(name: str) -> bool:
    """
    Make an empty file inside where there is none.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.touch /var/log/emptyfile
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__, "file.touch") as inside:
        if inside.stat(files.checked_path(name)) is None:
            files.write(inside, name, b"")
    return True


def mkdir(dir_path: str, user: str | None = None, group: str | None = None, mode: str | None = None) -> bool:
    """
    Make a folder inside, with those above it.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.mkdir /srv/site mode=0750
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__, "file.mkdir") as inside:
        files.make_folder(inside, dir_path, int(str(mode), 8) if mode is not None else None)
        files.set_owner(inside, dir_path, str(user or ""), str(group or ""))
    return True


def remove(path: str) -> bool:
    """
    Remove a file inside, or a folder with all in it; return whether there was anything.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.remove /srv/site
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__, "file.remove") as inside:
        return files.remove(inside, path)


def set_mode(path: str, mode: str) -> str:
    """
    Set the permissions of a file inside, and return them.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.set_mode /etc/passwd 0644
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__, "file.set_mode") as inside:
        files.set_mode(inside, path, int(str(mode), 8))
    return get_mode(path)


def chown(path: str, user: str, group: str) -> None:
    """
    Set the owner and the group of a file inside.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.chown /srv/site www-data www-data
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__, "file.chown") as inside:
        files.set_owner(inside, path, str(user or ""), str(group or ""))


def symlink(src: str, path: str) -> bool:
    """
    Make a symbolic link inside that leads from ``path`` to ``src``.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker:web.host1' file.symlink /srv/site /var/www
    """
    with publication.reached(__resource__, __resource_funcs__, __opts__, "file.symlink") as inside:
        files.link(inside, path, src)
    return True
