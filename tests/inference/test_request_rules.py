"""What a request is held against, beside what the group's own run says of a row with the same value."""

import datetime as dt
import logging
import random
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets import testing
from fti_assets.core.manifest import Column, ColumnRule
from fti_assets.core.records import from_json, record, to_json
from fti_assets.core.types import SIDES, ColumnType
from fti_assets.errors import PredictionError, RequestError
from fti_assets.features.validation.request_rules import request_rules
from fti_assets.features.validation.table_validation import validate_table
from fti_assets.inference.serving.requests.rules import RequestRules
from tests.support.examples import SOAK, repetitions

NAN, INF = float("nan"), float("inf")


@record(frozen=True)
class Rules:
    rules: tuple[ColumnRule, ...]


def judged(schema: pa.DataFrameSchema, kind: ColumnType, values: list[Any]) -> list[bool]:
    """Whether a request is refused, from rules that went through a manifest."""
    column = Column("a", kind)
    result = request_rules(schema, [column])
    assert result.left_out == ()
    rules = from_json(Rules, to_json(Rules(result.rules)), what="the rules").rules
    of_request = RequestRules(rules, [column])
    return [of_request.broken_by([value]) == ("a",) for value in values]


@pytest.fixture(scope="module")
def refused():
    """Whether a group with a schema refuses a row with one value."""
    connection = duckdb.connect()

    def ask(schema: pa.DataFrameSchema, kind: ColumnType, values: list[Any]) -> list[bool]:
        answers = []
        for value in values:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE one AS SELECT ?::{SIDES[kind].sql} AS a", [value])
            with np.errstate(over="ignore"):  # where pandas shows a number of 16 bits
                verdicts = validate_table(connection, "one", schema).verdicts
            answers.append(any(not verdict.passed and verdict.rule.blocking for verdict in verdicts))
        return answers

    return ask


TIME = dt.datetime(2024, 1, 1)
BERLIN = pd.DatetimeTZDtype("us", "Europe/Berlin")
TYPES: dict[ColumnType, list[Any]] = {
    "integer": [int, None, "int8", "uint8", "Int16", "UInt8", "int16", "uint16", "Int32", "uint32", "Int64", "uint64"],
    "number": [float, None, "float32", "Float32", "Float64", "float16"],
    "text": [str, None, "string", pd.CategoricalDtype(["a", "b", "zz"]), pd.CategoricalDtype(["b", "a"], ordered=True)],
    "boolean": [bool, None, "boolean"],
    "timestamp": ["datetime64[us]", None, "datetime64[ns]", BERLIN],
}
VALUES: dict[ColumnType, list[Any]] = {
    "integer": [None, -1, 0, 1, 2, 3, 127, 128, 255, 256, 40_000, 70_000, -(2**63), 2**53, 2**53 + 1, 2**63 - 1],
    "number": [None, -1.0, 0.0, -0.0, 0.1, float(np.float32(0.1)), 0.5, 1.0, 2.5, 70_000.0, 1e39, 2.0**53, INF, -INF],
    "text": [None, "", "a", "b", "ab", "AB", "zz", "m", "1", "a1"],
    "boolean": [None, True, False],
    "timestamp": [
        None,
        TIME,
        TIME + dt.timedelta(microseconds=1),
        TIME - dt.timedelta(microseconds=1),
        dt.datetime(1970, 1, 1),
    ],
}
WHOLE = [
    0,
    1,
    2,
    -1,
    2.5,
    2.0**53,
    2**53,
    2**53 + 1,
    2**70,
    INF,
    -INF,
    NAN,
    Decimal("0"),
    Decimal("2.5"),
    np.float32(0.1),
]
WHOLE += [np.int8(1), np.float64(0.1), np.uint64(3), True, "a", dt.date(2024, 1, 1), dt.timedelta(1), np.float16(0.1)]
FLOATS = [*WHOLE, 0.1, 0.5, Decimal("0.1"), np.timedelta64(1, "s"), 1e39]
TEXTS = ["a", "b", "m", "", "zz", np.str_("a"), 1, 0.5]
TIMES = [
    TIME,
    pd.Timestamp(TIME),
    pd.Timestamp("2024-01-01T00:00:00.000000500"),
    np.datetime64("2024-01-01"),
    "2024-01-01",
]
TIMES += [pd.Timestamp(TIME, tz="Europe/Berlin"), TIME.date(), "2024-01-01T00:00:00.000001", 5]
ARGUMENTS: dict[ColumnType, list[Any]] = {
    "integer": WHOLE,
    "number": FLOATS,
    "text": TEXTS,
    "boolean": [True, False, 1, 0.0, "a"],
    "timestamp": TIMES,
}
PATTERNS = ["ab", "(?i)ab", re.compile("ab", re.I), re.compile("[a-z]+$"), "a|b$"]


