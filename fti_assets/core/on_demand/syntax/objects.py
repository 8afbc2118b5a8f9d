"""Which names of a module stand for objects that change when they are used, and which classes change something when they are.

``ids = Counter()`` counts with each ``ids + 1`` if its class says so; a class that lists its subclasses changes with each of them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from fti_assets.core.on_demand.syntax.changes import (
    DEFINITIONS,
    FUNCTIONS,
    attributes_of,
    bound_by,
    is_constant,
    own_names,
    root,
    run_at_once,
)
from fti_assets.core.on_demand.syntax.imports import is_own
from fti_assets.core.on_demand.syntax.lazy import lazy
from fti_assets.core.on_demand.syntax.memos import is_memo, is_memo_of_all
from fti_assets.core.on_demand.syntax.module import Module
from fti_assets.core.on_demand.syntax.trees import walk

_MAKING = frozenset({"__init__", "__post_init__", "__new__", "__set_name__", "__init_subclass__", "__prepare__"})
_FILLS_ITSELF = frozenset({"count", "cycle", "defaultdict"})
_GIVES_ONCE = frozenset({"enumerate", "filter", "iter", "map", "reversed", "zip"})


class Objects:
    """What the names of some modules stand for, as far as that can be told.

    Args:
        modules: the modules, by name; others are not looked at.
        by_effect: take it that an argument of another method of the same class is changed only if that method says so; earlier
            identities took it as changed.
    """

    def __init__(self, modules: Mapping[str, Module], *, by_effect: bool = False) -> None:
        self._modules, self._by_effect = modules, by_effect
        self._known: dict[tuple[str, str, str], bool] = {}
        self._asked: list[tuple[str, str, str]] = []
        self.met_itself = False
        """Whether a name led to another one that was being looked at: what is known then rests on which was asked of first."""

    def is_lively(self, module: Module, name: str) -> bool:
        """Whether a name's value may change when it is only used: an object with such a method, a generator, a defaultdict."""
        return self._once("lively", module, name, self._is_lively)

    def is_active(self, module: Module, name: str) -> bool:
        """Whether making an object of a class, or building a class on it, changes what others see."""
        return self._once("active", module, name, self._is_active)

    def _once(self, question: str, module: Module, name: str, answer: Callable[[Module, str], bool]) -> bool:
        key = (question, module.name, name)
        if key not in self._known:
            self._known[key] = False  # for what mentions itself
            self._asked.append(key)
            self._known[key] = answer(module, name)
            self._asked.pop()
        elif key in self._asked[:-1]:
            self.met_itself = True
        return self._known[key]

    def _is_lively(self, module: Module, name: str) -> bool:
        return any(self._makes_lively(module, one) for one in _binding(module, name)) or any(
            self.is_lively(self._modules[origin], original) for origin, original in self._imports(module, name)
        )

    def _is_active(self, module: Module, name: str) -> bool:
        return any(
            isinstance(one, ast.ClassDef)
            and (self._changes_when_made(module, one) or any(self.is_active(module, base) for base in _built_on(one)))
            for one in _binding(module, name)
        ) or any(self.is_active(self._modules[origin], original) for origin, original in self._imports(module, name))

    def is_lively_object(self, module: Module, name: str) -> bool:
        """Whether a name stands for one object that changes when it is used, not for a class or function that makes such ones."""
        if not self.is_lively(module, name):
            return False
        binding = _binding(module, name)
        if binding:
            return any(not isinstance(one, DEFINITIONS) or is_memo_of_all(module, one) for one in binding)
        return any(
            self.is_lively_object(self._modules[origin], original) for origin, original in self._imports(module, name)
        )

    def is_written_out(self, module: Module, name: str) -> bool:
        """Whether a name stands for a number, text or tuple that another module of the user's own writes out, and never binds again."""
        if not module.imports_name(name):
            return False
        origins = self._imports(module, name)
        return bool(origins) and all(
            len(binding := _binding(self._modules[origin], original)) == 1
            and isinstance(binding[0], ast.Assign)
            and all(isinstance(one, ast.Name) for one in binding[0].targets)
            and is_constant(binding[0].value)
            for origin, original in origins
        )

    @lazy
    def lively_names(self) -> set[str]:
        """The names of such objects in any of the modules."""
        return {
            name
            for module in self._modules.values()
            for name in set[str]().union(*module.bound)
            if self.is_lively_object(module, name)
        }

    @lazy
    def harmless_parts(self) -> set[str]:
        """The methods that change nothing, by their names: no class of the modules has one of that name that does."""
        methods = [
            (module, one)
            for module in self._modules.values()
            for definition in module.tree.body
            if isinstance(definition, ast.ClassDef)
            for one in definition.body
            if isinstance(one, FUNCTIONS[:2])
        ]
        changing = {
            one.name
            for module, one in methods
            if _changes_from(module, one, set()) or self._is_made_of_lively(module, one) or is_memo(module, one)
        }
        if changing & {"__getattr__", "__getattribute__", "__get__"}:
            return set()
        while True:
            more = {
                one.name
                for _, one in methods
                if any(isinstance(node, ast.Attribute) and node.attr in changing for node in walk(one))
            } - changing
            if not more:
                return {one.name for _, one in methods} - changing
            changing |= more

    def uses_one(self, module: Module, piece: ast.AST, imports: set[str]) -> bool:
        """Whether a piece uses an object that is brought from another module, and may change it."""
        if isinstance(piece, ast.Assign | ast.AnnAssign) and isinstance(piece.value, ast.Name):
            return False
        harmless = {
            node.value
            for node in walk(piece)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in self.harmless_parts
        }
        return any(
            (isinstance(node, ast.Name) and node.id in imports and self.is_lively_object(module, node.id))
            or (isinstance(node, ast.Attribute) and node.attr in self.lively_names and root(node) in imports)
            for node in walk(piece)
            if node not in harmless
        )

    def _imports(self, module: Module, name: str) -> list[tuple[str, str]]:
        origins = {*module.imports_by_name.get(name, ())}
        if not module.binds(name):
            origins |= {(origin, name) for origin, _ in module.imports_by_name.get("*", ())}
        return [(origin, original) for origin, original in sorted(origins) if origin in self._modules and original]

    def _makes_lively(self, module: Module, statement: ast.stmt) -> bool:
        if is_memo(module, statement):
            return True
        if isinstance(statement, ast.ClassDef):
            return self._has_changing_methods(module, statement) or self._is_made_of_lively(module, statement)
        nodes = list(walk(statement)) if isinstance(statement, FUNCTIONS) else list(run_at_once(statement))
        if isinstance(statement, FUNCTIONS[:2]) and (
            _keeps_a_state(module, statement)
            or takes_further_cases(module, statement)
            or module.changes.of(statement) - own_names(statement)
        ):
            return True
        mentions = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        for node in nodes:
            if (
                isinstance(node, ast.GeneratorExp)
                and not isinstance(statement, FUNCTIONS)
                and _is_kept(node, statement)
            ):
                return True
            if isinstance(node, ast.Call):
                callee = node.func.attr if isinstance(node.func, ast.Attribute) else root(node.func)
                originals = module.originals.get(callee, {callee})
                if originals & _FILLS_ITSELF or (callee in _GIVES_ONCE and _is_kept(node, statement)):
                    return True
        return any(self.is_lively(module, one) for one in sorted(mentions) if is_made_of(module, one)) or any(
            self.is_lively(self._modules[origin], attribute)
            for name, attribute in sorted(attributes_of(statement))
            for origin, original in sorted(module.imports_by_name.get(name, ()))
            if origin in self._modules and not original
        )

    def _is_made_of_lively(self, module: Module, definition: ast.AST) -> bool:
        """Whether a class, or what it is built on or a function says, names something lively."""
        mentions = {
            node.id for node in walk(definition) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }
        return any(self.is_lively(module, one) for one in sorted(mentions) if is_made_of(module, one))

    def _has_changing_methods(self, module: Module, definition: ast.ClassDef) -> bool:
        return self._changes_when_made(module, definition) or any(
            isinstance(one, FUNCTIONS[:2])
            and one.name not in _MAKING
            and _changes_from(module, one, self._methods(module, definition) if self._by_effect else set())
            for one in definition.body
        )

    def _methods(self, module: Module, definition: ast.ClassDef) -> set[str]:
        """The names of the methods of a class and of its bases in the module."""
        names, waiting = set[str](), [definition]
        while waiting:
            one = waiting.pop()
            names |= {part.name for part in one.body if isinstance(part, FUNCTIONS[:2])}
            bases = _built_on(one) - {one.name}
            waiting += [
                base
                for base in module.tree.body
                if isinstance(base, ast.ClassDef) and base.name in bases and base is not one
            ]
        return names

    def _changes_when_made(self, module: Module, definition: ast.ClassDef) -> bool:
        parts = {name for one in definition.body for name in bound_by(one)}
        for method in definition.body:
            if not isinstance(method, FUNCTIONS[:2]) or method.name not in _MAKING:
                continue
            places = [one.arg for one in (*method.args.posonlyargs, *method.args.args)]
            own = own_names(method)
            if any(name not in own for name in module.changes.of(method)) or any(
                isinstance(node, ast.Global | ast.Nonlocal) for node in walk(method)
            ):
                return True
            if places and any(_part_of(node, places[0]) in parts for node in _changed_in_place(method)):
                return True
        return False


