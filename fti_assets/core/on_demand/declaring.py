"""Whether a module declares on-demand functions."""

from __future__ import annotations

import ast

from fti_assets.core.on_demand.syntax.changes import root
from fti_assets.core.on_demand.syntax.module import Module
from fti_assets.core.on_demand.syntax.source import remember
from fti_assets.core.on_demand.syntax.trees import walk


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
