"""What an on-demand function means: a hash of its code and of all that it reaches, which comments and layout do not change.

The code is read as a syntax tree, without comments, docstrings, annotations of functions and line breaks. What counts is the
function, the names of its module that it mentions and those that these mention, near and far: constants, helpers, classes,
and imports from modules of the user's own, which are followed in the same way. Other functions of these modules do not count.

Source: the reachability of names as linkers and tree shakers take it, on Python's own syntax tree.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fti_assets.core.on_demand.source import absolute_module, packages_around, source_file
from fti_assets.errors import DeclarationError

_OTHERS = frozenset({"numpy", "fti_assets"})
_LOOKS_EVERYWHERE = frozenset({"eval", "exec", "globals", "locals", "vars", "__import__", "importlib", "import_module"})
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# fmt: off
_CHANGING = frozenset({
    "add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "extendleft", "fill", "insert",
    "intersection_update", "itemset", "partition", "pop", "popitem", "popleft", "put", "remove", "resize", "reverse", "rotate",
    "setdefault", "setflags", "sort", "symmetric_difference_update", "update",
})
# fmt: on
"""The methods that change a collection or an array in place."""
_LEFT_OUT = frozenset({"ctx", "type_comment", "kind", "lineno", "col_offset"})


def meaning(module: str, function: str) -> str:
    """The SHA-256 of what a function of a module means.

    Raises:
        DeclarationError: the module has no source file, cannot be read, or does not define the function.
    """
    reach = _Reach()
    reach.name(module, function)
    if not reach.modules[module].binds(function):
        raise DeclarationError(f"module {module!r} defines no function {function!r}")
    text = json.dumps(reach.code(), separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def declares_on_demand(module: str) -> bool:
    """Whether a module's source calls ``fti_assets.on_demand`` at all; it is not run."""
    tree = _Module.read(module).tree
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or "fti_assets" for alias in node.names if alias.name.split(".")[0] == "fti_assets"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fti_assets":
            names |= {alias.asname or alias.name for alias in node.names if alias.name == "on_demand"}
    return any(
        isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id in names)
            or (isinstance(node.func, ast.Attribute) and node.func.attr == "on_demand" and _root(node.func) in names)
        )
        for node in ast.walk(tree)
    )


@dataclass
class _Module:
    """A module's top-level statements, and which names each binds and mentions."""

    name: str
    tree: ast.Module
    package: str
    taken: set[int] = field(default_factory=set)
    imports: set[tuple[str, str, str]] = field(default_factory=set)

    @classmethod
    def read(cls, name: str) -> _Module:
        file = source_file(name)
        if file is None:
            raise DeclarationError(
                f"on-demand features of module {name!r} have no source file: put them in a module that the app can import"
            )
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError) as error:
            raise DeclarationError(f"module {name!r} cannot be read: {error}") from error
        return cls(name, tree, name if file.name == "__init__.py" else name.rpartition(".")[0])

    def binds(self, name: str) -> bool:
        return any(name in _bound_by(statement) for statement in self.tree.body)

    def imports_name(self, name: str) -> bool:
        """Whether a name stands for what an import at the top brings."""
        return any(name in _bound_by(one) for one in self.tree.body if isinstance(one, ast.Import | ast.ImportFrom))

    def may_bind(self, name: str) -> bool:
        """Whether a name may come from here: bound, from ``import *``, or made by a ``__getattr__`` of the module."""
        return self.binds(name) or self.binds("*") or self.binds("__getattr__")

    @property
    def code(self) -> list[Any]:
        """What counts of it: imports by name, then constants in their order, then functions and classes by name.

        Where a name is bound twice the places of all matter, since a function may take it at one of them, as a default.
        """
        with_docs = _says_doc(self.tree)
        taken = [self.tree.body[index] for index in sorted(self.taken)]
        bound = Counter(name for statement in taken for name in _bound_by(statement))
        bound.update(alias or name.partition(".")[0] for _, name, alias in self.imports)
        if max(bound.values(), default=1) == 1:
            taken.sort(key=lambda one: one.name if isinstance(one, _DEFINITIONS) else "")
        elif any(bound[alias or name.partition(".")[0]] > 1 for _, name, alias in self.imports):
            taken = [
                one
                for index, one in enumerate(self.tree.body)
                if index in self.taken or isinstance(one, ast.Import | ast.ImportFrom)
            ]
        return [sorted(self.imports), [_plain(statement, with_docs) for statement in taken]]


