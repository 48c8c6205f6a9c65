"""The files of a new formula, which ``salt-formula new`` writes: they work as they are."""

from __future__ import annotations

import re
from pathlib import Path

from saltext_logilab.errors import RefusedError

NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")

INIT = """\
{%- set cfg = salt["formula.data"]("@NAME@") %}

@NAME@_package:
  pkg.installed:
    - name: {{ cfg.package | json }}

@NAME@_config:
  file.managed:
    - name: {{ cfg.config | json }}
    - source: salt://{{ tpldir }}/files/@NAME@.conf.j2
    - template: jinja
    - context:
        cfg: {{ cfg | json }}
    - makedirs: true
    - require:
      - pkg: @NAME@_package
"""

CLEAN = """\
{%- set cfg = salt["formula.data"]("@NAME@") %}

@NAME@_config_absent:
  file.absent:
    - name: {{ cfg.config | json }}
"""

SCHEMA = """\
$schema: https://json-schema.org/draft/2020-12/schema
title: @NAME@
description: Say in a sentence what the formula sets up.
type: object
additionalProperties: false
properties:
  package:
    description: The package to install.
    type: string
    default: @NAME@
  config:
    description: The configuration file.
    type: string
    pattern: "^/"
    default: /etc/@NAME@/@NAME@.conf
  settings:
    description: Settings of the configuration file, by name.
    type: object
    default: {}
    additionalProperties:
      description: The setting's value.
      type: [string, integer, boolean]
examples:
  - settings:
      workers: 4
"""

DEFAULTS = """\
# What differs from the schema's defaults, by grain. The families listed here are those that the formula supports.
os_family:
  Debian: {}
  RedHat: {}
"""

TEMPLATE = """\
# Managed by Salt.
{%- for key, value in cfg.settings.items() %}
{{ key }} = {{ value }}
{%- endfor %}
"""

TEST = '''\
"""The formula @NAME@: its schema is sound, its example is valid, a wrong pillar is refused."""

from pathlib import Path

import pytest

from saltext_logilab.formula import catalogue, dialect
from saltext_logilab.formula.schemas.problems import PillarError

FORMULA = catalogue.read(Path(__file__).parent.parent)
GRAINS = {"os_family": "Debian", "os": "Debian", "osfinger": "Debian-12"}


def test_the_schema_is_sound():
    """It is written in the subset, every key is described, defaults and examples obey it."""
    assert [str(problem) for problem in dialect.check(FORMULA)] == []


def test_the_example_is_valid():
    """The schema's first example gives data."""
    assert FORMULA.data(GRAINS, FORMULA.schema["examples"][0])["package"] == "@NAME@"


def test_a_wrong_pillar_is_refused():
    """A misspelt key is told with the right one."""
    with pytest.raises(PillarError, match="did you mean 'settings'"):
        FORMULA.data(GRAINS, {"setings": {}})
'''

FILES = {
    "init.sls": INIT,
    "clean.sls": CLEAN,
    "schema.yaml": SCHEMA,
    "defaults.yaml": DEFAULTS,
    "files/@NAME@.conf.j2": TEMPLATE,
    "tests/test_@NAME@.py": TEST,
}


def write(name: str, parent: Path) -> list[Path]:
    """
    Write the formula ``name`` into ``parent`` and return its files.

    :raises RefusedError: the name cannot be one, or there is a folder of that name.
    """
    if not NAME.fullmatch(name):
        raise RefusedError(f"{name!r} is no name of a formula: lower-case letters, digits and _, a letter first")
    folder = parent / name
    if folder.exists():
        raise RefusedError(f"{folder} exists; nothing was written")
    written = []
    for path, text in FILES.items():
        file = folder / path.replace("@NAME@", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("@NAME@", name), encoding="utf-8")
        written.append(file)
    return written
