"""
Keep the jobs of all masters of a group in one PostgreSQL, as their ``master_job_cache``.

A load or a return is written to a spool beside the master, and the engine ``logilab_jobs`` files it from there: when
the database is down, jobs are published and returns are taken as before, and all is filed when it is back. ``salt-run
jobs.*`` works as with Salt's own cache, and shows the jobs of every master. It needs the extra ``[postgresql]``.

Master configuration:

.. code-block:: yaml

    master_job_cache: logilab_jobs
    engines:
      - logilab_jobs: {}
    logilab:
      masters:
        jobs:
          dsn: host=db.example.com dbname=salt user=salt sslmode=verify-full
          keep_days: 30

.. versionadded:: 0.1.0
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import salt.payload
import salt.utils.jid
import salt.utils.minions

from saltext_logilab.errors import LogilabError
from saltext_logilab.masters.jobs import clerk
from saltext_logilab.masters.jobs.cache import JobCache
from saltext_logilab.masters.jobs.database import Database
from saltext_logilab.masters.jobs.spool import Spool

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __context__: dict[str, Any]

log = logging.getLogger(__name__)

SECRET = frozenset({"key", "token", "password"})
RETURNED = ("return", "retcode", "success", "out")


def __virtual__() -> bool | tuple[bool, str]:
    """Load where a database is configured."""
    try:
        clerk.read(__opts__)
    except LogilabError as err:
        return False, str(err)
    return True


def _cache() -> JobCache:
    """Return this process's view of the cache: connections do not outlive a fork."""
    kept = __context__.get("logilab_jobs")
    if kept is None or kept[0] != os.getpid():
        settings = clerk.read(__opts__)
        cache = JobCache(Spool(settings.spool), Database(settings.dsn, str(__opts__["id"])))
        kept = __context__["logilab_jobs"] = (os.getpid(), cache)
    cache_of_this: JobCache = kept[1]
    return cache_of_this


def prep_jid(nocache: bool = False, passed_jid: str | None = None) -> str:  # noqa: ARG001 - Salt's signature
    """
    Return ``passed_jid``, or a new job id; it takes no database.

    CLI Example:

    .. code-block:: bash

        salt-run jobs.list_jobs
    """
    return passed_jid if passed_jid is not None else str(salt.utils.jid.gen_jid(__opts__))


def save_load(jid: str, clear_load: dict[str, Any], minions: Iterable[str] | None = None) -> None:
    """Keep the load of the job ``jid``, but no key, token or password, and for which minions it is."""
    if "return" in clear_load and "tgt" not in clear_load:
        return  # Salt offers each return as a load too
    load = {key: value for key, value in clear_load.items() if key not in SECRET}
    summary = {name: str(load.get(key, "")) for name, key in (("function", "fun"), ("user", "user"), ("target", "tgt"))}
    cache = _cache()
    cache.save_load(jid, salt.payload.dumps(load), **summary)
    if load.get("tgt"):
        if minions is None:
            matched = salt.utils.minions.CkMinions(__opts__).check_minions(load["tgt"], load.get("tgt_type", "glob"))
            minions = matched["minions"]
        cache.save_minions(jid, minions)


def save_minions(jid: str, minions: Iterable[str], syndic_id: str | None = None) -> None:  # noqa: ARG001
    """Keep further minions for which the job ``jid`` is."""
    _cache().save_minions(jid, minions)


def returner(ret: dict[str, Any]) -> None:
    """Keep the return of a minion."""
    if ret["jid"] == "req":
        ret["jid"] = prep_jid()
    blob = salt.payload.dumps({key: ret[key] for key in RETURNED if key in ret})
    retcode = ret.get("retcode")
    _cache().save_return(
        ret["jid"],
        ret["id"],
        blob,
        function=str(ret.get("fun", "")),
        retcode=retcode if isinstance(retcode, int) else None,
    )


def get_load(jid: str) -> dict[str, Any]:
    """Return the load of the job ``jid`` with its ``Minions``; an empty mapping when it is not known."""
    job = _cache().job(str(jid))
    if job.load is None:
        return {}
    load: dict[str, Any] = salt.payload.loads(job.load)
    return {**load, "Minions": sorted(job.minions)} if job.minions else load


def get_jid(jid: str) -> dict[str, Any]:
    """Return the returns of the job ``jid``, by minion."""
    return {minion: salt.payload.loads(blob) for minion, blob in _cache().job(str(jid)).returns.items()}


def get_jids() -> dict[str, Any]:
    """Return all jobs, by job id."""
    loads = _cache().loads()
    return {jid: salt.utils.jid.format_jid_instance(jid, salt.payload.loads(blob)) for jid, blob in loads.items()}


def get_jids_filter(count: int, filter_find_job: bool = True) -> list[dict[str, Any]]:
    """Return the newest ``count`` jobs, oldest first; without those that only look for other jobs."""
    found: list[dict[str, Any]] = []
    for jid, blob in _cache().loads(None if filter_find_job else count).items():
        load = salt.payload.loads(blob)
        if not (filter_find_job and load.get("fun") == "saltutil.find_job"):
            found.append(salt.utils.jid.format_jid_instance_ext(jid, load))
        if len(found) == count:
            break
    return found[::-1]


def get_fun(fun: str) -> dict[str, str]:
    """Return for each minion the id of the last job in which it ran ``fun``."""
    return _cache().last_returns(fun)


def get_minions() -> list[str]:
    """Return the minions that have returned something."""
    return _cache().minions()


def get_masters(jids: Iterable[str]) -> dict[str, str]:
    """Return for each of the jobs the id of the master that has started it."""
    return _cache().masters(jids)


def clean_old_jobs() -> None:
    """Do nothing: the engine throws old days away."""
