"""The source of an on-demand function: its module and the modules of the user's own that it imports.

An app ships that source, so it may import only numpy, ``fti_assets``, what is deterministic in the standard library, and
further modules that keep to the same. It is read, never run, to see whether it does.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fti_assets.core.on_demand.source import packages_around, source_file
from fti_assets.errors import DeclarationError
from fti_assets.features.groups.on_demand_rules import Import, imports_of, is_own, problems_of, refused_import

_INSTALLED = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
_REMEDY = (
    "an on-demand function runs in the app too, which has only numpy and fti_assets, and must give the same there. Compute it "
    "with numpy, math, datetime and their like, or move the function to a module of its own that imports no more than that"
)


def check_source(module: str, *, what: str) -> None:
    """Refuse an on-demand function whose module, or one that it imports, asks for what an app does not have.

    A module without a source file, as in a notebook, is not looked at: no model can be made with it.

    Args:
        module: the function's module.
        what: the function, for errors.

    Raises:
        DeclarationError: it names the module, the line, what it says and what to do.
    """
    for source in _sources(module):
        where = f"of module {source.module!r}"
        for asked in source.imports:
            why = refused_import(asked) or (_not_own(asked, module) if is_own(asked) else None)
            if why is not None:
                raise DeclarationError(f"{what}: line {asked.line} {where} says {asked.text!r}, which {why}; {_REMEDY}")
        for problem in problems_of(source.tree):
            raise DeclarationError(
                f"{what}: line {problem.line} {where} says {problem.text!r}, which {problem.why}; {_REMEDY}"
            )


def module_sha256(module: str) -> str:
    """The SHA-256 of a module's source file.

    Raises:
        DeclarationError: the module has no source file, as in a notebook or a console.
    """
    file = source_file(module)
    if file is None:
        raise DeclarationError(
            f"on-demand features of module {module!r} have no source file: put them in a module that the app can import"
        )
    return hashlib.sha256(file.read_bytes()).hexdigest()


def imported_modules(module: str) -> list[str]:
    """The modules of the user's own that a module imports, near and far; packages that do nothing are left out."""
    return sorted({source.module for source in _sources(module) if source.module != module and source.does_something})


@dataclass(frozen=True)
class _Source:
    module: str
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def does_something(self) -> bool:
        return any(not isinstance(node, ast.Expr) for node in self.tree.body)


def _sources(module: str) -> Iterator[_Source]:
    """A module, the packages that it lies in, and the user's own modules that they import."""
    waiting, seen = [module, *packages_around(module)], set[str]()
    while waiting:
        name = waiting.pop(0)
        file = source_file(name)
        if name in seen or file is None:
            continue
        seen.add(name)
        try:
            tree = ast.parse(file.read_bytes())
        except SyntaxError as error:
            raise DeclarationError(f"module {name!r} cannot be read: {error}") from error
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        source = _Source(name, tree, tuple(imports_of(tree, package)))
        yield source
        for asked in source.imports:
            if is_own(asked) and _not_own(asked, module) is None:
                inner = [f"{asked.module}.{name}" for name in asked.names]
                waiting += [asked.module, *packages_around(asked.module), *inner]


def _not_own(asked: Import, module: str) -> str | None:
    """Why a module that is neither numpy's, fti_assets' nor the standard library's is not the user's own either."""
    top = asked.module.partition(".")[0]
    if top == module.partition(".")[0]:
        return None
    spec = importlib.util.find_spec(top) if top not in sys.modules else sys.modules[top].__spec__
    places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
    files = [Path(place).resolve() for place in places if place is not None]
    if not files:
        return f"takes {top!r}, which is not there"
    installed = any(file.is_relative_to(folder) for file in files for folder in _INSTALLED)
    return f"takes {top!r}, which an app does not have" if installed else None
