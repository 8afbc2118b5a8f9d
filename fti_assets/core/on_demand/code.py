"""The code of modules as lists of texts, which are the same however it is laid out and under every version of Python."""

from __future__ import annotations

import ast
from collections import Counter
from typing import Any

from fti_assets.core.on_demand.syntax.changes import DEFINITIONS, bound_by, root, run_at_once
from fti_assets.core.on_demand.syntax.effects import Effects
from fti_assets.core.on_demand.syntax.lazy import once
from fti_assets.core.on_demand.syntax.module import Module
from fti_assets.core.on_demand.syntax.part import Part
from fti_assets.core.on_demand.syntax.trees import is_text, walk

_WITH_ANNOTATIONS = (ast.arg, ast.FunctionDef, ast.AsyncFunctionDef)
_LEFT_OUT = frozenset({"ctx", "type_comment", "kind", "lineno", "col_offset"})


def code_of_all(modules: dict[str, Module], with_words: bool) -> list[Any]:
    """All code of some modules, in its order."""
    return [
        [name, [_plain(one, with_words, with_words) for one in module.tree.body if with_words or not is_text(one)]]
        for name, module in sorted(modules.items())
    ]


def code_of(part: Part, with_words: bool, effects: Effects | None) -> list[Any]:
    """What counts of a module: imports by name, then constants in their order, then functions and classes by name.

    Where a name is bound twice the places of all matter, since a function may take it at one of them, as a default.
    """
    module, statements = part.module, part.statements
    with_docs = with_words or _says_doc(module)
    bound = Counter(name for statement in statements for name in bound_by(statement, of_handlers=False))
    bound.update(
        name for one in statements for name in bound_by(one) - bound_by(one, of_handlers=False) if name in bound
    )
    bound.update(alias or name.partition(".")[0] for _, name, alias in part.imports)
    if max(bound.values(), default=1) == 1:
        if effects is not None:
            statements = effects.in_order(sorted(part.indexes))
        elif not _order_counts(part, statements):
            statements.sort(key=lambda one: one.name if isinstance(one, DEFINITIONS) else "")
    elif any(bound[alias or name.partition(".")[0]] > 1 for _, name, alias in part.imports):
        statements = [
            one
            for index, one in enumerate(module.tree.body)
            if index in part.indexes or isinstance(one, ast.Import | ast.ImportFrom)
        ]
    text = [module.tree.body[0]] if with_words and module.tree.body and is_text(module.tree.body[0]) else []
    return [
        sorted(part.imports),
        [_plain(statement, with_docs, with_words) for statement in [*text, *statements]],
    ]


def _order_counts(part: Part, statements: list[ast.stmt]) -> bool:
    """Whether the places of functions among the constants matter: they are put into something, or take its value of then."""
    constants = {name for one in statements if not isinstance(one, DEFINITIONS) for name in bound_by(one)}
    module, changes = part.module, set[str]()
    for index in part.indexes:
        changes |= module.changed_names[index]
    for one in statements:
        if not isinstance(one, DEFINITIONS):
            continue
        decorators = {root(decorator) for decorator in one.decorator_list}
        if any(module.binds(name) and not module.imports_name(name) for name in decorators):
            return True
        if any(isinstance(node, ast.Global) for node in walk(one)):
            return True
        at_once = {node.id for node in run_at_once(one) if isinstance(node, ast.Name)}
        if at_once & constants & changes:
            return True
    return False


def _plain(node: Any, with_docs: bool, with_annotations: bool) -> Any:
    """A tree as lists of texts, the same under every version of Python that has these nodes."""
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            if name in _LEFT_OUT or value is None or value == []:
                continue
            if not with_annotations and name in ("annotation", "returns") and isinstance(node, _WITH_ANNOTATIONS):
                continue
            if name == "values" and isinstance(node, ast.JoinedStr):
                value = [one for one in value if not _is_empty(one)]  # which Python 3.12.1 adds behind a nested field
                if not value:
                    continue
            if name == "body" and isinstance(node, DEFINITIONS) and not with_docs and is_text(value[0]):
                value = value[1:]
            fields.append([name, _plain(value, with_docs, with_annotations)])
        return [type(node).__name__, fields]
    if isinstance(node, list):
        return [_plain(one, with_docs, with_annotations) for one in node]
    return [type(node).__name__, repr(node)]


def _is_empty(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == ""


@once
def _says_doc(module: Module) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr == "__doc__")
        or (isinstance(node, ast.Name) and node.id == "__doc__")
        for node in walk(module.tree)
    )
