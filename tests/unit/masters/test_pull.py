"""Members that pull each other's roots over real links: all of it, or nothing."""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.errors import RefusedError, UnavailableError
from saltext_logilab.masters.files import pull, stage
from saltext_logilab.masters.files.manifest import Entry, Limits, digest
from saltext_logilab.masters.files.options import PullOptions
from saltext_logilab.masters.files.stage import NOTE, Stage, finish, switch
from saltext_logilab.masters.files.trees import scan
from saltext_logilab.masters.settings import MastersSettings
from saltext_logilab.masters.status import status, table
from tests.unit.masters.test_members import Site, play, until
from tests.unit.masters.test_membership import refused

WIDE = Limits(1000, 1 << 30)
BOTH = ("files", "pillar")


class Folders:
    """Two roots of files and one of pillar below a folder; what Salt adds to that does not matter here."""

    def __init__(self, folder: Path, names: tuple[str, ...] = ("salt", "formulas", "pillar")) -> None:
        self.folder = folder
        for name in names:
            (folder / name).mkdir(parents=True)
        self.forgotten = 0

    def trees(self) -> dict[str, dict[str, bytes]]:
        """Give what is compared."""
        return {name: {one.path: one.digest for one in scan(Path(root), name, WIDE).entries}
                for name, (root, *_) in self.roots().items()}  # fmt: skip

    def refresh(self) -> None:
        """There is nothing to look at anew."""

    def roots(self) -> dict[str, list[str]]:
        """Give the folders."""
        place = self.folder
        return {"files base": [str(place / "salt"), str(place / "formulas")], "pillar base": [str(place / "pillar")]}

    def is_ignored(self, path: str) -> bool:
        """Pass over compiled files."""
        return path.endswith(".pyc")

    def protected(self) -> list[str]:
        """Give what stands beside."""
        return [str(self.folder.parent / "pki")]

    def forget_lists(self) -> None:
        """Count."""
        self.forgotten += 1


class Serving(Site):
    """A member with roots, which offers and takes all."""

    options = PullOptions(BOTH, BOTH, WIDE)

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name)
        self.srv = folder / name / "srv"
        self.around.files = Folders(self.srv)

    @property
    def settings(self) -> MastersSettings:
        """What its configuration says."""
        return MastersSettings(self.name, self.address, self.state, pull=self.options)

    async def pull(self, member: str, *, dry_run: bool = False) -> dict[str, Any]:
        """Pull, and wait for the end."""
        await self.ask("pull", member=member, dry_run=dry_run)
        while "ended" not in (state := await self.ask("pulling")):
            await asyncio.sleep(0.01)
        if "error" in state:
            raise RefusedError(state["error"])
        return state["result"]


def answers_of(site: Serving) -> dict[str, Any]:
    """Return what answers the questions of the other members."""
    return site.member._peers._hooks.answers  # type: ignore[return-value]


def write(root: Path, **files: str) -> None:
    """Write files, ``__`` in a name standing for a slash."""
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def content(root: Path) -> dict[str, str]:
    """Return what stands below ``root``."""
    return {str(one.relative_to(root)): one.read_text() for one in root.rglob("*") if one.is_file()}


def serving(folder: Path, story: Any) -> None:
    """Run ``story`` with two linked members that have roots."""

    async def linked(paris: Serving, nantes: Serving) -> None:
        for one, other in ((paris, nantes), (nantes, paris)):
            await until(lambda one=one, other=other: one.peer(other).get("connected"), "connected")
        await story(paris, nantes)

    play(folder, linked, kind=Serving)


