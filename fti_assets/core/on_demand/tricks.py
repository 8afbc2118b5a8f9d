"""What makes all code of the modules around an on-demand function count, not only what it reaches by name.

A module that is imported runs whole. Where it changes something of another module, or looks for names by text, what the
function mentions no longer says what it depends on.
"""

from __future__ import annotations

import ast
import builtins
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fti_assets.core.on_demand.syntax.changes import (
    DEFINITIONS,
    FUNCTIONS,
    bound_by,
    is_program,
    mentioned_by,
    own_names,
    root,
)
from fti_assets.core.on_demand.syntax.imports import APP_PACKAGES, is_own
from fti_assets.core.on_demand.syntax.lazy import once
from fti_assets.core.on_demand.syntax.memos import is_memo_of_all
from fti_assets.core.on_demand.syntax.module import MOST_MODULES, Module
from fti_assets.core.on_demand.syntax.objects import Objects, takes_further_cases
from fti_assets.core.on_demand.syntax.source import absolute_module, packages_around, source_file
from fti_assets.core.on_demand.syntax.trees import parts_asked_for, walk
from fti_assets.errors import DeclarationError

# fmt: off
_LOOKS_FAR = frozenset({
    "__builtins__", "__closure__", "__delattr__", "__dict__", "__globals__", "__import__", "__setattr__", "__subclasses__",
    "attrgetter", "builtins", "delattr", "eval", "exec", "gc", "globals", "import_module", "importlib", "inspect", "locals",
    "methodcaller", "setattr", "sys", "vars",
})
_LOOKS_AT_WORDS = frozenset({
    "__annotate__", "__annotations__", "__doc__", "__signature__", "__text_signature__", "get_annotations", "get_type_hints",
    "getdoc", "help", "signature", "singledispatch", "singledispatchmethod",
})
"""Docstrings and the annotations of functions, which count where they are read."""
_LOOKS_AT_LAYOUT = frozenset({
    "__code__", "__file__", "__loader__", "__spec__", "_getframe", "co_firstlineno", "currentframe", "f_lineno", "findsource",
    "get_source", "getframeinfo", "getsource", "getsourcefile", "getsourcelines", "linecache", "tb_lineno", "traceback",
})
# fmt: on
_FILLS_IN = frozenset({"format", "format_map", "get_field", "vformat"})
_HOOKS = frozenset({"__init_subclass__", "__set_name__", "__prepare__"})
Statements = Sequence[tuple[Module, ast.AST]]
"""Pieces that run, each with the module that it is of."""
_SITE_PACKAGES = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib"))


def around(
    module: str, read_before: Mapping[str, Module], libraries: frozenset[str] = frozenset()
) -> dict[str, Module]:
    """A module and all of the user's own that run when it is imported, or that its functions import, by name; none of ``libraries``."""
    waiting, results = [module, *packages_around(module)], dict[str, Module]()
    top, is_installed = module.partition(".")[0], _is_installed(module)
    while waiting:
        name = waiting.pop()
        if name in results or name.partition(".")[0] in libraries or source_file(name) is None:
            continue
        if name.partition(".")[0] != top and not is_installed and _is_installed(name):
            continue  # an app has none of these: a view refuses the function
        if len(results) == MOST_MODULES:
            raise DeclarationError(f"module {module!r} imports more than {MOST_MODULES} modules, {name!r} among them")
        one = results[name] = read_before.get(name) or Module.read(name)
        for imported_name in _imports(one):
            waiting += [imported_name, *packages_around(imported_name)]
    return results


def looks_far(statements: Statements) -> bool:
    """Whether code that is reached or run at its import looks for names by text."""
    return any(_says(module, one, _LOOKS_FAR) for module, one in statements)


def reads_words(statements: Statements) -> bool:
    """Whether docstrings or annotations are read."""
    return any(_says(module, one, _LOOKS_AT_WORDS) or _asks_by_a_name(module, one) for module, one in statements)


def reads_docs(statements: Statements) -> bool:
    """Whether docstrings are read by their name."""
    return any(_says(module, one, frozenset({"__doc__"})) for module, one in statements)


def formats_by_a_name(statements: Statements) -> bool:
    """Whether a text that only running tells is filled in, which may ask for any part: ``text.format(f)`` of ``"{0.__doc__}"``."""
    return any(_fills_in(module, one) for module, one in statements)


