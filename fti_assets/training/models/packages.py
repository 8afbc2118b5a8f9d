"""The packages that make builds."""

from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = [
    "fti_assets",
    "dagster",
    "duckdb",
    "numpy",
    "onnx",
    "onnxruntime",
    "torch",
    "pytorch-lightning",
    "scikit-learn",
    "skl2onnx",
    "lightgbm",
    "xgboost-cpu",
    "xgboost",
    "onnxmltools",
    "optuna",
]


def packages() -> dict[str, str]:
    """The versions of what makes builds, of what is installed."""
    return dict(_versions())


@cache  # each is read from a file of its own, and what runs was imported before
def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
