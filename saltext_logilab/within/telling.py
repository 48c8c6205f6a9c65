"""How it is told what came of a command inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saltext_logilab.within.transport import TIMED_OUT, Done


def mapping(done: Done) -> dict[str, Any]:
    """Return it as plain data; bytes that are no UTF-8 are replaced."""
    return {
        "retcode": TIMED_OUT if done.code is None else done.code,
        "stdout": done.stdout.decode(errors="replace"),
        "stderr": done.stderr.decode(errors="replace"),
        "bytes": done.size,
        "cut": done.is_cut,
        "timed_out": done.code is None,
    }


def text(told: Mapping[str, Any], timeout: float, *streams: str) -> str:
    """Return the streams that are named, and in a last line each that something was cut, or killed at its time-out."""
    lines = [told[stream].rstrip("\n") for stream in streams]
    if told["cut"]:
        lines.append(f"[cut: {told['bytes']} bytes in all]")
    if told["timed_out"]:
        lines.append(f"[killed after {timeout:g} s]")
    return "\n".join(one for one in lines if one)
