"""The rows on which an exported graph is compared with the trained model: those that there are, and those that serving may see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fti_assets.core.types.vectors import are_vectors
from fti_assets.errors import ModelError
from fti_assets.training.models.data import Part, TrainingData
from fti_assets.training.trainer.parts.rows import by_block, rows_at

MOST_ROWS = 2_000
"""Of the train part; of the test part all are compared."""

AT_ONCE = 2**18
"""So many rows of the test part are compared at once, in memory; ``further_rows`` are those behind them."""

_BASES = 4
_MOST_MADE = 2_000
_UNKNOWN_TEXT = "\x01unknown"

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class ComparisonRows:
    """Raw rows: name to canonical array ``[n]``, and of each made-up row of which kind it is, empty for one that was there.

    The first ``test_rows`` are those of the test part.
    """

    columns: Columns
    kinds: tuple[str, ...]
    test_rows: int = 0

    @property
    def rows(self) -> int:
        return len(self.kinds)

    def part(self, places: np.ndarray) -> ComparisonRows:
        """Those at some places, which are ascending."""
        columns = {name: values[places] for name, values in self.columns.items()}
        kinds = tuple(self.kinds[place] for place in places.tolist())
        return ComparisonRows(columns, kinds, int((places < self.test_rows).sum()))

    def describe(self, row: int) -> str:
        """A row for an error message."""
        values = {name: values[row : row + 1].tolist()[0] for name, values in self.columns.items()}
        return f"{values}{f' ({self.kinds[row]})' if self.kinds[row] else ''}"


def comparison_rows(data: TrainingData) -> ComparisonRows:
    """Every row of the test part up to ``AT_ONCE``, some of the train part, half of them chosen for a missing value, and rows that
    neither has.

    These are made from a few of them, with each feature missing, all missing, each text or whole number one that training has
    never had, and each number ten, and ten million, ranges below the least and above the greatest.

    Raises:
        ModelError: no part has rows.
    """
    first = next((part for part in (data.test, data.validation) if part.rows), None)
    compared = 0 if first is None else min(first.rows, AT_ONCE)
    parts = [rows_at(first.stored, np.arange(compared))] if first is not None else []
    parts += [_some_of(data.train)] if data.train.rows else []
    if not parts:
        raise ModelError("no part of the data has rows: the exported graph cannot be compared with the model")
    real = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    rows = len(next(iter(real.values())))
    bases = max(1, min(_BASES, rows, _MOST_MADE // (6 * len(real))))
    base = {name: values[_spread(np.arange(rows), bases)] for name, values in real.items()}
    strange = [
        (f"with {name} {what}", base | {name: np.full(bases, value, dtype=values.dtype)})
        for name, values in real.items()
        for what, value in _strange(values).items()
    ]
    nothing = {name: np.full(1, _nothing(one), dtype=one.dtype) for name, one in real.items()}
    strange.append(("with all missing", nothing))
    columns = {name: np.concatenate([values, *(one[name] for _, one in strange)]) for name, values in real.items()}
    kinds = [kind for kind, of_kind in strange for _ in next(iter(of_kind.values()))]
    return ComparisonRows(columns, (*[""] * rows, *kinds), compared)


def further_rows(data: TrainingData) -> Iterator[ComparisonRows]:
    """The rows of the test part that ``comparison_rows`` does not have, a block after another."""
    start = 0
    for block, size in zip(by_block(data.test.stored), data.test.stored.blocks, strict=True):
        first = max(0, AT_ONCE - start)
        start += size
        if first < size:
            columns = {name: values[first:] for name, values in block.items()}
            yield ComparisonRows(columns, ("",) * (size - first), size - first)


def _some_of(part: Part) -> Columns:
    missing = np.zeros(part.rows, dtype=bool)
    for values in part.stored.columns.values():  # one column at a time: the part may not fit into memory
        missing |= _are_missing(values)
    # Rows with a missing value may be few, and a graph may differ from its model on them alone: they get half of the places.
    places = _spread(np.flatnonzero(missing), MOST_ROWS // 2)
    places = np.union1d(places, _spread(np.arange(part.rows), MOST_ROWS - len(places)))
    return {name: values[places] for name, values in part.stored.columns.items()}


def _are_missing(values: np.ndarray) -> np.ndarray:
    if are_vectors(values):
        return np.array([value is None or bool(np.isnan(value).any()) for value in values])
    return np.asarray(values == "" if values.dtype == object else values != values)


def _strange(values: np.ndarray) -> Mapping[str, object]:
    """Values that a column does not have in training, by what they are."""
    if are_vectors(values):
        return {"missing": None}
    if values.dtype == object:
        return {"missing": "", "unknown": _UNKNOWN_TEXT}
    if values.dtype.kind == "M":
        return _strange_times(values)
    finite = values[np.isfinite(values)]
    least, most = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    strange: dict[str, object] = {"missing": np.nan}
    for far, ranges in (("far", 10.0), ("very far", 1e7)):
        low, high = least - ranges * max(most - least, 1.0), most + ranges * max(most - least, 1.0)
        if abs(low) < 1e30 and abs(high) < 1e30:  # beyond, float32 has no numbers to compare
            strange |= {f"{far} below": np.floor(low), f"{far} above": np.ceil(high)}
    return strange


def _strange_times(values: np.ndarray) -> Mapping[str, object]:
    times = values[~np.isnat(values)]
    if not len(times):
        return {"missing": np.datetime64("NaT")}
    reach = max(times.max() - times.min(), np.timedelta64(1, "D"))
    least, most = np.datetime64("0002-01-01", "us"), np.datetime64("9998-12-31", "us")
    far = {"far below": times.min() - 10 * reach, "far above": times.max() + 10 * reach}
    return {"missing": np.datetime64("NaT"), **{what: min(max(one, least), most) for what, one in far.items()}}


def _nothing(values: np.ndarray) -> object:
    if are_vectors(values):
        return None
    if values.dtype == object:
        return ""
    return np.datetime64("NaT") if values.dtype.kind == "M" else np.nan


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
