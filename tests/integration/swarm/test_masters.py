"""Fake minions at two real masters: jobs, mine, events, and masters that die, come back and change their keys."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from salt.client import LocalClient
from salt.config import master_config
from salt.utils.args import parse_input
from salt.utils.crypt import pem_finger
from salt.utils.event import get_event

from saltext_logilab.lab import configs, processes
from saltext_logilab.lab.lab import Lab
from saltext_logilab.swarm import spec
from saltext_logilab.swarm.background import Background
from tests.support.labs import LabFactory
from tests.support.relays import Relay
from tests.support.waiting import wait_until

PATIENCE = 60
TYPES = {
    "": "glob", "-E": "pcre", "-L": "list", "-G": "grain", "-P": "grain_pcre", "-I": "pillar", "-S": "ipcidr",
    "-C": "compound",
}  # fmt: skip
GRAINS = {"os": {"choices": {"Debian": 70, "Ubuntu": 30}}, "number": "{{ index }}", "ipv4": ["10.0.0.{{ index }}"]}
MASTER = {"auto_accept": True, "engines": [], "master_sign_pubkey": True}
QUICK = {"reauth_delay": 0.5, "retry": 0.3, "retry_max": 1, "timeout": 5, "alive_interval": 0.5}


@pytest.fixture(scope="module")
def lab(make_module_lab: LabFactory) -> Lab:
    return make_module_lab(masters=("paris", "nantes"), minions=(), master_options=MASTER)


def addresses(lab: Lab, *names: str) -> list[str]:
    return [f"{lab.plan.member(name).address}:{lab.plan.ports.request}" for name in names]


@contextmanager
def swarm(lab: Lab, *masters: str, ready: float = PATIENCE, **whole: Any) -> Iterator[Background]:
    """Run the specification ``whole`` at ``masters`` of ``lab``, and forget its keys afterwards."""
    lab.up()
    with Background(spec.from_data({**QUICK, **whole}), addresses(lab, *masters)) as running:
        if ready:
            running.ready(ready)
        try:
            yield running
        finally:
            running.stop()
            for name in masters:
                lab.run(name, "salt-key", "-D", "-y")


def options(lab: Lab, master: str) -> dict[str, Any]:
    return dict(master_config(str(lab.folder / master / "etc" / "master")))


def salt(lab: Lab, master: str, *arguments: str) -> dict[str, Any]:
    """
    Return what those answer that answer to ``salt ARGUMENTS`` at ``master``.

    It is asked by the client within that program, whose start takes longer than most answers; other tests use the
    program itself.
    """
    flag, *rest = arguments if arguments[0] in TYPES else ("", *arguments)
    target, fun, *arg = rest
    with LocalClient(mopts=options(lab, master)) as client:
        told = client.cmd(target, fun, parse_input(arg), timeout=20, tgt_type=TYPES[flag], full_return=True)
    answered = {minion: one for minion, one in told.items() if one and one.get("out") != "no_return"}
    return {minion: one["ret"] for minion, one in answered.items()}


def published(lab: Lab, *arguments: str) -> str:
    """Let paris publish a job, and return its id without waiting for answers, as salt does for ten seconds."""
    return lab.run("paris", "salt", "--async", *arguments).stdout.split()[-1]


def returns(lab: Lab, jid: str) -> dict[str, Any]:
    """Return what paris has been told of the job ``jid``, by minion."""
    told: dict[str, Any] = json.loads(lab.run("paris", "salt-run", "jobs.lookup_jid", jid, "--out", "json").stdout)
    return told


def test_every_kind_of_target_finds_its_minions(lab: Lab) -> None:
    """What ``salt`` shows for each kind of target is what the specification says of the minions."""
    pillar = lab.folder / "srv/pillar"
    (pillar / "top.sls").write_text("base:\n  'web[0-5]': [role]\n")
    (pillar / "role.sls").write_text("role: first\n")
    group = {"count": 12, "grains": GRAINS, "ask_pillar": True, "salt": {"choices": {"3006.9": 1, "3008.3": 1}}}
    with swarm(lab, "paris", groups={"web": group}) as running:
        old = {one.id for one in running.swarm.minions if one.version == "3006.9"}
        assert 0 < len(old) < 12
        debian = {one.id for one in running.swarm.minions if one.grains["os"] == "Debian"}
        wanted = {
            ("web*",): set(running.ids),
            ("-E", "web[12]$"): {"web1", "web2"},
            ("-L", "web1,web7,none"): {"web1", "web7"},
            ("-G", "os:Debian"): debian,
            ("-P", "saltversion:3006.*"): old,
            ("-I", "role:first"): {f"web{number}" for number in range(6)},
            ("-S", "10.0.0.4"): {"web4"},
            ("-C", "G@os:Debian and not E@web1.* or L@web3"): {one for one in debian if one[3] != "1"} | {"web3"},
        }
        for target, minions in wanted.items():
            assert set(salt(lab, "paris", *target, "test.ping")) == minions, target
        assert running.counts.lost == 0


def test_failures_and_drops_are_those_of_the_seed(lab: Lab) -> None:
    """Who drops and who fails at a job is known before it: by the seed, the minion and the number of its job."""
    group = {"count": 20, "drop": 0.2, "fail": 0.2, "latency": {"uniform": ["0s", "300ms"]}}
    with swarm(lab, "paris", seed=5, groups={"web": group}) as running:
        dropped = {one.id for one in running.swarm.minions if one.chance("drop", 1) < 0.2}
        failed = {one.id for one in running.swarm.minions if one.chance("fail", 1) < 0.2} - dropped
        jid = published(lab, "web*", "cmd.run", "x")
        wait_until(lambda: running.counts.answered == 20 - len(dropped), PATIENCE, "the answers of the others")
        answers = returns(lab, jid)
        assert running.counts.dropped == len(dropped) > 0
        assert running.counts.failed == len(failed) > 0
    assert {one for one, text in answers.items() if text.startswith("ERROR: this minion")} == failed
    assert {one for one, text in answers.items() if "is not available" in text} == set(running.ids) - failed - dropped


def test_a_slow_minion_is_found_at_its_job(lab: Lab) -> None:
    """``salt`` waits beyond its time-out for a minion that says, by find_job, that it is still at it."""
    answers = {"cmd.run": {"value": "late", "latency": "4s"}}
    with swarm(lab, "paris", groups={"web": {"count": 2, "answers": answers}}):
        done = lab.run("paris", "salt", "--out", "json", "--static", "-t", "1", "web*", "cmd.run", "x")
    assert json.loads(done.stdout) == {"web0": "late", "web1": "late"}


def test_state_runs_look_real(lab: Lab) -> None:
    """Salt's highstate outputter shows a run, and its exit code tells of failures."""
    group = {"count": 2, "states": {"count": 9, "changed": 0.4, "failed": 0.3}}
    with swarm(lab, "paris", groups={"web": group}):
        done = lab.run("paris", "salt", "web*", "state.apply", "nginx")
        jid = lab.run("paris", "salt-run", "jobs.list_jobs", "--out", "json").stdout
    assert done.stdout.count("Summary for web") == 2
    assert "Failed:    0" not in done.stdout
    assert "Changes:" in done.stdout
    assert done.returncode != 0
    assert "state.apply" in jid


