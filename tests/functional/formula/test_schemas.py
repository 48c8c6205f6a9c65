"""Every formula: its schema is sound, its example is valid and current, its states compile on each system."""

from __future__ import annotations

import json
import logging
import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from saltext_logilab.formula import cli, dialect
from saltext_logilab.formula.packaged import example_pillars, formulas
from tests.support.distribution import ROOT
from tests.support.formulas import FORMULAS, SYSTEMS, Renderer, example

STATEMENT = re.compile(r"{%")
SLS = {file: f"{file.parent.name}.{file.stem}".removesuffix(".init") for file in sorted(formulas().glob("*/*.sls"))}


@pytest.mark.parametrize("name", FORMULAS)
def test_the_schema_is_sound(name: str) -> None:
    """It is JSON Schema, in the validator's subset, describes each key, marks secrets; all that it shows is valid."""
    jsonschema.Draft202012Validator.check_schema(FORMULAS[name].schema)
    assert [str(problem) for problem in dialect.check(FORMULAS[name])] == []
    assert FORMULAS[name].schema["title"] == name
    assert FORMULAS[name].schema["additionalProperties"] is False


@pytest.mark.parametrize("name", FORMULAS)
def test_no_pillar_is_needed_or_what_is_missing_is_said(name: str) -> None:
    """The defaults alone are valid; a formula that cannot do without a pillar says which keys it lacks."""
    for grains in SYSTEMS.values():
        if grains["os_family"] in FORMULAS[name].systems:
            problems = FORMULAS[name].examine(grains, {})[1]
            assert [one for one in problems if "is missing" not in str(one)] == []


@pytest.mark.parametrize("name", FORMULAS)
def test_its_page_says_what_was_tried(name: str) -> None:
    """What it does, what is covered, how it compares; where it was applied and where it was only rendered."""
    page = (ROOT / "formulas" / name / "README.md").read_text(encoding="utf-8")
    parts = ["## What is covered", "## Compared with a peer", "## Where it was tried", "**Applied**", "**Rendered**"]
    assert [part for part in parts if page.count(part) != 1] == []
    rendered = page.partition("**Rendered**")[2]
    told = {
        family
        for family, word in {"Debian": "Ubuntu", "RedHat": "RHEL", "Alpine": "Alpine"}.items()
        if word in rendered
    }
    assert told == set(FORMULAS[name].systems) & {"Debian", "RedHat", "Alpine"}


def test_what_is_generated_is_current() -> None:
    """`salt-formula generate formulas pillar.example` would change nothing."""
    generated = cli.generated(FORMULAS, ROOT / "formulas", ROOT / "pillar.example")
    assert [path.name for path, text in generated.items() if path.read_text(encoding="utf-8") != text] == []


@pytest.mark.parametrize("name", FORMULAS)
def test_the_combined_schema_says_the_same(name: str) -> None:
    """An editor with the combined schema accepts the example and refuses an unknown key."""
    schema = json.loads((formulas() / "pillar.schema.json").read_text(encoding="utf-8"))
    pillar = yaml.safe_load((example_pillars() / f"{name}.sls").read_text(encoding="utf-8"))
    check = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in check.iter_errors(pillar)] == []
    assert not check.is_valid({name: {"no such key": 1}})


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("name", FORMULAS)
def test_it_is_rendered_on(name: str, system: str, render: Renderer) -> None:
    """The example compiles, for the formula and its clean; a system that is not supported is refused by name."""
    grains = SYSTEMS[system]
    for sls in (one for one in SLS.values() if one.partition(".")[0] == name):
        rendered = render(sls, {name: example(name)}, grains)
        if grains["os_family"] in FORMULAS[name].systems:
            assert (rendered.errors, bool(rendered.chunks)) == ([], True), sls
            conditions = [one[key] for one in rendered.chunks for key in ("onlyif", "unless") if key in one]
            assert [one for one in conditions if isinstance(one, bool)] == [], "Salt passes over a condition of no text"
        elif sls == name:
            assert f"does not support the os_family {grains['os_family']!r}" in rendered.errors[0]


