"""Names that a module binds or reads where nobody looks for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fti_assets.core.on_demand.syntax.changes import DEFINITIONS, bound_by, root
from fti_assets.core.on_demand.syntax.trees import walk


def binds_unseen(tree: ast.Module) -> bool:
    """Whether a module binds names in what of a definition runs at once, such as its defaults, or says one that a class hides where it
    is no plain name: read off an import, imported, or made a global one.

    >>> binds_unseen(ast.parse("def f(a=(k := 3)): pass"))
    True
    >>> binds_unseen(ast.parse("class C:\\n    def f(self): return self.__a"))
    False
    """
    imports = {name for one in walk(tree) if isinstance(one, ast.Import | ast.ImportFrom) for name in bound_by(one)}
    return any(
        (isinstance(one, DEFINITIONS) and _binds_beside_its_body(one))
        or (isinstance(one, ast.ClassDef) and any(_is_hidden(name) for name in _names_said(one, imports)))
        for one in walk(tree)
    )


def _binds_beside_its_body(definition: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    body = {*map(id, definition.body)}
    parts = [part for part in ast.iter_child_nodes(definition) if id(part) not in body]
    return any(isinstance(one, ast.NamedExpr) for part in parts for one in walk(part))


def _names_said(definition: ast.ClassDef, imports: set[str]) -> Iterator[str]:
    """What a class reads off imports, imports, or makes global."""
    for one in walk(definition):
        if isinstance(one, ast.Attribute) and root(one.value) in imports:
            yield one.attr
        elif isinstance(one, ast.ImportFrom):
            yield from (alias.name for alias in one.names)
        elif isinstance(one, ast.Global):
            yield from one.names


def _is_hidden(name: str) -> bool:
    return name.startswith("__") and not name.endswith("__")
