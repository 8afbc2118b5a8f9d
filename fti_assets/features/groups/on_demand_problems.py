"""What the source of an on-demand function may not say, beside its imports: what cannot be followed before it runs, and what differs.

A module is taken by its parts alone (``np.sin``). One that is handed on as a value, or asked for a part by a text, could
give anything, so that the function's identity would not cover its answer.
"""

from __future__ import annotations

import ast
import datetime
import functools
import importlib
import logging
import operator
import sys
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from fti_assets.core.on_demand.declaring import calls_in, written_out
from fti_assets.core.on_demand.syntax.names import Names, is_own, text_of
from fti_assets.core.on_demand.syntax.source import source_file
from fti_assets.core.on_demand.syntax.trees import parts_asked_for
from fti_assets.features.groups.on_demand_clock import Clock
from fti_assets.features.groups.on_demand_machine import Machine

# fmt: off
DETERMINISTIC = frozenset({
    "__future__", "abc", "array", "base64", "binascii", "bisect", "calendar", "cmath", "collections",
    "colorsys", "contextlib", "copy", "dataclasses", "datetime", "decimal", "difflib", "enum", "fractions",
    "functools", "graphlib", "hashlib", "heapq", "html", "importlib", "ipaddress", "itertools", "json",
    "keyword", "logging", "math", "numbers", "operator", "re", "statistics", "string", "struct", "textwrap",
    "types", "typing", "unicodedata", "warnings", "zlib", "zoneinfo",
})
"""The parts of the standard library whose answers depend on nothing but what they are asked."""
_ORDINARY = frozenset({
    "__abs__", "__add__", "__and__", "__array__", "__array_ufunc__", "__array_function__", "__bool__", "__call__",
    "__class__", "__contains__", "__copy__", "__deepcopy__", "__delitem__", "__dtype__", "__divmod__", "__doc__",
    "__enter__", "__eq__", "__exit__", "__float__", "__floordiv__", "__format__", "__ge__", "__getitem__", "__gt__",
    "__index__", "__init__", "__init_subclass__", "__int__", "__invert__", "__iter__", "__le__", "__len__", "__lshift__",
    "__lt__", "__matmul__", "__mod__", "__module__", "__mul__", "__name__", "__ne__", "__neg__", "__new__", "__next__",
    "__or__", "__pos__", "__post_init__", "__pow__", "__qualname__", "__radd__", "__rand__", "__rdivmod__", "__repr__",
    "__reversed__", "__rfloordiv__", "__rlshift__", "__rmatmul__", "__rmod__", "__rmul__", "__ror__", "__round__",
    "__rpow__", "__rrshift__", "__rshift__", "__rsub__", "__rtruediv__", "__rxor__", "__setitem__", "__slots__", "__str__",
    "__sub__", "__truediv__", "__version__", "__xor__",
})
"""The names with underscores around them that lead to nothing but a value's own meaning."""
_FRAMES = frozenset({
    "ag_frame", "cr_frame", "f_back", "f_builtins", "f_globals", "f_locals", "gi_frame", "tb_frame", "tb_next",
})
_NUMPY_READS = frozenset({
    "load", "loadtxt", "genfromtxt", "fromfile", "fromregex", "fromtextfile", "memmap", "open_memmap", "DataSource",
    "NpzFile", "load_library",
})
# fmt: on

_DIFFERS = "which is another in training than when it serves"
_FILE = "reads a file, which is not part of the source: write the values out in a module, or name the file with fti.shipped_text"
_TEXT = "runs a text, and what that reaches cannot be told before it runs: write the code out"
_BY_TEXT = "takes a part by a name that cannot be told before it runs: write the name out"
_CLOCK = f"asks for the clock, {_DIFFERS}: take the prediction time as an input"
_SHIPPED_TEXT = (
    "asks for a file that cannot be told before it runs: call fti.shipped_text itself, with the file's path and its sha256 as texts "
    "written out"
)
_IMPORT = "imports a module whose name cannot be told before it runs: write the import out"
_HASH = "takes {name}(), which gives {what} another number in each process: {instead}"