def test_what_a_member_serves_takes_the_place_of_what_is_here(tmp_path: Path) -> None:
    """First told and nothing changed, then done, then undone; permissions and empty folders come too."""

    async def story(paris: Serving, nantes: Serving) -> None:
        write(paris.srv / "salt", top="new", web__init="web", same="same", run="#!/bin/sh")
        (paris.srv / "salt" / "run").chmod(0o755)
        (paris.srv / "salt" / "empty").mkdir()
        (paris.srv / "salt" / "link").symlink_to("web")
        write(paris.srv / "pillar", secrets="deep")
        write(nantes.srv / "salt", top="old", same="same", gone="gone")
        nantes.srv.joinpath("salt").chmod(0o750)
        before = content(nantes.srv)
        told = await nantes.pull("paris", dry_run=True)
        tree = told["trees"]["files base"]
        assert (tree["add"], tree["change"], tree["remove"]) == (
            ["empty", "link/init", "run", "web/init"],
            ["top"],
            ["gone"],
        )
        assert told["trees"]["files base 2"]["same"]
        assert told["trees"]["pillar base"]["add"] == ["secrets"]
        assert content(nantes.srv) == before
        done = await nantes.pull("paris")
        assert done["trees"] == told["trees"]
        wanted = {"top": "new", "web/init": "web", "link/init": "web", "same": "same", "run": "#!/bin/sh"}
        assert content(nantes.srv / "salt") == wanted
        assert content(nantes.srv / "pillar") == {"secrets": "deep"}
        assert (nantes.srv / "salt" / "run").stat().st_mode & 0o777 == 0o755
        assert (nantes.srv / "salt").stat().st_mode & 0o777 == 0o750
        assert (nantes.srv / "salt" / "empty").is_dir()
        assert not any(one.is_symlink() for one in (nantes.srv / "salt").rglob("*"))
        assert ("pulled", {"member": "paris", "trees": sorted(told["trees"])}) in nantes.around.told
        assert nantes.around.files.forgotten == 1
        await until(lambda: "ended" in nantes.health().get("pull", {}), "written down")
        assert "last pull: from paris, " in table("nantes", status(nantes.settings, time.time()))
        again = await nantes.pull("paris")
        assert all(one["same"] for one in again["trees"].values())
        assert set(await nantes.ask("undo_pull")) == {"files base", "pillar base"}
        now = {name: one for name, one in content(nantes.srv).items() if not name.startswith(".")}
        assert now == before

    serving(tmp_path, story)


def test_nothing_is_pulled_that_was_not_configured(tmp_path: Path) -> None:
    """Neither side does it by itself: who gives has to offer, who takes has to say what may be replaced."""

    async def story(paris: Serving, nantes: Serving) -> None:
        write(paris.srv / "salt", top="new")
        with pytest.raises(RefusedError, match="offers no files: logilab:masters:pull:offer"):
            await nantes.pull("paris")
        await refused(paris.ask("pull", member="nantes", dry_run=True), "logilab:masters:pull:take is not set")
        await refused(nantes.ask("pull", member="lyon", dry_run=True), "'lyon' is no other member")
        await refused(nantes.ask("undo_pull"), "nothing was pulled here")

    class Half(Serving):
        @property
        def options(self) -> PullOptions:  # type: ignore[override]
            return PullOptions((), BOTH if self.name == "nantes" else (), WIDE)

    async def linked(paris: Half, nantes: Half) -> None:
        await until(lambda: nantes.peer(paris).get("connected"), "connected")
        await story(paris, nantes)

    play(tmp_path, linked, kind=Half)


