"""
What this area touches of Salt's job cache, for Salt 3006, 3007 and 3008: whichever returner keeps it, it is asked as
``salt-run jobs`` asks it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

import salt.client
import salt.loader
import salt.payload
import salt.utils.jid
from salt.exceptions import SaltException

from saltext_logilab.errors import UnavailableError

ENTRY_LIMIT = 16 * 1024  # bytes of a job without its returns
_LARGE = ("Arguments", "Target", "Minions", "Metadata", "Running", "Returned")
_OWN = ("saltutil.running", "saltutil.find_job")


class MasterJobs:
    """The jobs that the master with ``opts`` knows; see :class:`~saltext_logilab.masters.jobs.desk.JobSource`."""

    def __init__(self, opts: Mapping[str, Any]) -> None:
        self._opts = dict(opts)
        self._name = str(opts.get("ext_job_cache") or opts.get("master_job_cache") or "local_cache")
        self._alone = threading.Lock()  # a returner may keep one connection for all that it is asked
        self._returners: Any = None

    def newest(self, count: int) -> dict[str, bytes]:
        """Return the newest jobs, packed, by job id, the newest first; :raises UnavailableError: it cannot tell."""
        if self._knows("get_jids_filter"):
            found = {str(one.pop("JID")): one for one in self._ask("get_jids_filter", count)}
        else:
            found = {jid: one for jid, one in self._ask("get_jids").items() if one.get("Function") not in _OWN}
        newest = sorted(found, reverse=True)[:count]
        masters = self._masters(newest)
        return {jid: _packed({**found[jid], "Master": masters.get(jid, "")}) for jid in newest}

    def job(self, jid: str) -> tuple[bytes, dict[str, bytes]]:
        """Return the job ``jid`` and its returns by minion, packed; :raises UnavailableError: it cannot tell."""
        load, returns = self._ask("get_load", jid), self._ask("get_jid", jid)
        blobs = {str(minion): salt.payload.dumps(told) for minion, told in returns.items()}
        if not load:
            return b"", blobs
        job = {"Master": self._masters([jid]).get(jid, ""), **salt.utils.jid.format_jid_instance(jid, load)}
        return _packed({**job, "Minions": list(load.get("Minions", []))}), blobs

    def running(self) -> dict[str, bytes]:
        """
        Return the jobs that the minions work on, packed, by job id; those that this master has started first.

        :raises UnavailableError: it cannot tell.
        """
        try:
            with salt.client.get_local_client(mopts=dict(self._opts)) as client:
                told = client.cmd("*", "saltutil.running", timeout=self._opts["timeout"])
        except (SaltException, OSError) as err:
            raise UnavailableError(f"the minions cannot be asked: {err}") from err
        jobs: dict[str, dict[str, Any]] = {}
        for minion, one in sorted(_told_jobs(told)):
            jid = str(one.get("jid", ""))
            known = jobs.setdefault(jid, {**salt.utils.jid.format_jid_instance(jid, one), "Running": []})
            known["Running"].append({minion: one.get("pid")})
        masters = self._masters(jobs)
        for jid, known in jobs.items():
            known["Returned"] = sorted(map(str, self._ask("get_jid", jid)))
            known["Master"] = masters.get(jid, "")
            known["Here"] = bool(self._ask("get_load", jid))
        return {jid: _packed(jobs[jid]) for jid in sorted(jobs, key=lambda jid: (jobs[jid]["Here"], jid), reverse=True)}

    def _masters(self, jids: Iterable[str]) -> dict[str, str]:
        """Return which master has started which job, where the job cache is one of several masters and knows that."""
        found: dict[str, str] = self._ask("get_masters", list(jids)) if self._knows("get_masters") else {}
        return {jid: name.removesuffix("_master") for jid, name in found.items()}

    def _knows(self, function: str) -> bool:
        return f"{self._name}.{function}" in self._loaded()

    def _ask(self, function: str, *arguments: Any) -> Any:
        try:
            with self._alone:
                return self._loaded()[f"{self._name}.{function}"](*arguments)
        except Exception as err:  # a returner may raise what its library raises
            raise UnavailableError(f"the job cache {self._name} does not answer: {type(err).__name__}: {err}") from err

    def _loaded(self) -> Any:
        if self._returners is None:
            functions = salt.loader.minion_mods(self._opts)
            self._returners = salt.loader.returners(self._opts, functions, context={})
        return self._returners


def _told_jobs(told: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return each job that a minion has told, with the minion; a minion may say anything."""
    jobs = [(minion, job) for minion, many in told.items() if isinstance(many, list) for job in many]
    return [(minion, job) for minion, job in jobs if isinstance(job, dict) and job.get("fun") not in _OWN]


def _packed(job: dict[str, Any]) -> bytes:
    """Return ``job`` packed; what makes it too large is left out, and it says so."""
    blob: bytes = salt.payload.dumps(job)
    if len(blob) > ENTRY_LIMIT:
        sizes = {name: len(salt.payload.dumps(job[name])) for name in _LARGE if name in job}
        large = {name for name, size in sizes.items() if size > ENTRY_LIMIT // len(_LARGE)}
        left = {name: ([f"({sizes[name]} bytes left out)"] if name in large else job[name]) for name in sizes}
        blob = salt.payload.dumps({**job, **left})
    return blob
