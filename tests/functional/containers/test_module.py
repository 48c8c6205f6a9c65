"""The execution module on a real Docker Engine, with its answers' age, with and without the engine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError
from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab.containers import host, settings
from saltext_logilab.containers.selection import Criteria
from saltext_logilab.errors import UnavailableError
from tests.functional.containers.test_watch import SLEEP
from tests.support.docker import DockerHost
from tests.support.relays import Relay
from tests.support.waiting import wait_until
from tests.support.watching import PATIENCE, Watched

Modules = Any
POOLS = {"default": {"static": "20000-20009", "dynamic": "20010-20029"}, "tiny": {"dynamic": "20100-20101"}}
NOBODY = 65534
SECRET = "correct horse battery staple"
DHCP = ["sh", "-c", "echo interface eth0 >/tmp/c; echo pidfile /tmp/p >>/tmp/c; exec busybox udhcpd -f /tmp/c"]
SERVE = ["sh", "-c", "sleep 1; echo served >/www/it; exec httpd -f -p 80 -h /www"]


@pytest.fixture(scope="module")
def new_modules(new_loaders: Callable[..., Any], module_state: Path) -> Callable[..., Any]:
    """Return a maker of the execution modules for ``daemons``."""

    def make(daemons: dict[str, str], state: Path = module_state) -> Any:
        area = {"daemons": daemons, "pools": POOLS}
        return new_loaders({"logilab": {"state_dir": str(state), "containers": area}}).modules

    return make


@pytest.fixture(scope="module")
def module_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of all tests here; :func:`modules` empties it."""
    return tmp_path_factory.mktemp("state") / "logilab"


@pytest.fixture(scope="module")
def shared_modules(new_modules: Callable[..., Any], docker_host: DockerHost) -> Modules:
    """The modules of a minion on :func:`docker_host`: making them takes seconds."""
    return new_modules({"docker": docker_host.url})


@pytest.fixture
def modules(shared_modules: Modules, docker_host: DockerHost, module_state: Path) -> Iterator[Modules]:
    """The same with an empty state, called in the network namespace of the Engine."""
    shutil.rmtree(module_state, ignore_errors=True)
    with docker_host.netns.entered():
        yield shared_modules


def test_which_container_answers_on_a_port(modules: Modules, run_container: Callable[..., Any]) -> None:
    """One listing without an engine: by port, protocol, name, image, project, label, exposure."""
    labels = {"com.docker.compose.project": "shop"}
    run_container("web", {"80/tcp": 25180, "53/udp": ("127.0.0.1", 25153)}, labels=labels)
    found = modules.docker_ports.find(port=25180)
    assert {row["container"] for row in found["ports"]} == {"web"}
    assert {row["host_ip"] for row in found["ports"]} == {"0.0.0.0", "::"}
    assert 0 <= found["age"] < 10
    assert found["daemons"]["docker"]["source"] == "listing"
    for criteria in ({"port": "25153/udp"}, {"protocol": "udp"}, {"exposure": "loopback"}):
        assert [row["host_port"] for row in modules.docker_ports.find(**criteria)["ports"]] == [25153], criteria
    for criteria in ({"container": "w*"}, {"image": "logilab/*"}, {"project": "shop"}):
        assert len(modules.docker_ports.find(**criteria)["ports"]) == 3, criteria
    for criteria in ({"port": "25180/udp"}, {"container": "x"}, {"label": "team"}, {"exposure": "local"}):
        assert modules.docker_ports.find(**criteria)["ports"] == [], criteria
    assert [row["id"] for row in modules.docker_ports.list()["ports"]] == [found["ports"][0]["id"]] * 3


def test_a_port_of_the_kernel_that_is_missing(modules: Modules, docker_host: DockerHost) -> None:
    """SCTP: the container can be made and its wish is read; where the kernel lacks it, its refusal is an error."""
    made = docker_host.client().containers.create(docker_host.busybox, SLEEP, name="sctp", ports={"99/sctp": 25199})
    try:
        assert modules.docker_ports.container("sctp")["requested"] == {"99/sctp": "25199"}
        with nullcontext() if has_sctp() else pytest.raises(APIError, match="protocol not supported"):
            made.start()
        assert len(modules.docker_ports.find(port="25199/sctp")["ports"]) == (2 if has_sctp() else 0)
    finally:
        made.remove(force=True)


