"""Where a row of values holds each named one, and how rows become the inputs of a graph."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Any, NamedTuple

import numpy as np

from fti_assets.core.manifest import GraphInput
from fti_assets.core.times import microseconds
from fti_assets.core.types import EXACT, MISSING_INTEGER, ColumnType
from fti_assets.core.types.columns import canonical, whole_numbers
from fti_assets.core.types.vectors import matrix
from fti_assets.errors import DataError, PredictionError, one_of
from fti_assets.inference.serving.rows.columns import Columns
from fti_assets.stores.models.graphs.graph import Graph

Row = list[Any]


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

    @property
    def width(self) -> int:
        """How many values a row has."""
        return self._width

    def of(self, name: str) -> int:
        if name not in self._slots:
            raise PredictionError(
                f"{self._what} needs {name!r}, which its manifest takes from nowhere: there are {one_of(self._slots)}. "
                "Make another build champion"
            )
        return self._slots[name]


def picker(slots: Sequence[int]) -> Callable[[Row], Sequence[Any]]:
    """The function that takes the values at some slots of a row, in their order."""
    return itemgetter(*slots) if len(slots) > 1 else lambda row: [row[slot] for slot in slots]


class _Run(NamedTuple):
    """Consecutive columns of a dense input that come from consecutive slots: of one group, or a single slot."""

    first: int
    places: slice
    columns: slice
    slots: tuple[int, ...]


class Feeds:
    """How rows become the inputs of a graph: the arrays that ``Graph.feeds`` makes, without the columns between.

    One row is written into arrays that are kept for the next one; as many of them as there are threads at a time.

    Args:
        inputs: of the graph.
        slots: where a row has the features.
        groups: the first slot of each group and how many it has, for groups whose values may stand together.
    """

    def __init__(self, inputs: Sequence[GraphInput], slots: Slots, groups: Sequence[tuple[int, int]] = ()) -> None:
        self._times = [
            (one.name, tuple(slots.of(name) for name in one.features))
            for one in inputs
            if one.type == "int64" and slots.types.get(one.features[0]) == "timestamp"
        ]
        self._vectors = [
            (one.name, slots.of(one.features[0]), one.dim, f"the vector {one.features[0]!r}")
            for one in inputs
            if one.dim is not None
        ]
        of_times = {name for name, _ in self._times}
        others = [
            (one.name, one.type, slots.of(one.features[0]))
            for one in inputs
            if one.type != "float32" and one.name not in of_times
        ]
        self._others = [(name, _of_one[kind], slot) for name, kind, slot in others]
        self._other_columns = [(name, _of_many[kind], slot) for name, kind, slot in others]
        dense = [
            (one.name, [slots.of(name) for name in one.features], len(one.features))
            for one in inputs
            if one.type == "float32" and one.dim is None
        ]
        self._dense = [(name, _runs(of_input, groups), width) for name, of_input, width in dense]
        self._shapes = [(name, width) for name, _, width in dense]
        self._shapes += [(name, dim) for name, _, dim, _ in self._vectors]
        self._packs = [(name, picker(of_input), Struct(f"{width}f").pack_into) for name, of_input, width in dense]
        self._kept: list[dict[str, Any]] = []

    def of(self, columns: Columns) -> dict[str, np.ndarray]:
        """The inputs for ``n`` rows."""
        feeds: dict[str, np.ndarray] = {}
        with np.errstate(over="ignore"):
            for name, runs, width in self._dense:
                feeds[name] = numbers = np.empty((columns.rows, width), np.float32)
                for first, places, of_block, slots in runs:
                    block = None if len(slots) == 1 else columns.block(first)
                    if block is not None:
                        numbers[:, places] = block[:, of_block]
                    else:
                        for place, slot in enumerate(slots, places.start):
                            numbers[:, place] = columns.numbers(slot)
        for name, feed, slot in self._other_columns:
            feeds[name] = feed(columns, slot)
        for name, of_input in self._times:
            times = [columns.canonical(slot, "timestamp").astype(np.int64) for slot in of_input]
            feeds[name] = np.stack(times, axis=1)
        for name, slot, dim, what in self._vectors:
            feeds[name] = _matrix(columns.plain(slot), dim, what)
        return feeds

    def run(self, graph: Graph, output: str, row: Row) -> Any:
        """What a graph gives for one row, as plain values."""
        feeds: dict[str, Any]
        try:
            # Taken out of the list while it is used: two threads that predict at once never share arrays.
            feeds = self._kept.pop()
        except IndexError:
            feeds = {name: np.empty((1, width), np.float32) for name, width in self._shapes}
        try:
            for name, pick, pack in self._packs:
                pack(feeds[name], 0, *pick(row))  # which casts as numpy does
        except StructError:  # a value is missing
            # struct packs no None; what is missing goes the slower way, which makes NaN of it.
            return graph.answer(self.of(Columns(1, [[value] for value in row])), output).tolist()
        for name, feed, slot in self._others:
            feeds[name] = feed(row[slot])
        for name, of_input in self._times:
            feeds[name] = np.array([[_time(row[slot]) for slot in of_input]], dtype=np.int64)
        for name, slot, dim, what in self._vectors:
            value = row[slot]
            if value is not None and value.shape == (dim,):
                feeds[name][0] = value  # a copy, since a blob's numbers lie where no float may begin
            else:
                feeds[name][:] = _matrix([value], dim, what)
        values = graph.answer(feeds, output).tolist()
        self._kept.append(feeds)
        return values


def _runs(slots: Sequence[int], groups: Sequence[tuple[int, int]]) -> list[_Run]:
    """The columns of a dense input, as few as their slots allow."""
    first_of = {slot: first for first, width in groups for slot in range(first, first + width)}
    runs: list[_Run] = []
    for place, slot in enumerate(slots):
        first = first_of.get(slot, -1)
        last = runs[-1] if runs else None
        if last is not None and first >= 0 and last.first == first and last.slots[-1] + 1 == slot:
            runs[-1] = _Run(
                first,
                slice(last.places.start, place + 1),
                slice(last.columns.start, slot - first + 1),
                (*last.slots, slot),
            )
        else:
            runs.append(_Run(first, slice(place, place + 1), slice(slot - first, slot - first + 1), (slot,)))
    return runs


_of_one: dict[str, Callable[[Any], np.ndarray]] = {
    "float64": lambda value: np.array([[value]], dtype=np.float64),
    "string": lambda value: np.array([["" if value is None else value]], object),
    "int64": lambda value: np.array([[_whole_number(value)]], dtype=np.int64),
}
_of_many: dict[str, Callable[[Columns, int], np.ndarray]] = {
    "float64": lambda columns, slot: columns.numbers(slot)[:, None],
    "string": lambda columns, slot: canonical(columns.plain(slot), "text")[:, None],
    "int64": lambda columns, slot: whole_numbers(columns.numbers(slot))[:, None],
}


def _matrix(values: list[Any], dim: int, what: str) -> np.ndarray:
    """Vectors as an input of a graph.

    Raises:
        PredictionError: a group brings one of another length than the model learned from.
    """
    try:
        return matrix(values, dim, what=what)
    except DataError as error:
        raise PredictionError(f"{error}: the model learned from others, so store the group's rows again") from None


def _time(value: Any) -> int:
    return MISSING_INTEGER if value is None else microseconds(value)


def _whole_number(value: Any) -> int:
    if value is None:
        return MISSING_INTEGER
    if value.__class__ is int and abs(value) < EXACT:
        return int(value)
    return int(whole_numbers(np.array([value], dtype=np.float64))[0])  # what a number column went through offline
