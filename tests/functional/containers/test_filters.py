"""What is open, as a neighbour sees it: the states that filter, on a real Engine and real rules."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.containers import boot, filters
from tests.support.docker import DockerHost
from tests.support.neighbours import FAR, HOST, NEAR, Neighbour, neighbour_of
from tests.support.processes import run
from tests.support.waiting import wait_until

SERVE = ["sh", "-c", "echo served >/www/it; exec httpd -f -p 80 -h /www"]
ECHO = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("", 53))
    while True:
        server.sendto(*server.recvfrom(100))
"""
EVERYBODY = ["0.0.0.0/0", "::/0"]
NEARBY = ["192.0.2.0/24", "2001:db8:1::/64"]


@pytest.fixture(scope="module")
def neighbour(docker_host: DockerHost) -> Iterator[Neighbour]:
    """A neighbour of :func:`docker_host`."""
    with neighbour_of(docker_host.netns) as made:
        yield made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the state directory and the units of systemd lie."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "systemd").mkdir()
    return folder


@pytest.fixture(scope="module")
def new_states(new_loaders: Callable[..., Any], place: Path) -> Callable[..., Any]:
    """Return a maker of the loaders of a minion with these daemons."""

    def make(**daemons: str) -> Any:
        area = {"daemons": daemons, "systemd": str(place / "systemd")}
        return new_loaders({"logilab": {"state_dir": str(place / "state"), "containers": area}})

    return make


@pytest.fixture(scope="module")
def shared_loaders(new_states: Callable[..., Any], docker_host: DockerHost) -> Any:
    """The loaders of a minion on :func:`docker_host`."""
    return new_states(docker=docker_host.url)


@pytest.fixture
def states(shared_loaders: Any, docker_host: DockerHost) -> Iterator[Any]:
    """The states, in the network namespace of the Engine; in the end no rule is left."""
    before = rules(docker_host)
    with docker_host.netns.entered():
        yield shared_loaders.states.docker_ports
        shared_loaders.states.docker_ports.exposed_only(name="none", enabled=False)
    assert [line for line in rules(docker_host) if "LOGILAB" in line] == []
    assert set(before) <= set(rules(docker_host))


def rules(host: DockerHost) -> list[str]:
    """Return the rules of both families."""
    return [
        line
        for program in ("iptables", "ip6tables")
        for line in run(*host.netns.command(program, "-w", "-S")).splitlines()
    ]


def own_address(host: DockerHost, name: str) -> str:
    """Return the container's own address."""
    return str(host.client().containers.get(name).attrs["NetworkSettings"]["IPAddress"])


def is_served(neighbour: Neighbour, port: int, protocol: str = "tcp") -> None:
    """Wait until the neighbour is answered over both families."""
    for family in (4, 6):
        wait_until(lambda f=family: neighbour.reaches(HOST[f], port, NEAR[f], protocol), 60, f"{port} over IPv{family}")


def seen(neighbour: Neighbour, port: int, protocol: str = "tcp") -> dict[str, bool]:
    """Return what the neighbour reaches from its networks, by the beginning of its address."""
    sources = [(HOST[family], each[family]) for each in (NEAR, FAR) for family in (4, 6)]
    with ThreadPoolExecutor(len(sources)) as threads:
        told = threads.map(lambda one: neighbour.reaches(one[0], port, one[1], protocol), sources)
        return {source: answer for (_, source), answer in zip(sources, told, strict=True)}


def only(*open_: str) -> dict[str, bool]:
    """Return what :func:`seen` returns when only these sources are let in."""
    return {source: source in open_ for each in (NEAR, FAR) for source in each.values()}


NEAR_ONLY = only(*NEAR.values())
NOBODY = only()


