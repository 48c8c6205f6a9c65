"""The formula ``munin``, applied for real: the node answers, the server collects from it."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.support.formulas import FormulaHost

pytestmark = pytest.mark.soak  # half a minute each, and it changes seldom: `make test` renders it

OWN = """#!/bin/sh
[ "$1" = config ] && echo 'graph_title Answer' && echo 'answer.label answer' && exit
echo answer.value 42
"""


def ask(address: str, command: str) -> str:
    """Return what the node says to ``command``, without its greeting."""
    with socket.create_connection((address, 4949), timeout=10) as connection, connection.makefile("rw") as file:
        greeting = file.readline()
        if not greeting:
            return ""
        file.write(f"{command}\nquit\n")
        file.flush()
        return file.read()


def test_the_node_answers_and_the_server_collects(formula_host: Callable[..., FormulaHost]) -> None:
    """A network that may ask gets values, also of a plugin of one's own; the server keeps them; others get nothing."""
    hosts = {"example;here": {"address": "127.0.0.1", "settings": {"answer.answer.warning": "40"}}}
    node = {"allow": ["0.0.0.0/0"], "own_plugins": {"answer": OWN}, "plugin_settings": {"answer": {"user": "nobody"}}}
    server = {"enabled": True, "hosts": hosts, "mine": {"tgt": "*"}}
    host = formula_host({"munin": {"node": node, "server": server}})
    machine = host.machine
    machine.salt_call("mine.send", "network.ip_addrs")
    host.apply_twice("munin")
    assert "answer.value 42" in ask(machine.address, "fetch answer")
    assert {"cpu", "answer"} <= set(ask(machine.address, "list").split())
    machine.exec("runuser", "-u", "munin", "--", "/usr/share/munin/munin-update")
    assert "here-answer-answer-g.rrd" in machine.exec("ls", "/var/lib/munin/example").output
    assert machine.name in machine.exec("ls", "/var/lib/munin").output  # out of the mine; no group but its own name
    host.give({"munin": {"node": {"plugins": {"load": ""}}}})
    assert host.apply("munin").failed == []
    assert ask(machine.address, "list") == ""
    host.apply_twice("munin.clean")
