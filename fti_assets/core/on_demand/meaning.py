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
from collections import Counter
from collections.abc import Mapping
from typing import Any

from fti_assets.core.on_demand.changes import (
    DEFINITIONS,
    attributes_of,
    bound_by,
    may_change,
    mentioned_by,
    root,
    run_at_once,
)
from fti_assets.core.on_demand.module import MOST_MODULES, Module, is_own
from fti_assets.core.on_demand.objects import Objects, uses
from fti_assets.core.on_demand.reads import is_built_in, is_of_a_library, only_read
from fti_assets.core.on_demand.source import absolute_module, packages_around, remember, source_file
from fti_assets.core.on_demand.trees import walk
from fti_assets.core.on_demand.tricks import around, is_tricky, reads_words, refuse_layout
from fti_assets.core.on_demand.unread import without_unread
from fti_assets.errors import DeclarationError

_LOOKS_EVERYWHERE = frozenset({"eval", "exec", "globals", "locals", "vars", "__import__", "importlib", "import_module"})
_ANNOTATED = (ast.arg, ast.FunctionDef, ast.AsyncFunctionDef)
_LEFT_OUT = frozenset({"ctx", "type_comment", "kind", "lineno", "col_offset"})


def meaning(module: str, function: str) -> str:
    """The SHA-256 of what a function of a module means.

    Raises:
        DeclarationError: the module has no source file, cannot be read, or does not define the function.
    """
    return _meaning(module, function, "what is read")


def has_meaning(module: str, function: str, known: str) -> bool:
    """Whether a function means what was once written down, by this release or an earlier one.

    An earlier one took the whole of a module that is imported as such, where this one takes what is used of it, or also took what
    nothing reads: annotations of constants, what runs only where the module is the program, and what only reads a constant.

    Raises:
        DeclarationError: as ``meaning``.
    """
    return any(known == _meaning(module, function, counts) for counts in ("what is read", "by attribute", "whole"))


@remember
def _meaning(module: str, function: str, counts: str) -> str:
    """The hash, where modules that are imported as such count whole, by their attributes that are used, or by what is read of that."""
    imported = around(module, {module: Module.read(module)})  # read first: what a manifest names may be no module
    if counts == "what is read":
        imported = without_unread(imported)
    reach = _Reach(imported, by_attribute=counts != "whole", without_reads=counts == "what is read")
    reach.name(module, function)
    if not reach.modules[module].binds(function):
        raise DeclarationError(f"module {module!r} defines no function {function!r}")
    modules = around(module, {**imported, **reach.modules})
    refuse_layout(modules, reach.modules)
    with_words = reads_words(modules, reach.modules)
    code = _whole(modules, with_words) if is_tricky(modules, reach.modules) else reach.code(with_words)
    text = json.dumps(code, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@remember
def declares_on_demand(module: str) -> bool:
    """Whether a module's source calls ``fti_assets.on_demand`` at all; it is not run."""
    tree = Module.read(module).tree
    names: set[str] = set()
    for node in walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or "fti_assets" for alias in node.names if alias.name.split(".")[0] == "fti_assets"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fti_assets":
            names |= {alias.asname or alias.name for alias in node.names if alias.name == "on_demand"}
    return any(
        isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id in names)
            or (isinstance(node.func, ast.Attribute) and node.func.attr == "on_demand" and root(node.func) in names)
        )
        for node in walk(tree)
    )


