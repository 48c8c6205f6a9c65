"""The kinds of tasks that a worker knows."""

from __future__ import annotations

from saltext_logilab.guests.tasks.backup import Backup
from saltext_logilab.guests.tasks.clone import Clone
from saltext_logilab.guests.tasks.convert import Convert
from saltext_logilab.guests.tasks.copy_disk import CopyDisk
from saltext_logilab.guests.tasks.create import Create
from saltext_logilab.guests.tasks.migrate import Migrate
from saltext_logilab.guests.tasks.operation import Operation
from saltext_logilab.guests.tasks.resize import ResizeDisk
from saltext_logilab.guests.tasks.restore import Restore
from saltext_logilab.guests.tasks.seed import Seed
from saltext_logilab.guests.tasks.snapshot import Snapshot
from saltext_logilab.guests.tasks.verify import Verify

KINDS: dict[str, type[Operation]] = {
    "backup": Backup,
    "clone": Clone,
    "convert": Convert,
    "copy_disk": CopyDisk,
    "create": Create,
    "migrate": Migrate,
    "resize_disk": ResizeDisk,
    "restore": Restore,
    "seed": Seed,
    "snapshot": Snapshot,
    "verify": Verify,
}