def is_made_of(module: Module, name: str) -> bool:
    """Whether a name may say what a value is made of: bound here, or brought from a module of the user's own."""
    return module.binds(name) or any(is_own(origin) for origin in module.origins.get(name, ()))


def takes_further_cases(module: Module, statement: ast.stmt) -> bool:
    """Whether a function is one of ``functools.singledispatch``, to which others add cases."""
    return isinstance(statement, FUNCTIONS[:2]) and any(
        "singledispatch" in module.originals.get(root(one), ())
        or (isinstance(one, ast.Attribute) and one.attr == "singledispatch")
        for one in statement.decorator_list
    )


def _binding(module: Module, name: str) -> list[ast.stmt]:
    return [
        one
        for one, bound in zip(module.tree.body, module.bound, strict=True)
        if name in bound and not isinstance(one, ast.Import | ast.ImportFrom)
    ]


def _built_on(definition: ast.ClassDef) -> set[str]:
    """The names of a class's bases and of its metaclass."""
    return {root(one) for one in [*definition.bases, *(word.value for word in definition.keywords)]} - {""}


def _changes_from(module: Module, function: ast.FunctionDef | ast.AsyncFunctionDef, methods: set[str]) -> bool:
    """Whether a method changes more than what it makes itself, when ``methods`` of its object change no argument."""
    places = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
    parameters = {one.arg for one in walk(function.args) if isinstance(one, ast.arg)}
    own = own_names(function) - parameters
    nodes = [one for one in walk(function) if not (methods and _asks_itself(one, places[:1], methods))]
    changes = module.changes.of(function) | (module.escapes(nodes) & parameters)
    return _keeps_a_state(module, function) or not changes <= own


