"""Containers as targets of their own: a real master, a real minion, the real Engine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import AuthorizationError, EauthAuthenticationError

from tests.support.docker import DockerHost
from tests.support.labs import LabFactory, accept_all
from tests.support.podman import PodmanHost
from tests.support.targets import Targets
from tests.support.waiting import wait_until

PATIENCE = 60
SLOW = {"docker": {"match": {"label": "target"}, "timeout": 30}}


@pytest.fixture(scope="module")
def targets(make_module_lab: LabFactory, docker_host: DockerHost, podman_host: PodmanHost) -> Targets:
    """A master and a minion whose engine follows Docker and Podman; containers with the label ``target`` count."""
    minion = {
        "engines": [{"docker_ports": {}}],
        "logilab": {"containers": {"daemons": {"docker": docker_host.url, "podman": podman_host.url}}},
        "process_count_max": 10,
    }
    allowed = [{"T@docker:web.m1": ["test.ping"]}]
    master = {
        "publisher_acl": {"nobody": allowed},
        "external_auth": {"sharedsecret": {"alice": allowed}},
        "sharedsecret": "word",
        "file_recv": True,
        "ext_pillar": [{"resource_ids": {}}],
        "nodegroups": {"crew": "m1 or G@labels:role:web", "named": "T@docker:web.m1"},
    }
    made = make_module_lab(masters=("paris",), minions=("m1", "taken.m1"), minion_options=minion, master_options=master)
    accept_all(made)
    found = Targets(made)
    found.configure(resources=SLOW, motto="of the minion")
    return found


@pytest.fixture
def web(run_container: Callable[..., Any], targets: Targets) -> Iterator[Any]:
    """A container that the master knows, and forgets."""
    made = run_container("web", labels={"target": "yes", "role": "web"})
    targets.wait_for("web")
    yield made
    made.remove(force=True)
    wait_until(lambda: "web.m1" not in targets.known(), PATIENCE, "web forgotten")


@pytest.fixture
def web_and_db(web: Any, run_container: Callable[..., Any], targets: Targets) -> Any:
    """Two containers."""
    run_container("db", labels={"target": "yes", "role": "db"})
    targets.wait_for("db")
    return web


@pytest.mark.usefixtures("web_and_db")
def test_targeting(targets: Targets, run_container: Callable[..., Any]) -> None:
    """By type, by id, by a grain, in a list, by the bare id; what the rule does not take is no target."""
    run_container("other")
    both = {"web.m1": True, "db.m1": True}
    assert targets.ask("T@docker", "test.ping") == both
    assert targets.ask("T@docker:web.m1", "test.ping") == {"web.m1": True}
    assert targets.ask("T@docker and G@labels:role:db", "test.ping") == {"db.m1": True}
    assert targets.ask("labels:role:web", "test.ping", kind="grain") == {"web.m1": True}
    assert targets.ask("web.m1", "test.ping", kind="glob") == {"web.m1": True}
    assert targets.ask("*", "test.ping", kind="glob") == {"m1": True, "taken.m1": True, **both}
    assert targets.ask("*", "test.ping") == {"m1": True, "taken.m1": True}, "a compound glob means minions alone"


@pytest.mark.usefixtures("web_and_db")
@pytest.mark.parametrize(
    ("target", "kind"),
    [("*", "glob"), ("w*", "glob"), ("(m1|web.*)", "pcre"), ("* or not T@docker:db.m1", "compound"),
     ("motto:*", "pillar"), ("127.0.0.0/8", "ipcidr"), ("labels:role:web", "grain"), ("crew", "nodegroup")],
)  # fmt: skip
def test_nothing_by_accident(targets: Targets, target: str, kind: str) -> None:
    """A target that names no container changes none: neither by a command, nor a file, nor states."""
    calls: list[tuple[str, list[Any]]] = [
        ("cmd.run", ["echo hacked >/www/hacked"]),
        ("file.write", ["/www/hacked", "x"]),
    ]
    if target == "*":  # a master's worker may look only four times a second which resources there are
        wait_until(lambda: {"web.m1", "db.m1"} <= targets.ask("*", "test.ping", kind="glob").keys(), PATIENCE, "both")
    if target in ("*", "w*"):
        targets.write({"harmless.sls": "nothing: {test.nop: []}\n"})
        calls += [("state.apply", ["harmless"])]
    for function, arguments in calls:  # Salt returns nothing of a minion's own states where it has resources
        found = targets.ask(target, function, *arguments, kind=kind, patience=15)
        told = {one: str(told) for one, told in found.items() if one in ("web.m1", "db.m1")}
        refusals = {one: text for one, text in told.items() if "did not return" not in text}
        assert all(f"{function} may change {one}" in text for one, text in refusals.items()), found
        assert all("does not name it: target it by T@docker" in text for text in refusals.values())
        assert set(refusals) == {"web.m1", "db.m1"} or target != "*", found
    for name in ("web", "db"):
        assert targets.one(name, "file.file_exists", "/www/hacked") is False


@pytest.mark.usefixtures("web")
def test_a_nodegroup_that_names_a_container(targets: Targets) -> None:
    """What it stands for is what counts."""
    assert targets.ask("named", "cmd.run", "echo done", kind="nodegroup") == {"web.m1": "done"}


@pytest.mark.usefixtures("web")
def test_wildcard_where_the_pillar_wants_it(targets: Targets) -> None:
    """Then a glob changes containers as it changes minions."""
    targets.configure(resources={"docker": {**SLOW["docker"], "wildcard": True}}, motto="of the minion")
    try:
        assert targets.ask("*", "cmd.run", "hostname >/tmp/name; echo done", kind="glob")["web.m1"] == "done"
    finally:
        targets.configure(resources=SLOW, motto="of the minion")


def test_a_container_that_comes_goes_stops_and_comes_again(
    targets: Targets, run_container: Callable[..., Any], web: Any
) -> None:
    """Each is known without a command; one made anew has the same id, a stopped one says so and does not hang."""
    late = run_container("late", labels={"target": "yes"})
    targets.wait_for("late")
    first = targets.grains("late")["container_id"]
    late.remove(force=True)
    wait_until(lambda: "late.m1" not in targets.known(), PATIENCE, "late forgotten")
    run_container("late", labels={"target": "yes"})
    targets.wait_for("late")
    assert targets.grains("late")["container_id"] != first
    assert targets.one("late", "cmd.run", "echo here") == "here"
    web.kill()
    wait_until(lambda: targets.grains("web").get("state") == "exited", PATIENCE, "the state at the master")
    full = targets.full("T@docker", "test.ping")
    assert full["late.m1"]["ret"] is True
    assert full["web.m1"]["ret"] == "ERROR: the container 'web' is not running: it is exited"
    assert full["web.m1"]["retcode"] == 1
    for function, arguments in (
        ("cmd.run", ["true"]),
        ("file.write", ["/x", "y"]),
        ("state.single", ["test.nop", "x"]),
    ):
        assert "not running" in targets.one("web", function, *arguments)
    web.start()
    wait_until(lambda: targets.grains("web").get("state") == "running", PATIENCE, "the state at the master")


def test_an_id_that_a_minion_has(targets: Targets, run_container: Callable[..., Any]) -> None:
    """It is refused, and said why; the minion of that id is the only one that answers."""
    with targets.hearing("salt/logilab/containers/refused") as refused:
        run_container("taken", labels={"target": "yes"})
        run_container("after", labels={"target": "yes"})
        targets.wait_for("after")
        assert refused() == {"refused": {"taken.m1": "'taken.m1' is the id of a minion"}}
    assert "taken.m1" not in targets.known()
    found = targets.ask("m1", "docker_targets.list", kind="glob")["m1"]
    assert found["refused"] == {"taken.m1": "'taken.m1' is the id of a minion"}
    assert found["targets"]["after.m1"]["container"] == "after"
    assert "a container is no target: 'taken.m1'" in targets.lab.log("m1").read_text()


@pytest.mark.usefixtures("web")
def test_an_id_that_another_minion_owns(targets: Targets) -> None:
    """The second minion of one Engine does not get it; the first one keeps it and alone answers."""
    bare = {"docker": {**SLOW["docker"], "id": "{name}"}}
    try:
        targets.configure(resources=bare, motto="of the minion")
        wait_until(lambda: "web" in targets.known(), PATIENCE, "the id without a minion's name")
        targets.configure_other("taken.m1", resources=bare)
        listed = targets.ask("taken.m1", "docker_targets.list", kind="glob")["taken.m1"]
        assert listed["refused"]["web"] == "'web' belongs to the minion 'm1'"
        assert "web" not in listed["targets"]
        assert targets.ask("T@docker:web", "grains.get", "managing_minion") == {"web": "m1"}
    finally:
        targets.configure_other("taken.m1")
        targets.configure(resources=SLOW, motto="of the minion")
        targets.wait_for("web")


@pytest.mark.usefixtures("web_and_db")
def test_each_has_its_own_result_and_its_own_time(targets: Targets) -> None:
    """One that takes too long, and one that fails, hold up and spoil no other."""
    targets.one("web", "file.write", "/slow", "x")
    told = targets.full("T@docker", "cmd.run", "[ ! -e /slow ] || exec sleep 1000; echo done; exit 3", timeout=2)
    assert (told["web.m1"]["ret"], told["web.m1"]["retcode"]) == ("[killed after 2 s]", 124)
    assert (told["db.m1"]["ret"], told["db.m1"]["retcode"]) == ("done", 3)


def test_ports_of_a_container(targets: Targets, run_container: Callable[..., Any]) -> None:
    """Those of this one alone: what it publishes, what it was asked for, whether it answers, what has changed."""
    command = ("httpd", "-f", "-p", "80")
    labels = {"target": "yes", "com.docker.compose.project": "shop"}
    health = {"test": ["CMD", "true"], "interval": 500_000_000}
    for name in ("served", "other"):
        run_container(name, {"80/tcp": None, "81/tcp": None}, command, labels=labels, healthcheck=health)
    targets.wait_for("served", "other")
    assert len(targets.grains("served")["ports"]) == 4, "two ports, by IPv4 and IPv6"
    assert targets.grains("served")["project"] == "shop"
    wait_until(lambda: targets.grains("served")["health"] == "healthy", PATIENCE, "the health at the master")
    shown = targets.one("served", "docker_ports.list")
    assert {(row["container"], row["container_port"]) for row in shown["ports"]} == {("served", 80), ("served", 81)}
    assert targets.one("served", "docker_ports.wait", 80, timeout=20) is True
    assert targets.one("served", "docker_ports.wait", 81, timeout=1) is False
    told = targets.one("served", "docker_ports.container")
    assert (told["container"], {row["container_port"] for row in told["ports"]}) == ("served", {80, 81})
    changes = targets.one("served", "docker_ports.history", limit=50)["changes"]
    assert {row["container"] for row in changes} == {"served"}
    assert "opened" in {row["what"] for row in changes}


def test_a_container_of_podman(targets: Targets, podman_host: PodmanHost) -> None:
    """It comes, is a target as those of Docker are, and goes."""
    labels = {"target": "yes"}
    made = podman_host.client.containers.run(
        podman_host.busybox, ["sleep", "1000"], name="pod", detach=True, labels=labels
    )
    try:
        targets.wait_for("pod")
        assert targets.grains("pod")["daemon"] == "podman"
        assert targets.one("pod", "test.ping") is True
        assert targets.one("pod", "cmd.run", "echo inside >/tmp/a; cat /tmp/a") == "inside"
        first = targets.one("pod", "state.single", "file.managed", "/etc/motd", contents="be kind")
        assert [one["result"] for one in first.values()] == [True], first
        assert targets.one("pod", "file.read", "/etc/motd") == "be kind\n"
    finally:
        made.remove(force=True)
    wait_until(lambda: "pod.m1" not in targets.known(), PATIENCE, "pod forgotten")


def test_grains(targets: Targets, web: Any) -> None:
    """What the Engine tells of it, with the minion that manages it."""
    found = targets.one("web", "grains.items")
    assert found["id"] == "web.m1"
    assert (found["managing_minion"], found["daemon"], found["container"]) == ("m1", "docker", "web")
    assert found["container_id"] == web.id[:12]
    assert found["labels"] == {"target": "yes", "role": "web"}
    assert found["digest"] == web.image.id
    assert found["networks"]["bridge"]
    assert targets.one("web", "grains.get", "labels:role") == "web"
    assert targets.one("web", "grains.item", "state", "nothing") == {"state": "running", "nothing": ""}
    assert targets.grains("web")["container"] == "web"


@pytest.mark.usefixtures("web")
def test_commands(targets: Targets) -> None:
    """Streams, codes, users, folders, environment, input; what YAML makes of a word; bounded output; a time-out."""
    done = targets.one("web", "cmd.run_all", "echo out; echo err >&2; exit 3")
    assert (done["stdout"], done["stderr"], done["retcode"]) == ("out", "err", 3)
    assert targets.full("T@docker:web.m1", "cmd.run", "exit 7")["web.m1"]["retcode"] == 7
    assert targets.one("web", "cmd.run", ["echo", "$HOME"]) == "$HOME"
    assert targets.one("web", "cmd.retcode", True) == 0
    assert targets.one("web", "cmd.run", "cat; pwd; echo $A", stdin="in\n", cwd="/tmp", env={"A": 1}) == "in\n/tmp\n1"
    assert targets.one("web", "cmd.run", "id -u; true", runas="1234").startswith(("1234", "sh: id"))
    assert "no option of a command inside a resource" in targets.one("web", "cmd.run", "true", umask="077")
    much = targets.one("web", "cmd.run_all", "busybox head -c 50000000 /dev/zero", most_bytes=1000)
    assert (len(much["stdout"]), much["bytes"], much["cut"]) == (1000, 50_000_000, True)
    assert targets.one("web", "cmd.run", "echo begun; sleep 1000", timeout=1) == "begun\n[killed after 1 s]"
    assert targets.one("web", "cmd.run", "ps | busybox grep -c '[s]leep 1000'") == "1", "the container's own alone"
    targets.write({"check.sh": "#!/bin/sh -e\necho got $1 $#\nexit 4\n"})
    told = targets.one("web", "cmd.script", "salt://check.sh", "'a b' c")
    assert (told["stdout"], told["retcode"]) == ("got a b 2", 4)
    assert "is no file of the master" in targets.one("web", "cmd.script", "/etc/passwd")


@pytest.mark.usefixtures("web")
def test_unknown_and_unsupported(targets: Targets) -> None:
    """An id that is not there does not answer; a function that is not ours is refused by its name."""
    nobody = targets.ask("T@docker:nobody.m1", "test.ping", patience=5)
    assert "did not return" in nobody["nobody.m1"]
    assert "Function 'user.add' is not supported" in targets.one("web", "user.add", "x")
    assert "has no package manager" in targets.one("web", "pkg.list_pkgs")
    assert "has no init" in targets.one("web", "service.status", "x")
    assert targets.one("web", "status.uptime") > 0


@pytest.mark.usefixtures("web")
def test_files(targets: Targets) -> None:
    """Written and read, with owner and mode; from the master and to it; outside of nothing."""
    assert "Wrote 2 lines" in targets.one("web", "file.write", "/etc/motd", "a", "b")
    assert targets.one("web", "file.read", "/etc/motd") == "a\nb\n"
    targets.one("web", "file.append", "/etc/motd", "c")
    assert targets.one("web", "file.get_hash", "/etc/motd") == hashlib.sha256(b"a\nb\nc\n").hexdigest()
    assert targets.one("web", "file.stats", "/etc/motd")["mode"] == "0644"
    assert targets.one("web", "file.file_exists", "/etc") is False
    assert targets.one("web", "file.directory_exists", "/etc") is True
    assert targets.one("web", "file.read", "/proc/1/comm") == "sleep\n"
    assert "no absolute path" in targets.one("web", "file.read", "../../etc/passwd")
    assert "there is no /nothing" in targets.one("web", "file.read", "/nothing")
    targets.write({"big": "x" * 3_000_000})
    assert targets.one("web", "cp.get_file", "salt://big", "/srv/deep/big", makedirs=True) == "/srv/deep/big"
    assert targets.one("web", "file.stats", "/srv/deep/big")["size"] == 3_000_000
    assert "holds more than 1048576 bytes" in targets.one("web", "file.read", "/srv/deep/big")
    assert targets.one("web", "cp.push", "/srv/deep/big") is True
    kept = targets.lab.folder / "paris/root/cache/minions/m1/files/resources/web.m1/srv/deep/big"
    assert kept.stat().st_size == 3_000_000


SLS = """
/etc/motd:
  file.managed:
    - source: salt://motd.j2
    - template: jinja
    - context: {who: you}
    - mode: "0640"
    - check_cmd: busybox grep -q Hello
