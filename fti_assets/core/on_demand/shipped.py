"""Modules of on-demand functions that come with a model in one file: which they are, and how they are imported from there.

They are run from their bytes and see each other alone: nothing stays in ``sys.modules`` or on the import path, so that two builds
with other versions of one module answer side by side in a process.
"""

from __future__ import annotations

import builtins
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from fti_assets.core.manifest import OnDemandCall
from fti_assets.core.on_demand.call import check_source
from fti_assets.core.on_demand.declaring import texts_beside
from fti_assets.core.on_demand.shipped_text import SHIPPED, is_text_path, read_checked
from fti_assets.core.on_demand.syntax.source import ShippedFile, packages_around, reading_shipped, source_file
from fti_assets.core.on_demand.tricks import around
from fti_assets.errors import DamagedError

_PACKAGE = "__init__.py"
_NAME = re.compile(r"[^\W\d]\w*(/[^\W\d]\w*)*\.py")


def sources_of(calls: Sequence[OnDemandCall]) -> dict[str, bytes]:
    """The source of every module that some on-demand functions need, by its path, ``features/calendar.py``, and the texts beside it.

    Raises:
        PredictionError: one is not here, or means something else than what the model learned from.
        DeclarationError: a text cannot be read, or is another one than the module says.
    """
    sources: dict[str, bytes] = {}
    for call in calls:
        check_source(call)
        for name in around(call.module, {}, frozenset(one.package for one in call.requires)):
            file = source_file(name)
            if file is not None:
                path = name.replace(".", "/")
                path = f"{path}/{_PACKAGE}" if file.name == _PACKAGE else f"{path}.py"
                sources[path] = file.read_bytes()
                for text, sha256 in texts_beside(name).items():
                    sources[_beside(path, text)] = read_checked(Path(str(file)).parent / text, sha256, name)
    return sources


class ShippedModules:
    """Modules by their source, imported when they are first asked for.

    Args:
        sources: as ``sources_of`` gives them.
        where: the file that they came in, for errors and tracebacks.

    Raises:
        DamagedError: a path is no module's.
    """

    def __init__(self, sources: Mapping[str, bytes], *, where: str) -> None:
        self._files: dict[str, ShippedFile] = {}
        self._modules: dict[str, ModuleType] = {}
        self._texts = {path: content for path, content in sources.items() if is_text_path(path)}
        self._folders: dict[str, str] = {}
        self._loading = threading.RLock()  # functions may import when they are called, in any thread
        for path, content in sources.items():
            if path in self._texts:
                continue
            if not _NAME.fullmatch(path):
                raise DamagedError(f"{where} has a module at {path!r:.100}, which is no module's path: make it again")
            name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            self._files[name] = ShippedFile(path.rpartition("/")[2], content, f"{where}/{path}")
            self._folders[name] = _beside(path, "")
        self._packages = {package for name in self._files for package in packages_around(name)}

    @contextmanager
    def allow_reading(self) -> Iterator[None]:
        """Let on-demand functions be read and compared from here, for a block."""
        with reading_shipped(self._files):
            yield

    def load(self, name: str) -> ModuleType:
        """A module of these, with the packages that it lies in.

        Raises:
            ModuleNotFoundError: it is none of these.
        """
        with self._loading:
            for package in packages_around(name):
                self._one(package)
            return self._one(name)

    def _one(self, name: str) -> ModuleType:
        if (loaded_module := self._modules.get(name)) is not None:
            return loaded_module
        file = self._files.get(name)
        if file is None and name not in self._packages:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        module = self._modules[name] = ModuleType(name)
        is_package = name in self._packages or (file is not None and file.name == _PACKAGE)
        parent, _, own = name.rpartition(".")
        vars(module)["__package__"] = name if is_package else parent
        vars(module)["__builtins__"] = vars(builtins) | {"__import__": self._import}
        if is_package:
            vars(module)["__path__"] = []
        if file is not None:
            vars(module)["__file__"] = str(file)
            folder = self._folders[name]
            texts = {one.removeprefix(folder): text for one, text in self._texts.items() if one.startswith(folder)}
            vars(module)[SHIPPED] = texts
            try:
                _run(module, file)
            except BaseException:
                del self._modules[name]
                raise
        if parent:
            setattr(self._modules[parent], own, module)
        return module

    def _import(
        self,
        name: str,
        names: Mapping[str, Any] | None = None,
        local: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """What ``import`` calls in these modules; others are imported by Python."""
        full = _absolute(name, str((names or {}).get("__package__") or ""), level)
        if full not in self._files and full not in self._packages:
            return builtins.__import__(name, names, local, fromlist or (), level)
        module = self.load(full)
        if not fromlist:
            return module if level else self.load(full.partition(".")[0])
        for one in vars(module).get("__all__", ()) if "*" in fromlist else fromlist:
            inner = f"{full}.{one}"
            if not hasattr(module, one) and (inner in self._files or inner in self._packages):
                self.load(inner)
        return module


def _run(module: ModuleType, file: ShippedFile) -> None:
    name = module.__name__
    # While it runs, since dataclasses look for the module of a class there.
    is_first = sys.modules.setdefault(name, module) is module
    try:
        exec(compile(file.content, str(file), "exec", dont_inherit=True), vars(module))
    finally:
        if is_first:
            sys.modules.pop(name, None)


def _beside(path: str, file: str) -> str:
    """The path of a file in the folder of a module.

    >>> _beside("features/calendar.py", "words.txt"), _beside("calendar.py", "words.txt")
    ('features/words.txt', 'words.txt')
    """
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{file}"


def _absolute(name: str, package: str, level: int) -> str:
    if not level:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])
