"""Validation of a table: the same answer as Pandera over the whole frame, whichever part SQL gives."""

import math
import re
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.rules import Verdict
from fti_assets.features.validation import table_rows
from fti_assets.features.validation.checks import _CHECKS
from fti_assets.features.validation.coercion import with_declared_types
from fti_assets.features.validation.division import can_be_divided, divide
from fti_assets.features.validation.pandera_run import (
    REJECTED_ROWS,
    SAMPLE_ROWS,
    pandera_failures,
    validate,
    without_rules,
)
from fti_assets.features.validation.schema import COLUMNS
from fti_assets.features.validation.table_validation import TableValidation, validate_table
from tests.support.examples import examples


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
    """What differs from Pandera's own answer over the whole frame, with the rows as they are stored.

    Of a column whose declared type does not hold a stored value, each such row is counted and shown, where Pandera counts the
    column and shows the rows of some types: that it is refused is the same, the count is not.
    """
    frame = connection.table(table).df()
    expected = validate(schema, frame, of_other_types(schema, frame) if can_be_divided(schema) else None)
    results = validate_table(connection, table, schema)
    failing = frame.iloc[list(expected.failing_rows)].reset_index(drop=True).astype(str).values.tolist()
    kept = [] if results.failing is None else results.failing.astype(str).values.tolist()
    messages: list[Any] = [([one.rule for one in results.verdicts], [one.rule for one in expected.verdicts])]
    for ours, theirs in zip(results.verdicts, expected.verdicts, strict=True):
        messages.append(((ours.rule.name, ours.passed), (theirs.rule.name, theirs.passed)))
        if ours.rule != COLUMNS:
            messages.append(((ours.failures, samples(ours)), (theirs.failures, samples(theirs))))
    if results.verdicts[-1].passed:
        messages.append((kept, failing))
    return [(ours, theirs) for ours, theirs in messages if ours != theirs]


