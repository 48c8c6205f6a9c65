"""Commands inside real containers: what they say, how they end, and what cannot be run."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

from saltext_logilab.containers import inside
from tests.support.docker import DockerHost
from tests.support.podman import PodmanHost
from tests.support.processes import program
from tests.support.waiting import wait_until

SHELLESS = "logilab/shell-less"


@pytest.fixture(scope="module")
def new_exec(new_loaders: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Return a maker of the module for daemons."""

    def make(**daemons: str) -> Any:
        state = str(tmp_path_factory.mktemp("state"))
        return new_loaders({"logilab": {"state_dir": state, "containers": {"daemons": daemons}}}).modules.docker_exec

    return make


@pytest.fixture(scope="module")
def execs(new_exec: Callable[..., Any], docker_host: DockerHost) -> Any:
    """The module of a minion on :func:`docker_host`."""
    return new_exec(docker=docker_host.url)


@pytest.fixture
def web(run_container: Callable[..., Any]) -> Any:
    """A container."""
    return run_container("web")


@pytest.fixture
def shell_less(docker_host: DockerHost) -> Iterator[Any]:
    """A container of an image that holds one program and nothing else."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(program("busybox", "busybox-static"), "busybox")
    docker_host.client().api.import_image_from_data(buffer.getvalue(), repository=SHELLESS)
    made = docker_host.client().containers.run(
        SHELLESS, ["/busybox", "sleep", "1000"], name="bare", detach=True, stop_signal="KILL"
    )
    yield made
    made.remove(force=True)


def bearing() -> list[int]:
    """Return the processes of this host that a command of ours has left."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{inside.MARK}=".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.usefixtures("web")
def test_what_a_command_says(execs: Any) -> None:
    """Both streams apart, the exit code, the environment, the folder and the user; words are not read by a shell."""
    done = execs.run_all("web", "echo out; echo err >&2; exit 3")
    assert (done["stdout"], done["stderr"], done["retcode"]) == ("out\n", "err\n", 3)
    assert (done["bytes"], done["cut"], done["timed_out"]) == (8, False, False)
    assert execs.run("web", ["echo", "$HOME;", "ls"]) == "$HOME; ls"
    assert (
        execs.run(
            "web", "echo $A; pwd; cat /proc/self/status | busybox grep -c '^Uid:.*65534'", "65534", "/tmp", {"A": 1}
        )
        == "1\n/tmp\n1"
    )
    assert execs.run("web", "echo said; echo wrong >&2") == "said\nwrong"
    assert (execs.retcode("web", "true"), execs.retcode("web", "exit 7")) == (0, 7)
    assert execs.retcode("web", ["no-such-program"]) in (126, 127)


@pytest.mark.usefixtures("web")
def test_files_and_input(execs: Any) -> None:
    """As guests have them: read and written whole, with mode and owner; a command reads its input."""
    assert execs.write("web", "/tmp/a", "one\n", mode="0640", owner="12:34")
    assert execs.run("web", "stat -c '%a %u %g' /tmp/a; cat", stdin="in") == "640 12 34\nin"
    assert execs.write("web", "/tmp/a", "//4A", base64=True)
    assert execs.read("web", "/tmp/a", base64=True) == "//4A"
    with pytest.raises(SaltInvocationError, match="is no mode"):
        execs.write("web", "/tmp/a", "x", mode="rw")
    with pytest.raises(TypeError, match="place"):
        execs.run("web", "true", place="elsewhere")


