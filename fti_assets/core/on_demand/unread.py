"""A module without what nothing in it reads: what runs only where it is the program, annotations of values, further bare texts."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from fti_assets.core.on_demand.annotations import without_annotations
from fti_assets.core.on_demand.syntax.changes import is_program
from fti_assets.core.on_demand.syntax.module import Module
from fti_assets.core.on_demand.syntax.trees import walk
from fti_assets.core.on_demand.tricks import says_words


def without_unread(modules: Mapping[str, Module], *, of_functions: bool) -> dict[str, Module]:
    """Some modules again, by name, without it, whose trees it takes over; annotations stay where one of the modules may read them.

    Args:
        of_functions: take away the annotations of functions and of local names too, and what they say.
    """
    keeps_annotations = any(says_words(one, by_format=of_functions) for one in modules.values())
    if of_functions and not keeps_annotations:
        modules = {name: Module(name, without_annotations(one.tree), one.package) for name, one in modules.items()}
    keeps_of_classes = keeps_annotations or any(_says_dataclass(one.tree) for one in modules.values())
    return {
        name: Module(name, _without(module.tree, keeps_annotations, keeps_of_classes), module.package)
        for name, module in modules.items()
    }


def _without(tree: ast.Module, keeps_annotations: bool, keeps_of_classes: bool) -> ast.Module:
    body = [one for one in tree.body if not is_program(one)]
    if any(
        isinstance(one, ast.Name) and one.id == "__name__" and not isinstance(one.ctx, ast.Load) for one in walk(tree)
    ):
        body = tree.body
    if keeps_annotations:
        return ast.Module(body, [])
    return ast.Module([_Plain(keeps_of_classes).visit(one) for one in body], [])


class _Plain(ast.NodeTransformer):
    """Takes annotations from what is given a value, and texts that are no docstrings from functions and classes.

    Args:
        keeps_of_classes: leave the annotations of all classes, since one may be made a dataclass somewhere.
    """

    def __init__(self, keeps_of_classes: bool) -> None:
        self._keeps_of_classes = keeps_of_classes

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        is_plain = not (self._keeps_of_classes or node.decorator_list or node.bases or node.keywords)
        node.body = [
            self.visit(one) if is_plain or not isinstance(one, ast.AnnAssign) else one
            for one in _without_texts(node.body)
        ]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.body = [self.visit(one) for one in _without_texts(node.body)]
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        node.body = [self.visit(one) for one in _without_texts(node.body)]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        runs = any(isinstance(one, ast.Call | ast.NamedExpr | ast.Await) for one in walk(node.annotation))
        if node.value is None or runs or not isinstance(node.target, ast.Name):
            return node
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def _without_texts(body: list[ast.stmt]) -> list[ast.stmt]:
    return body[:1] + [
        one
        for one in body[1:]
        if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) and isinstance(one.value.value, str))
    ]


def _says_dataclass(tree: ast.Module) -> bool:
    """Whether ``dataclass`` is said other than as a class's own decorator, in an import or as a module's name."""
    decorators = {
        part
        for node in walk(tree)
        if isinstance(node, ast.ClassDef)
        for one in node.decorator_list
        for part in [one, *([one.func] if isinstance(one, ast.Call) else [])]
    }
    aliases = {
        alias.asname
        for node in walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == "dataclass" and alias.asname
    } | {"dataclass"}
    return any(
        (isinstance(node, ast.Name) and node.id in aliases)
        or (isinstance(node, ast.Attribute) and node.attr in aliases)
        for node in walk(tree)
        if node not in decorators
    )
