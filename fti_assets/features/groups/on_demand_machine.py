"""What of an on-demand function's source is another in each process or on each machine: the order of a set, and local time."""

from __future__ import annotations

import ast

from fti_assets.core.on_demand.syntax.names import Names, any_among, is_own, text_of

_ORDER = (
    "takes the values of a set one after another, and those that are text come in another order in each process: take sorted(...) "
    "of it, or a tuple"
)
_ZONE = "takes the machine's time zone, which may be another where it serves: {instead}"
_SETS = frozenset(("builtins.set", "builtins.frozenset"))
_OF_SETS = frozenset(("union", "intersection", "difference", "symmetric_difference", "copy"))
_ANY_ORDER = frozenset(
    {f"builtins.{name}" for name in ("sorted", "min", "max", "any", "all", "set", "frozenset", "len")}
    | {"numpy.isin", "numpy.in1d", "numpy.unique"}
)
"""What gives the same for its first values in any order, unless it is told a ``key``."""
_IN_ORDER = frozenset(
    {f"builtins.{name}" for name in ("list", "tuple", "enumerate", "iter", "zip", "map", "filter", "str", "repr", "format")}
    | {"builtins.dict.fromkeys", "functools.reduce", "collections.deque", "collections.OrderedDict.fromkeys", "collections.Counter"}
    | {f"numpy.{name}" for name in ("array", "asarray", "fromiter")}
)  # fmt: skip
_NUMBERS = frozenset(f"builtins.{name}" for name in ("int", "float", "len", "abs", "round", "ord", "bool", "complex"))
_NAIVE = frozenset(("datetime.datetime.utcfromtimestamp", "datetime.datetime.utcnow"))
_LOCAL = ("datetime.datetime.fromtimestamp", "datetime.date.fromtimestamp", "datetime.datetime.astimezone")


