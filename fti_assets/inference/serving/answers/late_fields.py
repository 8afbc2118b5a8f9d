"""What there is to say of answers besides their values, put together when it is asked for."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fti_assets.core.types import EXACT
from fti_assets.core.types.columns import is_rounded
from fti_assets.inference.serving.answers.layout import AnswerLayout, Names
from fti_assets.inference.serving.answers.prediction import Prediction, put_unset
from fti_assets.inference.serving.requests.overrides import Override
from fti_assets.inference.serving.rows.columns import Columns
from fti_assets.inference.serving.rows.online_features import LookupReport


class OneAnswer:
    """What there is to say of the answer to one row."""

    __slots__ = ("_absent", "_ages", "_layout", "_row")

    def __init__(self, layout: AnswerLayout, row: list[Any], ages: list[float | None], absent: tuple[int, ...]) -> None:
        self._layout = layout
        self._row = row
        self._ages = ages
        self._absent = absent

    def tell(self, prediction: Prediction, name: str, _: int) -> Any:
        """One of the fields of its prediction, which gets all of them: who asks for one mostly asks for others."""
        late = self._fields()
        value = late.pop(name)
        for other, of_other in late.items():
            put_unset(prediction, other, of_other)
        return value

    def tell_all(self, prediction: Prediction) -> None:
        """All fields of its prediction, which are unset."""
        late = self._fields()
        prediction.features = late["features"]
        prediction.missing = late["missing"]
        prediction.unknown = late["unknown"]
        prediction.out_of_schema = late["out_of_schema"]
        prediction.ages = late["ages"]
        # What has an answer to itself was neither overridden nor explained.
        prediction.overridden, prediction.explanation = (), None

    def _fields(self) -> dict[str, Any]:
        layout, row = self._layout, self._row
        tables = layout.tables
        return {
            "features": layout.features(row)
            if layout.vectors
            else dict(zip(layout.names, layout.pick(row), strict=True)),
            "missing": tuple(dict.fromkeys([tables[position] for position in self._absent])) if self._absent else (),
            "unknown": layout.unlearned_features(row) if layout.categories else (),
            "out_of_schema": layout.out_of_schema(row),
            "ages": dict(zip(layout.labels, self._ages, strict=True)),
        }


class ManyAnswers:
    """What there is to say of the answers to ``n`` rows, by row and, as ``all_``, in columns."""

    def __init__(
        self, layout: AnswerLayout, columns: Columns, lookups: LookupReport, overrides: Sequence[Override] | None
    ) -> None:
        self._layout = layout
        self._columns = columns
        self._brought = lookups
        self._overrides = overrides
        self._features: list[list[Any]] | None = None
        self._marks: dict[str, list[bool]] | None = None

    def tell_all(self, prediction: Prediction) -> None:
        """Nothing yet: a field of many rows is put together by column, once it is asked for."""

    def tell(self, _: Prediction, name: str, index: int) -> Any:
        """One of the fields of a row's prediction."""
        return getattr(self, name)(index)

    def features(self, index: int) -> dict[str, Any]:
        if self._features is None:
            self._features = self._layout.feature_columns(self._columns)
        return dict(zip(self._layout.names, [values[index] for values in self._features], strict=True))

    def missing(self, index: int) -> Names:
        absent = zip(self._layout.tables, self._brought.absent, strict=True)
        return tuple(dict.fromkeys([table for table, of_group in absent if of_group is not None and of_group[index]]))

    def unknown(self, index: int) -> Names:
        return tuple(
            [
                name
                for name, slot, vocabulary in self._layout.categories
                if self._columns.plain(slot)[index] not in vocabulary
            ]
        )

    def out_of_schema(self, index: int) -> Names:
        rules = self._layout.rules
        violations = rules.broken_by(self._columns.row(index, self._layout.fields)) if rules.columns else ()
        merged_numbers = [name for name, marks in self._rounded_features().items() if marks[index]]
        return tuple(dict.fromkeys([*violations, *merged_numbers])) if merged_numbers else violations

    def ages(self, index: int) -> dict[str, float | None]:
        ages = [of_group[index].item() for of_group in self._brought.ages]
        return {name: None if age != age else age for name, age in zip(self._layout.labels, ages, strict=True)}

    def all_features(self) -> dict[str, list[Any]]:
        columns = self._layout.feature_columns(self._columns)
        return {name: list(values) for name, values in zip(self._layout.names, columns, strict=True)}

    def all_missing(self) -> dict[str, np.ndarray]:
        marks: dict[str, np.ndarray] = {}
        for table, of_group in zip(self._layout.tables, self._brought.absent, strict=True):
            if of_group is not None:
                marks[table] = marks[table] | of_group if table in marks else of_group.copy()
        return {table: marks[table] for table in dict.fromkeys(self._layout.tables) if table in marks}

    def all_unknown(self) -> dict[str, np.ndarray]:
        marks = {
            name: np.array([value not in vocabulary for value in self._columns.plain(slot)], dtype=bool)
            for name, slot, vocabulary in self._layout.categories
        }
        return {name: mark for name, mark in marks.items() if mark.any()}

    def all_out_of_schema(self) -> dict[str, np.ndarray]:
        if not (self._layout.rules.columns or self._rounded_features()):
            return {}
        order = dict.fromkeys([*self._layout.rules.columns, *self._rounded_features()])
        return self._marks_by_name(map(self.out_of_schema, range(self._columns.rows)), tuple(order))

    def all_overridden(self) -> dict[str, np.ndarray]:
        return self._marks_by_name([one.names for one in self._overrides or ()], self._layout.overridable)

    def all_ages(self) -> dict[str, np.ndarray]:
        return dict(zip(self._layout.labels, self._brought.ages, strict=True))

    def _rounded_features(self) -> dict[str, list[bool]]:
        """Which rows have a number that the graph gets rounded, or as infinite, by the features of which some row has one."""
        if self._marks is None:
            large = [(name, slot) for name, slot in self._layout.whole if self._has_large(slot)]
            marks = {
                name: [value is not None and is_rounded(value) for value in self._columns.plain(slot)]
                for name, slot in large
            }
            for name, slot, limit in self._layout.limits:
                marks[name] = (np.abs(self._columns.numbers(slot)) >= limit).tolist()
            self._marks = {name: of_rows for name, of_rows in marks.items() if any(of_rows)}
        return self._marks

    def _has_large(self, slot: int) -> bool:
        return bool((np.abs(self._columns.numbers(slot)) >= EXACT).any())

    def _marks_by_name(self, names: Iterable[Names], order: Names) -> dict[str, np.ndarray]:
        """The names of the rows as bool ``[n]`` by name, in an order, for each name that some row has."""
        marks: dict[str, np.ndarray] = {}
        for index, of_row in enumerate(names):
            for name in of_row:
                marks.setdefault(name, np.zeros(self._columns.rows, dtype=bool))[index] = True
        return {name: marks[name] for name in order if name in marks}
