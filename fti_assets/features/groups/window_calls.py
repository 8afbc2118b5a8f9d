"""Calls of ``fti.window_aggregate`` in a group's own function, as far as its source tells them before it runs."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any


def has_windows_of_each_row(function: Callable[..., Any], parameter: str) -> bool:
    """Whether a function surely asks for a window at each row of a parameter: ``window_aggregate(parameter, ...)`` without ``every``.

    A helper that is called, a parameter that is assigned anew and a function without source tell nothing; the run does.
    """
    tree = _tree(function)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == parameter]
    if any(not isinstance(node.ctx, ast.Load) for node in names):
        return False
    return any(_is_of(call, parameter) and _is_window_aggregate(call.func, function) for call in _calls(tree))


def _tree(function: Callable[..., Any]) -> ast.AST:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # a function of a console has no source
        return ast.Module(body=[], type_ignores=[])


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _is_of(call: ast.Call, parameter: str) -> bool:
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    rows = call.args[0] if call.args else named.get("rows")
    every = named.get("every")
    by_row = every is None or (isinstance(every, ast.Constant) and every.value is None)
    return isinstance(rows, ast.Name) and rows.id == parameter and by_row and None not in named and len(call.args) <= 1


def _is_window_aggregate(called: ast.expr, function: Callable[..., Any]) -> bool:
    """Whether a name, or an attribute of a module's name, is the library's own function there."""
    value: Any = None
    if isinstance(called, ast.Name):
        value = function.__globals__.get(called.id)
    elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        module = function.__globals__.get(called.value.id)
        value = getattr(module, called.attr, None) if inspect.ismodule(module) else None
    of_windows = str(getattr(value, "__module__", "")).startswith("fti_assets.features.windows")
    return of_windows and getattr(value, "__name__", "") == "window_aggregate"
