"""The formula ``haproxy``, applied for real: requests go through it."""

from __future__ import annotations

from collections.abc import Callable

import requests

from tests.support.formulas import FormulaHost, example
from tests.support.waiting import wait_until

SERVER = "import http.server as h; h.HTTPServer(('', {port}), h.SimpleHTTPRequestHandler).serve_forever()"


def test_requests_go_through(formula_host: Callable[..., FormulaHost]) -> None:
    """A request reaches the server, and the second one when it is dead; the page of statistics wants a password."""
    pillar = example("haproxy")
    pillar["stats"]["bind"] = "*:8404"
    pillar["backends"]["app"]["server_options"] = "inter 200ms fall 1"
    host = formula_host({"haproxy": pillar})
    machine = host.machine
    for port in (8081, 8082):
        script = f"mkdir -p /srv/{port} && cd /srv/{port} && echo from {port} > index.html && "
        command = script + f'exec python3 -c "{SERVER.format(port=port)}"'
        machine.exec("systemd-run", "--unit", f"app{port}", "sh", "-c", command)
    host.apply_twice("haproxy")
    url = f"http://{machine.address}"
    assert requests.get(url, timeout=10).text == "from 8081\n"
    assert requests.get(f"{url}/api", timeout=10).status_code == 404
    machine.exec("systemctl", "stop", "app8081")
    assert requests.get(url, timeout=10).text == "from 8082\n"
    assert requests.get(f"{url}:8404/", timeout=10).status_code == 401
    assert "app1" in requests.get(f"{url}:8404/", auth=("admin", "change-me"), timeout=10).text

    # Servers that are the minions of the mine, which this one fills by itself.
    pillar["backends"]["app"] = {"mine": {"tgt": "*", "port": 8082}, "options": ["option httpchk GET /"]}
    host.give({"haproxy": pillar})
    machine.salt_call("mine.send", "network.ip_addrs")
    host.apply_twice("haproxy")
    assert f"{machine.address}:8082" in machine.exec("cat", "/etc/haproxy/haproxy.cfg").output
    wait_until(lambda: requests.get(url, timeout=10).text == "from 8082\n", 60, "the server out of the mine")

    pillar["frontends"]["web"]["options"] = ["no-such-keyword"]
    host.give({"haproxy": pillar})
    assert "check_cmd" in host.apply("haproxy").failed[0]
    assert requests.get(url, timeout=10).text == "from 8082\n"
    host.apply_twice("haproxy.clean")
    assert machine.exec("test", "-e", "/etc/haproxy/haproxy.cfg", check=False).code == 1
