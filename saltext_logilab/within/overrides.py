"""
Functions that several resource types have in common, taken over into a module that Salt's loader has loaded.

Salt gives ``__resource__`` and its other names to the modules that it loads itself, and shows the functions that are
defined in them.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

from saltext_logilab.within import functions, redirected


def preload() -> None:
    """Import all that resources' functions and states are made of, once in a minion: each job's process then has it."""
    for package in (functions, redirected):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            import_module(found.name)


def take_over(shared: ModuleType, into: dict[str, Any], spelling: Mapping[str, str] | None = None) -> None:
    """
    Define all that ``shared`` defines in the module whose globals are ``into`` as if it were written there.

    What the module has defined itself before stays.

    spelling
        What stands in the place of certain words of the docstrings.
    """
    for name, value in vars(shared).items():
        if isinstance(value, FunctionType) and value.__globals__ is vars(shared) and name not in into:
            made = FunctionType(value.__code__, into, name, value.__defaults__, value.__closure__)
            made.__kwdefaults__, made.__annotations__ = value.__kwdefaults__, value.__annotations__
            made.__doc__ = value.__doc__
            for word, own in (spelling or {}).items():
                made.__doc__ = (made.__doc__ or "").replace(word, own)
            into[name] = made
        elif name == "__func_alias__" or not name.startswith("__"):
            into.setdefault(name, value)
