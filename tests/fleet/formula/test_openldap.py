"""The formula ``openldap``, applied for real: bind, search, write, and a second server that follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.certificates import Authority
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
    pillar["client"] = {"BASE": "ou=people,dc=example,dc=org"}
    pillar["databases"]["main"]["limits"] = ["users size=1"]
    host = formula_host({"openldap": pillar}, cap_add=["SYS_PTRACE"])  # start-stop-daemon looks at slapd's program
    host.apply_twice("openldap")
    host.machine.write("/root/alice.ldif", ALICE)
    host.machine.exec("ldapadd", *ADMIN, "-H", "ldap://127.0.0.1", "-f", "/root/alice.ldif")
    alice = ("-x", "-D", "uid=alice,ou=people,dc=example,dc=org", "-w")
    assert "cn: Alice" in search(host, *alice, "wonder", "(uid=alice)").output
    assert search(host, *alice, "wrong", "(uid=alice)").code == 49
    assert "cn: Alice" not in search(host, "-x", "(uid=alice)").output
    assert "Size limit exceeded (4)" in search(host, *alice, "wonder", "(objectClass=*)").output
    found = host.machine.exec("ldapsearch", "-LLL", *alice, "wonder", "(uid=alice)")  # with the client's own BASE
    assert "cn: Alice" in found.output

    pillar["databases"]["main"]["overlays"]["nosuch"] = {"objectClass": "olcMemberOf"}
    host.give({"openldap": pillar})
    assert "check_cmd" in host.apply("openldap").failed[0]
    assert "cn: Alice" in search(host, *alice, "wonder", "(uid=alice)").output

    admin = {"bind_dn": "cn=admin,dc=example,dc=org", "password": "change-me", "starttls": False}
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


def test_two_servers_follow_each_other_over_tls(formula_host: Callable[..., FormulaHost]) -> None:
    """Each of two providers takes what is written to the other, over StartTLS; one of another authority gets none."""
    authority, names = Authority(), ("one.test", "two.test")
    hosts = {name: formula_host({}, cap_add=["SYS_PTRACE"]) for name in names}
    known = "".join(f"{host.machine.address} {name}\n" for name, host in hosts.items())

    def give(name: str, signed_by: Authority) -> None:
        pair, (other,) = signed_by.pair(name), [one for one in names if one != name]
        provider = {"url": f"ldap://{other}", "bind_dn": ADMIN[2], "password": ADMIN[4]}
        database = {**example("openldap")["databases"]["main"], "replicate_from": [provider]}
        tls = {"ca": signed_by.certificate, "certificate": pair.certificate, "key": pair.key}
        hosts[name].give(
            {"openldap": {"server_id": names.index(name) + 1, "tls": tls, "databases": {"main": database}}}
        )

    for name, host in hosts.items():
        give(name, authority)
        host.machine.exec("sh", "-c", f"printf '{known}' >> /etc/hosts")
        host.apply_twice("openldap")
    one, two = hosts.values()

    def write(host: FormulaHost, name: str) -> None:
        host.machine.write(f"/root/{name}.ldif", ALICE.replace("alice", name).replace("Alice", name.title()))
        host.machine.exec("ldapadd", *ADMIN, "-H", "ldap://127.0.0.1", "-f", f"/root/{name}.ldif")

    def has(host: FormulaHost, name: str) -> bool:
        return f"cn: {name.title()}" in search(host, *ADMIN, f"(uid={name})").output

    write(one, "alice")
    wait_until(lambda: has(two, "alice"), 60, "alice at the second server")
    write(two, "bob")
    wait_until(lambda: has(one, "bob"), 60, "bob at the first server")
    encrypted = ("ldapwhoami", *ADMIN, "-ZZ", "-H", "ldap://one.test")
    trusting = {"LDAPTLS_CACERT": "/etc/ldap/tls/ca.pem"}
    assert "cn=admin" in one.machine.exec(*encrypted, env=trusting).output

    give("two.test", Authority())
    assert two.apply("openldap").failed == []
    write(one, "carol")
    log = ("journalctl", "-u", "slapd", "--no-pager")
    wait_until(lambda: "ldap_start_tls failed" in two.machine.exec(*log).output, 60, "the refusal")
    assert not has(two, "carol")
