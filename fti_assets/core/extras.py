"""Which extra brings which package, and the error that names it where the package is first needed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fti_assets.errors import MissingExtraError

EXTRAS = {
    "dagster": "pipelines",
    "duckdb": "pipelines",
    "narwhals": "pipelines",
    "pandas": "pipelines",
    "pandera": "pipelines",
    "pyarrow": "pipelines",
    "onnx": "training",
    "onnxscript": "training",
    "pytorch_lightning": "training",
    "scipy": "training",
    "sklearn": "training",
    "torch": "training",
    "skl2onnx": "sklearn",
    "lightgbm": "boosting",
    "onnxmltools": "boosting",
    "xgboost": "boosting",
    "optuna": "tuning",
    "mlflow": "mlflow",
    "apprise": "alerts",
    "mcp": "mcp",
    "psycopg": "postgres",
    "obstore": "bucket",
    "redis": "redis",
    "msgspec": "server",
    "prometheus_client": "server",
    "uvicorn": "server",
    "httptools": "server",
    "grpc": "server",
    "pyspark": "spark",
    "pysail": "spark",
    "nats": "streaming",
    "confluent_kafka": "streaming",
}


@contextmanager
def named_extras(what: str, extra: str | None = None) -> Iterator[None]:
    """Name the extra whose package is missing when ``what`` imports it; as a decorator, whenever a function is called.

    Args:
        what: what needs the package.
        extra: the extra that brings all that it needs, where several bring the package.

    Raises:
        MissingExtraError: a package of an extra is not installed. That of any other module is raised as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if isinstance(error, MissingExtraError) or package not in EXTRAS:
            raise
        raise MissingExtraError(
            f"{what} needs {package}, which is not installed: pip install 'fti-assets[{extra or EXTRAS[package]}]'",
            name=package,
        ) from error


def require(module: str) -> Any:
    """A module of a package that only some models need, imported where one is trained or exported.

    Raises:
        MissingExtraError: its package is not installed.
    """
    with named_extras("a model"):
        return importlib.import_module(module)
