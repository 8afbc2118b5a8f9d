"""Answers that a build gave when it was made, kept with it: a runtime that answers otherwise is not the one it was judged with."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.records import record
from fti_assets.core.types import ColumnType
from fti_assets.core.types.columns import canonical
from fti_assets.core.types.vectors import plain_vector
from fti_assets.errors import DamagedError, PredictionError

if TYPE_CHECKING:  # who names the file of samples needs no runtime
    from fti_assets.stores.models.graphs.graph import Graph

SAMPLES = "samples.json"
"""The file of a build that holds them."""

_TOLERANCE = 1e-4


@record(frozen=True)
class Samples:
    """Raw rows, name to canonical array ``[n]``, and the graph's answers to them, ``[n]`` or ``[n, k]``.

    ``real`` says of each row whether the data had it, bool ``[n]``; the others were made up. None if the build does not say.
    """

    columns: dict[str, np.ndarray]
    answers: np.ndarray
    real: np.ndarray | None = None

    @property
    def background(self) -> dict[str, np.ndarray] | None:
        """The rows that the data had, None if there are none or the build does not say."""
        if self.real is None or not self.real.any():
            return None
        return {name: values[self.real] for name, values in self.columns.items()}

    def to_json(self) -> bytes:
        """As JSON, null for what is missing, and an infinite number as the text ``inf`` or ``-inf``, since JSON has none; repr of Python's
        floats gives every bit back."""
        columns = {name: [_plain(value) for value in values.tolist()] for name, values in self.columns.items()}
        result = {"columns": columns, "answers": self.answers.tolist()}
        if self.real is not None:
            result["real"] = self.real.tolist()
        return json.dumps(result, allow_nan=False).encode()

    @classmethod
    def from_json(
        cls, text: bytes, *, texts: Sequence[str], times: Sequence[str] = (), of_vectors: Sequence[str] = (), what: str
    ) -> Samples:
        """What ``to_json`` wrote.

        Args:
            texts: the columns of text, in which nothing is the empty text.
            times: those of timestamps.
            of_vectors: those of vectors.

        Raises:
            DamagedError: it is something else.
        """
        try:
            read = json.loads(text)
            types: dict[str, ColumnType] = {}
            types |= dict.fromkeys(texts, "text")
            types |= dict.fromkeys(times, "timestamp")
            types |= dict.fromkeys(of_vectors, "vector")
            columns = {
                name: canonical(
                    values if name in texts or name in times else [_number(value) for value in values],
                    types.get(name, "number"),
                )
                for name, values in read["columns"].items()
            }
            answers = np.array(read["answers"], dtype=np.float64)
            real = None if read.get("real") is None else np.array(read["real"], dtype=bool)
            if real is not None and real.shape != answers.shape[:1]:
                raise ValueError(f"real has the shape {real.shape} for {len(answers)} answers")
            return cls(columns, answers, real)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DamagedError(f"{what} cannot be read as samples: {error}. Restore the file from a copy") from error

    @classmethod
    def of_build(cls, manifest: ModelManifest, text: bytes, *, what: str) -> Samples:
        """Those of a build, from its file; raises as ``from_json``."""
        texts = [feature.name for feature in manifest.view.features if feature.type == "text"]
        times = [feature.name for feature in manifest.view.features if feature.type == "timestamp"]
        of_vectors = [feature.name for feature in manifest.view.features if feature.type == "vector"]
        return cls.from_json(text, texts=texts, times=times, of_vectors=of_vectors, what=what)

    def check(
        self, graph: Graph, output: str, *, what: str, seconds: float = 60.0, made_with: str | None = None
    ) -> None:
        """Compare what a graph answers now.

        Args:
            seconds: how long it may take.
            made_with: the version of onnxruntime that gave the answers, None if the build does not say.

        Raises:
            PredictionError: it answers otherwise, and onnxruntime is another or runs it on another device.
            DamagedError: it does not answer, or not in time, or answers otherwise for no such reason.
        """
        import onnxruntime

        answers = graph.try_rows(self.columns, seconds=seconds)[output]
        if answers.shape == self.answers.shape:
            off = np.abs(answers - self.answers) / np.maximum(1.0, np.abs(self.answers))
            if float(np.nan_to_num(off, nan=np.inf).max(initial=0.0)) <= _TOLERANCE:
                return
            worst = int(np.nan_to_num(off.reshape(len(off), -1).max(axis=1), nan=np.inf).argmax())
            result = f"{answers[worst].tolist()} where it answered {self.answers[worst].tolist()}"
        else:
            result = f"{list(answers.shape)} where it answered {list(self.answers.shape)}"
        version = onnxruntime.__version__
        if made_with == version and not graph.is_accelerated:
            raise DamagedError(
                f"{what} answers {result} when it was made, with the same onnxruntime {version}: its manifest, graph or samples were "
                "changed since. Restore the build's folder from a copy, or make another build champion"
            )
        if made_with == version:
            raise PredictionError(
                f"{what} answers {result} when it was made: the execution provider that it runs on does not compute what it was "
                "judged by. Run it on the CPU (FTI_PROVIDERS=cpu)"
            )
        raise PredictionError(
            f"{what} answers {result} when it was made: onnxruntime {version} does not compute what it was judged by. Install "
            f"{made_with or 'the version that its manifest names under packages'}, or train and judge it again with this one"
        )


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, np.ndarray):
        return [_plain(one) for one in plain_vector(value) or ()]
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return None if value == "" or value != value else value


def _number(value: Any) -> Any:
    """A number as ``_plain`` wrote it, or a list of such."""
    if isinstance(value, list):
        return [_number(one) for one in value]
    return float(value) if value in ("inf", "-inf") else value
