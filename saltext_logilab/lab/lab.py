"""
A lab: real ``salt-master`` and ``salt-minion`` daemons on one machine, and all that can be done with it.

>>> lab = Lab(Path("/tmp/try"))
>>> lab.up(Wish(masters=("paris", "nantes"), minions=("m1",)))
>>> lab.run("paris", "salt-key", "-A", "-y").returncode
0
>>> lab.down()
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from saltext_logilab.errors import ConfigurationError, UnavailableError
from saltext_logilab.lab import configs, daemons, directory, groups, keys, layout, networks, plan, processes, salts
from saltext_logilab.lab.daemons import Record
from saltext_logilab.lab.plan import Member, Plan, Wish
from saltext_logilab.lab.processes import Process, Socket

Progress = Callable[[str], None]
GONE = ("down", "dead", "orphaned")


@dataclass(frozen=True)
class Status:
    """
    How a daemon is now: ``state`` as in :func:`daemons.state`, ``pid`` 0 when it has none, ``uptime`` in seconds,
    ``memory`` of all its processes in bytes, shared pages counted once (0 while a lab comes up).

    Of a master, ``keys`` counts the minions' keys by their state; of a minion, ``connected`` names the masters to
    whose publisher it is connected, which it is only when they have accepted its key.
    """

    name: str
    role: str
    salt: str
    address: str
    state: str
    pid: int
    uptime: float
    memory: int
    keys: Mapping[str, int]
    connected: tuple[str, ...]


def _silent(_text: str) -> None:
    """Show no progress."""


class Lab:
    """The lab in one folder; what it does is recorded there, so that many objects and commands share it."""

    def __init__(self, folder: Path, progress: Progress = _silent) -> None:
        """Speak of the lab in ``folder``, which need not exist; ``progress`` gets one line of text at each change."""
        self.folder = Path(os.path.abspath(folder))  # noqa: PTH100  # resolve() would follow links
        self._progress = progress

    @property
    def plan(self) -> Plan:
        """What the lab consists of; raises as :func:`directory.read`."""
        return directory.read(self.folder)

    # -- the whole lab

    def up(self, wish: Wish | None = None, timeout: float = 120) -> bool:
        """
        Start the lab, or what is missing of it; return False when nothing was.

        It returns when the masters answer and know the keys of all minions; minions whose key they had accepted
        before are connected then. A new lab that does not come up in ``timeout`` seconds is removed again.

        :raises ConfigurationError: an impossible wish.
        :raises RefusedError: the folder is no lab, or another one than wished for, or somebody else changes it.
        :raises UnavailableError: a daemon ended at once, did not come up, or cannot be had.
        """
        wish = wish or Wish()
        existed = self.folder.exists()
        with directory.locked(self.folder, create=True):
            new = False
            try:
                try:
                    wanted = self.plan
                    plan.check_same(wish, wanted)
                    found = self._salts(wanted)
                except directory.NoLabError:
                    new = True
                    wanted, found = self._plan(wish)
                    directory.write(self.folder, wanted)
                missing = self._missing(wanted)
                if missing:
                    layout.lay_out(self.folder, wanted)
                    layout.check_reach(wanted.user, self.folder, found)
                    layout.lay_out_members(self.folder, wanted, found)
                    for member in missing:
                        self._start(member, found[member.name])
                self._wait(wanted, wanted.members, timeout)
                if configs.is_group(wanted):
                    groups.unite(self.folder, [member.name for member in wanted.masters], self.run, timeout)
            except BaseException:
                if new:
                    self._remove_new(existed)
                raise
            return bool(missing)

    def down(self, grace: float = 2) -> None:
        """
        End all daemons and remove the lab; SIGTERM first, after ``grace`` seconds SIGKILL.

        :raises LogilabError: there is no lab, or something could not be ended: then the lab stays.
        """
        with directory.locked(self.folder):
            self._remove(self.plan, grace)

    def status(self) -> list[Status]:
        """Return how each daemon is, as ``/proc`` shows it; raises as :func:`directory.read`."""
        wanted = self.plan
        running = self._look(wanted)[1]
        statuses = self._statuses(wanted).values()
        return [replace(status, memory=processes.memory(running[status.name])) for status in statuses]

    # -- one daemon

    def start(self, name: str, timeout: float = 60) -> bool:
        """Start the daemon ``name`` and wait as :meth:`up` does; return False when it runs already."""
        with directory.locked(self.folder):
            wanted = self.plan
            member = wanted.member(name)
            missing = member in self._missing(wanted)
            if missing:
                self._start(member, self._salts(wanted)[name])
            self._wait(wanted, [member], timeout)
            return missing

    def stop(self, name: str, grace: float = 10) -> None:
        """Stop the daemon ``name``: SIGTERM, after ``grace`` seconds SIGKILL to all its processes."""
        with directory.locked(self.folder):
            self._end([self.plan.member(name)], grace)
            daemons.forget(self.folder / name)

    def kill(self, name: str) -> None:
        """Kill all processes of the daemon ``name`` with SIGKILL, as a crash of its machine would."""
        with directory.locked(self.folder):
            self._end([self.plan.member(name)], 0)

    def restart(self, name: str, timeout: float = 60) -> None:
        """Stop the daemon ``name`` and start it again."""
        self.stop(name)
        self.start(name, timeout)

    def command(self, name: str, command: Iterable[str]) -> tuple[list[str], dict[str, str]]:
        """
        Return ``command`` and the environment in which Salt's programs belong to the member ``name``.

        :raises ConfigurationError: there is no such member, or the program is one for the other role.
        """
        wanted, words = self.plan, list(command)
        role = wanted.member(name).role
        other = "minion" if role == "master" else "master"
        if words and words[0] in layout.PROGRAMS[other]:
            example = next((member.name for member in wanted.members if member.role == other), "NAME")
            raise ConfigurationError(
                f"{words[0]} is for a {other}, {name} is a {role}: salt-lab run {example} {words[0]} …"
            )
        path = os.pathsep.join([str(self.folder / name / "bin"), os.environ.get("PATH", os.defpath)])
        if words and not shutil.which(words[0], path=path):
            raise ConfigurationError(f"there is no program {words[0]!r}")
        return words, {**os.environ, "PATH": path, "SALT_LAB": name}

    def run(self, name: str, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """
        Run ``command`` at the member ``name`` and return what it said and its exit code, whatever that is.

        :raises UnavailableError: it took longer than ``timeout`` seconds.
        """
        words, environment = self.command(name, command)
        try:
            return subprocess.run(
                [shutil.which(words[0], path=environment["PATH"]) or words[0], *words[1:]],
                env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as err:
            raise UnavailableError(f"{' '.join(words)} at {name} took longer than {timeout:g} s") from err

    def keys(self, name: str) -> dict[str, list[str]]:
        """Return the ids of the minions' keys at the master ``name``: accepted, pending, rejected, denied."""
        self.plan.member(name)
        return keys.known(configs.root(self.folder, name) / "pki")

    def log(self, name: str) -> Path:
        """Return the file with all that the daemon ``name`` says."""
        self.plan.member(name)
        return configs.log(self.folder, name)

    # -- what these are made of

    def _plan(self, wish: Wish) -> tuple[Plan, dict[str, salts.Salt]]:
        user = wish.user or layout.current_user()
        layout.check_user(user)
        network = plan.parse_network(wish.network) if wish.network else None
        drafted = plan.members(wish, network or "127.0.0", salts.installed().version)
        kind = plan.check_kind(wish.kind or "hot-hot")
        lab_id = secrets.token_hex(6)
        names = [member.name for member in drafted]
        short = directory.short_link(self.folder, names, lab_id, shared=user != layout.current_user())
        count = sum(member.role == "master" for member in drafted)
        network, ports = networks.choose(count, network)
        made = plan.members(wish, network, salts.installed().version)
        wanted = Plan(
            lab_id,
            made,
            network,
            ports,
            kind,
            user,
            short,
            dict(wish.master_options),
            dict(wish.minion_options),
            wish.fake or 0,
        )
        return wanted, self._salts(wanted)

    def _salts(self, wanted: Plan) -> dict[str, salts.Salt]:
        by_version = {version: salts.get(version, self._progress) for version in {m.salt for m in wanted.members}}
        return {member.name: by_version[member.salt] for member in wanted.members}

    def _look(self, wanted: Plan) -> tuple[dict[str, Record | None], dict[str, list[Process]], list[Socket]]:
        records = {member.name: daemons.read(self.folder / member.name) for member in wanted.members}
        found = processes.with_tokens(record.token for record in records.values() if record)
        running = {name: found[record.token] if record else [] for name, record in records.items()}
        return records, running, processes.sockets()

    def _statuses(self, wanted: Plan) -> dict[str, Status]:
        look = self._look(wanted)
        return {member.name: self._status(wanted, member, *look) for member in wanted.members}

    def _status(
        self,
        wanted: Plan,
        member: Member,
        records: Mapping[str, Record | None],
        running: Mapping[str, list[Process]],
        sockets: list[Socket],
    ) -> Status:
        record, mine = records[member.name], running[member.name]
        first = daemons.leader(record, mine) if record else None
        age = processes.uptime(first) if first else 0.0
        known: dict[str, int] = {}
        connected: tuple[str, ...] = ()
        listens = True
        if member.role == "master":
            open_ports = {socket.local for socket in sockets if socket.remote is None}
            ports = (wanted.ports.publish, wanted.ports.request)
            listens = all((member.address, port) in open_ports for port in ports)
            known = {state: len(ids) for state, ids in self.keys(member.name).items()}
        else:
            connected = _connected(wanted, processes.inodes(mine), sockets)
        state = daemons.state(record, mine, listens=listens, age=age)
        salt = record.salt if record else member.salt
        pid = first.pid if first else 0
        return Status(member.name, member.role, salt, member.address, state, pid, age, 0, known, connected)

    def _missing(self, wanted: Plan) -> list[Member]:
        statuses = self._statuses(wanted)
        return [member for member in wanted.members if statuses[member.name].state in GONE]

    def _start(self, member: Member, salt: salts.Salt) -> None:
        place = self.folder / member.name
        program = salt.program(f"salt-{member.role}")
        options = ["-c", str(place / "etc"), "-l", "quiet"]
        if member.role == "swarm":
            options = ["run", str(configs.swarm_file(self.folder)), "--report", str(configs.swarm_report(self.folder))]
            options += self._measuring()
            configs.swarm_report(self.folder).unlink(missing_ok=True)
        self._end([member], 0)
        for path in configs.pidfiles(self.folder, member.name):  # after a kill Salt may think that it runs already
            path.unlink(missing_ok=True)
        self._progress(f"starting {member.name}")
        command = [str(salt.python), str(program), *options]
        daemons.start(place, command, configs.log(self.folder, member.name), salt.version)

    def _measuring(self) -> list[str]:
        """Return what lets the fake minions measure the first master, when it runs."""
        master = self.folder / self.plan.masters[0].name
        record = daemons.read(master)
        return ["--master-pid", str(record.pid)] if record and processes.find(record.pid) else []

    def _end(self, members: Iterable[Member], grace: float) -> None:
        records = [daemons.read(self.folder / member.name) for member in members]
        if not processes.end([record.token for record in records if record], grace):
            raise UnavailableError("some processes of the lab could not be ended: see `salt-lab status`")

    def _remove(self, wanted: Plan, grace: float) -> None:
        self._progress("ending all daemons")
        self._end(wanted.members, grace)
        directory.remove(self.folder, wanted)

    def _remove_new(self, existed: bool) -> None:
        try:
            self._remove(self.plan, 0)
        except directory.NoLabError:
            self.folder.rmdir()
        if existed:
            self.folder.mkdir(exist_ok=True)

    def _wait(self, wanted: Plan, members: Iterable[Member], timeout: float) -> None:
        names = {member.name for member in members}
        deadline = time.monotonic() + timeout
        while True:
            statuses = self._statuses(wanted)
            waiting = self._waiting(wanted, names, statuses)
            if not waiting:
                return
            self._progress(f"{len(names) - len(waiting)} of {len(names)} are up; waiting for {', '.join(waiting)}")
            if time.monotonic() > deadline:
                first, reason = next(iter(waiting.items()))
                raise UnavailableError(f"{first} {reason} after {timeout:g} s{self._last_words(first)}")
            time.sleep(0.1)

    def _waiting(self, wanted: Plan, names: set[str], statuses: Mapping[str, Status]) -> dict[str, str]:
        """Return who is not ready, with the reason; :raises UnavailableError: somebody never will be."""
        masters = [member.name for member in wanted.masters if statuses[member.name].state not in GONE]
        known = {name: self.keys(name) for name in masters}
        waiting = {}
        for name in wanted.members:
            if name.name not in names:
                continue
            status = statuses[name.name]
            if status.state in GONE:
                raise UnavailableError(f"{status.name} ended while it was starting{self._last_words(status.name)}")
            ids = [name.name] if name.role == "minion" else [f"{plan.FAKE}{number}" for number in range(wanted.fake)]
            lacking = [] if status.role == "master" else _lacking(status, ids, masters, known)
            enough = wanted.kind == "failover" and len(lacking) < len(masters)
            if status.state != "up":
                waiting[status.name] = "does not answer"
            elif name.role == "swarm" and (missing := self._missing_fakes(wanted, ids, known)):
                waiting[status.name] = f"has {missing} minions that are accepted and have not joined"
            elif lacking and not enough:
                waiting[status.name] = f"is not known or not connected at {', '.join(lacking)}"
        return waiting

    def _missing_fakes(self, wanted: Plan, ids: Iterable[str], known: Mapping[str, Mapping[str, list[str]]]) -> int:
        """Return how many fake minions are accepted and have not joined, by what they say themselves."""
        if wanted.kind != "hot-hot":
            return 0
        accepted = sum(len(set(ids) & set(found["accepted"])) for found in known.values())
        try:
            joined = int(json.loads(configs.swarm_report(self.folder).read_text())["joined"])
        except (OSError, ValueError, KeyError):
            joined = 0
        return max(0, accepted - joined)

    def _last_words(self, name: str) -> str:
        try:
            lines = [line for line in self.log(name).read_text(errors="replace").splitlines() if line.strip()]
        except OSError:
            return ""
        return f"; its log ends with: {lines[-1].strip()}" if lines else ""


def _lacking(
    status: Status, ids: Iterable[str], masters: Iterable[str], known: Mapping[str, Mapping[str, list[str]]]
) -> list[str]:
    """Return the masters that do not know the keys of all ``ids``, or accepted one and have no connection from it."""
    wanted = set(ids)
    return [
        master
        for master in masters
        if wanted - {one for found in known[master].values() for one in found}
        or (not wanted.isdisjoint(known[master]["accepted"]) and master not in status.connected)
    ]


def _connected(wanted: Plan, inodes: set[int], sockets: Iterable[Socket]) -> tuple[str, ...]:
    ends = {socket.remote for socket in sockets if socket.remote and socket.inode in inodes}
    return tuple(master.name for master in wanted.masters if (master.address, wanted.ports.publish) in ends)
