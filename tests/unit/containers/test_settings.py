"""The area's settings: out of the configuration and pillar, and every mistake told with its path."""

from __future__ import annotations

import pytest

from saltext_logilab.containers import settings
from saltext_logilab.errors import ConfigurationError


def opts(containers):
    """A minion's configuration with the area's part ``containers``."""
    return {"pki_dir": "/etc/salt/pki/minion", "logilab": {"containers": containers}}


def test_without_a_word_it_follows_docker():
    """One daemon, one pool, and the folder beside the pki directory."""
    found = settings.read({"pki_dir": "/etc/salt/pki/minion"})
    assert dict(found.daemons) == {"docker": "unix:///var/run/docker.sock"}
    assert str(found.folder) == "/etc/salt/pki/logilab/containers"
    assert found.pool("default").holds(21000)


def test_pillar_goes_over_the_configuration():
    """Key by key, so that pools come from pillar and sockets from the minion's own file."""
    pools = {"apps": {"static": "20000-20099", "dynamic": "20100-20199"}}
    found = settings.read(opts({"daemons": {"p": "tcp://h:1"}}), {"logilab": {"containers": {"pools": pools}}})
    assert dict(found.daemons) == {"p": "tcp://h:1"}
    assert list(found.pools) == ["apps"]


WRONG = [
    ({"daemon": {}}, "logilab:containers:daemon is not a known setting (did you mean 'daemons'?)"),
    ({"daemons": {"a": "unix://x"}}, "daemons:a: 'unix://x' is no URL of a daemon"),
    ({"daemons": {"a": "http://x"}}, "'http://x' is no URL of a daemon"),
    ({"daemons": {"a": "tcp://x:99999"}}, "'tcp://x:99999' is no URL of a daemon"),
    ({"daemons": {"a/b": "tcp://x:1"}}, "'a/b' is no name of a daemon"),
    ({"pools": {"a": {"dynamic": "30-20"}}}, "pools:a:dynamic: '30-20' runs backwards"),
    ({"pools": {"a": {"dynamic": "70000"}}}, "'70000' is no port"),
    ({"pools": {"a": {}}}, "pools:a:dynamic is missing"),
    ({"pools": {"a": {"dynamic": "10-20", "static": "20-30"}}}, "the static and the dynamic band overlap"),
    ({"pools": {"a": {"dynamic": "10-20"}, "b": {"dynamic": "20-30"}}}, "a and b overlap at port 20"),
    ({"history": 0}, "must be at least 1"),
    ([], "logilab:containers must be a mapping"),
]


@pytest.mark.parametrize(("containers", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_a_mistake_is_told_with_its_path(containers, sentence):
    """One sentence with the key's whole path and the value, from the configuration and from pillar."""
    for arguments in ((opts(containers),), (opts({}), {"logilab": {"containers": containers}})):
        with pytest.raises(ConfigurationError) as told:
            settings.read(*arguments)
        assert sentence in str(told.value)
