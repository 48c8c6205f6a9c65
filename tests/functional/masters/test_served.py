"""What a real master serves, by Salt's own file server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.errors import UnavailableError
from saltext_logilab.masters.files.desk import digest
from saltext_logilab.masters.served import MasterFiles
from tests.support.formulas import BACKENDS


def write(path: Path, content: str) -> None:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture
def opts(new_master_opts: Callable[..., dict[str, Any]], tmp_path: Path) -> dict[str, Any]:
    """A master with two roots, an environment beside base, a pillar, and the formulas of the package."""
    for number in (1, 2):
        write(tmp_path / str(number) / "web" / "init.sls", f"content {number}")
        write(tmp_path / f"pillar{number}" / "top.sls", f"base: {number}")
    write(tmp_path / "2" / "only.txt", "second")
    write(tmp_path / "dev" / "new.sls", "dev")
    roots = {
        "file_roots": {"base": [str(tmp_path / "1"), str(tmp_path / "2")], "dev": [str(tmp_path / "dev")]},
        "pillar_roots": {"base": [str(tmp_path / "pillar1"), str(tmp_path / "pillar2")]},
    }
    return new_master_opts({**BACKENDS, **roots, "fileserver_list_cache_time": 0})


def test_all_backends_are_told(opts: dict[str, Any]) -> None:
    """Roots and the backend of the formulas, each environment, and the pillar."""
    trees = MasterFiles(opts).trees()
    assert set(trees) == {"files base", "files dev", "pillar base"}
    assert {"web/init.sls", "only.txt", "users/init.sls"} <= trees["files base"].keys()
    assert trees["files dev"].keys() >= {"new.sls"}
    assert trees["pillar base"].keys() == {"top.sls"}


def test_the_first_root_counts(opts: dict[str, Any], tmp_path: Path) -> None:
    """What a later root hides is not served, and does not matter; what the first serves does, after a refresh."""
    source = MasterFiles(opts)
    before = source.trees()
    write(tmp_path / "2" / "web" / "init.sls", "hidden")
    write(tmp_path / "pillar2" / "top.sls", "hidden")
    source.refresh()
    assert source.trees() == before
    write(tmp_path / "1" / "web" / "init.sls", "served")
    write(tmp_path / "pillar1" / "top.sls", "served")
    source.refresh()
    after = source.trees()
    for tree, path in (("files base", "web/init.sls"), ("pillar base", "top.sls")):
        assert {one for one in after[tree] if after[tree][one] != before[tree][one]} == {path}
        assert digest(after[tree]) != digest(before[tree])


@pytest.mark.parametrize("look", [MasterFiles.refresh, MasterFiles.forget_lists])
def test_lists_that_salt_has_kept_are_made_anew(
    opts: dict[str, Any], tmp_path: Path, look: Callable[[MasterFiles], None]
) -> None:
    """Salt keeps what it has listed for 20 s: a new file is told after a refresh, and after a pull."""
    source = MasterFiles({**opts, "fileserver_list_cache_time": 3600})
    assert "late.sls" not in source.trees()["files dev"]
    write(tmp_path / "dev" / "late.sls", "late")
    assert "late.sls" not in source.trees()["files dev"]
    look(source)
    assert "late.sls" in source.trees()["files dev"]


def test_what_cannot_be_read_is_an_error(opts: dict[str, Any], tmp_path: Path) -> None:
    """A pillar file that is a dangling link is told, not passed over."""
    (tmp_path / "pillar1" / "gone.sls").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UnavailableError, match=r"the files cannot be told: .*gone\.sls"):
        MasterFiles(opts).trees()
