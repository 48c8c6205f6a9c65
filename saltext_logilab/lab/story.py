"""
``salt-lab demo``: a story of two masters, told with real commands and their real output.

Each chapter is a sentence and a function that acts and then looks at the real state, with a deadline, before the
next one begins: the demo ends well only when all it claims was seen.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from saltext_logilab.lab import configs, directory, docker_story, keys, show, telling
from saltext_logilab.lab.lab import Lab
from saltext_logilab.lab.plan import Wish

MASTERS = ("paris", "nantes")
MINIONS = ("m1", "m2", "m3", "m4")
ATTEMPTS = 3


@dataclass(frozen=True)
class Chapter:
    """One step: what is said before, and what is done and proven."""

    text: str
    tell: Callable[[Lab, show.Line], None]


def tell(lab: Lab, line: show.Line) -> None:
    """
    Tell the story in ``lab``, which is ended first when a former demo left it; it stays up afterwards.

    :raises LogilabError: a step failed; the lab stays, so that one can look at it.
    """
    begin = time.monotonic()
    try:
        for number, chapter in enumerate(CHAPTERS, start=1):
            show.say(f"\n{number}. {chapter.text}")
            chapter.tell(lab, line)
            line.clear()
    except KeyboardInterrupt:
        line.clear()
        show.say(f"\ninterrupted; end what was started with: {telling.salt_lab(lab, 'down')}")
        raise
    show.say(
        f"\nAll of this was true, in {time.monotonic() - begin:.0f} s. The lab stays up. Go on with, for example:\n"
    )
    for words in ("status", "run paris salt '*' test.ping", "shell nantes", "logs paris -f", "kill paris"):
        show.say(f"  {telling.salt_lab(lab, words)}")
    show.say(f"\nand end it with:\n\n  {telling.salt_lab(lab, 'down')}")


def _up(lab: Lab, line: show.Line) -> None:
    with contextlib.suppress(directory.NoLabError):
        lab.down(grace=0)
    begin = time.monotonic()
    telling.shown(lab, "up")
    lab.up(Wish(masters=MASTERS, minions=MINIONS))
    line.clear()
    show.statuses(lab.status())
    show.say(f"up in {time.monotonic() - begin:.1f} s")


def _pending(lab: Lab, _line: show.Line) -> None:
    _table_of_keys(lab)
    for master in MASTERS:
        telling.check(lab.keys(master)["pending"] == list(MINIONS), f"not all keys are pending on {master}")


def _accept(lab: Lab, line: show.Line) -> None:
    for _ in range(ATTEMPTS):
        telling.command(lab, "paris", "salt-key -A -y")
        if telling.is_soon(lambda: not lab.keys("paris")["pending"]):
            break
        show.say("Salt has lost an accept: that minion asked for it at the very moment. Once more:")
    begin = time.monotonic()
    wanted = list(MINIONS)
    telling.await_(lab, line, lambda: all(_accepted(lab, one) == wanted for one in MASTERS), "all keys on both")
    waited = time.monotonic() - begin
    show.say(f"accepted on both masters {f'{waited:.1f} s later' if waited > 0.1 else 'when the command ended'}:")
    _table_of_keys(lab)


def _ping(lab: Lab, line: show.Line) -> None:
    telling.await_(lab, line, lambda: _connected(lab, MASTERS), "every minion connected to both masters")
    line.clear()
    answers = telling.answers(telling.command(lab, "nantes", "salt '*' test.ping --out json --static", shown=True))
    telling.check(answers == dict.fromkeys(MINIONS, True), f"the answers were {answers}")


def _kill(lab: Lab, _line: show.Line) -> None:
    telling.shown(lab, "kill nantes")
    lab.kill("nantes")
    show.statuses(status for status in lab.status() if status.role == "master")
    states = {status.name: status.state for status in lab.status()}
    telling.check(states["nantes"] == "dead", f"nantes is {states['nantes']}")


def _delete(lab: Lab, line: show.Line) -> None:
    telling.shown(lab, "stop m4")
    lab.stop("m4")
    line.clear()
    telling.command(lab, "paris", "salt-key -y -d m4")
    telling.check("m4" not in lab.keys("paris")["accepted"], "m4 is still accepted on paris")


def _return(lab: Lab, line: show.Line) -> None:
    telling.shown(lab, "start nantes")
    begin = time.monotonic()
    lab.start("nantes")
    line.clear()
    telling.await_(lab, line, lambda: "m4" not in _accepted(lab, "nantes"), "m4's key gone from nantes")
    show.say(f"{time.monotonic() - begin:.1f} s after its start nantes has forgotten m4 too:")
    telling.command(lab, "nantes", "salt-key -L")


def _conflict(lab: Lab, line: show.Line) -> None:
    """Two installers have given two machines one name, and each was accepted by another operator."""
    telling.shown(lab, "kill nantes")
    lab.kill("nantes")
    prints = {master: _accept_new_key(lab, master, "web9") for master in MASTERS}
    telling.shown(lab, "start nantes")
    lab.start("nantes")
    line.clear()
    telling.await_(lab, line, lambda: set(_conflicting(lab, "web9")) == set(prints.values()), "the conflict on paris")
    line.clear()
    telling.command(lab, "paris", "salt-run masters.conflicts")
    told = lab.run("paris", "salt-run", "masters.status")
    telling.check(told.returncode == 1 and "web9" in told.stdout, "masters.status does not tell the conflict")
    telling.command(lab, "paris", f"salt-run masters.resolve web9 {prints['paris']}")
    chosen = prints["paris"]
    telling.await_(lab, line, lambda: _fingerprint(lab, "nantes", "web9") == chosen, "the chosen key on nantes")
    line.clear()
    show.say("nantes has the chosen key now. Who decided what:")
    telling.command(lab, "nantes", "salt-run masters.history web9")


def _accept_new_key(lab: Lab, master: str, minion: str) -> str:
    """Let a machine that calls itself ``minion`` be accepted at ``master``; return its key's fingerprint."""
    keys.place(configs.root(lab.folder, master) / "pki", minion)
    show.say(f"at {master} somebody accepts a new machine that calls itself {minion}")
    return _fingerprint(lab, master, minion)