def of_other_types(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> set[str]:
    """The columns that Pandera says are not of their type as they are: those that the schema coerces."""
    bare = without_rules(schema)
    bare.coerce = False
    for column in bare.columns.values():
        column.coerce = False
    wrong = {str(record["column"]) for record in pandera_failures(bare, with_declared_types(schema, frame))[1]}
    return {name for name, column in schema.columns.items() if name in wrong and column.coerce}


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
    "small": (["INTEGER", "TINYINT", "UINTEGER"], st.integers(0, 3), [None, "Int32"]),  # declared ones are stored as BIGINT
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


@settings(max_examples=examples(60))
@given(tables())
@pytest.mark.filterwarnings("ignore")
def test_sql_and_batches_say_what_pandera_says_of_whole(
    case: tuple[dict[str, tuple[str, list[Any]]], pa.DataFrameSchema],
) -> None:
    columns, schema = case
    with connected() as connection:
        assert differences(connection, make(connection, columns), schema) == []


def many(connection: duckdb.DuckDBPyConnection, rows: int = 300_000) -> str:
    connection.execute(
        f"CREATE TEMP TABLE many AS SELECT i AS id, (i % 7)::DOUBLE AS x, 'a' || i % 3 AS name FROM range({rows}) r(i)"
    )
    return "many"


def test_counts_are_exact_and_rows_kept_are_first(connection: duckdb.DuckDBPyConnection) -> None:
    schema = pa.DataFrameSchema(
        {
            "x": pa.Column(float, pa.Check.lt(6)),
            "name": pa.Column(str, pa.Check.isin(["a0", "a1"])),
            "id": pa.Column(int, pa.Check.lt(299_999)),
        }
    )
    validation = validate_table(connection, many(connection), schema)
    assert failures(validation) == {"x_less_than": 42_857, "name_isin": 100_000, "id_less_than": 1}
    assert validation.failing is not None
    broken = [number for number in range(10_000) if number % 7 == 6 or number % 3 == 2]
    assert validation.failing["id"].tolist() == broken[:REJECTED_ROWS]
    samples = {one.rule.name: [row["id"] for row in one.sample] for one in validation.verdicts if one.sample}
    assert samples["x_less_than"] == [6 + 7 * number for number in range(SAMPLE_ROWS)]
    assert samples["id_less_than"] == [299_999]
    assert all(len(one.problem) < 200 for one in validation.verdicts)
    assert validation.whole == ()


def test_checks_of_single_values_are_run_in_batches(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_rows, "_VECTORS_A_BATCH", 8)
    most, sizes = 8 * 2048, list[int]()

    def few(values: pd.Series) -> pd.Series:
        sizes.append(len(values))
        return values < 6

    each = pa.Check(lambda value: value < 6, element_wise=True, name="each")
    rare = pa.Check.isin([float(number) for number in range(6)] + [math.nan])  # which SQL does not compare
    whole = pa.Check(few, name="whole")
    schema = pa.DataFrameSchema({"x": pa.Column(float, [each, rare, whole])})
    validation = validate_table(connection, many(connection, 3 * most), schema)
    broken = sum(number % 7 == 6 for number in range(3 * most))
    assert failures(validation) == {"x_each": broken, "x_isin": broken, "x_whole": broken}
    assert sizes == [3 * most]
    assert validation.whole == ("x",)
    assert validation.failing is not None
    assert validation.failing["id"].tolist() == [6 + 7 * number for number in range(REJECTED_ROWS)]


def test_check_that_raises_in_late_batch_says_so_of_whole(connection: duckdb.DuckDBPyConnection) -> None:
    def picky(value: int) -> bool:
        if value == 250_000:
            raise RuntimeError("not this one")
        return value > 10

    schema = pa.DataFrameSchema({"id": pa.Column(int, pa.Check(picky, element_wise=True, name="picky"))})
    validation = validate_table(connection, many(connection), schema)
    verdict = next(one for one in validation.verdicts if one.rule.name == "id_picky")
    assert (verdict.failures, verdict.sample) == (1, ())
    assert "not this one" in verdict.problem


def test_check_that_raises_raises_over_no_rows_as_well(connection: duckdb.DuckDBPyConnection) -> None:
    schema = pa.DataFrameSchema({"at": pa.Column("datetime64[us]", pa.Check.lt(date(2020, 1, 1)))})
    table = make(connection, {"at": ("TIMESTAMP", [])})
    assert failures(validate_table(connection, table, schema)) == {"at_less_than": 1}
    assert differences(connection, table, schema) == []


def test_times_of_two_units_fail_in_one_table(connection: duckdb.DuckDBPyConnection) -> None:
    """Pandera joins the failure cases of all columns, and 9999 does not fit beside nanoseconds."""
    schema = pa.DataFrameSchema(
        {
            "born": pa.Column("datetime64[ns]", pa.Check.lt(pd.Timestamp("2000-01-01"))),
            "valid_to": pa.Column("datetime64[us]", pa.Check.lt(pd.Timestamp("2100-01-01")), unique=True),
        }
    )
    times = {"born": [datetime(1990, 1, 1), datetime(2020, 1, 1)], "valid_to": [datetime(9999, 12, 31)] * 2}
    table = make(connection, {name: ("TIMESTAMP", values) for name, values in times.items()})
    expected = {"born_less_than": 1, "valid_to_less_than": 2, "valid_to_unique": 2}
    assert failures(validate_table(connection, table, schema)) == expected
    assert {
        one.rule.name: one.failures for one in validate(schema, connection.table(table).df()).verdicts if not one.passed
    } == expected


@pytest.mark.parametrize(
    "schema",
    [
        pa.DataFrameSchema({"x.*": pa.Column(float, pa.Check.lt(2), regex=True)}),
        pa.DataFrameSchema({"x0": pa.Column(float, pa.Check.lt(2), nullable=True)}, strict="filter"),
        pa.DataFrameSchema({"x0": pa.Column(float, pa.Check.lt(2), default=5.0)}),
        pa.DataFrameSchema({"x0": pa.Column(float, parsers=pa.Parser(lambda values: values + 1), nullable=True)}),
        pa.DataFrameSchema({"x0": pa.Column(float, unique=True, nullable=True, report_duplicates="exclude_first")}),
        pa.DataFrameSchema({"x0": pa.Column(nullable=True)}, dtype=float),
        pa.DataFrameSchema({"x0": pa.Column(str, coerce=True, nullable=True)}),
    ],
)
def test_a_schema_that_changes_rows_is_left_to_pandera(
    connection: duckdb.DuckDBPyConnection, schema: pa.DataFrameSchema
) -> None:
    table = make(connection, {"x0": ("DOUBLE", [1.0, 1.0, None, 3.0]), "x1": ("DOUBLE", [1.0, 2.0, 3.0, 4.0])})
    assert differences(connection, table, schema) == []
    assert not can_be_divided(schema) or schema.columns["x0"].coerce


def test_pandera_s_own_checks_are_said_in_sql_whatever_they_called(connection: duckdb.DuckDBPyConnection) -> None:
    class Model(pa.DataFrameModel):
        text: str = pa.Field(
            str_matches="a[0-9]", str_contains="a", str_startswith="a", str_endswith="0", str_length={"min_value": 1},
            isin=["a0"], notin=["b"], eq="a0", ne="b",
        )  # fmt: skip
        number: float = pa.Field(ge=0, gt=-1, le=9, lt=10, in_range={"min_value": 0, "max_value": 9}, unique=True)

    for schema in (Model.to_schema(), pa.DataFrameSchema({"number": pa.Column(float, pa.Check.ge(0, name="mine"))})):
        division = divide(schema, {"text": "VARCHAR", "number": "DOUBLE"})
        assert len(division.checks) == sum(len(c.checks) + (not c.nullable) for c in schema.columns.values())
        assert (division.by_row, division.whole, division.misfits, division.wrong) == ([], {}, {}, {})


@pytest.mark.parametrize(
    ("declared", "sql_type", "values", "broken"),
    [
        ("int8", "BIGINT", [1, 300], True),
        ("int8", "BIGINT", [1, 100], False),
        ("float32", "DOUBLE", [0.5, 0.1], True),
        ("float32", "DOUBLE", [0.5, 1e300], True),
        ("float32", "DOUBLE", [0.5, 0.25], False),
        (int, "DOUBLE", [1.0, 2.0], True),
        (int, "BIGINT", [1, None], False),
        ("Int64", "BIGINT", [1, None], False),
        ("datetime64[ns]", "TIMESTAMP", [datetime(9999, 1, 1), datetime(2020, 1, 1)], False),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_type_is_judged_by_values_of_all_rows(
    connection: duckdb.DuckDBPyConnection, declared: Any, sql_type: str, values: list[Any], broken: bool
) -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(declared, nullable=True)})
    table = make(connection, {"x": (sql_type, values)})
    assert differences(connection, table, schema) == []
    assert ("columns" in failures(validate_table(connection, table, schema))) == broken


STORED: dict[str, list[Any]] = {
    "BIGINT": [1, 2],
    "DOUBLE": [0.5, 1.0],
    "FLOAT": [0.5, 1.5],
    "DECIMAL(4,1)": [0.5, 1.5],
    "VARCHAR": ["a", "b"],
    "BOOLEAN": [True, False],
    "TIMESTAMP": [datetime(2020, 1, 1), datetime(2020, 1, 2, 3, 4, 5, 6)],
    "DATE": [date(2020, 1, 1)] * 2,
    "TIME": [time(1)] * 2,
    "DOUBLE[]": [[0.5], [1.0]],
}
DECLARED = [
    int, float, bool, str, "uint8", "UInt8", "uint64", "float16", "float32", "Float64", "boolean", "string", "int64[pyarrow]",
    "datetime64[s]", "datetime64[ns, UTC]", "category", "timedelta64[ns]", "complex128", object, pa.Date, pa.Decimal(38, 0),
    pd.CategoricalDtype(["a", "b"]), pd.CategoricalDtype(["a"], ordered=True), pd.CategoricalDtype([]), pd.CategoricalDtype([1]),
]  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize(
    "every", [pytest.param(True, marks=pytest.mark.soak, id="every"), pytest.param(False, id="some")]
)
@pytest.mark.parametrize("declared", range(len(DECLARED)))
@pytest.mark.filterwarnings("ignore")
def test_declared_type_takes_stored_types_that_pandera_takes(
    connection: duckdb.DuckDBPyConnection, declared: int, every: bool
) -> None:
    """Of every pair of types, in turn with values or with one of the ways to lack them."""
    schema = pa.DataFrameSchema({"x": pa.Column(DECLARED[declared], nullable=True)})
    for number, (sql_type, values) in enumerate(STORED.items()):
        lacking: list[list[Any]] = [[values[0], None], [None, None], []]
        kinds = [values, *lacking]
        for rows in kinds if every else [kinds[(declared + number) % 4]]:
            table = make(connection, {"x": (sql_type, rows)})
            expected = validate(schema, connection.table(table).df()).verdicts[-1].passed
            assert validate_table(connection, table, schema).verdicts[-1].passed == expected, (sql_type, rows)


def test_each_check_in_sql_is_told_in_the_documentation() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "what-a-check-means.md"
    assert [name for name in _CHECKS if f"`{name}`" not in page.read_text()] == []
