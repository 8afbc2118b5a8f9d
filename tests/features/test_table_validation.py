"""Validation of a table: the same answer as Pandera over the whole frame, whichever part SQL gives."""

import math
import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.features.table_validation import TableValidation, validate_table
from fti_assets.features.validation import validate
from fti_assets.rules import Verdict


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with connected() as connection:
        yield connection


def connected() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET python_enable_replacements = false")
    return connection


def make(connection: duckdb.DuckDBPyConnection, columns: dict[str, tuple[str, list[Any]]]) -> str:
    """A table of columns with their DuckDB types and values."""
    declared = ", ".join(f'"{name}" {sql_type}' for name, (sql_type, _) in columns.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE given ({declared})")
    rows = list(zip(*(values for _, values in columns.values()), strict=True))
    if rows:
        connection.executemany(f"INSERT INTO given VALUES ({', '.join('?' for _ in columns)})", rows)
    return "given"


def differences(connection: duckdb.DuckDBPyConnection, table: str, schema: pa.DataFrameSchema) -> list[Any]:
    """What differs from Pandera's own answer over the whole frame."""
    frame = connection.table(table).df()
    expected = validate(schema, frame)
    found = validate_table(connection, table, schema)
    failing = frame.iloc[list(expected.failing_rows)].reset_index(drop=True)
    told = [
        (
            [(one.rule, one.failures) for one in found.verdicts],
            [(one.rule, one.failures) for one in expected.verdicts],
        ),
        ([samples(one) for one in found.verdicts], [samples(one) for one in expected.verdicts]),
        (
            [] if found.failing is None else found.failing.astype(str).values.tolist(),
            failing.astype(str).values.tolist(),
        ),
    ]
    return [(ours, theirs) for ours, theirs in told if ours != theirs]


def samples(verdict: Verdict) -> str:
    """A sample as text; what is missing is one thing by any name."""
    return re.sub(r"\b(nan|NaT|<NA>|None)\b|<NA>", "-", repr(verdict.sample))


def failures(validation: TableValidation) -> dict[str, int]:
    return {one.rule.name: one.failures for one in validation.verdicts if not one.passed}


FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, 0.1, 0.5, 1.0, 2.5, math.inf, -math.inf, 1e300, float(2**53), float(2**53 + 2)]),
    st.floats(-3, 3, allow_nan=False),
)
INTEGERS = st.one_of(st.integers(-3, 3), st.sampled_from([2**53, 2**53 + 1, 2**62, -(2**62), 2**63 - 1]))
TEXTS = st.one_of(
    st.sampled_from(
        ["", "a", "ab", "AB", "a1", "a\n", "é", "e\u0301", "日本", "👩‍👧", "A-12", "٣", "_", " ", "it's", "a.b", "\\"]
    ),
    st.text("ab\n é1", max_size=4),
)
TIMES = st.sampled_from(
    [
        datetime(2020, 1, 1),
        datetime(2020, 1, 1, 5),
        datetime(2020, 1, 1, 0, 0, 0, 1),
        datetime(1969, 12, 31),
        datetime(9999, 1, 1),
    ]
)
PATTERNS = st.sampled_from(
    ["a", "^a", "a$", "^a$", "[a-z]+", "[^a]", ".", "^.$", r"\d", r"\w+", r"\.", "a|b", "(?:a|b)1", "(a)", "", "A-[0-9]{2}", "^$",
     "(?i)A", r"\s", "a{2}", "(?=a)", "é", "[é]", r"\bA", "a*", "[a-]", r"\Z", "^(?:AB|ab)$", "it's", r"[\w-]+$"]
)  # fmt: skip

VALUES: dict[str, tuple[list[str], st.SearchStrategy[Any], list[Any]]] = {
    "integer": (["BIGINT"], INTEGERS, [None, int, "Int64", "int32", "int8", float]),
    "small": (["INTEGER", "TINYINT", "UINTEGER"], st.integers(0, 3), [None, int, "int8", "Int32"]),
    "number": (["DOUBLE"], FLOATS, [None, float, "float32", "Float64", int]),
    "single": (["FLOAT"], st.sampled_from([0.5, 1.5, -1.0]), [None, float, "float32"]),
    "text": (["VARCHAR"], TEXTS, [None, str, "string", "category", int]),
    "boolean": (["BOOLEAN"], st.booleans(), [None, bool, "boolean"]),
    "timestamp": (["TIMESTAMP"], TIMES, [None, "datetime64[us]", pd.Timestamp, pd.DatetimeTZDtype("us", "America/New_York")]),
    "date": (["DATE"], st.sampled_from([date(2020, 1, 1), date(2020, 1, 2)]), [None, "datetime64[us]"]),
    "decimal": (["DECIMAL(4,1)"], st.sampled_from([0.5, 1.5]), [None, float]),
    "list": (["DOUBLE[]"], st.lists(st.sampled_from([0.5, 1.0]), max_size=2), [None]),
}  # fmt: skip

ARGUMENTS: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.one_of(INTEGERS, FLOATS, st.just(2**70), st.just(np.int64(2)), st.just(True)),
    "small": st.one_of(st.integers(-1, 300), FLOATS),
    "number": st.one_of(FLOATS, INTEGERS, st.just(math.nan), st.just(np.float64(0.1)), st.just(np.float32(0.1))),
    "single": st.one_of(FLOATS, INTEGERS),
    "text": st.one_of(TEXTS, st.just(1), st.just("\0")),
    "boolean": st.booleans(),
    "timestamp": st.one_of(
        TIMES, TIMES.map(pd.Timestamp), TIMES.map(lambda time: pd.Timestamp(time, tz="UTC")),
        st.sampled_from([pd.Timestamp("2020-01-01 00:00:00.000000001"), "2020-01-01", date(2020, 1, 1)]),
    ),
    "date": TIMES,
    "decimal": FLOATS,
    "list": st.just(0.5),
}  # fmt: skip


