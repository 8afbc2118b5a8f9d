"""Paths to Python objects, as YAML writes them: ``weather.py:weather`` beside the file, or ``my_project.features.weather``."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg

from fti_assets.errors import DeclarationError, listed


def is_path(reference: str) -> bool:
    """Whether it is a path to a Python object, not the name of a component."""
    return "." in reference or ":" in reference


def last_name(reference: str) -> str:
    """The object's own name in a path.

    >>> last_name("weather.py:hourly"), last_name("my_project.features.weather")
    ('hourly', 'weather')
    """
    return reference.rpartition(":" if ":" in reference else ".")[2]


def place_of(context: dg.ComponentLoadContext) -> str:
    """The file and line where a component stands."""
    positions = context.resolution_context.source_position_tree
    return str(positions.position if positions else context.path)


def python_object(reference: Any, context: dg.ComponentLoadContext | None, *, what: str) -> Any:
    """The object that a path names; what is no text is the object itself.

    Raises:
        DeclarationError: the module or the object is not there.
    """
    if not isinstance(reference, str):
        return reference
    module_name, _, name = reference.rpartition(":" if ":" in reference else ".")
    if not module_name or not name:
        raise DeclarationError(
            f"{what} is {reference!r}: write <file>.py:<name> for a file beside the defs.yaml, or <package>.<module>.<name>"
        )
    module = _module(module_name, context, what=f"{what} {reference!r}")
    if not hasattr(module, name):
        there = [each for each, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        raise DeclarationError(f"{what} {reference!r}: {module.__name__} has no {name!r}; it has {listed(there)}")
    return getattr(module, name)


def _module(name: str, context: dg.ComponentLoadContext | None, *, what: str) -> ModuleType:
    if name.endswith(".py"):
        return _module_beside(name, context, what=what)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise DeclarationError(f"{what}: importing {name} failed: {error}") from error
        raise DeclarationError(
            f"{what}: there is no module {error.name!r}; for a file beside the defs.yaml write <file>.py:<name>"
        ) from error


def _module_beside(name: str, context: dg.ComponentLoadContext | None, *, what: str) -> ModuleType:
    if context is None:
        raise DeclarationError(f"{what}: a component made in Python has no folder: give the object itself")
    folder: Path = context.path if context.path.is_dir() else context.path.parent
    if not (folder / name).is_file():
        there = sorted(path.name for path in folder.glob("*.py"))
        raise DeclarationError(f"{what}: there is no file {name!r} in {folder}; there is {listed(there)}")
    module: ModuleType = context.load_defs_relative_python_module(folder / name)
    return module