_MEMORY = "gives what happens to be in memory: take np.zeros(...) or np.full(...)"
_MEMORY_WHERE = "gives what happens to be in memory where `where` is false: tell it what to give there, as in `out=np.zeros(len(x))`"
_HERE = "tells of the machine that it runs on, and training and serving have different ones: write the value out"
_SET_BY_PYTHON = "takes {name!r}, which Python sets and which may be another where it serves: write the value out"
_NUMPY_EMPTY = frozenset({"empty", "empty_like"})
_NUMPY_ARRAYS = frozenset({"numpy.ndarray", "numpy.recarray", "numpy.rec.recarray", "numpy.ma.core.ndarray"})
_TELLS_OF_MACHINE = frozenset({
    "hashlib.algorithms_available", "numpy.get_include", "numpy.lib.introspect.opt_func_info", "numpy.show_config",
    "numpy.show_runtime", "zoneinfo.TZPATH", "zoneinfo.available_timezones",
})  # fmt: skip
_OF_MODULES = frozenset({"__all__", "__import__", "__package__"})
_NUMPY_RUNS = frozenset({"runstring", "rundocs", "measure"})
_BUILTINS = {
    **dict.fromkeys(("eval", "exec", "compile"), _TEXT),
    **dict.fromkeys(("open", "input", "breakpoint", "help"), _FILE),
    "hash": _HASH.format(name="hash", what="text", instead="take zlib.crc32 of its bytes"),
    "id": _HASH.format(name="id", what="everything", instead="compare with `is`"),
    **dict.fromkeys(("vars", "globals", "locals", "dir"), "looks names up by their text: write the names out"),
    **dict.fromkeys(("__builtins__", "__loader__", "__spec__", "__build_class__"), "cannot be followed: leave it out"),
}
_TEXT_LOOKUPS: dict[Any, str] = {
    getattr: _BY_TEXT,
    operator.attrgetter: _BY_TEXT,
    operator.methodcaller: _BY_TEXT,
    importlib.import_module: _IMPORT,
    __import__: _IMPORT,
}
"""Functions that are fine where they are called with texts that are written out, each with what it is called with otherwise."""
_PARTS_OF_TEXT: tuple[Any, ...] = (typing.get_type_hints, typing.ForwardRef, types.CodeType)
_READS_A_FILE: tuple[Any, ...] = (logging.FileHandler,)
_MISSING = object()


@dataclass(frozen=True)
class Problem:
    """What a source may not say, where, and why."""

    line: int
    text: str
    why: str


def problems_of(tree: ast.Module, names: Names, refused_module: Callable[[str], str | None]) -> Iterator[Problem]:
    """What a source says beside its imports that makes training and serving differ, as far as it can be seen.

    Args:
        names: what its names stand for.
        refused_module: why a module of a library may not be taken; None if it may.
    """
    shipped_texts = {call.func for call in calls_in(tree, "shipped_text") if written_out(call) is not None}
    module_source = _ModuleSource(names, refused_module, shipped_texts)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    machine, clock = Machine(names, parents), Clock(names, parents)
    for node in nodes_of(tree, names):
        why = module_source.problem(node, parents.get(node)) or machine.problem(node)
        why = why or (_CLOCK if clock.is_asked(node) else None)
        if why is not None:
            yield Problem(getattr(node, "lineno", 0), ast.unparse(node), why)


