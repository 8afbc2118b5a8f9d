"""The source files that a training rests on, as one hash, by which work of a run that was killed is taken up or left."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
import sysconfig
import time
import uuid
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fti_assets.core.functions import capture_text

_STARTED = time.time()
_LIBRARIES = tuple(
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
)  # fmt: skip
_TRAINED_BY = (
    "fti-assets", "numpy", "torch", "pytorch-lightning", "lightning", "scikit-learn", "lightgbm", "xgboost", "xgboost-cpu", "optuna",
)  # fmt: skip
_FRAMEWORKS = {"torch", "lightning", "pytorch_lightning", "lightning_fabric", "torchmetrics", "fti_assets", "builtins"}


def source_hash(*owners: Any, within: str = "") -> str:
    """A hash of the files that functions and classes are written in, and of the user's own modules that these import, as hex digits.

    Any change of such a file is another hash, also of a comment. Where the code that runs cannot be read, since it was typed into a
    console or its file was saved after this process began, each call gives another hash, so that nothing is taken for the same.

    Args:
        owners: the functions and classes.
        within: an installed package whose modules are the user's own too.
    """
    waiting = {_name_of(one): _own_file(one) for one in owners if _top(_name_of(one)) not in _FRAMEWORKS}
    hashes: dict[str, str | None] = {}
    while waiting:
        name, file = waiting.popitem()
        hashes[name] = file
        if file is None or (_is_installed(file) and _top(name) != within):
            continue
        for imported in _imported_by(name, file):
            if imported in hashes or _top(imported) in _FRAMEWORKS | sys.stdlib_module_names:
                continue
            place = _file_of(imported)
            if place is not None and (not _is_installed(place) or _top(imported) == within):
                waiting[imported] = place
    lines = sorted(f"{Path(file).name} {_content(file)}" if file else _unreadable() for file in hashes.values())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def function_hash(function: Any) -> str:
    """The hash of what a declaration's function is written in, and of what it holds besides: what it closes over, its defaults, the object
    that it is bound to. Its package is the user's own, also if it is installed. What cannot be put into words is never the same."""
    source = source_hash(function, within=_top(_name_of(function)))
    capture = capture_text(function, lambda _: _unreadable())
    return hashlib.sha256(f"{source}\n{capture}".encode()).hexdigest()[:16] if capture else source


def module_hash(module: Any, *others: Any) -> str:
    """The hash of what a torch module, the modules in it and the functions that these hold are written in; others are classes."""
    owners: list[Any] = [type(part) for part in module.modules()]
    for part in module.modules():
        values = [one.func if isinstance(one, functools.partial) else one for one in vars(part).values()]
        owners += [one for one in values if inspect.isfunction(one) or inspect.isclass(one)]
    return source_hash(*owners, *others)


@lru_cache(maxsize=1)
def installed() -> tuple[tuple[str, str], ...]:
    """The releases of this library and of those that train and draw: with another one, a training and its files may be others."""
    releases = []
    for name in _TRAINED_BY:
        with suppress(PackageNotFoundError):
            releases.append((name, version(name)))
    return tuple(releases)


def _name_of(owner: Any) -> str:
    return str(getattr(owner, "__module__", None) or type(owner).__module__)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _own_file(owner: Any) -> str | None:
    if (file := _file_of(_name_of(owner))) is not None:
        return file
    code = getattr(inspect.unwrap(owner), "__code__", None)  # its module may have been run without an import
    return code.co_filename if code is not None and Path(code.co_filename).is_file() else None


def _file_of(name: str) -> str | None:
    """The file of a module, imported or not; None for one that has none. Nothing is imported for it."""
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        return str(file) if file and Path(file).is_file() else None
    spec = _spec_of(name)
    return spec.origin if spec is not None and spec.has_location else None


def _spec_of(name: str) -> Any:
    path, parent = None, name.rpartition(".")[0]
    if parent:
        around = _spec_of(parent) if parent not in sys.modules else None
        path = getattr(sys.modules.get(parent), "__path__", None) or getattr(around, "submodule_search_locations", None)
        if path is None:
            return None
    for finder in sys.meta_path:
        with suppress(Exception):  # whatever the finders of others raise
            if (spec := finder.find_spec(name, path, None)) is not None:
                return spec
    return None


@lru_cache(maxsize=4096)
def _is_installed(file: str) -> bool:
    path = Path(file).resolve()
    return any(path.is_relative_to(library) for library in _LIBRARIES) or "site-packages" in path.parts


def _imported_by(name: str, file: str) -> tuple[str, ...]:
    """The names of the modules that a file's code may import, anywhere in it, with the packages around them."""
    package = name if Path(file).name == "__init__.py" else name.rpartition(".")[0]
    try:
        status = Path(file).stat()
        return _parsed(package, file, status.st_mtime_ns, status.st_size)
    except (OSError, SyntaxError, ValueError):  # compiled, or being written just now
        return ()


@lru_cache(maxsize=4096)  # each build asks twice, and to parse a system's files takes a tenth of a second
def _parsed(package: str, file: str, mtime_ns: int, size: int) -> tuple[str, ...]:
    """What a file of a package imports, as it is since a time and with a size."""
    imported: dict[str, None] = {}
    for node in ast.walk(ast.parse(Path(file).read_bytes())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            around = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*around, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{one.name}" for one in node.names)]
        for one in names:
            parts = one.split(".")
            imported |= {".".join(parts[:end]): None for end in range(1, len(parts) + 1) if all(parts[:end])}
    return tuple(imported)


def _content(file: str) -> str:
    try:
        if Path(file).stat().st_mtime > _STARTED:
            return _unreadable()  # what runs may be what was there before
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return _unreadable()


def _unreadable() -> str:
    return uuid.uuid4().hex
