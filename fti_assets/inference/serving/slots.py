"""Where a row of values holds each named one, and how rows become the inputs of a graph."""

from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Any

import numpy as np

from fti_assets.core.columns import whole_numbers
from fti_assets.core.manifest import GraphInput, ModelManifest
from fti_assets.core.types import MISSING_INTEGER, SIDES, ColumnType
from fti_assets.errors import DamagedError, PredictionError, listed, one_of
from fti_assets.stores.models.graph import Graph

Row = list[Any]
Feed = Callable[[Sequence[Row]], np.ndarray]

_EXACT = 2**53


class Slots:
    """Where a row holds each named value: the request's, the prediction time, the groups', the on-demand functions'."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._slots: dict[str, int] = {}
        self._width = 0
        self.types: dict[str, ColumnType] = {}

    def add(self, name: str, column_type: ColumnType) -> None:
        self._slots[name] = self._width
        self.types[name] = column_type
        self._width += 1

    def of(self, name: str) -> int:
        if name not in self._slots:
            raise PredictionError(
                f"{self._what} needs {name!r}, which its manifest takes from nowhere: there are {one_of(self._slots)}. "
                "Make another build champion"
            )
        return self._slots[name]


def check_inputs(manifest: ModelManifest, slots: Slots, what: str) -> None:
    """Refuse a manifest whose graph inputs cannot be filled, before a request finds out.

    Raises:
        DamagedError: it is one.
    """
    for one in manifest.inputs:
        types = [slots.types[name] for name in one.features if slots.of(name) >= 0]
        fits = all(one.type in SIDES[kind].inputs for kind in types) and (
            len(types) == 1 or (types and one.type == "float32")
        )
        if not fits:
            raise DamagedError(
                f"the manifest of {what} fills the graph's input {one.name!r}, {one.type}, with {listed(one.features)} of types "
                f"{one_of(types)}: that is no input that a model of this library has. Restore the manifest from a copy, or make "
                "another build champion"
            )


def picker(slots: Sequence[int]) -> Callable[[Row], Sequence[Any]]:
    """The function that takes the values at some slots of a row, in their order."""
    return itemgetter(*slots) if len(slots) > 1 else lambda row: [row[slot] for slot in slots]


class Feeds:
    """How rows become the inputs of a graph: the arrays that ``Graph.feeds`` makes, without the columns between.

    One row is written into arrays that are kept for the next one; as many of them as there are threads at a time.
    """

    def __init__(self, inputs: Sequence[GraphInput], slots: Slots) -> None:
        self._typed_feeds = [(one.name, _other(one, slots)) for one in inputs if one.type != "float32"]
        self._numbers = [
            (one.name, picker([slots.of(name) for name in one.features]), len(one.features))
            for one in inputs
            if one.type == "float32"
        ]
        self._packs = [(name, pick, Struct(f"{width}f").pack_into) for name, pick, width in self._numbers]
        self._kept: list[dict[str, Any]] = []

    def of(self, rows: list[Row]) -> dict[str, np.ndarray]:
        """The inputs for ``n`` rows."""
        with np.errstate(over="ignore"):
            feeds = {
                name: np.fromiter(chain.from_iterable(map(pick, rows)), np.float32, len(rows) * width).reshape(
                    -1, width
                )
                for name, pick, width in self._numbers
            }
        feeds |= {name: feed(rows) for name, feed in self._typed_feeds}
        return feeds

    def run(self, graph: Graph, output: str, row: Row) -> Any:
        """What a graph gives for one row, as plain values."""
        feeds: dict[str, Any]
        try:
            # Taken out of the list while it is used: two threads that predict at once never share arrays.
            feeds = self._kept.pop()
        except IndexError:
            feeds = {name: np.empty((1, width), np.float32) for name, _, width in self._numbers}
        try:
            for name, pick, pack in self._packs:
                pack(feeds[name], 0, *pick(row))  # which casts as numpy does
        except StructError:  # a value is missing
            # struct packs no None; what is missing goes the slower way, which makes NaN of it.
            return graph.answer(self.of([row]), output).tolist()
        for name, feed in self._typed_feeds:
            feeds[name] = feed((row,))
        values = graph.answer(feeds, output).tolist()
        self._kept.append(feeds)
        return values


def _other(graph_input: GraphInput, slots: Slots) -> Feed:
    slot = slots.of(graph_input.features[0])
    if graph_input.type == "float64":
        return lambda rows: np.array([[row[slot]] for row in rows], dtype=np.float64)
    if graph_input.type == "string":
        return lambda rows: np.array([["" if row[slot] is None else row[slot]] for row in rows], object)
    return lambda rows: np.array([[_whole_number(row[slot])] for row in rows], dtype=np.int64)


def _whole_number(value: Any) -> int:
    if value is None:
        return MISSING_INTEGER
    if value.__class__ is int and abs(value) < _EXACT:
        return int(value)
    return int(whole_numbers(np.array([value], dtype=np.float64))[0])  # what a number column went through offline