@pytest.mark.parametrize("wanted", ["25480/tcp", "25453/udp"])
def test_filtered(
    states: Any, neighbour: Neighbour, run_container: Callable[..., Any], docker_host: DockerHost, wanted: str
) -> None:
    """A trial changes nothing; then only the listed networks come in, by DNAT, by the proxy and by a route; once."""
    port, protocol = int(wanted[:5]), wanted[6:]
    inner = 80 if protocol == "tcp" else 53
    container = run_container("web", {f"{inner}/{protocol}": port}, SERVE)
    direct = own_address(docker_host, "web")
    with echo_in(container) if protocol == "udp" else nullcontext():
        is_served(neighbour, port, protocol)
        assert neighbour.reaches(direct, inner, FAR[4], protocol)
        trial = states.filtered(name=wanted, sources=NEARBY, test=True)
        assert (trial.result, neighbour.reaches(HOST[4], port, FAR[4], protocol)) == (None, True)
        done = states.filtered(name=wanted, sources=NEARBY)
        assert (done.result, done.changes) == (True, trial.changes)
        assert done.changes[wanted] == {"old": None, "new": NEARBY}
        assert seen(neighbour, port, protocol) == NEAR_ONLY
        assert not neighbour.reaches(direct, inner, NEAR[4], protocol)
        for test in (False, True):
            again = states.filtered(name=wanted, sources=NEARBY, test=test)
            assert (again.result, again.changes) == (True, {})
        assert states.filtered(name=wanted).changes[wanted] == {"old": NEARBY, "new": []}
        assert seen(neighbour, port, protocol) == NOBODY
        assert states.unfiltered(name=wanted).result is True
        assert states.unfiltered(name=wanted).changes == {}
        assert seen(neighbour, port, protocol) == only(*NEAR.values(), *FAR.values())


@contextmanager
def echo_in(container: Any) -> Iterator[None]:
    """Answer datagrams on port 53 of a container."""
    container.reload()
    netns = f"--net=/proc/{container.attrs['State']['Pid']}/ns/net"
    with subprocess.Popen(["nsenter", netns, sys.executable, "-c", ECHO]) as server:
        try:
            yield
        finally:
            server.kill()


def test_what_containers_ask_outside_is_not_filtered(
    states: Any, neighbour: Neighbour, run_container: Callable[..., Any], docker_host: DockerHost
) -> None:
    """A container still reaches that very port elsewhere, and its neighbour on the bridge."""
    web = run_container("web", {"80/tcp": 25481}, SERVE)
    client = run_container("client")
    assert states.filtered(name="25481").result is True
    server = neighbour.netns.command("busybox", "httpd", "-f", "-p", "25481", "-h", str(Path(__file__).parent))
    wait_until(
        lambda: client.exec_run(["wget", "-qO-", f"http://{own_address(docker_host, 'web')}/it"])[0] == 0, 20, "web"
    )
    with subprocess.Popen(server) as outside:
        try:
            ask = ["wget", "-qO-", f"http://{NEAR[4]}:25481/test_filters.py"]
            wait_until(lambda: client.exec_run(ask)[0] == 0, 60, "the outside")
        finally:
            outside.kill()
    assert web.status


def test_a_listener_on_the_hosts_network(
    states: Any, neighbour: Neighbour, run_container: Callable[..., Any], docker_host: DockerHost
) -> None:
    """No DNAT, no proxy: INPUT sees it; the host itself still reaches it."""
    run_container(
        "hosted", command=["sh", "-c", "echo it >/www/it; exec httpd -f -p 25482 -h /www"], network_mode="host"
    )
    is_served(neighbour, 25482)
    assert states.filtered(name="25482", sources=["192.0.2.2/32"]).result is True
    assert seen(neighbour, 25482) == only(NEAR[4])
    assert Neighbour(docker_host.netns).reaches("127.0.0.1", 25482, "127.0.0.1")


def judged(told: dict[str, Any]) -> dict[int, set[str]]:
    """Return how far an audit says that each port reaches."""
    ports = {one["host_port"] for one in told["ports"]}
    return {port: {one["exposure"] for one in told["ports"] if one["host_port"] == port} for port in ports}


