"""The content hash against one written down in Python, and against values that it must have for ever."""

from __future__ import annotations

import hashlib
import math
import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.sql import quote
from fti_assets.stores.duckdb.content_hash import FIXED, OF_DUCKDB, content_sums, data_version, hash_of, with_content
from tests.support.examples import examples

VALUES: dict[str, list[Any]] = {
    "BIGINT": [None, 0, 1, -1, 2**63 - 1],
    "HUGEINT": [None, 2**100, -(2**100)],
    "BOOLEAN": [None, True, False],
    "DOUBLE": [None, 0.0, 1.5, -1.5, math.inf, -math.inf, math.nan, 5e-324, 1.7e308],
    "VARCHAR": [None, "", "n", "a", "a,b", "ä", "1:a"],
    "BLOB": [None, b"", b"\x00", b"n"],
    "TIMESTAMP": [None, datetime(1970, 1, 1), datetime(2013, 6, 1, 12, 30, 0, 1), datetime(1969, 12, 31)],
    "DECIMAL(18,2)": [None, Decimal("0.00"), Decimal("1.50"), Decimal("-1.50")],
    "BIGINT[]": [None, [], [None], [0], [1, 2], [12]],
    "DOUBLE[]": [None, [], [0.5, None]],
    "VARCHAR[][]": [None, [], [[]], [["a"], None], [["a,b"]], [["a", "b"]]],
    'STRUCT(a BIGINT, "b c" VARCHAR)': [None, {"a": None, "b c": None}, {"a": 1, "b c": "x"}],
    "MAP(VARCHAR, DOUBLE)": [None, {}, {"a": 1.0}, {"a": None}],
}


def text_of(value: Any) -> str:
    """What a value is written as before its MD5 is taken."""
    if value is None:
        return "n"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return "nan" if math.isnan(value) else str(struct.unpack("<q", struct.pack("<d", value + 0.0))[0])
    if isinstance(value, str):
        return f"{len(value.encode())}:{value}"
    if isinstance(value, bytes):
        return value.hex().upper()
    if isinstance(value, datetime):
        since = value.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        return str((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)
    if isinstance(value, list):
        return f"[{','.join(map(text_of, value))}]"
    return str(value)


def oracle(rows: list[tuple[Any, ...]]) -> tuple[int, int, int]:
    """The number of rows and the sums, for columns in the order of their names."""
    digests = [hashlib.md5(",".join(map(text_of, row)).encode()).digest() for row in rows]
    halves = [struct.unpack("<QQ", digest) for digest in digests]
    return len(rows), sum(low for _, low in halves), sum(up for up, _ in halves)


def sums(types: dict[str, str], rows: list[tuple[Any, ...]]) -> tuple[int, ...]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE TABLE t ({', '.join(f'{quote(name)} {kind}' for name, kind in types.items())})")
        for row in rows:
            connection.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(row))})", row)
        return tuple(
            map(int, connection.execute(f"SELECT {content_sums()} FROM {with_content(types, 't')}").fetchall()[0])
        )


SIMPLE = ["BIGINT", "BOOLEAN", "DOUBLE", "VARCHAR", "TIMESTAMP", "BIGINT[]", "VARCHAR[][]"]


@settings(deadline=None, max_examples=examples(60))
@given(st.data())
def test_a_hash_is_the_one_that_python_gives(data):
    kinds = data.draw(st.lists(st.sampled_from(SIMPLE), min_size=1, max_size=4))
    types = {f"c{number}": kind for number, kind in enumerate(kinds)}
    rows = data.draw(st.lists(st.tuples(*(st.sampled_from(VALUES[kind]) for kind in kinds)), max_size=5))
    assert sums(types, rows) == oracle(rows)
    assert sums(types, rows[::-1]) == oracle(rows)


@pytest.mark.parametrize("kind", VALUES)
def test_no_two_values_of_a_type_are_alike(kind):
    observed = {sums({"x": kind}, [(value,)]) for value in VALUES[kind]}
    assert len(observed) == len(VALUES[kind])


def test_what_sql_takes_as_equal_has_one_hash():
    assert sums({"x": "DOUBLE"}, [(0.0,)]) == sums({"x": "DOUBLE"}, [(-0.0,)])


def test_infinite_times_have_hashes():
    with duckdb.connect() as connection:
        times = "SELECT unnest(['infinity', '-infinity', NULL])::TIMESTAMP AS x"
        query = f"SELECT {content_sums()} FROM {with_content({'x': 'TIMESTAMP'}, f'({times})')} GROUP BY x"
        assert len(set(connection.execute(query).fetchall())) == 3


def test_a_hash_stays_what_it_is():
    types = {"k": "BIGINT", "x": "DOUBLE", "t": "VARCHAR", "at": "TIMESTAMP", "l": "BIGINT[]", "d": "DECIMAL(18,2)"}
    rows = [
        (1, 0.1, "JFK", datetime(2013, 6, 1, 12), [1, None], Decimal("1.50")),
        (2, None, None, None, None, None),
        (2, None, None, None, None, None),
    ]
    version = data_version(types, sums(types, rows))
    assert version == "2.3a887a6404801cbc60afc25e"


def test_stored_versions_of_earlier_hash_are_known_by_their_beginning():
    assert (hash_of("1.abc"), hash_of("2.abc"), hash_of("10.abc"), hash_of(None)) == (OF_DUCKDB, FIXED, FIXED, FIXED)
