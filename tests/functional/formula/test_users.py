"""The formula "users", rendered and tried by ``salt-call --local`` with a configuration of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from saltext_logilab.formula.packaged import example_pillars

EXAMPLE = yaml.safe_load((example_pillars() / "users.sls").read_text(encoding="utf-8"))["users"]


class Minion:
    """A minion without a master, with ``users`` as its pillar."""

    def __init__(self, root: Path, users: object) -> None:
        self.root = root
        pillar = root / "pillar"
        pillar.mkdir()
        (pillar / "top.sls").write_text(json.dumps({"base": {"*": ["users"]}}), encoding="utf-8")
        (pillar / "users.sls").write_text(json.dumps({"users": users}), encoding="utf-8")
        config = {
            "id": "minion",
            "root_dir": str(root),
            "file_client": "local",
            "enable_fqdns_grains": False,
            "fileserver_backend": ["roots", "logilab_formulas"],
            "file_roots": {"base": [str(root / "srv")]},
            "pillar_roots": {"base": [str(pillar)]},
        }
        (root / "minion").write_text(json.dumps(config), encoding="utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``salt-call --local`` with ``arguments``."""
        salt_call = Path(sys.executable).parent / "salt-call"
        command = [salt_call, "-c", self.root, "--local", "--out", "json", "--log-level", "quiet", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def call(self, *arguments: str) -> Any:
        """Return what ``salt-call --local`` answers to ``arguments``."""
        done = self.run(*arguments)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)["local"]


@pytest.fixture
def with_pillar(tmp_path: Path) -> Any:
    """Make a minion with the pillar that is given."""
    return lambda users: Minion(tmp_path, users)


def arguments(state: dict[str, Any], module: str) -> dict[str, Any]:
    """Return the arguments of a state of ``state.show_sls`` as one mapping."""
    return {key: value for part in state[module] if isinstance(part, dict) for key, value in part.items()}


def test_the_example_is_a_valid_trial_run(with_pillar: Any) -> None:
    """With the example pillar, a test run announces what would be done and fails nowhere."""
    result = with_pillar(EXAMPLE).call("state.apply", "users", "test=True")
    by_id = {state["__id__"]: state for state in result.values()}
    assert [name for name, state in by_id.items() if state["result"] is False] == []
    assert by_id["users_user_alice"]["result"] is None
    assert by_id["users_ssh_alice"]["result"] is None
    assert by_id["users_sudo_alice"]["result"] is None


def test_states_of_the_example(with_pillar: Any) -> None:
    """Every key of the pillar reaches its state, and users come after their groups."""
    states = with_pillar(EXAMPLE).call("state.show_sls", "users")
    alice = arguments(states["users_user_alice"], "user")
    assert alice["uid"] == 2001
    assert alice["fullname"] == "Alice Example"
    assert alice["optional_groups"] == ["deployers"]
    assert alice["require"] == [{"group": "users_group_deployers"}]
    sudo = arguments(states["users_sudo_alice"], "file")
    assert sudo["contents"] == ["# Managed by Salt.", "alice ALL=(root) NOPASSWD: /bin/true"]
    assert sudo["check_cmd"] == "/usr/sbin/visudo -c -f"
    assert {"pkg": "users_sudo"} in sudo["require"]
    assert arguments(states["users_user_deploy"], "user")["gid"] == 2100
    assert arguments(states["users_absent_mallory"], "user")["name"] == "mallory"
    assert arguments(states["users_absent_group_interns"], "group")["require"] == [{"user": "users_absent_mallory"}]


@pytest.mark.parametrize(
    ("day", "days"), [("never", -1), ("2000-01-01", 10957), ("2000-03-01", 11017), ("2031-12-31", 22644)]
)
def test_an_expiry_is_a_number_of_days(day: str, days: int, with_pillar: Any) -> None:
    """The system counts days since 1970, and takes -1 for never."""
    states = with_pillar({"users": {"bob": {"expires": day}}}).call("state.show_sls", "users")
    assert arguments(states["users_user_bob"], "user")["expire"] == days


def test_a_user_without_rules_needs_no_sudo(with_pillar: Any) -> None:
    """Nothing installs sudo when no user has a rule; an old rule of the user is taken away."""
    states = with_pillar({"users": {"bob": None}}).call("state.show_sls", "users")
    assert set(states) == {"users_user_bob", "users_sudo_bob"}
    assert "absent" in states["users_sudo_bob"]["file"]


def test_groups_that_the_pillar_does_not_make_must_exist(with_pillar: Any) -> None:
    """A group that the pillar makes is optional, as a trial run has not made it yet; any other is required."""
    pillar = {"groups": {"made": {}}, "users": {"bob": {"groups": ["adm", "made"]}}}
    bob = arguments(with_pillar(pillar).call("state.show_sls", "users")["users_user_bob"], "user")
    assert (bob["groups"], bob["optional_groups"]) == (["adm"], ["made"])


@pytest.mark.parametrize("empty", [None, {}], ids=["null", "empty"])
def test_an_empty_pillar_does_nothing(with_pillar: Any, empty: object) -> None:
    """Without users and groups the formula has no states."""
    assert with_pillar(empty).call("state.show_sls", "users") == {}


def test_text_from_the_pillar_stays_text(with_pillar: Any) -> None:
    """Quotes, colons and braces in the pillar break neither the YAML nor the states."""
    odd = 'He said "it\'s {1 [2]}" # & more'
    states = with_pillar({"users": {"bob": {"fullname": odd}}}).call("state.show_sls", "users")
    assert arguments(states["users_user_bob"], "user")["fullname"] == odd


def test_an_unknown_key_fails_the_run(with_pillar: Any) -> None:
    """A typing error in a user's keys stops the run with that key's name."""
    done = with_pillar({"users": {"bob": {"uidd": 2001}}}).run("state.apply", "users", "test=True")
    assert done.returncode != 0
    assert "users:users:bob:uidd is not a known key (did you mean 'uid'?); its value is 2001" in done.stdout


def test_clean_takes_away_what_init_makes(with_pillar: Any) -> None:
    """``users.clean`` removes rules, then users, then groups."""
    states = with_pillar(EXAMPLE).call("state.show_sls", "users.clean")
    assert set(states) == {
        "users_clean_sudo_alice",
        "users_clean_user_alice",
        "users_clean_sudo_carol",
        "users_clean_user_carol",
        "users_clean_sudo_deploy",
        "users_clean_user_deploy",
        "users_clean_group_deployers",
    }
    group = arguments(states["users_clean_group_deployers"], "group")
    assert group["require"] == [{"user": f"users_clean_user_{name}"} for name in ("alice", "carol", "deploy")]
