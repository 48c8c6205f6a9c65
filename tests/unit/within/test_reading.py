"""What is read of a system inside: releases, packages, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.within import applying, facts, managing, packages
from saltext_logilab.within.managing import Outcome

DEBIAN = 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n'
UBUNTU = 'NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n'
ALPINE = "NAME='Alpine Linux'\nID=alpine\nVERSION_ID=3.20.1\n"
ROCKY = 'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n'


@pytest.mark.parametrize(
    ("text", "system", "family", "finger"),
    [
        (DEBIAN, "Debian", "Debian", "Debian GNU/Linux-12"),
        (UBUNTU, "Ubuntu", "Debian", "Ubuntu-24.04"),
        (ALPINE, "Alpine", "Alpine", "Alpine Linux-3"),
        (ROCKY, "Rocky", "RedHat", "Rocky Linux-9"),
        ("ID=nix\n", "nix", "nix", "nix-"),
    ],
)
def test_releases(text, system, family, finger):
    """The grains that formulas choose by."""
    found = facts.of_release(facts.parse_release(text))
    assert (found["os"], found["os_family"], found["osfinger"]) == (system, family, finger)


@pytest.mark.parametrize(
    "text", ["", "no assignment\n", 'NAME="a quote without its other\n', "# ID=debian\n", "\0=\0\n"]
)
def test_what_is_no_release(text):
    """It gives no grains, and no error."""
    assert facts.of_release(facts.parse_release(text)) == {}


@given(st.text())
def test_any_release(text):
    """Whatever stands there."""
    facts.of_release(facts.parse_release(text))
    packages.parse_dpkg(text)
    packages.parse_apk(text)
    packages.parse_rpm(text)


def test_lists_of_packages():
    """Installed ones alone, with their versions."""
    dpkg = (
        "Package: bash\nStatus: install ok installed\nVersion: 5.2\nDescription: x\n Package: no\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: half\nStatus: install ok unpacked\n"
    )
    assert packages.parse_dpkg(dpkg) == {"bash": "5.2"}
    assert packages.parse_apk("P:musl\nV:1.2.5-r0\nA:x86_64\n\nV:9\nP:zlib\nV:1.3\n") == {"musl": "9", "zlib": "1.3"}
    assert packages.parse_rpm("bash 5.2-1.fc40\nbroken\n") == {"bash": "5.2-1.fc40"}


@pytest.mark.parametrize(
    "names", [[], [""], ["-y"], ["--purge"], ["a b"], ["a;b"], [7], [{"a": "1 2"}], ["$(x)"], [None]]
)
def test_what_is_no_package(names):
    """Nothing that a package manager would take for an option, and nothing at all."""
    with pytest.raises(ConfigurationError, match=r"is no name of a package|is no version of|no package is named"):
        packages.wanted(names)


def test_wanted_packages():
    """Names and versions; only what is missing is installed, only what is there is removed."""
    wanted = packages.wanted(["a", {"b": "2"}, "c"])
    assert wanted == {"a": "", "b": "2", "c": ""}
    there = {"a": "1", "b": "1"}
    assert managing.packages(there, wanted, True) == [{"b": "2"}, "c"]
    assert managing.packages(there, wanted, False) == ["a", "b"]
    assert packages.differences({"a": "1", "b": "1"}, {"b": "2", "c": "3"}) == {
        "a": {"old": "1", "new": ""},
        "b": {"old": "1", "new": "2"},
        "c": {"old": "", "new": "3"},
    }


@pytest.mark.parametrize(("told", "found"), [("0644", 0o644), (644, 0o644), ("755", 0o755), (None, None), ("", None)])
def test_modes(told, found):
    """As states write them."""
    assert managing.mode(told) == found


@pytest.mark.parametrize("told", ["keep", "rwx", "0999", "-1x", []])
def test_what_is_no_mode(told):
    """One sentence."""
    with pytest.raises(ConfigurationError, match="mode"):
        managing.mode(told)


@pytest.mark.parametrize(
    ("told", "newline", "found"),
    [
        ("a", True, b"a\n"),
        ("a\n", True, b"a\n"),
        ("", True, b""),
        (["a", "b"], True, b"a\nb\n"),
        ("a", False, b"a"),
        (7, True, b"7\n"),
    ],
)
def test_contents(told, newline, found):
    """A text, a list of lines, a number; with a new line at its end."""
    assert managing.text(told, newline) == found
    assert Outcome("nothing").changes == {}


@pytest.mark.parametrize("told", [True, 1, "True", "true", "yes", "1", "on", "maybe", [0]])
def test_what_asks_for_a_test(told):
    """Whatever does not clearly say no: a test must never change anything."""
    assert applying.is_test(told) is True


@pytest.mark.parametrize("told", [None, False, 0, "False", " false ", "no", "off", "0", ""])
def test_what_asks_for_none(told):
    """What says no."""
    assert applying.is_test(told) is False
