"""
What minions do with a job: drop it or fail, take their time, answer, and be told that the answer came in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from saltext_logilab.swarm import functions
from saltext_logilab.swarm.behaviour import NOW
from saltext_logilab.swarm.engine import Engine, read_acknowledgement
from saltext_logilab.swarm.functions import Call, Outcome
from saltext_logilab.swarm.minions import FakeMinion
from saltext_logilab.swarm.seats import Publication, Seat, State

Deed = Callable[[Seat, Call], None]
Question = Callable[..., dict[str, Any]]


class Job:
    """A job of one minion: ``number`` counts its jobs, and all draws are made for it; ``known`` is its answer."""

    __slots__ = ("_jobs", "_made", "fails", "known", "number", "publication", "seat")

    def __init__(self, jobs: Jobs, seat: Seat, publication: Publication, number: int, *, fails: bool) -> None:
        """Let the minion of ``seat`` be at the job of ``publication``; ``jobs`` makes its return."""
        self._jobs = jobs
        self.seat = seat
        self.publication = publication
        self.number = number
        self.fails = fails
        self.known: Outcome | None = None
        self._made: dict[str, Any] | None = None

    @property
    def load(self) -> Mapping[str, Any]:
        """What the master has published."""
        return self.publication.load

    @property
    def jid(self) -> str:
        """The job's id."""
        return self.publication.jid

    def made(self) -> Mapping[str, Any]:
        """Return what is sent, made when its turn has come and once: it may be large, or call a user's function."""
        if self._made is None:
            self._made = self._jobs.make(self)
        return self._made

    def acknowledged(self, well: bool, _answer: object = None) -> None:
        """Count it: the master has taken its return, or nobody has."""
        self._jobs.done(self, well)

    def calls(self) -> list[Call]:
        """Return the functions that it asks for: one, or several in a compound command."""
        fun, arg = self.load["fun"], self.load["arg"]
        several = isinstance(fun, list)
        pairs = zip(fun, arg, strict=False) if several else [(fun, arg)]
        made = []
        for name, given in pairs:
            args, kwargs = functions.arguments(given)
            made.append(Call(str(name), args, kwargs, self.jid, self.chance))
        return made

    def chance(self, purpose: str) -> float:
        """Return the draw of this job for ``purpose``."""
        return self.seat.minion.chance(purpose, self.number)

    def as_running(self) -> dict[str, Any]:
        """Return what ``saltutil.find_job`` says of it."""
        kept = ("fun", "jid", "ret", "tgt", "tgt_type", "user", "arg")
        return {**{key: self.load[key] for key in kept if key in self.load}, "pid": 100_000 + self.seat.minion.number}


class Jobs:
    """The jobs of all minions."""

    def __init__(self, engine: Engine, deeds: Mapping[str, Deed], questions: Mapping[str, Question]) -> None:
        """
        Prepare for jobs.

        :param deeds: the functions that do something beside their answer: ``mine.update`` …
        :param questions: those whose answer is the master's: ``mine.get``.
        """
        self._engine = engine
        self._deeds = deeds
        self._questions = questions
        self._running: dict[tuple[int, str], Job] = {}

    def handle(self, seat: Seat, publication: Publication) -> None:
        """Let the minion of ``seat`` look at ``publication``."""
        minion, counts = seat.minion, self._engine.counters.counts
        if not seat.greeted or not publication.means(minion):
            return
        counts.asked += 1
        if seat.state is State.AWAY:
            counts.absent += 1
            return
        fun = publication.load["fun"]
        minion.jobs += fun != "saltutil.find_job"  # who asks how often is a matter of time, and no part of the course
        latency, fail, drop = publication.stage(minion.group)
        if drop and minion.chance("drop", minion.jobs) < drop:
            counts.dropped += 1
            return
        fails = bool(fail) and minion.chance("fail", minion.jobs) < fail
        job = Job(self, seat, publication, minion.jobs, fails=fails)
        delay = latency.at(job.chance("latency")) if latency is not NOW else 0.0
        if fun != "saltutil.find_job":
            self._running[minion.number, job.jid] = job
        if delay:
            self._engine.after(delay, self._answer, job)
        else:
            self._answer(job)

    def running(self, minion: FakeMinion) -> list[dict[str, Any]]:
        """Return the jobs that ``minion`` is at."""
        return [job.as_running() for (number, _), job in self._running.items() if number == minion.number]

    def _answer(self, job: Job) -> None:
        seat = job.seat
        if seat.state is State.AWAY:
            self._engine.counters.counts.absent += 1
            self._running.pop((seat.minion.number, job.jid), None)
            return
        question = self._question(job)
        if question is None:
            self._return(job)
            return
        try:
            load = question(*job.calls()[0].args, **job.calls()[0].kwargs)
        except TypeError as err:
            job.known = functions.misused(job.calls()[0], err)
            self._return(job)
            return

        def answered(well: bool, value: Any) -> None:
            if well:
                job.known = Outcome(value)
                self._return(job)
            else:
                self.done(job, well)

        self._engine.ask(seat, lambda: load, answered)

    def _question(self, job: Job) -> Question | None:
        """Return how to ask the master for what the minion is to answer; None when it knows by itself."""
        fun = job.load["fun"]
        if job.fails or not isinstance(fun, str) or functions.is_told(job.seat.minion.group, fun):
            return None
        return self._questions.get(fun)

    def _return(self, job: Job) -> None:
        self._engine.ask(job.seat, job.made, job.acknowledged, read_acknowledgement)

    def done(self, job: Job, well: bool) -> None:
        """Count ``job``, which is over."""
        self._running.pop((job.seat.minion.number, job.jid), None)
        counters = self._engine.counters
        if well:
            counters.counts.failed += job.fails
            counters.returned(job.publication.asked_at, self._engine.now)
        else:
            counters.counts.lost += 1

    def make(self, job: Job) -> dict[str, Any]:
        """Return the return of ``job``: what is known of it, or what the minion makes of it."""
        outcomes = [(call, job.known or self._outcome(job, call)) for call in job.calls()]
        load: dict[str, Any] = {"cmd": "_return", "jid": job.jid, "fun": job.load["fun"], "fun_args": job.load["arg"]}
        if isinstance(job.load["fun"], list):
            load["return"] = {call.fun: outcome.value for call, outcome in outcomes}
            load["retcode"] = {call.fun: outcome.retcode for call, outcome in outcomes}
            load["success"] = {call.fun: outcome.retcode == 0 for call, outcome in outcomes}
        else:
            ((_, outcome),) = outcomes
            load |= {"return": outcome.value, "retcode": outcome.retcode, "success": outcome.retcode == 0}
            if outcome.out:
                load["out"] = outcome.out
        if "metadata" in job.load:
            load["metadata"] = job.load["metadata"]
        return load

    def _outcome(self, job: Job, call: Call) -> Outcome:
        minion = job.seat.minion
        if job.fails:
            return functions.failure(call)
        if call.fun in self._deeds:
            self._deeds[call.fun](job.seat, call)
            return Outcome(value=True)
        return functions.answer(minion, call, lambda: self.running(minion))
