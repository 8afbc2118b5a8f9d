"""What a piece of a module's source may change in place when it runs, as far as its syntax tree tells."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from fti_assets.core.on_demand.syntax.trees import is_of_comprehension, once_settled, walk

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# fmt: off
CHANGING = frozenset({
    "add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "extendleft", "fill", "insert",
    "intersection_update", "itemset", "partition", "pop", "popitem", "popleft", "put", "remove", "resize", "reverse", "rotate",
    "setdefault", "setflags", "sort", "symmetric_difference_update", "update",
})
"""The methods that change a collection or an array in place."""
_CHANGES_ARGUMENT = frozenset({
    "__delitem__", "__setattr__", "__setitem__", "at", "copyto", "delattr", "delitem", "fill_diagonal", "heapify", "heappop",
    "heappush", "heappushpop", "heapreplace", "iadd", "iand", "iconcat", "imul", "insort", "insort_left", "insort_right", "ior",
    "isub", "ixor", "next", "place", "put_along_axis", "putmask", "setattr", "setitem", "update_wrapper",
}) | CHANGING
"""The functions that change an argument of theirs in place."""
FRESH = frozenset({
    "all", "any", "argsort", "astype", "copy", "count", "cumsum", "deepcopy", "dot", "index", "keys", "max", "mean", "min", "repeat",
    "round", "searchsorted", "split", "std", "sum", "take", "tolist",
})
"""The methods that give something new, in which what they were asked of does not live on."""
_PASSES_ON = frozenset({
    "asanyarray", "asarray", "atleast_1d", "broadcast_to", "cast", "chain", "dict", "enumerate", "filter", "getattr", "iter", "list",
    "map", "next", "ravel", "reshape", "reversed", "set", "sorted", "squeeze", "transpose", "tuple", "type", "values", "vars", "zip",
})
"""The functions that give what they were given, whole or its parts."""
# fmt: on


def root(node: ast.expr) -> str:
    """The name that an expression starts from: ``TABLE`` of ``TABLE["a"].b()``."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return ""
    return node.id


def of_the_module(node: ast.AST) -> Iterator[ast.AST]:
    """A statement's nodes, without those inside functions and classes, whose names are their own."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        if not isinstance(one, DEFINITIONS):
            waiting += [*ast.iter_child_nodes(one)][::-1]


def run_at_once(statement: ast.AST) -> Iterator[ast.AST]:
    """A statement's nodes that run when its module is imported: of functions, the decorators and defaults alone."""
    yield statement
    for child in ast.iter_child_nodes(statement):
        if not isinstance(statement, FUNCTIONS):
            yield from run_at_once(child)
        elif isinstance(statement, ast.Lambda):
            if child is statement.args:
                yield from run_at_once(child)
        elif child is statement.args or child in statement.decorator_list:
            yield from run_at_once(child)


