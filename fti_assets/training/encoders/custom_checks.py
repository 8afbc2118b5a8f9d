"""What a user's own encoder is tried with before a model is trained on it: its graph alone, on some values, in a batch and one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from fti_assets.core.manifest import Column
from fti_assets.core.types import EXACT
from fti_assets.errors import FtiError, ModelError
from fti_assets.training.encoders.declarations import DENSE
from fti_assets.training.encoders.encoders import FittedEncoder
from fti_assets.training.encoders.graph import build_encoder
from fti_assets.training.encoders.kinds.custom import FittedCustom

if TYPE_CHECKING:
    from fti_assets.stores.models.graphs.graph import Graph

_VALUES = 64
_ALONE = 8


def check_custom(
    features: Sequence[Column], encoders: Mapping[str, FittedEncoder], columns: Mapping[str, np.ndarray]
) -> None:
    """Try the graphs of custom encoders on the first values of train.

    Raises:
        ModelError: one does not run, gives another number of columns than is declared or of a row something that depends on the others
            of its batch, or takes whole numbers of which float64 has merged some.
    """
    for column in features:
        encoder = encoders.get(column.name)
        if isinstance(encoder, FittedCustom):
            _check_exact(column, encoder, columns[column.name])
            _check_alone(column, encoder, columns[column.name][:_VALUES])


def _check_exact(column: Column, encoder: FittedCustom, values: np.ndarray) -> None:
    if column.type != "integer" or encoder.element(column) != "INT64":
        return
    beyond = np.abs(values) >= EXACT
    if beyond.any():
        raise ModelError(
            f"the graph of the CustomEncoder of {column.name!r} takes whole numbers, and train has some of 2**53 and more, such as "
            f"{int(values[beyond][0])}, which are rounded when they come to a model: store the column as text in a new version of its group"
        )


def _check_alone(column: Column, encoder: FittedCustom, values: np.ndarray) -> None:
    # Not at the top: definitions load without onnxruntime.
    from fti_assets.stores.models.graphs.graph import Graph

    what, width = f"the graph of the CustomEncoder of {column.name!r}", len(encoder.names(column.name))
    model = build_encoder([column], {column.name: encoder})
    with _named(what):
        graph = Graph.from_bytes(model.graph, model.inputs, what=what)
        together = _encode(graph, column, values)
    if together.shape != (len(values), width):
        raise ModelError(
            f"{what} gives another number of columns than the {width} that it declares: of {len(values)} values it makes "
            f"{together.size} numbers. Name its columns with columns=[...], and give [n, 1] or [n, w]"
        )
    for at in range(min(_ALONE, len(values))):
        with _named(what):
            alone = _encode(graph, column, values[at : at + 1])
        if not np.array_equal(alone[0], together[at], equal_nan=True) and not np.allclose(
            alone[0], together[at], rtol=1e-4, atol=1e-4, equal_nan=True
        ):
            raise ModelError(
                f"{what} makes {alone[0].tolist()} of {values[at]!r} alone and {together[at].tolist()} of it among {len(values)}: what it "
                "makes of a row may not depend on the others of its batch, which are others when it serves. Learn such a number with fit="
            )


def _encode(graph: Graph, column: Column, values: np.ndarray) -> np.ndarray:
    return graph.run_feeds(graph.feeds({column.name: values}))[DENSE]


@contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except FtiError as error:
        raise ModelError(
            f"{what} does not run: {error}. It takes [n, 1] of any n, and gives [n], [n, 1] or [n, w]"
        ) from error
