"""Libraries of the extras: imported at their first use, so that a run without an extra can leave its tests out."""

from __future__ import annotations

import importlib
from typing import Any


class MissingLibrary(RuntimeError):  # noqa: N818 - the field's word
    """A library that a test needs is not installed."""


class Optional:
    """Stands for a module until the first look at one of its attributes."""

    def __init__(self, name: str, extra: str) -> None:
        self._name = name
        self._extra = extra

    def __getattr__(self, attribute: str) -> Any:
        try:
            module = importlib.import_module(self._name)
        except ImportError as err:
            raise MissingLibrary(f"{self._name} is not installed: pip install -e '.[{self._extra}]'") from err
        return getattr(module, attribute)
