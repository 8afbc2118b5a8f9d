"""What of an on-demand function's source asks for the clock: ``x.now()``, and ``"now"`` and ``"today"``, which numpy reads as times.

A text is followed through names and defaults to where a time is made of it. What is made of a function's inputs is not seen
here: a column of texts that are ``"now"`` is the user's to parse.

Source: "Datetimes and Timedeltas" in numpy's reference, and the texts that ``numpy.datetime64`` parses without regard to case.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from fti_assets.core.on_demand.syntax.names import Names, is_own

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


class Clock:
    """What one module's source takes of the clock.

    Args:
        names: what its names stand for.
        parents: of each node the one around it.
    """

    def __init__(self, names: Names, parents: dict[ast.AST, ast.AST]) -> None:
        self._names, self._parents = names, parents

    def is_asked(self, node: ast.AST) -> bool:
        """Whether a node asks for the clock."""
        if isinstance(node, ast.Assign):
            parts = [one for one in node.targets if isinstance(one, ast.Subscript)]
            return any(self._is_a_time(one.value) for one in parts) and self._says_now(node.value)
        if not isinstance(node, ast.Call):
            return False
        callee = node.func
        if isinstance(callee, ast.Attribute) and callee.attr in _CLOCK_METHODS:
            owners = self._names.paths(callee.value)
            is_own_function = all(map(is_own, owners)) if owners else callee.attr in self._names.functions
            return not is_own_function
        return self._takes_a_time(node) and any(map(self._says_now, ast.iter_child_nodes(node)))

    def _takes_a_time(self, node: ast.Call) -> bool:
        """Whether a call makes a time, or is told of one: its type, or an array that has it."""
        owner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        if self._names.paths(node.func) & _LEAVES_TEXTS:
            return False
        return any(map(self._is_a_time, [node.func, *owner, *node.args, *(one.value for one in node.keywords)]))

    def _is_a_time(self, node: ast.expr, seen: frozenset[ast.AST] = frozenset()) -> bool:
        """Whether an expression is numpy's type of times, its name, or something of that type."""
        if node in seen:
            return False
        seen |= {node}
        if any(_TIME_TEXT.search(one) for one in self._names.texts(node)) or self._names.paths(node) & _TIMES:
            return True
        if isinstance(node, ast.Call):
            if self._names.paths(node.func) & _NO_TIME_OF_TIMES:
                return False
            parts = [node.func, *node.args, *(one.value for one in node.keywords)]
            return any(self._is_a_time(one, seen) for one in parts)
        if isinstance(node, ast.List | ast.Tuple):
            return any(self._is_a_time(one, seen) for one in node.elts)
        return any(clock._is_a_time(one, seen) for clock, one in self._values(node))

    def _says_now(self, node: ast.AST, seen: frozenset[ast.AST] = frozenset()) -> bool:
        """Whether one of the texts is in what an expression gives; what is compared, a key or a place is not."""
        if node in seen or isinstance(node, ast.Compare):
            return False
        seen |= {node}
        if isinstance(node, ast.Constant):
            value = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
            return isinstance(value, str) and value.lower() in _CLOCK_TEXTS
        if isinstance(node, ast.Dict):
            return any(self._says_now(one, seen) for one in node.values)
        if isinstance(node, ast.Subscript):
            return self._says_now(node.value, seen)
        if isinstance(node, ast.Name | ast.Attribute):
            return any(clock._says_now(one, seen) for clock, one in self._values(node)) or (
                isinstance(node, ast.Attribute) and self._says_now(node.value, seen)
            )
        return any(self._says_now(one, seen) for one in ast.iter_child_nodes(node))

    def _values(self, node: ast.expr) -> Iterator[tuple[Clock, ast.expr]]:
        """What a name is given, as a default too."""
        for names, one in self._names.bound_to(node):
            yield (self if names is self._names else Clock(names, {})), one
        if isinstance(node, ast.Name):
            yield from ((self, one) for one in self._defaults(node))

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