def test_with_the_engine_no_listing_is_made(
    modules: Modules,
    watch: Callable[..., Watched],
    run_container: Callable[..., Any],
    docker_host: DockerHost,
    module_state: Path,
) -> None:
    """The registry answers, with its age, and history and status tell of it."""
    run_container("web", {"80/tcp": 25181})
    watch(docker_host, folder=module_state.parent)
    found = modules.docker_ports.find(port=25181)
    assert found["daemons"]["docker"]["source"] == "engine"
    assert {row["requested"] for row in found["ports"]} == {"25181"}
    docker_host.client().containers.get("web").pause()
    wait_until(lambda: modules.docker_ports.find(port=25181)["ports"][0]["state"] == "paused", PATIENCE, "paused")
    assert modules.docker_ports.history("web")["changes"][0]["what"] == "paused"
    status = modules.docker_ports.status()
    assert (status["ok"], status["engine"], status["daemons"]["docker"]["state"]) == (True, "running", "connected")


def test_declared_and_real(modules: Modules, run_container: Callable[..., Any]) -> None:
    """What is missing and what nobody has declared, by container; a malformed declaration is a sentence."""
    run_container("web", {"80/tcp": 25193, "53/udp": ("127.0.0.1", 25194)})
    declared = {"web": ["25193:80", "127.0.0.1:25194:53/udp"]}
    told = modules.docker_ports.diff(declared)
    assert (told["ok"], told["containers"], 0 <= told["age"] < 10) == (True, {}, True)
    told = modules.docker_ports.diff({"web": ["25193:80"], "db": ["[::1]:5432:5432"]})
    assert told["ok"] is False
    assert told["containers"] == {
        "web": {"missing": [], "undeclared": ["127.0.0.1:25194->53/udp"]},
        "db": {"missing": ["[::1]:5432:5432/tcp"], "undeclared": []},
    }
    with pytest.raises(SaltInvocationError, match="'70000' in '70000:80' is no port"):
        modules.docker_ports.diff({"web": ["70000:80"]})


def test_real_listeners_of_shared_networks(modules: Modules, run_container: Callable[..., Any]) -> None:
    """Host network: what really listens; a container's network: what listens behind that one's published port."""
    run_container("hosted", command=["httpd", "-f", "-p", "25182"], network_mode="host")
    run_container("owner", {"80/tcp": 25183, "81/tcp": 25184})
    run_container("guest", command=["httpd", "-f", "-p", "80"], network_mode="container:owner")

    def listeners() -> set[tuple[str, int, int]]:
        rows = modules.docker_ports.list()["ports"]
        return {
            (row["container"], row["host_port"], row["container_port"]) for row in rows if row["origin"] == "listener"
        }

    wanted = {("hosted", 25182, 25182), ("guest", 25183, 80)}
    wait_until(lambda: listeners() == wanted, PATIENCE, "listeners")
    assert modules.docker_ports.wait("hosted", 25182, timeout=0) is True
    assert modules.docker_ports.wait("guest", 80, timeout=0) is True
    assert modules.docker_ports.wait("guest", 81, timeout=0) is False
    told = {name: modules.docker_ports.container(name) for name in ("hosted", "guest")}
    assert {(one["host_port"], one["origin"]) for one in told["hosted"]["ports"]} == {(25182, "listener")}
    assert {(one["host_port"], one["origin"]) for one in told["guest"]["ports"]} == {(25183, "listener")}


def test_wait_for_more_than_the_proxy(modules: Modules, run_container: Callable[..., Any]) -> None:
    """docker-proxy accepts at once with nothing behind it; what is waited for is the server in the container."""
    run_container("deaf", {"80/tcp": 25185, "53/udp": 25186})
    with socket.create_connection(("127.0.0.1", 25185), timeout=5):
        assert modules.docker_ports.wait("deaf", 80, timeout=0.3) is False
    assert modules.docker_ports.wait("deaf", "53/udp", timeout=0.1) is False
    assert modules.docker_ports.wait("deaf", 81, timeout=0) is False
    run_container("web", {"80/tcp": 25187}, SERVE)
    assert modules.docker_ports.wait("web", 80, timeout=20) is True
    run_container("dhcp", {"67/udp": 25188}, DHCP)
    assert modules.docker_ports.wait("dhcp", 67, "udp", timeout=20) is True


def test_no_secret_leaves_the_host(modules: Modules, run_container: Callable[..., Any]) -> None:
    """Neither environment nor command nor a label that is not allowed is in an answer or in the mine's table."""
    run_container(
        "web", {"80/tcp": 25189}, [*SLEEP, SECRET], environment={"PASSWORD": SECRET}, labels={"secret": SECRET}
    )
    told = [modules.docker_ports.list(), modules.docker_ports.table(), modules.docker_ports.container("web")]
    assert "25189" in json.dumps(told)
    assert SECRET not in json.dumps(told)


