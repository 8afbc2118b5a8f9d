"""Windows at the time of a request, offline: against brute force, and at the instants of a grid beside the grid's own."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import JoinedGroup
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.features.windows import Aggregate
from tests.features import oracles, window_oracles
from tests.features.oracles import Row
from tests.features.request_windows import (
    AGGREGATES,
    FLOATS,
    ODD_FLOATS,
    REQUESTS,
    WINDOWS,
    brute_force,
    declared,
    relation,
    rows_of,
)
from tests.support.examples import examples

SPINE = {"s_k": "VARCHAR", "s_j": "INTEGER", "at": "TIMESTAMP"}


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with oracles.connection() as connection:
        yield connection


def joined(
    connection: duckdb.DuckDBPyConnection, group: JoinedGroup, rows: Sequence[Row], requests: Sequence[Row]
) -> list[tuple[Any, ...]]:
    """The features of each request."""
    source = relation(connection, rows)
    spine = oracles.relation(connection, SPINE, requests)
    result = point_in_time(connection, spine, [group], lambda _: source, prediction_time="at")
    features: list[tuple[Any, ...]] = result.project(", ".join(column.feature for column in group.columns)).fetchall()
    return features


SOME = st.lists(st.sampled_from(sorted(AGGREGATES)), min_size=1, max_size=6, unique=True)


@settings(max_examples=examples(60))
@given(
    rows=st.one_of(rows_of(FLOATS), rows_of(ODD_FLOATS)),
    requests=REQUESTS,
    windows=WINDOWS,
    names=SOME,
    by=st.sampled_from([("k",), ("j", "k")]),
    has_column=st.booleans(),
)
def test_each_prediction_gets_what_brute_force_finds(
    rows: list[Row], requests: list[Row], windows: tuple[str, list[str]], names: list[str], by: tuple[str, ...], has_column: bool
) -> None:  # fmt: skip
    aggregates: Mapping[str, Aggregate] = {name: AGGREGATES[name] for name in names}
    times: dict[str, Any] = {} if has_column else {"available_at": None, "serving_delay_us": 7_000_000}
    group = declared(*windows, aggregates, keys=by, **times)
    with oracles.connection_to_shared() as connection:
        result = joined(connection, group, rows, requests)
    expected = [
        brute_force(group, aggregates, rows, [request[f"s_{key}"] for key in by], request["at"]) for request in requests
    ]
    for values, wanted in zip(result, expected, strict=True):
        for value, want, column in zip(values, wanted, group.columns, strict=True):
            assert window_oracles.same(value, want), (column.feature, value, want)
