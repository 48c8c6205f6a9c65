"""The formula ``rsyslog``, applied for real: a line travels over TLS from one host to another."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.certificates import Authority
from tests.support.formulas import FormulaHost
from tests.support.waiting import wait_until

LINE = "a line over TLS"


def test_a_line_is_received_over_tls(formula_host: Callable[..., FormulaHost]) -> None:
    """The server takes a peer that it knows, over TLS, plain and by UDP; a peer of another name is refused."""
    authority = Authority()
    server, client, stranger = (authority.pair(one) for one in ("server.test", "client.test", "stranger.test"))
    tls = {"ca": authority.certificate, "certificate": server.certificate, "key": server.key}
    receives = {"udp": 514, "tcp": 514, "tls": 6514, "peers": ["client.test"], "file": "all.log", "keep_days": 3}
    first = formula_host({"rsyslog": {"tls": tls, "server": receives}})
    first.apply_twice("rsyslog")
    received = lambda: first.machine.exec("cat", "/var/log/remote/all.log", check=False).output  # noqa: E731

    said = lambda: first.machine.exec("cat", "/var/log/syslog").output  # noqa: E731

    target = {"target": first.machine.address, "peer": "server.test", "port": 6514, "protocol": "tls"}
    sends = {"forward": {"central": target}, "files": {"/var/log/own.log": "*.notice"}}
    second = formula_host({})
    for pair, text in ((stranger, "a stranger's line"), (client, LINE)):
        tls = {"ca": authority.certificate, "certificate": pair.certificate, "key": pair.key}
        second.give({"rsyslog": {"tls": tls, **sends}})
        assert second.apply("rsyslog").failed == []
        second.machine.exec("logger", "-p", "user.notice", text)
        wait_until(lambda text=text: text in second.machine.exec("cat", "/var/log/own.log").output, 60, "the own file")
        if pair is stranger:
            wait_until(lambda: "stranger.test" in said(), 60, "the refusal")
            assert "a stranger's line" not in received()
    wait_until(lambda: LINE in received(), 60, "the line at the server")
    again = second.apply("rsyslog")
    assert (again.failed, again.changed) == ([], [])
    second.machine.exec("logger", "-n", first.machine.address, "-T", "-P", "514", "a plain line")
    second.machine.exec("logger", "-n", first.machine.address, "-d", "-P", "514", "a datagram")
    wait_until(
        lambda: {"a plain line", "a datagram"} <= {one for one in ("a plain line", "a datagram") if one in received()},
        60,
        "both",
    )
    assert first.machine.exec("stat", "-c", "%a", "/etc/rsyslog-tls/key.pem").output == "640\n"
    second.apply_twice("rsyslog.clean")
