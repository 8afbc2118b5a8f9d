"""The filter of a dataset's spine: which rows it keeps, and what it cannot be."""

from typing import Any

import duckdb
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.errors import DataError, DeclarationError
from tests.support.examples import examples
from tests.training.test_dataset_rows import connection, declared, made, outcome, outcomes, row, spine

__all__ = ["connection"]

WHERE = "own % 3 <> 1 AND k = 'x' -- of shop x"
ROWS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["x", "y", None])), max_size=8)


@given(ROWS)
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_for_which_it_is_false_or_null_are_left_out(
    connection: duckdb.DuckDBPyConnection, rows: list[tuple[int, str | None]]
) -> None:
    stored = {spine: [row(n, t, k=k) for n, (t, k) in enumerate([(0, "x"), *rows])]}
    label = fti.Label(spine["y"])
    result, by_id = made(connection, declared(label, where=WHERE, split=fti.HashSplit(test=0.001)), stored, cutoff=50)
    kept = [one for one in stored[spine] if one["own"] % 3 != 1 and one["k"] == "x"]
    assert sorted(by_id) == [one["id"] for one in kept]
    assert result.left_out["filtered"] == len(stored[spine]) - len(kept)
    assert list(by_id[0]) == ["id", "t", "own", "y", "split"]


def test_it_looks_at_the_version_of_the_prediction_time(connection: duckdb.DuckDBPyConnection) -> None:
    corrected = [row(1, 2, k="x"), row(1, 2, k="y", known=5), row(2, 1, k="y"), row(2, 1, k="x", known=9)]
    dataset = declared(fti.Label(spine["y"]), where="k = 'x'")
    _, by_id = made(connection, dataset, {spine: corrected}, cutoff=10)
    assert [*by_id] == [1]


def test_keys_of_rows_left_out_may_be_ambiguous(connection: duckdb.DuckDBPyConnection) -> None:
    stored = {spine: [row(1, 2), row(2, 3), row(2, 4)], outcomes: [outcome(1, 3)]}
    _, by_id = made(connection, declared(fti.Label(outcomes["v"]), where="id < 2"), stored, cutoff=10)
    assert [*by_id] == [1]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("shop = 'x'", "names 'shop': it is on columns of the spine, which are .*'own'"),
        ("own", r"gives DOUBLE and not true or false: compare it with something"),
        ("k::INTEGER > 1", "cannot be filtered by where='k::INTEGER > 1': Conversion Error: Could not convert string 'x'"),
        ("id > 99", r"no row to train on: 1 row of spine_v1 known by then, of which 1 filtered, .*\. Look at what where= keeps"),
    ],
)  # fmt: skip
def test_what_only_the_rows_tell_is_an_error_of_the_run(
    connection: duckdb.DuckDBPyConnection, where: str, said: str
) -> None:
    dataset = declared(fti.Label(spine["y"]), where=where, split=fti.HashSplit())
    with pytest.raises(DataError, match=said):
        made(connection, dataset, {spine: [row(1, 2)]}, cutoff=10)


def view(*, with_schema: bool = True) -> fti.FeatureView:
    columns = {"id": int, "t": "datetime64[us]", "amount": float, "country": str, "late": bool}
    schema = pa.DataFrameSchema({name: pa.Column(kind) for name, kind in columns.items()}) if with_schema else None

    @fti.feature_group(keys=["id"], event_time="t", schema=schema)
    def orders() -> pd.DataFrame: ...

    return fti.FeatureView(name="v", spine=orders, label=fti.Label(orders["late"]), features=[orders["amount"]])


@pytest.mark.parametrize(
    "where",
    [
        "amount > 0",
        "Country IN ('NL', 'BE') AND NOT (amount IS NULL)",
        "CASE WHEN amount > 1 THEN true ELSE lower(country) LIKE 'n%' END",
        "t >= TIMESTAMP '2013-01-01' + INTERVAL 3 DAY AND amount BETWEEN 1 AND 2 -- why",
        "regexp_matches(country, '^N') AND age(t, DATE '2013-01-01') > INTERVAL 1 DAY",
    ],
)
def test_conditions_on_a_row_are_taken(where: str) -> None:
    dataset = fti.training_dataset(name="d", view=view(), where=where)
    assert dataset.where == where
    plain = fti.training_dataset(name="d", view=view())
    assert dataset.assets_def.code_versions_by_key != plain.assets_def.code_versions_by_key


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("amount >", "DuckDB cannot read as a condition"),
        ("true) OR (false", "DuckDB cannot read as a condition"),
        ("amount > 0 GROUP BY country", "DuckDB cannot read as a condition"),
        ("amount > 0; DROP TABLE x", "DuckDB cannot read as a condition"),
        ("-- nothing", "DuckDB cannot read as a condition"),
        ("count(*) > 1", r"has count\(\), which takes several rows"),
        ("sum(amount) > 1", r"has sum\(\), which takes several rows"),
        ("row_number() OVER () < 9", "has a window function: it looks at the columns of one row"),
        ("id IN (SELECT 1)", "has a subquery"),
        ("EXISTS (FROM features.labels)", "has a subquery"),
        ("len(list_filter([1], x -> x > amount)) > 0", "has a lambda"),
        ("amount > $least", "has a parameter"),
        ("COLUMNS(*) IS NOT NULL", "has all columns at once"),
        ("random() < 0.1", r"calls random\(\), which differs from run to run.*sample=fti.Sample\(rows=0.1\)"),
        ("t > now() - INTERVAL 1 DAY", r"calls now\(\)|calls get_current_timestamp\(\)"),
        ("t > current_date", "reads current_date, which differs from run to run"),
        ("hash(id) % 10 = 0", r"calls hash\(\), which answers otherwise in another version of DuckDB"),
        ("getenv('HOME') = country", r"calls getenv\(\), which reads what is outside"),
        ("late", "names the label 'late', which is not known yet"),
        ("LATE = true", "names the label 'late'"),
        ("orders.amount > 0", "names 'orders.amount': it is on columns of orders_v1"),
        ("temperature > 0", "names 'temperature': it is on columns of orders_v1, which are .*'country'"),
        ("amount", "gives DOUBLE and not true or false"),
        ("country > 3.5 AND nothing_such(amount)", "DuckDB refuses: Catalog Error"),
        ("_fti_late", "names '_fti_late'"),
        ("", "where is '', an empty text"),
    ],
)
def test_conditions_that_cannot_be_are_refused_at_load(where: str, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        fti.training_dataset(name="d", view=view(), where=where)


def test_without_a_schema_label_and_clock_are_still_refused() -> None:
    plain: Any = view(with_schema=False)
    for where in ("late", "t > current_date", "max(amount) > 1"):
        with pytest.raises(DeclarationError, match="has where="):
            fti.training_dataset(name="d", view=plain, where=where)
    assert fti.training_dataset(name="d", view=plain, where="anything > 1").where == "anything > 1"