def test_mine_beacons_and_events_reach_the_master(lab: Lab) -> None:
    """What the schedules send is in the mine and on the bus; a job can send more."""
    group = {
        "count": 3,
        "mine": {
            "interval": "0.5s",
            "functions": {"test.ping": None, "who": {"function": "grains.get", "args": ["id"]}},
        },
        "beacons": {"load": {"interval": "200ms", "data": {"1m": "{{ number }}"}}},
        "events": {"my/{{ group }}/event": {"interval": "200ms", "data": {"from": "{{ id }}"}}},
    }
    with swarm(lab, "paris", ping_interval="300ms", groups={"web": group}) as running:
        seen = lab.run("paris", "salt-run", "state.event", "salt/beacon/web1/load/", "count=1", "quiet=False")
        wait_until(lambda: running.counts.events > 6 and running.counts.mines > 3, PATIENCE, "events and mine")
        wait_until(lambda: running.counts.pings > 3, PATIENCE, "pings")
        mine = json.loads(lab.run("paris", "salt-run", "mine.get", "*", "who", "--out", "json").stdout)
        assert salt(lab, "paris", "web0", "event.send", "my/own", '{"a": 1}') == {"web0": True}
        assert salt(lab, "paris", "web0", "mine.get", "web[12]", "who") == {"web0": {"web1": "web1", "web2": "web2"}}
        assert "Passed invalid arguments to mine.get" in salt(lab, "paris", "web0", "mine.get", "*")["web0"]
    assert '"id": "web1"' in seen.stdout
    assert mine == {one: one for one in ("web0", "web1", "web2")}