def nodes_of(tree: ast.AST, names: Names) -> Iterator[ast.AST]:
    """Every node, without what only a type checker sees."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and names.paths(child.test) == {"typing.TYPE_CHECKING"}:
            for other in child.orelse:
                yield other
                yield from nodes_of(other, names)
            continue
        yield child
        yield from nodes_of(child, names)


class _ModuleSource:
    """One module's source, judged node by node."""

    def __init__(self, names: Names, refused_module: Callable[[str], str | None], shipped_texts: Set[ast.expr]) -> None:
        self._names = names
        self._refused_module = refused_module
        self._shipped_texts = shipped_texts

    def problem(self, node: ast.AST, parent: ast.AST | None) -> str | None:
        if isinstance(node, ast.ImportFrom | ast.Import):
            return self._of_import(node)
        if isinstance(node, ast.Attribute) and (why := _of_part(node.attr)) is not None:
            return why
        if isinstance(node, ast.Name) and self._is_set_by_python(node):
            return _SET_BY_PYTHON.format(name=node.id)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not isinstance(parent, ast.Expr):
            return next(filter(None, map(_of_part, sorted(parts_asked_for(node.value)))), None)
        if isinstance(node, ast.Call) and (why := self._of_call(node)) is not None:
            return why
        if isinstance(node, ast.expr) and "fti_assets.shipped_text" in self._names.paths(node):
            return None if node in self._shipped_texts else _SHIPPED_TEXT
        is_stored = isinstance(node, ast.Attribute | ast.Name) and not isinstance(node.ctx, ast.Load)
        return None if is_stored or not isinstance(node, ast.expr) else self._of_paths(node, parent)

    def _is_set_by_python(self, node: ast.Name) -> bool:
        """Whether it is a name such as ``__file__``, which no module gives a value itself."""
        is_special = node.id.startswith("__") and node.id.endswith("__") and isinstance(node.ctx, ast.Load)
        is_known = node.id in _ORDINARY | _OF_MODULES | _BUILTINS.keys()
        return is_special and not (is_known or self._names.binds(node.id) or self._names.bound_to(node))

    def _of_paths(self, node: ast.expr, parent: ast.AST | None) -> str | None:
        """Of a dotted name: what it stands for, and whether it is only taken by a part, called or given a second name."""
        is_followed = node in self._names.followed and not self._names.is_of_a_class(node)
        is_judged_around = isinstance(parent, ast.NamedExpr | ast.IfExp | ast.BoolOp | ast.Expr)
        for path in sorted(self._names.paths(node)):
            why = self._of_path(path)
            if why is not None:
                return why
            if is_followed or (is_judged_around and not self._names.is_of_a_class(node)):
                continue
            is_base = isinstance(parent, ast.Attribute) or _is_compared(parent) or self._is_asked(node, parent)
            if _is_module(path) and not is_base:
                return f"hands the module {path!r} on, and what is taken of it cannot be followed: name the part that you need"
            by_text = _text_lookup(path)
            if by_text is not None and not (isinstance(parent, ast.Call) and parent.func is node):
                return by_text
        return None

    def _is_asked(self, node: ast.expr, parent: ast.AST | None) -> bool:
        """Whether it is what ``getattr`` or ``hasattr`` asks for a part, whose name is judged where it is called."""
        return (
            isinstance(parent, ast.Call)
            and not {"builtins.getattr", "builtins.hasattr"}.isdisjoint(self._names.paths(parent.func))
            and parent.args[:1] == [node]
        )

    def _of_path(self, path: str) -> str | None:
        top, _, parts_below = path.partition(".")
        if top == "builtins":
            return _BUILTINS.get(parts_below.partition(".")[0])
        if top == "fti_assets":
            return self._refused_module(path) if path.count(".") == 1 else None
        if top not in DETERMINISTIC | {"numpy"}:
            return None
        value, last = _value(path), path.rpartition(".")[2]
        if isinstance(value, types.ModuleType):
            return self._refused_module(value.__name__)
        if any(part.startswith("_") and not part.startswith("__") for part in parts_below.split(".")):
            return f"takes {path!r}, which that library keeps to itself and may change: take what it documents"
        if (top == "numpy" and last in _NUMPY_READS) or _is_one_of(value, _READS_A_FILE):
            return _FILE
        if top == "numpy" and last in _NUMPY_EMPTY:
            return _MEMORY
        if path in _TELLS_OF_MACHINE:
            return _HERE
        if (top == "numpy" and last in _NUMPY_RUNS) or _is_one_of(value, _PARTS_OF_TEXT):
            return _TEXT
        owner = _value(path.rpartition(".")[0])
        if last in ("now", "today", "utcnow") and isinstance(owner, type) and issubclass(owner, datetime.date):
            return _CLOCK
        return (
            "imports what is installed: write the import out"
            if top == "importlib" and parts_below != "import_module"
            else None
        )

    def _of_import(self, node: ast.Import | ast.ImportFrom) -> str | None:
        """Of an import: parts that a library keeps to itself, all of a library, and what would be a part of a class."""
        for alias in node.names:
            if isinstance(node, ast.ImportFrom) and node.level:
                continue
            origin = "" if isinstance(node, ast.Import) else node.module or ""
            path = f"{origin}.{alias.name}".removeprefix(".")
            if is_own(path) or path.startswith("fti_assets"):
                if not self._names.is_of_a_class(node):
                    continue
            elif alias.name == "*":
                return f"takes all names of {origin!r}, whichever it has: write out those that you need"
            elif any(part.startswith("_") and not part.startswith("__") for part in path.split(".")):
                return f"takes {path!r}, which that library keeps to itself and may change: take what it documents"
            if self._names.is_of_a_class(node):
                return "imports inside a class, where what is taken of it cannot be followed: import it at the top of the module"
        return None

    def _of_call(self, node: ast.Call) -> str | None:
        callees = self._names.paths(node.func)
        for path in sorted(callees):
            by_text = _text_lookup(path)
            if by_text is None:
                continue
            texts = node.args[1:2] if path == "builtins.getattr" else node.args[:1]
            texts = node.args if path == "operator.attrgetter" else texts
            texts_read = [text_of(one) for one in texts]
            parts = [part for text in texts_read if text is not None for part in text.split(".")]
            if not texts_read or None in texts_read or not all(part.isidentifier() for part in parts):
                return by_text
            if by_text == _BY_TEXT and (why := next(filter(None, map(_of_part, parts)), None)) is not None:
                return why
        getattr_paths = self._names.paths(node) if "builtins.getattr" in callees else set[str]()
        if (why := next(filter(None, map(self._of_path, sorted(getattr_paths))), None)) is not None:
            return why
        return self._of_memory(node)

    def _of_memory(self, node: ast.Call) -> str | None:
        """Of a call that gives what happens to be in memory."""
        paths, words = self._names.paths(node.func), {one.arg: one.value for one in node.keywords}
        if any(path.removesuffix(".__new__") in _NUMPY_ARRAYS for path in paths):
            return _MEMORY
        functions = [one for one in map(_value, paths) if isinstance(one, np.ufunc) or one is np.clip]
        is_method = not paths and isinstance(node.func, ast.Attribute) and node.func.attr == "clip"
        if "where" not in words or not (functions or is_method) or _constant_text(words["where"]) == "True":
            return None
        most = max((one.nin if isinstance(one, np.ufunc) else 3 for one in functions), default=2)
        has_out = len(node.args) > most or _constant_text(words.get("out")) != "None"
        return None if has_out or None in words else _MEMORY_WHERE


