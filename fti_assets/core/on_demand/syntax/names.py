"""What each name of a module stands for, as far as its source tells: parts of numpy, the standard library, modules of the user's own.

The source is read by scopes, as Python reads it, and never run. A plain second name (``m = np``) is followed.

Source: the binding of names in section 4.2 of Python's language reference.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from fti_assets.core.on_demand.syntax.source import absolute_module, source_file
from fti_assets.core.on_demand.syntax.trees import walk

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_NONE: frozenset[tuple[int, str]] = frozenset()


@dataclass(eq=False)
class _Scope:
    """The names that a module, function, class or comprehension binds, each with what it may stand for."""

    kind: str
    outer: _Scope | None = None
    names: dict[str, list[str | ast.expr]] = field(default_factory=dict)
    elsewhere: dict[str, _Scope] = field(default_factory=dict)

    def bind(self, name: str, *stands_for: str | ast.expr) -> None:
        if name in self.elsewhere:
            self.elsewhere[name].bind(name, *stands_for)
        else:
            self.names.setdefault(name, []).extend(stands_for)

    @property
    def module(self) -> _Scope:
        return self if self.outer is None else self.outer.module

    @property
    def of_a_walrus(self) -> _Scope:
        return self.outer.of_a_walrus if self.kind == "comprehension" and self.outer is not None else self


class Names:
    """The names of one module, and of those of the user's own that it takes names from.

    Args:
        tree: the module's source.
        package: the package that relative imports start from.
        read: the names of modules that were read before, by module; others are added to it.
    """

    def __init__(self, tree: ast.Module, package: str, read: dict[str, Names] | None = None) -> None:
        self.followed: set[ast.expr] = set()
        """The expressions that only give a name to what they stand for."""
        self.functions = {node.name for node in walk(tree) if isinstance(node, ast.FunctionDef)}
        """The names of all functions that it defines, methods too."""
        self._package = package
        self._read = {} if read is None else read
        self._stars: list[str] = []
        self._module = _Scope("module")
        self._scopes: dict[ast.AST, _Scope] = {}
        self._texts: dict[str, set[str]] = {}
        self._place(tree, self._module)

    def paths(self, node: ast.expr, visited: frozenset[tuple[int, str]] = _NONE) -> set[str]:
        """The dotted names that an expression may stand for, ``numpy.load`` or ``builtins.open``; none for other values."""
        if isinstance(node, ast.Name):
            return self._meanings(node.id, self._scopes[node], visited)
        if isinstance(node, ast.Attribute):
            return self._parts(self.paths(node.value, visited), node.attr, visited)
        if isinstance(node, ast.NamedExpr):
            return self.paths(node.value, visited)
        if isinstance(node, ast.IfExp):
            return self.paths(node.body, visited) | self.paths(node.orelse, visited)
        if isinstance(node, ast.BoolOp):
            return {path for one in node.values for path in self.paths(one, visited)}
        if isinstance(node, ast.Call) and node.args:
            callees, text = self.paths(node.func, visited), text_of(node.args[0])
            if "builtins.getattr" in callees and len(node.args) > 1 and (part := text_of(node.args[1])) is not None:
                return self._parts(self.paths(node.args[0], visited), part, visited)
            if text is not None and "importlib.import_module" in callees:
                return {text}
            if text is not None and "builtins.__import__" in callees:
                return {text, text.partition(".")[0]}
        return set()

    def binds(self, name: str, visited: frozenset[str] = frozenset()) -> bool:
        """Whether the module gives a name a value, or takes it with all names of another."""
        return name in self._module.names or any(
            self._of(one).binds(name, visited | {one}) for one in self._stars if one not in visited
        )

    def is_of_a_class(self, node: ast.AST) -> bool:
        """Whether a statement or name stands in a class's own body, where it makes a part of the class."""
        return self._scopes[node].kind == "class"

    def texts(self, node: ast.expr) -> set[str]:
        """The text that an expression is, or that a name of the module is bound to."""
        text = text_of(node)
        if text is not None:
            return {text}
        return self._texts.get(node.id, set()) if isinstance(node, ast.Name) else set()

    def place_of(self, node: ast.Name) -> str:
        """A text that all mentions of a name share for which it stands for the same."""
        return f"{id(self._binding(node.id, self._scopes[node]) or self)} {node.id}"

    def bound_to(self, node: ast.expr) -> list[tuple[Names, ast.expr]]:
        """The expressions that a name is bound to, here or in a module of the user's own, each with the names around it."""
        if isinstance(node, ast.Name) and (scope := self._binding(node.id, self._scopes[node])) is not None:
            return [(self, one) for one in scope.names[node.id] if not isinstance(one, str)] + self._bound_elsewhere(
                node
            )
        return self._bound_elsewhere(node)

    def _bound_elsewhere(self, node: ast.expr) -> list[tuple[Names, ast.expr]]:
        results: list[tuple[Names, ast.expr]] = []
        for path in sorted(self.paths(node)):
            module, _, name = path.rpartition(".")
            if module and is_own(path) and source_file(module) is not None:
                other = self._of(module)
                values = other._module.names.get(name, ())
                results += [(other, one) for one in values if not isinstance(one, str)]
        return results

    def _parts(self, owners: set[str], part: str, path_so_far: frozenset[tuple[int, str]]) -> set[str]:
        return {path for owner in owners for path in self._resolve(f"{owner}.{part}", path_so_far)}

    def _resolve(self, path: str, visited: frozenset[tuple[int, str]]) -> set[str]:
        """A path, and what the module of the user's own that it leads through has under that name."""
        if not is_own(path):
            return {path}
        module, _, name = path.rpartition(".")
        if not module or source_file(module) is None:
            return {path}
        return {path} | self._of(module)._meanings(name, None, visited)

    def _of(self, module: str) -> Names:
        if module not in self._read:
            file = source_file(module)
            tree, package = ast.Module([], []), module.rpartition(".")[0]
            if file is not None:
                package = module if file.name == "__init__.py" else package
                with suppress(SyntaxError, ValueError):  # whoever reads that module for itself says so
                    tree = ast.parse(file.read_bytes())
            self._read[module] = Names(tree, package, self._read)
        return self._read[module]

    def _meanings(self, name: str, scope: _Scope | None, visited: frozenset[tuple[int, str]]) -> set[str]:
        """What a name stands for where it is said; without a scope, what the module has under it for others."""
        scope_of_name = self._binding(name, scope or self._module)
        if scope_of_name is None:
            if (mark := (id(self._module), f"*{name}")) in visited:
                return set()
            star_modules = [self._of(one) for one in self._stars]
            if scope is None or any(one.binds(name) for one in star_modules):
                return set[str]().union(*(one._meanings(name, None, visited | {mark}) for one in star_modules))
            return {f"builtins.{name}"} if hasattr(builtins, name) or name == "__builtins__" else set()
        mark = (id(scope_of_name), name)
        if mark in visited:
            return set()
        paths: set[str] = set()
        for one in scope_of_name.names[name]:
            if isinstance(one, str):
                paths |= self._resolve(one, visited | {mark})
            else:
                paths |= self.paths(one, visited | {mark})
        return paths

    def _binding(self, name: str, scope: _Scope) -> _Scope | None:
        """The scope that a name is bound in, as Python finds it: classes are seen from their own body alone."""
        one: _Scope | None = scope
        while one is not None:
            if name in one.elsewhere:
                one = one.elsewhere[name]
            if name in one.names and (one is scope or one.kind != "class"):
                return one
            one = one.outer
        return None

    def _place(self, node: ast.AST, scope: _Scope) -> None:
        self._scopes[node] = scope
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            self._place_function(node, scope)
        elif isinstance(node, ast.ClassDef):
            scope.bind(node.name)
            inner = _Scope("class", scope)
            for child in ast.iter_child_nodes(node):
                self._place(child, inner if child in node.body else scope)
        elif isinstance(node, _COMPREHENSIONS):
            inner = _Scope("comprehension", scope)
            for child in ast.iter_child_nodes(node):
                self._place(child, inner)
        elif isinstance(node, ast.NamedExpr):  # bound around a comprehension, not in it
            self._give([node.target], node.value, scope.of_a_walrus)
            self._place(node.target, scope.of_a_walrus)
            self._place(node.value, scope)
        else:
            self._bind(node, scope)
            for child in ast.iter_child_nodes(node):
                self._place(child, scope)

    def _place_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: _Scope) -> None:
        inner = _Scope("function", scope)
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        if not isinstance(node, ast.Lambda):
            scope.bind(node.name)
        for one in _own(body):
            if isinstance(one, ast.Global):
                inner.elsewhere |= dict.fromkeys(one.names, scope.module)
            elif isinstance(one, ast.Nonlocal):
                inner.elsewhere |= {name: self._binding(name, scope) or scope for name in one.names}
        for argument in walk(node.args):
            if isinstance(argument, ast.arg):
                inner.bind(argument.arg)
        for child in ast.iter_child_nodes(node):
            self._place(child, inner if child in body else scope)

    def _bind(self, node: ast.AST, scope: _Scope) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                scope.bind(alias.asname or top, alias.name if alias.asname else top)
        elif isinstance(node, ast.ImportFrom):
            origin = absolute_module(node, self._package)
            for alias in node.names:
                if alias.name == "*":
                    self._stars += [origin] if is_own(origin) and source_file(origin) is not None else []
                else:
                    scope.bind(alias.asname or alias.name, f"{origin}.{alias.name}")
        elif isinstance(node, ast.Assign):
            self._give(node.targets, node.value, scope)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._give([node.target], node.value, scope)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            scope.bind(node.id)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            scope.bind(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            scope.bind(node.rest)

    def _give(self, targets: list[ast.expr], value: ast.expr, scope: _Scope) -> None:
        """Bind the names of an assignment to what its value stands for, where each gets a whole one."""
        pairs = [pair for target in targets for pair in _pairs(target, value)]
        for target, part in pairs:
            if isinstance(target, ast.Name):
                scope.bind(target.id, part)
                text = text_of(part)
                if text is not None:
                    self._texts.setdefault(target.id, set()).add(text)
        lost = {part for target, part in pairs if not isinstance(target, ast.Name)}
        for _, part in pairs:
            self.followed |= {one for one in _whole(part) if part not in lost}


def any_among(
    names: Names, node: ast.AST, look: Callable[[Names, ast.AST], tuple[bool, list[tuple[Names, ast.AST]]]]
) -> bool:
    """Whether ``look`` says so of a node, or of one that it leads to; each is looked at once, and what a name is bound to too.

    Args:
        look: gives its verdict of a node of a module, and where that leads.
    """
    waiting: list[tuple[Names, ast.AST]] = [(names, node)]
    visited: set[ast.AST | str | int] = set()
    while waiting:
        names, node = waiting.pop()
        if node in visited:
            continue
        visited.add(node)
        if isinstance(node, ast.Name):
            place = names.place_of(node)
            if place in visited:
                continue
            visited.add(place)
        verdict, more = look(names, node)
        if verdict:
            return True
        waiting += more
    return False


def text_of(node: ast.expr) -> str | None:
    """The text that an expression is written as."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def is_own(path: str) -> bool:
    """Whether a dotted name may be of a module of the user's own."""
    return path.partition(".")[0] not in sys.stdlib_module_names | {"numpy", "fti_assets", "builtins"}


def _own(body: list[ast.stmt] | list[ast.expr]) -> Iterator[ast.AST]:
    """The nodes of a function's body, without those of what is defined inside it."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """Which part of a value each target gets: of ``a, b = x, y`` each its own."""
    lists = (ast.Tuple, ast.List)
    if not (isinstance(target, lists) and isinstance(value, lists) and len(target.elts) == len(value.elts)):
        return [(target, value)]
    if any(isinstance(one, ast.Starred) for one in [*target.elts, *value.elts]):
        return [(target, value)]
    return [pair for one, part in zip(target.elts, value.elts, strict=True) for pair in _pairs(one, part)]


def _whole(value: ast.expr) -> set[ast.expr]:
    """The expressions whose value an expression gives as it is."""
    if isinstance(value, ast.IfExp):
        return {value} | _whole(value.body) | _whole(value.orelse)
    if isinstance(value, ast.BoolOp):
        return {value}.union(*(_whole(one) for one in value.values))
    return {value} | (_whole(value.value) if isinstance(value, ast.NamedExpr) else set())
