"""
States run by a Python that is found inside, with a thin Salt that is gone again afterwards.

Salt's inside, as of 3008: what ``salt-ssh`` does with its thin tar file, its package of compiled states and
``state.pkg``, without ssh. The package is unpacked by the Python inside, which needs no other program.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import salt.client.ssh.state
import salt.utils.thin

from saltext_logilab import locks
from saltext_logilab.errors import UnavailableError, WireError
from saltext_logilab.within import transport
from saltext_logilab.within.applying import Run
from saltext_logilab.within.transport import Command, Transport

PYTHONS = ("python3", "/usr/bin/python3", "/usr/local/bin/python3", "/opt/venv/bin/python3")
OLDEST = (3, 10)
MOST = 32 * transport.MOST
STATES = "salt_state.tgz"
UNPACKING = 300.0
LONGEST = 86400.0
_ASK = f"import sys, tarfile, json; sys.exit(sys.version_info < {OLDEST})"
_UNPACK = """
import os, sys, tarfile
os.umask(0o077)
os.makedirs(sys.argv[1], exist_ok=True)
tarfile.open(fileobj=sys.stdin.buffer, mode="r|gz").extractall(sys.argv[1])
"""
_REMOVE = "import shutil, sys; shutil.rmtree(sys.argv[1], ignore_errors=True)"


def python(inside: Transport) -> str:
    """Return a Python inside that Salt can run by; empty where there is none."""
    for one in PYTHONS:
        done = inside.run(Command((one, "-c", _ASK), most_bytes=4096))
        if done.code == 0:
            return one
    return ""


def run(inside: Transport, interpreter: str, ready: Run, chunks: Sequence[dict[str, Any]]) -> Any:
    """
    Run compiled states inside and return what they return.

    :raises UnavailableError: the thin Salt cannot be put there, or does not answer.
    """
    folder = f"/tmp/.salt-{secrets.token_hex(8)}"  # noqa: S108 - inside, unguessable and 0700
    state = _states(ready, chunks)
    words = (interpreter, "-B", f"{folder}/salt-call", "--retcode-passthrough", "--local", "--metadata", "--out=json")
    options = ("-l", "quiet", "-c", folder, "--", "state.pkg", f"{folder}/{STATES}", hashlib.sha256(state).hexdigest())
    env = {"PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
    try:
        for data in (_thin(ready.opts), _packed({STATES: state, "minion": _configuration(folder, ready)})):
            transport.checked(inside, Command((interpreter, "-c", _UNPACK, folder), stdin=data, timeout=UNPACKING))
        told = (*words, *options, "sha256", f"test={ready.opts['test']}")
        done = inside.run(Command(told, env=env, timeout=LONGEST, most_bytes=MOST))
    finally:
        inside.run(Command((interpreter, "-c", _REMOVE, folder), timeout=UNPACKING))
    return answer(inside, done)


def answer(inside: Transport, done: transport.Done) -> Any:
    """
    Return what ``salt-call`` says that the states return.

    :raises UnavailableError: it says nothing, was killed, or said too much.
    :raises WireError: it is no such answer.
    """
    if done.code is None:
        raise UnavailableError(f"the states in {inside.label} took too long and were killed")
    if done.is_cut:
        raise UnavailableError(f"the states in {inside.label} said more than {MOST} bytes")
    start = done.text.find("{")
    try:
        told = json.loads(done.text[start:])["local"]
        return told["return"] if isinstance(told, dict) and "return" in told else told
    except (ValueError, KeyError, TypeError) as err:
        raise WireError(f"Salt in {inside.label} ended with {done.code}: {done.complaint}") from err


def _thin(opts: Mapping[str, Any]) -> bytes:
    """Return the thin Salt, made once for each version and kept in the minion's cache."""
    with locks.elected(Path(opts["cachedir"]) / "thin.lock", lambda: True):
        return Path(salt.utils.thin.gen_thin(opts["cachedir"])).read_bytes()


def _states(ready: Run, chunks: Sequence[dict[str, Any]]) -> bytes:
    """Return Salt's package of states with their files and the pillar."""
    refs = salt.client.ssh.state.lowstate_file_refs(chunks, ready.opts.get("extra_filerefs", ""))
    client, pillar = ready.compiler.client, dict(ready.opts["pillar"])
    path = Path(salt.client.ssh.state.prep_trans_tar(client, list(chunks), refs, pillar, ready.opts["id"]))
    try:
        return path.read_bytes()
    finally:
        path.unlink()


def _configuration(folder: str, ready: Run) -> bytes:
    told = {
        "id": ready.opts["id"],
        "root_dir": f"{folder}/root",
        "cachedir": f"{folder}/root/cache",
        "pki_dir": f"{folder}/root/pki",
        "log_file": f"{folder}/root/log",
        "file_client": "local",
        "hash_type": "sha256",
        "enable_fqdns_grains": False,
        "enable_gpu_grains": False,
    }
    return json.dumps(told).encode()


def _packed(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o600
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