def test_a_reservation_stays(modules: Modules, run_container: Callable[..., Any]) -> None:
    """A proposal reserves nothing, the reservation is what was proposed, and it survives everything but a release."""
    proposed = modules.docker_ports.port("web", 80)
    assert modules.docker_ports.reservations() == []
    made = modules.docker_ports.reserve("web", 80)
    assert (made["host_port"], made["changed"]) == (proposed, True)
    assert modules.docker_ports.reserve("web", 80)["changed"] is False
    assert modules.docker_ports.port("web", 80) == proposed
    assert "reserved for web 80/tcp" in modules.docker_ports.free(proposed)["reason"]
    assert [one["name"] for one in modules.docker_ports.reservations(unused=True)] == ["web"]
    container = run_container("web", {"80/tcp": proposed})
    assert modules.docker_ports.reservations(unused=True) == []
    assert modules.docker_ports.prune(days=0) == []
    container.remove(force=True)
    assert modules.docker_ports.prune(days=1) == []
    assert [one["host_port"] for one in modules.docker_ports.prune(days=0)] == [proposed]
    assert modules.docker_ports.release("web", 80) == {"changed": False, "host_port": None}


def test_what_is_held_is_not_given(modules: Modules, run_container: Callable[..., Any]) -> None:
    """Neither another container's port, nor that of a process, on whatever address and family."""
    other = modules.docker_ports.port("first", 80)
    run_container("other", {"81/tcp": ("127.0.0.1", other)})
    assert modules.docker_ports.port("first", 80) != other
    assert "the container 'other' holds it" in modules.docker_ports.free(other)["reason"]
    wanted = modules.docker_ports.port("second", 80)
    with socket.create_server(("::1", wanted), family=socket.AF_INET6):
        assert modules.docker_ports.reserve("second", 80)["host_port"] != wanted
        with pytest.raises(
            CommandExecutionError, match=f"port {wanted}/tcp is not free for third 80/tcp: another process"
        ):
            modules.docker_ports.reserve("third", 80, port=wanted)


def test_the_owner_keeps_what_its_container_has(modules: Modules, run_container: Callable[..., Any]) -> None:
    """A container that already publishes a port of the pool is given just that one."""
    run_container("web", {"80/tcp": 20011})
    assert modules.docker_ports.port("web", 80) == 20011
    assert modules.docker_ports.reserve("web", 80)["host_port"] == 20011


def test_callers_at_once_get_ports_of_their_own(modules: Modules, docker_host: DockerHost) -> None:
    """As many callers as the pool has ports: each port is given once, and the next caller is refused."""

    def reserve(number: int) -> int:
        with docker_host.netns.entered():
            return modules.docker_ports.reserve(f"app{number}", 80)["host_port"]

    with ThreadPoolExecutor(8) as threads:
        given = list(threads.map(reserve, range(20)))
    assert sorted(given) == list(range(20010, 20030))
    with pytest.raises(CommandExecutionError, match=r"the pool 'default' is exhausted: none of its ports 20010-20029"):
        modules.docker_ports.reserve("late", 80)
    assert modules.docker_ports.reserve("late", 80, port=20000)["host_port"] == 20000


def has_sctp() -> bool:
    """Whether the kernel has SCTP."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


BAD = [
    ("find", {"port": "99/sctq"}, "'sctq' in '99/sctq' is no protocol"),
    ("find", {"port": 70000}, "'70000' is no port"),
    ("find", {"port": "a-b"}, "'a-b' is no port"),
    ("find", {"exposure": "everyone"}, "'everyone' is no exposure"),
    ("list", {"daemon": "dokcer"}, r"'dokcer' is no configured daemon \(known: docker\)"),
    ("wait", {"name": "web", "port": 80, "timeout": -1}, "timeout must not be negative, not -1"),
    ("reserve", {"name": "", "container_port": 80}, "'' is no name of an owner"),
    ("reserve", {"name": "web", "container_port": 0}, "'0' is no port"),
    (
        "reserve",
        {"name": "web", "container_port": 80, "pool": "x"},
        r"'x' is no configured pool \(known: default, tiny\)",
    ),
    ("history", {"limit": 0}, "limit must be at least 1"),
    ("prune", {"days": -1}, "days must not be negative"),
]


@pytest.mark.parametrize(("function", "arguments", "sentence"), BAD, ids=[sentence for _, _, sentence in BAD])
def test_bad_arguments(modules: Modules, function: str, arguments: dict[str, Any], sentence: str) -> None:
    """One sentence that names the value, and nothing is reserved."""
    with pytest.raises(SaltInvocationError, match=sentence):
        getattr(modules.docker_ports, function)(**arguments)
    assert modules.docker_ports.reservations() == []


def test_a_chosen_port_outside_the_pool(modules: Modules) -> None:
    """It is refused with the pool's bands."""
    with pytest.raises(CommandExecutionError, match=r"port 8080 for web 80/tcp does not lie in the pool 'default'"):
        modules.docker_ports.reserve("web", 80, port=8080)
    modules.docker_ports.reserve("web", 80, port=20005)
    with pytest.raises(CommandExecutionError, match="web 80/tcp has port 20005, not 20006: release it first"):
        modules.docker_ports.reserve("web", 80, port=20006)


