"""The formula ``nagios``, applied for real: it checks a host and a service, and tells what it finds."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import requests

from tests.support.formulas import FormulaHost, example
from tests.support.waiting import wait_until

pytestmark = pytest.mark.soak  # half a minute each, and it changes seldom: `make test` renders it

PAGES = "/nagios4/cgi-bin"
FORCE = "[0] SCHEDULE_FORCED_SVC_CHECK;localhost;SSH;0\n[0] SCHEDULE_FORCED_HOST_CHECK;localhost;0\n"


def test_it_checks(formula_host: Callable[..., FormulaHost]) -> None:
    """A host that answers is up, a port that does not is critical; objects that Nagios refuses do not take effect."""
    pillar = example("nagios")
    first = {"host_name": "localhost", "first_notification": 3, "last_notification": 0}
    pillar["objects"]["hostescalation"] = {"long": {**first, "notification_interval": 5, "contact_groups": "admins"}}
    pillar["mine"] = {"tgt": "*"}
    host = formula_host({"nagios": pillar})
    machine = host.machine
    machine.salt_call("mine.send", "network.ip_addrs")
    host.apply_twice("nagios")
    machine.exec("sh", "-c", f"printf '{FORCE}' > /var/lib/nagios4/rw/nagios.cmd")

    def status() -> str:
        machine.exec("sh", "-c", f"printf '{FORCE}' > /var/lib/nagios4/rw/nagios.cmd")
        return machine.exec("cat", "/var/lib/nagios4/status.dat", check=False).output

    # The minion itself, out of the mine that it has filled; the examples of the package know no such host.
    wait_until(lambda: f"host_name={machine.name}\n" in status(), 60, "the host out of the mine")
    wait_until(lambda: "connect to address 127.0.0.1 and port 22" in status(), 60, "the check of the port")
    wait_until(lambda: "PING OK" in status(), 60, "the check of the host")
    assert_pages(host)
    pillar["objects"]["service"]["nowhere/SSH"] = {"check_command": "check_port!22"}
    host.give({"nagios": pillar})
    assert "check_cmd" in host.apply("nagios").failed[0]
    assert "nowhere" not in machine.exec("cat", "/etc/nagios4/salt-objects.cfg").output
    host.apply_twice("nagios.clean")


def commanded(url: str, user: tuple[str, str]) -> str:
    """Have ``user`` ask for no more notifications of a host, by the form; return what the pages say."""
    session = requests.Session()
    session.auth = user
    command = {"cmd_typ": "25", "host": "localhost"}
    form = session.get(f"{url}/cmd.cgi", params=command, timeout=20).text
    ours = {"nagFormId": "".join(re.findall("nagFormId' VALUE='([^']+)'", form)), "btnSubmit": "Commit"}
    return form + session.post(f"{url}/cmd.cgi", {**command, **ours, "cmd_mod": "2"}, timeout=20).text


def assert_pages(host: FormulaHost) -> None:
    """Nobody sees the pages without a password; one user looks, the other gives a command that Nagios obeys."""
    url, alice, bob = f"http://{host.machine.address}{PAGES}", ("alice", "change-me"), ("bob", "change-me-too")
    for stranger in (None, ("alice", "wrong"), ("mallory", "change-me")):
        assert requests.get(f"{url}/status.cgi?host=all", auth=stranger, timeout=20).status_code == 401
    assert "connect to address 127.0.0.1" in requests.get(f"{url}/status.cgi?host=all", auth=bob, timeout=20).text
    assert "authorized to commit" in commanded(url, bob)
    assert "authorized to commit" not in commanded(url, alice)

    def obeyed() -> bool:
        status = host.machine.exec("cat", "/var/lib/nagios4/status.dat", check=False).output
        (block,) = [one for one in status.split("hoststatus {")[1:] if "host_name=localhost\n" in one]
        return "notifications_enabled=0" in block.partition("}")[0]

    wait_until(obeyed, 60, "the command")