def reads_annotations(module: Module) -> bool:
    """Whether annotations are read by their name in a module, as they are evaluated."""
    return _says(module, module.tree, frozenset({"__annotate__", "__annotations__", "get_annotations"}))


def says_words(module: Module, *, by_format: bool = False) -> bool:
    """Whether docstrings or annotations may be read by any code of a module, run or not.

    Args:
        by_format: also by a text that only running tells.
    """
    return (
        _says(module, module.tree, _LOOKS_AT_WORDS - {"__doc__"})
        or _asks_by_a_name(module, module.tree)
        or (by_format and _fills_in(module, module.tree))
    )


def refuse_layout(statements: Statements) -> None:
    """Refuse code that reads where and how it is written, which changes with every comment.

    Raises:
        DeclarationError: it names the module and what it reads.
    """
    for module, one in statements:
        words = sorted(_words(module, one) & _LOOKS_AT_LAYOUT)
        if words:
            raise DeclarationError(
                f"line {getattr(one, 'lineno', 0)} of module {module.name!r} takes {words[0]!r}, which tells of files, lines and "
                "comments: an on-demand function that rests on them answers differently wherever it is written "
                "differently. Write the value out"
            )


def _is_installed(module: str) -> bool:
    file = source_file(module)
    return isinstance(file, Path) and any(file.resolve().is_relative_to(folder) for folder in _SITE_PACKAGES)


def _imports(module: Module) -> Iterator[str]:
    """The modules that a module names in an import, anywhere, or as the text of a call of ``import_module``."""
    for node in walk(module.tree):
        expressions: list[str] = []
        if isinstance(node, ast.Import):
            expressions = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = absolute_module(node, module.package)
            expressions = [origin, *(f"{origin}.{alias.name}" for alias in node.names if alias.name != "*")]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.args[0].value
            if isinstance(name, str) and name.replace(".", "_").isidentifier() and _is_importer(node.func, module):
                expressions = [name]
        yield from (name for name in expressions if is_own(name))


def _is_importer(callee: ast.expr, module: Module) -> bool:
    name = root(callee)
    return name == "__import__" or any(
        origin.partition(".")[0] in ("importlib", "builtins") for origin in module.origins.get(name, ())
    )


@once
def run_of(module: Module) -> list[ast.AST]:
    """What runs when a module is imported, its functions that are named in that among it."""
    at_once: list[ast.AST] = []
    for statement in module.tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom) or is_program(statement):
            continue
        if isinstance(statement, FUNCTIONS):
            at_once += [*statement.decorator_list, statement.args]
        elif isinstance(statement, ast.ClassDef):
            at_once += [*statement.bases, *statement.keywords, *statement.decorator_list]
            at_once += [one for one in statement.body if not isinstance(one, FUNCTIONS)]
        else:
            at_once.append(statement)
    return at_once + [one for one in module.tree.body if isinstance(one, DEFINITIONS) and one.name in module.run]


@once
def _words(module: Module, node: ast.AST) -> set[str]:
    """What a piece of code says of the language and of imports: built-in names, attributes, ``"__doc__"`` as a text."""
    words: set[str] = set()
    for one in walk(node):
        if isinstance(one, ast.Name):
            words |= module.originals.get(one.id, set())
            if one.id.startswith("__") or hasattr(builtins, one.id):
                words.add(one.id)
        elif isinstance(one, ast.Attribute):
            words.add(one.attr)
        elif isinstance(one, ast.Constant) and isinstance(one.value, str):
            words |= parts_asked_for(one.value) | ({one.value} if one.value.startswith("__") else set())
        elif isinstance(one, ast.alias):
            words |= {*one.name.split(".")}
        elif isinstance(one, ast.ImportFrom) and one.module:
            words |= {*one.module.split(".")}
    return words


def _says(module: Module, node: ast.AST, words: frozenset[str]) -> bool:
    return not words.isdisjoint(_words(module, node))


