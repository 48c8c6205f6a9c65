"""The program ``salt-formula``: what it says of pillar files and formulas, and the formula that it makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from saltext_logilab.formula import cli
from saltext_logilab.formula.packaged import example_pillars
from tests.support.distribution import ROOT
from tests.support.formulas import FORMULAS


def check(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, list[str]]:
    """Return the exit code of ``salt-formula check`` and the lines that it prints."""
    code = cli.main(["check", *map(str, arguments)])
    return code, capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name", FORMULAS)
def test_the_examples_are_right(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is wrong with an example pillar, nor with a formula's folder."""
    assert check(capsys, example_pillars() / f"{name}.sls", ROOT / "formulas" / name) == (0, [])


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "users:\n  groups: {}\n  user: {}\n",
            ["3: users:user is not a known key (did you mean 'users'?); its value is {}"],
        ),
        (
            "users:\n  absent_users:\n    - ok\n    - Bad\n",
            ["4: users:absent_users:1 must match ^[a-z_][a-z0-9_-]{0,30}$, not 'Bad'"],
        ),
        ("other: 1\nuserss: {}\n", ["2: userss is the key of no formula (did you mean 'users'?)"]),
        ("users: [\n", ["2: is no YAML: expected the node content, but found '<stream end>'"]),
        ("- a\n", ["1: a pillar file must be a mapping"]),
    ],
    ids=str,
)
def test_what_is_wrong_has_its_line(
    text: str, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each problem begins with file and line, as compilers do."""
    file = tmp_path / "pillar.sls"
    file.write_text(text)
    assert check(capsys, file) == (1, [f"{file}:{line}" for line in lines])


def test_a_template_is_told_not_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pillar with Jinja cannot be read without its minion: that is said, and is no error."""
    file = tmp_path / "pillar.sls"
    file.write_text("users:\n  groups: {{ grains.id }}\n")
    code, (line,) = check(capsys, file)
    assert (code, "not checked, as it is a template" in line, line.startswith(f"{file}:2:")) == (0, True, True)


def test_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there, one that is no text, and a folder that is no formula are told."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    code, lines = check(capsys, tmp_path / "absent", binary, tmp_path)
    assert (code, len(lines)) == (1, 3)
    assert cli.main(["check", "--formulas", str(tmp_path / "absent"), str(binary)]) == 1
    assert "is no folder of formulas" in capsys.readouterr().err


def test_a_system_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--os-family`` checks for another system than the formula's first."""
    file = tmp_path / "pillar.sls"
    file.write_text("users: {}\n")
    assert check(capsys, "--os-family", "RedHat", file) == (0, [])
    assert "does not support the os_family 'BSD'" in check(capsys, "--os-family", "BSD", file)[1][0]


def test_a_new_formula_works_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own test passes, the check finds nothing, its pillar is checked; it is not written twice."""
    assert cli.main(["new", "gateway", "--into", str(tmp_path)]) == 0
    assert str(tmp_path / "gateway/schema.yaml") in capsys.readouterr().out
    assert check(capsys, tmp_path / "gateway") == (0, [])
    test = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "gateway"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "3 passed" in test.stdout, test.stdout
    pillar = tmp_path / "pillar.sls"
    pillar.write_text("gateway:\n  packge: x\n")
    code, lines = check(capsys, "--formulas", tmp_path, pillar)
    assert (code, "did you mean 'package'?" in lines[0]) == (1, True)
    assert cli.main(["new", "gateway", "--into", str(tmp_path)]) == 1
    assert "exists; nothing was written" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["Gateway", "../x", "a-b", "9", ""])
def test_a_name_that_cannot_be_one(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written outside, or under a name that Salt would not find."""
    assert cli.main(["new", name, "--into", str(tmp_path)]) == 1
    assert "is no name of a formula" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ("type: object\nproperties: {a: {type: string}}", "properties:a has no description"),
        ("type: object\npropertys: {}", "propertys is no keyword of the subset (did you mean 'properties'?)"),
        ("type: object\nproperties: {a: {type: strin, description: x}}", "is no type: 'strin'"),
        ("type: object\nproperties: {a: {type: string, description: x, default: 1}}", "default must be a text, not 1"),
        ("type: object\nproperties: {db_password: {type: string, description: x}}", "is not marked by writeOnly: true"),
        ("type: object\nproperties: {a: {$ref: '#/$defs/x'}}", "'#/$defs/x', which is not in its $defs"),
        ("type: object\nproperties: {a: {type: array, description: x, x-merge: deep}}", "x-merge must be one of"),
        ("type: array", "must say type: object at its top"),
    ],
)
def test_a_wrong_schema_is_told(schema: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An author hears of what would let a wrong pillar pass, or leave a key without words."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "schema.yaml").write_text(schema)
    (folder / "defaults.yaml").write_text("os_family: {Debian: {}}")
    code, lines = check(capsys, folder)
    assert code == 1
    assert sentence in "\n".join(lines)


def test_a_condition_needs_no_description(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below ``if``, ``not`` and ``then`` a schema says what has to be so, and describes no key."""
    folder = tmp_path / "mine"
    folder.mkdir()
    condition = "if: {properties: {a: {const: 1}}, required: [a]}\nthen: {required: [b]}"
    keys = "properties: {a: {type: integer, description: x}, b: {type: integer, description: x}}"
    (folder / "schema.yaml").write_text(f"type: object\nadditionalProperties: false\n{keys}\n{condition}\n")
    (folder / "defaults.yaml").write_text("os_family: {Debian: {}}")
    assert check(capsys, folder) == (0, [])