def test_a_daemon_that_cannot_be_reached(new_modules: Callable[..., Any], module_state: Path, tmp_path: Path) -> None:
    """No socket, no permission, no engine behind it: a sentence with the URL; reserving works all the same."""
    shutil.rmtree(module_state, ignore_errors=True)
    socket_ = tmp_path / "nobody.sock"
    modules = new_modules({"gone": f"unix://{socket_}"})
    with pytest.raises(CommandExecutionError, match=rf"the daemon unix://{socket_} cannot be reached: No such file"):
        modules.docker_ports.list()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_))
        with pytest.raises(CommandExecutionError, match="cannot be reached: Connection refused"):
            modules.docker_ports.container("web")
    assert modules.docker_ports.reserve("web", 80)["changed"] is True
    assert modules.docker_ports.status()["ok"] is False


def become_nobody() -> None:
    """Give up all rights of this process."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def asked(url: str, folder: str) -> str:
    """Return what the area says when it asks the daemon at ``url``."""
    opts = {"logilab": {"state_dir": folder, "containers": {"daemons": {"docker": url}}}}
    try:
        return str(host.find(settings.read(opts), Criteria()))
    except UnavailableError as err:
        return str(err)


def test_an_ordinary_user(docker_host: DockerHost, tcp_relay: Callable[..., Relay], tmp_path: Path) -> None:
    """Without the right to the socket a sentence says so; who may ask the Engine needs no right to the registry."""
    relay = tcp_relay(docker_host.socket)
    closed = str(tmp_path / "closed")
    with get_context("fork").Pool(1, become_nobody) as processes:  # its Python need not be in that user's reach
        refused = processes.apply(asked, (docker_host.url, closed))
        listed = processes.apply(asked, (f"tcp://127.0.0.1:{relay.port}", closed))
    assert refused == f"the daemon {docker_host.url} cannot be reached: Permission denied"
    assert "'source': 'listing'" in listed


def test_a_registry_that_is_damaged(new_modules: Callable[..., Any], docker_host: DockerHost, tmp_path: Path) -> None:
    """The ports are told all the same, and what keeps things for ever says what is wrong with the file."""
    modules = new_modules({"docker": docker_host.url}, state=tmp_path)
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers/ports.db").write_bytes(b"no database" * 100)
    assert modules.docker_ports.list()["daemons"]["docker"]["source"] == "listing"
    for function in ("status", "history", "reservations"):
        with pytest.raises(CommandExecutionError, match=r"the registry .*ports\.db cannot be used"):
            getattr(modules.docker_ports, function)()


def test_a_wrong_url_is_told_with_its_path(new_modules: Callable[..., Any]) -> None:
    """By each function, before anything is asked."""
    modules = new_modules({"docker": "http://localhost"})
    with pytest.raises(SaltInvocationError, match="logilab:containers:daemons:docker: 'http://localhost' is no URL"):
        modules.docker_ports.list()


def test_the_state_is_private(modules: Modules, module_state: Path) -> None:
    """The registry is for its owner only, and does not lie under cachedir."""
    modules.docker_ports.reserve("web", 80)
    folder = module_state / settings.AREA
    assert folder.stat().st_mode & 0o077 == 0


def test_audit(modules: Modules, run_container: Callable[..., Any], docker_host: DockerHost) -> None:
    """A rule by the published port closes IPv4; one by the container's port does not; IPv6 goes by docker-proxy."""
    run_container("web", {"80/tcp": 25190, "81/tcp": 25191, "82/tcp": ("127.0.0.1", 25192)})
    rules = [
        "-I DOCKER-USER -p tcp -m conntrack --ctorigdstport 25190 --ctdir ORIGINAL -j DROP",
        "-I DOCKER-USER -p tcp --dport 25191 -j DROP",
    ]
    try:
        for rule in rules:
            subprocess.run(docker_host.netns.command("iptables", *rule.split()), check=True)
        told = modules.docker_ports.audit()
        found = {(one["host_port"], one["host_ip"]): one["exposure"] for one in told["ports"]}
        assert found == {
            (25190, "0.0.0.0"): "filtered",
            (25190, "::"): "public",
            (25191, "0.0.0.0"): "public",
            (25191, "::"): "public",
            (25192, "127.0.0.1"): "loopback",
        }
        container = docker_host.client().containers.get("web")
        own = container.attrs["NetworkSettings"]["IPAddress"]
        assert {one["host_port"]: one["routed"] for one in told["ports"]} == {
            port: [own] for port in (25190, 25191, 25192)
        }
    finally:
        for rule in rules:
            subprocess.run(docker_host.netns.command("iptables", *rule.replace("-I", "-D", 1).split()), check=True)
