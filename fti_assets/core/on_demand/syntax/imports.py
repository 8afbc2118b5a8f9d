"""The imports of a module: what each name stands for, and whose the modules are that they ask for."""

from __future__ import annotations

import ast
import sys

from fti_assets.core.on_demand.syntax.source import absolute_module
from fti_assets.core.on_demand.syntax.trees import walk

APP_PACKAGES = frozenset({"numpy", "fti_assets"})
"""What every app has: no module of these is a user's own."""


def origins(tree: ast.Module, package: str) -> dict[str, set[str]]:
    """Which modules the imports of a name ask for, those inside functions too.

    Args:
        tree: of the module.
        package: that the module is in, for imports that begin with a dot.
    """
    results: dict[str, set[str]] = {}
    for node in walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                results.setdefault(_bound_name(alias), set()).add(alias.name)
        elif isinstance(node, ast.ImportFrom):
            origin = absolute_module(node, package)
            for alias in node.names:
                results.setdefault(alias.asname or alias.name, set()).add(origin)
    return results


def imports_by_name(tree: ast.Module, package: str) -> dict[str, set[tuple[str, str]]]:
    """Of each name that an import brings the module that it comes from, and what it is called there, "" for the module itself.

    Takes what ``origins`` takes.
    """
    results: dict[str, set[tuple[str, str]]] = {}
    for node in walk(tree):
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            if isinstance(node, ast.ImportFrom):
                origin, original = absolute_module(node, package), alias.name
            else:
                origin, original = alias.name, ""
            results.setdefault(_bound_name(alias), set()).add((origin, original))
    return results


def originals(tree: ast.Module) -> dict[str, set[str]]:
    """What the imports of a name say: ``{"load": {"importlib", "import_module"}}``."""
    results: dict[str, set[str]] = {}
    for node in walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            origin = (node.module or "").split(".") if isinstance(node, ast.ImportFrom) else []
            for alias in node.names:
                results.setdefault(_bound_name(alias), set()).update(origin, alias.name.split("."))
    return results


def _bound_name(alias: ast.alias) -> str:
    """What an import calls what it brings: ``a`` of ``import a.b``."""
    return alias.asname or alias.name.partition(".")[0]


def is_own(module: str) -> bool:
    """Whether it may be a module of the user's own."""
    top = module.partition(".")[0]
    return bool(top) and top not in APP_PACKAGES and top not in sys.stdlib_module_names