@pytest.mark.usefixtures("web")
def test_hostile_output(execs: Any) -> None:
    """50 MB are counted and cut, in bounded memory; what is no text is replaced."""
    much = execs.run_all("web", "cat /dev/zero | busybox head -c 50000000", most_bytes=1000)
    assert (len(much["stdout"]), much["bytes"], much["cut"], much["retcode"]) == (1000, 50_000_000, True, 0)
    assert execs.run("web", "cat /dev/zero | busybox head -c 5000", most_bytes=3) == "\0\0\0\n[cut: 5000 bytes in all]"
    binary = execs.run_all("web", r"printf '\377\376ok'")
    assert binary["stdout"] == "\ufffd\ufffdok"


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize(
    "command",
    [
        "sleep 1000",
        "trap '' TERM INT; sleep 1000 & sleep 1000",
        "env -i sleep 1000",
        "(sleep 1000 &) ; sleep 1000",
        ["sleep", "1000"],
    ],
    ids=str,
)
def test_a_command_that_never_ends(execs: Any, web: Any, command: str | list[str]) -> None:
    """It is killed inside with all that it started, the container lives on, and what it said before is there."""
    prefixed = f"echo begun; {command}" if isinstance(command, str) else command
    done = execs.run_all("web", prefixed, timeout=0.7)
    assert (done["retcode"], done["timed_out"]) == (124, True)
    assert done["stdout"] == ("begun\n" if isinstance(command, str) else "")
    assert bearing() == []
    assert len(web.top()["Processes"]) == 1
    assert execs.run("web", "exec sleep 1000", timeout=0.3) == "[killed after 0.3 s]"


def test_an_image_without_a_shell(execs: Any, shell_less: Any) -> None:
    """A text is refused with the way out; a list of words runs; the time-out kills here too."""
    with pytest.raises(SaltInvocationError, match=r"'bare' has no /bin/sh: give the command as a list of words"):
        execs.run("bare", "ls")
    assert execs.run("bare", ["/busybox", "echo", "works"]) == "works"
    assert execs.retcode("bare", ["/busybox", "sleep", "1000"], timeout=0.5) == 124
    assert len(shell_less.top()["Processes"]) == 1


def test_where_nothing_can_run(execs: Any, web: Any, new_exec: Callable[..., Any], tmp_path: Path) -> None:
    """A container that is unknown, paused, stopped; a daemon that is away or elsewhere; a wrong argument."""
    with pytest.raises(CommandExecutionError, match="no daemon has a container 'nobody'"):
        execs.run("nobody", "true")
    for wrong, sentence in (("", "the command is empty"), ([], r"\[\] is no command"), (7, "7 is no command")):
        with pytest.raises(SaltInvocationError, match=sentence):
            execs.run("web", wrong)
    assert execs.retcode("web", "true", runas="nobody-there") in (125, 126, 127)
    with pytest.raises(SaltInvocationError, match="timeout must be positive, not 0"):
        execs.run("web", "true", timeout=0)
    web.pause()
    with pytest.raises(CommandExecutionError, match="'web' is not running, or paused"):
        execs.run("web", ["true"])
    web.unpause()
    web.kill()
    with pytest.raises(CommandExecutionError, match="'web' is not running, or paused"):
        execs.run("web", ["true"])
    with pytest.raises(CommandExecutionError, match=r"gone\.sock cannot be reached"):
        new_exec(gone=f"unix://{tmp_path}/gone.sock").run("web", "true")


@pytest.mark.parametrize("end", ["kill", "remove"])
def test_a_container_that_goes_in_the_middle(execs: Any, web: Any, end: str) -> None:
    """The call ends at once: with the code of the kill, or with a sentence."""
    told: list[Any] = []

    def call() -> None:
        try:
            told.append(execs.retcode("web", "sleep 1000"))
        except CommandExecutionError as err:
            told.append(str(err))

    caller = threading.Thread(target=call)
    caller.start()
    wait_until(bearing, 60, "the command")
    web.kill() if end == "kill" else web.remove(force=True)
    caller.join(timeout=20)
    assert told in ([137], ["the container 'web' went away while the command ran"])
    assert bearing() == []


def test_podman(new_exec: Callable[..., Any], podman_host: PodmanHost) -> None:
    """The same in Podman's containers."""
    made = podman_host.client.containers.run(podman_host.busybox, ["sleep", "1000"], name="pod", detach=True)
    try:
        execs = new_exec(podman=podman_host.url)
        done = execs.run_all("pod", "echo out; echo err >&2; exit 3")
        assert (done["stdout"], done["stderr"], done["retcode"]) == ("out\n", "err\n", 3)
        assert execs.retcode("pod", "sleep 1000", timeout=0.7) == 124
        assert bearing() == []
    finally:
        made.remove(force=True)