def random_check(one_of: random.Random, kind: ColumnType) -> pa.Check:
    arguments = ARGUMENTS[kind]
    one, other = one_of.choice(arguments), one_of.choice(arguments)
    listed = [value for value in arguments if not isinstance(value, np.float16 | np.float32)]
    several = one_of.sample(listed, one_of.randint(0, 3))
    ends = {"include_min": one_of.random() < 0.5, "include_max": one_of.random() < 0.5}
    settings = {"ignore_na": one_of.random() < 0.8}
    makers = [
        lambda: getattr(pa.Check, one_of.choice(["eq", "ne", "gt", "ge", "lt", "le"]))(one, **settings),
        lambda: pa.Check.in_range(one, other, **ends, **settings),
        lambda: pa.Check.isin(several, **settings),
        lambda: pa.Check.notin(several, **settings),
    ]
    if kind == "text":
        makers += [
            lambda: getattr(pa.Check, one_of.choice(["str_matches", "str_contains"]))(
                one_of.choice(PATTERNS), **settings
            ),
            lambda: getattr(pa.Check, one_of.choice(["str_startswith", "str_endswith"]))(
                one_of.choice("ab"), **settings
            ),
            lambda: pa.Check.str_length(one_of.choice([0, 1, 2]), one_of.choice([2, None]), **settings),
        ]
    while True:
        try:
            return one_of.choice(makers)()
        except Exception:  # Pandera refuses some arguments itself
            one, other = one_of.choice(arguments), one_of.choice(arguments)


@pytest.mark.parametrize("kind", list(TYPES))
def test_a_request_is_refused_where_a_row_is(refused, kind):
    one_of = random.Random(kind)
    for _ in range(repetitions(30)):
        check, dtype = random_check(one_of, kind), one_of.choice(TYPES[kind])
        column = pa.Column(dtype, check, nullable=one_of.random() < 0.6, coerce=one_of.random() < 0.2)
        schema = pa.DataFrameSchema({"a": column})
        # In a field that may be null a request's empty text is a missing value, which is no row's.
        values = [value for value in VALUES[kind] if value != "" or not column.nullable]
        expected, result = refused(schema, kind, values), judged(schema, kind, values)
        wrong = [(v, e) for v, e, f in zip(values, expected, result, strict=True) if e != f]
        assert not wrong, (dtype, column.nullable, column.coerce, check, check.ignore_na, wrong)


CASES: list[tuple[ColumnType, Any, Any]] = [
    ("number", float, pa.Check.in_range(0, INF)),
    ("number", float, pa.Check.ge(Decimal("0"))),
    ("number", float, pa.Check.isin([1.0, NAN])),
    ("number", float, pa.Check.ge(0, ignore_na=False)),
    ("number", "float32", pa.Check.le(0.1)),
    ("number", "float32", pa.Check.le(np.float64(0.1))),
    ("number", float, pa.Check.isin([2**53 + 1, 0.5])),
    ("integer", int, pa.Check.isin(np.array([1, 2]))),
    ("integer", int, pa.Check.isin(range(3))),
    ("integer", int, pa.Check.le(2.0**53)),
    ("text", str, pa.Check.str_matches(re.compile("[a-z]+$"))),
    ("text", pd.CategoricalDtype(["b", "a"], ordered=True), pa.Check.gt("b")),
    ("timestamp", BERLIN, pa.Check.ge(pd.Timestamp(TIME, tz="Europe/Berlin"))),
    ("timestamp", None, pa.Check.gt(np.datetime64("2024-01-01"))),
    ("timestamp", None, pa.Check.ge(TIME.date())),
    ("timestamp", None, pa.Check.isin([TIME, "1970-01-01"])),
]


@pytest.mark.parametrize(("kind", "dtype", "check"), CASES)
def test_arguments_of_all_kinds_are_carried(refused, kind, dtype, check):
    for settings, step in (({"nullable": True}, 1), ({"nullable": False}, 3), ({"nullable": True, "coerce": True}, 3)):
        schema = pa.DataFrameSchema({"a": pa.Column(dtype, check, **settings)})
        values = [value for value in VALUES[kind] if value != ""][:: 1 if SOAK else step]  # the first is missing
        assert judged(schema, kind, values) == refused(schema, kind, values), settings


def test_columns_are_found_by_pattern_and_by_the_type_of_all():
    named = pa.DataFrameSchema({"a.*": pa.Column(int, pa.Check.ge(0), regex=True)})
    assert judged(named, "integer", [-1, 0]) == [True, False]
    assert judged(pa.DataFrameSchema(dtype="int8"), "integer", [127, 128]) == [False, True]


def test_a_decimal_is_compared_as_it_was_written():
    from pandera.engines.pandas_engine import Decimal as DecimalType

    schema = pa.DataFrameSchema({"a": pa.Column(DecimalType(10, 2), pa.Check.le(Decimal("0.1")), coerce=True)})
    assert judged(schema, "number", [0.1, 0.11]) == [False, True]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.Column(int, pa.Check(lambda x: x > 0, name="positive")), "'a': positive, a check of the schema's own"),
        (pa.Column(int, pa.Check(lambda x: x > 0, element_wise=True, error="must be more")), "'a': must be more"),
        (pa.Column(int, pa.Check.ge(0), parsers=pa.Parser(lambda x: x + 1)), "a parser has changed"),
        (pa.Column(float, pa.Check.ge(Fraction(1, 3))), "an argument"),
        (pa.Column(float, pa.Check.isin([1, np.float32(0.1)])), "an argument"),
    ],
)
def test_what_cannot_be_carried_is_said(column, words):
    result = request_rules(pa.DataFrameSchema({"a": column}), [Column("a", "number")])
    [outcome] = result.left_out
    assert words in outcome


