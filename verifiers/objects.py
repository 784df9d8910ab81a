"""Verifiers by the place of their code: what module:object names, also in the current folder."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from typing import Any

from verifiers.adapt import as_verifier, made
from verifiers.names import nearest
from verifiers.types import Verifier


def imported(name: str) -> Any:
    """Return the object that module:object names; modules of the current folder are found as well. Runs the module.

    Args:
        name: such as "my_rewards:brightness" or "package.module:Class.attribute".

    Raises:
        ValueError: there is no such module or object, or the module cannot be imported.
    """
    module, _, path = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise ValueError(
                f"{name!r} names no module: there is no {error.name!r} in {os.getcwd()} or among installed packages"
            ) from None
        raise ValueError(f"{name!r} cannot be imported: {error}") from error
    except Exception as error:
        raise ValueError(f"{name!r} cannot be imported: {type(error).__name__}: {error}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{name!r}: {module} has no {part!r}{nearest(part, public(found))}")
        found = getattr(found, part)
    return found


def public(found: Any) -> list[str]:
    """Return the names in a module that could be meant.

    Args:
        found: a module or class.
    """
    return [name for name, value in vars(found).items() if not name.startswith("_") and callable(value)]


def by_object(name: str, device: Any = "cpu") -> Verifier:
    """Return the verifier that module:object names: an instance, a function, a class, or a function that builds one.

    Args:
        name: module:object.
        device: goes to a class or builder with a parameter of this name.

    Raises:
        ValueError: there is none, or it is no verifier.
    """
    found = imported(name)
    if isinstance(found, type) or (inspect.isroutine(found) and builds(found)):
        found = made(found, device)
    if not callable(found):
        raise ValueError(f"{name!r} is {found!r}, which cannot be called; name a verifier, a function or a class")
    own = getattr(found, "name", None)
    return as_verifier(found, "" if own and isinstance(own, str) else name)


def builds(found: Any) -> bool:
    """Return whether a function makes a verifier: nothing but `device` or options with defaults goes in.

    Args:
        found: a function.
    """
    parameters = inspect.signature(found).parameters.values()
    needed = {p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    return needed <= {"device"} and not any(p.kind is p.VAR_POSITIONAL for p in parameters)
