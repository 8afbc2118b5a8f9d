"""Keys are compared as what they are: no float makes one of a whole number or decimal and its neighbour."""

from decimal import Context, Decimal
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.errors import DataError
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.training.models.data import class_names, label_codes

LARGE = 2**53
NUMBERS = [LARGE, LARGE + 1, LARGE + 2, 5, 0, -LARGE - 1, Fraction(1, 2), Fraction(1, 10)]
TYPES = [
    "TINYINT",
    "INTEGER",
    "BIGINT",
    "UBIGINT",
    "HUGEINT",
    "DECIMAL(18,0)",
    "DECIMAL(25,5)",
    "DECIMAL(38,20)",
    "FLOAT",
    "DOUBLE",
]
FLOATS = {"FLOAT", "DOUBLE"}
PAIRS = list(product(TYPES, TYPES))


def held(sql_type: str) -> list[Any]:
    """The numbers as a type holds them, without those that it does not hold or rounds; a float keeps what it makes of them."""
    values = duckdb.sql(
        " UNION ALL ".join(
            f"SELECT TRY_CAST({float(number) if sql_type in ('FLOAT', 'DOUBLE') else Decimal(number.numerator) / number.denominator}"
            f" AS {sql_type})"
            for number in map(Fraction, NUMBERS)
        )
    ).fetchall()
    return [value for (value,) in values if value is not None]


