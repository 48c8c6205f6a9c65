"""What minions answer, and the shape of their state runs."""

from typing import Any

import pytest

from saltext_logilab.swarm import functions, highstate, minions, spec
from saltext_logilab.swarm.behaviour import States
from saltext_logilab.swarm.functions import Call, Outcome


def ask(group: dict[str, Any], fun: str, *args: Any, number: int = 1, **kwargs: Any) -> Outcome:
    minion = minions.cast(spec.from_data({"seed": 3, "groups": {"web": group}}))[0]
    call = Call(fun, args, kwargs, "2026", lambda purpose: minion.chance(purpose, number))
    return functions.answer(minion, call, lambda: [{"jid": "77", "fun": "test.sleep"}])


@pytest.mark.parametrize(
    ("fun", "args", "value"),
    [
        ("test.ping", (), True),
        ("test.echo", ("a b",), "a b"),
        ("grains.get", ("deep:key",), 5),
        ("grains.get", ("nothing", "x"), "x"),
        ("grains.item", ("os", "id"), {"os": "Debian", "id": "web0"}),
        ("pillar.get", ("role",), "web"),
        ("cmd.run", ("uptime",), "web0 ran uptime"),
        ("pkg.version", (), "1.2"),
        ("my.sum", (2, 3), "web0: 5"),
        ("saltutil.find_job", ("77",), {"jid": "77", "fun": "test.sleep"}),
        ("saltutil.find_job", ("78",), {}),
    ],
)
def test_answers(fun: str, args: tuple[Any, ...], value: Any) -> None:
    """Functions answer as told, and the usual ones by themselves."""
    group = {
        "grains": {"os": "Debian", "deep": {"key": 5}},
        "pillar": {"role": "{{ group }}"},
        "answers": {
            "cmd.run": "{{ id }} ran {{ args[0] }}",
            "pkg.version": {"value": "1.2"},
            "my.sum": {"python": lambda minion, a, b: f"{minion.id}: {a + b}"},
        },
    }
    assert ask(group, fun, *args) == Outcome(value)


def test_a_function_that_nobody_knows_is_refused_as_by_a_real_minion() -> None:
    """The text and the exit code are Salt's."""
    assert ask({}, "foo.bar") == Outcome("'foo.bar' is not available.", 254, "nested")
    assert ask({"answers": {"*": "any"}}, "foo.bar") == Outcome("any")


def test_wrong_arguments_and_faulty_answers_are_failures() -> None:
    """A minion answers a failure, as a real one does, and does not fall."""
    assert ask({}, "test.echo").retcode == 1
    assert ask({"answers": {"a.b": "{{ args[7].x }}"}}, "a.b").retcode == 1
    assert "ZeroDivisionError" in ask({"answers": {"a.b": {"python": lambda _minion: 1 / 0}}}, "a.b").value


def test_a_state_run_has_the_shape_of_a_real_one() -> None:
    """Keys, results, changes and durations are those that returners and job views read."""
    outcome = ask({"states": {"count": 12, "changed": 0.5, "failed": 0.3}}, "state.apply", "nginx,ssh")
    assert outcome.out == "highstate"
    assert outcome.retcode == highstate.FAILED
    assert len(outcome.value) == 12
    for key, state in outcome.value.items():
        assert key.count("_|-") == 3
        assert {
            "name",
            "result",
            "changes",
            "comment",
            "duration",
            "start_time",
            "__run_num__",
            "__sls__",
            "__id__",
        } <= set(state)
        assert state["__sls__"] in ("nginx", "ssh")
        assert state["result"] in (True, False)
    assert sorted(state["__run_num__"] for state in outcome.value.values()) == list(range(12))
    assert any(state["changes"] for state in outcome.value.values())


def test_a_state_run_in_test_mode_changes_nothing() -> None:
    """What would change is None, as in a real run with test=True."""
    outcome = ask({"states": {"changed": 1}}, "state.apply", test=True)
    assert {state["result"] for state in outcome.value.values()} == {None}
    assert outcome.retcode == 0


def test_state_runs_are_repeatable() -> None:
    """The same job of the same minion gives the same, another job something else."""
    group = {"states": {"count": 30, "changed": 0.5}}

    def results(number: int) -> list[bool]:
        return [bool(state["changes"]) for state in ask(group, "state.highstate", number=number).value.values()]

    assert results(1) == results(1)
    assert results(1) != results(2)


def test_rates_of_states_are_kept() -> None:
    """Over many draws, as many states change and fail as told."""
    draws = iter(range(10**6))
    states = States(count=3000, changed=0.2, failed=0.1)
    value, _ = highstate.run(states, lambda _purpose: next(draws) * 0.6180339887 % 1, [], test=False, now=0)
    assert sum(state["result"] is False for state in value.values()) == pytest.approx(300, abs=60)
    assert sum(bool(state["changes"]) for state in value.values()) == pytest.approx(600, abs=90)


@pytest.mark.parametrize(
    ("given", "args", "kwargs"),
    [([], (), {}), ([1, {"__kwarg__": True, "a": 2}], (1,), {"a": 2}), ([{"a": 2}], ({"a": 2},), {}), (None, (), {})],
)
def test_arguments_are_split_as_a_publication_holds_them(given: Any, args: Any, kwargs: Any) -> None:
    """Keyword arguments come in a marked mapping."""
    assert functions.arguments(given) == (args, kwargs)
