"""The kinds of tasks that a worker knows."""

from __future__ import annotations

from saltext_logilab.guests.tasks.backup import Backup
from saltext_logilab.guests.tasks.copy_disk import CopyDisk
from saltext_logilab.guests.tasks.migrate import Migrate
from saltext_logilab.guests.tasks.operation import Operation
from saltext_logilab.guests.tasks.restore import Restore
from saltext_logilab.guests.tasks.snapshot import Snapshot
from saltext_logilab.guests.tasks.verify import Verify

KINDS: dict[str, type[Operation]] = {
    "backup": Backup,
    "copy_disk": CopyDisk,
    "migrate": Migrate,
    "restore": Restore,
    "snapshot": Snapshot,
    "verify": Verify,
}