class _Reach:
    """Everything that is reached, module by module, among those that are imported with the function's."""

    def __init__(self, imported: Mapping[str, Module], *, by_attribute: bool, without_reads: bool) -> None:
        self._without_reads = without_reads
        self._only_read: dict[str, set[str]] = {}
        self._imported = imported
        self._objects = Objects(imported)
        self._by_attribute = by_attribute
        self.modules: dict[str, Module] = {}
        self._names: set[tuple[str, str]] = set()

    def code(self, with_words: bool) -> list[Any]:
        """The statements that count, in their order, by module."""
        return [
            [name, _code(module, with_words)]
            for name, module in sorted(self.modules.items())
            if module.taken or module.imports
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
                or (name in module.mentioned[index] and may_change(statement))
                or (is_lively and uses(statement, name))
            ):
                self._take(module, index)
            elif isinstance(statement, DEFINITIONS) and not is_imported:
                if any(root(one) == name and not isinstance(one, ast.Name) for one in statement.decorator_list):
                    self._take(module, index)  # @TABLE.append
                changed = module.changed_of_module if self._without_reads else module.changed_by_call
                if name in changed[index] or (module.binds(name) and name in module.changed[index]):
                    self._changer(module, statement.name)
                at_once = (is_active or is_object) and name in module.names_at_once[
                    index
                ]  # class One(Base), def f(k=IDS + 1)
                if at_once or (is_lively and statement.name in module.run and name in module.mentioned[index]):
                    self.name(module_name, statement.name)
        second = module.live_on({name}) - {name} if is_lively else module.second_names(name)
        for other in sorted(second):
            self.name(module_name, other)
        if not module.binds(name) and module.binds("__getattr__"):
            self.name(module_name, "__getattr__")

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
        """Follow a function that changes something of its module when it is called, and what it decorates there."""
        self.name(module.name, function)
        for index, statement in enumerate(module.tree.body):
            if isinstance(statement, DEFINITIONS) and any(
                function in mentioned_by(one) for one in statement.decorator_list
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
            module = self.modules[name] = self._imported.get(name) or Module.read(name)
            for parent in packages_around(name):
                if source_file(parent) is not None:
                    self._module(parent)
            for index, statement in enumerate(module.tree.body):  # which may change what everyone sees: np.seterr(...)
                if isinstance(statement, ast.Expr) and not _is_text(statement):
                    self._take(module, index)
        return self.modules[name]

    def _take(self, module: Module, index: int) -> None:
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
        mentioned = module.mentioned[index]
        if mentioned & _LOOKS_EVERYWHERE:
            self.whole(module.name)
        for node in walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    self._follow(module, node, alias)
        for name in sorted(mentioned):
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


def _whole(modules: dict[str, Module], with_words: bool) -> list[Any]:
    """All code of some modules, in its order."""
    return [
        [name, [_plain(one, with_words, with_words) for one in module.tree.body if with_words or not _is_text(one)]]
        for name, module in sorted(modules.items())
    ]


def _code(module: Module, with_words: bool) -> list[Any]:
    """What counts of a module: imports by name, then constants in their order, then functions and classes by name.

    Where a name is bound twice the places of all matter, since a function may take it at one of them, as a default.
    """
    with_docs = with_words or _says_doc(module.tree)
    taken = [module.tree.body[index] for index in sorted(module.taken)]
    bound = Counter(name for statement in taken for name in bound_by(statement))
    bound.update(alias or name.partition(".")[0] for _, name, alias in module.imports)
    if max(bound.values(), default=1) == 1:
        if not _order_counts(module, taken):
            taken.sort(key=lambda one: one.name if isinstance(one, DEFINITIONS) else "")
    elif any(bound[alias or name.partition(".")[0]] > 1 for _, name, alias in module.imports):
        taken = [
            one
            for index, one in enumerate(module.tree.body)
            if index in module.taken or isinstance(one, ast.Import | ast.ImportFrom)
        ]
    text = [module.tree.body[0]] if with_words and module.tree.body and _is_text(module.tree.body[0]) else []
    return [
        sorted(module.imports),
        [_plain(statement, with_docs, with_words) for statement in [*text, *taken]],
    ]


def _order_counts(module: Module, taken: list[ast.stmt]) -> bool:
    """Whether the places of functions among the constants matter: they are put into something, or take its value of then."""
    constants = {name for one in taken if not isinstance(one, DEFINITIONS) for name in bound_by(one)}
    changed = set[str]()
    for index in module.taken:
        changed |= module.changed[index]
    for one in taken:
        if not isinstance(one, DEFINITIONS):
            continue
        decorators = {root(decorator) for decorator in one.decorator_list}
        if any(module.binds(name) and not module.imports_name(name) for name in decorators):
            return True
        if any(isinstance(node, ast.Global) for node in walk(one)):
            return True
        at_once = {node.id for node in run_at_once(one) if isinstance(node, ast.Name)}
        if at_once & constants & changed:
            return True
    return False


def _plain(node: Any, with_docs: bool, with_annotations: bool) -> Any:
    """A tree as lists of texts, the same under every version of Python that has these nodes."""
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            if name in _LEFT_OUT or value is None or value == []:
                continue
            if not with_annotations and name in ("annotation", "returns") and isinstance(node, _ANNOTATED):
                continue
            if name == "values" and isinstance(node, ast.JoinedStr):
                value = [one for one in value if not _is_empty(one)]  # which Python 3.12.1 adds behind a nested field
                if not value:
                    continue
            if name == "body" and isinstance(node, DEFINITIONS) and not with_docs and _is_text(value[0]):
                value = value[1:]
            fields.append([name, _plain(value, with_docs, with_annotations)])
        return [type(node).__name__, fields]
    if isinstance(node, list):
        return [_plain(one, with_docs, with_annotations) for one in node]
    return [type(node).__name__, repr(node)]


def _is_empty(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == ""


def _is_text(statement: ast.AST) -> bool:
    """Whether a statement is a text by itself, such as a docstring."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _says_doc(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == "__doc__" for node in walk(tree)) or any(
        isinstance(node, ast.Name) and node.id == "__doc__" for node in walk(tree)
    )
