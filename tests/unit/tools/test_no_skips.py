"""In CI a test that does not run fails."""

from __future__ import annotations

import pytest

TESTS = """
import pytest

@pytest.mark.skip(reason="no engine")
def test_marked(): ...

def test_called():
    pytest.skip("no engine")

@pytest.mark.xfail
def test_expected():
    assert False

def test_good(): ...
"""
MODULE = "import pytest\npytest.skip('no engine', allow_module_level=True)\n"


def test_skips_fail_in_ci(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips by mark and by call, and expected failures, are failures that name their reason."""
    monkeypatch.setenv("CI", "true")
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_inprocess("-p", "tests.support.no_skips")
    result.assert_outcomes(passed=1, failed=2, errors=1)  # a mark skips at setup: an error
    result.stdout.fnmatch_lines(["*test_marked did not run: in CI nothing may be skipped*", "*no engine*"])


def test_a_skipped_module_fails_in_ci(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that skips itself while it is collected fails too."""
    monkeypatch.setenv("CI", "true")
    pytester.makepyfile(MODULE)
    pytester.runpytest_inprocess("-p", "tests.support.no_skips").assert_outcomes(errors=1)


def test_skips_stay_skips_elsewhere(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a developer's machine a skip is a skip."""
    monkeypatch.delenv("CI", raising=False)
    pytester.makepyfile(TESTS)
    pytester.runpytest_inprocess("-p", "tests.support.no_skips").assert_outcomes(passed=1, skipped=2, xfailed=1)
