"""Writing a new system from the template beside this module, whole or not at all."""

from __future__ import annotations

import importlib.util
import keyword
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from fti_assets.core.sql import is_name
from fti_assets.errors import DeclarationError, StoreError

_TOKEN = "__SYSTEM__"
_SUFFIX = ".tmpl"
_RESERVED_NAMES = {"definitions", "tests"}


def write_system(name: str, folder: str | Path | None = None) -> Path:
    """Write a small working system: features, a model, predictions, their tests and a workflow.

    Args:
        name: the name of the system and of its package, ``[a-z_][a-z0-9_]*``.
        folder: where to write it, new or empty; by default a folder of that name here.

    Returns:
        The folder.

    Raises:
        DeclarationError: the name cannot be that of a package.
        StoreError: the folder holds something, or cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as here:
    ...     made = write_system("shop_returns", Path(here) / "shop")
    ...     sorted(path.name for path in made.iterdir() if path.is_dir())
    ['.github', 'shop_returns', 'tests']
    """
    _refuse_name(name)
    target = Path(folder) if folder is not None else Path(name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        problem = "is not empty" if target.is_dir() else "is a file"
        raise StoreError(f"{target} {problem}: name a new folder for the system, fti init {name} --folder FOLDER")
    half_made = target.absolute().parent / f".{target.name}-{uuid.uuid4().hex[:8]}"
    try:
        for path, text in _files(name):
            file = half_made / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        os.replace(half_made, target)
    except OSError as error:
        raise StoreError(f"the system {name!r} cannot be written to {target}: {error}. Nothing was written") from error
    finally:
        shutil.rmtree(half_made, ignore_errors=True)
    return target


def _refuse_name(name: str) -> None:
    if not is_name(name):
        raise DeclarationError(
            f"{name!r} cannot be the name of a system: write small letters, digits and '_', not beginning with a digit, as in "
            "'my_system'"
        )
    if keyword.iskeyword(name) or name in sys.stdlib_module_names or name in _RESERVED_NAMES or _is_installed(name):
        raise DeclarationError(f"{name!r} is a name that Python or an installed package has already: give another one")


def _is_installed(name: str) -> bool:
    """Whether a package of that name can be imported; a mere folder of that name does not count."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def _files(name: str) -> Iterator[tuple[PurePosixPath, str]]:
    """Each file of the new system: its path and its text."""
    for path, file in _walk(resources.files(__package__) / "template", PurePosixPath()):
        parts = [part.replace(_TOKEN, name).replace("dot_", ".", part.startswith("dot_")) for part in path.parts]
        yield PurePosixPath(*parts).with_suffix(""), file.read_text(encoding="utf-8").replace(_TOKEN, name)


def _walk(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            yield from _walk(entry, path / entry.name)
        elif entry.name.endswith(_SUFFIX):
            yield path / entry.name, entry
