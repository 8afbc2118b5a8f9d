"""Rows of a run beside those of a stream, against a comparison in plain Python."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.features.events.comparison import SAMPLE_ROWS, differences
from tests.support.examples import examples

START = datetime(2024, 5, 1)
SCHEMA = pa.schema({"card": pa.string(), "at": pa.timestamp("us"), "amount": pa.float64(), "_partition": pa.string()})
TYPES = {"card": "VARCHAR", "at": "TIMESTAMP", "amount": "DOUBLE"}

identities = st.tuples(st.sampled_from(["a", "b", "a\0", ""]), st.integers(0, 3))
amounts = st.sampled_from([None, 0.0, -0.0, 1.5, math.nan, math.inf])
tables = st.dictionaries(identities, amounts, max_size=8)


def table(rows) -> pa.Table:
    records = [
        {"card": card, "at": START + timedelta(hours=9 * at), "amount": amount, "_partition": f"{(9 * at) // 24}"}
        for (card, at), amount in rows.items()
    ]
    return pa.Table.from_pylist(records, SCHEMA)


def compare(batch, stream, **more):
    with duckdb.connect() as connection:
        connection.register("batch", table(batch))
        connection.register("stream", table(stream))
        return differences(connection, "batch", "stream", TYPES, ["card", "at"], **more)


def is_equal(one, two) -> bool:
    return one == two or (one is not None and two is not None and math.isnan(one) and math.isnan(two))


@given(tables, tables)
@settings(max_examples=examples(60), deadline=None)
def test_the_differences_are_those_of_a_comparison_row_by_row(batch, stream):
    expected: dict[str, list[int]] = {}
    named = {kind: set() for kind in ("only in batch", "only in stream", "other values")}
    for card, at in batch.keys() | stream.keys():
        key = card, at
        kind = 0 if key not in stream else 1 if key not in batch else 2
        if kind == 2 and is_equal(batch[key], stream[key]):
            continue
        expected.setdefault(f"{(9 * at) // 24}", [0, 0, 0])[kind] += 1
        named[[*named][kind]].add(f"card {card!r}, at {START + timedelta(hours=9 * at)}")
    results = compare(batch, stream)
    assert {key: list(counts) for key, counts in results.counts.items()} == expected
    displayed = {kind: {one["row"] for one in results.sample if one["difference"] == kind} for kind in named}
    assert displayed == named


def test_rows_that_do_not_count_are_no_differences():
    result = compare(
        {("a", 0): 1.0, ("a", 1): 1.0}, {("b", 0): 1.0, ("b", 1): 1.0}, batch_counts="\"at\" > '2024-05-01'"
    )
    assert result.totals == (1, 2, 0)
    assert compare({}, {("b", 0): 1.0}, stream_counts="false").totals == (0, 0, 0)


def test_some_rows_of_each_kind_are_named_and_what_differs_in_them():
    many = {(f"c{number:03}", 0): 1.0 for number in range(100)}
    results = compare({**many, ("a", 0): 1.5}, {("a", 0): 2.5, ("b", 0): None})
    assert results.totals == (100, 1, 1)
    assert len(results.sample) == SAMPLE_ROWS
    assert results.sample[0]["row"] == "card 'c000', at 2024-05-01 00:00:00"
    assert results.sample[-2] == {
        "difference": "only in stream",
        "row": "card 'b', at 2024-05-01 00:00:00",
        "values": "",
    }
    assert results.sample[-1]["values"] == "amount is 1.5 in batch and 2.5 in stream"