def joined(own: str, theirs: str) -> list[tuple[Any, Any]]:
    """For each key of a spine, the key of the group's row that it finds."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for name, sql_type in (("spine", own), ("stored", theirs)):
        rows = ", ".join(f"('{value}'::{sql_type})" for value in dict.fromkeys(held(sql_type)))
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM (VALUES {rows}) t(k)")
    group = JoinedGroup("stored", 1, (JoinedKey("k", "k", "number"),), (JoinedColumn("match", "k", "number"),))
    rows = connection.table("stored")
    result = point_in_time(connection, connection.table("spine"), [group], lambda _: rows, prediction_time=None)
    return result.project('k, "match"').fetchall()


def is_rounded(sql_type: str, floats: str) -> bool:
    """Whether floats round one of the numbers that an exact type holds."""
    digits = Decimal(1).scaleb(-int(sql_type.rstrip(")").partition(",")[2] or 0))
    for value in map(Decimal, held(sql_type)):
        nearest = np.float32(value) if floats == "FLOAT" else np.float64(value)
        if Decimal(float(nearest)).quantize(digits, context=Context(prec=60)) != value:
            return True
    return False


@pytest.mark.parametrize(("own", "theirs"), PAIRS, ids=[f"{own}-{theirs}" for own, theirs in PAIRS])
def test_a_key_finds_its_equal_or_nothing_is_joined(own: str, theirs: str) -> None:
    (exact, of_floats), mixed = sorted((own, theirs), key=FLOATS.__contains__), len({own, theirs} & FLOATS) == 1
    if mixed and of_floats in FLOATS and exact not in FLOATS and is_rounded(exact, of_floats):
        with pytest.raises(DataError, match="'k' of the spine is .* as floats .* and its neighbours are one key"):
            joined(own, theirs)
        return
    numbers = {Fraction(value) for value in held(theirs)}
    for key, match in joined(own, theirs):
        if not mixed or Fraction(key).denominator == 1:  # the float that is nearest to a decimal is its equal
            assert (match is not None) == (Fraction(key) in numbers)
        assert match is None or (float(match) == float(key) if mixed else Fraction(match) == Fraction(key))


def view_of(folder: Path, stored: pa.Array, spine: pa.Array) -> tuple[Any, Any]:
    stores = testing.stores_in(folder)
    day, later = pd.Timestamp("2025-01-01"), pd.Timestamp("2025-01-02")

    @fti.feature_group(keys=["order_id"], event_time="at")
    def orders() -> pa.Table:
        columns = {"order_id": list(range(len(spine))), "customer": spine, "at": pa.array([later] * len(spine))}
        return pa.table({**columns, "is_bad": [0] * len(spine)})

    @fti.feature_group(keys=["customer"], event_time="day", serving_delay="0s")
    def profiles() -> pa.Table:
        levels = [float(number) for number in range(len(stored))]
        return pa.table({"customer": stored, "level": levels, "day": pa.array([day] * len(stored))})

    view = fti.FeatureView(
        name="orders_view", spine=orders, label=fti.Label(orders["is_bad"]), features=[profiles["level"]]
    )
    testing.materialize(orders, profiles, stores=stores)
    return view, stores


def decimals(*numbers: int, digits: int = 20, scale: int = 0) -> pa.Array:
    return pa.array([Decimal(number) for number in numbers], pa.decimal128(digits, scale))


def test_decimal_keys_stay_apart_in_rows_that_somebody_brings(tmp_path: Path) -> None:
    keys = decimals(LARGE, LARGE + 1)
    view, stores = view_of(tmp_path, keys, keys)
    rows = fti.read(view.spine, stores=stores, as_="polars")
    assert view.features_for(rows, stores=stores)["level"].to_list() == [0.0, 1.0]
    brought = pa.table({"customer": keys, "order_id": [0, 1], "at": rows["at"].to_arrow(), "is_bad": [0, 0]})
    assert view.features_for(brought, stores=stores)["level"].to_pylist() == [0.0, 1.0]


def test_whole_numbers_find_decimal_keys_exactly(tmp_path: Path) -> None:
    keys = decimals(LARGE, LARGE + 1)
    view, stores = view_of(tmp_path, keys, keys)
    rows = {"order_id": [1, 0], "customer": [LARGE + 1, LARGE], "at": pd.Timestamp("2025-01-02"), "is_bad": 0}
    assert view.features_for(pd.DataFrame(rows), stores=stores)["level"].tolist() == [1.0, 0.0]


@pytest.mark.soak
@pytest.mark.parametrize("brought", [[float(LARGE)], decimals(LARGE + 1)])
def test_a_float_and_a_decimal_key_are_refused(tmp_path: Path, brought: Any) -> None:
    keys = decimals(LARGE, LARGE + 1) if isinstance(brought, list) else pa.array([float(LARGE), 1.0])
    view, stores = view_of(tmp_path, keys, keys)
    rows = pa.table({"order_id": [0], "customer": brought, "at": pa.array([pd.Timestamp("2025-01-02")]), "is_bad": [0]})
    with pytest.raises(
        DataError, match=r"'customer' of the spine is \w+.* 'customer' of profiles_v1 is .* as floats 9007199254740993 "
    ):
        view.features_for(rows, stores=stores)


def test_whole_numbers_that_floats_hold_find_float_keys(tmp_path: Path) -> None:
    keys = pa.array([7.0, 1.0])
    view, stores = view_of(tmp_path, keys, keys)
    rows = {"order_id": [0], "customer": [1], "at": pd.Timestamp("2025-01-02"), "is_bad": 0}
    assert view.features_for(pd.DataFrame(rows), stores=stores)["level"].tolist() == [1.0]
    with pytest.raises(DataError, match="as floats 9007199254740993 "):
        view.features_for(pd.DataFrame(rows | {"customer": [LARGE + 1]}), stores=stores)


@pytest.mark.parametrize("label", [LARGE, -LARGE - 2])
def test_classes_that_a_float_merges_are_refused(label: int) -> None:
    labels = np.array([label, 1, 2], dtype=np.float64)
    with pytest.raises(DataError, match="classes that large must be text"):
        class_names(labels)
    with pytest.raises(DataError, match="classes that large must be text"):
        label_codes(labels, "multiclass", ("1", "2"), what="the test part")
    assert class_names(np.array([LARGE - 1.0, 1.0])) == ("1", str(LARGE - 1))