def test_exposed_only(
    states: Any, shared_loaders: Any, neighbour: Neighbour, run_container: Callable[..., Any], docker_host: DockerHost
) -> None:
    """The listed ports from the listed networks; another port, one of later and a container's address are closed."""
    audit = shared_loaders.modules.docker_ports.audit
    run_container("web", {"80/tcp": 25483}, SERVE)
    run_container("other", {"80/tcp": 25484}, SERVE)
    run_container("silent", command=SERVE)
    for port in (25483, 25484):
        is_served(neighbour, port)
    silent = own_address(docker_host, "silent")
    assert neighbour.reaches(silent, 80, NEAR[4])
    assert silent in [one["address"] for one in audit()["unpublished"]]
    assert judged(audit()) == {25483: {"public"}, 25484: {"public"}}
    wanted = {"name": "open", "ports": {25483: NEARBY}}
    assert states.exposed_only(**wanted, test=True).result is None
    assert seen(neighbour, 25484) == only(*NEAR.values(), *FAR.values())
    done = states.exposed_only(**wanted)
    assert done.result is True, done.comment
    again = states.exposed_only(**wanted)
    assert (again.result, again.changes) == (True, {})
    assert (seen(neighbour, 25483), seen(neighbour, 25484)) == (NEAR_ONLY, NOBODY)
    assert not neighbour.reaches(silent, 80, NEAR[4])
    told = audit()
    assert (told["unpublished"], [one["routed"] for one in told["ports"]]) == ([], [[]] * 4)
    assert judged(told) == {25483: {"local"}, 25484: {"filtered"}}
    run_container("late", {"80/tcp": 25485}, SERVE)
    inside = Neighbour(docker_host.netns)
    wait_until(lambda: inside.reaches("127.0.0.1", 25485, "127.0.0.1"), 60, "the late one, by the host")
    assert not neighbour.reaches(HOST[4], 25485, NEAR[4])
    assert "IPv6" in states.exposed_only(**wanted).changes
    assert seen(neighbour, 25485) == NOBODY
    refused = states.filtered(name="25485")
    assert (refused.result, refused.changes) == (False, {})
    assert "docker_ports.exposed_only says what may be reached on this host: 25485/tcp" in refused.comment


def test_rules_that_somebody_has_broken(
    states: Any, neighbour: Neighbour, run_container: Callable[..., Any], docker_host: DockerHost
) -> None:
    """Without the jump to DOCKER-USER, or behind a rule that accepts, nothing holds: the next run mends it."""
    run_container("web", {"80/tcp": 25486}, SERVE)
    is_served(neighbour, 25486)
    assert states.filtered(name="25486").result is True
    assert seen(neighbour, 25486) == NOBODY
    breaks = {
        4: ["iptables -D FORWARD -j DOCKER-USER", "iptables -I DOCKER-USER -j ACCEPT", "iptables -F LOGILAB-FORWARD"],
        6: ["ip6tables -I INPUT -p tcp -j ACCEPT", "ip6tables -D INPUT -j LOGILAB-INPUT"],
    }
    undo = ["iptables -D DOCKER-USER -j ACCEPT", "ip6tables -D INPUT -p tcp -j ACCEPT"]
    try:
        for family, commands in breaks.items():
            for command in commands:
                run(*docker_host.netns.command(*shlex.split(command)))
                assert neighbour.reaches(HOST[family], 25486, NEAR[family]), command
                mended = states.filtered(name="25486")
                assert (mended.result, list(mended.changes)) == (True, [f"IPv{family}"]), command
                assert seen(neighbour, 25486) == NOBODY, command
    finally:
        for command in undo:
            run(*docker_host.netns.command(*shlex.split(command)))


def test_boot(new_states: Callable[..., Any], new_docker_host: Callable[[], DockerHost], place: Path) -> None:
    """After a boot the rules are gone; what systemd runs before the daemon closes the port before a container is up."""
    host = new_docker_host()
    states = new_states(docker=host.url).states.docker_ports
    web = host.client().containers.run(
        host.busybox,
        SERVE,
        detach=True,
        name="web",
        ports={"80/tcp": 25487},
        restart_policy={"Name": "always"},
        stop_signal="KILL",
    )
    with neighbour_of(host.netns) as neighbour:
        is_served(neighbour, 25487)
        with host.netns.entered():
            done = states.filtered(name="25487", sources=NEARBY)
        assert done.result is True, done.comment
        drop_in = place / f"systemd/docker.service.d/{boot.NAME}"
        assert str(drop_in) in done.changes["boot"]["new"]
        host.kill()
        for program in ("iptables", "ip6tables"):
            for table in ("filter", "nat"):
                run(*host.netns.command(program, "-t", table, "-F"))
                run(*host.netns.command(program, "-t", table, "-X"))
        for line in drop_in.read_text().splitlines():
            if line.startswith("ExecStartPre="):
                start(host, line.removeprefix("ExecStartPre="))
        host.start()
        wait_until(lambda: (web.reload() or web.status) == "running", 60, "the container after the boot")
        is_served(neighbour, 25487)
        assert seen(neighbour, 25487) == NEAR_ONLY
        with host.netns.entered():
            again = states.filtered(name="25487", sources=NEARBY)
            assert (again.result, again.changes) == (True, {})
            assert states.unfiltered(name="25487").result is True
        assert not drop_in.parent.exists()


