"""Manifests, chains of backups, and which may go."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import LogilabError, RefusedError, UnavailableError, WireError
from saltext_logilab.guests import backups
from saltext_logilab.guests.backups import Backup
from saltext_logilab.guests.tasks import restore


def name(number: int) -> str:
    """Return the name of a backup."""
    return f"20261123T101500-{number:08x}"


FULL = Backup(name(1), "web", "u", 100.0, "<domain/>", {"vda": "web-vda.qcow2"}, "monday")
MORE = dataclasses.replace(
    FULL, task=name(2), at=200.0, images={"vda": "more.qcow2"}, checkpoint="tuesday", base=name(1)
)


@st.composite
def histories(draw: st.DrawFn) -> list[Backup]:
    """Backups of one guest, each full or standing on an earlier one."""
    made: list[Backup] = []
    for number in range(draw(st.integers(0, 8))):
        base = draw(st.sampled_from([None, *[one.task for one in made]]))
        made.append(dataclasses.replace(FULL, task=name(number), at=float(number), base=base))
    return made


@given(histories(), st.integers(1, 8), st.lists(st.integers(0, 9).map(name), max_size=2))
def test_what_stays_can_be_restored(known: list[Backup], keep: int, busy: list[str]) -> None:
    """The newest stay, no chain is broken, nothing a task is at work with goes, and no more stays than that needs."""
    gone = backups.surplus(known, keep, busy)
    left = {one.task: one for one in known if one not in gone}
    for one in left.values():
        backups.chain(left, one.task)
    assert set(left) >= {one.task for one in known[-keep:]} | {
        one for one in busy if one in {each.task for each in known}
    }
    roots = {one.task for one in known[-keep:]} | set(busy)
    assert set(left) == {one.task for root in left if root in roots for one in backups.chain(left, root)}
    assert [one.at for one in gone] == sorted((one.at for one in gone), reverse=True)


def test_a_chain_is_whole_or_refused() -> None:
    """The full one comes last; one that is gone, or stands on itself, is told."""
    known = {one.task: one for one in (FULL, MORE)}
    assert backups.chain(known, MORE.task) == [MORE, FULL]
    with pytest.raises(LogilabError, match="there is no backup 'x'"):
        backups.chain(known, "x")
    with pytest.raises(RefusedError, match=f"stands on {FULL.task}, which is gone"):
        backups.chain({MORE.task: MORE}, MORE.task)
    with pytest.raises(RefusedError, match="which is gone"):
        backups.chain({FULL.task: dataclasses.replace(FULL, base=FULL.task)}, FULL.task)
    assert backups.latest_checkpoint([FULL, MORE], ["monday"]) == FULL
    assert backups.latest_checkpoint([FULL, MORE], ["monday", "tuesday"]) == MORE
    assert backups.latest_checkpoint([FULL, dataclasses.replace(MORE, checkpoint=None)], []) is None


def test_a_manifest_appears_when_its_backup_is_whole(tmp_path: Path) -> None:
    """A draft is no backup; it is published once or more, or discarded; it can be read by its owner only."""
    backups.draft(tmp_path, MORE)
    backups.draft(tmp_path, FULL)
    assert backups.all_in(tmp_path) == {}
    backups.publish(tmp_path, "web", FULL.task)
    backups.publish(tmp_path, "web", FULL.task)
    backups.discard(tmp_path, "web", MORE.task)
    backups.discard(tmp_path, "web", MORE.task)
    assert backups.all_in(tmp_path) == {FULL.task: FULL}
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]
    with pytest.raises(UnavailableError, match="is gone from"):
        backups.publish(tmp_path, "web", MORE.task)
    backups.rewrite(tmp_path, dataclasses.replace(FULL, verified=5.0))
    assert [one.verified for one in backups.all_in(tmp_path).values()] == [5.0]
    with pytest.raises(UnavailableError, match="cannot be written"):
        backups.draft(tmp_path / "none", FULL)


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": 2},
        {"images": {"vda": "../../etc/shadow"}},
        {"images": {"vda": "/etc/shadow.qcow2"}},
        {"images": ["x.qcow2"]},
        {"task": "../x"},
        {"base": "x"},
        {"guest": 5},
        {"at": None},
        {"more": 1},
    ],
)
def test_a_forged_manifest_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """No manifest names a file outside of its pool, or is of another form; the error names the file."""
    backups.draft(tmp_path, FULL)
    backups.publish(tmp_path, "web", FULL.task)
    path = tmp_path / FULL.file
    path.write_text(json.dumps({**json.loads(path.read_text()), **wrong}))
    with pytest.raises(WireError, match=f"{FULL.file}: no manifest of a backup"):
        backups.all_in(tmp_path)


def test_a_restored_guest_is_another_one() -> None:
    """Name, UUID, MACs, channels and firmware are its own; a trial guest has no cards and writes to the side."""
    xml = """
    <domain><name>web</name><uuid>u</uuid><os><nvram>/x</nvram></os><devices>
      <disk type='block'><driver type='raw'/><source dev='/dev/x'/><target dev='vda'/></disk>
      <interface type='user'><mac address='52:54:00:00:00:01'/></interface>
      <channel type='unix'><source path='/run/x'/><target type='virtio'/></channel>
      <serial type='file'><source path='/var/log/x'/></serial><serial type='pty'/>
    </devices></domain>"""
    made = restore.renewed(xml, "new", {"vda": "/p/new.qcow2"})
    for gone in ("uuid", "52:54", "/run/x", "/x</nvram>", "/dev/x"):
        assert gone not in made
    assert "<name>new</name>" in made
    trial = restore.definition_for_trial(dataclasses.replace(FULL, definition=xml), "t", {"vda": ["/t", "/b", "/a"]})
    for gone in ("interface", "/var/log/x"):
        assert gone not in trial
    assert trial.index("/t") < trial.index("/b") < trial.index("/a") < trial.index("<backingStore />")


def test_what_qemu_reads_is_said_outright() -> None:
    """Each image with its format, on the one before it, and the last on nothing, whatever its header says."""
    told = json.loads(restore.source(Path("/p"), [MORE, FULL], "vda").removeprefix("json:"))
    assert (told["driver"], told["file"]["filename"]) == ("qcow2", "/p/more.qcow2")
    assert told["backing"]["file"]["filename"] == "/p/web-vda.qcow2"
    assert told["backing"]["backing"] is None