folder:
  file.directory:
    - name: /srv/site
    - mode: "0750"
    - makedirs: true
link:
  file.symlink:
    - name: /srv/link
    - target: /srv/site
line:
  file.append:
    - name: /etc/lines
    - text: one
note:
  cmd.run:
    - name: echo {{ grains.id }} {{ pillar.motto }} {{ salt['cmd.run']('hostname') }} >/srv/note
    - onchanges:
      - file: /etc/motd
"""
BAD = """
someone:
  user.present: []
after:
  cmd.run:
    - name: touch /after
    - require:
      - user: someone
"""


def test_states_without_a_python(targets: Targets, web: Any) -> None:
    """Applied from the minion, also by the top file; twice; a test changes nothing; what cannot be done is named."""
    targets.write({"motd.j2": "Hello {{ who }}, {{ pillar.motto }}\n", "motd.sls": SLS})
    targets.write({"top.sls": "base: {'labels:role:web': [{match: grain}, motd], 'm1': [other]}\n"})
    before = [one["Path"] for one in web.diff() or ()]
    tried = targets.full("T@docker:web.m1", "state.apply", test=True)["web.m1"]
    assert {one["result"] for one in tried["ret"].values()} == {None}, tried
    assert [one["Path"] for one in web.diff() or ()] == before
    first = targets.full("T@docker:web.m1", "state.apply")["web.m1"]
    assert {one["result"] for one in first["ret"].values()} == {True}, first
    assert first["retcode"] == 0
    assert all(one["changes"] for one in first["ret"].values())
    assert targets.one("web", "file.read", "/etc/motd") == "Hello you, of the minion\n"
    assert targets.one("web", "file.read", "/srv/note") == f"web.m1 of the minion {web.id[:12]}\n"
    assert targets.one("web", "file.get_mode", "/srv/site") == "0750"
    targets.write({"top.sls": "base: {'we?.m1': [motd], 'm1': [other]}\n"})
    again = targets.one("web", "state.highstate")
    assert again.keys() == first["ret"].keys()
    assert {json.dumps(one["changes"]) for one in again.values()} == {"{}"}, again
    targets.write({"bad.sls": BAD})
    users = Path("/etc/passwd").stat().st_mtime_ns
    failed = targets.full("T@docker:web.m1", "state.apply", "bad")["web.m1"]
    assert failed["retcode"] == 2
    told = {one["__id__"]: one["comment"] for one in failed["ret"].values()}
    assert "user.present is not to be had: the container 'web' has no Python" in told["someone"]
    assert "requisite" in told["after"]
    assert Path("/etc/passwd").stat().st_mtime_ns == users
    targets.write({"check.sls": SLS.replace("-q Hello", "-q Nothing")})
    checked = targets.one("web", "state.apply", "check", pillar={"motto": "never"})
    assert "check_cmd execution failed" in str(checked)
    assert targets.one("web", "file.read", "/etc/motd") == "Hello you, of the minion\n"
    assert list(targets.one("web", "state.show_top")) == ["base"]
    assert "file" in targets.one("web", "state.show_sls", "motd")["/etc/motd"]


@pytest.mark.usefixtures("web_and_db")
def test_pillar(targets: Targets) -> None:
    """It is the minion's without what is said of resources, and what is meant for the one; labels select nothing."""
    own = {"docker": {**SLOW["docker"], "pillar": {"web.m1": {"secret": "of web"}, "db.m1": {"secret": "of db"}}}}
    targets.configure(resources=own, motto="of the minion")
    try:
        found = targets.ask("T@docker", "pillar.items", unmask=True)
        assert found["web.m1"].items() >= {"secret": "of web", "motto": "of the minion"}.items()
        assert found["db.m1"]["secret"] == "of db"
        assert "resources" not in found["web.m1"]
        assert "of db" not in json.dumps(found["web.m1"])
        assert targets.one("web", "pillar.get", "secret", unmask=True) == "of web"
        assert targets.one("web", "pillar.get", "secret") != "of web", "Salt masks what a command line shows"
        top = "base: {m1: [of_m1], 'labels:role:web': [{match: grain}, tenant], 'web.m1': [tenant]}\n"
        targets.write({"tenant.sls": "tenant: chosen by a label\n", "top.sls": top}, "pillar")
        targets.ask("m1", "saltutil.refresh_pillar", kind="glob", wait=True)
        assert "tenant" not in targets.one("web", "pillar.items", unmask=True)
    finally:
        targets.configure(resources=SLOW, motto="of the minion")


