"""Code that sets the state of a library, when modules are imported or an on-demand function is called: numpy's answer to a
division by zero, decimal's precision.

Such state belongs to a process or a thread, so that a function answers differently where another module set it, or another
thread serves. What runs at import, and in a call, is followed by names, also into functions of other modules, and rather too far
than not far enough: a function that is named like one that is called counts as called.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fti_assets.core.on_demand.syntax.changes import FUNCTIONS, is_program, run_at_once
from fti_assets.core.on_demand.syntax.names import Names
from fti_assets.core.on_demand.syntax.trees import walk

_WITHIN = {
    "numpy.errstate": frozenset({"numpy.seterr", "numpy.seterrcall"}),
    "numpy.printoptions": frozenset({"numpy.set_printoptions"}),
    "decimal.localcontext": frozenset({"decimal.getcontext", "decimal.setcontext"}),
    "warnings.catch_warnings": frozenset(
        {"warnings.simplefilter", "warnings.filterwarnings", "warnings.resetwarnings"}
    ),
    "calendar.different_locale": frozenset({"locale.setlocale"}),
}
"""What sets state for a ``with`` block alone, and what may be called in that."""
_SETS = frozenset({
    "calendar.setfirstweekday", "decimal.BasicContext", "decimal.DefaultContext", "decimal.ExtendedContext", "locale.setlocale",
    "numpy.set_string_function", "numpy.setbufsize", "os.environ", "os.putenv", "os.umask", "os.unsetenv", "random.seed",
    "random.setstate", "numpy.random.seed", "numpy.random.set_state", "time.tzset", "warnings.filters", "zoneinfo.reset_tzpath",
}).union(_WITHIN, *_WITHIN.values())  # fmt: skip
_SETS_NOTHING = frozenset({"set", "setattr", "setdefault", "setdiff1d", "setfield", "setflags", "setitem", "setxor1d"})
_BY_TEXT = frozenset({"builtins.setattr", "builtins.delattr", "operator.setitem", "operator.delitem"})


@dataclass(frozen=True)
class Setter:
    """A piece that sets state, the module and the place of the top-level statement that it stands in, and what it sets."""

    module: str
    index: int
    node: ast.expr
    sets: str


@dataclass(frozen=True)
class _Piece:
    """Nodes that run together, of one top-level statement."""

    module: str
    index: int
    nodes: tuple[ast.AST, ...]


def setters_of(sources: Mapping[str, tuple[ast.Module, Names]]) -> list[Setter]:
    """What some modules do to the state of libraries when they are imported.

    Args:
        sources: their trees and what their names stand for, by module.
    """
    return _in_order(_follow(_at_import(sources), _by_name(sources), sources), sources)


def setters_in_calls(sources: Mapping[str, tuple[ast.Module, Names]]) -> list[Setter]:
    """What the on-demand functions of some modules do to the state of libraries when they are called, beyond what import does.

    Args:
        sources: as of ``setters_of``.
    """
    definitions = _by_name(sources)
    _follow(_at_import(sources), definitions, sources)
    bodies = [
        _Piece(module, index, nodes)
        for module, (tree, names) in sources.items()
        for index, statement in enumerate(tree.body)
        for nodes in _on_demand_bodies(statement, names)
    ]
    return _in_order(_follow(bodies, definitions, sources), sources)


def sets_state(node: ast.expr, names: Names) -> bool:
    """Whether an expression of a module sets the state of a library where it runs."""
    return any(_set_by(tuple(walk(node)), names))


def _at_import(sources: Mapping[str, tuple[ast.Module, Names]]) -> list[_Piece]:
    """What runs at once when the modules are imported."""
    return [
        _Piece(module, index, tuple(_run_at_once(statement)))
        for module, (tree, _) in sources.items()
        for index, statement in enumerate(tree.body)
        if not is_program(statement)
    ]


def _by_name(sources: Mapping[str, tuple[ast.Module, Names]]) -> dict[str, list[_Piece]]:
    """What runs when a name is called."""
    pieces: dict[str, list[_Piece]] = {}
    for module, (tree, _) in sources.items():
        for index, statement in enumerate(tree.body):
            for name, nodes in _definitions(statement):
                pieces.setdefault(name, []).append(_Piece(module, index, nodes))
    return pieces


def _follow(
    waiting: list[_Piece], definitions: dict[str, list[_Piece]], sources: Mapping[str, tuple[ast.Module, Names]]
) -> list[Setter]:
    """What some pieces set, and the definitions that they name, which are taken out of those that wait."""
    results: list[Setter] = []
    while waiting:
        piece = waiting.pop()
        names = sources[piece.module][1]
        results += (Setter(piece.module, piece.index, node, sets) for node, sets in _set_by(piece.nodes, names))
        for name in sorted(_names_in(piece.nodes, names)):
            waiting += definitions.pop(name, ())
    return results


def _in_order(setters: list[Setter], sources: Mapping[str, tuple[ast.Module, Names]]) -> list[Setter]:
    places = {module: place for place, module in enumerate(sources)}
    return sorted(setters, key=lambda one: (places[one.module], one.node.lineno, one.node.col_offset))


def _on_demand_bodies(statement: ast.stmt, names: Names) -> Iterator[tuple[ast.AST, ...]]:
    """The bodies of the on-demand functions in a statement."""
    for node in walk(statement):
        if isinstance(node, ast.FunctionDef) and any(
            isinstance(one, ast.Call) and {path.rpartition(".")[2] for path in names.paths(one.func)} & {"on_demand"}
            for one in node.decorator_list
        ):
            yield tuple(one for part in node.body for one in walk(part))


def _run_at_once(statement: ast.stmt) -> Iterator[ast.AST]:
    for node in run_at_once(statement):
        yield node
        if isinstance(node, ast.Lambda):
            yield from walk(node.body)
        elif isinstance(node, FUNCTIONS[:2]) and node.returns is not None:
            yield from walk(node.returns)


def _definitions(statement: ast.stmt) -> Iterator[tuple[str, tuple[ast.AST, ...]]]:
    """The functions in a statement, by the names that call them: a class's own special methods by its name."""
    for node in walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, tuple(one for part in node.body for one in walk(part))
        elif isinstance(node, ast.ClassDef):
            special = [one for one in node.body if isinstance(one, FUNCTIONS[:2]) and one.name.startswith("__")]
            yield node.name, tuple(inner for one in special for part in one.body for inner in walk(part))


