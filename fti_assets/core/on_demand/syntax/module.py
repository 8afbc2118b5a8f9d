"""A module as the meaning of an on-demand function reads it: its statements, never run, and which names each binds and changes."""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fti_assets.core.on_demand.syntax.changes import (
    DEFINITIONS,
    FRESH,
    FUNCTIONS,
    Changes,
    bound_by,
    changed_inside,
    flows,
    is_constant,
    is_program,
    lives_on,
    mentioned_by,
    own_names,
    root,
    run_at_once,
)
from fti_assets.core.on_demand.syntax.imports import imports_by_name, is_own, originals, origins
from fti_assets.core.on_demand.syntax.lazy import lazy, once
from fti_assets.core.on_demand.syntax.source import source_file, source_of
from fti_assets.core.on_demand.syntax.trees import walk, with_whole_names
from fti_assets.errors import DeclarationError

MOST_MODULES = 250


@dataclass
class Module:
    """A module's top-level statements, which no longer change once one has been asked about.

    Args:
        by_effect: take it that decorators of the user's own call what they stand over, and that an object changes with its class;
            earlier identities did not.
        by_memo: take it that what keeps its results changes when it is called; earlier identities did not.
    """

    name: str
    tree: ast.Module
    package: str
    by_effect: bool = False
    by_memo: bool = True

    @classmethod
    def read(cls, name: str) -> Module:
        """Raises DeclarationError where there is no source file, or none that can be read."""
        file = source_file(name)
        if file is None:
            raise DeclarationError(
                f"on-demand features of module {name!r} have no source file: put them in a module that the app can import"
            )
        try:
            tree = ast.parse(source_of(file))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise DeclarationError(f"module {name!r} cannot be read: {error}") from error
        tree = with_whole_names(tree, {name for one in tree.body for name in bound_by(one)})
        return cls(name, tree, name if file.name == "__init__.py" else name.rpartition(".")[0])

    def anew(self) -> Module:
        """The same module, of which nothing is known yet that may rest on what was asked of first (``Changes.met_itself``)."""
        other = replace(self)
        rests_on_order = ("changes", "changed_names", "by_attribute")
        vars(other).update((name, value) for name, value in vars(self).items() if name not in rests_on_order)
        return other

    def binds(self, name: str) -> bool:
        return name in self._names

    @lazy
    def _names(self) -> set[str]:
        return set[str]().union(*self.bound)

    @once
    def imports_name(self, name: str) -> bool:
        """Whether a name stands for what an import at the top brings."""
        pairs = zip(self.tree.body, self.bound, strict=True)
        return any(name in bound for one, bound in pairs if isinstance(one, ast.Import | ast.ImportFrom))

    def may_bind(self, name: str) -> bool:
        """Whether a name may come from here: bound, from ``import *``, or made by a ``__getattr__`` of the module."""
        return self.binds(name) or self.binds("*") or self.binds("__getattr__")

    @lazy
    def bound(self) -> list[set[str]]:
        """The names that each statement gives a value."""
        return [bound_by(one) for one in self.tree.body]

    @lazy
    def mentions(self) -> list[frozenset[str]]:
        """The names that each statement says."""
        return [mentioned_by(one) for one in self.tree.body]

    @lazy
    def changed_by_call(self) -> list[frozenset[str]]:
        """The names that each function and class changes when it is called."""
        return [changed_inside(one) if isinstance(one, DEFINITIONS) else frozenset() for one in self.tree.body]

    @lazy
    def changed_of_module(self) -> list[frozenset[str]]:
        """The same, without parameters and local names that are called like a name of the module."""
        return [
            names - _local_alone(one) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) else names
            for one, names in zip(self.tree.body, self.changed_by_call, strict=True)
        ]

    @lazy
    def changes(self) -> Changes:
        return Changes(self.tree)

    @lazy
    def changed_names(self) -> list[set[str]]:
        """The names that each statement may change in place, by a call of something unknown too."""
        return [(self.changes.of(one) - own_names(one)) | self.escapes(run_at_once(one)) for one in self.tree.body]

    @lazy
    def origins(self) -> dict[str, set[str]]:
        """Which modules the imports of a name ask for, those inside functions too."""
        return origins(self.tree, self.package)

    @lazy
    def imports_by_name(self) -> dict[str, set[tuple[str, str]]]:
        """Of each name that an import brings the module that it comes from, and what it is called there, "" for the module itself."""
        return imports_by_name(self.tree, self.package)

    @lazy
    def names_at_once(self) -> list[set[str]]:
        """The names that each statement says as the module is imported."""
        return [{node.id for node in run_at_once(one) if isinstance(node, ast.Name)} for one in self.tree.body]

    @lazy
    def run(self) -> set[str]:
        """The functions and classes that are named, near or far, in what runs as the module is imported."""
        definitions = {one.name: one for one in self.tree.body if isinstance(one, DEFINITIONS)}
        waiting = {
            name
            for one, mentions in zip(self.tree.body, self.names_at_once, strict=True)
            if not is_program(one)
            for name in mentions & definitions.keys()
        }
        if self.by_effect:
            waiting |= {
                name
                for name, one in definitions.items()
                if any(self.binds(root(each)) and not self._is_of_library(root(each)) for each in one.decorator_list)
            }
        results: set[str] = set()
        while waiting:
            name = waiting.pop()
            results.add(name)
            waiting |= (mentioned_by(definitions[name]) & definitions.keys()) - results
        return results

    def callers_of(self, function: str) -> set[str]:
        """A function and the functions and classes that say it, near or far."""
        definitions = [
            (one.name, mentions)
            for one, mentions in zip(self.tree.body, self.mentions, strict=True)
            if isinstance(one, DEFINITIONS)
        ]
        callers = {function}
        while more := {name for name, mentions in definitions if mentions & callers} - callers:
            callers |= more
        return callers

    @lazy
    def by_attribute(self) -> dict[str, set[str]]:
        """The names that stand for imported modules of the user's own and are said for their attributes alone, and the modules.

        ``import rules`` or ``import shop.rules as rules``, where all of this module says no more of it than ``rules.limit``: it hands it
        to nobody, changes nothing of it, and gives the name to nothing else.
        """
        results: dict[str, set[str]] = {}
        bound: Counter[str] = Counter(name for one in self.bound for name in one)
        for one in self.tree.body:
            for alias in one.names if isinstance(one, ast.Import) else ():
                if is_own(alias.name) and (alias.asname or "." not in alias.name):
                    results.setdefault(alias.asname or alias.name, set()).add(alias.name)
        read = Counter(
            one.value.id
            for one in walk(self.tree)
            if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and isinstance(one.ctx, ast.Load)
        )
        mentions = Counter(one.id for one in walk(self.tree) if isinstance(one, ast.Name))
        changes = {name for one in self.tree.body for name in self.changes.of(one) | changed_inside(one)}
        inside = {
            name
            for one in walk(self.tree)
            for name in (
                [alias.asname or alias.name.partition(".")[0] for alias in one.names]
                if isinstance(one, ast.Import | ast.ImportFrom) and one not in self.tree.body
                else [one.arg]
                if isinstance(one, ast.arg)
                else one.names
                if isinstance(one, ast.Global | ast.Nonlocal)
                else ()
            )
        }
        return {
            name: modules
            for name, modules in results.items()
            if bound[name] == len(modules) == 1 and mentions[name] == read[name] and name not in changes | inside
        }

    @lazy
    def texts(self) -> set[str]:
        """The names that stand for a text that is written out wherever they are given a value, in functions too."""
        text_bindings: Counter[str] = Counter()
        for node in walk(self.tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                text_bindings.update(one.id for one in node.targets if isinstance(one, ast.Name))
        bindings = Counter(
            one.id for one in walk(self.tree) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)
        )
        parameters = {one.arg for one in walk(self.tree) if isinstance(one, ast.arg)}
        return (
            {name for name in text_bindings if text_bindings[name] == bindings[name]} - parameters - self.origins.keys()
        )

    @lazy
    def originals(self) -> dict[str, set[str]]:
        """What the imports of a name say: ``{"load": {"importlib", "import_module"}}``."""
        return originals(self.tree)

    def second_names(self, name: str) -> set[str]:
        """The other names by which the value of a name, or a part of it, is changed in place."""
        if name in self.origins and not any(is_own(origin) for origin in self.origins[name]):
            return set()
        binding = [one for one, bound in zip(self.tree.body, self.bound, strict=True) if name in bound]
        if not binding:
            return set()
        if all(isinstance(one, ast.Assign | ast.AnnAssign) and is_constant(one.value) for one in binding):
            return set()
        whole = FUNCTIONS if self.by_effect else DEFINITIONS
        names = self.live_on({name}, whole=any(isinstance(one, whole) for one in binding)) - {name}
        return {other for other in names if any(other in changes for changes in self.changed_names)}

    def live_on(self, names: set[str], *, whole: bool = False) -> set[str]:
        """The names of the module in which the values of some live on: ``B`` of ``A`` after ``B = [A]``.

        Args:
            whole: only where a value passes on as such, as a function does in ``g = f``.
        """
        names = set(names)
        while True:
            more = {
                target
                for targets, sources, passes_on in self._flows
                if sources & names and (passes_on or not whole)
                for target in targets
            } - names
            if not more:
                return names
            names |= more

    @lazy
    def _flows(self) -> list[tuple[set[str], set[str], bool]]:
        """The names that take a value, those that live on in it, and whether it is one of those as such."""
        results: list[tuple[set[str], set[str], bool]] = []
        for statement in self.tree.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                exits = [one.value for one in walk(statement) if isinstance(one, ast.Return | ast.Yield)]
                inside = {name for one in exits for name in lives_on(one)}
                results.append(({statement.name}, self._inward(statement, inside), False))
                continue
            owner = {statement.name} if isinstance(statement, ast.ClassDef) else set()
            for node in run_at_once(statement):
                for targets, value in flows(node):
                    sources = lives_on(value) | (_hidden_in(value) if self.by_effect else set())
                    results.append((targets | owner, sources, isinstance(value, ast.Name)))
        return results

    def _inward(self, function: ast.AST, names: set[str]) -> set[str]:
        """The names that live on in local ones of a function."""
        pairs = [(targets, lives_on(value)) for node in walk(function) for targets, value in flows(node)]
        while True:
            more = {source for targets, sources in pairs if targets & names for source in sources} - names
            if not more:
                return names
            names = names | more

    def escapes(self, nodes: Iterable[ast.AST]) -> set[str]:
        """The names that some nodes give to functions of which nothing is known here."""
        names: set[str] = set()
        for node in nodes:
            if isinstance(node, ast.Call) and not self._is_readable(node.func):
                for one in [*node.args, *(word.value for word in node.keywords)]:
                    names |= lives_on(one)
        return names

    def _is_of_library(self, name: str) -> bool:
        return name in self.origins and not any(is_own(origin) for origin in self.origins[name])

    def _is_readable(self, callee: ast.expr) -> bool:
        name = root(callee)
        if name in self.origins:
            return self._is_of_library(name)
        return name in self.changes.functions or (hasattr(builtins, name) and not self.binds(name))


def _local_alone(function: ast.FunctionDef | ast.AsyncFunctionDef) -> frozenset[str]:
    """The own names of a function that are nowhere in it the module's: in no ``global``, and in no default."""
    names = {name for node in walk(function) if isinstance(node, ast.Global) for name in node.names}
    return (
        own_names(function)
        - names
        - {name for one in run_at_once(function) for name in mentioned_by(one) if one is not function}
    )


def _hidden_in(value: ast.AST | None) -> set[str]:
    """The names that may live on in a sum of lists, and in what a function or method of one's own gives that is called like a fresh one."""
    names = set[str]()
    for node in [] if value is None else walk(value):
        if isinstance(node, ast.BinOp):
            names |= lives_on(node.left) | lives_on(node.right)
        elif isinstance(node, ast.Call) and (root(node.func) in FRESH or getattr(node.func, "attr", "") in FRESH):
            names |= {root(node.func)} - {""}
    return names
