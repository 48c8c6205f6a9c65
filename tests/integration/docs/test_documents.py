"""Every command in README.md and in docs/ runs, and prints what the page shows."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from saltext_logilab import settings
from tests.integration.docs.places import Places
from tests.integration.docs.substitutions import KNOWN, TABLE
from tests.support.distribution import ROOT
from tests.support.documents import Session, blocks, check_page

PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]
# Pages that need real hypervisors: tests/integration/guests runs them.
ELSEWHERE = tuple(ROOT / f"docs/{name}.md" for name in ("back-up-guests", "evacuate", "make-guests"))
WITH_COMMANDS = [page for page in PAGES if "```console" in page.read_text(encoding="utf-8") and page not in ELSEWHERE]


@pytest.fixture
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """A terminal with a home of its own; a lab that a page leaves up is ended."""
    home = Path(tempfile.mkdtemp(prefix="docs-"))  # short: it will hold sockets
    session = Session(KNOWN, TABLE, Places(request, home).by_name(), home)
    yield session
    for lab in (*home.glob(".local/state/saltext-logilab/*/lab.json"), *home.glob("*/lab.json")):
        subprocess.run(["salt-lab", "down", "--lab", lab.parent], env=session.environment(), check=True)
    shutil.rmtree(home)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page(page: Path, session: Session) -> None:
    """A reader who types what the page shows gets what the page shows."""
    assert "\n".join(check_page(page.read_text(encoding="utf-8"), session)) == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_stand_where_the_test_finds_them(page: Path) -> None:
    """No page shows commands in a block of another language, where nothing would run them."""
    languages = {block.language for block in blocks(page.read_text(encoding="utf-8"))}
    assert languages & {"", "bash", "sh", "shell", "shell-session"} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_configuration_on_a_page_is_valid(page: Path) -> None:
    """Each YAML block can be read, and what it says under ``logilab`` names areas that exist."""
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language == "yaml":
            told = yaml.safe_load(block.text)
            if "logilab" in told:
                settings.area(told, "masters")
