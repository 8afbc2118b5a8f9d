"""The rows on which an exported graph is compared with the trained model: those that there are, and those that serving may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fti_assets.errors import ModelError
from fti_assets.training.models.data import Part, TrainingData

MOST_ROWS = 2_000
"""Of the test part, and of the train part."""

_BASES = 4
_MOST_MADE = 2_000
_UNKNOWN_TEXT = "\x01unknown"

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class ComparisonRows:
    """Raw rows: name to canonical array ``[n]``, and of each made-up row what was made of it, empty for one that was there."""

    columns: Columns
    made: tuple[str, ...]

    @property
    def rows(self) -> int:
        return len(self.made)

    def part(self, chosen: np.ndarray) -> ComparisonRows:
        """Those at some places."""
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return ComparisonRows(columns, tuple(self.made[place] for place in chosen.tolist()))

    def described(self, row: int) -> str:
        """A row for an error message."""
        values = {name: values[row : row + 1].tolist()[0] for name, values in self.columns.items()}
        return f"{values}{f' ({self.made[row]})' if self.made[row] else ''}"


def comparison_rows(data: TrainingData) -> ComparisonRows:
    """Rows of the test and train parts, half of them chosen for a missing value, and rows that neither has.

    These are made from a few of them, with each feature missing, all missing, each text or whole number one that training has
    never had, and each number ten ranges below the least and above the greatest.

    Raises:
        ModelError: no part has rows.
    """
    first = next((part for part in (data.test, data.validation) if part.rows), None)
    parts = [_chosen(part) for part in (first, data.train) if part is not None and part.rows]
    if not parts:
        raise ModelError("no part of the data has rows: the exported graph cannot be compared with the model")
    there = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    made = _made(there)
    columns = {name: np.concatenate([values, *(row[name] for _, row in made)]) for name, values in there.items()}
    rows = len(next(iter(there.values())))
    return ComparisonRows(columns, ("",) * rows + tuple(what for what, row in made for _ in next(iter(row.values()))))


def _chosen(part: Part) -> Columns:
    missing = np.zeros(part.rows, dtype=bool)
    for values in part.columns.values():
        missing |= _is_missing(values)
    chosen = _spread(np.flatnonzero(missing), MOST_ROWS // 2)
    chosen = np.union1d(chosen, _spread(np.arange(part.rows), MOST_ROWS - len(chosen)))
    return {name: values[chosen] for name, values in part.columns.items()}


def _made(there: Columns) -> list[tuple[str, Columns]]:
    rows = len(next(iter(there.values())))
    bases = max(1, min(_BASES, rows, _MOST_MADE // (4 * len(there))))
    base = {name: values[_spread(np.arange(rows), bases)] for name, values in there.items()}
    made: list[tuple[str, Columns]] = []
    for name, values in there.items():
        for what, value in _strange(values).items():
            made.append((f"with {name} {what}", base | {name: np.full(bases, value, dtype=values.dtype)}))
    nothing = {
        name: np.full(1, "" if values.dtype == object else np.nan, dtype=values.dtype) for name, values in there.items()
    }
    return [*made, ("with all missing", nothing)]


def _strange(values: np.ndarray) -> Mapping[str, object]:
    """Values that a column does not have in training, by what they are."""
    if values.dtype == object:
        return {"missing": "", "unknown": _UNKNOWN_TEXT}
    known = values[np.isfinite(values)]
    least, most = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    reach = 10.0 * max(most - least, 1.0)
    strange: dict[str, object] = {"missing": np.nan}
    if abs(least - reach) < 1e30 and abs(most + reach) < 1e30:  # beyond, float32 has no numbers to compare
        strange |= {"far below": np.floor(least - reach), "far above": np.ceil(most + reach)}
    return strange


def _is_missing(values: np.ndarray) -> np.ndarray:
    return np.asarray(values == "" if values.dtype == object else np.isnan(values))


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