@st.composite
def checks(draw: Any, kind: str) -> pa.Check:
    argument = ARGUMENTS[kind]
    options: dict[str, Any] = {}
    if draw(st.integers(0, 4)) == 0:
        options["ignore_na"] = False
    if draw(st.integers(0, 4)) == 0:
        options["raise_warning"] = True
    if draw(st.integers(0, 6)) == 0:
        options["name"] = draw(st.sampled_from(["mine", "isin"]))
    if draw(st.integers(0, 6)) == 0:
        options["n_failure_cases"] = 1
    many = st.lists(st.one_of(argument, st.none()) if draw(st.booleans()) else argument, max_size=3)
    names = [
        "eq",
        "ne",
        "gt",
        "ge",
        "lt",
        "le",
        "in_range",
        "isin",
        "notin",
        "unique_values_eq",
        "each",
        "whole",
        "grouped",
    ]
    if kind == "text":
        names += ["str_matches", "str_contains", "str_startswith", "str_endswith", "str_length"] * 2
    name = draw(st.sampled_from(names))
    if name in ("eq", "ne", "gt", "ge", "lt", "le"):
        value = draw(argument)
        return getattr(pa.Check, name)(value, **options)
    if name == "in_range":
        low, high = draw(argument), draw(argument)
        try:
            return pa.Check.in_range(
                low, high, include_min=draw(st.booleans()), include_max=draw(st.booleans()), **options
            )
        except (ValueError, TypeError):
            return pa.Check.ge(low, **options)
    if name in ("isin", "notin", "unique_values_eq"):
        return getattr(pa.Check, name)(draw(many), **options)
    if name in ("str_matches", "str_contains"):
        return getattr(pa.Check, name)(draw(PATTERNS), **options)
    if name in ("str_startswith", "str_endswith"):
        return getattr(pa.Check, name)(draw(TEXTS), **options)
    if name == "str_length":
        bounds = {"min_value": draw(st.sampled_from([None, 0, 1])), "max_value": draw(st.sampled_from([1, 2, 3]))}
        exact = {"exact_value": 2} if draw(st.booleans()) else bounds
        return pa.Check.str_length(**exact, **options)
    if name == "each":
        return pa.Check(lambda value: str(value) != "a" and len(str(value)) % 2 == 1, element_wise=True, **options)
    options.setdefault("name", name)
    if name == "whole":
        return pa.Check(lambda values: values == values.mode().iloc[0], **options)
    return pa.Check(lambda groups: all(len(rows) < 3 for rows in groups.values()), groupby="x0", **options)


@st.composite
def tables(draw: Any) -> tuple[dict[str, tuple[str, list[Any]]], pa.DataFrameSchema]:
    rows = draw(st.integers(0, 6))
    columns: dict[str, tuple[str, list[Any]]] = {}
    declared: dict[str, pa.Column] = {}
    for number in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(sorted(VALUES)))
        sql_types, values, types = VALUES[kind]
        value = st.one_of(st.none(), values) if draw(st.booleans()) else values
        name = f"x{number}"
        columns[name] = (draw(st.sampled_from(sql_types)), draw(st.lists(value, min_size=rows, max_size=rows)))
        declared[name] = pa.Column(
            draw(st.sampled_from(types)),
            draw(st.lists(checks(kind), max_size=2)),
            nullable=draw(st.booleans()),
            unique=kind != "list" and draw(st.integers(0, 3)) == 0,
            required=draw(st.booleans()),
            coerce=draw(st.integers(0, 5)) == 0,
        )
    frame_checks = draw(
        st.lists(
            st.sampled_from(
                [
                    pa.Check(lambda row: str(row["x0"]) != "a", element_wise=True, name="row"),
                    pa.Check(lambda frame: frame["x0"].notna(), name="rows"),
                    pa.Check(lambda frame: len(frame) < 5, name="few"),
                    pa.Check.gt(0),
                    pa.Check.isin([0.5, 1.0]),
                    pa.Check.ne(1),
                ]
            ),
            max_size=1,
        )
    )
    change = draw(st.integers(0, 9))
    if change == 0:
        columns["further"] = ("BIGINT", [1] * rows)
    if change == 1 and len(columns) > 1:
        del columns[draw(st.sampled_from(sorted(set(columns) - {"x0"})))]
    if change == 2:
        columns = dict(reversed(columns.items()))
    names = [name for name in declared if columns.get(name, ("",))[0] != "DOUBLE[]"]
    schema = pa.DataFrameSchema(
        declared,
        checks=frame_checks,
        strict=draw(st.booleans()),
        ordered=draw(st.booleans()),
        unique=names if names and draw(st.integers(0, 3)) == 0 else None,
    )
    return columns, schema


@settings(deadline=None, max_examples=150)
@given(tables())
@pytest.mark.filterwarnings("ignore")
def test_sql_and_batches_say_what_pandera_says_of_the_whole(
    case: tuple[dict[str, tuple[str, list[Any]]], pa.DataFrameSchema],
) -> None:
    columns, schema = case
    with connected() as connection:
        assert differences(connection, make(connection, columns), schema) == []
