"""Records of views and builds as tests need them: only what a test is about is given, the rest is small and valid."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from fti_assets.core.manifest import (
    Column,
    DatasetRecord,
    GraphOutput,
    JoinedGroup,
    ModelManifest,
    OnDemandCall,
    ViewRecord,
)


def view_record(
    name: str = "v",
    version: int = 1,
    *,
    spine: str = "s",
    spine_version: int = 1,
    keys: Sequence[str] = ("id",),
    prediction_time: str | None = None,
    request: Sequence[Column] = (),
    joins: Sequence[JoinedGroup] = (),
    on_demand: Sequence[OnDemandCall] = (),
    features: Sequence[Column] = (),
    **more: Any,
) -> ViewRecord:
    """A view's record."""
    lists = (tuple(request), tuple(joins), tuple(on_demand), tuple(features))
    return ViewRecord(name, version, spine, spine_version, tuple(keys), prediction_time, *lists, **more)


def model_manifest(graph: bytes, **fields: Any) -> ModelManifest:
    """The manifest of an accepted build of ``delay_net`` at the first of May 2013, with a graph's hash."""
    smallest: dict[str, Any] = {
        "model": "delay_net",
        "version": 1,
        "build": "20130501T000000Z-00000001",
        "task": "binary",
        "status": "accepted",
        "cutoff": "2013-05-01T00:00:00",
        "created_at": "2013-05-01T00:00:00",
        "view": view_record(),
        "dataset": DatasetRecord("d", 1, "all", "1.0", {"train": 1}, point_in_time=False),
        "inputs": (),
        "outputs": (),
        "encoders": {},
        "metrics": {},
        "baseline": {},
        "gates": (),
        "snapshot": 1,
        "code_version": "",
        "packages": {},
        "sha256": hashlib.sha256(graph).hexdigest(),
    }
    if "inputs" not in fields:  # the graph is no model's, and served as it is
        smallest["kind"] = "graph"
    elif "outputs" not in fields:
        smallest["outputs"] = (GraphOutput("probability", "float32"),)
    return ModelManifest(**(smallest | fields))
