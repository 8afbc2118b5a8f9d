"""What an on-demand function reaches by the names that it mentions, near and far, in its module and others of the user's own.

Source: the reachability of names as linkers and tree shakers take it, on Python's own syntax tree.
"""

from __future__ import annotations

import ast
from typing import Any

from fti_assets.core.on_demand.code import code_of
from fti_assets.core.on_demand.surroundings import Surroundings
from fti_assets.core.on_demand.syntax.changes import DEFINITIONS, attributes_of, may_change, mentioned_by, root
from fti_assets.core.on_demand.syntax.effects import Effects
from fti_assets.core.on_demand.syntax.imports import is_own
from fti_assets.core.on_demand.syntax.module import MOST_MODULES, Module
from fti_assets.core.on_demand.syntax.objects import uses
from fti_assets.core.on_demand.syntax.part import Part
from fti_assets.core.on_demand.syntax.reads import is_built_in, is_of_a_library, only_read
from fti_assets.core.on_demand.syntax.source import absolute_module, packages_around, source_file
from fti_assets.core.on_demand.syntax.trees import is_text, walk
from fti_assets.core.on_demand.tricks import Statements
from fti_assets.errors import DeclarationError

_LOOKS_EVERYWHERE = frozenset({
    "__annotations__", "__import__", "eval", "exec", "globals", "import_module", "importlib", "locals", "vars",
})  # fmt: skip


