"""What the online store holds for windows at the time of a request, against the offline join, bit for bit."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import JoinedGroup
from fti_assets.core.times import microseconds
from fti_assets.features.online.tails import TailMerge, tails_of, with_sources
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.features.windows import Aggregate
from fti_assets.stores.online.keys import key_encoder
from fti_assets.stores.online.tails.layout import TailLayout
from fti_assets.stores.online.tails.reading import WindowsFormat
from tests.features import oracles
from tests.features.oracles import START, Row
from tests.features.request_windows import (
    AGGREGATES,
    COLUMNS,
    FLOATS,
    ODD_FLOATS,
    TIMES,
    WINDOWS,
    declared,
    relation,
    rows_of,
)
from tests.support.examples import examples

SOME = st.lists(st.sampled_from(sorted(AGGREGATES)), min_size=1, max_size=8, unique=True)
BY = st.sampled_from([("k",), ("j", "k")])
KEYS: Mapping[str, Sequence[Any]] = {"k": ["x", "y", "", "z"], "j": [1, 2, 3]}


def with_types(group: JoinedGroup) -> JoinedGroup:
    assert group.windows is not None
    return replace(group, windows=with_sources(group.windows, COLUMNS))


def bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


def offline(
    connection: duckdb.DuckDBPyConnection, group: JoinedGroup, rows: Sequence[Row], requests: Sequence[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """The features of requests, of keys and a time each, by the offline join; times as microseconds."""
    names = [*(key.spine for key in group.keys), "at"]
    kinds = {"s_k": "VARCHAR", "s_j": "INTEGER", "at": "TIMESTAMP"}
    spine = oracles.relation(
        connection,
        {name: kinds[name] for name in names},
        [dict(zip(names, request, strict=True)) for request in requests],
    )
    result = point_in_time(connection, spine, [group], lambda _: relation(connection, rows), prediction_time="at")
    columns = [
        f"epoch_us({column.feature})" if column.type == "timestamp" else column.feature for column in group.columns
    ]
    features: list[tuple[Any, ...]] = result.project(", ".join(columns)).fetchall()
    return features


def online(group: JoinedGroup, blobs: Mapping[bytes, bytes], requests: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The same from blobs."""
    assert group.windows is not None
    windows = WindowsFormat(TailLayout(group.windows), [column.column for column in group.columns])
    encode = key_encoder(tuple(key.type for key in group.keys), "card_windows_v1")
    results = []
    for *parts, at in requests:
        key = encode(tuple(parts))
        winner = None if key not in blobs else windows.find(key, blobs[key], microseconds(at))
        results.append((None,) * len(group.columns) if winner is None else winner[2])
    return results


def requests_of(by: Sequence[str], times: Sequence[Any]) -> list[tuple[Any, ...]]:
    keys: list[tuple[Any, ...]] = [()]
    for name in by:
        keys = [(*key, value) for key in keys for value in KEYS[name]]
    return [(*key, at) for key in keys for at in times]


def expect_equal(found: Sequence[Any], expected: Sequence[Any], group: JoinedGroup, requests: Sequence[Any]) -> None:
    for values, wanted, request in zip(found, expected, requests, strict=True):
        for value, want, column in zip(values, wanted, group.columns, strict=True):
            assert (bits(value), type(value)) == (bits(want), type(want)), (column.feature, request, value, want)


@settings(max_examples=examples(60))
@given(
    rows=st.one_of(rows_of(FLOATS), rows_of(ODD_FLOATS)),
    windows=WINDOWS,
    names=SOME,
    by=BY,
    since=TIMES,
    later=st.lists(TIMES, min_size=1, max_size=3),
    has_column=st.booleans(),
)
def test_blobs_say_what_the_offline_join_says(
    rows: list[Row], windows: tuple[str, list[str]], names: list[str], by: tuple[str, ...], since: Any, later: list[Any], has_column: bool
) -> None:  # fmt: skip
    aggregates: Mapping[str, Aggregate] = {name: AGGREGATES[name] for name in names}
    times: dict[str, Any] = {} if has_column else {"available_at": None, "serving_delay_us": 7_000_000}
    group = with_types(declared(*windows, aggregates, keys=by, **times))
    requests = requests_of(by, [since, *(at for at in later if at >= since)])
    with oracles.connection_to_shared() as connection:
        blobs = dict(tails_of(connection, relation(connection, rows), group, microseconds(since)))
        expect_equal(online(group, blobs, requests), offline(connection, group, rows, requests), group, requests)


@settings(max_examples=examples(60))
@given(
    rows=st.one_of(rows_of(FLOATS), rows_of(ODD_FLOATS)),
    windows=WINDOWS,
    names=SOME,
    by=BY,
    cuts=st.tuples(st.integers(0, 25), st.integers(0, 25)),
    sinces=st.tuples(TIMES, TIMES, TIMES).map(sorted),
)
def test_rows_that_come_later_are_put_in_as_a_load_of_all_would(
    rows: list[Row], windows: tuple[str, list[str]], names: list[str], by: tuple[str, ...], cuts: tuple[int, int], sinces: list[Any]
) -> None:  # fmt: skip
    aggregates: Mapping[str, Aggregate] = {name: AGGREGATES[name] for name in names}
    group = with_types(declared(*windows, aggregates, keys=by))
    first, second = sorted(cuts)
    merge = TailMerge(group)
    with oracles.connection_to_shared() as connection:
        blobs = dict(tails_of(connection, relation(connection, rows[:first]), group, microseconds(sinces[0])))
        for part, since in ((rows[first:second], sinces[1]), (rows[second:], sinces[2])):
            table = relation(connection, part).to_arrow_table()
            assert isinstance(table, pa.Table)
            keyed = merge.rows_by_key(table)
            merged = merge.blobs(keyed, {key: blobs[key] for key in keyed if key in blobs}, microseconds(since))
            blobs.update(merged.updates)
            for key in merged.removals:
                blobs.pop(key, None)
        requests = requests_of(by, [sinces[2], sinces[2] + timedelta(minutes=61), START + timedelta(hours=12)])
        requests = [request for request in requests if request[-1] >= sinces[2]]
        expect_equal(online(group, blobs, requests), offline(connection, group, rows, requests), group, requests)
        whole = dict(tails_of(connection, relation(connection, rows), group, microseconds(sinces[2])))
        expect_equal(online(group, whole, requests), online(group, blobs, requests), group, requests)