REFUSED = [
    ("T@docker:web.m1", "cmd.run"),
    ("T@docker:db.m1", "test.ping"),
    ("T@docker", "test.ping"),
    ("T@docker:web.m1 or T@docker:db.m1", "test.ping"),
    ("web.m1", "cmd.run"),
]


@pytest.mark.usefixtures("web_and_db")
def test_a_user_of_publisher_acl(targets: Targets) -> None:
    """It holds for ``T@``: what is not allowed is refused by the master, for each target and function."""

    def ask(target: str, function: str) -> dict[str, Any]:
        with targets.client() as client:  # what the user's own `salt` would send: the name, and the key of that user
            client.salt_user = "nobody"
            client.key = (targets.lab.folder / "paris/root/cache/.nobody_key").read_text()
            found: dict[str, Any] = client.cmd(target, function, timeout=PATIENCE, tgt_type="compound")
        return found

    assert ask("T@docker:web.m1", "test.ping") == {"web.m1": True}
    for target, function in REFUSED:
        with pytest.raises((AuthorizationError, EauthAuthenticationError)):
            ask(target, function)


@pytest.mark.usefixtures("web_and_db")
def test_a_user_of_external_auth(targets: Targets) -> None:
    """It holds for ``T@`` just so."""
    alice = {"eauth": "sharedsecret", "username": "alice", "password": "word"}

    def ask(target: str, function: str) -> dict[str, Any]:
        with targets.client() as client:
            found: dict[str, Any] = client.cmd(target, function, timeout=PATIENCE, tgt_type="compound", **alice)
        return found

    assert ask("T@docker:web.m1", "test.ping") == {"web.m1": True}
    for target, function in REFUSED:
        with pytest.raises((AuthorizationError, EauthAuthenticationError)):
            ask(target, function)


def test_a_container_removed_in_the_middle(targets: Targets, run_container: Callable[..., Any]) -> None:
    """The job ends with a sentence; the others are not held up."""
    made = run_container("short", labels={"target": "yes"})
    targets.wait_for("short")
    told: list[Any] = []
    caller = threading.Thread(target=lambda: told.append(targets.one("short", "cmd.retcode", "sleep 77", timeout=60)))
    caller.start()
    wait_until(lambda: any("sleep 77" in " ".join(one) for one in made.top()["Processes"]), PATIENCE, "the command")
    made.remove(force=True)
    caller.join(PATIENCE)
    assert told in ([137], ["ERROR: the container 'short' went away while the command ran"])