def test_no_file_is_looked_for_in_vain(render: Renderer, caplog: pytest.LogCaptureFixture) -> None:
    """A formula asks for no file that is not there; Salt itself looks for NAME.sls before NAME/init.sls."""
    caplog.set_level(logging.DEBUG, logger="salt.fileclient")
    for name in FORMULAS:
        assert render(name, {name: example(name)}).errors == []
    missing = [one.getMessage() for one in caplog.records if "Could not find file" in one.getMessage()]
    assert missing == [f"Could not find file 'salt://{name}.sls' in saltenv 'base'" for name in FORMULAS]


@pytest.mark.parametrize("file", SLS, ids=SLS.get)
def test_an_sls_has_one_line_of_plumbing(file: Path) -> None:
    """It gets its data by formula.data, and asks neither the pillar nor a map."""
    text = file.read_text(encoding="utf-8")
    wanted = 1 if file.stem == "init" else len(re.findall(r"\bcfg\b", text)) and 1  # a clean may need no data
    assert len(re.findall(r'\bsalt\["formula\.data"\]|__salt__\["formula\.data"\]', text)) == wanted
    assert not re.search(r"pillar\.get|pillar\[|import_yaml|map\.jinja|filter_by", text)


def test_data_files_hold_no_jinja() -> None:
    """A schema and defaults are plain YAML."""
    files = [*formulas().glob("*/schema.yaml"), *formulas().glob("*/defaults.yaml")]
    assert [str(file) for file in files if "{%" in file.read_text() or "{{" in file.read_text()] == []


def test_few_statements_of_jinja() -> None:
    """The median formula has at most 12 statements of Jinja, templates included."""
    count = {name: sum(map(statements, (formulas() / name).rglob("*"))) for name in FORMULAS}
    assert statistics.median(count.values()) <= 12, count


def statements(file: Path) -> int:
    """Return the number of Jinja statements in ``file``."""
    return len(STATEMENT.findall(file.read_text(encoding="utf-8"))) if file.suffix in (".sls", ".j2") else 0


