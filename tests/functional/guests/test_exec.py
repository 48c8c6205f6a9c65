"""Commands and files inside real guests by their agents: what they say, how they end, and agents that lie."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError
from saltfactories.utils.functional import Loaders

from saltext_logilab.errors import LogilabError, UnavailableError, WireError
from saltext_logilab.guests import carrying, inside, interior, told
from saltext_logilab.guests.agent import AgentError
from saltext_logilab.guests.interior import Interior
from saltext_logilab.within import facts
from saltext_logilab.within.transport import Command, NoSuchFileError
from tests.support.agents import AgentGuest
from tests.support.guests import TinyGuest
from tests.support.libvirt import LibvirtHost
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def execs(loaders_of: Callable[..., Loaders], libvirt_host: LibvirtHost) -> Any:
    """The module of the minion of the host."""
    return loaders_of(libvirt_host).modules.libvirt_exec


@pytest.fixture
def web(agent_guest: AgentGuest) -> str:
    """The name of a guest with an agent."""
    return agent_guest.name


@pytest.fixture(scope="module")
def liar(new_agent_guest: Callable[..., AgentGuest]) -> AgentGuest:
    """A guest whose agent lies."""
    return new_agent_guest(agent="liar")


def enter(guest: AgentGuest, timeout: float = 10) -> Interior:
    """Return the way into the guest."""
    return interior.enter(guest.host.uri, guest.name, timeout)


def left(execs: Any, name: str) -> str:
    """Return what our commands have left in a guest: processes, files, groups; but for this very one."""
    processes = f"grep -l {inside.MARK}= /proc/[0-9]*/environ | grep -v -e /self/ -e /$$/ -e /$PPID/"
    rest = "ls -A /tmp; ls /sys/fs/cgroup | grep logilab- | grep -v $LOGILAB_EXEC"
    found = execs.run(name, f"for one in $({processes}); do [ ! -e $one ] || echo $one; done; {rest}")
    return "\n".join(one for one in str(found).splitlines())


def test_what_a_command_says(execs: Any, web: str) -> None:
    """Both streams apart, the exit code, the input, the environment, the folder and the user."""
    done = execs.run_all(web, "cat; echo err >&2; exit 3", stdin="in\n")
    assert (done["stdout"], done["stderr"], done["retcode"]) == ("in\n", "err\n", 3)
    assert (done["bytes"], done["cut"], done["timed_out"]) == (7, False, False)
    assert execs.run(web, ["echo", "$HOME;", "ls"]) == "$HOME; ls"
    assert execs.run(web, "echo $A; pwd; id -un; echo $HOME", "web", "/bin", {"A": 1}) == "1\n/bin\nweb\n/tmp"
    assert execs.run(web, "echo said; echo wrong >&2") == "said\nwrong"
    assert (execs.retcode(web, "true"), execs.retcode(web, "exit 7")) == (0, 7)
    assert execs.retcode(web, ["no-such-program"]) == 127


def test_a_script(execs: Any, loaders_of: Callable[..., Loaders], libvirt_host: LibvirtHost, web: str) -> None:
    """A file of the master's, read by the interpreter of its first line; nothing is left."""
    tree = Path(loaders_of(libvirt_host).opts["file_roots"]["base"][0])
    (tree / "hello.sh").write_text("#!/bin/busybox sh\necho hello $1; exit 4\n")
    done = execs.script(web, "salt://hello.sh", "'dear you'", runas="web")
    assert (done["stdout"], done["stderr"], done["retcode"]) == ("hello dear you\n", "", 4)
    with pytest.raises(CommandExecutionError, match=r"the master has no salt://none\.sh in base"):
        execs.script(web, "salt://none.sh")
    with pytest.raises(SaltInvocationError, match="is no file of the master"):
        execs.script(web, "/etc/passwd")


def test_hostile_output(execs: Any, web: str) -> None:
    """50 MB are counted and cut in the guest already; what is no text is replaced."""
    much = execs.run_all(web, "head -c 50000000 /dev/zero", most_bytes=1000, timeout=300)
    assert (len(much["stdout"]), much["bytes"], much["cut"], much["retcode"]) == (1000, 50_000_000, True, 0)
    assert execs.run(web, "head -c 5000 /dev/zero", most_bytes=3) == "\0\0\0\n[cut: 5000 bytes in all]"
    assert execs.run_all(web, r"printf '\377\376ok'")["stdout"] == "\ufffd\ufffdok"


def test_more_than_an_answer_carries(agent_guest: AgentGuest, execs: Any) -> None:
    """Output of megabytes comes by way of a file, input too, and no file is left."""
    big = enter(agent_guest).run(Command(("head", "-c", "3000000", "/dev/zero"), most_bytes=2_500_000))
    assert (len(big.stdout), big.size, big.code) == (2_500_000, 3_000_000, 0)
    assert enter(agent_guest).run(Command(("wc", "-c"), stdin=bytes(300_000))).stdout == b"300000\n"
    assert left(execs, agent_guest.name) == ""