def test_a_member_that_lies_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that lead out of the root, other entries than were signed, other contents, a file that never ends."""

    async def story(paris: Serving, nantes: Serving) -> None:
        write(paris.srv / "salt", top="new", other="x" * 100)
        write(nantes.srv / "salt", top="old")
        before = {one: one.read_bytes() for one in tmp_path.joinpath("nantes", "srv").rglob("*") if one.is_file()}
        answers = answers_of(paris)
        true_entries, true_pieces = answers["entries"], answers["pieces"]

        for name in ("../../x", str(tmp_path / "absolute"), "other2"):

            async def renamed(public: bytes, about: Any, name: str = name) -> list[Any]:
                (first, *others) = await true_entries(public, about)
                return [[name, *first[1:]], *others]

            with monkeypatch.context() as lie:
                lie.setitem(answers, "entries", renamed)
                with pytest.raises(RefusedError, match=r"nothing of it is taken|not those of the signed manifest"):
                    await nantes.pull("paris")

        async def endless(public: bytes, about: Any) -> list[bytes]:
            return [one + b"more" for one in await true_pieces(public, about)]

        async def changed(public: bytes, about: Any) -> list[bytes]:
            return [bytes(len(one)) for one in await true_pieces(public, about)]

        for lying in (endless, changed):
            with monkeypatch.context() as lie:
                lie.setitem(answers, "pieces", lying)
                with pytest.raises(RefusedError, match="not what was signed"):
                    await nantes.pull("paris")
        after = {one: one.read_bytes() for one in tmp_path.joinpath("nantes", "srv").rglob("*") if one.is_file()}
        assert {one: told for one, told in after.items() if ".logilab-pull" not in str(one)} == before
        assert not (tmp_path / "absolute").exists()
        assert not (tmp_path / "x").exists()
        await nantes.pull("paris")
        assert content(nantes.srv / "salt")["top"] == "new"

    serving(tmp_path, story)


def test_many_and_large_files_come_in_parts(tmp_path: Path) -> None:
    """More entries than one answer holds, a file of several pieces, and one content under many names."""

    async def story(paris: Serving, nantes: Serving) -> None:
        root = paris.srv / "formulas"
        (root / "large").write_bytes(bytes(range(256)) * 9000)
        for number in range(700):
            (root / f"{'long' * 50}{number:04}").write_text(f"content {number % 350}")
        (root / "nothing").touch()
        await nantes.pull("paris")
        assert scan(nantes.srv / "formulas", "", WIDE).entries == scan(root, "", WIDE).entries
        inodes = [one.stat().st_nlink for one in (nantes.srv / "formulas").iterdir()]
        assert set(inodes) == {1}

    serving(tmp_path, story)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda root: (root / ".git").mkdir(), "is of a version control system"),
        (lambda root: (root.rename(root.with_name("real")), root.symlink_to("real")), "is a symbolic link"),
    ],
    ids=["working copy", "link"],
)
def test_roots_that_may_not_be_replaced_are_told(tmp_path: Path, spoil: Any, reason: str) -> None:
    """In the dry run as well; nothing is changed."""

    async def story(paris: Serving, nantes: Serving) -> None:
        write(paris.srv / "salt", top="new")
        spoil(nantes.srv / "salt")
        told = await nantes.pull("paris", dry_run=True)
        assert reason in told["trees"]["files base"]["refused"]
        with pytest.raises(RefusedError, match=reason):
            await nantes.pull("paris")
        assert not (nantes.srv / "salt" / "top").exists()

    serving(tmp_path, story)


def test_roots_that_overlap_are_refused(tmp_path: Path) -> None:
    """Else one exchange would take the other root away; and nothing of the master's own goes away with a root."""

    async def story(paris: Serving, nantes: Serving) -> None:
        write(paris.srv / "salt", top="new")
        roots = nantes.around.files.roots()
        nantes.around.files.roots = lambda: {**roots, "files dev": [str(nantes.srv / "salt" / "dev")]}
        told = await nantes.pull("paris", dry_run=True)
        assert "overlaps with another root" in told["trees"]["files base"]["refused"]
        nantes.around.files.roots = lambda: roots
        nantes.around.files.protected = lambda: [str(nantes.srv / "salt" / "pki")]
        told = await nantes.pull("paris", dry_run=True)
        assert "the master's own" in told["trees"]["files base"]["refused"]

    serving(tmp_path, story)


def test_what_differs_in_number_is_left_out_and_told(tmp_path: Path) -> None:
    """A root that only one of both has is not touched."""

    async def story(paris: Serving, nantes: Serving) -> None:
        write(paris.srv / "salt", top="new")
        paris.around.files.roots = lambda: {"files base": [str(paris.srv / "salt")], "files dev": [str(paris.srv)]}
        told = await nantes.pull("paris", dry_run=True)
        assert set(told["trees"]) == {"files base"}
        assert set(told["left_out"]) == {"files base 2", "files dev", "pillar base"}
        true_manifest = answers_of(paris)["manifest"]

        async def rude(public: bytes, about: Any) -> dict[str, Any]:
            return {**await true_manifest(public, about), "left_out": {"files base": ["\x1b[2Jgone"]}}

        answers_of(paris)["manifest"] = rude
        told = await nantes.pull("paris", dry_run=True)
        assert told["left_out"]["files base"] == ["?[2Jgone"]

    serving(tmp_path, story)


