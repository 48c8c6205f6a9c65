"""
From a plan to the configurations of its daemons: pure functions that give what Salt's YAML files hold.

The values that differ from Salt's own defaults make daemons start and reconnect quickly on one machine; all of them
exist in Salt 3006, 3007 and 3008. A file in ``<lab>/<name>/etc/master.d`` or ``minion.d`` overrides them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saltext_logilab.lab.plan import FAKE, Member, Plan

FOLDERS = ("etc", "bin", "root", "root/pki", "root/cache", "root/log", "root/run", "root/state")
SOCKET_NAME = 48  # the longest name that Salt gives a socket, with its slash
SOCKET_PATH = 107  # sun_path of unix(7), without its final zero
_ENGINES: list[dict[str, Any]] = [{"logilab_masters": {}}]


def root(folder: Path, name: str) -> Path:
    """Return the root directory of the member ``name`` of the lab in ``folder``."""
    return folder / name / "root"


def log(folder: Path, name: str) -> Path:
    """Return the file that holds all a daemon says: Salt's own log, its output and its last traceback."""
    return root(folder, name) / "log" / "daemon"


def pidfiles(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the files in which Salt itself notes the daemon's pid: the configured one, and one beside it."""
    place = root(folder, name)
    return place / "daemon.pid", place / "process_responsibility_daemon.pid"


def fits(folder: Path, names: Sequence[str]) -> bool:
    """Say whether Unix sockets of the members ``names`` below ``folder`` have paths that the kernel takes."""
    longest = max(len(str(root(folder, name) / "run").encode()) for name in names)
    return longest + SOCKET_NAME <= SOCKET_PATH


def master(folder: Path, plan: Plan, member: Member, *, formulas: Path | None) -> dict[str, Any]:
    """
    Return the configuration of the master ``member``.

    :param formulas: the formulas that are served besides ``<lab>/srv/salt``.
    """
    folder = Path(plan.short or folder)
    files = [str(folder / "srv" / "salt"), *([str(formulas)] if formulas else [])]
    return {
        **_common(folder, member, plan.user),
        "interface": member.address,
        "publish_port": plan.ports.publish,
        "ret_port": plan.ports.request,
        "worker_threads": 2,
        "file_roots": {"base": files},
        "pillar_roots": {"base": [str(folder / "srv" / "pillar")]},
        **plan.master_options,
        **_group(folder, plan, member),
    }


def swarm(plan: Plan) -> dict[str, Any]:
    """Return the specification of the fake minions, as ``salt-swarm`` reads it."""
    return {
        "masters": [f"{master.address}:{plan.ports.request}" for master in plan.masters],
        "type": plan.kind,
        "retry": 1,
        "retry_max": 10,
        "reauth_delay": 1,
        "groups": {FAKE: {"count": plan.fake}},
    }


def swarm_file(folder: Path) -> Path:
    """Return the file with the specification of the fake minions of the lab in ``folder``."""
    return folder / FAKE / "etc" / "swarm.yaml"


def swarm_report(folder: Path) -> Path:
    """Return the file in which the fake minions of the lab in ``folder`` say how they are."""
    return root(folder, FAKE) / "log" / "report.json"


def minion(folder: Path, plan: Plan, member: Member, *, user: str) -> dict[str, Any]:
    """Return the configuration of the minion ``member``; ``user`` is who the daemon runs as."""
    folder = Path(plan.short or folder)
    several = {"master_type": "failover", "master_alive_interval": 2, "retry_dns": 0, "master_tries": -1}
    kind = several if plan.kind == "failover" else {"master_type": "str"}
    return {
        **_common(folder, member, user),
        "master": [master.address for master in plan.masters],
        "publish_port": plan.ports.publish,
        "master_port": plan.ports.request,
        **(kind if len(plan.masters) > 1 else {}),
        "acceptance_wait_time": 1,
        "rejected_retry": True,
        "random_reauth_delay": 1,
        "recon_default": 100,
        "recon_max": 1000,
        "recon_randomize": False,
        "tcp_keepalive": True,
        "enable_fqdns_grains": False,
        "enable_gpu_grains": False,
        **plan.minion_options,
    }


def _common(folder: Path, member: Member, user: str) -> dict[str, Any]:
    place = root(folder, member.name)
    return {
        "id": member.name,
        "user": user,
        "root_dir": str(place),
        "pki_dir": str(place / "pki"),
        "cachedir": str(place / "cache"),
        "sock_dir": str(place / "run"),  # Salt puts root_dir before a folder that is not below it
        "pidfile": str(pidfiles(folder, member.name)[0]),
        "log_file": str(log(folder, member.name)),
        "key_logfile": str(place / "log" / "key"),
        "log_level_logfile": "info",
        "ipv6": False,
    }


def is_group(plan: Plan) -> bool:
    """Say whether the masters of ``plan`` are to be one group: several, unless only other engines were asked for."""
    engines = plan.master_options.get("engines", _ENGINES)
    return len(plan.masters) > 1 and any("logilab_masters" in engine for engine in engines)


def _group(folder: Path, plan: Plan, member: Member) -> dict[str, Any]:
    """Return what makes ``member`` one of the group, besides what the plan says of ``logilab``."""
    if not is_group(plan):
        return {}
    wanted = plan.master_options.get("logilab", {})
    own = {"name": member.name, "listen": f"{member.address}:{plan.ports.peers}", **wanted.get("masters", {})}
    return {
        "engines": plan.master_options.get("engines", _ENGINES),
        "logilab": {"state_dir": str(root(folder, member.name) / "state"), **wanted, "masters": own},
    }
