"""What an on-demand function means: a hash of its code and of all that it reaches, which comments and layout do not change.

The code is read as a syntax tree, without comments, docstrings, annotations of functions and line breaks. What counts is the
function, the names of its module that it mentions and those that these mention, near and far: constants, helpers, classes,
and imports from modules of the user's own, which are followed in the same way. Other functions of these modules do not count.
Where a module that runs with it changes another, or code looks for names by text, all code of these modules counts.

Source: the reachability of names as linkers and tree shakers take it, on Python's own syntax tree.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fti_assets.core.on_demand.annotations import with_calls
from fti_assets.core.on_demand.code import code_of, code_of_all
from fti_assets.core.on_demand.syntax.changes import (
    DEFINITIONS,
    attributes_of,
    may_change,
    mentioned_by,
    root,
)
from fti_assets.core.on_demand.syntax.effects import Effects
from fti_assets.core.on_demand.syntax.memos import is_memo
from fti_assets.core.on_demand.syntax.module import MOST_MODULES, Module, is_own
from fti_assets.core.on_demand.syntax.objects import Objects, uses
from fti_assets.core.on_demand.syntax.reads import is_built_in, is_of_a_library, only_read
from fti_assets.core.on_demand.syntax.source import absolute_module, packages_around, remember, source_file
from fti_assets.core.on_demand.syntax.trees import is_text, walk, with_own_names
from fti_assets.core.on_demand.tricks import (
    around,
    changers_of,
    formats_by_a_name,
    is_tricky,
    reads_annotations,
    reads_docs,
    reads_words,
    refuse_layout,
)
from fti_assets.core.on_demand.unread import without_unread
from fti_assets.errors import DeclarationError

_READINGS = ("by memo", "by annotation", "by effect", "what is read", "by attribute", "whole")
"""What counts, in this release and earlier ones: each takes more than the one before, the first alone what fills a memo."""
_LOOKS_EVERYWHERE = frozenset({
    "__annotations__", "__import__", "eval", "exec", "globals", "import_module", "importlib", "locals", "vars",
})  # fmt: skip


def meaning(module: str, function: str) -> str:
    """The SHA-256 of what a function of a module means.

    Raises:
        DeclarationError: the module has no source file, cannot be read, or does not define the function.
    """
    return _meaning(module, function, _READINGS[0])


def has_meaning(module: str, function: str, meaning_before: str) -> bool:
    """Whether a function means what was once written down, by this release or an earlier one.

    An earlier one took the whole of a module that is imported as such, where this one takes what is used of it, or also took what
    nothing reads: annotations of constants, what runs only where the module is the program, and what only reads a constant; or the
    places of constants, and what is only made beside them of the same classes, functions and tables; or what annotations of functions
    say, as if it were used.

    Raises:
        DeclarationError: as ``meaning``.
    """
    return any(meaning_before == _meaning(module, function, counts) for counts in _READINGS)


@remember
def _meaning(module: str, function: str, counts: str) -> str:
    """The hash, where modules that are imported as such count whole, by their attributes that are used, by what is read of that, or
    by what is read or changed of it.

    An earlier reading took no call for a change that fills a memo: it says what it said then where no such call is left out by it.
    """
    code, counted, has_memos = _code(module, function, counts, by_memo=True)
    if has_memos:
        code = ["by memo", counts, code]
        if counts != _READINGS[0]:
            earlier, counted_earlier, _ = _code(module, function, counts, by_memo=False)
            code = earlier if counted_earlier == counted else code
    text = json.dumps(code, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _code(module: str, function: str, counts: str, *, by_memo: bool) -> tuple[list[Any], list[Any], bool]:
    """What counts as lists of texts, which statements that is, and whether a memo is among it."""
    modules_before = around(module, {module: Module.read(module)})  # read first: what a manifest names may be no module
    by_annotation, by_effect, without_reads = (counts in _READINGS[:end] for end in (2, 3, 4))
    modules_before = {name: replace(one, tree=with_calls(one)) for name, one in modules_before.items()}
    if without_reads:
        modules_before = without_unread(modules_before, of_functions=by_annotation)
    if by_effect:
        modules_before = {
            name: Module(name, with_own_names(one.tree), one.package, True) for name, one in modules_before.items()
        }
    modules_before = {name: replace(one, by_memo=by_memo) for name, one in modules_before.items()}
    reach = _Reach(
        modules_before,
        by_attribute=counts != "whole",
        without_reads=without_reads,
        by_effect=by_effect,
        with_future=by_annotation or any(map(reads_annotations, modules_before.values())),
    )
    reach.name(module, function)
    if not reach.modules[module].binds(function):
        raise DeclarationError(f"module {module!r} defines no function {function!r}")
    modules = around(module, {**modules_before, **reach.modules})
    refuse_layout(modules, reach.modules)
    by_format = by_annotation and formats_by_a_name(modules, reach.modules)
    with_words = by_format or reads_words(modules, reach.modules)
    is_whole = is_tricky(modules, reach.modules)
    if is_whole:
        code = code_of_all(modules, with_words)
    else:
        code = reach.code(with_words, with_all_docs=by_format or reads_docs(modules, reach.modules))
    if by_format:
        code = ["by format", code]  # which no earlier reading gives: it took no docstrings then
    counted = [
        is_whole,
        *([name, sorted(one.indexes), sorted(one.imports)] for name, one in sorted(reach.modules.items())),
    ]
    statements = [(one, one.tree.body[index]) for one in reach.modules.values() for index in one.indexes]
    has_memos = any(is_memo(one, statement) for one, statement in statements)
    return code, counted, has_memos


class _Reach:
    """Everything that is reached, module by module, among those that are imported with the function's."""

    def __init__(
        self,
        modules: Mapping[str, Module],
        *,
        by_attribute: bool,
        without_reads: bool,
        by_effect: bool,
        with_future: bool,
    ) -> None:
        self._without_reads, self._by_effect, self._with_future = without_reads, by_effect, with_future
        self._effects: dict[str, Effects] = {}
        self._only_read: dict[str, set[str]] = {}
        self._modules_before = modules
        self._objects = Objects(modules, by_effect=by_effect)
        self._by_attribute = by_attribute
        self.modules: dict[str, Module] = {}
        self._names: set[tuple[str, str]] = set()

    def code(self, with_words: bool, with_all_docs: bool) -> list[Any]:
        """The statements that count, in their order, by module."""
        return [
            [name, code_of(module, with_words, self._effects_of(module))]
            for name, module in sorted(self.modules.items())
            if module.indexes or module.imports or (with_all_docs and any(map(is_text, module.tree.body[:1])))
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
        if not self._by_effect:
            return None
        if module.name not in self._effects:
            self._effects[module.name] = Effects(module, self._objects, changers_of(module, self._objects))
        return self._effects[module.name]

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
        if module.name not in self._only_read:
            self._only_read[module.name] = only_read(module)
        return name in self._only_read[module.name] or is_of_a_library(module, name) or is_built_in(module, name)

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
        if name not in self.modules:
            if len(self.modules) == MOST_MODULES:
                raise DeclarationError(
                    f"an on-demand function reaches more than {MOST_MODULES} modules, {name!r} among them: move it to a module "
                    "that imports only numpy and modules of your own"
                )
            module = self.modules[name] = self._modules_before.get(name) or Module.read(name)
            for parent in packages_around(name):
                if source_file(parent) is not None:
                    self._module(parent)
            for index, statement in enumerate(module.tree.body):  # which may change what everyone sees: np.seterr(...)
                if isinstance(statement, ast.Expr) and not is_text(statement):
                    self._take(module, index)
            if self._with_future:
                self._import_future(module)
        return self.modules[name]

    def _import_future(self, module: Module) -> None:
        """Take ``from __future__ import annotations``, where it is left since annotations count."""
        for one in module.tree.body:
            if isinstance(one, ast.ImportFrom) and one.module == "__future__":
                for alias in one.names:
                    if alias.name == "annotations":
                        self._import(module, one, alias)

    def _take(self, module: Module, index: int) -> None:
        if index in module.indexes:
            return
        statement = module.tree.body[index]
        if is_text(statement):
            return
        if isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                self._import(module, statement, alias)
            return
        module.indexes.add(index)
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
        if one not in module.imports:
            module.imports.add(one)
            self._follow(module, node, alias)

    def _follow(self, module: Module, node: ast.Import | ast.ImportFrom, alias: ast.alias) -> None:
        """Follow an import of a module of the user's own."""
        if isinstance(node, ast.Import):
            if is_own(alias.name) and self._by_attribute and module.by_attribute.get(alias.asname or alias.name):
                self._module(alias.name)  # whoever takes something of it says what
            elif is_own(alias.name):
                self.whole(alias.name)
                if not alias.asname and source_file(outermost := alias.name.partition(".")[0]) is not None:
                    self.whole(outermost)  # which is what the import binds
            return
        origin = absolute_module(node, module.package)
        if not is_own(origin):
            return
        if alias.name == "*":
            self.whole(origin)
            return
        self._from(origin, alias.name)

    def _from(self, origin: str, name: str) -> None:
        """Follow what a module of the user's own has under a name."""
        inner = f"{origin}.{name}"
        if source_file(origin) is not None and self._module(origin).may_bind(name):
            self.name(origin, name)
        if source_file(inner) is not None:  # a module of a package, which a name there may stand for
            self.whole(inner)
