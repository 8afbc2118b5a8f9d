"""Where a row of values of one build has what its answers tell, and what of a row stands out."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fti_assets.core.manifest import Column, ModelManifest
from fti_assets.core.types import ColumnType
from fti_assets.core.types.columns import is_rounded
from fti_assets.core.types.vectors import plain_vector
from fti_assets.inference.serving.requests.rules import RequestRules
from fti_assets.inference.serving.rows.columns import Columns
from fti_assets.inference.serving.rows.slots import Slots, picker

Names = tuple[str, ...]

_INFINITE_FROM = {"float32": 2.0**128 - 2.0**103, "float64": float("inf")}
"""From where on a number is infinite as an input of a graph: halfway from the greatest float32 to the next there would be."""


class Category(NamedTuple):
    """A feature of categories: its slot, and those that the model has learned, nothing and the empty text among them."""

    name: str
    slot: int
    vocabulary: frozenset[Any]


class AnswerLayout(NamedTuple):
    """Where a row of values of one build has what its answers tell.

    Attributes:
        names: of the features.
        slots: of the features.
        pick: takes the features out of a row.
        labels: of the joins.
        tables: of the joins.
        categories: the features that may be unknown.
        rules: what a request is held against.
        whole: the features of whole numbers that the graph gets as numbers, each with its slot.
        limits: the features that the graph gets as numbers, each with its slot and from where on it is infinite there.
        pick_limited: takes these out of a row.
        least_limit: the least number that is infinite for one of them.
        fields: how many values a request brings.
        overridable: the features that may be overridden.
        vectors: the features that are vectors, which answers tell as lists.
        types: of the features.
    """

    names: Names
    slots: tuple[int, ...]
    pick: Callable[[list[Any]], Sequence[Any]]
    labels: Names
    tables: Names
    categories: Sequence[Category]
    rules: RequestRules
    whole: Sequence[tuple[str, int]]
    limits: Sequence[tuple[str, int, float]]
    pick_limited: Callable[[list[Any]], Sequence[Any]]
    least_limit: float
    fields: int
    overridable: Names
    vectors: Names
    types: Mapping[str, ColumnType]

    @classmethod
    def of(
        cls,
        manifest: ModelManifest,
        slots: Slots,
        fields: Sequence[Column],
        labels: Names,
        overridable: Names,
    ) -> "AnswerLayout":
        """The layout of a build.

        Args:
            manifest: the build's.
            slots: where a row has each value.
            fields: what a request brings.
            labels: of the joins.
            overridable: the features that may be overridden.
        """
        view = manifest.view
        names = tuple(feature.name for feature in view.features)
        feature_slots = tuple(slots.of(name) for name in names)
        types = {name: slots.types[name] for name in names}
        categories = {
            name: encoder["categories"] for name, encoder in manifest.encoders.items() if _has_categories(encoder)
        }
        limits = [
            (name, slots.of(name), _INFINITE_FROM[one.type])
            for one in manifest.inputs
            if one.type in _INFINITE_FROM
            for name in one.features
            if types.get(name) == "number"
        ]
        return cls(
            names=names,
            slots=feature_slots,
            pick=picker(feature_slots),
            labels=labels,
            tables=tuple(group.table_name for group in view.joins),
            categories=[
                Category(name, slots.of(name), frozenset([None, "", *of_feature]))
                for name, of_feature in categories.items()
            ],
            rules=RequestRules(view.rules, fields),
            whole=[(name, slots.of(name)) for name in names if types[name] == "integer" and name not in categories],
            limits=limits,
            pick_limited=picker([slot for _, slot, _ in limits]),
            least_limit=min([limit for _, _, limit in limits], default=math.inf),
            fields=len(fields),
            overridable=overridable,
            vectors=tuple(name for name in names if types[name] == "vector"),
            types=types,
        )

    def features(self, row: list[Any]) -> dict[str, Any]:
        """The features of a row."""
        values = dict(zip(self.names, self.pick(row), strict=True))
        for name in self.vectors:
            values[name] = plain_vector(values[name])
        return values

    def feature_columns(self, columns: Columns) -> list[list[Any]]:
        """The features of rows in columns, to be read only."""
        return [
            [plain_vector(value) for value in columns.plain(slot)] if name in self.vectors else columns.plain(slot)
            for name, slot in zip(self.names, self.slots, strict=True)
        ]

    def unlearned_features(self, row: Sequence[Any]) -> Names:
        """The features of a row with a category that the model has not learned; an empty text is no category."""
        return tuple([name for name, slot, vocabulary in self.categories if row[slot] not in vocabulary])

    def rounded_features(self, row: Sequence[Any]) -> Names:
        """The features of a row with a whole number that the graph gets rounded, so that another one is answered alike."""
        return tuple([name for name, slot in self.whole if (value := row[slot]) is not None and is_rounded(value)])

    def infinite_features(self, row: list[Any]) -> Names:
        """The features of a row that are infinite, or are to the graph."""
        try:  # of most rows none is, which is seen without a step of Python a value
            if max(map(abs, self.pick_limited(row)), default=0.0) < self.least_limit:
                return ()
        except TypeError:  # a value is missing
            pass
        return tuple(
            [name for name, slot, limit in self.limits if (value := row[slot]) is not None and abs(value) >= limit]
        )

    def out_of_schema(self, row: list[Any]) -> Names:
        """What of a row its schema refuses, or the graph gets rounded or as infinite."""
        violations = self.rules.broken_by(row) if self.rules.columns else ()
        merged_numbers = (*(self.rounded_features(row) if self.whole else ()), *self.infinite_features(row))
        return tuple(dict.fromkeys([*violations, *merged_numbers])) if merged_numbers else violations


def _has_categories(encoder: Any) -> bool:
    """Whether an encoder of the manifest tells categories apart."""
    return isinstance(encoder, dict) and "categories" in encoder
