"""What a specification may say, and how it is refused: with the line and the value."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import ConfigurationError, UnavailableError
from saltext_logilab.swarm import document, minions, spec
from saltext_logilab.swarm.distributions import Constant, LogNormal, Uniform
from saltext_logilab.swarm.minions import FakeMinion

WHOLE = """\
seed: 7
masters: [127.0.0.1:4506, "[::1]:4506"]
type: failover
connections: per-minion
groups:
  web:
    count: 3
    id: web{{ index }}.example
    key: own
    salt: {choices: {3006.9: 1, 3008.3: 3}}
    grains:
      os: {choices: {Debian: 70, Ubuntu: 30}}
      rack: "r{{ index // 2 }}"
      number: "{{ index }}"
      nested: {place: "{{ id }}"}
    latency: {lognormal: {median: 200ms, sigma: 0.5}}
    fail: 2%
    drop: 0.01
    answers:
      cmd.run: "{{ id }} ran {{ args[0] }}"
      pkg.version: {value: 1.2, latency: {uniform: [1s, 2s]}}
    flapping: {windows: [{at: 10s, down: 5s}], repeat: 1m, share: 50%}
    mine: {interval: 10s, functions: {test.ping: , addresses: {function: network.ip_addrs, args: [eth0]}}}
    beacons: {load: {interval: 5s, data: {1m: "{{ number }}"}}}
    events: {my/event: {interval: 1h}}
  db: {}
