"""The formula ``openldap``, applied for real: bind, search, write, and a second server that follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.formulas import FormulaHost, example
from tests.support.waiting import wait_until

pytestmark = pytest.mark.soak  # half a minute each, and it changes seldom: `make test` renders it

ADMIN = ("-x", "-D", "cn=admin,dc=example,dc=org", "-w", "change-me")
ALICE = """dn: uid=alice,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: Example
userPassword: wonder
"""


def search(host: FormulaHost, *arguments: str) -> Any:
    """Return code and output of ldapsearch in the directory."""
    command = ("ldapsearch", "-LLL", "-H", "ldap://127.0.0.1", "-b", "dc=example,dc=org", *arguments)
    return host.machine.exec(*command, check=False)


def test_a_directory_and_its_replica(formula_host: Callable[..., FormulaHost]) -> None:
    """People bind and are found, nobody else reads; a wrong overlay changes nothing; a replica follows."""
    pillar = example("openldap")
    host = formula_host({"openldap": pillar}, cap_add=["SYS_PTRACE"])  # start-stop-daemon looks at slapd's program
    host.apply_twice("openldap")
    host.machine.write("/root/alice.ldif", ALICE)
    host.machine.exec("ldapadd", *ADMIN, "-H", "ldap://127.0.0.1", "-f", "/root/alice.ldif")
    alice = ("-x", "-D", "uid=alice,ou=people,dc=example,dc=org", "-w")
    assert "cn: Alice" in search(host, *alice, "wonder", "(uid=alice)").output
    assert search(host, *alice, "wrong", "(uid=alice)").code == 49
    assert "cn: Alice" not in search(host, "-x", "(uid=alice)").output

    pillar["databases"]["main"]["overlays"]["nosuch"] = {"objectClass": "olcMemberOf"}
    host.give({"openldap": pillar})
    assert "check_cmd" in host.apply("openldap").failed[0]
    assert "cn: Alice" in search(host, *alice, "wonder", "(uid=alice)").output

    admin = {"bind_dn": "cn=admin,dc=example,dc=org", "password": "change-me", "starttls": "no"}
    provider = {"url": f"ldap://{host.machine.address}", **admin}
    replica = {"suffix": "dc=example,dc=org", "replicate_from": [provider]}
    second = formula_host({"openldap": {"databases": {"copy": replica}}}, cap_add=["SYS_PTRACE"])
    second.apply_twice("openldap")
    wait_until(
        lambda: "cn: Alice" in search(second, *alice, "wonder", "(uid=alice)").output, 30, "alice at the replica"
    )

    second.apply_twice("openldap.clean")
    assert search(second, "-x").code != 0
    assert "data.mdb" in second.machine.exec("ls", "/var/lib/ldap/copy").output