@pytest.mark.parametrize(
    "command",
    ["trap '' TERM INT; sleep 1000 & sleep 1000", "(env -i setsid sleep 1000 &) ; sleep 1000", "sleep 1000 &"],
)
def test_a_command_that_never_ends(execs: Any, web: str, command: str) -> None:
    """It is killed inside with all that it started, also what has escaped, and what it said before is there."""
    done = execs.run_all(web, f"echo begun; {command}", timeout=0.7)
    assert (done["retcode"], done["timed_out"], done["stdout"], done["stderr"]) == (124, True, "begun\n", "")
    assert "sleep 1000" not in execs.run(web, "ps")
    assert left(execs, web) == ""
    assert execs.run(web, "exec sleep 1000", timeout=0.3) == "[killed after 0.3 s]"


def test_it_is_killed_inside_without_a_minion(agent_guest: AgentGuest, execs: Any) -> None:
    """Who has asked for it need not live: the guest itself ends it."""
    agent = enter(agent_guest).agent
    words = inside._arguments(Command(("sleep", "1234"), timeout=1), "0" * 32, "", "")
    assert agent.number("guest-exec", {"path": "/bin/sh", "arg": words, "capture-output": True}, "pid")
    wait_until(lambda: "sleep 1234" not in execs.run(agent_guest.name, "ps"), 60, "the end of the command")


def test_files(agent_guest: AgentGuest, execs: Any) -> None:
    """Read and written whole, with owner and mode kept or told; links are followed inside; what is no file is none."""
    web = agent_guest.name
    assert execs.write(web, "/tmp/a", "one\n", mode="0640", owner="web:web")
    assert execs.run(web, "stat -c '%a %U %G' /tmp/a; ln -s a /tmp/b") == "640 web web"
    assert execs.write(web, "/tmp/b", "//4A", base64=True)
    assert execs.run(web, "stat -c '%a %U' /tmp/a; readlink /tmp/b") == "640 web\na"
    assert execs.read(web, "/tmp/b", base64=True) == "//4A"
    assert execs.read(web, "/proc/sys/kernel/hostname") == f"{web}\n"
    execs.run(web, "rm /tmp/a /tmp/b; mkfifo /tmp/pipe; ln -s loop /tmp/loop")
    for path in ("/tmp/pipe", "/tmp", "/tmp/loop", "/nowhere"):
        with pytest.raises(CommandExecutionError, match=f"there is no file {path}"):
            execs.read(web, path)
    with pytest.raises(CommandExecutionError, match="there is no folder /nowhere"):
        execs.write(web, "/nowhere/a", "x")
    with pytest.raises(SaltInvocationError, match=r"'\.\./etc/passwd' is no absolute path"):
        execs.read(web, "../etc/passwd")
    with pytest.raises(CommandExecutionError, match="holds more than 10 bytes"):
        execs.read(web, "/etc/passwd", most_bytes=10)
    execs.run(web, "rm /tmp/pipe /tmp/loop")
    assert left(execs, web) == ""


def test_large_files(agent_guest: AgentGuest) -> None:
    """Megabytes go in and come out as they are, in pieces."""
    way = enter(agent_guest)
    data = b"".join(number.to_bytes(4, "big") for number in range(300_000))
    way.write("/tmp/big", data, 0o600)
    pieces = list(way.stream("/tmp/big"))
    assert (b"".join(pieces) == data, len(pieces) > 1, way.stat("/tmp/big").mode) == (True, True, 0o600)  # type: ignore[union-attr]
    way.run(Command(("rm", "/tmp/big")))
    with pytest.raises(NoSuchFileError):
        list(way.stream("/tmp/big"))


def test_what_a_guest_tells(agent_guest: AgentGuest, execs: Any) -> None:
    """Its name, its kernel, its cards; and grains of the same names as Salt's own."""
    about = execs.about(agent_guest.name)
    assert (about["host_name"], about["interfaces"]["lo"]["mac"]) == (agent_guest.name, "00:00:00:00:00:00")
    release = execs.run(agent_guest.name, "uname -r")
    assert about["system"]["kernel-release"] == release
    grains = told.grains(enter(agent_guest).agent)
    assert (grains["kernelrelease"], grains["kernel"], grains["host"]) == (release, "Linux", agent_guest.name)
    assert facts.system(enter(agent_guest)) == {}
    assert execs.ping(agent_guest.name) is True