"""


def load(tmp_path: Path, text: str) -> spec.Spec:
    file = tmp_path / "swarm.yaml"
    file.write_text(text)
    return spec.load(file)


def test_a_whole_specification(tmp_path: Path) -> None:
    """All that may stand in a specification is read."""
    made = load(tmp_path, WHOLE)
    assert (made.seed, made.kind, made.connections, made.count) == (7, "failover", "per-minion", 4)
    web = made.groups[0]
    assert web.latency == LogNormal(0.2, 0.5)
    assert (web.fail, web.drop, web.own_keys) == (0.02, 0.01, True)
    assert web.stage("pkg.version") == (Uniform(1, 2), 0.02, 0.01)
    assert web.mine
    assert web.mine.functions == {"test.ping": ("test.ping", ()), "addresses": ("network.ip_addrs", ("eth0",))}
    assert made.groups[1].latency == Constant(0)
    ids = [minion.id for minion in minions.cast(made)]
    assert ids == ["web0.example", "web1.example", "web2.example", "db0"]


def test_grains_are_made_when_asked_for(tmp_path: Path) -> None:
    """A template gives a text, a single expression keeps its type, a choice follows its weights."""
    cast = minions.cast(load(tmp_path, WHOLE.replace("count: 3", "count: 2000")))
    minion = cast[5]
    assert minion.grains["rack"] == "r2"
    assert minion.grains["number"] == 5
    assert minion.grains["nested"] == {"place": "web5.example"}
    share = sum(one.grains["os"] == "Debian" for one in cast[:2000]) / 2000
    assert 0.65 < share < 0.75
    assert {one.version for one in cast[:100]} == {"3006.9", "3008.3"}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("groups:\n  web:\n    conut: 3\n", 3, "'conut' is not a known key (did you mean 'count'?)"),
        ("groups:\n  web:\n    count: many\n", 3, "must be a whole number, not 'many'"),
        ("groups:\n  web:\n    count: -1\n", 3, "-1 is out of bounds"),
        ("groups:\n  web:\n    count: true\n", 3, "must be a whole number, not True"),
        ("groups:\n  web:\n    fail: 1.4\n", 3, "1.4 is no rate"),
        ("groups:\n  web:\n    drop: 120%\n", 3, "'120%' is no rate"),
        ("groups:\n  web:\n    drop: x%\n", 3, "'x%' is no rate"),
        ("groups:\n  web:\n    latency: soon\n", 3, "'soon' is no duration"),
        ("groups:\n  web:\n    latency: .nan\n", 3, "is no duration"),
        ("groups:\n  web:\n    latency: {gauss: 1}\n", 3, "'gauss' is no distribution"),
        ("groups:\n  web:\n    latency:\n      uniform: [2, 1]\n", 4, "must be [LOW, HIGH]"),
        ("groups:\n  web:\n    latency: {normal: {mean: 1}}\n", 3, "'deviation' is missing"),
        ("groups:\n  web:\n    grains:\n      os: '{{ nothing'\n", 4, "is no template"),
        ("groups:\n  web:\n    grains:\n      os: {choices: {}}\n", 4, "nothing to choose"),
        ("groups:\n  web:\n    grains:\n      os: {choices: {a: -1}}\n", 4, "-1 is out of bounds"),
        ("groups:\n  web:\n    key: rsa\n", 3, "'rsa' is not known"),
        ("groups:\n  web:\n    answers:\n      a.b: {python: nothing}\n", 4, "names no function"),
        ("groups:\n  web:\n    answers:\n      a.b: {python: nowhere:f}\n", 4, "cannot be had"),
        ("groups:\n  web:\n    answers:\n      a.b: {value: 1, template: b}\n", 4, "one of value, template, python"),
        ("groups:\n  web:\n    answers:\n      a.b: {x: 1}\n", 4, "stands below 'value'"),
        ("groups:\n  web:\n    answers:\n      a.b: {valeu: 1, fail: 1}\n", 4, "did you mean 'value'?"),
        ("groups:\n  web:\n    states: {changed: 0.7, failed: 0.6}\n", 3, "more than 1 together"),
        ("groups:\n  web:\n    mine: {interval: 0, functions: {}}\n", 3, "more than 0 seconds"),
        ("groups:\n  web:\n    flapping: {windows: [{at: 1, down: 9}, {at: 2, down: 1}]}\n", 3, "overlaps"),
        ("groups:\n  web:\n    flapping: {windows: [{at: 1, down: 9}], repeat: 5}\n", 3, "ends after"),
        ("groups:\n  web:\n    recorded: nowhere.yaml\n", 3, "cannot be read"),
        ("masters:\n- 127.0.0.1\n- a b\ngroups: {web: {}}\n", 3, "'a b' is no master's address"),
        ("groups:\n  web: {}\n  web: {}\n", 3, "'web' stands twice"),
        ("groups:\n  web: 3\n", 2, "must be a mapping"),
        ("groups: {}\n", 1, "one at least"),
        ("seed: 1\n", 1, "'groups' is missing"),
        ("type: cold\ngroups: {web: {}}\n", 1, "'cold' is not known"),
        ("master_sign_key: /nowhere.pub\ngroups: {web: {}}\n", 1, "cannot be read"),
        ("master_sign_key: /etc/hostname\ngroups: {web: {}}\n", 1, "is no public key"),
        ("master_finger: ab\ngroups: {web: {}}\n", 1, "is no fingerprint"),
        ("groups:\n  web: [\n", 3, "no YAML"),
        ("a: &a {b: 1}\n<<: *a\n", 2, "no YAML"),
    ],
)
def test_a_wrong_specification_is_refused_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    """The error names the file, the line and the value."""
    with pytest.raises((ConfigurationError, UnavailableError)) as caught:
        load(tmp_path, text)
    assert said in str(caught.value)
    assert f"swarm.yaml:{line}: " in str(caught.value)


@pytest.mark.parametrize(
    ("group", "line", "said"),
    [
        ("count: 2\n    id: same", 4, "groups:web:id: the id 'same' stands twice (also in web)"),
        ("id: a/b", 3, "groups:web:id: 'a/b' is no minion id"),
        ("id: '{{ nothing }}'", 3, "groups:web:id: the template '{{ nothing }}' cannot be rendered"),
        ("grains:\n      a: {b: '{{ id.nothing }}'}", 4, "groups:web:grains:a:b: the template"),
        ("pillar:\n      a: ['{{ index / 0 }}']", 4, "groups:web:pillar:a[0]: the template"),
        ("events: {tag: {interval: 1s, data: {a: '{{ nothing }}'}}}", 3, "groups:web:events:tag:data:a: the template"),
    ],
)
def test_what_only_a_rehearsal_shows_is_refused_with_its_line(tmp_path: Path, group: str, line: int, said: str) -> None:
    """Impossible ids and templates that cannot be rendered, too: before anything starts."""
    made = load(tmp_path, f"groups:\n  web:\n    {group}\n")
    with pytest.raises(ConfigurationError) as caught:
        minions.rehearse(minions.cast(made))
    assert f"swarm.yaml:{line}: {said}" in str(caught.value)


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ({"count": 2, "id": "web"}, "stands twice"),
        ({"id": "a/b"}, "is no minion id"),
        ({"id": "{{ nothing }}"}, "cannot be rendered"),
        ({"id": ""}, "is no minion id"),
    ],
)
def test_impossible_ids_are_refused(group: dict[str, object], said: str) -> None:
    """Ids that no minion can have, or two have, are refused before anything starts."""
    with pytest.raises(ConfigurationError, match="groups:g") as caught:
        minions.cast(spec.from_data({"groups": {"g": group}}))
    assert said in str(caught.value)


def test_a_template_that_cannot_be_rendered_is_found_before_the_start() -> None:
    """An undefined name in a grain does not wait until somebody asks for the grain."""
    cast = minions.cast(spec.from_data({"groups": {"g": {"grains": {"a": "{{ index + nothing }}"}}}}))
    with pytest.raises(ConfigurationError, match="nothing"):
        minions.rehearse(cast)


def test_a_recording_is_read_beside_the_specification(tmp_path: Path) -> None:
    """What was recorded gives grains, and answers by arguments; the specification's own grains come first."""
    (tmp_path / "web.yaml").write_text(
        "minion: web1\nsalt: '3008.3'\ngrains: {os: Debian, mem: 1024}\n"
        "answers:\n  - {fun: pkg.version, args: [bash], return: 5.2}\n  - {fun: pkg.version, args: [vim], return: 9}\n"
    )
    made = load(tmp_path, "groups:\n  web: {recorded: web.yaml, grains: {os: Ubuntu}}\n")
    minion: FakeMinion = minions.cast(made)[0]
    assert (minion.grains["os"], minion.grains["mem"]) == ("Ubuntu", 1024)
    assert [one.value for one in made.groups[0].recorded["pkg.version"]] == [5.2, 9]


def test_a_python_file_beside_the_specification_answers(tmp_path: Path) -> None:
    """``python`` names a function in a file."""
    (tmp_path / "mine.py").write_text("def double(minion, number):\n    return [minion.id, 2 * number]\n")
    made = load(tmp_path, "groups:\n  web:\n    answers:\n      my.double: {python: mine.py:double}\n")
    call = made.groups[0].answers["my.double"].call
    assert call
    assert call(minions.cast(made)[0], 4) == ["web0", 8]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_nothing_but_an_error_of_ours_comes_of_any_data(data: object) -> None:
    """Whatever stands for a group or for the whole: a specification, or a ConfigurationError."""
    for whole in (data, {"groups": data}, {"groups": {"g": data}}, {"groups": {"g": {"answers": data}}}):
        try:
            spec.from_data(whole)
        except ConfigurationError:
            continue


@given(st.text())
def test_nothing_but_an_error_of_ours_comes_of_any_text(text: str) -> None:
    """Whatever stands in a file: a document, or a ConfigurationError."""
    try:
        document.parse(text, "file")
    except ConfigurationError:
        return
