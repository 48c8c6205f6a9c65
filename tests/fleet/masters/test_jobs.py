"""The jobs of two masters in one PostgreSQL, which may be away."""

import json
from collections.abc import Callable
from typing import Any

from saltext_logilab.lab.lab import Lab
from tests.support.labs import LabFactory, accept_all
from tests.support.postgresql import PostgresqlServer
from tests.support.waiting import wait_until

PATIENCE = 60


def salt_run(lab: Lab, master: str, *command: str) -> Any:
    """Return what ``salt-run`` answers on ``master``."""
    done = lab.run(master, "salt-run", *command, "--out", "json")
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def echo(lab: Lab, master: str, text: str) -> None:
    """Let ``master`` command its minion, which answers."""
    done = lab.run(master, "salt", "m1", "test.echo", text, "--out", "json")
    assert json.loads(done.stdout) == {"m1": text}, done


def job(lab: Lab, master: str, text: str) -> str:
    """Return the id of the job that said ``text``, as ``master`` lists it; empty when it does not."""
    listed = salt_run(lab, master, "jobs.list_jobs", "search_function=test.echo")
    return next((jid for jid, told in listed.items() if told["Arguments"] == [text]), "")


def problems(lab: Lab) -> list[str]:
    """Return what the status of paris names as wrong."""
    told = json.loads(lab.run("paris", "salt-run", "masters.status", "--out", "json").stdout)
    found: list[str] = told["paris"]["problems"]
    return found


def test_each_master_shows_the_jobs_of_all(
    make_lab: LabFactory, new_postgresql_server: Callable[[], PostgresqlServer]
) -> None:
    """A job of paris is looked up on nantes; with PostgreSQL down paris commands as ever, and nantes sees it later."""
    server = new_postgresql_server()
    jobs = {"dsn": server.dsn}
    options = {"master_job_cache": "logilab_jobs", "engines": [{"logilab_masters": {}}, {"logilab_jobs": {}}]}
    options["logilab"] = {"masters": {"jobs": jobs}}
    lab = make_lab(masters=("paris", "nantes"), minions=("m1",), master_options=options)
    accept_all(lab)
    echo(lab, "paris", "first")
    wait_until(lambda: job(lab, "nantes", "first"), PATIENCE, "the job of paris on nantes")
    jid = job(lab, "nantes", "first")
    wait_until(lambda: salt_run(lab, "nantes", "jobs.lookup_jid", jid) == {"m1": "first"}, PATIENCE, "its return")
    assert salt_run(lab, "nantes", "jobs.list_job", jid)["Minions"] == ["m1"]
    assert salt_run(lab, "nantes", "masters.job", jid)["Master"] == "paris"
    listed = salt_run(lab, "nantes", "masters.jobs")
    assert listed["jobs"][jid]["Master"] == "paris"
    assert [one["jobs"] > 0 for one in listed["masters"].values()] == [True, True]
    server.kill()
    echo(lab, "paris", "second")
    jid = job(lab, "paris", "second")
    assert salt_run(lab, "paris", "jobs.lookup_jid", jid) == {"m1": "second"}
    assert job(lab, "nantes", "second") == ""
    wait_until(lambda: any("database of jobs" in one for one in problems(lab)), PATIENCE, "the status says so")
    server.restart()
    wait_until(lambda: job(lab, "nantes", "second") == jid, PATIENCE, "the job of the outage on nantes")
    wait_until(lambda: salt_run(lab, "nantes", "jobs.lookup_jid", jid) == {"m1": "second"}, PATIENCE, "its return")
