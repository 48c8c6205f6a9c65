"""Every command in README.md and in docs/ runs, and prints what the page shows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import salt.config
import salt.daemons.masterapi
import yaml

from saltext_logilab import settings
from saltext_logilab.formula.packaged import example_pillars, formulas
from saltext_logilab.guests import connection, summary
from tests.support.distribution import ROOT, Distributions
from tests.support.documents import Session, Substitution, blocks, check_page

PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]
WITH_COMMANDS = [page for page in PAGES if "```console" in page.read_text(encoding="utf-8")]

# Programs that run as the page says, from the tests' own environment.
KNOWN = frozenset({"cat", "cd", "echo", "ls", "mkdir", "python3", "salt-lab"})

# All other commands, with what runs instead. Nothing is passed over: a command that stands in neither fails its page.
TABLE = (
    Substitution(r"git clone \S+", "cp -r {sources} saltext-logilab", "the checkout itself is what has to work"),
    Substitution(r"make demo", "make -n demo && salt-lab demo", "the installer has tests of its own and runs in CI"),
    Substitution(r"make test", "make -n test", "this is make test"),
    Substitution(r"make (lint|docs)", r"make -n lint docs", "CI runs both"),
    Substitution(
        r"make (bench|soak|test-matrix)", "make -n bench soak test-matrix", "they take long, and prove no page"
    ),
    Substitution(
        r"(sudo )?(salt-)?pip install '?saltext-logilab(\[\w+\]')?",
        "{python} -m pip --python {installed} install --quiet --force-reinstall --no-deps {wheel}",
        "the package is not in a registry yet: the wheel of this run goes into an environment of its own",
    ),
    Substitution(
        r"sudo salt-run masters\.identity",
        "mkdir -p ~/salt/var/cache/salt/master/proc && salt-run -c {configuration} masters.identity",
        "a master's configuration of the test's own; no Salt of the system's is touched",
    ),
    Substitution(
        r"sudo salt web1 state\.apply (users|users\.clean) test=True",
        r"salt-call -c {configuration} --local state.apply \1 test=True",
        "a trial run on this machine; how jobs go to minions is tested in the lab",
    ),
    Substitution(
        r"sudo salt web1 mine\.outbox",
        "salt-call -c {configuration} --local mine.outbox",
        "a minion's configuration of the test's own; how the mine travels is tested in the lab",
    ),
    Substitution(
        r"sudo salt kvm1 (libvirt_guest|libvirt_task)\.(\w+)",
        r"salt-call -c {hypervisor} --local \1.\2 | sed 's/^local:/kvm1:/'",
        "libvirt's test driver stands for a hypervisor; real ones have tests of their own",
    ),
    Substitution(
        r"sudo salt-run libvirt_guest\.inventory(.*)",
        r"salt-run -c {fleet} -l error libvirt_guest.inventory\1 2>/dev/null",
        "the mine of a master that does not run, filled by the test driver; Salt 3008 tells of its own leaks beside",
    ),
    Substitution(
        r"(sudo )?systemctl restart salt-(master|minion)", "true", "no Salt of the system's own is touched by tests"
    ),
)


@pytest.fixture
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """A terminal with a home of its own; a lab that a page leaves up is ended."""

    def wheel() -> str:
        distributions: Distributions = request.getfixturevalue("distributions")
        return str(distributions.wheel)

    def configuration() -> str:
        own = {
            "root_dir": str(session.home / "salt"),
            "id": "web1",
            "file_client": "local",
            "enable_fqdns_grains": False,
        }
        roots = {"file_roots": {"base": [str(formulas())]}, "pillar_roots": {"base": [str(example_pillars())]}}
        own["providers"] = {"mine": "logilab_mine"}
        for name in ("master", "minion"):
            (session.home / name).write_text(json.dumps(own | roots), encoding="utf-8")
        return str(session.home)

    def hypervisor() -> str:
        own = {"root_dir": str(session.home / "kvm1"), "id": "kvm1", "file_client": "local"}
        own |= {"enable_fqdns_grains": False, "logilab": {"guests": {"uri": "test:///default"}}}
        for name in ("master", "minion"):
            (session.home / name).write_text(json.dumps(own), encoding="utf-8")
        return str(session.home)

    def fleet() -> str:
        opts = salt.config.master_config(f"{hypervisor()}/master")
        minions = Path(opts["pki_dir"]) / "minions"
        for folder in (minions, Path(opts["cachedir"]) / "proc"):
            folder.mkdir(parents=True, exist_ok=True)
        (minions / "kvm1").touch()
        with connection.opened("test:///default") as link:
            load = {"id": "kvm1", "data": {"libvirt_guest.summary": summary.make(link)}}
        functions = salt.daemons.masterapi.RemoteFuncs(opts)
        functions._mine(load, skip_verify=True)
        functions.mminion.destroy()
        return str(session.home)

    places = {
        "configuration": configuration,
        "fleet": fleet,
        "hypervisor": hypervisor,
        "sources": lambda: str(request.getfixturevalue("sources")),
        "installed": lambda: str(request.getfixturevalue("installed")),
        "python": lambda: sys.executable,
        "wheel": wheel,
    }
    session = Session(KNOWN, TABLE, places)
    yield session
    for lab in session.home.glob(".local/state/saltext-logilab/*/lab.json"):
        subprocess.run(["salt-lab", "down", "--lab", lab.parent], env=session.environment(), check=True)
    shutil.rmtree(session.home)


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
