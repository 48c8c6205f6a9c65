"""The formula ``graphite``, applied for real: a metric is written to carbon and read back over the web."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
import requests

from tests.support.formulas import FormulaHost, example
from tests.support.waiting import wait_until

pytestmark = pytest.mark.soak  # half a minute each, and it changes seldom: `make test` renders it


def test_a_metric_is_read_back(formula_host: Callable[..., FormulaHost]) -> None:
    """What is sent to carbon's port is what the web application renders, with the retention of the pillar."""
    pillar = example("graphite")
    pillar["web"]["bind"] = "0.0.0.0:8080"
    pillar["carbon"]["schemas"] = {"all": {"pattern": ".*", "retentions": "10s:1h"}}
    host = formula_host({"graphite": pillar})
    host.apply_twice("graphite")
    address = host.machine.address
    with socket.create_connection((address, 2003), timeout=10) as connection:
        connection.sendall(f"site.answer 42 {int(time.time())}\n".encode())
    url = f"http://{address}:8080/render?target=site.answer&format=json&from=-10min"

    def points() -> list[list[float]]:
        try:
            found = requests.get(url, timeout=20)
        except requests.ConnectionError:  # it has not come up yet
            return []
        series = found.json() if found.ok else []
        return [point for one in series for point in one["datapoints"] if point[0] is not None]

    wait_until(lambda: [point[0] for point in points()] == [42.0], 60, "the metric")
    told = host.machine.exec("whisper-info", "/var/lib/graphite/whisper/site/answer.wsp").output
    assert "secondsPerPoint: 10" in told
    host.apply_twice("graphite.clean")
