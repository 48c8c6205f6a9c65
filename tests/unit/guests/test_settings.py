"""What the configuration says of guests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from saltext_logilab.errors import ConfigurationError
from saltext_logilab.guests import settings

OPTS = {"pki_dir": "/etc/salt/pki/minion"}


def test_defaults_and_all_that_can_be_said() -> None:
    """Nothing has to be said; one file may serve a minion and a master."""
    told = settings.read(OPTS)
    folder = Path("/etc/salt/pki/logilab/guests")
    assert told == settings.GuestsSettings("qemu:///system", folder, 5.0, "", "", (), 10.0)
    said = {"uri": "test:///default", "progress_interval": 2, "reach": "qemu+tls://a/system", "shared": ["/san"]}
    told = settings.read({**OPTS, "logilab": {"guests": {**said, "placement": {"strategy": "pack"}}}})
    assert (told.uri, told.progress_interval, told.reach, told.shared) == (
        "test:///default",
        2.0,
        said["reach"],
        ("/san",),
    )


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"url": "qemu:///system"}, "did you mean 'uri'"),
        ({"uri": "system"}, "uri must be a URI"),
        ({"progress_interval": 0}, "at least 1 second"),
        ({"agent_timeout": 0.5}, "agent_timeout must be at least 1 second"),
        ({"reach": "kvm1"}, "reach must be a URI"),
        ({"transport": "10.0.0.1"}, "transport must be a URI"),
        ({"shared": ["san"]}, "shared must be absolute paths"),
        ({"shared": "/san"}, "shared must be a list"),
        ({"placement": ["spread"]}, "placement must be a mapping"),
    ],
)
def test_wrong_settings_are_sentences(told: dict[str, Any], words: str) -> None:
    """A misspelt key or an impossible value names itself."""
    with pytest.raises(ConfigurationError, match=words):
        settings.read({**OPTS, "logilab": {"guests": told}})


def test_who_may_come_in_is_read_by_masters() -> None:
    """Nobody by default; ids and patterns by hypervisor; a minion's file may say so, too."""
    folder = Path("/etc/salt/pki/logilab/guests")
    assert settings.read_seeds(OPTS) == (folder, {})
    said = {**OPTS, "logilab": {"guests": {"seeds": {"accept": {"kvm1": ["web*", "db1"]}}}}}
    assert settings.read_seeds(said) == (folder, {"kvm1": ("web*", "db1")})
    assert settings.read(said).uri == settings.URI


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"acept": {}}, "did you mean 'accept'"),
        ({"accept": ["web"]}, "accept must be a"),
        ({"accept": {"kvm1": "web"}}, "accept:kvm1 must be a list of ids or patterns"),
        ({"accept": {"kvm1": [7]}}, "accept:kvm1 must be a list of ids or patterns"),
    ],
)
def test_wrong_words_about_who_may_come_in(told: dict[str, Any], words: str) -> None:
    """Each of them is a sentence."""
    with pytest.raises(ConfigurationError, match=words):
        settings.read_seeds({**OPTS, "logilab": {"guests": {"seeds": told}}})
