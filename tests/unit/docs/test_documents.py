"""How the commands of a page are found, run and compared."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.documents import Session, Substitution, blocks, check_page, commands, fits

PAGE = """\
Some words with `code`.

```console
$ echo one
one
$ printf '%s\\n' two \\
    three
two
...
```

```yaml
a: 1
```
"""
TABLE = (Substitution(r"make test", "echo {what}", "it is the test itself"),)


@pytest.fixture
def session() -> Iterator[Session]:
    """A session that knows echo, cd, pwd, printf and false."""
    places = {"what": lambda: "instead"}
    made = Session(frozenset({"echo", "cd", "pwd", "printf", "false"}), TABLE, places)
    yield made
    shutil.rmtree(made.home)


def test_blocks_have_language_and_line() -> None:
    """Each fenced block is found with its language and where it begins."""
    assert [(block.language, block.line) for block in blocks(PAGE)] == [("console", 4), ("yaml", 13)]


def test_commands_have_their_output() -> None:
    """A command ends with its line, or goes on after a backslash; what follows is its output."""
    found = list(commands(blocks(PAGE)[0]))
    assert [(one.text, one.output, one.line) for one in found] == [
        ("echo one", "one", 4),
        ("printf '%s\\n' two \\\n    three", "two\n...", 6),
    ]


def test_a_console_block_begins_with_a_command() -> None:
    """Output without a command is an error of the page, not something to pass over."""
    with pytest.raises(ValueError, match="begins with"):
        list(commands(blocks("```console\nhello\n```\n")[0]))


@pytest.mark.parametrize(
    ("shown", "printed", "fit"),
    [
        ("", "anything\n", True),
        ("one", "one\n", True),
        ("one", "one  \n", True),
        ("one", "one\ntwo\n", False),
        ("one\n...", "one\n", True),
        ("one\n...", "one\ntwo\nthree\n", True),
        ("...\nthree", "one\ntwo\nthree\n", True),
        ("...\nfour", "one\ntwo\nthree\n", False),
        ("took ... s", "took 1.5 s\n", True),
        ("took ... s", "took 1.5 m\n", False),
        ("a.c", "abc\n", False),
    ],
)
def test_output_is_compared(shown: str, printed: str, fit: bool) -> None:
    """Three dots stand for anything, everything else for itself."""
    assert fits(shown, printed) is fit


@given(
    st.lists(
        st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="."), min_size=1), min_size=1
    )
)
def test_output_fits_itself(lines: list[str]) -> None:
    """Without dots, an output fits exactly what it shows, whatever characters are in it."""
    shown = "\n".join(lines)
    assert fits(shown, shown + "\n")
    assert not fits(shown, shown + "\nmore\n")


def test_a_page_runs_as_one_session(session: Session) -> None:
    """The folder that one command chooses is the next one's."""
    assert check_page(PAGE, session) == []
    page = "```console\n$ cd /usr\n$ cd lib\n```\n\n```console\n$ pwd\n/usr/lib\n```\n"
    assert check_page(page, session) == []


def test_a_wrong_output_is_told(session: Session) -> None:
    """The first command that prints something else is told with its line and what it printed."""
    wrong = check_page("# Title\n\n```console\n$ echo one\ntwo\n```\n", session)
    assert wrong[0] == "line 4: $ echo one"
    assert "one\n" in wrong


def test_a_failing_command_is_told(session: Session) -> None:
    """A command that fails is wrong even when the page shows no output."""
    assert "exit code 1" in check_page("```console\n$ false\n```\n", session)[1]


def test_a_substituted_command_runs_what_the_table_says(session: Session) -> None:
    """The table's command runs instead, with its places filled in."""
    assert session.run("make test") == (0, "instead\n")


def test_an_unknown_command_is_refused(session: Session) -> None:
    """What the test does not know is never passed over in silence."""
    with pytest.raises(LookupError, match="curl"):
        session.run("curl http://192.0.2.1/")