def is_program(statement: ast.stmt) -> bool:
    """Whether a statement runs only where its module is the program: ``if __name__ == "__main__":``."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    return ast.unparse(statement.test) in ("__name__ == '__main__'", "'__main__' == __name__")


def bound_by(statement: ast.stmt, *, of_handlers: bool = True) -> set[str]:
    """The names of the module that a statement gives a value, or takes away, as the end of ``except ValueError as error:`` does.

    Args:
        of_handlers: the names of such handlers too.
    """
    bound: set[str] = set()
    for node in of_the_module(statement):
        if isinstance(node, DEFINITIONS):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            if not is_of_comprehension(node.id):
                bound.add(node.id)
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            bound.add(node.rest)
        elif isinstance(node, ast.ExceptHandler) and node.name and of_handlers:
            bound.add(node.name)
    return bound


@once_settled
def mentioned_by(statement: ast.AST) -> frozenset[str]:
    """The names that a piece of code says."""
    names = set[str]()
    for node in walk(statement):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Global):
            names.update(node.names)
    return frozenset(names)


@once_settled
def changed_inside(definition: ast.AST) -> frozenset[str]:
    """The names that a function changes when it is called: as globals, or in place; local ones count too."""
    names: set[str] = set()
    for node in walk(definition):
        if isinstance(node, ast.Global):
            names.update(node.names)
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            names.add(root(node.value))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
            names.add(root(node.func.value))
    return frozenset(names)


@once_settled
def own_names(definition: ast.AST) -> frozenset[str]:
    """The parameters and local names of a function, none of a class."""
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
        return frozenset()
    parameters = {node.arg for node in walk(definition.args) if isinstance(node, ast.arg)}
    nodes = [node for statement in definition.body for node in of_the_module(statement)]
    outer = {name for node in nodes if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names}
    return frozenset((parameters | {name for statement in definition.body for name in bound_by(statement)}) - outer)


def attributes_of(node: ast.AST) -> set[tuple[str, str]]:
    """The attributes of names that a piece reads: ``("rules", "limit")`` of ``rules.limit(x)``."""
    return {
        (one.value.id, one.attr)
        for one in walk(node)
        if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name)
    }


def may_change(statement: ast.stmt) -> bool:
    """Whether a statement may change a value that it mentions and does not bind: ``TABLE.update(...)``, ``TABLE[1] = 2``."""
    if isinstance(statement, DEFINITIONS + (ast.Import, ast.ImportFrom)):
        return False
    plain = isinstance(statement, ast.Assign | ast.AnnAssign) and not any(
        isinstance(node, ast.Call | ast.Attribute | ast.Subscript) for node in walk(statement)
    )
    return not plain


def is_constant(value: ast.expr | None) -> bool:
    """Whether an expression gives what nothing can change in place, such as ``-1.5`` and ``("a", 60 * 60)``."""
    if isinstance(value, ast.Tuple):
        return all(is_constant(one) for one in value.elts)
    if isinstance(value, ast.BinOp):
        return is_constant(value.left) and is_constant(value.right)
    return isinstance(value, ast.Constant) or (isinstance(value, ast.UnaryOp) and is_constant(value.operand))


def lives_on(value: ast.AST | None) -> set[str]:
    """The names whose values, or parts of them, may be what an expression gives."""
    if isinstance(value, ast.Name):
        return {value.id}
    if isinstance(value, ast.Attribute | ast.Subscript | ast.Starred | ast.NamedExpr | ast.Await | ast.Lambda):
        return lives_on(value.body if isinstance(value, ast.Lambda) else value.value)
    if isinstance(value, ast.Call):
        callee = value.func.attr if isinstance(value.func, ast.Attribute) else root(value.func)
        names = set() if callee in FRESH else lives_on(value.func)
        if callee in _PASSES_ON:
            names |= {name for one in [*value.args, *(word.value for word in value.keywords)] for name in lives_on(one)}
        return names
    if isinstance(value, ast.ListComp | ast.SetComp | ast.GeneratorExp):
        return lives_on(value.elt).union(*(lives_on(one.iter) for one in value.generators))
    if isinstance(value, ast.DictComp):
        return lives_on(value.value).union(*(lives_on(one.iter) for one in value.generators))
    if isinstance(value, ast.IfExp):
        return lives_on(value.body) | lives_on(value.orelse)
    if isinstance(value, ast.BoolOp | ast.Tuple | ast.List | ast.Set | ast.Dict):
        return {name for child in ast.iter_child_nodes(value) for name in lives_on(child)}
    return set()


class Changes:
    """The names that pieces of one module may change in place.

    Args:
        tree: the module, whose functions are followed where they are called with an argument.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.functions: Mapping[str, ast.FunctionDef | ast.AsyncFunctionDef] = {
            one.name: one for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        self._parameters: dict[str, set[str]] = {}
        self._asked: list[str] = []
        self._known: dict[ast.AST, set[str]] = {}
        self.met_itself = False
        """Whether a function led to another one that was being looked at: what is known then rests on which was asked of first."""
        modules = {
            alias.asname or alias.name for one in walk(tree) if isinstance(one, ast.Import) for alias in one.names
        }
        self._handles = {  # add = TABLE.append, but not add = np.add
            name
            for one in walk(tree)
            for targets, value in flows(one)
            if value is not None and _has_a_changing_method(value, modules)
            for name in targets
        }

    def of(self, node: ast.AST) -> set[str]:
        """The names that a piece changes, by whatever local name it calls them."""
        if self._asked:
            return self._of(node)
        if node not in self._known:
            self._known[node] = self._of(node)
        return self._known[node]

    def _of(self, node: ast.AST) -> set[str]:
        results: set[str] = set()
        flows_on: list[tuple[set[str], set[str]]] = []
        grown: set[str] = set()
        for one in walk(node):
            results |= self._by(one)
            flows_on += ((targets, lives_on(value)) for targets, value in flows(one))
            if isinstance(one, ast.AugAssign) and isinstance(one.target, ast.Name):
                grown.add(one.target.id)
        for one in walk(node):  # total = RATES["a"]; total += 1 changes no RATES, rows = ROWS; rows += [1] does
            results |= {value.id for targets, value in flows(one) if isinstance(value, ast.Name) and targets & grown}
        if not isinstance(node, FUNCTIONS):
            results |= grown
        while True:
            more = {name for targets, sources in flows_on if targets & results for name in sources} - results
            if not more:
                return results
            results |= more

    def _by(self, node: ast.AST) -> set[str]:
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            return lives_on(node.value) | {root(node.value)}
        if not isinstance(node, ast.Call):
            return set()
        results = {name for word in node.keywords if word.arg == "out" for name in lives_on(word.value)}
        callee = node.func.attr if isinstance(node.func, ast.Attribute) else root(node.func)
        if isinstance(node.func, ast.Attribute) and callee in CHANGING:
            results |= lives_on(node.func.value) | {root(node.func.value)}
        if callee in _CHANGES_ARGUMENT or any(
            map(self._changes_what_it_gets, [*node.args, *(word.value for word in node.keywords)])
        ):
            results |= {name for one in node.args for name in lives_on(one)}
        if root(node.func) in self._handles:
            results.add(root(node.func))
        function = self.functions.get(callee) if isinstance(node.func, ast.Name) else None
        if function is not None:
            results |= self._by_call(node, function)
        return results

    def _changes_what_it_gets(self, value: ast.expr) -> bool:
        """Whether a value is a function that changes an argument, as in ``map(fill, ROWS)``."""
        if isinstance(value, ast.Lambda):
            return bool({one.arg for one in walk(value.args) if isinstance(one, ast.arg)} & self.of(value))
        function = self.functions.get(value.id) if isinstance(value, ast.Name) else None
        return function is not None and bool(
            {one.arg for one in walk(function.args) if isinstance(one, ast.arg)} & self._inside(function)
        )

    def _inside(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
        """The names that a function of the module changes, its parameters among them."""
        if function.name not in self._parameters:
            self._parameters[function.name] = set()  # for a function that calls itself
            self._asked.append(function.name)
            self._parameters[function.name] = self.of(function)
            self._asked.pop()
        elif function.name in self._asked[:-1]:
            self.met_itself = True
        return self._parameters[function.name]

    def _by_call(self, call: ast.Call, function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
        """The names that a call of a function of the module changes by way of its parameters."""
        inside = self._inside(function)
        places = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
        names: set[str] = set()
        for place, value in enumerate(call.args):
            if place >= len(places) or isinstance(value, ast.Starred) or places[place] in inside:
                names |= lives_on(value)
        for word in call.keywords:
            if word.arg is None or word.arg in inside or function.args.kwarg is not None:
                names |= lives_on(word.value)
        return names


def _has_a_changing_method(value: ast.expr, modules: set[str]) -> bool:
    """Whether a changing method of something else than a module is in a value as such, not called: ``TABLE.append``."""
    callees = {node.func for node in walk(value) if isinstance(node, ast.Call)}
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in CHANGING
        and node not in callees
        and not (isinstance(node.value, ast.Name) and node.value.id in modules)
        for node in walk(value)
    )


def flows(node: ast.AST) -> Iterator[tuple[set[str], ast.expr | None]]:
    """The names that take a value at a node, and the value."""
    if isinstance(node, ast.Assign):
        yield {name for target in node.targets for name in _targets(target)}, node.value
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
        yield _targets(node.target), node.value
    elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        yield _targets(node.target), node.iter
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield _targets(node.optional_vars), node.context_expr
    elif isinstance(node, ast.Match):
        yield (
            {one.name for one in walk(node) if isinstance(one, ast.MatchAs | ast.MatchStar) and one.name},
            node.subject,
        )
    elif isinstance(node, ast.arguments):
        places = [*node.posonlyargs, *node.args]
        yield from (
            ({one.arg}, value)
            for one, value in zip(places[len(places) - len(node.defaults) :], node.defaults, strict=True)
        )
        yield from (({one.arg}, value) for one, value in zip(node.kwonlyargs, node.kw_defaults, strict=True))


def _targets(target: ast.expr) -> set[str]:
    return {node.id for node in walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