def _asks_itself(node: ast.AST, first: list[str], methods: set[str]) -> bool:
    """Whether a node calls a method of the object that a method is of, or in a class method the class."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name):
        return [node.func.id] == first
    return (
        isinstance(node.func, ast.Attribute)
        and node.func.attr in methods
        and [getattr(node.func.value, "id", "")] == first
    )


def _keeps_a_state(module: Module, function: ast.AST) -> bool:
    """Whether a function gives something that remembers: a generator, or a function that changes what is around it."""
    for node in walk(function):
        if isinstance(node, ast.Yield | ast.YieldFrom | ast.Nonlocal | ast.Global):
            return True
        if isinstance(node, FUNCTIONS) and node is not function and module.changes.of(node) - own_names(node):
            return True
    return False


def _changed_in_place(method: ast.AST) -> list[ast.expr]:
    """What a method's stores and changing calls go to: ``self.all`` of ``self.all.append(1)``."""
    results: list[ast.expr] = []
    for node in walk(method):
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            results.append(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            results.append(node.func.value)
        elif isinstance(node, ast.Call):
            results += node.args
        elif isinstance(node, ast.AugAssign):
            results.append(node.target)
    return results


def _part_of(node: ast.expr, owner: str) -> str:
    """The part of an owner that an expression starts from: ``all`` of ``self.all[0]``."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == owner:
            return node.attr
        node = node.value
    return ""


def _is_kept(node: ast.expr, statement: ast.AST) -> bool:
    """Whether it is the whole of what a statement gives a name."""
    return isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is node


def uses(statement: ast.AST, name: str) -> bool:
    """Whether a statement does more with a name than give it a second one."""
    if isinstance(statement, DEFINITIONS + (ast.Import, ast.ImportFrom)):
        return False
    if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Name):
        return False
    return any(isinstance(node, ast.Name) and node.id == name for node in run_at_once(statement))
