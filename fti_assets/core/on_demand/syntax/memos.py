"""Functions and classes that keep what they once gave, by ``functools``: a call fills them, and what they answer then is what was so."""

from __future__ import annotations

import ast

from fti_assets.core.on_demand.syntax.changes import DEFINITIONS, root
from fti_assets.core.on_demand.syntax.module import Module
from fti_assets.core.on_demand.syntax.trees import walk

_OF_ALL_CALLS = frozenset({"cache", "lru_cache"})
_MEMOS = _OF_ALL_CALLS | {"cached_property"}


def is_memo(module: Module, statement: ast.AST) -> bool:
    """Whether a piece of a module says what keeps results."""
    return module.by_memo and _says(module, statement, _MEMOS)


def is_memo_of_all(module: Module, statement: ast.AST) -> bool:
    """Whether a function or class is one, or holds one, that keeps results for whoever calls it, not for one object alone."""
    return module.by_memo and isinstance(statement, DEFINITIONS) and _says(module, statement, _OF_ALL_CALLS)


def _says(module: Module, statement: ast.AST, memos: frozenset[str]) -> bool:
    if not any("functools" in origins for origins in module.origins.values()):
        return False
    return any(
        isinstance(node, ast.Name | ast.Attribute)
        and "functools" in module.origins.get(root(node), ())
        and bool(({node.attr} if isinstance(node, ast.Attribute) else module.originals[node.id]) & memos)
        for node in walk(statement)
    )
