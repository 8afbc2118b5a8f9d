import pandas as pd
import pandera.pandas as pa
import pytest

from fti_assets.core.types import SIDES, type_of_sql
from fti_assets.errors import DeclarationError
from fti_assets.features.validation.schema import column_types, constraints, pandera_schema


class Weather(pa.DataFrameModel):
    origin: str
    observed_at: pd.Timestamp
    gusts: bool
    station: int
    temp: float = pa.Field(nullable=True, ge=-50, le=60)


def test_a_model_and_a_schema_say_the_same() -> None:
    from_model = pandera_schema(Weather, what="'weather'")
    schema = Weather.to_schema()
    assert pandera_schema(schema, what="'weather'") is schema
    assert from_model == schema


@pytest.mark.parametrize("other", [dict, {"origin": str}, "Weather", Weather.to_schema().columns["origin"], 3])
def test_what_is_no_schema_is_refused_and_named(other: object) -> None:
    with pytest.raises(
        DeclarationError, match="schema of 'weather' is .*not a pandera DataFrameModel or DataFrameSchema"
    ):
        pandera_schema(other, what="'weather'")


def test_each_column_has_its_type_in_order() -> None:
    types = column_types(pandera_schema(Weather, what="'weather'"))
    assert list(types.items()) == [
        ("origin", "text"),
        ("observed_at", "timestamp"),
        ("gusts", "boolean"),
        ("station", "integer"),
        ("temp", "number"),
    ]


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("int8", "integer"),
        ("uint64", "integer"),
        ("Int64", "integer"),
        ("float32", "number"),
        ("Float64", "number"),
        ("boolean", "boolean"),
        ("string", "text"),
        ("datetime64[ns]", "timestamp"),
        (pd.DatetimeTZDtype("us", "America/New_York"), "timestamp"),
        ("category", None),
        ("timedelta64[ns]", None),
        ("complex128", None),
        (None, None),
    ],
)
def test_a_column_type_is_one_of_five_or_open(dtype: object, kind: str | None) -> None:
    assert column_types(pa.DataFrameSchema({"x": pa.Column(dtype)})) == {"x": kind}


@pytest.mark.parametrize(
    ("sql_type", "kind"),
    [
        ("BIGINT", "integer"),
        ("UTINYINT", "integer"),
        ("HUGEINT", "integer"),
        ("DOUBLE", "number"),
        ("FLOAT", "number"),
        ("DECIMAL(18,3)", "number"),
        ("DATE", "timestamp"),
        ("TIMESTAMP", "timestamp"),
        ("VARCHAR", "text"),
        ("BOOLEAN", "boolean"),
        ("DOUBLE[]", "vector"),
        ("FLOAT[3]", "vector"),
        ("DECIMAL(18,3)[]", None),
        ("STRUCT(a INTEGER)", None),
        ("INTERVAL", None),
        ("BLOB", None),
    ],
)
def test_stored_type_is_a_column_type_or_none(sql_type: str, kind: str | None) -> None:
    assert type_of_sql(sql_type) == kind


@pytest.mark.parametrize("kind", SIDES)
def test_what_is_stored_for_column_type_reads_as_it(kind: str) -> None:
    assert type_of_sql(SIDES[kind].sql) == kind  # type: ignore[index]


def test_constraints_are_told_in_words() -> None:
    named = pa.Check(lambda values: values > 0, error="above freezing")
    assert constraints(Weather.to_schema().columns["temp"]) == [
        "greater_than_or_equal_to(-50)",
        "less_than_or_equal_to(60)",
    ]
    assert constraints(pa.Column(float, named)) == ["above freezing"]
