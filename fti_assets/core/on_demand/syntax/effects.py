"""Which statements of a module only bind names, so that neither they nor their places matter to whoever does not say the names.

``HALF = RATE / 2``, ``ALL = [TABLE[k] for k in KEYS]`` and ``free = Plan(0)`` are such, where what they call changes nothing. What is
not known to change nothing counts as if it did.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping

from fti_assets.core.on_demand.syntax.changes import (
    DEFINITIONS,
    FUNCTIONS,
    is_constant,
    mentioned_by,
    root,
    run_at_once,
)
from fti_assets.core.on_demand.syntax.imports import is_own
from fti_assets.core.on_demand.syntax.lazy import lazy
from fti_assets.core.on_demand.syntax.module import Module
from fti_assets.core.on_demand.syntax.objects import Objects
from fti_assets.core.on_demand.syntax.reads import is_built_in, is_flat, is_of_a_library
from fti_assets.core.on_demand.syntax.trees import is_text, walk

# fmt: off
_NEW = frozenset({
    "all", "any", "bool", "dict", "enumerate", "float", "int", "isinstance", "len", "list", "range", "repr", "reversed", "set", "sorted",
    "str", "tuple", "zip",
})
"""What gives a new value, in which no more of its arguments lives on than ``changes.lives_on`` says."""
_NEW_OF_FLAT = frozenset({"abs", "frozenset", "max", "min", "pow", "round", "sum"})
_ONCE = frozenset({"enumerate", "reversed", "zip"})
"""What is used up by whoever goes over it, so that it may not be kept."""
_NEVER_KEPT = frozenset({"filter", "iter", "map", "next", "open"})
_ITERATORS = frozenset({"flat", "flatiter", "ndenumerate", "ndindex", "nditer", "nested_iters"})
"""Those of numpy."""
_PARTS = frozenset({"count", "get", "index", "items", "keys", "values"})
_PARTS_OF_FLAT = frozenset({"copy", "format", "join", "lower", "replace", "split", "strip", "upper"})
_DATA = (ast.Constant, ast.Dict, ast.DictComp, ast.JoinedStr, ast.List, ast.ListComp, ast.Set, ast.Tuple)
_LIBRARIES = frozenset({
    "dataclasses", "datetime", "decimal", "enum", "fractions", "fti_assets", "functools", "math", "numpy", "typing", "zoneinfo",
})
"""Whose functions give what nobody uses up, and change nothing that they are not given."""
_VALUES = (
    *_DATA, ast.Attribute, ast.BinOp, ast.BoolOp, ast.Call, ast.Compare, ast.FormattedValue, ast.GeneratorExp, ast.IfExp, ast.Lambda,
    ast.Name, ast.SetComp, ast.Slice, ast.Starred, ast.Subscript, ast.UnaryOp,
)
# fmt: on


class Effects:
    """What the statements of one module do as it is imported.

    Args:
        module: whose statements.
        objects: what the names of the modules stand for.
        changers: the functions and classes of the module that change something when they are called.
    """

    def __init__(self, module: Module, objects: Objects, changers: set[str]) -> None:
        self._module, self._objects, self._first_changers = module, objects, changers

    def is_calm(self, index: int) -> bool:
        """Whether a statement only binds names, each for good, and changes nothing."""
        return index in self._calm

    def decorates_alone(self, name: str) -> bool:
        """Whether a decorator changes nothing beside what it stands over."""
        return name in self._definitions and self._does_no_more(name)

    def in_order(self, indexes: list[int]) -> list[ast.stmt]:
        """Statements in an order that is the same wherever their order makes no difference."""
        places: list[tuple[int, str, int]] = []
        part = 1  # of the calm ones between two others
        for index in indexes:
            if index in self._calm:
                places.append((0 if index in self._free else part, min(self._module.bound[index]), index))
            else:
                places.append((part + 1, "", index))
                part += 2
        return [self._module.tree.body[index] for _, _, index in sorted(places)]

    @lazy
    def _calm(self) -> set[int]:
        if "*" in self._module.imports_by_name:
            return set()
        calm = {index for index, one in enumerate(self._module.tree.body) if self._is_calm(index, one)}
        while True:  # what is made of something unknown, such as an iterator, may use it up
            names = {name for index in calm for name in self._module.bound[index]}
            fewer = {
                index for index in calm if all(one in names or self._is_foreign(one) for one in self._names_said(index))
            }
            if fewer == calm:
                return calm
            calm = fewer

    @lazy
    def _free(self) -> set[int]:
        """Those that give the same wherever they stand: what they are made of never changes."""
        return {index for index in self._calm if not self._names_said(index) & self._unstable}

    @lazy
    def _times_bound(self) -> Counter[str]:
        """How often each name is bound, as a global of a function and by ``del`` too."""
        times = Counter(name for bound in self._module.bound for name in bound)
        for node in walk(self._module.tree):
            if isinstance(node, ast.Global):
                times.update(node.names)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del):
                times.update([node.id])
        return times

    @lazy
    def _values(self) -> Mapping[str, ast.expr]:
        """The value of each name that one plain assignment binds."""
        return {
            one.targets[0].id: one.value
            for one in self._module.tree.body
            if isinstance(one, ast.Assign)
            and len(one.targets) == 1
            and isinstance(one.targets[0], ast.Name)
            and self._times_bound[one.targets[0].id] == 1
        }

    @lazy
    def _libraries(self) -> set[str]:
        """The names of libraries of which nothing is given another value here: ``np.add`` only sounds like a change."""
        assignments = {
            root(node.value)
            for node in walk(self._module.tree)
            if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load)
        }
        return {name for name in self._module.origins if is_of_a_library(self._module, name)} - assignments

    @lazy
    def _definitions(self) -> set[str]:
        names = {one.name for one in self._module.tree.body if isinstance(one, DEFINITIONS)}
        return {name for name in names if self._times_bound[name] == 1}

    @lazy
    def _own(self) -> set[str]:
        """The functions and classes of the module, and the objects that they make at once."""
        makers = {
            name
            for name, value in self._values.items()
            if isinstance(value, ast.Call) and root(value.func) in self._definitions
        }
        return self._definitions | makers

    @lazy
    def _changers(self) -> set[str]:
        """The names that may lead to code that changes something, and those of modules that are not looked into here."""
        foreign = {
            name
            for name, origins in self._module.origins.items()
            if any(map(is_own, origins)) and not self._objects.is_written_out(self._module, name)
        }
        lambdas = {
            name
            for one, bound in zip(self._module.tree.body, self._module.bound, strict=True)
            for node in walk(one)
            if isinstance(node, ast.Lambda) and self._module.changes.of(node) & self._times_bound.keys()
            for name in bound
        }
        unknown = {
            one.name
            for one in self._module.tree.body
            if isinstance(one, DEFINITIONS) and not self._makes_known_values(one)
        }
        return self._reached_from(self._first_changers | foreign | lambdas | self._with_kept_defaults | unknown)

    def _makes_known_values(self, definition: ast.AST) -> bool:
        """Whether a function or class says nothing that gives an iterator, or an object that changes when it is asked."""
        nodes = list(walk(definition))
        gone_over = {child for node in nodes for child in self._gone_over(node)}
        return not any(
            self._is_used_up(node, gone_over)
            or (isinstance(node, ast.Attribute) and node.attr in _ITERATORS)
            or (isinstance(node, ast.Name) and is_of_a_library(self._module, node.id) and not self._is_known(node.id))
            for node in nodes
        )

    def _is_used_up(self, node: ast.AST, gone_over: set[ast.expr]) -> bool:
        """Whether a node gives what is used up by whoever goes over it, and does not go over it at once."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _NEVER_KEPT:
            return True
        is_once = isinstance(node, ast.GeneratorExp) or (isinstance(node, ast.Call) and root(node.func) in _ONCE)
        return is_once and node not in gone_over

    def _is_known(self, library: str) -> bool:
        """Whether a name stands for a library whose functions give what nobody uses up, or for a part of one."""
        return all(origin.partition(".")[0] in _LIBRARIES for origin in self._module.origins[library]) and not (
            self._module.originals[library] & _ITERATORS
        )

    @lazy
    def _with_kept_defaults(self) -> set[str]:
        """The names of functions, and of what holds them, with a default that a call may change for the next one."""
        return {
            name
            for one, bound in zip(self._module.tree.body, self._module.bound, strict=True)
            for node in walk(one)
            if isinstance(node, ast.arguments) and not all(map(self._is_fixed, _defaults(node)))
            for name in bound
        }

    @lazy
    def _unstable(self) -> set[str]:
        """The names that do not stand for the same all the time, and those that are made of such ones."""
        changes = set[str]().union(*self._module.changed_names, *self._module.changed_of_module) - self._libraries
        names = {
            name
            for name, times in self._times_bound.items()
            if not is_constant(self._values.get(name, ast.Name(name)))
            and (times > 1 or self._module.live_on({name}) & changes)
        }
        return self._reached_from(names)

    def _reached_from(self, names: set[str]) -> set[str]:
        """Some names and those whose statements say one, near or far."""
        while True:
            more = {
                name
                for mentions, bound in zip(self._module.mentions, self._module.bound, strict=True)
                if mentions & names
                for name in bound
            } - names
            if not more:
                return names
            names = names | more

    def _names_said(self, index: int) -> set[str]:
        """The names of the module that are said in what runs of a statement at once."""
        mentions = set[str]().union(*map(mentioned_by, self._pieces(index)))
        return {name for name in mentions - self._module.bound[index] if self._module.binds(name)}

    def _pieces(self, index: int) -> list[ast.AST]:
        """What of a statement runs as the module is imported."""
        one = self._module.tree.body[index]
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            return [*one.decorator_list, one.args]
        if isinstance(one, ast.ClassDef):
            pieces: list[ast.AST] = [*one.decorator_list, *one.bases, *(word.value for word in one.keywords)]
            for part in one.body:
                pieces += [*part.decorator_list, part.args] if isinstance(part, FUNCTIONS[:2]) else [part]
            return pieces
        return [one]

    def _is_calm(self, index: int, one: ast.stmt) -> bool:
        if not isinstance(one, (*DEFINITIONS, ast.Assign)) or not self._module.bound[index]:
            return False
        mentions, bound = self._names_said(index), self._module.bound[index]
        if any(self._times_bound[name] != 1 for name in mentions | bound) or mentions & self._changers:
            return False
        makes = bound if isinstance(one, ast.Assign | ast.ClassDef) or one.decorator_list else set[str]()
        if not all(map(self._does_no_more, makes)) or any(map(self._is_lively, mentions)):
            return False
        return all(map(self._only_binds, self._pieces(index)))

    def _does_no_more(self, name: str) -> bool:
        return name not in self._changers and not self._is_lively(name)

    def _is_lively(self, name: str) -> bool:
        return self._objects.is_lively(self._module, name) or self._objects.is_active(self._module, name)

    def _only_binds(self, piece: ast.AST) -> bool:
        """Whether a piece binds plain names alone, if any, and calls nothing that may change something."""
        if self._module.changes.of(piece) & self._times_bound.keys() - self._libraries:
            return False
        nodes = list(run_at_once(piece))
        gone_over = {child for node in nodes for child in self._gone_over(node)}
        for node in nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if not all(isinstance(one, ast.Name) for one in targets):
                    return False
            elif not (isinstance(node, ast.Pass) or is_text(node) or _is_known(node)):
                return False
            if self._is_used_up(node, gone_over) or (isinstance(node, ast.Attribute) and node.attr in _ITERATORS):
                return False
            if isinstance(node, ast.Call) and not self._is_calm_call(node):
                return False
        return True

    def _gone_over(self, node: ast.AST) -> list[ast.expr]:
        """The expressions whose values a node goes over at once, and does not keep."""
        if isinstance(node, ast.comprehension | ast.For):
            return [node.iter]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and is_built_in(self._module, node.func.id):
            return node.args if node.func.id in (_NEW | _NEW_OF_FLAT) - _ONCE else []
        return []

    def _is_calm_call(self, node: ast.Call) -> bool:
        arguments = [*node.args, *(word.value for word in node.keywords)]
        name = root(node.func)
        if isinstance(node.func, ast.Attribute) and self._is_data(node.func.value):
            is_part = node.func.attr in _PARTS and all(map(self._cannot_change, arguments))
            return is_part or (
                node.func.attr in _PARTS_OF_FLAT and all(map(self._is_flat, [node.func.value, *arguments]))
            )
        if isinstance(node.func, ast.Name) and is_built_in(self._module, name):
            return name in _NEW or (name in _NEW_OF_FLAT and all(map(self._is_flat, arguments)))
        if not all(map(self._cannot_change, arguments)):
            return False
        if is_of_a_library(self._module, name):
            parts = self._module.originals[name] | {
                one.attr for one in walk(node.func) if isinstance(one, ast.Attribute)
            }
            return self._is_known(name) and not any(one.startswith(("set", "reset")) for one in parts)
        return name in self._own and self._does_no_more(name)

    def _is_data(self, node: ast.expr) -> bool:
        """Whether an expression gives one of Python's own values, whose methods are known."""
        return isinstance(self._values.get(node.id) if isinstance(node, ast.Name) else node, _DATA)

    def _is_flat(self, node: ast.expr) -> bool:
        """Whether nothing in the values that an expression is made of can be changed in place."""
        return all(
            is_flat(self._values[one.id]) if one.id in self._values else not self._module.binds(one.id)
            for one in walk(node)
            if isinstance(one, ast.Name)
        )

    def _cannot_change(self, node: ast.expr) -> bool:
        """Whether whoever keeps the value of an expression can change nothing that others have."""
        return all(
            is_constant(self._values[one.id]) if one.id in self._values else self._is_foreign(one.id)
            for one in walk(node)
            if isinstance(one, ast.Name)
        )

    def _is_fixed(self, node: ast.expr) -> bool:
        """Whether nothing in the value of an expression can be changed in place."""
        return is_constant(node) or (isinstance(node, ast.Name) and self._cannot_change(node))

    def _is_foreign(self, name: str) -> bool:
        is_own_constant = self._objects.is_written_out(self._module, name)
        return not self._module.binds(name) or is_own_constant or is_of_a_library(self._module, name)


def _is_known(node: ast.AST) -> bool:
    """Whether a node is no statement, and no expression but of the kinds that are looked into here."""
    return not isinstance(node, ast.stmt | ast.expr) or isinstance(node, _VALUES)


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(one for one in arguments.kw_defaults if one is not None)]