def _fingerprint(lab: Lab, master: str, minion: str) -> str:
    path = configs.root(lab.folder, master) / "pki" / "minions" / minion
    return keys.fingerprint(path.read_text(encoding="ascii"))


def _conflicting(lab: Lab, minion: str) -> list[str]:
    answer = telling.answers(lab.run("paris", "salt-run", "masters.conflicts", "--out", "json").stdout)
    found = answer.get(minion)
    return [one["fingerprint"] for one in found] if isinstance(found, list) else []


def _formula(lab: Lab, line: show.Line) -> None:
    telling.await_(lab, line, lambda: _connected(lab, MASTERS[:1], "m1"), "m1 connected to paris")
    line.clear()
    told = telling.command(lab, "paris", "salt m1 state.show_sls users --out json --static", shown=False)
    answer = telling.answers(told).get("m1")
    if not isinstance(answer, dict) or not answer:
        raise telling.StoryError(f"users did not render: {answer}")
    show.say("\n".join(f"  {state}" for state in answer))


def _health(lab: Lab, _line: show.Line) -> None:
    telling.command(lab, "paris", "salt-run masters.status")


CHAPTERS = (
    Chapter("Two masters that share one key pair, and four minions that know both.", _up),
    Chapter("Every minion has shown its key to both masters; nobody has accepted any.", _pending),
    Chapter("One command on paris accepts all keys.", _accept),
    Chapter("nantes commands all minions.", _ping),
    Chapter("nantes dies, by SIGKILL.", _kill),
    Chapter("Meanwhile m4 retires: its key is deleted on paris.", _delete),
    Chapter("nantes comes back.", _return),
    Chapter("Two machines under one name, accepted on two masters that did not see each other: a conflict.", _conflict),
    Chapter("The formula `users`, as m1 would apply it.", _formula),
    Chapter("Two containers come up, if there is Docker here: both masters know their ports.", docker_story.tell),
    Chapter("How the masters say that they are.", _health),
)


def _table_of_keys(lab: Lab) -> None:
    known = {master: lab.keys(master) for master in MASTERS}
    header = ("master", *next(iter(known.values())))
    show.table(header, [(master, *(", ".join(ids) or "-" for ids in keys.values())) for master, keys in known.items()])


def _accepted(lab: Lab, master: str) -> list[str]:
    return lab.keys(master)["accepted"]


def _connected(lab: Lab, masters: tuple[str, ...], *minions: str) -> bool:
    wanted = minions or MINIONS
    return all(set(masters) <= set(status.connected) for status in lab.status() if status.name in wanted)
