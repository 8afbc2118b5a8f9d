"""Walking syntax trees, which is most of what reading a function's meaning takes, and telling the names in them apart."""

from __future__ import annotations

import ast
import re
from collections import deque
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import chain
from typing import Any, TypeVar

N = TypeVar("N", bound=ast.AST)

_BELOW = "nodes below"
_FIELD, _PART = re.compile(r"\{([^{}:!]*)"), re.compile(r"\.([^\W\d]\w*)")
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree, as ``ast.walk`` gives them and in its order.

    Its own calls two generators for each node; this takes three fifths of the time, and next to none of what ``settle`` has walked.

    >>> [type(one).__name__ for one in walk(ast.parse("a + 1", mode="eval").body)]
    ['BinOp', 'Name', 'Add', 'Constant', 'Load']
    """
    below = vars(node).get(_BELOW)
    return chain((node,), below) if below is not None else _walk(node)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    waiting = deque([node])
    while waiting:
        one = waiting.popleft()
        for name in one._fields:
            value = getattr(one, name, None)
            if isinstance(value, ast.AST):
                waiting.append(value)
            elif isinstance(value, list):
                waiting.extend(child for child in value if isinstance(child, ast.AST))
        yield one


def settle(tree: ast.Module) -> ast.Module:
    """A module's tree, which from now on does not change: it, its statements and its functions and classes remember their nodes.

    >>> tree = settle(ast.parse("a + 1"))
    >>> [*walk(tree)] == [*ast.walk(tree)]
    True
    """
    nodes = [*_walk(tree)]
    definitions = (one for one in nodes if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef))
    for one in (tree, *tree.body, *definitions):
        vars(one)[_BELOW] = [*_walk(one)][1:]  # without itself, which nothing would ever let go of
    return tree


def once_settled(compute: Callable[[N], frozenset[str]]) -> Callable[[N], frozenset[str]]:
    """A function that gives some texts of a node, which nodes that ``settle`` has walked remember."""
    name = f"once {compute.__name__}"

    @wraps(compute)
    def call(node: N) -> frozenset[str]:
        facts = vars(node)
        if _BELOW not in facts:
            return compute(node)
        if name not in facts:
            facts[name] = compute(node)
        texts: frozenset[str] = facts[name]
        return texts

    return call


def is_text(statement: ast.AST) -> bool:
    """Whether a statement is a text by itself, such as a docstring."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def parts_asked_for(text: str) -> set[str]:
    """The attributes that a text asks for where it is filled in.

    >>> parts_asked_for("{0.__doc__} of {x[0].name:.{digits.most}f}") == {"__doc__", "name", "most"}
    True
    """
    fields = _FIELD.findall(text) if "{" in text else []
    return {part for field in fields for part in _PART.findall(field)}


def is_of_comprehension(name: str) -> bool:
    """Whether a name is one that ``with_own_names`` has marked, which no module can have."""
    return name.endswith("'")


def with_whole_names(tree: ast.Module, bound: set[str]) -> ast.Module:
    """A module's tree, which it takes over, where classes say ``_C__A`` as Python reads it, not as ``__A``, if the module binds it.

    Args:
        bound: the names that the module binds.

    >>> tree = ast.parse("_C__A = 1\\nclass C: a = __A + __B")
    >>> ast.unparse(with_whole_names(tree, {"_C__A", "C"}).body[1])
    'class C:\\n    a = _C__A + __B'
    """
    private = {name for name in bound if re.fullmatch(r"_[^_]\w*?__\w*(?<!__)", name)}
    return _InClasses(private, "").visit(tree) if private else tree


class _InClasses(ast.NodeTransformer):
    """Says the names that classes hide as what they stand for: ``__A`` of ``class C`` as ``_C__A``.

    Args:
        private: the hidden names that a module binds.
        owner: the innermost class around.
    """

    def __init__(self, private: set[str], owner: str) -> None:
        self._private, self._owner = private, owner

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        inside = _InClasses(self._private, node.name.lstrip("_"))
        node.body = [inside.visit(one) for one in node.body]
        for name in ("decorator_list", "bases", "keywords"):
            setattr(node, name, [self.visit(one) for one in getattr(node, name)])
        return node

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self._whole(node.id)
        return node

    def visit_arg(self, node: ast.arg) -> Any:
        node.arg = self._whole(node.arg)
        return self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> ast.Global:
        node.names = [self._whole(name) for name in node.names]
        return node

    def _whole(self, name: str) -> str:
        is_hidden = self._owner and name.startswith("__") and not name.endswith("__")
        whole = f"_{self._owner}{name}"
        return whole if is_hidden and whole in self._private else name


def with_own_names(tree: ast.Module) -> ast.Module:
    """A module's tree, which it takes over, where no name of a comprehension is called like one of the module.

    >>> ast.unparse(with_own_names(ast.parse("k = [k for k in k if k]")))
    "k = [k' for k' in k if k']"
    """
    _OfComprehensions(frozenset()).visit(tree)
    return tree


class _OfComprehensions(ast.NodeTransformer):
    """Marks the names that comprehensions bind, where they bind them and where they say them.

    Args:
        names: those of the comprehensions around.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if node.id in self._names:
            node.id = f"{node.id}'"
        return node

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.NamedExpr:
        node.value = self.visit(node.value)
        return node  # what it binds lies around the comprehension

    def generic_visit(self, node: Any) -> Any:
        return self._visit_comprehension(node) if isinstance(node, _COMPREHENSIONS) else super().generic_visit(node)

    def _visit_comprehension(self, node: Any) -> Any:
        first, *others = node.generators
        first.iter = self.visit(first.iter)  # which is of the names around
        bound = {
            one.id
            for generator in node.generators
            for one in walk(generator.target)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
        }
        inside = _OfComprehensions(self._names | bound)
        for name in ("elt", "key", "value"):
            if hasattr(node, name):
                setattr(node, name, inside.visit(getattr(node, name)))
        first.target, first.ifs = inside.visit(first.target), [inside.visit(one) for one in first.ifs]
        node.generators = [first, *(inside.visit(one) for one in others)]
        return node