class _Reach:
    """Everything that is reached, module by module."""

    def __init__(self) -> None:
        self.modules: dict[str, _Module] = {}
        self._names: set[tuple[str, str]] = set()

    def code(self) -> list[Any]:
        """The statements that count, in their order, by module."""
        return [[name, module.code] for name, module in sorted(self.modules.items()) if module.taken or module.imports]

    def name(self, module_name: str, name: str) -> None:
        """Follow one name of a module."""
        if (module_name, name) in self._names:
            return
        self._names.add((module_name, name))
        module = self._module(module_name)
        for index, statement in enumerate(module.tree.body):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                for alias in statement.names:
                    if name == (alias.asname or alias.name.partition(".")[0]) or alias.name == "*":
                        self._import(module, statement, alias)
            elif name in _bound_by(statement) or _may_change(statement, name):
                self._take(module, index)
            elif isinstance(statement, _DEFINITIONS) and not module.imports_name(name):
                if any(_root(one) == name and not isinstance(one, ast.Name) for one in statement.decorator_list):
                    self._take(module, index)  # @TABLE.append
                if _changes_inside(statement, name):
                    self._changer(module, statement.name)
        if not module.binds(name) and module.binds("__getattr__"):
            self.name(module_name, "__getattr__")

    def _changer(self, module: _Module, function: str) -> None:
        """Follow a function that changes something of its module when it is called, and what it decorates there."""
        self.name(module.name, function)
        for index, statement in enumerate(module.tree.body):
            if isinstance(statement, _DEFINITIONS) and any(
                function in _mentioned_by(one) for one in statement.decorator_list
            ):
                self._take(module, index)

    def whole(self, module_name: str) -> None:
        """Follow all that a module says."""
        module = self._module(module_name)
        for index in range(len(module.tree.body)):
            self._take(module, index)

    def _module(self, name: str) -> _Module:
        if name not in self.modules:
            module = self.modules[name] = _Module.read(name)
            for parent in packages_around(name):
                if source_file(parent) is not None:
                    self._module(parent)
            for index, statement in enumerate(module.tree.body):  # which may change what everyone sees: np.seterr(...)
                if isinstance(statement, ast.Expr) and not _is_text(statement):
                    self._take(module, index)
        return self.modules[name]

    def _take(self, module: _Module, index: int) -> None:
        if index in module.taken:
            return
        statement = module.tree.body[index]
        if _is_text(statement):
            return
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                self._import(module, statement, alias)
            return
        module.taken.add(index)
        mentioned = _mentioned_by(statement)
        if mentioned & _LOOKS_EVERYWHERE:
            self.whole(module.name)
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    self._follow(module, node, alias)
        for name in sorted(mentioned):
            self.name(module.name, name)

    def _import(self, module: _Module, node: ast.Import | ast.ImportFrom, alias: ast.alias) -> None:
        """Take one name of an import at the top of a module: the others, and the order of imports, do not count."""
        origin = "" if isinstance(node, ast.Import) else absolute_module(node, module.package)
        one = (origin, alias.name, alias.asname or "")
        if one not in module.imports:
            module.imports.add(one)
            self._follow(module, node, alias)

    def _follow(self, module: _Module, node: ast.Import | ast.ImportFrom, alias: ast.alias) -> None:
        """Follow an import of a module of the user's own."""
        if isinstance(node, ast.Import):
            if _is_own(alias.name):
                self.whole(alias.name)
                if not alias.asname and source_file(outermost := alias.name.partition(".")[0]) is not None:
                    self.whole(outermost)  # which is what the import binds
            return
        origin = absolute_module(node, module.package)
        if not _is_own(origin):
            return
        inner = f"{origin}.{alias.name}"
        if alias.name == "*":
            self.whole(origin)
            return
        if source_file(origin) is not None and self._module(origin).may_bind(alias.name):
            self.name(origin, alias.name)
        if source_file(inner) is not None:  # a module of a package, which a name there may stand for
            self.whole(inner)


def _bound_by(statement: ast.stmt) -> set[str]:
    """The names of the module that a statement gives a value."""
    bound: set[str] = set()
    for node in _of_the_module(statement):
        if isinstance(node, _DEFINITIONS):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            bound.add(node.id)
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            bound.add(node.rest)
    return bound


def _of_the_module(node: ast.AST) -> Iterator[ast.AST]:
    """A statement's nodes, without those inside functions and classes, whose names are their own."""
    yield node
    if isinstance(node, _DEFINITIONS):
        return
    for child in ast.iter_child_nodes(node):
        yield from _of_the_module(child)


def _may_change(statement: ast.stmt, name: str) -> bool:
    """Whether a statement that does not bind a name may change its value, as ``TABLE.update(...)`` and ``TABLE[1] = 2`` do."""
    if isinstance(statement, _DEFINITIONS + (ast.Import, ast.ImportFrom)) or name not in _mentioned_by(statement):
        return False
    plain = isinstance(statement, ast.Assign | ast.AnnAssign) and not any(
        isinstance(node, ast.Call | ast.Attribute | ast.Subscript) for node in ast.walk(statement)
    )
    return not plain


def _changes_inside(definition: ast.AST, name: str) -> bool:
    """Whether a function changes a name of its module when it is called: as a global, or in place."""
    for node in ast.walk(definition):
        if isinstance(node, ast.Global) and name in node.names:
            return True
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            changed = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING:
            changed = node.func.value
        else:
            continue
        if _root(changed) == name:
            return True
    return False


def _mentioned_by(statement: ast.AST) -> set[str]:
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    for node in ast.walk(statement):
        if isinstance(node, ast.Global):
            names |= set(node.names)
    return names


def _plain(node: Any, with_docs: bool) -> Any:
    """A tree as lists of texts, the same under every version of Python that has these nodes."""
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            if name in _LEFT_OUT or value is None or value == []:
                continue
            if name in ("annotation", "returns") and isinstance(node, ast.arg | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if name == "body" and isinstance(node, _DEFINITIONS) and not with_docs and _is_text(value[0]):
                value = value[1:]
            fields.append([name, _plain(value, with_docs)])
        return [type(node).__name__, fields]
    if isinstance(node, list):
        return [_plain(one, with_docs) for one in node]
    return [type(node).__name__, repr(node)]


def _is_text(statement: ast.AST) -> bool:
    """Whether a statement is a text by itself, such as a docstring."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _says_doc(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == "__doc__" for node in ast.walk(tree)) or any(
        isinstance(node, ast.Name) and node.id == "__doc__" for node in ast.walk(tree)
    )


def _is_own(module: str) -> bool:
    top = module.partition(".")[0]
    return bool(top) and top not in _OTHERS and top not in sys.stdlib_module_names


def _root(node: ast.expr) -> str:
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return ""
    return node.id
