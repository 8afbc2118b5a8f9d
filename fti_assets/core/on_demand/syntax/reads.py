"""The constants of a module that all of its code only reads, so that no code beside their own statement can change them.

``LIMITS = [1, 2]`` is one where the module says ``LIMITS[0]``, ``len(LIMITS)`` or ``list(LIMITS)`` and nothing else of it: what these
give cannot lead back to the list. One mention of another kind, such as ``f(LIMITS)``, and it is none.
"""

from __future__ import annotations

import ast
import builtins

from fti_assets.core.on_demand.syntax.changes import is_constant
from fti_assets.core.on_demand.syntax.imports import is_own
from fti_assets.core.on_demand.syntax.lazy import once
from fti_assets.core.on_demand.syntax.module import Module
from fti_assets.core.on_demand.syntax.trees import walk

_READ_BY = frozenset({
    "abs", "all", "any", "bool", "dict", "enumerate", "float", "frozenset", "int", "isinstance", "len", "list", "max", "min", "range",
    "repr", "reversed", "round", "set", "sorted", "str", "sum", "tuple", "zip",
})  # fmt: skip
_READING_PARTS = frozenset({"copy", "count", "get", "index", "items", "keys", "values"})
_COPIED_BY = frozenset({"array", "asarray"})


@once
def only_read(module: Module) -> set[str]:
    """The names of a module's constants that it only reads."""
    constants = {
        one.targets[0].id: is_constant(one.value)
        for one in module.tree.body
        if isinstance(one, ast.Assign)
        and len(one.targets) == 1
        and isinstance(one.targets[0], ast.Name)
        and is_flat(one.value)
    }
    parents = {child: node for node in walk(module.tree) for child in ast.iter_child_nodes(node)}
    bound: set[str] = set()
    results = set(constants)
    for node in parents:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            if node.id in bound:
                results.discard(node.id)
            bound.add(node.id)
        elif not isinstance(node, ast.Name):
            names = _named_by(node)
            bound |= names
            results -= names
    for node, parent in parents.items():
        if (
            isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Load)
            and node.id in results
            and not constants[node.id]
            and not _is_read(node, parent, parents, module, bound)
        ):
            results.discard(node.id)
    return results


def is_built_in(module: Module, name: str) -> bool:
    """Whether a name is Python's own, which the module gives no other value."""
    if (
        not hasattr(builtins, name)
        or name.startswith("__")
        or "*" in module.imports_by_name
        or module.binds("__getattr__")
    ):
        return False
    return not module.binds(name) and name not in _global_names(module)


@once
def _global_names(module: Module) -> set[str]:
    return {one for node in walk(module.tree) if isinstance(node, ast.Global) for one in node.names}


def is_of_a_library(module: Module, name: str) -> bool:
    """Whether a name stands for a part of a library alone, whose state is looked after where it is set."""
    origins = module.origins.get(name, set())
    if not origins or any(is_own(origin) for origin in origins):
        return False
    return all(
        isinstance(one, ast.Import | ast.ImportFrom)
        for one, names in zip(module.tree.body, module.bound, strict=True)
        if name in names
    )


def is_flat(value: ast.expr) -> bool:
    """Whether a value is written out, with nothing in it that can be changed in place."""
    if isinstance(value, ast.Dict):
        return all(one is not None and is_constant(one) for one in [*value.keys, *value.values])
    if isinstance(value, ast.List | ast.Set):
        return all(map(is_constant, value.elts))
    return is_constant(value)


def _named_by(node: ast.AST) -> set[str]:
    """The names that a node gives a value other than by a name of its own."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.alias):
        return {node.asname or node.name.partition(".")[0]}
    if isinstance(node, ast.arg):
        return {node.arg}
    if isinstance(node, ast.Global | ast.Nonlocal):
        return {*node.names}
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        return {node.name} if node.name else set()
    return {node.rest} if isinstance(node, ast.MatchMapping) and node.rest else set()


def _is_read(node: ast.Name, parent: ast.AST, parents: dict[ast.AST, ast.AST], module: Module, bound: set[str]) -> bool:
    """Whether what is done with a constant gives nothing that leads back to it."""
    around = parents.get(parent)
    if isinstance(parent, ast.Subscript):
        return parent.value is node and isinstance(parent.ctx, ast.Load)
    if isinstance(parent, ast.Attribute):
        return parent.attr in _READING_PARTS and isinstance(around, ast.Call) and around.func is parent
    if isinstance(parent, ast.Call):
        return parent.func is not node and _reads(parent.func, module, bound)
    if isinstance(parent, ast.For | ast.AsyncFor | ast.comprehension):
        return parent.iter is node
    if isinstance(parent, ast.Starred | ast.FormattedValue):
        return True
    if isinstance(parent, ast.Dict):
        return any(key is None and value is node for key, value in zip(parent.keys, parent.values, strict=True))
    if isinstance(parent, ast.keyword):
        return parent.arg is None
    if isinstance(parent, ast.Compare):
        return parent.left is not node and all(isinstance(one, ast.In | ast.NotIn) for one in parent.ops)
    if isinstance(parent, ast.If | ast.While | ast.Assert | ast.IfExp):
        return parent.test is node
    return isinstance(parent, ast.UnaryOp) and isinstance(parent.op, ast.Not)


def _reads(callee: ast.expr, module: Module, bound: set[str]) -> bool:
    if isinstance(callee, ast.Name):
        return callee.id in _READ_BY and callee.id not in bound | {"*"} and "*" not in module.imports_by_name
    return (
        isinstance(callee, ast.Attribute)
        and callee.attr in _COPIED_BY
        and isinstance(callee.value, ast.Name)
        and module.origins.get(callee.value.id) == {"numpy"}
    )
