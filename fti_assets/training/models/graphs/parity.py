"""Parity: the answers of an exported graph beside the trained model's own, row by row."""

import builtins
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from fti_assets.core.manifest import GraphComparison, GraphInput, GraphOutput
from fti_assets.errors import ExportError, ModelError
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.samples import Samples
from fti_assets.training.encoders.encoders import FittedEncoder
from fti_assets.training.models.cores.core import TRACING, Core, EncodedRows
from fti_assets.training.models.graphs.comparison_rows import ComparisonRows

PARITY_TOLERANCE = 1e-4
"""Largest difference of a probability, or of a value relative to it where it is above 1, on a row that is no outlier."""

OUTLIERS = 1e-3
"""The share of rows that may be outliers where trees are in the model: a number that is rounded to float32 may cross a threshold."""

LARGEST_OUTLIER = 0.1
"""The largest difference of an outlier."""

_SAMPLES = 48
_ALONE = 32


@dataclass(frozen=True)
class ExportedModel:
    """A model as it is stored and served: the serialized graph, its inputs, its output, multiclass labels, some answers, how far they
    are from the trained model's own, and the encoders that the graph begins with."""

    bytes: builtins.bytes
    inputs: tuple[GraphInput, ...]
    outputs: tuple[GraphOutput, ...]
    classes: tuple[str, ...]
    samples: Samples | None = None
    comparison: GraphComparison | None = None
    encoders: Mapping[str, FittedEncoder] = field(default_factory=dict)


def is_finite(answers: np.ndarray) -> np.ndarray:
    """Of each row of ``[n]`` or ``[n, k]`` whether it has numbers alone."""
    return np.asarray(np.isfinite(answers.reshape(len(answers), -1)).all(axis=1))


def check_parity(
    model_graph: ExportedModel,
    rows: ComparisonRows,
    model_answers: np.ndarray,
    *,
    advice: str = TRACING,
    model: str = "",
    outliers: float = 0.0,
) -> tuple[Samples, GraphComparison]:
    """Compare the graph's answers from raw columns with the trained model's own, and keep some of them.

    A row that differs by more than ``PARITY_TOLERANCE`` is an outlier. Few may be, among the rows that are there and among the made-up
    ones, and none by more than ``LARGEST_OUTLIER``.

    Args:
        model_graph: the graph; it is run on one row, on another, and on all others at once.
        rows: ``n`` raw rows.
        model_answers: the trained model's probabilities or values, ``[n]`` or ``[n, k]``.
        advice: what to do where they differ, for the error.
        model: the trained model's class.
        outliers: the share of rows that may be outliers.

    Returns:
        some answers, and the comparison on the rows of the test part.

    Raises:
        ModelError: the trained model's own answers are not finite.
        ExportError: the graph does not run, more rows are outliers than may be, or one by too much.
    """
    refuse_lost(rows, model_answers, "the trained model")
    total = len(model_answers)
    bounds = sorted({0, min(1, total), min(2, total), total})  # a traced module may have learned the size of its batch
    try:
        graph = Graph.from_bytes(model_graph.bytes, model_graph.inputs, what="the exported graph")
        parts = [{name: values[start:end] for name, values in rows.columns.items()} for start, end in pairwise(bounds)]
        answers = np.concatenate([graph.run(part)[model_graph.outputs[0].name] for part in parts])
    except Exception as error:
        problem = "the exported graph does not run on one row and on many"
        raise ExportError(f"{problem}{reason_and_advice(error, advice)}") from error
    if answers.shape != model_answers.shape:
        raise ExportError(
            f"the exported graph gives {list(answers.shape)}, the trained model {list(model_answers.shape)}. {advice}"
        )
    difference = np.abs(answers - model_answers) / np.maximum(1.0, np.abs(model_answers))
    difference = np.nan_to_num(difference.reshape(total, -1).max(axis=1), nan=np.inf)
    off, synthetic = difference > PARITY_TOLERANCE, np.array(rows.kinds) != ""
    too_many = any(off[part].sum() > int(outliers * part.sum()) for part in (synthetic, ~synthetic))
    if too_many or (off.any() and difference.max() > LARGEST_OUTLIER):
        worst = int(difference.argmax())
        few = f", {LARGEST_OUTLIER} on {outliers:.1%} of rows" if outliers else ""
        raise ExportError(
            f"the exported graph differs from the trained model on {int(off.sum())} of {total} rows, by up to "
            f"{difference[worst]:.3g} where {PARITY_TOLERANCE} is allowed{few}: for {rows.describe(worst)} the model gives "
            f"{model_answers[worst].tolist()} and the graph {answers[worst].tolist()}. {advice}"
        )
    test = slice(0, rows.test_rows)
    comparison = GraphComparison(
        model=model,
        rows=rows.test_rows,
        largest_difference=float(difference[test].max(initial=0.0)),
        outliers=int(off[test].sum()),
        tolerance=PARITY_TOLERANCE,
        allowed=int(outliers * rows.test_rows),
    )
    spread = np.linspace(0, total - 1, min(total, _SAMPLES)).astype(np.int64)
    sample = np.union1d(spread, np.flatnonzero(np.array(rows.kinds) != "")[:_SAMPLES])
    sample_rows = rows.part(sample)
    return Samples(sample_rows.columns, answers[sample], np.array(sample_rows.kinds) == ""), comparison


