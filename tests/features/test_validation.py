"""Validation: one verdict a rule, the same answer as Pandera's own, and widths and units that are no failures."""

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.rules import Verdict
from fti_assets.features.validation.pandera_run import SAMPLE_ROWS, Validation, validate
from fti_assets.features.validation.schema import rules_of
from tests.support.examples import examples


class Weather(pa.DataFrameModel):
    origin: str = pa.Field(isin=["JFK", "LGA", "EWR"])
    temp: float = pa.Field(ge=-50, le=60, nullable=True)
    reading: int = pa.Field(unique=True)

    @pa.dataframe_check(name="warm_at_lga", description="LGA is never below zero")
    def lga(cls, rows: pd.DataFrame) -> pd.Series:  # noqa: N805
        return (rows["origin"] != "LGA") | ~(rows["temp"] < 0)


SCHEMA = Weather.to_schema()


def frame(**columns: Any) -> pd.DataFrame:
    good = {"origin": ["JFK", "LGA", "EWR"], "temp": [1.0, None, 60.0], "reading": [1, 2, 3]}
    return pd.DataFrame({**good, **columns})


def by_name(validation: Validation) -> dict[str, Verdict]:
    return {verdict.rule.name: verdict for verdict in validation.verdicts}


def failures(validation: Validation) -> dict[str, int]:
    return {verdict.rule.name: verdict.failures for verdict in validation.verdicts if not verdict.passed}


def test_good_rows_pass_every_rule() -> None:
    validation = validate(SCHEMA, frame())
    assert [verdict.rule for verdict in validation.verdicts] == rules_of(SCHEMA)
    assert failures(validation) == {}
    assert validation.failing_rows == ()


def test_there_is_one_rule_a_constraint() -> None:
    assert [rule.name for rule in rules_of(SCHEMA)] == [
        "origin_not_null",
        "origin_isin",
        "temp_greater_than_or_equal_to",
        "temp_less_than_or_equal_to",
        "reading_not_null",
        "reading_unique",
        "warm_at_lga",
        "columns",
    ]
    assert all(rule.description and rule.blocking for rule in rules_of(SCHEMA))
    assert rules_of(None) == []


@pytest.mark.parametrize(
    ("columns", "broken", "rows"),
    [
        ({"origin": ["JFK", None, "XXX"]}, {"origin_not_null": 1, "origin_isin": 1}, [1, 2]),
        (
            {"temp": [-60.0, 61.0, 70.0]},
            {"temp_greater_than_or_equal_to": 1, "temp_less_than_or_equal_to": 2},
            [0, 1, 2],
        ),
        ({"reading": [1, 2, 2]}, {"reading_unique": 2}, [1, 2]),
        ({"temp": [-1.0, -1.0, -1.0]}, {"warm_at_lga": 1}, [1]),
    ],
)
def test_each_broken_rule_counts_its_own_rows(columns: dict[str, Any], broken: dict[str, int], rows: list[int]) -> None:
    validation = validate(SCHEMA, frame(**columns))
    assert failures(validation) == broken
    assert list(validation.failing_rows) == rows


def test_verdict_says_what_was_wrong_and_shows_some_rows() -> None:
    rows = pd.DataFrame({"origin": ["XXX"] * 30, "temp": 1.0, "reading": range(30)})
    verdict = by_name(validate(SCHEMA, rows))["origin_isin"]
    assert verdict.problem == "origin: isin(['JFK', 'LGA', 'EWR']): 30 of 30 rows break it, such as 'XXX'"
    assert len(verdict.sample) == SAMPLE_ROWS
    assert verdict.sample[3] == {"origin": "XXX", "temp": 1.0, "reading": 3}


