"""
What stands in a member's folder before its daemon starts: configuration, keys, Salt's programs bound to it.

Everything here can be done again: a lab left by a crash is completed by doing it once more.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from saltext_logilab.errors import ConfigurationError, RefusedError
from saltext_logilab.lab import configs, keys
from saltext_logilab.lab.plan import Member, Plan
from saltext_logilab.lab.salts import Salt

PROGRAMS = {"master": ("salt", "salt-key", "salt-run", "salt-cp"), "minion": ("salt-call",), "swarm": ()}
SHIPPED = Path(__file__).resolve().parents[1] / "formula"


def current_user() -> str:
    """Return the name of the user who runs this."""
    return pwd.getpwuid(os.geteuid()).pw_name


def check_user(user: str) -> None:
    """
    Say whether daemons can be made to run as ``user``.

    :raises ConfigurationError: there is no such user.
    :raises RefusedError: it is another one than this, and this one is not root.
    """
    try:
        pwd.getpwnam(user)
    except KeyError as err:
        raise ConfigurationError(f"there is no user {user!r} on this machine") from err
    if user != current_user() and os.geteuid() != 0:
        raise RefusedError(f"only root can run masters as {user}: leave --user out, or run salt-lab as root")


def check_reach(user: str, folder: Path, salts: Mapping[str, Salt]) -> None:
    """Say whether ``user`` can enter ``folder`` and import the ``salts``; :raises RefusedError: not so."""
    if user == current_user():
        return
    if not _as_user(user, ["test", "-x", str(folder)]):
        raise RefusedError(f"{user} cannot enter {folder}: choose a --lab that {user} can reach")
    for python in {str(salt.python) for salt in salts.values()}:
        if not _as_user(user, [python, "-c", "import salt.version, saltext_logilab.lab"]):
            raise RefusedError(
                f"{user} cannot run {python} or read its packages: install Salt where {user} can read it"
            )


def lay_out(folder: Path, plan: Plan) -> None:
    """Make what the members share: the masters' key pair, ``srv/salt`` and ``srv/pillar``, the short link."""
    keys.make_pair(folder / "keys")
    (folder / "srv" / "salt").mkdir(parents=True, exist_ok=True)
    pillar = folder / "srv" / "pillar"
    if not pillar.exists():
        pillar.mkdir()
        seed = SHIPPED / "pillar.example"
        if seed.is_dir():
            shutil.copytree(seed.resolve(), pillar, dirs_exist_ok=True)
    if plan.short and not Path(plan.short).is_symlink():
        Path(plan.short).symlink_to(folder, target_is_directory=True)


def lay_out_members(folder: Path, plan: Plan, salts: Mapping[str, Salt]) -> None:
    """Make the folders of all members; ``salts`` by member."""
    for member in plan.members:
        for name in configs.FOLDERS:
            (folder / member.name / name).mkdir(parents=True, exist_ok=True)
        configs.root(folder, member.name).joinpath("pki").chmod(0o700)
        configs.log(folder, member.name).touch(mode=0o640)
        _bind_programs(folder, member, salts[member.name])
    formulas = SHIPPED / "formulas"
    for member in plan.masters:
        keys.share_pair(folder / "keys", configs.root(folder, member.name) / "pki")
        served = formulas.resolve() if formulas.is_dir() else None
        values = configs.master(folder, plan, member, formulas=served)
        _write(folder / member.name / "etc" / "master", values)
        _give(plan.user, configs.root(folder, member.name))
    for member in plan.minions:
        values = configs.minion(folder, plan, member, user=current_user())
        _write(folder / member.name / "etc" / "minion", values)
    if plan.fake:
        _write(configs.swarm_file(folder), configs.swarm(plan))


def _bind_programs(folder: Path, member: Member, salt: Salt) -> None:
    for name in PROGRAMS[member.role]:
        script = folder / member.name / "bin" / name
        command = shlex.join([str(salt.python), str(salt.program(name)), "-c", str(folder / member.name / "etc")])
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(0o755)


def _write(path: Path, values: Mapping[str, Any]) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True))
    new.replace(path)


def _give(user: str, folder: Path) -> None:
    if user == current_user():
        return
    owner = pwd.getpwnam(user)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def _as_user(user: str, command: list[str]) -> bool:
    owner = pwd.getpwnam(user)
    try:
        done = subprocess.run(
            command, user=owner.pw_uid, group=owner.pw_gid, extra_groups=[], cwd="/", check=False, capture_output=True
        )
    except PermissionError:  # the program itself is out of reach
        return False
    return done.returncode == 0