def test_who_changes_a_root_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit between the comparison and the exchange: nothing is replaced."""

    async def story(paris: Serving, nantes: Serving) -> None:
        write(paris.srv / "salt", top="new")
        true_build = Stage.build

        def build(self: Stage, *arguments: Any) -> None:
            true_build(self, *arguments)
            write(nantes.srv / "salt", mine="edited")

        monkeypatch.setattr(Stage, "build", build)
        with pytest.raises(RefusedError, match="was changed here meanwhile"):
            await nantes.pull("paris")
        assert content(nantes.srv / "salt") == {"mine": "edited"}

    serving(tmp_path, story)


def test_one_pull_at_a_time_and_it_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one is refused with what is at work; the stopped one has changed nothing, and the next goes on."""

    async def story(paris: Serving, nantes: Serving) -> None:
        write(paris.srv / "salt", top="new")
        asked, go_on = asyncio.Event(), asyncio.Event()
        answers = answers_of(paris)
        true_pieces = answers["pieces"]

        async def slow(public: bytes, about: Any) -> list[bytes]:
            asked.set()
            await go_on.wait()
            return await true_pieces(public, about)

        with monkeypatch.context() as patch:
            patch.setitem(answers, "pieces", slow)
            await nantes.ask("pull", member="paris", dry_run=False)
            await asyncio.wait_for(asked.wait(), 20)
            await refused(nantes.ask("pull", member="paris", dry_run=True), "a pull from paris is at work")
            assert await nantes.ask("stop_pull")
            go_on.set()
            while "ended" not in (state := await nantes.ask("pulling")):
                await asyncio.sleep(0.01)
            assert "stopped" in state["error"]
        assert content(nantes.srv / "salt") == {}

    serving(tmp_path, story)


# -- the stage ---------------------------------------------------------------------------------------------------------


def entries_of(folder: Path) -> list[Entry]:
    """Return the entries of a tree."""
    return scan(folder, "tree", WIDE).entries


def staged(folder: Path, **files: str) -> tuple[Stage, list[Entry]]:
    """Return a stage for a root with one file in it, into which ``files`` have come."""
    wanted, root = folder / "wanted", folder / "srv"
    write(wanted, **files)
    write(root, old="old")
    made, entries = Stage(root), entries_of(wanted)
    made.prepare(0)
    for one in entries:
        made.add(one, 0, (wanted / one.path).read_bytes())
    return made, entries


def test_a_full_disk_leaves_the_old_tree_whole(small_disk: Any, tmp_path: Path) -> None:
    """Told before, when the room does not suffice; and when it gives out in the middle."""
    disk = small_disk("40m")
    write(disk / "srv", old="old")
    made = Stage(disk / "srv")
    with pytest.raises(RefusedError, match="have to be written beside"):
        made.prepare(50 << 20)
    made.prepare(1 << 20)
    (tmp_path / "large").write_bytes(os.urandom(30 << 20))
    (large,) = entries_of(tmp_path)
    made.add(large, 0, (tmp_path / "large").read_bytes())
    twice = [Entry(name, large.size, large.digest, 0o644) for name in ("a", "b")]
    with pytest.raises(UnavailableError, match="No space left"):
        made.build(twice, {})
    made.clean()
    assert content(disk / "srv") == {"old": "old"}
    assert not (disk / ".srv.logilab-pull").exists()


def test_names_that_a_file_system_takes_for_one_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where README and readme are one file, the tree that was built is not what was signed: the old one stays."""
    made, entries = staged(tmp_path, README="upper", readme="lower")
    made.build(entries, {})
    assert content(made.new) == {"README": "upper", "readme": "lower"}
    true_place = Stage._place

    def fold(self: Stage, entry: Entry, *rest: Any) -> None:
        true_place(self, Entry(entry.path.lower(), entry.size, entry.digest, entry.mode), *rest)

    monkeypatch.setattr(Stage, "_place", fold)
    with pytest.raises((RefusedError, UnavailableError), match=r"cannot be built|cannot be written"):
        made.build(entries, {})
    assert content(made.root) == {"old": "old"}


def test_a_link_in_the_stage_is_not_followed(tmp_path: Path) -> None:
    """Whoever has put it there: nothing is written where it leads."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    write(tmp_path / "srv", old="old")
    made = Stage(tmp_path / "srv")
    made.prepare(0)
    entry = Entry("a", 1, digest([]), 0o644)
    (made.parts / f"{entry.digest.hex()}.part").symlink_to(victim)
    with pytest.raises(UnavailableError, match="cannot be written"):
        made.add(entry, 0, b"x")
    made.clean()
    made.folder.symlink_to(tmp_path)
    with pytest.raises(RefusedError, match="this master alone can use"):
        made.prepare(0)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("cut", ["note", "first", "moved"])
