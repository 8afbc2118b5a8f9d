"""What only the user can say of an asset: its tags, or its metadata under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

NOT_STATED = "not stated"


def stated(spec: Any, name: str, otherwise: str = NOT_STATED) -> str:
    """A tag of the asset, or else its metadata, or else what is known otherwise."""
    result = spec.tags.get(name) or spec.metadata.get(name)
    return otherwise if result is None else str(getattr(result, "value", result))


def length(duration: timedelta) -> str:
    """A duration as declarations write it.

    >>> length(timedelta(hours=36)), length(timedelta(days=14)), length(timedelta(minutes=15))
    ('36h', '14d', '15min')
    """
    for unit, of_one in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1))):
        if duration and not duration % of_one:
            return f"{duration // of_one}{unit}"
    return f"{duration.total_seconds():g}s"


_FRAMEWORKS = {
    "duckdb": "DuckDB",
    "fti_assets": "DuckDB",
    "lightning": "PyTorch Lightning",
    "onnx": "ONNX",
    "pandas": "pandas",
    "polars": "Polars",
    "pyarrow": "Arrow",
    "pytorch_lightning": "PyTorch Lightning",
    "sklearn": "scikit-learn",
    "torch": "PyTorch",
}


def framework(spec: Any, annotations: Mapping[str, Any]) -> str:
    """What a function is written with: as stated, or of what it is annotated to return."""
    module = getattr(annotations.get("return"), "__module__", "").partition(".")[0]
    return stated(spec, "framework", _FRAMEWORKS.get(module, NOT_STATED))
