"""
The demo's part with Docker: two containers come up, every master knows which port leads to which, and on a Salt that
has resources each of them is a target of its own.

Where no Engine is reachable it says so, and the story goes on. What it starts it removes.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from saltext_logilab.errors import UnavailableError
from saltext_logilab.lab import configs, show, telling
from saltext_logilab.lab.docker import Engine, static_busybox
from saltext_logilab.lab.lab import Lab

MINION = "m1"
NAMES = ("demo-web", "demo-api")
PORTS = (80, 8080)
CONFIGURATION = """\
engines:
  - docker_ports: {{}}
logilab:
  containers:
    daemons:
      docker: {url}
"""
TARGETS = "demo_targets"
PILLAR = "resources:\n  docker:\n    match: {name: 'demo-*'}\n"


def tell(lab: Lab, line: show.Line) -> None:
    """
    Tell it, with the Engine of this machine if there is one.

    :raises LogilabError: something that it claims was not seen.
    """
    try:
        engine, busybox = Engine.of_this_machine(), static_busybox()
    except UnavailableError as err:
        show.say(f"\nThis part is left out: {err}.")
        return
    engine.clean()
    try:
        engine.import_busybox(busybox)
        _follow(lab, line, engine)
        _come_up(lab, line, engine)
        _are_targets(lab, line)
    finally:
        engine.clean()
    telling.await_(lab, line, lambda: not any(_knows(lab, one, NAMES[:1]) for one in _masters(lab)), "both gone")
    line.clear()
    show.say("\nThe containers are removed again, and no master knows them any more.")


def _follow(lab: Lab, line: show.Line, engine: Engine) -> None:
    """Let one minion follow the Engine; wait until its first table is at each master."""
    place = configs.root(lab.folder, MINION).parent / "etc" / "minion.d"
    place.mkdir(exist_ok=True)
    (place / "docker.conf").write_text(CONFIGURATION.format(url=engine.url), encoding="ascii")
    pillar = lab.folder / "srv" / "pillar"
    (pillar / f"{TARGETS}.sls").write_text(PILLAR, encoding="ascii")
    top = (pillar / "top.sls").read_text(encoding="utf-8")
    if TARGETS not in top:
        (pillar / "top.sls").write_text(f"{top}  {MINION}:\n    - {TARGETS}\n", encoding="utf-8")
    telling.shown(lab, f"restart {MINION}")
    lab.restart(MINION)
    telling.await_(
        lab, line, lambda: all(map(partial(_tables, lab), _masters(lab))), f"{MINION}'s ports on all masters"
    )
    line.clear()


def _come_up(lab: Lab, line: show.Line, engine: Engine) -> None:
    for name, port in zip(NAMES, PORTS, strict=True):
        show.say(f"\n$ docker run -d --name {name} -p 127.0.0.1::{port} busybox httpd -f -p {port}")
        engine.run(name, ["/busybox", "httpd", "-f", "-p", str(port)], port)
    begin = time.monotonic()
    telling.await_(lab, line, lambda: all(_knows(lab, master, NAMES) for master in _masters(lab)), "both containers")
    waited = time.monotonic() - begin
    line.clear()
    show.say(f"{waited:.1f} s after the second one is up every master has both in its cache:")
    for master in _masters(lab):
        told = telling.command(lab, master, "salt-run docker_ports.find container='demo-*'")
        telling.check(all(name in told for name in NAMES), f"{master} does not show them: {told}")


def _are_targets(lab: Lab, line: show.Line) -> None:
    if importlib.util.find_spec("salt.resources") is None:
        show.say("\nThis Salt has no resources (3008 has): the containers are no targets of their own.")
        return
    known = [
        configs.root(lab.folder, master) / "cache" / "resource_grains" / f"docker:{name}.{MINION}.p"
        for master in _masters(lab)
        for name in NAMES
    ]
    telling.await_(lab, line, lambda: all(path.exists() for path in known), "both as targets")
    line.clear()
    show.say("\nThey are targets as minions are, with nothing installed in them:")
    for master in _masters(lab):
        told = telling.command(lab, master, """salt -C 'T@docker' cmd.run '["/busybox", "uptime"]'""")
        missing = [name for name in NAMES if f"{name}.{MINION}" not in told]
        telling.check(not missing and "ERROR" not in told, f"{missing} did not answer {master}: {told}")


def _masters(lab: Lab) -> list[str]:
    return [member.name for member in lab.plan.masters]


def _knows(lab: Lab, master: str, containers: Sequence[str]) -> bool:
    told = [path.read_bytes() for path in _tables(lab, master)]
    return all(any(name.encode() in each for each in told) for name in containers)


def _tables(lab: Lab, master: str) -> list[Path]:
    """Return the files in which a master keeps the minion's mine: Salt 3008 in one place, older ones in another."""
    cache = configs.root(lab.folder, master) / "cache"
    found = (cache / "mine" / f"{MINION}.p", cache / "minions" / MINION / "mine.p")
    return [path for path in found if path.exists()]
