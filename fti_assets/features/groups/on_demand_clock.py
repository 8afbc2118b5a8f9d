"""What of an on-demand function's source asks for the clock: ``x.now()``, and ``"now"`` and ``"today"``, which numpy reads as times.

A text is followed through names and defaults to where a time is made of it. What is made of a function's inputs is not seen
here: a column of texts that are ``"now"`` is the user's to parse.

Source: "Datetimes and Timedeltas" in numpy's reference, and the texts that ``numpy.datetime64`` parses without regard to case.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from fti_assets.core.on_demand.syntax.names import Names, any_among, is_own

_CLOCK_TEXTS = frozenset({"now", "today"})
_CLOCK_METHODS = frozenset({"now", "today", "utcnow"})
_TIMES = frozenset(
    {f"numpy.{name}" for name in ("busday_count", "busday_offset", "busdaycalendar", "datetime64", "is_busday")}
    | {"numpy.dtypes.DateTime64DType"}
)
_TIME_TEXT = re.compile(r"(^|[^A-Za-z_])(datetime64|M8)(\[|$|,)")
_NO_TIME_OF_TIMES = frozenset({"numpy.busday_count", "numpy.is_busday"})
_LEAVES_TEXTS = frozenset(f"numpy.{name}" for name in ("choose", "in1d", "isin", "select", "where"))
"""What makes no time of a text that it is given beside times."""
Look = tuple[bool, list[tuple[Names, ast.AST]]]


class Clock:
    """What one module's source takes of the clock.

    Args:
        names: what its names stand for.
        parents: of each node the one around it.
    """

    def __init__(self, names: Names, parents: dict[ast.AST, ast.AST]) -> None:
        self._names, self._parents = names, parents
        self._may_say_now = any(map(_is_now, parents)) or any(map(_imports_own, parents))

    def is_asked(self, node: ast.AST) -> bool:
        """Whether a node asks for the clock."""
        if isinstance(node, ast.Assign):
            parts = [one for one in node.targets if isinstance(one, ast.Subscript)]
            return self._may_say_now and any(self._is_a_time(one.value) for one in parts) and self._says_now(node.value)
        if not isinstance(node, ast.Call):
            return False
        callee = node.func
        if isinstance(callee, ast.Attribute) and callee.attr in _CLOCK_METHODS:
            owners = self._names.paths(callee.value)
            is_own_function = all(map(is_own, owners)) if owners else callee.attr in self._names.functions
            return not is_own_function
        return self._may_say_now and self._takes_a_time(node) and any(map(self._says_now, ast.iter_child_nodes(node)))

    def _takes_a_time(self, node: ast.Call) -> bool:
        """Whether a call makes a time, or is told of one: its type, or an array that has it."""
        owner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        if self._names.paths(node.func) & _LEAVES_TEXTS:
            return False
        return any(map(self._is_a_time, [node.func, *owner, *node.args, *(one.value for one in node.keywords)]))

    def _is_a_time(self, node: ast.expr) -> bool:
        """Whether an expression is numpy's type of times, its name, or something of that type."""
        return any_among(self._names, node, self._look_for_a_time)

    def _look_for_a_time(self, names: Names, node: ast.AST) -> Look:
        if not isinstance(node, ast.expr):
            return False, []
        if any(_TIME_TEXT.search(one) for one in names.texts(node)) or names.paths(node) & _TIMES:
            return True, []
        parts: list[ast.expr] = []
        if isinstance(node, ast.Call) and not names.paths(node.func) & _NO_TIME_OF_TIMES:
            parts = [node.func, *node.args, *(one.value for one in node.keywords)]
        elif isinstance(node, ast.List | ast.Tuple):
            parts = node.elts
        return False, [*((names, one) for one in parts), *self._values(names, node)]

    def _says_now(self, node: ast.AST) -> bool:
        """Whether one of the texts is in what an expression gives; what is compared, a key or a place is not."""
        return any_among(self._names, node, self._look_for_now)

    def _look_for_now(self, names: Names, node: ast.AST) -> Look:
        if isinstance(node, ast.Constant):
            return _is_now(node), []
        if isinstance(node, ast.Compare):
            return False, []
        if isinstance(node, ast.Dict):
            parts: list[ast.AST] = [*node.values]
        elif isinstance(node, ast.Subscript | ast.Attribute):
            parts = [node.value]
        else:
            parts = [*ast.iter_child_nodes(node)]
        more = [(names, one) for one in parts]
        return False, more + (self._values(names, node) if isinstance(node, ast.Name | ast.Attribute) else [])

    def _values(self, names: Names, node: ast.expr) -> list[tuple[Names, ast.AST]]:
        """What a name is given, as a default too."""
        values: list[tuple[Names, ast.AST]] = [*names.bound_to(node)]
        if isinstance(node, ast.Name) and names is self._names:
            values += [(names, one) for one in self._defaults(node)]
        return values

    def _defaults(self, node: ast.Name) -> Iterator[ast.expr]:
        """The defaults of the parameters of that name in the functions around."""
        around = self._parents.get(node)
        while around is not None:
            if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                arguments = around.args
                places = [*arguments.posonlyargs, *arguments.args]
                pairs = [
                    *zip(places[len(places) - len(arguments.defaults) :], arguments.defaults, strict=True),
                    *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
                ]
                yield from (default for one, default in pairs if one.arg == node.id and default is not None)
            around = self._parents.get(around)


def _is_now(node: ast.AST) -> bool:
    """Whether a node is one of the texts."""
    value = node.value if isinstance(node, ast.Constant) else None
    value = value.decode("latin-1") if isinstance(value, bytes) else value
    return isinstance(value, str) and value.lower() in _CLOCK_TEXTS


def _imports_own(node: ast.AST) -> bool:
    """Whether a node takes something of a module of the user's own, which may say one."""
    if isinstance(node, ast.ImportFrom):
        return node.level > 0 or is_own(node.module or "")
    return isinstance(node, ast.Import) and any(is_own(alias.name) for alias in node.names)