def test_rows_are_told_by_position_whatever_the_index() -> None:
    rows = frame(temp=[1.0, 70.0, 1.0]).set_index(pd.Index(["a", "b", "b"]))
    validation = validate(SCHEMA, rows)
    assert list(validation.failing_rows) == [1]
    assert by_name(validation)["temp_less_than_or_equal_to"].sample[0]["temp"] == 70.0


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (frame().drop(columns="temp"), "column 'temp' is missing"),
        (frame(temp=["a", "b", "c"]), "column 'temp' should be dtype('float64'), there was"),
        (frame(reading=[1.5, 2.5, 3.5]), "column 'reading' should be dtype('int64'), there was 'float64'"),
    ],
)
def test_missing_column_and_another_type_break_rule_of_columns(rows: pd.DataFrame, problem: str) -> None:
    verdict = by_name(validate(SCHEMA, rows))["columns"]
    assert not verdict.passed
    assert problem in verdict.problem


def test_a_strict_schema_refuses_undeclared_columns() -> None:
    strict = pa.DataFrameSchema({"x": pa.Column(int)}, strict=True)
    verdict = by_name(validate(strict, pd.DataFrame({"x": [1], "y": [2]})))["columns"]
    assert verdict.problem == "column 'y' is not declared"
    open_schema = pa.DataFrameSchema({"x": pa.Column(int)})
    assert failures(validate(open_schema, pd.DataFrame({"x": [1], "y": [2]}))) == {}


def test_columns_that_are_unique_together_are_one_rule() -> None:
    schema = pa.DataFrameSchema({"a": pa.Column(int), "b": pa.Column(int)}, unique=["a", "b"])
    validation = validate(schema, pd.DataFrame({"a": [1, 1, 1], "b": [1, 2, 2]}))
    assert set(failures(validation)) == {"unique_a_b"}
    assert set(validation.failing_rows) == {1, 2}


def test_warning_is_told_with_its_rows_and_does_not_block() -> None:
    schema = pa.DataFrameSchema({"temp": pa.Column(float, [pa.Check.le(60), pa.Check.le(40, raise_warning=True)])})
    validation = validate(schema, pd.DataFrame({"temp": [50.0, 10.0]}))
    verdict = by_name(validation)["temp_less_than_or_equal_to_"]
    assert not verdict.rule.blocking
    assert (verdict.failures, verdict.sample) == (1, ({"temp": 50.0},))
    assert set(failures(validation)) == {"temp_less_than_or_equal_to_"}
    assert schema.columns["temp"].checks[1].raise_warning  # the user's own schema is as it was


def test_two_checks_of_one_kind_are_two_rules() -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(int, [pa.Check.gt(0), pa.Check.gt(10)])})
    validation = validate(schema, pd.DataFrame({"x": [5, 20]}))
    assert failures(validation) == {"x_greater_than_": 1}


def test_check_that_raises_is_failure_that_says_so() -> None:
    def broken(values: pd.Series) -> Any:
        raise RuntimeError("the check itself is broken")

    schema = pa.DataFrameSchema({"x": pa.Column(int, pa.Check(broken, name="mine"))})
    verdict = by_name(validate(schema, pd.DataFrame({"x": [1]})))["x_mine"]
    assert "the check itself is broken" in verdict.problem


def test_a_coercing_schema_gives_the_coerced_rows() -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(int, coerce=True), "t": pa.Column("datetime64[us]", coerce=True)})
    validation = validate(schema, pd.DataFrame({"x": ["1", "2"], "t": ["2013-01-01", "2013-01-02"]}))
    assert failures(validation) == {}
    assert validation.frame["x"].tolist() == [1, 2]
    assert validation.frame["t"].tolist() == [pd.Timestamp("2013-01-01"), pd.Timestamp("2013-01-02")]
    wrong = validate(schema, pd.DataFrame({"x": ["1", "two"], "t": ["2013-01-01", "2013-01-02"]}))
    assert set(failures(wrong)) == {"columns"}


TIMES = pd.to_datetime(["2013-01-01 05:00", "2013-01-01 06:00"])