def test_minions_that_start_slowly_say_so_one_after_another(lab: Lab) -> None:
    """Each start is an event on the master's bus, none before its time."""
    lab.up()
    with get_event("master", opts=options(lab, "paris"), listen=True) as bus:
        groups = {"late": {"count": 2, "start": "2s"}, "soon": {"count": 2}, "mute": {"count": 1, "start_event": False}}
        with swarm(lab, "paris", groups=groups) as running:
            assert running.counts.events == 4  # who has joined has said so
        started = [bus.get_event(wait=PATIENCE, tag="salt/minion/")["id"] for _ in range(4)]
    assert set(started[:2]) == {"soon0", "soon1"}
    assert set(started[2:]) == {"late0", "late1"}


def test_hot_hot_survives_a_master_and_its_new_key(lab: Lab) -> None:
    """With one master dead the other goes on; the dead one comes back with a new AES key, and all minions answer it.

    Also what it had asked before: a minion that was at work keeps its answer until somebody takes it.
    """
    answers = {"cmd.run": {"value": "late", "latency": "2s"}}
    with swarm(lab, "paris", "nantes", groups={"web": {"count": 15, "answers": answers}}) as running:
        assert running.summary()["joined"] == 30
        jid = published(lab, "*", "cmd.run", "x")
        wait_until(lambda: running.counts.asked == 15, PATIENCE, "fifteen minions at work")
        lab.kill("paris")
        wait_until(lambda: len(running.problems()) == 15, PATIENCE, "a problem for each minion")
        assert {problem.state for problem in running.problems()} == {"unreachable"}
        assert len(salt(lab, "nantes", "*", "test.ping")) == 15
        lab.start("paris")
        wait_until(lambda: not running.problems(), PATIENCE, "no problem any more")
        assert len(salt(lab, "paris", "*", "test.ping")) == 15
        wait_until(lambda: returns(lab, jid) == dict.fromkeys(running.ids, "late"), PATIENCE, "the answers of before")
        assert running.counts.sign_ins == 45
        assert running.counts.lost == 0


def test_a_rotated_key_and_a_deleted_minion(lab: Lab) -> None:
    """After ``salt-key -d``, which rotates the AES key, the next job finds all minions again."""
    with swarm(lab, "paris", groups={"web": {"count": 10, "key": "own"}}) as running:
        lab.run("paris", "salt-key", "-y", "-d", "web3")
        wait_until(lambda: len(salt(lab, "paris", "*", "test.ping")) >= 9, PATIENCE, "nine minions")
        wait_until(lambda: len(salt(lab, "paris", "*", "test.ping")) == 10, PATIENCE, "web3 once more")
        assert running.counts.sign_ins > 10


def test_failover_moves_to_the_next_master(lab: Lab) -> None:
    """Minions with a list of masters sit at one of them, go to the next when it is gone, and come back with it."""
    quick = {"type": "failover", "failback_interval": 0.5, "timeout": 30}  # a loaded machine is no reason to move
    with swarm(lab, "paris", "nantes", **quick, groups={"web": {"count": 10}}) as running:
        assert running.summary()["joined"] == 10
        lab.kill("paris")
        wait_until(lambda: len(running.swarm.masters[1].seats) == 10, PATIENCE, "all minions at the other master")
        running.ready(PATIENCE)
        assert len(salt(lab, "nantes", "*", "test.ping")) == 10
        assert running.counts.failovers == 10
        lab.start("paris")
        wait_until(lambda: len(running.swarm.masters[0].seats) == 10, PATIENCE, "all minions at the first master again")
        running.ready(PATIENCE)
        assert len(salt(lab, "paris", "*", "test.ping")) == 10
        assert running.counts.failbacks == 10


def test_failover_begins_at_a_master_that_is_there(lab: Lab) -> None:
    """When nobody listens at the first address, minions begin at the second, and none is lost on the way."""
    lab.up()
    spec_ = spec.from_data({**QUICK, "type": "failover", "groups": {"web": {"count": 3}}})
    with Background(spec_, ["127.0.0.1:1", *addresses(lab, "nantes")]) as running:
        running.ready(PATIENCE)
        assert [len(master.seats) for master in running.swarm.masters] == [0, 3]


