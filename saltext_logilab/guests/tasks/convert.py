"""Copy a volume into a new one, of another format or in another pool; what it stands on is taken in."""

from __future__ import annotations

from pathlib import Path

from saltext_logilab.errors import ConfigurationError, RefusedError
from saltext_logilab.guests import change, connection, storage
from saltext_logilab.guests.connection import Connection
from saltext_logilab.guests.tasks import images
from saltext_logilab.guests.tasks.held import Held
from saltext_logilab.guests.tasks.records import Task
from saltext_logilab.guests.tasks.restore import remove_images
from saltext_logilab.guests.wanted import FORMATS, NAME


def check(link: Connection, pool: str, volume: str, target: str, new: dict[str, str]) -> dict[str, object]:
    """
    Return the spec of a copy of a volume into the pool ``target``.

    :param new: ``name`` and ``format`` of the new volume.
    :raises RefusedError: there is no such volume, a guest that is not off writes it, or the new one is there already.
    """
    if not NAME.fullmatch(new["name"]) or new["format"] not in FORMATS:
        raise ConfigurationError(
            f"a volume has a name of letters, digits and ._+-, and a format of {', '.join(FORMATS)}"
        )
    storage.file_pool(link, pool)
    found = storage.volume(link, pool, volume)
    if found is None:
        raise RefusedError(f"the pool {pool!r} has no volume {volume!r}")
    path, kind = str(found.path()), storage.image_format(found)
    if writing := [name for name in change.users(link, path) if connection.find(link, name).isActive()]:
        raise RefusedError(
            f"the volume {volume!r} is written by {', '.join(writing)}; libvirt_task.copy_disk copies it"
        )
    need, room = images.in_pools(link, Path(path), kind), storage.room(link, target)
    if storage.volume(link, target, new["name"]) is not None:
        raise RefusedError(f"the pool {target!r} has a volume {new['name']!r} already")
    if need > room:
        raise RefusedError(f"the volume {volume!r} takes {need} bytes, the pool {target!r} has {room}")
    return {"pool": pool, "target": target, "source": [path, kind], "new": new, "size": need}


class Convert(Held):
    """A conversion."""

    def work(self, link: Connection, task: Task) -> None:
        """Write it under a name of the task's own, then give it its name: a volume that is there is whole."""
        spec = task.spec
        pool = storage.file_pool(link, spec["target"])
        part, last = (storage.folder(pool) / name for name in (f"{task.id}.part", spec["new"]["name"]))
        self.learn(volumes=[part.name])
        self.total = spec["size"]
        path, kind = spec["source"]
        self.run("qemu-img", "convert", "-f", kind, "-O", spec["new"]["format"], path, str(part), growing=part)
        if last.exists():
            raise RefusedError(f"{last} has come to be meanwhile")
        self.learn(inode=part.stat().st_ino)
        part.rename(last)
        storage.refresh(pool)

    def worked(self, link: Connection, task: Task) -> bool:
        """Whether the volume has got its name."""
        last = storage.folder(storage.file_pool(link, task.spec["target"])) / task.spec["new"]["name"]
        done = "inode" in task.spec and last.exists() and last.stat().st_ino == task.spec["inode"]
        if done:
            storage.refresh(storage.file_pool(link, task.spec["target"]))
        return done

    def clean(self, link: Connection, task: Task) -> None:
        """Remove what was written."""
        if volumes := task.spec.get("volumes"):
            remove_images(link, task.spec["target"], volumes)
