"""Whether a module declares on-demand functions, and what else of ``fti_assets`` it calls."""

from __future__ import annotations

import ast

from fti_assets.core.on_demand.syntax.changes import root
from fti_assets.core.on_demand.syntax.module import Module
from fti_assets.core.on_demand.syntax.source import remember
from fti_assets.core.on_demand.syntax.trees import walk

_ARGUMENTS = ("file", "sha256")


@remember
def declares_on_demand(module: str) -> bool:
    """Whether a module's source calls ``fti_assets.on_demand`` at all; it is not run."""
    return bool(calls_of(module, "on_demand"))


def calls_of(module: str, part: str) -> list[ast.Call]:
    """The calls in a module's source of a public name of ``fti_assets``; it is not run."""
    return calls_in(Module.read(module).tree, part)


def calls_in(tree: ast.Module, part: str) -> list[ast.Call]:
    """The calls of a public name of ``fti_assets`` by it, or by the name or the package that an import binds."""
    names: set[str] = set()
    for node in walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or "fti_assets" for alias in node.names if alias.name.split(".")[0] == "fti_assets"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fti_assets":
            names |= {alias.asname or alias.name for alias in node.names if alias.name == part}
    return [
        node
        for node in walk(tree)
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id in names)
            or (isinstance(node.func, ast.Attribute) and node.func.attr == part and root(node.func) in names)
        )
    ]


def texts_beside(module: str) -> dict[str, str]:
    """The files that a module asks for by ``shipped_text``, by their paths from its folder, with their hashes."""
    return dict(sorted(filter(None, map(written_out, calls_of(module, "shipped_text")))))


def written_out(call: ast.Call) -> tuple[str, str] | None:
    """The file and the hash of a call of ``shipped_text`` whose arguments are texts that are written out, else None."""
    values = {"file": call.args[0]} if len(call.args) == 1 else {}
    values |= {one.arg: one.value for one in call.keywords if one.arg is not None}
    file, sha256 = (node.value if isinstance(node := values.get(name), ast.Constant) else None for name in _ARGUMENTS)
    is_whole = values.keys() == {*_ARGUMENTS} and len(call.args) + len(call.keywords) == len(_ARGUMENTS)
    return (file, sha256) if is_whole and isinstance(file, str) and isinstance(sha256, str) else None
