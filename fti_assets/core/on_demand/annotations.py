"""What annotations of functions do: those that call code of the user's own run it as the function is defined; the others do nothing.

A function's annotations are evaluated where it is defined, unless the module says ``from __future__ import annotations``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from fti_assets.core.on_demand.syntax.imports import is_own
from fti_assets.core.on_demand.syntax.lazy import lazy
from fti_assets.core.on_demand.syntax.module import Module
from fti_assets.core.on_demand.syntax.names import Names
from fti_assets.core.on_demand.syntax.state import sets_state
from fti_assets.core.on_demand.syntax.trees import walk

_RUNS = (ast.Call, ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)


def with_calls(module: Module) -> ast.Module:
    """A module's tree, which it takes over, where what annotations of functions call stands before the functions.

    >>> tree = ast.parse("def put(v): ...\\ndef h(a: put(7), b: int): ...")
    >>> ast.unparse(with_calls(Module("m", tree, "")).body[1])
    '(put(7),)'
    """
    if not _is_future(module.tree):
        _Calls(module).visit(module.tree)
    return module.tree


def without_annotations(tree: ast.Module) -> ast.Module:
    """A module's tree, which it takes over, without the annotations of functions and local names.

    ``from __future__ import annotations`` stays only where it keeps an annotation of another kind from running.
    """
    _Nothing().visit(tree)
    if not any(runs(one.annotation) for one in walk(tree) if isinstance(one, ast.AnnAssign)):
        for one in tree.body:
            if isinstance(one, ast.ImportFrom) and one.module == "__future__":
                one.names = [alias for alias in one.names if alias.name != "annotations"]
        tree.body = [one for one in tree.body if not isinstance(one, ast.ImportFrom) or one.names]
    return tree


def runs(annotation: ast.expr) -> bool:
    """Whether an annotation does more than name types."""
    return any(isinstance(one, _RUNS) for one in walk(annotation))


def _binds(annotation: ast.expr) -> bool:
    return any(isinstance(one, ast.NamedExpr) for one in walk(annotation))


def _annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr]:
    arguments = [one.annotation for one in walk(function.args) if isinstance(one, ast.arg)]
    yield from (one for one in [*arguments, function.returns] if one is not None)


def _is_future(tree: ast.Module) -> bool:
    return any(
        isinstance(one, ast.ImportFrom)
        and one.module == "__future__"
        and any(alias.name == "annotations" for alias in one.names)
        for one in tree.body
    )


class _Calls(ast.NodeTransformer):
    """Puts a tuple of the annotations that bind a name, run code of the user's own, or set a library's state, before each function."""

    def __init__(self, module: Module) -> None:
        self._module = module

    @lazy
    def _names(self) -> Names:
        return Names(self._module.tree, self._module.package)

    def visit_FunctionDef(self, node: Any) -> Any:
        self.generic_visit(node)
        calls = [
            one
            for one in _annotations(node)
            if runs(one) and (_binds(one) or self._says_own(one) or sets_state(one, self._names))
        ]
        if not calls:
            return node
        return [ast.copy_location(ast.Expr(ast.Tuple(calls, ast.Load())), node), node]

    def visit_AsyncFunctionDef(self, node: Any) -> Any:
        return self.visit_FunctionDef(node)

    def _says_own(self, node: ast.expr) -> bool:
        """Whether it says a name of the module that is no library's."""
        names = {one.id for one in walk(node) if isinstance(one, ast.Name)}
        return any(
            any(map(is_own, self._module.origins[name])) if name in self._module.origins else self._module.binds(name)
            for name in names
        )


class _Nothing(ast.NodeTransformer):
    """Takes the annotations from functions, and those inside them, which are never evaluated."""

    def __init__(self, is_inside: bool = False) -> None:
        self._is_inside = is_inside

    def visit_FunctionDef(self, node: Any) -> Any:
        node.returns = None
        for one in walk(node.args):
            if isinstance(one, ast.arg):
                one.annotation = None
        inside = _Nothing(True)
        node.body = [inside.visit(one) for one in node.body]
        return node

    def visit_AsyncFunctionDef(self, node: Any) -> Any:
        return self.visit_FunctionDef(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        outside = _Nothing(False)
        node.body = [outside.visit(one) for one in node.body]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if not self._is_inside:
            return node
        if node.value is not None:
            return ast.copy_location(ast.Assign([node.target], node.value), node)
        node.annotation = ast.Constant(None)  # the name is local by it
        return node
