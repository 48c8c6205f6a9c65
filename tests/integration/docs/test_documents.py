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
from saltext_logilab.formula.packaged import example_pillars
from saltext_logilab.guests import connection, summary
from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Wish
from tests.support.distribution import ROOT, Distributions
from tests.support.docker import DockerHost
from tests.support.documents import Session, Substitution, blocks, check_page
from tests.support.labs import accept_all
from tests.support.waiting import wait_until

PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]
WITH_COMMANDS = [page for page in PAGES if "```console" in page.read_text(encoding="utf-8")]

# Programs that run as the page says, from the tests' own environment.
KNOWN = frozenset(
    {"cat", "cd", "cp", "echo", "ls", "mkdir", "python3", "salt-formula", "salt-lab", "salt-swarm", "sed"}
)

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
        r"salt-swarm run --minions 1000 --master 127\.0\.0\.1",
        "salt-swarm run --minions 1000 --master 127.0.0.1 --seconds 2",
        "it would run until Ctrl-C; no master of the system's own answers there",
    ),
    Substitution(
        r"salt-swarm validate swarm\.yaml",
        "cp {specification} swarm.yaml && salt-swarm validate swarm.yaml",
        "the page's own specification, which a reader saves as swarm.yaml",
    ),
    Substitution(
        r"(sudo )?(salt-)?pip install '?saltext-logilab(\[\w+\]')?",
        "{python} -m pip --python {installed} install --quiet --force-reinstall --no-deps {wheel}",
        "the package is not in a registry yet: the wheel of this run goes into an environment of its own",
    ),
    Substitution(
        r"sudo salt-run masters\.(init|invite|join|status)( /root/nantes\.invite)?",
        r"mkdir -p ~/salt/var/cache/salt/master/proc && salt-run -c {configuration} --doc masters.\1",
        "no Salt of the system's own is touched: that the command exists; the page goes on with it in a lab",
    ),
    Substitution(
        r"salt-formula generate formulas pillar\.example",
        "cp -r {sources}/formulas {sources}/pillar.example . && salt-formula generate formulas pillar.example",
        "in a copy: a test must not write into the checkout",
    ),
    Substitution(
        r"sudo salt '\*' saltutil\.sync_all",
        "salt-call -c {configuration} --local saltutil.sync_all",
        "a minion of the test's own",
    ),
    Substitution(
        r"sudo salt-run formula\.(list|show users|path)",
        r"mkdir -p ~/salt/var/cache/salt/master/proc && salt-run -c {configuration} formula.\1",
        "a master's configuration of the test's own",
    ),
    Substitution(
        r"sudo salt-run formula\.validate '\*'",
        "mkdir -p ~/salt/var/cache/salt/master/proc && salt-run -c {configuration} formula.validate '*' || true",
        "that master knows no minions, which is an exit code of 1",
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
        r"docker run -d --name (\w+) -p (\S+) nginx",
        r"echo {docker_lab} && docker -H {docker} run -d --name \1 -p \2 logilab/busybox httpd -f -p 80",
        "a private Engine without a way to a registry: a small web server in the place of nginx",
    ),
    Substitution(
        r"sudo salt web1 (docker_exec\..*)",
        r"salt-lab run --lab {docker_lab} paris salt web1 \1",
        "the same lab",
    ),
    Substitution(
        r"sudo salt-run (docker_ports\..*)",
        r"salt-lab run --lab {docker_lab} paris salt-run \1",
        "a lab whose minion web1 follows the private Engine",
    ),
    Substitution(
        r"sudo salt-call docker_ports\.reserve web 80 port=8080",
        "! salt-lab run --lab {docker_lab} web1 salt-call docker_ports.reserve web 80 port=8080",
        "the same lab; the refusal is what is shown",
    ),
    Substitution(
        r"sudo salt-call state\.single (docker_ports\..*)",
        r"nsenter --net={docker_netns} salt-lab run --lab {docker_lab} web1 salt-call --local state.single \1",
        "the Engine of the tests has a network of its own, from which no master is reached",
    ),
    Substitution(
        r"sudo salt-call (docker_ports\..*)",
        r"salt-lab run --lab {docker_lab} web1 salt-call \1",
        "the same lab",
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
def session(request: pytest.FixtureRequest) -> Iterator[Session]:  # noqa: C901 - one short function a place
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
        own["providers"] = {"mine": "logilab_mine"}
        roots = {
            "fileserver_backend": ["roots", "logilab_formulas"],
            "file_roots": {"base": [str(session.home / "srv")]},
            "pillar_roots": {"base": [str(example_pillars())]},
        }
        for name in ("master", "minion"):
            (session.home / name).write_text(json.dumps(own | roots), encoding="utf-8")
        return str(session.home)

    def specification() -> str:
        page = (ROOT / "docs" / "swarm.md").read_text(encoding="utf-8")
        found = next(block for block in blocks(page) if block.language == "yaml")
        (session.home / "specification.yaml").write_text(found.text, encoding="utf-8")
        return str(session.home / "specification.yaml")

    def docker() -> str:
        host: DockerHost = request.getfixturevalue("docker_host")
        request.addfinalizer(host.remove_containers)
        assert host.busybox
        return host.url

    def docker_lab() -> str:
        lab = Lab(session.home / ".local/state/saltext-logilab/docker")
        if not lab.folder.exists():
            units = lab.folder.with_name("systemd")
            units.mkdir(parents=True)
            area = {"containers": {"daemons": {"docker": docker()}, "systemd": str(units)}}
            options = {"engines": [{"docker_ports": {}}], "logilab": area}
            lab.up(Wish(masters=("paris",), minions=("web1",), minion_options=options))
            accept_all(lab)
            wait_until(
                lambda: "web1" in lab.run("paris", "salt-run", "docker_ports.status").stdout,
                60,
                "the table at the master",
            )
        return str(lab.folder)

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
        "specification": specification,
        "configuration": configuration,
        "docker": docker,
        "docker_lab": docker_lab,
        "docker_netns": lambda: str(request.getfixturevalue("docker_host").netns.path),
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
