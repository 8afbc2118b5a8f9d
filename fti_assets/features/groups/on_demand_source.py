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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fti_assets.core.on_demand.source import absolute_module, packages_around, source_file
from fti_assets.errors import DeclarationError, listed

# A module of these folders comes from a package, which an app may not have; one elsewhere is the user's own.
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
    # Of the file's bytes, not of the function's text: constants and helpers beside it are part of the answer.
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
        source = _Source(name, tree, tuple(imports_of(tree, package)))
        yield source
        for asked in source.imports:
            if is_own(asked) and _not_own(asked, module) is None:
                inner = [f"{asked.module}.{name}" for name in asked.names]
                # A package's __init__ runs when a module of it is imported, so it counts as imported.
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


# fmt: off
DETERMINISTIC = frozenset({
    "__future__", "abc", "array", "base64", "binascii", "bisect", "calendar", "cmath", "collections",
    "colorsys", "contextlib", "copy", "dataclasses", "datetime", "decimal", "difflib", "enum", "fractions",
    "functools", "graphlib", "hashlib", "heapq", "html", "importlib", "ipaddress", "itertools", "json",
    "keyword", "logging", "math", "numbers", "operator", "re", "statistics", "string", "struct", "textwrap",
    "types", "typing", "unicodedata", "warnings", "zlib", "zoneinfo",
})
# fmt: on
"""The parts of the standard library whose answers depend on nothing but what they are asked."""

_CHANGING = frozenset({"random", "secrets", "time", "uuid"})
_OWN = {
    "fti_assets",
    "fti_assets.on_demand",
    "fti_assets.errors",
    "fti_assets.features.groups.on_demand",
    "fti_assets.core.times",
}
_NOW = {f"datetime.{name}" for name in ("datetime.now", "datetime.today", "datetime.utcnow", "date.today")}
_READS = {
    *(f"numpy.{name}" for name in ("load", "loadtxt", "genfromtxt", "fromfile", "fromregex", "memmap", "DataSource")),
    "numpy.lib.format.open_memmap",
}
_RUNS_TEXT = {"eval", "exec", "compile"}
_FILE = "reads a file, which is not part of the source: write the values out in a module"
_DIFFERS = "which is another in training than when it serves"


@dataclass(frozen=True)
class Import:
    """A module that a source asks for, ``names`` those that it takes from it, and where it says so."""

    module: str
    names: tuple[str, ...]
    line: int
    text: str


@dataclass(frozen=True)
class Problem:
    """What a source may not say, where, and why."""

    line: int
    text: str
    why: str


def imports_of(tree: ast.Module, package: str) -> Iterator[Import]:
    """Every import of a module, those inside functions included, those for type checkers alone left out.

    Args:
        tree: the module's source.
        package: the package that relative imports start from.
    """
    aliases = _aliases(tree)
    for node in _nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, (), node.lineno, ast.unparse(node)) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield Import(absolute_module(node, package), names, node.lineno, ast.unparse(node))
        elif isinstance(node, ast.Call) and _imports(node, aliases):
            name = _text(node.args[:1])
            if name is not None:
                yield Import(name, (), node.lineno, ast.unparse(node))


def refused_import(asked: Import) -> str | None:
    """Why an app could not import it or would get another answer; None for what is fine or a module of the user's own."""
    top = asked.module.partition(".")[0]
    if top == "numpy":
        drawn = asked.module.startswith("numpy.random") or (asked.module == "numpy" and "random" in asked.names)
        return f"draws at random, {_DIFFERS}" if drawn else None
    if top == "fti_assets":
        asked_for = [f"{asked.module}.{name}" for name in asked.names] if asked.module == top else [asked.module]
        beyond = [name for name in asked_for if name not in _OWN]
        return f"takes {listed(beyond)}, which needs Dagster or pandas: an app has neither" if beyond else None
    if top in _CHANGING:
        return f"takes {top!r}, {_DIFFERS}"
    if top in sys.stdlib_module_names and top not in DETERMINISTIC:
        return f"takes {top!r}, which depends on the machine that it runs on: training and serving have different ones"
    return None


def is_own(asked: Import) -> bool:
    """Whether it may be a module of the user's own."""
    return asked.module.partition(".")[0] not in sys.stdlib_module_names | {"numpy", "fti_assets"}


def problems_of(tree: ast.Module) -> Iterator[Problem]:
    """What a source says beside its imports that makes training and serving differ, as far as it can be seen."""
    aliases = _aliases(tree)
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in _nodes(tree):
        why = None
        if isinstance(node, ast.Attribute):
            path = _path(node, aliases)
            if path is not None and path.removeprefix("builtins.") in _RUNS_TEXT and path.startswith("builtins."):
                why = "runs a text, and what that reaches cannot be told before it runs: write the code out"
            elif path == "numpy.random":
                why = f"draws at random, {_DIFFERS}"
            elif path in _READS:  # called or kept for a call
                why = _FILE
            elif path is not None and path.startswith("fti_assets.") and path.count(".") == 1 and path not in _OWN:
                why = f"takes {path!r}, which needs Dagster or pandas: an app has neither"
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            path = _path(node, aliases)
            if path in _READS:
                why = _FILE
            elif path is not None and path.removeprefix("builtins.") in _RUNS_TEXT - defined:
                why = "runs a text, and what that reaches cannot be told before it runs: write the code out"
        elif isinstance(node, ast.Call):
            path, argument = _path(node.func, aliases), _text(node.args[:1])
            if path in _NOW or (path == "numpy.datetime64" and argument in ("now", "today")):
                why = f"asks for the clock, {_DIFFERS}: take the prediction time as an input"
            elif path == "hash" and "hash" not in defined:
                why = "takes hash(), which gives text another number in each process: take zlib.crc32 of its bytes"
            elif (path == "open" and "open" not in defined) or (
                path == "getattr" and node.args and f"{_path(node.args[0], aliases)}.{_text(node.args[1:2])}" in _READS
            ):
                why = _FILE
            elif path == "getattr" and "getattr" not in defined and _text(node.args[1:2]) is None:
                why = "takes a part by a name that cannot be told before it runs: write the name out"
            elif _imports(node, aliases) and argument is None:
                why = "imports a module whose name cannot be told before it runs: write the import out"
        if why is not None:
            yield Problem(getattr(node, "lineno", 0), ast.unparse(node), why)


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node, without what only a type checker sees."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test).rpartition(".")[2] == "TYPE_CHECKING":
            for other in child.orelse:
                yield other
                yield from _nodes(other)
            continue
        yield child
        yield from _nodes(child)


def _aliases(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: ``{"np": "numpy"}``."""
    results = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                results[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            results |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return results


def _path(node: ast.expr, aliases: dict[str, str]) -> str | None:
    """The dotted name that an expression stands for, if it is one."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = _path(node.value, aliases)
        return None if owner is None else f"{owner}.{node.attr}"
    return None


def _imports(node: ast.Call, aliases: dict[str, str]) -> bool:
    return _path(node.func, aliases) in ("importlib.import_module", "__import__")


def _text(arguments: Sequence[ast.expr]) -> str | None:
    first = arguments[0] if arguments else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
