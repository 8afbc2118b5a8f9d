"""Statistics of columns, against plain Python."""

import math
import statistics
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.features.rows.statistics import ColumnStatistics, column_statistics, partition_statistics
from tests.features import oracles
from tests.support.examples import examples

TYPES = {"n": "BIGINT", "x": "DOUBLE", "s": "VARCHAR", "b": "BOOLEAN", "t": "TIMESTAMP", "l": "BIGINT[]"}
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.none() | st.integers(-50, 50),
            "x": st.none() | st.floats(-1e6, 1e6),
            "s": st.none() | st.sampled_from(["a", "b", ""]),
            "b": st.none() | st.booleans(),
            "t": st.none() | st.datetimes(datetime(2013, 1, 1), datetime(2013, 2, 1)),
            "l": st.none() | st.just([1]),
            "_partition": st.sampled_from(["p", "q"]),
        }
    ),
    max_size=30,
)


def expected(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    known = [row[name] for row in rows if row[name] is not None]
    ordered, number = name != "l", name in ("n", "x", "b")
    return {
        "null_rate": 1 - len(known) / len(rows) if rows else 0.0,
        "least": min(known) if known and ordered else None,
        "greatest": max(known) if known and ordered else None,
        "mean": statistics.fmean(known) if known and number else None,
        "std": statistics.stdev(map(float, known)) if len(known) > 1 and number else None,
    }


@settings(max_examples=examples(40))
@given(rows=ROWS)
def test_statistics_are_those_of_plain_python(rows: list[dict[str, Any]]) -> None:
    with oracles.connection() as connection:
        stored = oracles.relation(connection, TYPES, rows)
        for result in column_statistics(connection, stored):
            for field, value in expected(result.column, rows).items():
                got = getattr(result, field)
                close = value is not None and field in ("mean", "std", "null_rate")
                assert got == (pytest.approx(value, rel=1e-9, abs=1e-6) if close else value), (result.column, field)
            if result.distinct is not None:
                assert result.distinct == len({row[result.column] for row in rows} - {None})


@pytest.mark.parametrize("rows", [0, 1, 999, 1000, 1001, 5000])
def test_few_distinct_values_are_counted_exactly_at_any_length(rows: int) -> None:
    with oracles.connection() as connection:
        connection.execute(
            "CREATE TABLE made AS SELECT if(i % 2 = 0, 0.0, -0.0)::DOUBLE AS zero, if(i % 5 = 0, NULL, i % 7) AS n, "
            f"'c' || (i % 500) AS s, i % 3 = 0 AS b, NULL::DOUBLE AS nothing FROM range({rows}) r(i)"
        )
        made = connection.table("made")
        counts = ", ".join(f"count(DISTINCT {name})" for name in made.columns)
        exact = connection.execute(f"SELECT {counts} FROM made").fetchall()[0]
        assert [one.distinct for one in column_statistics(connection, made)] == list(exact)


@settings(max_examples=examples(25))
@given(rows=ROWS)
def test_a_partitions_numbers_are_its_own(rows: list[dict[str, Any]]) -> None:
    known = sorted(row["t"] for row in rows if row["t"] is not None)
    now = known[len(known) // 2] if known else datetime(2013, 1, 1)
    with oracles.connection() as connection:
        stored = oracles.relation(connection, {**TYPES, "_partition": "VARCHAR"}, rows)
        results = partition_statistics(connection, stored, ["n", "s"], event_time="t", now=now)
    assert results.keys() == {row["_partition"] for row in rows}
    for partition, numbers in results.items():
        own = [row for row in rows if row["_partition"] == partition]
        assert numbers.rows == len(own)
        rates = {name: expected(name, own)["null_rate"] for name in ("n", "s")}
        assert numbers.null_rates == pytest.approx(rates)
        assert numbers.null_rate == pytest.approx(sum(rates.values()) / 2)
        times = [row["t"] for row in own if row["t"] is not None]
        assert numbers.newest == max((time for time in times if time <= now), default=None)
        assert numbers.farthest == max((time for time in times if time > now), default=None)


def test_what_is_infinite_or_huge_hides_no_other_number() -> None:
    rows = [{"x": value, "y": 1.0} for value in (1.0, 3.0, math.inf)]
    with oracles.connection() as connection:
        x, y = column_statistics(connection, oracles.relation(connection, {"x": "DOUBLE", "y": "DOUBLE"}, rows))
        huge = [{"x": value} for value in (1e300, -1e300)]
        (overflowing,) = column_statistics(connection, oracles.relation(connection, {"x": "DOUBLE"}, huge))
    assert (x.mean, x.std, x.greatest) == (2.0, math.sqrt(2), math.inf)
    assert y == ColumnStatistics("y", "number", 0.0, 1.0, 1.0, 1.0, 0.0, 1)
    assert (overflowing.mean, overflowing.std, overflowing.greatest) == (0.0, None, 1e300)
