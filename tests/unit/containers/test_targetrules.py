"""Which containers are targets, and under which ids."""

from __future__ import annotations

import pytest

from saltext_logilab.containers import targetrules
from saltext_logilab.errors import ConfigurationError

WEB = {
    "Id": "a" * 64,
    "Names": ["/other/link", "/shop-web"],
    "Image": "nginx:1.27",
    "State": "running",
    "Labels": {"role": "web", "com.docker.compose.project": "shop", "com.docker.compose.service": "front"},
}


@pytest.mark.parametrize(
    "match",
    [
        {},
        {"name": "shop-*"},
        {"name": ["other", "shop-web"]},
        {"label": "role"},
        {"label": "role=w*"},
        {"label": ["no", "role=web"]},
        {"project": "shop", "image": "nginx:*", "state": "running"},
    ],
)
def test_taken(match):
    """Every key is met by one of its globs."""
    assert targetrules.read({"match": match}).takes(WEB)


@pytest.mark.parametrize(
    "match",
    [
        {"name": "web"},
        {"label": "role=db"},
        {"label": "ROLE"},
        {"project": "shop", "state": "exited"},
        {"image": "nginx"},
    ],
)
def test_not_taken(match):
    """One that is not met is enough."""
    assert not targetrules.read({"match": match}).takes(WEB)


def test_ids():
    """By default the name and the minion."""
    assert targetrules.read(None).id_of(WEB, "docker", "m1") == "shop-web.m1"
    rule = targetrules.read({"id": "{daemon}-{project}-{service}-{name}"})
    assert rule.id_of(WEB, "podman", "m1") == "podman-shop-front-shop-web"


@pytest.mark.parametrize(
    ("pillar", "sentence"),
    [
        ([], "resources:docker must be a mapping"),
        ({"matches": {}}, "did you mean 'match'?"),
        ({"match": "web"}, "resources:docker:match must be a dict"),
        ({"match": {"labels": "x"}}, "match:labels is no rule"),
        ({"match": {"label": 7}}, "must be a text or a list of texts"),
        ({"match": {"label": []}}, "must be a text or a list of texts"),
        ({"match": {"name": [""]}}, "must be a text or a list of texts"),
        ({"id": "{host}"}, "may hold"),
        ({"timeout": 0}, "must be positive"),
        ({"timeout": "long"}, "must be a number"),
        ({"wildcard": "yes"}, "must be true or false"),
    ],
)
def test_wrong_rules(pillar, sentence):
    """One sentence names the key and the value."""
    with pytest.raises(ConfigurationError) as caught:
        targetrules.read(pillar)
    assert sentence in str(caught.value)