@pytest.mark.parametrize("declared", ["datetime64[ns]", "datetime64[us]", "datetime64[s]", pd.Timestamp])
@pytest.mark.parametrize("given", [TIMES.as_unit("us"), TIMES.as_unit("ns"), TIMES.tz_localize("UTC")])
def test_the_unit_of_a_time_is_no_failure(declared: Any, given: Any) -> None:
    schema = pa.DataFrameSchema({"t": pa.Column(declared, pa.Check.ge(pd.Timestamp("2013-01-01 05:30")))})
    validation = validate(schema, pd.DataFrame({"t": given}))
    assert failures(validation) == {"t_greater_than_or_equal_to": 1}
    assert list(validation.failing_rows) == [0]


def test_time_with_declared_zone_is_checked_in_it() -> None:
    zone = "America/New_York"
    midnight = pa.Check(lambda times: times.dt.hour == 0, name="midnight")
    schema = pa.DataFrameSchema({"t": pa.Column(pd.DatetimeTZDtype("us", zone), midnight)})
    validation = validate(schema, pd.DataFrame({"t": TIMES}))
    assert failures(validation) == {"t_midnight": 1}
    assert list(validation.failing_rows) == [1]


def test_a_time_beyond_the_declared_unit_is_kept() -> None:
    schema = pa.DataFrameSchema({"t": pa.Column("datetime64[ns]")})
    far = pd.DataFrame({"t": np.array(["9999-12-31"], dtype="datetime64[us]")})
    validation = validate(schema, far)
    assert failures(validation) == {}
    assert validation.frame["t"].astype(str).tolist() == ["9999-12-31"]


@pytest.mark.parametrize(
    ("declared", "stored"),
    [
        ("int32", pd.Series([1, 2])),
        ("uint8", pd.Series([1, 255])),
        ("Int64", pd.Series([1, 2])),
        ("Int32", pd.Series([1, None], dtype="Int64")),
        ("float32", pd.Series([0.5, np.nan])),
        ("boolean", pd.Series([True, False])),
        ("category", pd.Series(["a", "b"])),
        (pd.CategoricalDtype(["a", "b", "c"]), pd.Series(["a", "b"])),
    ],
)
def test_width_in_which_value_is_stored_is_no_failure(declared: Any, stored: pd.Series) -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(declared, nullable=True)})
    assert failures(validate(schema, stored.to_frame("x"))) == {}


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        ("int8", pd.Series([1, 300])),
        ("uint8", pd.Series([1, -1])),
        ("int64", pd.Series([1.0, 2.0])),
        ("float32", pd.Series([0.1, 0.2])),
        ("bool", pd.Series([0, 1])),
        (str, pd.Series([1, 2])),
        (pd.CategoricalDtype(["a"]), pd.Series(["a", "b"])),
        ("category", pd.Series([1, 2])),
    ],
)
def test_value_that_does_not_fit_its_declared_type_is_failure(declared: Any, given: pd.Series) -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(declared, nullable=True)})
    assert set(failures(validate(schema, given.to_frame("x")))) == {"columns"}


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["JFK", "LGA", "EWR", "XXX", None]),
        st.one_of(st.none(), st.floats(-70, 80, allow_nan=False), st.just(-50.0), st.just(60.0)),
        st.integers(0, 5),
    ),
    max_size=6,
)


@settings(max_examples=examples(60))
@given(ROWS)
def test_pandera_itself_agrees(rows: list[tuple[str | None, float | None, int]]) -> None:
    given_rows = pd.DataFrame(rows, columns=["origin", "temp", "reading"]).astype(
        {"origin": "str", "temp": "float64", "reading": "int64"}
    )
    try:
        SCHEMA.validate(given_rows, lazy=True)
        expected: dict[str, int] = {}
        failing: set[int] = set()
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        of_one_column = cases["schema_context"] == "Column"
        cases["rule"] = cases["column"].where(of_one_column, "") + cases["check"]
        expected = cases.groupby("rule")["index"].nunique().to_dict()
        failing = set(cases["index"].astype(int))
    validation = validate(SCHEMA, given_rows)
    assert sorted(failures(validation).values()) == sorted(expected.values())
    assert set(validation.failing_rows) == failing