@once
def _asks_by_a_name(module: Module, node: ast.AST) -> bool:
    """Whether a piece asks for an attribute by a name that only running it tells."""
    return any(
        isinstance(one, ast.Call)
        and root(one.func) == "getattr"
        and len(one.args) > 1
        and not isinstance(one.args[1], ast.Constant)
        and root(one.args[0]) not in ("np", "numpy", "math")
        for one in walk(node)
    )


@once
def _fills_in(module: Module, node: ast.AST) -> bool:
    """Whether a piece formats a text that is not written out."""
    return any(
        isinstance(one, ast.Attribute)
        and one.attr in _FILLS_IN
        and not (
            isinstance(one.value, ast.Constant) or (isinstance(one.value, ast.Name) and one.value.id in module.texts)
        )
        for one in walk(node)
    )


def changers_of(module: Module, objects: Objects) -> set[str]:
    """The functions and classes of a module that change something of a module when they are called, or when they are built on."""
    bound = {name for statement in module.tree.body for name in bound_by(statement)}
    result = set()
    for statement in module.tree.body:
        if isinstance(statement, DEFINITIONS):
            inner = {node.name for node in walk(statement) if isinstance(node, FUNCTIONS[:2])}
            hooks = isinstance(statement, ast.ClassDef) and (inner & _HOOKS or statement.keywords)
            is_global = any(isinstance(node, ast.Global) for node in walk(statement))
            by_text = _says(module, statement, _LOOKS_FAR)
            by_use = objects.is_active(module, statement.name) or any(
                objects.is_lively_object(module, name) for name in mentioned_by(statement) - own_names(statement)
            )
            by_use = by_use or takes_further_cases(module, statement) or is_memo_of_all(module, statement)
            if hooks or is_global or by_text or by_use or module.changes.of(statement) & bound:
                result.add(statement.name)
    while True:  # and those that call them
        more = {
            one.name
            for one in module.tree.body
            if isinstance(one, DEFINITIONS) and one.name not in result and mentioned_by(one) & result
        }
        if not more:
            return result
        result |= more


def changes_another(module: Module, changers: Mapping[str, set[str]], objects: Objects) -> bool:
    """Whether a module, or a function of it, changes what an import of it brings, or runs a function elsewhere that changes something."""
    own_imports = {name for name, origins in module.origins.items() if any(is_own(origin) for origin in origins)}
    other = {name for name in module.origins if name not in own_imports and _library(module, name) not in APP_PACKAGES}
    foreign = module.live_on(own_imports)
    for statement, changes in zip(module.tree.body, module.changed_names, strict=True):
        if changes & foreign or (not isinstance(statement, DEFINITIONS) and _sets_a_part(statement, other)):
            return True
        if _is_hooked(statement, module, changers):
            return True
    if any(objects.uses_one(module, one, foreign) for one in run_of(module)):
        return True
    foreign_changes = set[str]().union(*(names for name, names in changers.items() if name != module.name))
    run = [node for one in run_of(module) for node in walk(one)]
    return any(
        (isinstance(node, ast.Attribute) and node.attr in foreign_changes and root(node) in foreign)
        or (isinstance(node, ast.Name) and node.id in foreign and node.id in _names_of(module, foreign_changes))
        for node in run
    )


def _names_of(module: Module, functions: set[str]) -> set[str]:
    """The names by which a module imports some functions."""
    return {
        alias.asname or alias.name
        for node in walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in functions
    }


def _is_hooked(statement: ast.stmt, module: Module, changers: Mapping[str, set[str]]) -> bool:
    """Whether a class is built on one of the same module that hears of it."""
    return isinstance(statement, ast.ClassDef) and any(
        root(base) in changers[module.name]
        and any(
            isinstance(one, ast.ClassDef)
            and one.name == root(base)
            and (one.keywords or {getattr(part, "name", "") for part in one.body} & _HOOKS)
            for one in module.tree.body
        )
        for base in statement.bases
    )


def _sets_a_part(statement: ast.stmt, names: set[str]) -> bool:
    """Whether a statement gives a part of a library a value: ``decimal.getcontext().prec = 5``."""
    return any(
        isinstance(node, ast.Attribute | ast.Subscript)
        and isinstance(node.ctx, ast.Store | ast.Del)
        and root(node.value) in names
        for node in walk(statement)
    )


def _library(module: Module, name: str) -> str:
    return next(iter(sorted(module.origins[name]))).partition(".")[0]
