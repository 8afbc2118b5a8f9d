"""The source file of a module, found without importing it or the packages that it lies in."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_MOST_REMEMBERED = 1_000
_MOST_KEPT = 150_000
"""Bytes of sources, whose trees take a hundred times as much."""


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
    size: int = 0
    """Bytes of all contents."""

    def note(self, path: str, content: bytes) -> None:
        if path not in self.contents:
            self.size += len(content)
        self._note(path, hashlib.sha256(content).digest())

    def _note(self, path: str, digest: bytes) -> None:
        self.has_changed = self.has_changed or self.contents.setdefault(path, digest) != digest

    def rest_on(self, others: _Readings) -> None:
        """Note what was read for something that this is made of."""
        self.files |= others.files
        self.has_changed = self.has_changed or others.has_changed
        for path, digest in others.contents.items():
            self._note(path, digest)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note what is read in a block, here and then where what is read around it is noted."""
        outer = _readings.get()
        token = _readings.set(self)
        try:
            yield
        finally:
            _readings.reset(token)
        if outer is not None:
            outer.rest_on(self)

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
            if (outer := _readings.get()) is not None:
                outer.rest_on(before[0])
            return before[1]
        readings = _Readings()
        with readings.noting():
            result = compute(*arguments)
        if len(results) >= _MOST_REMEMBERED:
            results.clear()
        results[arguments] = readings, result
        return result

    return call


def share(make: Callable[..., T]) -> Callable[..., AbstractContextManager[T]]:
    """What a function of texts makes of sources, for blocks that may read further ones: made again when one of them has changed.

    One block at a time has it, so that threads do not meet in it. What a block fails with, and what is large, is not kept.
    """
    results_by_key: dict[tuple[str, ...], tuple[Mapping[str, ShippedFile] | None, _Readings, T]] = {}

    @contextmanager
    def use(*arguments: str) -> Iterator[T]:
        files = _shipment.get()
        before = results_by_key.pop(arguments, None)
        if before is not None and before[0] is files and (files is not None or before[1].hold()):
            _, readings, one = before
            with readings.noting():
                yield one
        else:
            readings = _Readings()
            with readings.noting():
                one = make(*arguments)
                yield one
        results_by_key[arguments] = files, readings, one
        while sum(readings.size for _, readings, _ in [*results_by_key.values()]) > _MOST_KEPT:
            results_by_key.pop(next(iter([*results_by_key])), None)

    return use


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