def test_a_check_of_rows_is_said_and_one_that_warns_is_not():
    warning = pa.Check(lambda x: x > 0, raise_warning=True)
    schema = pa.DataFrameSchema(
        {"a": pa.Column(int, warning)}, checks=pa.Check(lambda rows: rows["a"] > 0, name="whole")
    )
    assert request_rules(schema, [Column("a", "integer")]).left_out == ("whole, a check of whole rows",)


@pytest.mark.parametrize("bound", [{"gold": 1}, {"decimal": "x"}, {}, {"pattern": "(", "flags": 0}])
def test_a_rule_that_cannot_be_read_is_named(bound):
    rule = ColumnRule("a", "less_than", {"max_value": bound})
    with pytest.raises(PredictionError, match="rule 'less_than' of 'a' cannot be read"):
        RequestRules([rule], [Column("a", "number")])


SCHEMA = pa.DataFrameSchema(
    {
        "id": pa.Column(int),
        "small": pa.Column("uint16"),
        "plan": pa.Column(pd.CategoricalDtype(["x", "y"]), nullable=True),
        "share": pa.Column(float, [pa.Check.in_range(0, INF), pa.Check(lambda x: x < 9, name="below_nine")]),
        "y": pa.Column(int),
    }
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    @fti.feature_group(keys=["id"], schema=SCHEMA)
    def orders() -> pd.DataFrame:
        numbers = np.arange(60)
        columns = {"id": numbers, "small": (numbers % 9).astype("uint16"), "share": numbers / 60, "y": numbers % 2}
        return pd.DataFrame(columns | {"plan": pd.Categorical(np.where(numbers % 3, "x", "y"))})

    view = fti.FeatureView(
        name="orders_view",
        spine=orders,
        label=fti.Label(orders["y"]),
        features=[orders["small", "plan", "share"]],
        encoders={"plan": fti.OneHot()},
    )

    @fti.model(dataset=view, task="binary")
    def scores(data: fti.TrainingData) -> LogisticRegression:
        return LogisticRegression().fit(data.train.X, data.train.y)

    stores = testing.stores_in(tmp_path_factory.mktemp("home"))
    assert testing.materialize(orders, scores.dataset, scores, stores=stores).success
    return stores


REQUEST = {"id": 1, "small": 3, "plan": "x", "share": 0.5}


def load(stores: Any, **settings: Any) -> fti.Predictor:
    return fti.Predictor.load("scores", models=stores.models, online=stores.online, **settings)


@pytest.mark.parametrize(("field", "value"), [("small", 70_000), ("small", -1), ("plan", "zz"), ("share", -1.0)])
def test_types_and_bounds_without_end_hold_for_requests(stores, field, value):
    assert load(stores).predict(REQUEST).out_of_schema == ()
    assert load(stores).predict(REQUEST | {field: value}).out_of_schema == (field,)
    with pytest.raises(RequestError, match=f"'{field}' is .*, which its schema refuses"):
        load(stores, out_of_schema="error").predict(REQUEST | {field: value})


def test_what_no_request_is_held_against_is_on_the_card_and_said_when_a_build_loads(stores, caplog):
    [card] = Path(stores.models).rglob("card.md")
    words = "'share': below_nine, a check of the schema's own"
    assert f"- **no request is held against** these checks of the schema of `orders`: {words}" in card.read_text()
    with caplog.at_level(logging.WARNING):
        predictor = load(stores)
        predictor.predict([REQUEST, REQUEST])
    [messages] = [one.getMessage() for one in caplog.records if "below_nine" in one.getMessage()]
    assert messages.endswith(f"out_of_schema does not tell of these checks of the schema of 'orders': {words}")


@pytest.mark.parametrize("value", [INF, 1e39, 3.4028235677973366e38])
def test_numbers_that_are_infinite_to_the_model_are_reported_and_refused(stores, value):
    predictor, request = load(stores), REQUEST | {"share": value}
    assert predictor.predict(request).out_of_schema == ("share",)
    assert [one.out_of_schema for one in predictor.predict([REQUEST, request])] == [(), ("share",)]
    marks = predictor.predict_columns({name: [REQUEST[name], request[name]] for name in request}).out_of_schema
    assert {name: mark.tolist() for name, mark in marks.items()} == {"share": [False, True]}
    with pytest.raises(RequestError, match="'share' is .*, which is infinite to the model"):
        load(stores, out_of_schema="error").predict(request)
    assert predictor.predict(REQUEST | {"share": 3.4e38}).out_of_schema == ()
