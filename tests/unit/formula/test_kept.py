"""What YAML said, kept as JSON: the same as YAML says, also after a change and where nothing can be kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saltext_logilab.formula.schemas.formula import mapping
from saltext_logilab.formula.schemas.kept import Kept
from saltext_logilab.formula.schemas.problems import FormulaError


def test_what_is_kept_is_used_while_the_text_is_the_same(tmp_path: Path) -> None:
    """The second time nothing is read as YAML; another text takes the place of the first."""
    kept = Kept(tmp_path / "formula")
    assert kept.mapping("users/schema.yaml", "a: {b: 1}") == {"a": {"b": 1}}
    (file,) = (tmp_path / "formula").iterdir()
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "mapping": {"from": "the file"}}))
    assert Kept(tmp_path / "formula").mapping("users/schema.yaml", "a: {b: 1}") == {"from": "the file"}
    assert kept.mapping("users/schema.yaml", "a: {b: 2}") == {"a": {"b": 2}}
    assert json.loads(file.read_text())["mapping"] == {"a": {"b": 2}}


@pytest.mark.parametrize("text", ["a: 2001-01-01", "{1: one}", "{a: {true: x}}"])
def test_what_json_would_change_is_not_kept(text: str, tmp_path: Path) -> None:
    """Dates and keys that are no texts come out of YAML each time."""
    for _ in range(2):
        assert Kept(tmp_path / "formula").mapping("x/schema.yaml", text) == mapping("x/schema.yaml", text)
    assert not (tmp_path / "formula").exists()


@pytest.mark.parametrize("spoilt", ["", "[]", "{", '{"sha256": 1}'])
def test_a_spoilt_file_is_made_anew(spoilt: str, tmp_path: Path) -> None:
    """A file that was cut off, or is another's, is as good as none."""
    (tmp_path / "x.schema.yaml.json").write_text(spoilt)
    assert Kept(tmp_path).mapping("x/schema.yaml", "a: 1") == {"a": 1}
    assert json.loads((tmp_path / "x.schema.yaml.json").read_text())["mapping"] == {"a": 1}


def test_a_folder_that_cannot_be_is_no_error(tmp_path: Path) -> None:
    """Then it is read as YAML each time; a text that is no YAML is told as ever."""
    (tmp_path / "file").write_text("")
    kept = Kept(tmp_path / "file" / "formula")
    assert kept.mapping("x/schema.yaml", "a: 1") == {"a": 1}
    with pytest.raises(FormulaError, match="is no YAML"):
        kept.mapping("x/schema.yaml", "a: [")