def _names_in(nodes: tuple[ast.AST, ...], names: Names) -> set[str]:
    """The last names of all that some nodes say."""
    results: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Attribute):
            results.add(node.attr)
        elif isinstance(node, ast.Name):
            results |= {node.id, *(path.rpartition(".")[2] for path in names.paths(node))}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            results |= {*node.value.split(".")} if node.value.replace(".", "_").isidentifier() else set()
    return results


def _set_by(nodes: tuple[ast.AST, ...], names: Names) -> Iterator[tuple[ast.expr, str]]:
    permissions = _permissions(nodes, names)
    for node in nodes:
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            yield from ((node, path) for path in _parts_of_libraries(node.value, names))
        elif isinstance(node, ast.Call):
            if node.args and names.paths(node.func) & _BY_TEXT:
                yield from ((node, path) for path in _parts_of_libraries(node.args[0], names))
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            is_second_name = node in names.followed and not names.is_of_a_class(node)
            for path in () if is_second_name else sorted(filter(_is_a_setter, names.paths(node))):
                if path not in permissions.get(node, ()):
                    yield node, path


def _is_a_setter(path: str) -> bool:
    is_abstract_class = path.startswith(("numbers.", "collections.abc.")) and path.endswith(".register")
    module, _, name = path.rpartition(".")
    sets = name.startswith(("set", "reset_")) and name not in _SETS_NOTHING and not module.startswith("builtins")
    return (
        path in _SETS or is_abstract_class or (sets and module.partition(".")[0] in sys.stdlib_module_names | {"numpy"})
    )


def _parts_of_libraries(node: ast.expr, names: Names) -> list[str]:
    """What of a library an expression stands for."""
    libraries = sys.stdlib_module_names | {"numpy"}
    paths = names.paths(node)
    return sorted(one for one in paths if one.partition(".")[0] in libraries and not one.startswith("builtins."))


def _permissions(nodes: tuple[ast.AST, ...], names: Names) -> dict[ast.AST, set[str]]:
    """What may be said where: a decorator or ``with`` that sets state for a block, and in the block what it puts back."""
    results: dict[ast.AST, set[str]] = {}
    for node in nodes:
        items: list[ast.expr] = []
        body: list[ast.stmt] = []
        if isinstance(node, ast.With | ast.AsyncWith):
            items, body = [one.context_expr for one in node.items], node.body
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            items = node.decorator_list
        for item in items:
            if not isinstance(item, ast.Call):
                continue
            for path in names.paths(item.func) & _WITHIN.keys():
                results.setdefault(item.func, set()).add(path)
                for inner in (one for statement in body for one in walk(statement)):
                    results.setdefault(inner, set()).update(_WITHIN[path])
    return results