class Machine:
    """What one module's source takes of the machine and process that run it.

    Args:
        names: what its names stand for.
        parents: of each node the one around it.
    """

    def __init__(self, names: Names, parents: dict[ast.AST, ast.AST]) -> None:
        self._names, self._parents = names, parents

    def problem(self, node: ast.AST) -> str | None:
        """Why a node may not be said, if it may not."""
        if isinstance(node, ast.Call) and (why := self._local_time(node)) is not None:
            return why
        if isinstance(node, ast.Attribute) and (why := self._local_value(node)) is not None:
            return why
        return _ORDER if self._takes_an_order(node) else None

    def _local_time(self, node: ast.Call) -> str | None:
        if self._names.paths(node.func) & {"numpy.datetime_as_string"}:
            timezones = [one.value for one in node.keywords if one.arg == "timezone"] + node.args[2:3]
            return _ZONE.format(instead="name one") if any(text_of(one) == "local" for one in timezones) else None
        if not isinstance(node.func, ast.Attribute | ast.Name):
            return None
        paths = self._names.paths(node.func)
        if any(map(is_own, paths)):
            return None
        callee = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        of_class = next((path for path in _LOCAL if path in paths), "")
        callee = of_class.rpartition(".")[2] or callee
        if isinstance(node.func, ast.Attribute) and callee in self._names.functions and not of_class:
            return None
        if callee == "fromtimestamp":
            if of_class == "datetime.date.fromtimestamp" or not _tells_zone(node, after=1):
                return _ZONE.format(instead="write datetime.fromtimestamp(seconds, tz=datetime.timezone.utc)")
        elif callee == "astimezone":
            if not _tells_zone(node, after=1 if of_class else 0) or self._is_naive(node):
                return _ZONE.format(instead="write time.replace(tzinfo=...) for what it is in, then .astimezone(zone)")
        elif callee == "timestamp" and self._is_naive(node):
            return _ZONE.format(instead="give the time a tzinfo=")
        elif callee == "strftime" and any("%s" in (text_of(one) or "").replace("%%", "") for one in node.args):
            return _ZONE.format(instead="write .timestamp() of a time with a tzinfo=")
        return None

    def _local_value(self, node: ast.Attribute) -> str | None:
        """Of what takes the machine's zone when it is called, handed on as a value."""
        parent = self._parents.get(node)
        is_called = isinstance(parent, ast.Call) and parent.func is node
        if is_called or node in self._names.followed or not self._names.paths(node) & set(_LOCAL):
            return None
        return _ZONE.format(instead="call it with a zone")

    def _is_naive(self, node: ast.Call) -> bool:
        """Whether it is asked of a time that is written out without a zone."""
        value = node.func.value if isinstance(node.func, ast.Attribute) else None
        if not isinstance(value, ast.Call):
            return False
        paths = self._names.paths(value.func)
        is_built = "datetime.datetime" in paths and len(value.args) < 8
        return bool(paths & _NAIVE) or (is_built and not any(one.arg in ("tzinfo", None) for one in value.keywords))

    def _takes_an_order(self, node: ast.AST) -> bool:
        if isinstance(node, ast.For | ast.AsyncFor | ast.YieldFrom | ast.Starred | ast.FormattedValue):
            value = node.iter if isinstance(node, ast.For | ast.AsyncFor) else node.value
            if isinstance(node, ast.Starred) and (not isinstance(node.ctx, ast.Load) or self._is_any_order(node)):
                return False
            return value is not None and self._is_set(value)
        if isinstance(node, ast.ListComp | ast.DictComp | ast.GeneratorExp):
            within = any(self._is_set(one.iter) for one in node.generators)
            return within and not self._is_any_order(node)
        if isinstance(node, ast.Assign):
            return any(isinstance(one, ast.Tuple | ast.List) for one in node.targets) and self._is_set(node.value)
        if not isinstance(node, ast.Call):
            return False
        part = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if part == "pop" and isinstance(node.func, ast.Attribute) and not node.args and self._is_set(node.func.value):
            return True
        paths = self._names.paths(node.func)
        is_ordered = bool(paths & _IN_ORDER) or any(path.startswith("itertools.") for path in paths)
        is_ordered = is_ordered or part in ("join", "extend", "fromkeys")
        has_key = bool(paths & _ANY_ORDER) and any(one.arg == "key" for one in node.keywords)
        return (has_key or is_ordered) and any(map(self._is_set, node.args)) and not self._is_any_order(node)

    def _is_any_order(self, node: ast.AST) -> bool:
        """Whether what is made of a set goes straight into something to which its order is nothing."""
        around = self._parents.get(node)
        if isinstance(around, ast.Set):
            return True
        if isinstance(around, ast.Compare):
            return all(isinstance(one, ast.In | ast.NotIn) for one in around.ops)
        if isinstance(around, ast.GeneratorExp | ast.ListComp) or not isinstance(around, ast.Call):
            return False
        paths = self._names.paths(around.func)
        if paths == {"builtins.sum"} and isinstance(node, ast.GeneratorExp | ast.ListComp):
            return self._is_number(node.elt)
        has_key = any(one.arg == "key" for one in around.keywords)
        return bool(paths) and paths <= _ANY_ORDER and not has_key

    def _is_set(self, node: ast.expr) -> bool:
        """Whether an expression is a set that may hold text."""
        return any_among(self._names, node, lambda names, one: Machine(names, {})._look_for_a_set(one))

    def _look_for_a_set(self, node: ast.AST) -> tuple[bool, list[tuple[Names, ast.AST]]]:
        parts: list[ast.AST] = []
        if isinstance(node, ast.Set):
            return not all(map(self._is_number, node.elts)), []
        if isinstance(node, ast.SetComp):
            return not self._is_number(node.elt), []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
            parts = [node.left, node.right]
            return any(_is_keys(one) for one in (node.left, node.right)), [(self._names, one) for one in parts]
        if isinstance(node, ast.Call):
            if self._names.paths(node.func) & _SETS:
                return not (node.args and self._is_of_numbers(node.args[0])), []
            if isinstance(node.func, ast.Attribute) and node.func.attr in _OF_SETS:
                parts = [node.func.value]
        elif isinstance(node, ast.IfExp):
            parts = [node.body, node.orelse]
        elif isinstance(node, ast.NamedExpr):
            parts = [node.value]
        elif isinstance(node, ast.Name | ast.Attribute):
            return False, [*self._names.bound_to(node)]
        return False, [(self._names, one) for one in parts]

    def _is_of_numbers(self, node: ast.expr) -> bool:
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return all(map(self._is_number, node.elts))
        if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp):
            return self._is_number(node.elt)
        return isinstance(node, ast.Call) and "builtins.range" in self._names.paths(node.func)

    def _is_number(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Constant):
            return isinstance(node.value, int | float | complex)
        if isinstance(node, ast.UnaryOp):
            return self._is_number(node.operand)
        if isinstance(node, ast.BinOp):
            return self._is_number(node.left) and self._is_number(node.right)
        return isinstance(node, ast.Call) and bool(self._names.paths(node.func) & _NUMBERS)


def _is_keys(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("keys", "items")


def _tells_zone(node: ast.Call, *, after: int) -> bool:
    """Whether a call names a time zone, after that many other arguments."""
    zones = [*node.args[after:], *(one.value for one in node.keywords if one.arg in ("tz", None))]
    return any(not (isinstance(one, ast.Constant) and one.value is None) for one in zones)
