"""
Whether a resource answers.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saltext_logilab.within import salted

if TYPE_CHECKING:
    __resource__: dict[str, Any]
    __resource_funcs__: dict[str, Any]


def ping() -> bool:
    """
    Return True where commands can run inside; else an error says why they cannot.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker' test.ping
    """
    with salted.errors():
        return bool(__resource_funcs__[f"{__resource__['type']}.ping"]())


def echo(text: str) -> str:
    """
    Return a text.

    CLI Example:

    .. code-block:: bash

        salt -C 'T@docker' test.echo 'foo bar'
    """
    return text