def test_where_nothing_can_run(execs: Any, agent_guest: AgentGuest, new_loaders: Callable[..., Loaders]) -> None:
    """A guest that is unknown or paused, a user or folder that is not there, a wrong argument."""
    web = agent_guest.name
    with pytest.raises(CommandExecutionError, match="there is no guest 'nobody'"):
        execs.run("nobody", "true")
    for wrong, sentence in (("", "the command is empty"), ([], r"\[\] is no command"), (7, "7 is no command")):
        with pytest.raises(SaltInvocationError, match=sentence):
            execs.run(web, wrong)
    with pytest.raises(SaltInvocationError, match="timeout must be positive"):
        execs.run(web, "true", timeout=0)
    with pytest.raises(CommandExecutionError, match="there is no user 'nobody' in the guest"):
        execs.run(web, "true", runas="nobody")
    with pytest.raises(CommandExecutionError, match="there is no folder '/nowhere' in the guest"):
        execs.run(web, "true", cwd="/nowhere")
    agent_guest.domain.suspend()
    try:
        with pytest.raises(CommandExecutionError, match=f"the guest '{web}' is not running: it is paused"):
            execs.run(web, "true")
    finally:
        agent_guest.domain.resume()
    driver = new_loaders({"logilab": {"guests": {"uri": "test:///default"}}}).modules.libvirt_exec
    with pytest.raises(CommandExecutionError, match=r"'test' has no guest agent: its hypervisor carries none"):
        driver.ping("test")


def test_an_agent_that_may_run_no_commands(new_agent_guest: Callable[..., AgentGuest], execs: Any) -> None:
    """It says so; what needs no command is done all the same."""
    shy = new_agent_guest(agent="shy").name
    assert execs.ping(shy) is True
    assert execs.about(shy)["host_name"] == shy
    assert execs.read(shy, "/etc/passwd").startswith("root:x:0:0:")
    for work in (lambda: execs.run(shy, "true"), lambda: execs.write(shy, "/tmp/a", "x")):
        with pytest.raises(CommandExecutionError, match="may run no commands: its configuration there forbids"):
            work()


@pytest.mark.parametrize("channel", [True, False])
def test_no_agent(new_agent_guest: Callable[..., AgentGuest], execs: Any, channel: bool) -> None:
    """A guest that runs no agent, or has no channel for one, says so and what to do."""
    guest = new_agent_guest(agent="none", channel=channel)
    with pytest.raises(CommandExecutionError, match=r"has no guest agent.*install qemu-guest-agent in it"):
        execs.ping(guest.name)
    guest.domain.destroy()
    with pytest.raises(CommandExecutionError, match="there is no guest"):  # it was transient
        execs.ping(guest.name)


def test_a_guest_that_goes_in_the_middle(new_agent_guest: Callable[..., AgentGuest], execs: Any) -> None:
    """The call ends at once with a sentence; and so do all later ones."""
    guest = new_agent_guest()
    ended: list[Any] = []

    def call() -> None:
        try:
            ended.append(execs.retcode(guest.name, "sleep 1000", timeout=600))
        except CommandExecutionError as err:
            ended.append(str(err))

    caller = threading.Thread(target=call)
    caller.start()
    wait_until(lambda: "sleep 1000" in execs.run(guest.name, "ps"), 60, "the command")
    guest.domain.destroy()
    caller.join(timeout=60)
    assert f"the guest '{guest.name}' is not running: it is " in str(ended)


def test_an_agent_that_lies(execs: Any, liar: AgentGuest) -> None:
    """Whatever shape its answers have, they become one sentence each, and none is believed."""
    with pytest.raises(CommandExecutionError, match="'seven' is no number"):
        execs.run(liar.name, "true")
    with pytest.raises(CommandExecutionError, match="'%%%' is no base64"):
        execs.run(liar.name, ["uname"])
    assert execs.about(liar.name) == {"interfaces": {"eth0": {"mac": "", "addresses": []}}}
    agent = enter(liar).agent
    assert (told.system(agent), told.host_name(agent), agent.allows("guest-exec")) == ({}, "", False)
    for path, words in (("/etc/passwd", "no base64"), ("/etc/group", "-5 is no number")):
        with pytest.raises(WireError, match=words):
            list(carrying.fetch(agent, path)) if "passwd" in path else carrying.put(agent, path, b"x")


@pytest.mark.parametrize("command", ["guest-get-time", "guest-get-vcpus"])
def test_an_agent_that_breaks_its_channel(new_agent_guest: Callable[..., AgentGuest], command: str) -> None:
    """What is no JSON, and what never ends: libvirt says which, or cuts the agent off, and each question says so."""
    agent = enter(new_agent_guest(agent="liar")).agent
    for question in (command, "guest-ping"):
        with pytest.raises(LogilabError, match=r"has no guest agent that answers|refuses guest-get|in 10485760 bytes"):
            agent.ask(question)


def test_an_agent_that_is_silent(liar: AgentGuest) -> None:
    """A question that is never answered ends at its time-out."""
    with pytest.raises(AgentError, match=r"has no guest agent that answers \(guest-get-users\)"):
        enter(liar, 1).agent.ask("guest-get-users")


def test_the_daemon_goes_in_the_middle(
    new_libvirt_host: Callable[[], LibvirtHost], agent_kernel: TinyGuest, tmp_path: Path
) -> None:
    """A connection that breaks is a sentence."""
    host = new_libvirt_host()
    host.open().createXML(agent_kernel.xml("web", tmp_path / "serial"))
    way = interior.enter(host.uri, "web")
    host.kill()
    with pytest.raises(UnavailableError, match="broke"):
        way.run(Command(("true",)))
