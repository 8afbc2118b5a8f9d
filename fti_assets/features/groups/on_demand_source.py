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
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from fti_assets.core.on_demand.syntax.names import Names, is_own, text_of
from fti_assets.core.on_demand.syntax.source import absolute_module, packages_around, source_file
from fti_assets.core.on_demand.syntax.state import setters_in_calls, setters_of
from fti_assets.errors import DeclarationError, list_some
from fti_assets.features.groups.on_demand_problems import DETERMINISTIC, nodes_of, problems_of

# A module of these folders comes from a package, which an app may not have; one elsewhere is the user's own.
_SITE_PACKAGES = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
_REMEDY = (
    "an on-demand function runs in the app too, which has only numpy and fti_assets, and must give the same there. Compute it "
    "with numpy, math, datetime and their like, or move the function to a module of its own that imports no more than that. A package "
    "that the app is to install too is named by the function, as in requires=['tokenizers']"
)
_STATE_REMEDY = (
    "an on-demand function must give the same wherever it runs. Set it for a block inside the function: `with "
    "np.errstate(...):`, `with decimal.localcontext() as context:`, `with warnings.catch_warnings():`"
)


def check_source(module: str, *, what: str, requires: Collection[str] = ()) -> None:
    """Refuse an on-demand function whose module, or one that it imports, asks for what an app does not have.

    A module without a source file, as in a notebook, is not looked at: no model can be made with it.

    Args:
        module: the function's module.
        what: the function, for errors.
        requires: the packages of others that it says it needs.

    Raises:
        DeclarationError: it names the module, the line, what it says and what to do.
    """
    read: dict[str, tuple[ast.Module, Names]] = {}
    for source in _sources(module):
        read[source.module] = source.tree, source.names
        where = f"of module {source.module!r}"
        for statement in source.imports:
            if statement.module.partition(".")[0] in requires:
                continue
            why = refused_import(statement) or (_not_own(statement, module) if is_own(statement.module) else None)
            if why is not None:
                raise DeclarationError(
                    f"{what}: line {statement.line} {where} says {statement.text!r}, which {why}; {_REMEDY}"
                )
        for problem in problems_of(source.tree, source.names, _refused_module):
            raise DeclarationError(
                f"{what}: line {problem.line} {where} says {problem.text!r}, which {problem.why}; {_REMEDY}"
            )
    runs = {"where it is imported": setters_of, "in an on-demand function": setters_in_calls}
    for when, setters in runs.items():
        for setter in setters(read):
            raise DeclarationError(
                f"{what}: line {setter.node.lineno} of module {setter.module!r} says {ast.unparse(setter.node)!r} {when}, "
                f"which sets a state of {setter.sets.partition('.')[0]!r} for this process or thread alone; {_STATE_REMEDY}"
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
    # Of the file's bytes, not of the function's text: constants and helpers beside it are part of the answer.
    return hashlib.sha256(file.read_bytes()).hexdigest()


def imported_modules(module: str) -> list[str]:
    """The modules of the user's own that a module imports, near and far; packages that do nothing are left out."""
    return sorted({source.module for source in _sources(module) if source.module != module and source.does_something})


@dataclass(frozen=True)
class _Source:
    module: str
    tree: ast.Module
    names: Names
    imports: tuple[Import, ...]

    @property
    def does_something(self) -> bool:
        return any(not isinstance(node, ast.Expr) for node in self.tree.body)


def _sources(module: str) -> Iterator[_Source]:
    """A module, the packages that it lies in, and the user's own modules that they import."""
    waiting, read = [module, *packages_around(module)], set[str]()
    while waiting:
        name = waiting.pop(0)
        file = source_file(name)
        if name in read or file is None:
            continue
        read.add(name)
        try:
            tree = ast.parse(file.read_bytes())
        except SyntaxError as error:
            raise DeclarationError(f"module {name!r} cannot be read: {error}") from error
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        names = Names(tree, package)
        source = _Source(name, tree, names, tuple(imports_of(tree, package, names)))
        yield source
        for statement in source.imports:
            if is_own(statement.module) and _not_own(statement, module) is None:
                inner = [f"{statement.module}.{name}" for name in statement.names]
                # A package's __init__ runs when a module of it is imported, so it counts as imported.
                waiting += [statement.module, *packages_around(statement.module), *inner]


def _not_own(statement: Import, module: str) -> str | None:
    """Why a module that is neither numpy's, fti_assets' nor the standard library's is not the user's own either."""
    top = statement.module.partition(".")[0]
    if top == module.partition(".")[0]:
        return None
    spec = importlib.util.find_spec(top) if top not in sys.modules else sys.modules[top].__spec__
    places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
    files = [Path(place).resolve() for place in places if place is not None]
    if not files:
        return f"takes {top!r}, which is not there"
    is_installed = any(file.is_relative_to(folder) for file in files for folder in _SITE_PACKAGES)
    return f"takes {top!r}, which an app does not have" if is_installed else None


_CHANGING = frozenset({"random", "secrets", "time", "uuid"})
_INSTALLED_PARTS = ("importlib.", "logging.config", "logging.handlers")
_OWN = {
    "fti_assets",
    "fti_assets.on_demand",
    "fti_assets.Vector",
    "fti_assets.shipped_text",
    "fti_assets.errors",
    "fti_assets.features.groups.on_demand",
    "fti_assets.core.times",
}
_DIFFERS = "which is another in training than when it serves"


@dataclass(frozen=True)
class Import:
    """A module that a source asks for, ``names`` those that it takes from it, and where it says so."""

    module: str
    names: tuple[str, ...]
    line: int
    text: str


def imports_of(tree: ast.Module, package: str, names: Names) -> Iterator[Import]:
    """Every import of a module, those inside functions included, those for type checkers alone left out.

    Args:
        tree: the module's source.
        package: the package that relative imports start from.
        names: what its names stand for.
    """
    for node in nodes_of(tree, names):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, (), node.lineno, ast.unparse(node)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            members = tuple(alias.name for alias in node.names)
            yield Import(absolute_module(node, package), members, node.lineno, ast.unparse(node))
        elif isinstance(node, ast.Call) and names.paths(node.func) & {"importlib.import_module", "builtins.__import__"}:
            name = text_of(node.args[0]) if node.args else None
            if name is not None and all(part.isidentifier() for part in name.split(".")):
                yield Import(name, (), node.lineno, ast.unparse(node))


def refused_import(statement: Import) -> str | None:
    """Why an app could not import it or would get another answer; None for what is fine or a module of the user's own."""
    top = statement.module.partition(".")[0]
    if top == "numpy":
        is_random = statement.module.startswith(("numpy.random", "numpy.matlib")) or (
            statement.module == "numpy" and "random" in statement.names
        )
        return f"draws at random, {_DIFFERS}" if is_random else None
    if top == "fti_assets":
        asked_for = (
            [f"{statement.module}.{name}" for name in statement.names]
            if statement.module == top
            else [statement.module]
        )
        beyond = [name for name in asked_for if name not in _OWN]
        return f"takes {list_some(beyond)}, which needs Dagster or pandas: an app has neither" if beyond else None
    if statement.module.startswith(_INSTALLED_PARTS):
        return f"takes {statement.module!r}, which reads what is installed: write the import, or the values, out"
    if top in _CHANGING:
        return f"takes {top!r}, {_DIFFERS}"
    if top in sys.stdlib_module_names and top not in DETERMINISTIC:
        return f"takes {top!r}, which depends on the machine that it runs on: training and serving have different ones"
    return None


def _refused_module(module: str) -> str | None:
    return refused_import(Import(module, (), 0, ""))
