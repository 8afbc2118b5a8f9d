"""Each ordered aggregate over each window, at the targets of a part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fti_assets.core.times import duration, microseconds
from fti_assets.features.windows.aggregates import Aggregate, First, Last, Percentile, Sessions, names_of
from fti_assets.features.windows.axis import EVENT, Windows
from fti_assets.features.windows.ordering.places import NOTHING, nth_rows, percentiles, spans_of_values
from fti_assets.features.windows.ordering.rows import Ordered, Part, in_arrow
from fti_assets.features.windows.ordering.sessions import spans_of_starts
from fti_assets.features.windows.ordering.standing import Standing, Whole
from fti_assets.features.windows.results import Results

if TYPE_CHECKING:
    import pyarrow as pa

AVAILABLE = "__fti_available"


@dataclass(frozen=True)
class OrderedResults:
    """The ordered aggregates of windows that end the same time before their instants.

    Args:
        windows: what is declared, of which these are the aggregates.
    """

    windows: Windows
    values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        results = Results(self.windows, {})
        for aggregate in self.windows.aggregates.values():
            if isinstance(aggregate, Percentile):
                self.values.setdefault(results.number(aggregate.column), f"__fti_number_{len(self.values)}")
            elif isinstance(aggregate, First | Last):
                self.values.setdefault(results.comparable(aggregate.column), f"__fti_value_{len(self.values)}")

    @property
    def row_values(self) -> list[str]:
        """The SQL of what is needed of a row, each with its name."""
        available = f"epoch_us({self.windows.available}) AS {AVAILABLE}"
        return [available, *(f"{sql} AS {name}" for sql, name in self.values.items())]

    def types(self) -> dict[str, str]:
        """The type of each column, in the order of ``at``."""
        return {
            f"{one}_{text}": self._type(aggregate)
            for name, aggregate in self.windows.aggregates.items()
            for one in names_of(name, aggregate)
            for text in self.windows.lengths
        }

    def _type(self, aggregate: Aggregate) -> str:
        if isinstance(aggregate, First | Last):
            relation = self.windows.rows.relation
            return str(dict(zip(relation.columns, relation.types, strict=True))[aggregate.column])
        return "BIGINT" if isinstance(aggregate, Sessions) and aggregate.of != "seconds" else "DOUBLE"

    def at(self, part: Part) -> Mapping[str, Any]:
        """Each column at the targets of a part, as Arrow arrays."""
        orders: dict[Any, Ordered] = {}
        answers: dict[str, Any] = {}
        for name, aggregate in self.windows.aggregates.items():
            for number, text in enumerate(self.windows.lengths):
                match aggregate:
                    case Percentile():
                        columns = [self._percentile(aggregate, part, number, orders)]
                    case Sessions():
                        columns = [self._sessions(aggregate, part, number, orders)]
                    case First() | Last():
                        columns = self._values(aggregate, part, number, orders)
                    case _:
                        raise AssertionError(aggregate)
                answers |= {
                    f"{one}_{text}": array for one, array in zip(names_of(name, aggregate), columns, strict=True)
                }
        return answers

    def _percentile(self, aggregate: Percentile, part: Part, window: int, orders: dict[Any, Ordered]) -> pa.Array:
        import pyarrow as pa

        column = self.values[Results(self.windows, {}).number(aggregate.column)]
        if column not in orders:
            orders[column] = part.ordered(column, column, f"{column} IS NOT NULL")
        rows = orders[column]
        standing = Standing(rows.entering, rows.leaving(window))
        moments, of_target = part.at_targets(standing)
        some = moments.number > 0
        result = np.zeros(len(some))
        result[some] = percentiles(rows.columns[column].to_numpy(), standing, moments[some], aggregate.ratio)
        return pa.array(result[of_target], mask=~some[of_target])

    def _values(self, aggregate: First | Last, part: Part, window: int, orders: dict[Any, Ordered]) -> list[pa.Array]:
        import pyarrow as pa

        results, last = Results(self.windows, {}), isinstance(aggregate, Last)
        column = self.values[results.comparable(aggregate.column)]
        key = (column, aggregate.distinct)
        if key not in orders:
            kind = results.types[aggregate.column]
            fetched = f"{in_arrow(column, kind)} AS {column}"
            order = f"{EVENT}, {AVAILABLE}, {column} NULLS FIRST"
            if aggregate.distinct:
                fetched += f", dense_rank() OVER (ORDER BY __fti_group, {column}) - 1 AS __fti_code"
                orders[key] = part.ordered(fetched, order, f"{column} IS NOT NULL")
            else:
                orders[key] = part.ordered(fetched, order)
        rows = orders[key]
        starts, ends, of_span = rows.entering, rows.leaving(window), None
        if aggregate.distinct:
            codes = rows.numbers("__fti_code")
            of_span, starts, ends = spans_of_values(codes, starts, ends, last=last)
            order_of_spans = np.argsort(of_span, kind="stable")
            of_span, starts, ends = (array[order_of_spans] for array in (of_span, starts, ends))
        standing = Standing(starts, ends)
        moments, of_target = part.at_targets(standing)
        places = nth_rows(standing, moments, aggregate.n, last=last)[:, of_target]
        if of_span is not None:
            places = np.where(places == NOTHING, NOTHING, of_span[places] if len(of_span) else NOTHING)
        values = rows.columns[column].combine_chunks()
        return [values.take(pa.array(np.where(one < 0, 0, one), mask=one < 0)) for one in places]

    def _sessions(self, aggregate: Sessions, part: Part, window: int, orders: dict[Any, Ordered]) -> pa.Array:
        import pyarrow as pa

        if EVENT not in orders:
            orders[EVENT] = part.ordered(EVENT, EVENT)
        rows = orders[EVENT]
        events, gap = rows.numbers(EVENT), microseconds(duration(aggregate.gap, what="gap"))
        enters, leaves = rows.entering, rows.leaving(window)
        firsts, starts, ends = spans_of_starts(rows.groups, events, enters, leaves, gap)
        order = np.argsort(firsts, kind="stable")
        firsts, starts, ends = firsts[order], starts[order], ends[order]
        beginning = Standing(starts, ends)
        if aggregate.of == "number":
            sessions, of_target = part.at_targets(beginning)
            return pa.array(sessions.number[of_target])
        # Whatever changes the rows that stand changes what is asked, whether or not another row begins a session.
        standing = Standing(enters, leaves)
        moments, of_target = part.at_targets(standing)
        sessions = beginning.at(part.first_targets(of_target))
        some = sessions.number > 0
        first: Whole = firsts[beginning.nth(sessions[some], sessions.number[some] - 1)]
        moments = moments[some]
        if aggregate.of == "rows":
            counts = np.zeros(len(some), np.int64)
            counts[some] = moments.number - standing.before(moments, first)
            return pa.array(counts[of_target])
        seconds = np.zeros(len(some))
        seconds[some] = (events[standing.nth(moments, moments.number - 1)] - events[first]) / 1e6
        return pa.array(seconds[of_target], mask=~some[of_target])