def start(host: DockerHost, command: str) -> None:
    """Run a command as systemd does: one with a hyphen before it may fail."""
    try:
        run(*host.netns.command(*shlex.split(command.removeprefix("-"))))
    except RuntimeError:
        if not command.startswith("-"):
            raise


def test_a_protocol_that_the_kernel_may_lack(states: Any, docker_host: DockerHost) -> None:
    """The rules for SCTP can be made where it cannot be spoken, and a second run finds them as they should be."""
    assert states.filtered(name="99/sctp").result is True
    assert any("-p sctp" in line and "--ctorigdstport 99" in line for line in rules(docker_host))
    again = states.filtered(name="99/sctp")
    assert (again.result, again.changes) == (True, {})


def test_killed_in_the_middle(states: Any, docker_host: DockerHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the rules of a run say that was killed behind them is not forgotten by the next one for another port."""

    def killed(*_arguments: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(filters, "_at_boot", killed)
        with pytest.raises(KeyboardInterrupt):
            states.filtered(name="25489")
    assert states.filtered(name="25490").result is True
    told = "\n".join(rules(docker_host))
    assert ("--ctorigdstport 25489" in told, "--ctorigdstport 25490" in told) == (True, True)


def test_what_cannot_be_covered(
    new_states: Callable[..., Any], states: Any, docker_host: DockerHost, tmp_path: Path
) -> None:
    """A daemon that is away, no unit at whose start the rules are loaded: False, and why."""
    away = new_states(docker=docker_host.url, gone=f"unix://{tmp_path}/gone.sock").states.docker_ports
    told = away.filtered(name="25488")
    assert (told.result, bool(told.changes)) == (False, True)
    assert "gone.sock cannot be reached" in told.comment
    no_unit = states.filtered(name="25488", service="")
    assert no_unit.result is False
    assert "nothing loads the rules at boot" in no_unit.comment
    assert "'a b' is no name of a systemd unit" in states.filtered(name="25488", service="a b").comment
    assert states.filtered(name="25488").result is True


BAD = [
    ("filtered", {"name": "99/sctq"}, "'sctq' in '99/sctq' is no protocol"),
    ("filtered", {"name": "70000"}, "'70000' is no port"),
    ("filtered", {"name": "80", "sources": ["10.0.0.0/33"]}, "'10.0.0.0/33' of 80 is no network"),
    ("filtered", {"name": "80", "sources": ["10.0.0.1/8"]}, "has host bits set"),
    ("filtered", {"name": "80", "sources": "10.0.0.0/8"}, "the networks of 80 must be a list, not '10.0.0.0/8'"),
    ("exposed_only", {"name": "x", "ports": [80]}, "ports must be a mapping of ports to lists of networks, not [80]"),
    ("exposed_only", {"name": "x", "ports": {"a-b": []}}, "'a-b' is no port"),
]


@pytest.mark.parametrize(("function", "arguments", "sentence"), BAD, ids=[sentence for _, _, sentence in BAD])
def test_bad_arguments(
    states: Any, docker_host: DockerHost, function: str, arguments: dict[str, Any], sentence: str
) -> None:
    """False, one sentence that names the value, and no rule is made."""
    told = getattr(states, function)(**arguments)
    assert (told.result, told.changes) == (False, {})
    assert sentence in told.comment
    assert [line for line in rules(docker_host) if "LOGILAB" in line] == []
