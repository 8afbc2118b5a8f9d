"""The source file of a module, found without importing it or the packages that it lies in."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_MOST_REMEMBERED = 1_000


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


_shipment: ContextVar[Mapping[str, ShippedFile] | None] = ContextVar("fti_shipped", default=None)


@contextmanager
def reading_shipped(files: Mapping[str, ShippedFile]) -> Iterator[None]:
    """Let ``source_file`` find these modules for a block, and no others."""
    token = _shipment.set(files)
    try:
        yield
    finally:
        _shipment.reset(token)


@dataclass
class _Readings:
    """What was asked of the disk while something was computed: which file each module has, and what was in the files."""

    files: dict[str, str | None] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    has_changed: bool = False

    def note(self, path: str, content: bytes) -> None:
        digest = hashlib.sha256(content).digest()
        self.has_changed = self.has_changed or self.contents.setdefault(path, digest) != digest

    def hold(self) -> bool:
        """Whether the disk would say the same now."""
        try:
            return (
                not self.has_changed
                and all(
                    (None if (file := _file_of(module)) is None else str(file)) == path
                    for module, path in self.files.items()
                )
                and all(hashlib.sha256(Path(path).read_bytes()).digest() == old for path, old in self.contents.items())
            )
        except OSError:
            return False


_readings: ContextVar[_Readings | None] = ContextVar("fti_readings", default=None)


def remember(compute: Callable[..., T]) -> Callable[..., T]:
    """A function of texts that reads nothing but sources, by ``source_file`` and ``source_of``: it computes again when one has changed.

    Reading a module for what it means takes a hundred times as long as reading its bytes, and who loads, promotes and checks a model
    does it again and again. What was raised is not remembered, nor what is said of shipped modules, which are read once.
    """
    results: dict[tuple[str, ...], tuple[_Readings, T]] = {}

    @wraps(compute)
    def call(*arguments: str) -> T:
        if _shipment.get() is not None:
            return compute(*arguments)
        before = results.get(arguments)
        if before is not None and before[0].hold():
            outer = _readings.get()
            if outer is not None:  # what rests on this rests on what this has read
                outer.files |= before[0].files
                outer.contents |= before[0].contents
            return before[1]
        readings = _Readings()
        token = _readings.set(readings)
        try:
            result = compute(*arguments)
        finally:
            _readings.reset(token)
        if len(results) >= _MOST_REMEMBERED:
            results.clear()
        results[arguments] = readings, result
        return result

    return call


def source_file(module: str) -> Path | ShippedFile | None:
    """The file of a module, or None if it has none, as in a notebook or where it is not installed.

    >>> source_file("fti_assets.errors").name
    'errors.py'
    """
    file = _file_of(module)
    if (readings := _readings.get()) is not None:
        readings.files[module] = None if file is None else str(file)
    return file


def source_of(file: Path | ShippedFile) -> bytes:
    """What is in a file that ``source_file`` gave."""
    content = file.read_bytes()
    if (readings := _readings.get()) is not None:
        readings.note(str(file), content)
    return content


def _file_of(module: str) -> Path | ShippedFile | None:
    files = _shipment.get()
    if files is not None:
        return files.get(module)
    module_here = sys.modules.get(module)
    if module_here is not None:
        file = getattr(module_here, "__file__", None)
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
        module_here = sys.modules.get(name)
        place = getattr(module_here, "__path__", None) or spec.submodule_search_locations
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
