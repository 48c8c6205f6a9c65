"""The fragments of the changelog."""

from __future__ import annotations

import re

from tests.support.distribution import ROOT

NAME = re.compile(r"[a-z0-9-]+\.(added|changed|fixed|removed|security)\.md")


def test_fragments_are_named_and_say_something() -> None:
    """Each file is ``<subject>.<kind>.md`` and holds at least a sentence."""
    fragments = list((ROOT / "changelog").iterdir())
    assert [path.name for path in fragments if not NAME.fullmatch(path.name)] == []
    assert [path.name for path in fragments if not path.read_text(encoding="utf-8").strip().endswith(".")] == []