def test_a_first_master_that_only_listens_is_left_and_tried_again(lab: Lab) -> None:
    """Who is not answered goes to the next master, and back when the first one answers; also when it half dies."""
    lab.up()
    first, second = addresses(lab, "paris", "nantes")
    host = lab.plan.member("paris").address
    relay = Relay((host, lab.plan.ports.request), listen=(host, 0))
    relay.start()
    relay.blackhole()
    quick = {"type": "failover", "failback_interval": 0.5, "timeout": 1}
    masters = [first.replace(str(lab.plan.ports.request), str(relay.port)), second]
    with Background(spec.from_data({**QUICK, **quick, "groups": {"web": {"count": 3}}}), masters) as running:
        wait_until(lambda: running.counts.failovers > 3, PATIENCE, "minions that tried the first master again")
        relay.heal()
        seats = running.swarm.masters[0].seats
        wait_until(lambda: len(seats) == 3 and running.summary()["joined"] == 3, PATIENCE, "all at the first master")
        lab.kill("paris")
        wait_until(lambda: len(running.problems()) == 3, PATIENCE, "three minions without publications")
        relay.close()
        wait_until(lambda: not seats and running.summary()["joined"] == 3, PATIENCE, "all at the next master")


def test_a_master_whose_key_is_signed_is_believed_by_its_signature(lab: Lab) -> None:
    """With the public half of the key that signs, minions join that master, and refuse one with another signature."""
    key = str(configs.root(lab.folder, "paris") / "pki" / "master_sign.pub")
    with swarm(lab, "paris", "nantes", ready=0, master_sign_key=key, groups={"web": {"count": 2}}) as running:
        wait_until(lambda: running.summary()["joined"] == 2, PATIENCE, "two minions at the master with the signature")
        wait_until(lambda: {one.state for one in running.problems()} == {"refusing"}, PATIENCE, "two refusals")
        assert {(one.master, one.text) for one in running.problems()} == {
            (addresses(lab, "nantes")[0], "the master's key is signed by another key than master_sign_key")
        }


def connections(lab: Lab) -> int:
    """Return how many TCP connections there are to the ports of paris."""
    ports = (lab.plan.ports.publish, lab.plan.ports.request)
    ends = [socket.remote for socket in processes.sockets() if socket.remote]
    return sum(end in [(lab.plan.member("paris").address, port) for port in ports] for end in ends)


def test_each_minion_can_have_its_own_connections(lab: Lab) -> None:
    """Per minion, the master sees as many connections as minions, and all answer once."""
    with swarm(lab, "paris", connections="per-minion", groups={"web": {"count": 12}}) as running:
        assert len(salt(lab, "paris", "*", "test.ping")) == 12
        assert len(salt(lab, "paris", "*", "test.ping")) == 12
        assert running.counts.answered == 12 * running.counts.publications
        assert connections(lab) >= 24


def test_flapping_minions_are_away_and_come_back(lab: Lab) -> None:
    """Minions that are away do not answer, and answer again when they are back; the others always do."""
    flapping = {"windows": [{"at": "3s", "down": "5s"}]}
    groups = {"away": {"count": 3, "flapping": flapping}, "here": {"count": 3}}
    with swarm(lab, "paris", groups=groups) as running:
        wait_until(
            lambda: running.summary()["states"][addresses(lab, "paris")[0]].get("away") == 3, PATIENCE, "three away"
        )
        jid = published(lab, "*", "cmd.run", "x")
        wait_until(lambda: running.counts.asked == 6, PATIENCE, "six minions that were asked")
        wait_until(lambda: running.counts.answered == 3, PATIENCE, "three answers")
        assert set(returns(lab, jid)) == {"here0", "here1", "here2"}
        assert running.counts.absent == 3
        wait_until(lambda: running.summary()["joined"] == 6, PATIENCE, "all back")
        assert len(salt(lab, "paris", "*", "test.ping")) == 6


def test_a_wrong_fingerprint_is_told_for_each_minion(lab: Lab) -> None:
    """A master with another fingerprint than the specification says gets no minion."""
    groups = {"web": {"count": 3}}
    with swarm(lab, "paris", ready=0, master_finger=":".join(["ab"] * 32), groups=groups) as running:
        wait_until(lambda: [one.state for one in running.problems()] == ["refusing"] * 3, PATIENCE, "three refusals")
        assert [problem.minion for problem in running.problems()] == ["web0", "web1", "web2"]
        assert all("fingerprint" in problem.text for problem in running.problems())
        wait_until(lambda: all(one.attempts > 2 for one in running.problems()), PATIENCE, "more attempts")
    with swarm(lab, "paris", groups=groups) as running:
        key = running.swarm.masters[0].key
        assert key
        assert key.fingerprint == pem_finger(str(configs.root(lab.folder, "paris") / "pki" / "master.pub"))
    with swarm(lab, "paris", master_finger=key.fingerprint, groups=groups) as running:
        assert running.problems() == []
