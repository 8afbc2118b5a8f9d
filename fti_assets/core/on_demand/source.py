"""The source file of a module, found without importing it or the packages that it lies in."""

from __future__ import annotations

import ast
import importlib.machinery
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ShippedFile:
    """The source of a module that came with a model, in one file of it; no file of this machine."""

    name: str
    content: bytes
    where: str

    def read_bytes(self) -> bytes:
        return self.content

    def __str__(self) -> str:
        return self.where


_shipped: ContextVar[Mapping[str, ShippedFile] | None] = ContextVar("fti_shipped", default=None)


@contextmanager
def reading_shipped(files: Mapping[str, ShippedFile]) -> Iterator[None]:
    """Let ``source_file`` find these modules for a block, and no others."""
    token = _shipped.set(files)
    try:
        yield
    finally:
        _shipped.reset(token)


def source_file(module: str) -> Path | ShippedFile | None:
    """The file of a module, or None if it has none, as in a notebook or where it is not installed.

    >>> source_file("fti_assets.errors").name
    'errors.py'
    """
    shipped = _shipped.get()
    if shipped is not None:
        return shipped.get(module)
    loaded = sys.modules.get(module)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
    else:
        spec = _spec(module)
        file = None if spec is None else spec.origin
    return Path(file) if file is not None and file.endswith(".py") and Path(file).is_file() else None


def packages_around(module: str) -> list[str]:
    """The packages that a module lies in, the outermost first.

    >>> packages_around("a.b.c")
    ['a', 'a.b']
    """
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def absolute_module(node: ast.ImportFrom, package: str) -> str:
    """The module that an import names, from the package that a relative one starts from."""
    if not node.level:
        return node.module or ""
    parents = package.split(".")
    base = parents[: len(parents) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _spec(module: str) -> importlib.machinery.ModuleSpec | None:
    """What ``importlib.util.find_spec`` says, which would run the code of the packages around the module."""
    parts = module.split(".")
    place: Sequence[str] | None = None
    spec = None
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        spec = _in_meta_path(name, place)
        if spec is None:
            return None
        loaded = sys.modules.get(name)
        place = getattr(loaded, "__path__", None) or spec.submodule_search_locations
        if place is None and end < len(parts):
            return None
    return spec


def _in_meta_path(name: str, place: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, place)
        except KeyError:  # a folder without __init__.py asks for its parent in sys.modules as it is found
            folders = [str(folder) for one in place or () if (folder := Path(one, name.rpartition(".")[2])).is_dir()]
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True) if folders else None
            if spec is not None:
                spec.submodule_search_locations = folders
        except (ImportError, AttributeError, ValueError, TypeError):  # of a finder of someone else's
            continue
        if spec is not None:
            return spec
    return None