WRONG: Mapping[str, list[Any]] = {
    "users": [
        {"user": {}},
        {"users": {"Alice": {}}},
        {"users": {"alice.b": {}}},
        {"users": {"alice": {"uid": 0}}},
        {"users": {"alice": {"uid": "2001"}}},
        {"users": {"alice": {"fullname": "a:b"}}},
        {"users": {"alice": {"expires": "2031-02-30"}}},
        {"users": {"alice": {"maxdays": 0}}},
        {"users": {"alice": {"ssh_keys": ["not a key"]}}},
        {"users": {"alice": {"sudo": ["ALL=(ALL) ALL\nbob ALL=(ALL) ALL"]}}},
        {"users": {"alice": {"sudo": "ALL=(ALL) ALL"}}},
        {"groups": {"deployers": {"gidd": 1}}},
        {"absent_users": ["../etc"]},
        {"sudoers_dir": "etc"},
    ],
    "firewall": [
        {"allow": {"web": {"port": [80]}}},
        {"allow": {"web": {"ports": [70000]}}},
        {"allow": {"web": {"ports": ["80; accept"]}}},
        {"allow": {"web": {"from": ["192.0.2.0/24 accept"]}}},
        {"policies": {"input": "reject"}},
        {"extra_rules": ["accept }\nchain x {"]},
    ],
    "haproxy": [
        {"frontends": {"web": {"bind": ["*:80"]}}},
        {"frontends": {"web": {"bind": ["*"], "default_backend": "app"}}},
        {"backends": {"app": {"server": {}}}},
        {"backends": {"app": {"servers": {"one": {"address": "192.0.2.1"}}}}},
        {"backends": {"app": {"docker_ports": {}}}},
        {"global": ["log /dev/log local0\n  user root"]},
        {"stats": {"bind": "*:8404", "user": "admin"}},
        {"certificates": {"../x.pem": "x"}},
    ],
    "rsyslog": [
        {"server": {"tls": 6514}},
        {"forward": {"central": {"target": "192.0.2.1", "protocol": "tls"}}},
        {"forward": {"central": {"port": 514}}},
        {"files": {"cron.log": "cron.*"}},
        {"extra": ["a\nb"]},
        {"server": {"udp": "514"}},
    ],
    "postgresql": [
        {"cluster": {}},
        {"clusters": {"main": {"settings": {"max-connections": 1}}}},
        {"clusters": {"main": {"hba": [{"type": "host", "method": "passwd"}]}}},
        {"clusters": {"main": {"tuning": "25%"}}},
        {"clusters": {"main": {"roles": {"a b": {}}}}},
        {
            "clusters": {
                "main": {
                    "databases": {"app": {"grants": [{"name": "x", "object_type": "table", "privileges": ["ALL"]}]}}
                }
            }
        },
        {"clusters": {"main": {"standby_of": {"host": "db1"}}}},
        {"clusters": {"main": {"databases": {"app": {"default_privileges": [{"name": "x", "privileges": ["ALL"]}]}}}}},
        {"clusters": {"main": {"settings": {"ssl_passphrase": "secret words"}}}},
    ],
    "openldap": [
        {"databases": {"main": {}}},
        {"databases": {"main": {"suffix": "example.org"}}},
        {"databases": {"main": {"suffix": "dc=example", "acl": ["by * read"]}}},
        {"databases": {"main": {"suffix": "dc=example", "replicate_from": [{"url": "http://x"}]}}},
        {"tls": {"certificate": "-----BEGIN CERTIFICATE-----"}},
        {"own_schemas": {"x": "cn: x"}},
    ],
    "munin": [
        {"node": {"allow": ["192.0.2.1"]}},
        {"node": {"own_plugins": {"../x": "#!/bin/sh"}}},
        {"server": {"hosts": {"here": {}}}},
        {"server": {"settings": {"graph_strategy": "cgi\nx"}}},
    ],
    "nagios": [
        {"objects": {"hosts": {}}},
        {"objects": {"host": {"web": {"address": "192.0.2.1\n}"}}}},
        {"settings": {"Service_check_timeout": 1}},
        {"mine": {"function": "network.ip_addrs"}},
        {"web": {"users": {"alice": {"password": "change-me"}}}},
        {"web": {"commands": ["alice,bob"]}},
    ],
    "graphite": [
        {"carbon": {"settings": {"cache": {"USER": "a\nb"}}}},
        {"carbon": {"schemas": {"all": {"pattern": ".*", "retentions": "a day"}}}},
        {"web": {}},
        {"web": {"secret_key": "short"}},
    ],
    "docker": [
        {"daemon": {"live-restore": "yes"}},
        {"daemon": {"proxies": {"password": "secret words"}}},
        {"registries": {"registry.example.org": {"user": "x"}}},
        {"prune": {"older_than_hours": 0}},
        {"ports": {"web": {"container_port": "80/tcp"}}},
        {"users": ["Alice Example"]},
    ],
    "libvirt": [
        {"networks": {"lab": {"dhcp_start": "10.0.0.2"}}},
        {"networks": {"lab": {"mode": "host"}}},
        {"pools": {"guests": {}}},
        {"pools": {"guests": {"path": "/srv/<x>"}}},
        {"tls": {"ca": "-----BEGIN CERTIFICATE-----"}},
    ],
    "lxc": [
        {"containers": {"web 1": {}}},
        {"containers": {"web1": {"config": {"memory": 1}}}},
        {"containers": {"web1": {"options": ["a; b"]}}},
    ],
    "btrfs": [
        {"filesystems": {"srv": {}}},
        {"filesystems": {"/srv": {"subvolumes": ["../etc"]}}},
        {"filesystems": {"/srv": {"snapshots": {"daily": {"subvolume": "data"}}}}},
        {"filesystems": {"/srv": {"snapshots": {"daily": {"subvolume": "data", "keep": 0}}}}},
    ],
    "salt": [
        {"install": "git"},
        {"version": "latest"},
        {"minion": {"masters": []}},
        {"master": {"share_keys": {}}},
        {"master": {"key": {"private": "x", "public": "y"}}},
        {"extension": {"extras": ["dockr"]}},
        {"api": {"clients": ["everything"]}},
    ],
}


@pytest.mark.parametrize(
    ("name", "pillar"), [(name, pillar) for name, pillars in WRONG.items() for pillar in pillars], ids=str
)
def test_wrong_pillars_are_refused(name: str, pillar: dict[str, Any]) -> None:
    """Unknown keys, wrong types and values that would break a file are refused."""
    assert FORMULAS[name].examine(SYSTEMS["debian-12"], pillar)[1] != []
