"""
Recording what a real minion answers, for fake ones to repeat it: run on a master, where it asks by Salt's own client.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import salt.client
import yaml
from salt.exceptions import SaltException

from saltext_logilab.errors import ConfigurationError, RefusedError, UnavailableError

USUAL = (
    "test.version",
    "grains.items",
    "pkg.list_pkgs",
    "service.get_all",
    "network.interfaces",
    "disk.usage",
    "status.uptime",
    "status.loadavg",
)


def parse_command(text: str) -> tuple[str, list[Any]]:
    """
    Read a function with its arguments, such as ``pkg.version bash``; an argument is read as YAML.

    :raises ConfigurationError: it is no function.
    """
    fun, *given = text.split()
    if "." not in fun:
        raise ConfigurationError(f"{text!r} is no function: MODULE.FUNCTION ARGUMENTS")
    try:
        return fun, [yaml.safe_load(argument) for argument in given]
    except yaml.YAMLError as err:
        raise ConfigurationError(f"{text!r}: an argument cannot be read: {err}") from err


def record(config: Path, minion: str, commands: Sequence[str], timeout: int = 30) -> dict[str, Any]:
    """
    Ask ``minion`` for all ``commands``; return what a specification takes as ``recorded``.

    :param config: the folder of the master's configuration.
    :raises UnavailableError: the master or the minion does not answer.
    :raises ConfigurationError: a command is no function.
    """
    wanted = [parse_command(command) for command in commands]
    try:
        with salt.client.LocalClient(str(config / "master")) as client:
            answers = [_ask(client, minion, fun, args, timeout) for fun, args in wanted]
    except SaltException as err:
        raise UnavailableError(f"the master does not take a job: {err}") from err
    grains: dict[str, Any] = next((one["return"] for one in answers if one["fun"] == "grains.items"), {})
    return {
        "minion": minion,
        "salt": str(grains.get("saltversion", "")),
        "grains": _neutral(grains),
        "answers": [one for one in answers if one["fun"] != "grains.items"],
    }


def write(recording: dict[str, Any], path: Path, *, force: bool = False) -> None:
    """Write ``recording`` to ``path``; :raises RefusedError: it exists, and not ``force``."""
    text = yaml.safe_dump(recording, sort_keys=False, allow_unicode=True, width=120)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as err:
        raise RefusedError(f"{path} exists: --force replaces it") from err
    except OSError as err:
        raise UnavailableError(f"{path} cannot be written: {err.strerror}") from err


def _ask(client: Any, minion: str, fun: str, args: list[Any], timeout: int) -> dict[str, Any]:
    found = client.cmd(minion, fun, args, timeout=timeout, tgt_type="list", full_return=True)
    answer = found.get(minion)
    if not isinstance(answer, dict) or "ret" not in answer:
        raise UnavailableError(f"{minion} does not answer to {fun}")
    plain = json.loads(json.dumps(answer["ret"], default=str))
    return {"fun": fun, "args": args, "return": plain, "retcode": int(answer.get("retcode", 0))}


def _neutral(grains: dict[str, Any]) -> dict[str, Any]:
    """Return ``grains`` without what belongs to one machine alone: each fake minion has its own."""
    personal = ("id", "host", "nodename", "fqdn", "localhost", "machine_id", "uuid", "server_id", "serialnumber", "pid")
    return {key: value for key, value in grains.items() if key not in personal and not key.startswith("fqdn")}
