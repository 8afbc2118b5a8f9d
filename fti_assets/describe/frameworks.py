"""What a function is written with, as far as its annotations and its source tell."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from fti_assets.describe.stated import NOT_STATED

_LIBRARIES = {
    "duckdb": "DuckDB",
    "fti_assets": "DuckDB",
    "lightgbm": "LightGBM",
    "lightning": "PyTorch Lightning",
    "onnx": "ONNX",
    "pandas": "pandas",
    "polars": "Polars",
    "pyarrow": "Arrow",
    "pyspark": "Spark",
    "pytorch_lightning": "PyTorch Lightning",
    "sklearn": "scikit-learn",
    "torch": "PyTorch",
    "xgboost": "XGBoost",
}


def of_features(annotation: Any) -> str:
    """The framework of a feature function, by what it is annotated to give.

    >>> import pandas as pd
    >>> of_features(pd.DataFrame)
    'pandas'
    """
    return _LIBRARIES.get(getattr(annotation, "__module__", "").partition(".")[0], NOT_STATED)


def of_model(function: Callable[..., Any], annotation: Any) -> str:
    """The framework of a training function: of what it gives, of ``data.fit``, or of what it imports."""
    given = getattr(annotation, "__module__", "").partition(".")[0]
    if given in _LIBRARIES:
        return _LIBRARIES[given]
    tree = _tree(function)
    if any(isinstance(node, ast.Call) and _called(node) == "fit" and _is_data(node) for node in ast.walk(tree)):
        return "PyTorch Lightning"
    names = {root for node in ast.walk(tree) for root in _imported(node)}
    names |= {module.__name__.partition(".")[0] for module in _modules(function)}
    found = [library for name, library in _LIBRARIES.items() if name in names - {"duckdb", "fti_assets", "pandas"}]
    return found[0] if found else NOT_STATED


def _tree(function: Callable[..., Any]) -> ast.AST:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # a function of a console has no source
        return ast.Module(body=[], type_ignores=[])


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _is_data(node: ast.Call) -> bool:
    return (
        isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) and node.func.value.id == "data"
    )


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module.partition(".")[0]


def _modules(function: Callable[..., Any]) -> Iterator[Any]:
    """The modules of the global names that the function uses."""
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        module = value if inspect.ismodule(value) else inspect.getmodule(value) if value is not None else None
        if module is not None:
            yield module
