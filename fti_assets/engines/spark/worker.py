"""What a worker of Spark runs to ask graphs for rows. It needs the base install and pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fti_assets.core.manifest import Column, ModelManifest
from fti_assets.core.records import from_json
from fti_assets.core.types import SIDES
from fti_assets.core.types.vectors import vectors
from fti_assets.errors import EngineError
from fti_assets.stores.buckets.path import SCHEME, BucketPath
from fti_assets.stores.models.answering import Answering
from fti_assets.stores.models.graphs.execution import execution_providers
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.places import Place


class Question(NamedTuple):
    """A build that is asked.

    Args:
        folder: where its ``manifest.json`` and ``model.onnx`` are.
        features: its features, each with the column that holds it.
    """

    folder: str
    features: tuple[tuple[str, Column], ...]


def own_version() -> str:
    """The version of this library."""
    return version("fti-assets")


class Worker:
    """Answers batches of rows.

    Args:
        number: the column that numbers the rows.
        questions: the builds that are asked; the n-th answers in the column ``answer_n``.
        of_version: the library's version where the plan was made.

    Raises:
        EngineError: the library has another version here.
    """

    def __init__(self, number: str, questions: Sequence[Question], of_version: str) -> None:
        if own_version() != of_version:
            raise EngineError(
                f"the step runs fti-assets {of_version}, and a worker of Spark {own_version()}: install the same on the workers"
            )
        self._number, self._questions = number, questions
        self._answering = [_opened(_place(question.folder)) for question in questions]

    def answers(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The answers to each batch, with the numbers of its rows."""
        for batch in batches:
            if batch.num_rows:
                yield self._answer(batch)

    def _answer(self, batch: Any) -> Any:
        results = {self._number: batch.column(self._number)}
        for place, (question, answering) in enumerate(zip(self._questions, self._answering, strict=True)):
            columns = {column.name: _canonical(batch.column(name), column) for name, column in question.features}
            if batch.num_rows == 1:  # onnxruntime rounds one row alone otherwise than among others
                columns = {name: np.repeat(values, 2) for name, values in columns.items()}
            values = answering(columns)[: batch.num_rows].astype(np.float64)
            kind = pa.list_(pa.float64()) if values.ndim == 2 else pa.float64()
            results[f"answer_{place}"] = pa.array(values.tolist(), kind)
        return pa.RecordBatch.from_pydict(results)


def _place(folder: str) -> Place:
    return BucketPath.of(folder) if folder.startswith(SCHEME) else Path(folder)


def _opened(folder: Place) -> Answering:
    manifest = from_json(ModelManifest, (folder / "manifest.json").read_bytes(), what=str(folder))
    graph = Graph.from_bytes(
        (folder / "model.onnx").read_bytes(), manifest.inputs, what=str(folder), providers=execution_providers()
    )
    return Answering(manifest, graph)


def _canonical(values: Any, column: Column) -> np.ndarray:
    """A column as its canonical array: Arrow's forms of text and lists differ from one Spark to another."""
    if column.type == "vector":
        return vectors(values.to_pylist())
    if column.type == "timestamp":
        return np.asarray(values.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False)).astype("datetime64[us]")
    if column.type == "text":
        return np.array(values.to_pylist(), dtype=object)
    return np.array(values.to_numpy(zero_copy_only=False), dtype=SIDES[column.type].array)
