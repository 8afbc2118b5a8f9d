"""What is read of a module, and of those that run with it, before any one of its functions is followed: the same for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fti_assets.core.on_demand.annotations import with_calls
from fti_assets.core.on_demand.code import code_of_all
from fti_assets.core.on_demand.syntax.effects import Effects
from fti_assets.core.on_demand.syntax.lazy import lazy, once
from fti_assets.core.on_demand.syntax.module import Module
from fti_assets.core.on_demand.syntax.names import Names
from fti_assets.core.on_demand.syntax.objects import Objects
from fti_assets.core.on_demand.syntax.part import Part
from fti_assets.core.on_demand.syntax.state import setters_of
from fti_assets.core.on_demand.syntax.trees import settle, with_own_names
from fti_assets.core.on_demand.syntax.unseen import binds_unseen
from fti_assets.core.on_demand.tricks import (
    Statements,
    around,
    changers_of,
    changes_another,
    looks_far,
    reads_annotations,
    run_of,
)
from fti_assets.core.on_demand.unread import without_unread


class Surroundings:
    """The modules around the functions of one.

    Args:
        module: of which the functions are.
        modules: all that may be asked about, by name, with what their reading leaves out taken out.
        by_annotation: take nothing that annotations of functions say.
        by_effect: take it that what only binds names changes nothing.
        without_reads: take it that what is only read does not change.
        libraries: packages that the functions need beside numpy, into which nothing is followed.
    """

    def __init__(
        self,
        module: str,
        modules: Mapping[str, Module],
        *,
        by_annotation: bool,
        by_effect: bool,
        without_reads: bool,
        libraries: frozenset[str] = frozenset(),
    ) -> None:
        self._module, self.libraries = module, libraries
        self.modules = modules
        self.by_annotation, self.by_effect, self.without_reads = by_annotation, by_effect, without_reads
        self.objects = Objects(modules, by_effect=by_effect)
        self.is_used = False
        self._further: dict[str, Module] = {}
        self._effects: dict[str, Effects] = {}

    @classmethod
    def read(
        cls,
        module: str,
        *,
        by_annotation: bool,
        by_effect: bool,
        without_reads: bool,
        by_memo: bool,
        libraries: frozenset[str] = frozenset(),
    ) -> Surroundings:
        """Raises DeclarationError where a module cannot be read."""
        modules = around(
            module, {module: Module.read(module)}, libraries
        )  # read first: what a manifest names may be no module
        modules = {name: replace(one, tree=with_calls(one)) for name, one in modules.items()}
        if without_reads:
            modules = without_unread(modules, of_functions=by_annotation)
        if by_effect:
            modules = {name: Module(name, with_own_names(one.tree), one.package, True) for name, one in modules.items()}
        modules = {name: replace(one, tree=settle(one.tree), by_memo=by_memo) for name, one in modules.items()}
        return cls(
            module,
            modules,
            by_annotation=by_annotation,
            by_effect=by_effect,
            without_reads=without_reads,
            libraries=libraries,
        )

    def anew(self) -> Surroundings:
        """The same, of which nothing is known yet that was asked in some order."""
        return Surroundings(
            self._module,
            {name: one.anew() for name, one in self.modules.items()},
            by_annotation=self.by_annotation,
            by_effect=self.by_effect,
            without_reads=self.without_reads,
            libraries=self.libraries,
        )

    @property
    def rests_on_order(self) -> bool:
        """Whether something is known of a circle of names, which would be something else had another one been asked of first."""
        modules = [*self.modules.values(), *self._further.values()]
        return self.objects.met_itself or any(one.changes.met_itself for one in modules)

    def module(self, name: str) -> Module:
        """One of the modules, or another one that a function leads to, as it is written."""
        if name not in self.modules and name not in self._further:
            self._further[name] = Module.read(name)
        return self.modules.get(name) or self._further[name]

    def effects_of(self, module: Module) -> Effects:
        """What the statements of a module do."""
        if module.name not in self._effects:
            self._effects[module.name] = Effects(module, self.objects, changers_of(module, self.objects))
        return self._effects[module.name]

    @lazy
    def with_future(self) -> bool:
        """Whether ``from __future__ import annotations`` counts."""
        return self.by_annotation or any(map(reads_annotations, self.modules.values()))

    @lazy
    def around(self) -> dict[str, Module]:
        """The modules that run when the functions' is imported, or that its functions import, as they are now."""
        return around(self._module, self.modules, self.libraries)

    @lazy
    def run(self) -> Statements:
        """What runs as they are imported."""
        return [(module, one) for module in self.around.values() for one in run_of(module)]

    def is_tricky(self, parts: Mapping[str, Part], statements: Statements) -> bool:
        """Whether one of the modules changes another, or code that is reached or run at their import looks for names by text."""
        if looks_far(statements) or self._binds_unseen:
            return True
        sets_state = any(
            module not in parts or index not in parts[module].indexes for module, index in self._setters
        )  # by a statement that does not count already
        return sets_state or self._changes_another

    @once
    def code(self, with_words: bool) -> list[Any]:
        """All code of the modules."""
        return code_of_all(self.around, with_words)

    @lazy
    def _binds_unseen(self) -> bool:
        return any(binds_unseen(module.tree) for module in self.around.values())

    @lazy
    def _setters(self) -> list[tuple[str, int]]:
        """The statements that set the state of a library as the modules are imported, by module and place."""
        sources = {name: (one.tree, Names(one.tree, one.package)) for name, one in self.around.items()}
        return [(one.module, one.index) for one in setters_of(sources)]

    @lazy
    def _changes_another(self) -> bool:
        objects = Objects(self.around)
        changers = {name: changers_of(module, objects) for name, module in self.around.items()}
        return any(changes_another(module, changers, objects) for module in self.around.values())
