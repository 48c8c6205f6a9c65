"""The pure parts of tools/install.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import install


def test_packages_are_one_a_line() -> None:
    """Comments and empty lines name no package."""
    text = "# what the tests need\n\ndocker.io  # dockerd\nlibvirt-daemon-system\n   \n"
    assert install.read_packages(text) == ["docker.io", "libvirt-daemon-system"]


def test_each_target_has_a_digest_of_its_own() -> None:
    """The stamp of one target does not stand for another; the same input gives the same digest."""
    digests = {target: install.digest(target) for target in install.EXTRAS}
    assert len(set(digests.values())) == len(install.EXTRAS)
    assert digests == {target: install.digest(target) for target in install.EXTRAS}


def test_each_extra_is_declared() -> None:
    """A target asks only for extras that setup.cfg knows."""
    text = (install.ROOT / "setup.cfg").read_text(encoding="utf-8")
    declared = text.partition("[options.extras_require]")[2].partition("\n[")[0]
    for extra in {extra for extras in install.EXTRAS.values() for extra in extras}:
        assert f"\n{extra} =\n" in declared


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("pip._vendor.urllib3 NewConnectionError: [Errno 111] Connection refused", "registry cannot be reached"),
        ("E: Unable to locate package no-such", "package sources"),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend", "another package manager"),
        ("ERROR: No matching distribution found for salt>=3006", "not in the registry"),
    ],
)
def test_a_known_failure_is_named(log: str, said: str) -> None:
    """The end of a log tells the cause in words for a user."""
    assert said in (install.cause(f"before\n{log}\nafter") or "")


def test_an_unknown_failure_is_not_guessed() -> None:
    """A log that says nothing known gets no invented cause."""
    assert install.cause("Segmentation fault") is None


def test_an_unreachable_registry_comes_before_a_missing_distribution() -> None:
    """Pip ends with "No matching distribution" when it cannot connect: the connection is the cause."""
    log = "NewConnectionError: refused\nERROR: No matching distribution found for salt"
    assert "registry cannot be reached" in (install.cause(log) or "")


@pytest.mark.parametrize("stamp", ["", "{", "[]", "null"])
def test_a_broken_stamp_is_no_stamp(tmp_path: Path, stamp: str) -> None:
    """A half-written or foreign stamp means a half-made environment."""
    (tmp_path / install.STAMP).write_text(stamp, encoding="utf-8")
    assert install.Environment(tmp_path).stamp() == {}


def test_a_stamp_without_an_interpreter_is_no_stamp(tmp_path: Path) -> None:
    """An environment whose Python went away counts as half made."""
    environment = install.Environment(tmp_path)
    environment.write_stamp({"python": "3"})
    assert environment.stamp() == {}
    environment.python.parent.mkdir()
    environment.python.touch()
    assert environment.stamp() == {"python": "3"}