def _of_part(name: str) -> str | None:
    """Why a part may not be taken of a value, whatever that is."""
    if name in _FRAMES or (name.startswith("__") and name.endswith("__") and name not in _ORDINARY):
        return f"takes {name!r}, through which everything can be reached: name what you need itself"
    return None


def _constant_text(node: ast.expr | None) -> str:
    """``True``, ``1``, and ``None`` of nothing; an empty text of what is no constant."""
    return repr(node.value) if isinstance(node, ast.Constant) else "None" if node is None else ""


def _is_compared(parent: ast.AST | None) -> bool:
    """Whether it is only compared with something, as in ``np is None``."""
    return isinstance(parent, ast.Compare) and all(isinstance(one, ast.Is | ast.IsNot) for one in parent.ops)


def _is_module(path: str) -> bool:
    if is_own(path):
        return source_file(path) is not None
    if path.startswith("fti_assets"):
        return path in sys.modules and path != "fti_assets.on_demand"
    return isinstance(_value(path), types.ModuleType)


def _text_lookup(path: str) -> str | None:
    value = None if is_own(path) else _value(path)
    return next((why for one, why in _TEXT_LOOKUPS.items() if one is value), None)


def _is_one_of(value: Any, some: tuple[Any, ...]) -> bool:
    return any(value is one for one in some)


@functools.lru_cache(maxsize=4096)
def _value(path: str) -> Any:
    """What a dotted name of numpy or the standard library stands for here."""
    top, *parts = path.split(".")
    if top not in DETERMINISTIC | {"numpy", "builtins"}:
        return _MISSING
    value: Any = importlib.import_module(top)
    prefix = top
    for part in parts:
        prefix = f"{prefix}.{part}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = getattr(value, part, sys.modules.get(prefix, _MISSING))
        if value is _MISSING:
            return _MISSING
    return value