def check_alone(core: Core, arrays: EncodedRows, rows: ComparisonRows, model_answers: np.ndarray) -> None:
    """Ask the trained model itself for single rows, spread over all, and compare with what it gave them among others.

    Args:
        core: the trained model.
        arrays: the encoded rows.
        rows: the raw ones, for the error.
        model_answers: its answers to the first of them, ``[n]`` or ``[n, k]``.

    Raises:
        ExportError: a row by itself has another answer.
    """
    total = len(model_answers)
    for place in np.unique(np.linspace(0, total - 1, min(total, _ALONE)).astype(np.int64)).tolist():
        alone = core.predict({name: values[place : place + 1] for name, values in arrays.items()})[0]
        among = model_answers[place]
        if not np.all(np.abs(alone - among) <= PARITY_TOLERANCE * np.maximum(1.0, np.abs(among))):
            raise ExportError(
                f"the trained model gives {alone.tolist()} for {rows.describe(place)} by itself, and {among.tolist()} among {total} rows: "
                f"an answer must not depend on the rows beside it. {core.advice}"
            )


def check_further(
    model_graph: ExportedModel,
    rows: ComparisonRows,
    model_answers: np.ndarray,
    before: GraphComparison,
    *,
    advice: str,
    outliers: float,
) -> GraphComparison:
    """Compare on more rows of the test part, and give what was found on all of them together.

    Args:
        before: what was found on those before; the other arguments are those of ``check_parity``.

    Raises:
        ExportError: a row differs by too much, or too many rows of all do.
    """
    # How many may be outliers is judged of all rows together, not of each block.
    any_number = 1.0 if outliers else 0.0
    _, own = check_parity(model_graph, rows, model_answers, advice=advice, outliers=any_number)
    total = before.rows + own.rows
    result = dataclasses.replace(
        before,
        rows=total,
        largest_difference=max(before.largest_difference, own.largest_difference),
        outliers=before.outliers + own.outliers,
        allowed=int(outliers * total),
    )
    if result.outliers > result.allowed:
        raise ExportError(
            f"the exported graph differs from the trained model on {result.outliers} of {total} rows of the test part by more than "
            f"{PARITY_TOLERANCE}, where {outliers:.1%} may. {advice}"
        )
    return result


def reason_and_advice(error: Exception, advice: str) -> str:
    """The end of a sentence on a graph: what onnx or its runtime says, and what to do.

    Of a graph that a converter has made they name nodes that its user has never written, so that only the advice is given.
    """
    return f": {error}. {advice}" if advice == TRACING else f". {advice}"


def refuse_lost(rows: ComparisonRows, answers: np.ndarray, model: str) -> None:
    """Raise a ModelError if a trained model gives no number for some row."""
    lost = ~is_finite(answers)
    if lost.any():
        raise ModelError(
            f"{model} gives no finite answer for {int(lost.sum())} of {len(answers)} rows, such as "
            f"{rows.describe(int(lost.argmax()))}: look for missing values that Passthrough() lets through, for rows too far from all "
            "others, or for training that diverged"
        )
