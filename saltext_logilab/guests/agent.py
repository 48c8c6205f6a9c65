"""
The QEMU guest agent of one guest, asked through libvirt: no network path into the guest is needed.

What comes back is taken as hostile: it is bounded in size and time, and its shape is checked before it is used.
Protocol: the QEMU Guest Agent Protocol Reference; libvirt's part: ``virDomainQemuAgentCommand``.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from saltext_logilab.errors import ConfigurationError, RefusedError, UnavailableError, WireError
from saltext_logilab.guests import connection, power
from saltext_logilab.guests.connection import Connection, Domain, GuestError
from saltext_logilab.within.transport import NotRunningError

TIMEOUT = 10.0
MOST = 4 * 1024 * 1024  # characters of one answer: what libvirt's own protocol carries
MOST_ASKED = 160_000  # of one question: libvirt 9.0 hangs in what its socket does not take at once
NEEDED = "install qemu-guest-agent in it, and give it a channel org.qemu.guest_agent.0"


class AgentError(UnavailableError):
    """The guest has no agent that answers."""


class AgentRefusal(RefusedError):  # noqa: N818 - it is one
    """The agent answered, with an error."""


@dataclass(frozen=True)
class Agent:
    """
    The agent of the guest ``name``.

    :param timeout: seconds for the answer to one question.
    """

    link: Connection
    domain: Domain
    name: str
    timeout: float = TIMEOUT
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def ask(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """
        Return what the agent answers to ``command``.

        :raises ConfigurationError: the question is too long.
        :raises NotRunningError: the guest does not run.
        :raises AgentError: it has no agent, or the agent is silent.
        :raises AgentRefusal: the agent refused or failed it.
        :raises WireError: the answer is no answer.
        """
        asked = json.dumps({"execute": command, **({"arguments": arguments} if arguments else {})}, ensure_ascii=False)
        if len(asked.encode(errors="replace")) > MOST_ASKED:
            raise ConfigurationError(f"{command} of the guest {self.name!r}: more than the agent takes at once")
        try:
            told = connection.libvirt_qemu.qemuAgentCommand(self.domain, asked, max(1, round(self.timeout)), 0)
        except connection.libvirt.libvirtError as err:
            raise self._failure(command, err) from err
        return answer(told, f"{command} of the guest {self.name!r}")

    def _failure(self, command: str, err: Any) -> Exception:
        """Return what ``err`` means; whether the guest still runs says more than libvirt's sentence."""
        known, code = connection.libvirt, err.get_error_code()
        self.check_running()
        if code in (known.VIR_ERR_NO_SUPPORT, known.VIR_ERR_INVALID_ARG):
            return AgentError(f"the guest {self.name!r} has no guest agent: its hypervisor carries none")
        if code == known.VIR_ERR_ARGUMENT_UNSUPPORTED:
            return AgentError(f"the guest {self.name!r} has no guest agent: {NEEDED}")
        if code in (known.VIR_ERR_AGENT_UNRESPONSIVE, getattr(known, "VIR_ERR_AGENT_COMMAND_TIMEOUT", -1)):
            return AgentError(f"the guest {self.name!r} has no guest agent that answers ({command}): {NEEDED}")
        if code in (known.VIR_ERR_INTERNAL_ERROR, getattr(known, "VIR_ERR_AGENT_COMMAND_FAILED", -1)):
            return AgentRefusal(f"the agent of the guest {self.name!r} refuses {command}: {short(err)}")
        return GuestError(f"the guest {self.name!r}: {short(err)}", code)

    def check_running(self) -> None:
        """
        Look whether the guest runs.

        :raises NotRunningError: it does not.
        :raises UnavailableError: libvirt does not answer any more.
        """
        with connection.translated(self.link, "its socket"):
            stands = self._state()
        if stands != "running":
            raise NotRunningError(f"the guest {self.name!r} is not running: it is {stands}")

    def _state(self) -> str:
        try:
            return power.state(self.domain)
        except connection.libvirt.libvirtError as err:
            if err.get_error_code() != connection.libvirt.VIR_ERR_NO_DOMAIN:
                raise
            return "gone"

    def mapping(self, command: str, arguments: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """
        Return an answer that has to be a mapping.

        :raises WireError: it is none.
        """
        told = self.ask(command, arguments)
        if not isinstance(told, dict):
            raise WireError(f"{command} of the guest {self.name!r}: the answer is no mapping")
        return told

    def number(self, command: str, arguments: Mapping[str, Any] | None = None, key: str = "") -> int:
        """
        Return an answer that has to be a whole number of at least 0, or has one under ``key``.

        :raises WireError: it is none.
        """
        told = self.mapping(command, arguments).get(key) if key else self.ask(command, arguments)
        if type(told) is not int or told < 0:
            raise WireError(f"{command} of the guest {self.name!r}: {told!r:.60} is no number")
        return told

    def allows(self, command: str) -> bool:
        """Whether the agent knows ``command`` and its configuration in the guest lets it do it."""
        told = self.mapping("guest-info").get("supported_commands")
        known = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
        return any(one.get("name") == command and one.get("enabled") is True for one in known)


def find(link: Connection, name: str, timeout: float = TIMEOUT) -> Agent:
    """
    Return the agent of the guest ``name``, which runs; whether the agent answers is not asked.

    :raises GuestError: there is no such guest.
    :raises NotRunningError: it does not run.
    """
    if not timeout > 0:
        raise ConfigurationError(f"the time-out of the agent must be positive, not {timeout!r}")
    found = Agent(link, connection.find(link, name), str(name), timeout)
    found.check_running()
    return found


def answer(text: object, what: str) -> Any:
    """
    Return what stands under ``return`` in an agent's answer.

    :raises WireError: it is too long, no JSON, or no such mapping.
    """
    if not isinstance(text, str) or len(text) > MOST:
        raise WireError(f"{what}: the answer is none, or longer than {MOST} characters")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise WireError(f"{what}: the answer is no JSON") from err
    if not isinstance(told, dict) or "return" not in told:
        raise WireError(f"{what}: the answer returns nothing")
    return told["return"]


def decoded(text: object, what: str, most: int) -> bytes:
    """
    Return the bytes of a base64 text of the agent; None and an absent one are none.

    :raises WireError: it is no base64, or of more than ``most`` bytes.
    """
    if text is None:
        return b""
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError) as err:
        raise WireError(f"{what}: {text!r:.60} is no base64") from err
    if data is None or len(data) > most:
        raise WireError(f"{what}: {'no text' if data is None else f'{len(data)} bytes'} where at most {most} can be")
    return data


def encoded(data: bytes) -> str:
    """Return ``data`` as the agent wants it."""
    return base64.b64encode(data).decode()


def short(err: object, most: int = 300) -> str:
    """Return the first ``most`` characters of a sentence, a part of which the guest may have said."""
    text = " ".join("".join(one if one.isprintable() else " " for one in str(err)).split())
    return text if len(text) <= most else f"{text[:most]}…"