class Reach:
    """Everything that a function reaches, module by module, among those that are imported with its own."""

    def __init__(self, surroundings: Surroundings, *, by_attribute: bool) -> None:
        self._surroundings, self._objects = surroundings, surroundings.objects
        self._without_reads, self._by_effect = surroundings.without_reads, surroundings.by_effect
        self._by_attribute = by_attribute
        self.parts: dict[str, Part] = {}
        self._names: set[tuple[str, str]] = set()

    def code(self, with_words: bool, with_all_docs: bool) -> list[Any]:
        """The statements that count, in their order, by module."""
        return [
            [name, code_of(part, with_words, self._effects_of(part.module))]
            for name, part in sorted(self.parts.items())
            if part.indexes or part.imports or (with_all_docs and any(map(is_text, part.module.tree.body[:1])))
        ]

    def statements(self) -> Statements:
        """What counts and what runs at import, each with its module."""
        return [
            *self._surroundings.run,
            *((part.module, one) for part in self.parts.values() for one in part.statements),
        ]

    def name(self, module_name: str, name: str) -> None:
        """Follow one name of a module."""
        if (module_name, name) in self._names:
            return
        self._names.add((module_name, name))
        module = self._module(module_name)
        if self._without_reads and self._takes_no_change(module, name):
            for index, bound in enumerate(module.bound):
                if name in bound and not isinstance(module.tree.body[index], ast.Import | ast.ImportFrom):
                    self._take(module, index)
            self._import_all(module, name)
            return
        is_imported = module.imports_name(name)
        is_lively, is_active = self._objects.is_lively(module, name), self._objects.is_active(module, name)
        is_object = self._objects.is_lively_object(module, name)
        self._import_all(module, name)
        for index, statement in enumerate(module.tree.body):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                continue
            if (
                name in module.bound[index]
                or (name in module.mentions[index] and self._may_change(module, index))
                or (is_lively and uses(statement, name))
            ):
                self._take(module, index)
            elif isinstance(statement, DEFINITIONS) and not is_imported:
                if self._is_decorated_by(module, statement, name):
                    self._take(module, index)  # @TABLE.append
                changes = module.changed_of_module if self._without_reads else module.changed_by_call
                if name in changes[index] or (module.binds(name) and name in module.changed_names[index]):
                    self._changer(module, statement.name)
                at_once = (is_active or is_object) and name in module.names_at_once[
                    index
                ]  # class One(Base), def f(k=IDS + 1)
                if at_once or (is_lively and statement.name in module.run and name in module.mentions[index]):
                    self.name(module_name, statement.name)
        second = module.live_on({name}) - {name} if is_lively else module.second_names(name)
        for other in sorted(second):
            self.name(module_name, other)
        if not module.binds(name) and module.binds("__getattr__"):
            self.name(module_name, "__getattr__")

    def _effects_of(self, module: Module) -> Effects | None:
        """What the statements of a module do, where that counts."""
        return self._surroundings.effects_of(module) if self._by_effect else None

    def _may_change(self, module: Module, index: int) -> bool:
        """Whether a statement may change what it says and does not bind."""
        if not may_change(module.tree.body[index]):
            return False
        effects = self._effects_of(module)
        return effects is None or not effects.is_calm(index)

    def _is_decorated_by(self, module: Module, statement: Any, name: str) -> bool:
        """Whether a name is called, or a part of it, to decorate: ``@TABLE.append``."""
        if not any(root(one) == name and not isinstance(one, ast.Name) for one in statement.decorator_list):
            return False
        effects = self._effects_of(module)
        return effects is None or not effects.decorates_alone(name)

    def _import_all(self, module: Module, name: str) -> None:
        """Take what brings a name into a module, if imports do."""
        for statement in module.tree.body:
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                continue
            for alias in statement.names:
                if name == (alias.asname or alias.name.partition(".")[0]) or alias.name == "*":
                    self._import(module, statement, alias)

    def _takes_no_change(self, module: Module, name: str) -> bool:
        return name in only_read(module) or is_of_a_library(module, name) or is_built_in(module, name)

    def _changer(self, module: Module, function: str) -> None:
        """Follow a function that changes something of its module when it is called, and the definitions that call it at once."""
        self.name(module.name, function)
        callers = module.callers_of(function)
        for index, statement in enumerate(module.tree.body):
            if isinstance(statement, DEFINITIONS) and (
                any(function in mentioned_by(one) for one in statement.decorator_list)
                or module.names_at_once[index] & callers  # class One: put(7)
            ):
                self._take(module, index)

    def whole(self, module_name: str) -> None:
        """Follow all that a module says."""
        module = self._module(module_name)
        for index in range(len(module.tree.body)):
            self._take(module, index)

    def _module(self, name: str) -> Module:
        if name not in self.parts:
            if len(self.parts) == MOST_MODULES:
                raise DeclarationError(
                    f"an on-demand function reaches more than {MOST_MODULES} modules, {name!r} among them: move it to a module "
                    "that imports only numpy and modules of your own"
                )
            module = self._surroundings.module(name)
            self.parts[name] = Part(module)
            for parent in packages_around(name):
                if source_file(parent) is not None:
                    self._module(parent)
            for index, statement in enumerate(module.tree.body):  # which may change what everyone sees: np.seterr(...)
                if isinstance(statement, ast.Expr) and not is_text(statement):
                    self._take(module, index)
            if self._surroundings.with_future:
                self._import_future(module)
        return self.parts[name].module

    def _import_future(self, module: Module) -> None:
        """Take ``from __future__ import annotations``, where it is left since annotations count."""
        for one in module.tree.body:
            if isinstance(one, ast.ImportFrom) and one.module == "__future__":
                for alias in one.names:
                    if alias.name == "annotations":
                        self._import(module, one, alias)

    def _take(self, module: Module, index: int) -> None:
        part = self.parts[module.name]
        if index in part.indexes:
            return
        statement = module.tree.body[index]
        if is_text(statement):
            return
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                self._import(module, statement, alias)
            return
        part.indexes.add(index)
        mentions = module.mentions[index]
        if mentions & _LOOKS_EVERYWHERE:
            self.whole(module.name)
        for node in walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    self._follow(module, node, alias)
        for name in sorted(mentions):
            self.name(module.name, name)
        if self._by_attribute:
            for name, attribute in sorted(attributes_of(statement)):
                for origin in module.by_attribute.get(name, ()):
                    self._from(origin, attribute)

    def _import(self, module: Module, node: ast.Import | ast.ImportFrom, alias: ast.alias) -> None:
        """Take one name of an import at the top of a module: the others, and the order of imports, do not count."""
        origin = "" if isinstance(node, ast.Import) else absolute_module(node, module.package)
        one = (origin, alias.name, alias.asname or "")
        part = self.parts[module.name]
        if one not in part.imports:
            part.imports.add(one)
            self._follow(module, node, alias)

    def _follow(self, module: Module, node: ast.Import | ast.ImportFrom, alias: ast.alias) -> None:
        """Follow an import of a module of the user's own."""
        origin = alias.name if isinstance(node, ast.Import) else absolute_module(node, module.package)
        if self._is_of_a_library(origin):
            return
        if isinstance(node, ast.Import):
            if is_own(alias.name) and self._by_attribute and module.by_attribute.get(alias.asname or alias.name):
                self._module(alias.name)  # whoever takes something of it says what
            elif is_own(alias.name):
                self.whole(alias.name)
                if not alias.asname and source_file(outermost := alias.name.partition(".")[0]) is not None:
                    self.whole(outermost)  # which is what the import binds
            return
        if not is_own(origin):
            return
        if alias.name == "*":
            self.whole(origin)
            return
        self._from(origin, alias.name)

    def _from(self, origin: str, name: str) -> None:
        """Follow what a module of the user's own has under a name."""
        if self._is_of_a_library(origin):
            return
        inner = f"{origin}.{name}"
        if source_file(origin) is not None and self._module(origin).may_bind(name):
            self.name(origin, name)
        if source_file(inner) is not None:  # a module of a package, which a name there may stand for
            self.whole(inner)

    def _is_of_a_library(self, module: str) -> bool:
        return module.partition(".")[0] in self._surroundings.libraries