def test_an_exchange_that_was_cut_off_is_brought_to_its_end(tmp_path: Path, cut: str) -> None:
    """Killed after the note, after the first of two roots, or before the old tree was put away."""
    stages = []
    for name in ("one", "two"):
        made, entries = staged(tmp_path / name, new=name)
        made.build(entries, {})
        stages.append(made)
    numbers = [one.new.stat().st_ino for one in stages]
    stage.files.replace(
        tmp_path / NOTE, str([[str(one.root), n] for one, n in zip(stages, numbers, strict=True)]).replace("'", '"')
    )
    if cut != "note":
        stage._exchange(stages[0].new, stages[0].root)
    if cut == "moved":
        stages[0].new.rename(stages[0].old)
    assert finish(tmp_path) == 2
    for one, name in zip(stages, ("one", "two"), strict=True):
        assert content(one.root) == {"new": name}
        assert content(one.old) == {"old": "old"}
        assert not one.new.exists()
    assert finish(tmp_path) == 0
    (tmp_path / NOTE).write_text("[1]")
    with pytest.raises(UnavailableError, match="is damaged"):
        finish(tmp_path)
    (tmp_path / NOTE).unlink()
    switch(tmp_path, [one.old for one in stages])
    assert [content(one.root) for one in stages] == [{"old": "old"}] * 2


KILLED = """
import sys
import time
from pathlib import Path
from saltext_logilab.masters.files.stage import Stage, switch
from saltext_logilab.masters.files.trees import scan
from saltext_logilab.masters.files.manifest import Limits

folder = Path(sys.argv[1])
wanted, root = folder / "wanted", Stage(folder / "srv")
entries = scan(wanted, "", Limits(1000, 1 << 30)).entries
root.prepare(0)
print("go", flush=True)
for one in entries:
    begun = root.begun(one)
    content = (wanted / one.path).read_bytes()
    for offset in [*range(begun, len(content), 4096)] or [begun]:  # all may have come, and not be known as whole
        if root.has(one) or root.add(one, offset, content[offset : offset + 4096]):
            break
root.build(entries, {})
switch(folder, [root.new])
root.clean()
"""


@pytest.mark.parametrize("kills", [6, pytest.param(60, marks=pytest.mark.soak)])
def test_kill_9_at_any_moment_leaves_one_of_both_trees(tmp_path: Path, kills: int) -> None:
    """And what had come is kept: the work that is begun anew again and again comes to its end."""
    for number in range(40):
        write(tmp_path / "wanted", **{f"d{number % 5}__f{number}": f"{number} " * 9000})
    write(tmp_path / "srv", old="old")
    new = content(tmp_path / "wanted")
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    chance = random.Random(20261126)
    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as work:
            assert work.stdout
            work.stdout.readline()
            with contextlib.suppress(subprocess.TimeoutExpired):
                work.wait(chance.uniform(0, 0.2))
            work.kill()
        served = content(tmp_path / "srv")
        assert served in ({"old": "old"}, new)
        finish(tmp_path)
        if content(tmp_path / "srv") == new:
            break
    assert subprocess.run(command, check=True, stdout=subprocess.PIPE).returncode == 0
    assert content(tmp_path / "srv") == new


def test_the_progress_is_one_line() -> None:
    """With sizes that people read."""
    from saltext_logilab.masters.files.follow import sentence  # noqa: PLC0415

    told = {"member": "paris", "step": "fetching", "done": 1 << 20, "of": 3 << 30}
    assert sentence(told) == "pull from paris: fetching 1.0 MiB of 3.0 GiB"
    assert sentence({**told, "of": 0, "step": "asking"}) == "pull from paris: asking"
    assert pull.SHOWN > 0
