"""Columns of Python, numpy and Arrow objects: what is stored equals what was given, or an error names the column."""

import datetime as dt
import uuid
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets import testing
from fti_assets.core.names import WHOLE
from fti_assets.core.times import Partition
from fti_assets.errors import DataError
from fti_assets.features.rows.frames import object_columns
from fti_assets.features.rows.frames.kinds import as_arrow
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.staging import stage
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from tests.support.examples import examples, repetitions

LAYOUT = Layout("readings_v1", ("k",), ("k",), None)
NOON, BERLIN = dt.datetime(2024, 1, 1, 12), dt.timezone(dt.timedelta(hours=1))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with OfflineStore(Path(tmp_path_factory.mktemp("lake"))).connect() as lake:
        yield lake


def staged(lake: Lake, frame: Any) -> tuple[str, list[Any]]:
    """The type and values of a column ``x`` as it is staged."""
    rows = lake.connection.table(f'"{stage(lake.connection, frame, LAYOUT, [Partition(WHOLE)]).table}"')
    kind = dict(zip(rows.columns, map(str, rows.types), strict=True))["x"]
    return kind, [value for (value,) in rows.order("k").project("x").fetchall()]


def of_objects(values: list[Any]) -> pd.DataFrame:
    cells = np.empty(len(values), dtype=object)
    for at, value in enumerate(values):
        cells[at] = value
    return pd.DataFrame({"k": range(len(values)), "x": pd.Series(cells, dtype=object)})


def kind_name(values: list[Any]) -> str:
    """The same in every process, where the text of an object has its address."""
    return "-".join(type(value).__name__ for value in values)


@pytest.mark.parametrize(
    ("values", "kind", "kept"),
    [
        ([1] * 5000 + [1.5], "DOUBLE", [1.0] * 5000 + [1.5]),
        ([1] * 5000 + [2**40], "BIGINT", [1] * 5000 + [2**40]),
        ([Decimal("1.5")] * 5000 + [Decimal("1.2345")], "DECIMAL(18,4)", [Decimal("1.5")] * 5000 + [Decimal("1.2345")]),
        ([Decimal("1E+5"), float("nan")], "DECIMAL(18,0)", [Decimal(100_000), None]),
        ([Decimal("1.5"), Decimal("NaN")], "DECIMAL(18,1)", [Decimal("1.5"), None]),
        ([NOON.date()] * 5000 + [NOON], "TIMESTAMP", [dt.datetime(2024, 1, 1)] * 5000 + [NOON]),
        ([NOON, NOON.replace(tzinfo=BERLIN), pd.NaT], "TIMESTAMP", [NOON, dt.datetime(2024, 1, 1, 11), None]),
        ([np.datetime64("2024-01-01"), np.datetime64("2024-01-01T12", "h")], "TIMESTAMP", [dt.datetime(2024, 1, 1), NOON]),
        ([[1]] * 5000 + [[1.5]], "DOUBLE[]", [[1.0]] * 5000 + [[1.5]]),
        ([{"a": 1}] * 5000 + [{"b": "x"}], "STRUCT(a BIGINT, b VARCHAR)", [{"a": 1, "b": None}] * 5000 + [{"a": None, "b": "x"}]),
        ([[NOON.date()], [NOON]], "TIMESTAMP[]", [[dt.datetime(2024, 1, 1)], [NOON]]),
        ([np.int64(3), None], "BIGINT", [3, None]),
        ([[np.float32(0.5)], None], "FLOAT[]", [[0.5], None]),
        ([pa.scalar(1), 2.5, pd.NA], "DOUBLE", [1.0, 2.5, None]),
        ([np.bool_(True), None], "BOOLEAN", [True, None]),
        ([np.str_("a"), float("nan")], "VARCHAR", ["a", None]),
        ([uuid.UUID(int=1), None], "UUID", [uuid.UUID(int=1), None]),
        ([np.timedelta64(1, "s"), dt.timedelta(seconds=2)], "BIGINT", [1_000_000, 2_000_000]),
        ([np.ones((2, 2)), None], "DOUBLE[][]", [[[1.0, 1.0], [1.0, 1.0]], None]),
    ],
)  # fmt: skip
def test_objects_are_typed_from_all_values(lake: Lake, values: list[Any], kind: str, kept: list[Any]) -> None:
    assert staged(lake, of_objects(values)) == (kind, kept)
    assert staged(lake, pl.DataFrame({"k": range(len(values)), "x": pl.Series(values, dtype=pl.Object)})) == (
        kind,
        kept,
    )
    dicts = [{"k": at, "x": value} for at, value in enumerate(values)]
    assert staged(lake, as_arrow(dicts, what="readings_v1")) == (kind, kept)


@pytest.mark.parametrize(
    "values",
    [
        [object()],
        [1, "a"],
        [True, 1],
        [b"a", "b"],
        [Decimal("1.5"), 2.5],
        [2**53 + 1, 0.5],
        [2**64],
        [2**63, -1],
        [Decimal("Infinity")],
        [Decimal("1E-40")],
        [[1], 2],
        [[1], ["a"]],
        [{1, 2}],
        [{}],
        [{1: 2}],
        [1j],
        [Fraction(1, 2)],
        [dt.time(1, tzinfo=dt.UTC)],
        [dt.timedelta(1), 5],
        [np.timedelta64(1, "M")],
        [np.datetime64("20000-01-01")],
        [pd.Series([1])],
        ["\ud800"],
    ],
    ids=kind_name,
)
def test_objects_without_one_type_are_refused_by_column(lake: Lake, values: list[Any]) -> None:
    dicts = [{"k": at, "x": value} for at, value in enumerate(values)]
    for make in (of_objects, lambda _: as_arrow(dicts, what="readings_v1")):
        with pytest.raises(DataError, match=r"(?s)readings_v1 .*'x'"):
            staged(lake, make(values))


@pytest.mark.parametrize("dtype", ["complex128", "Sparse[int]", "interval[int64, right]", "period[D]", "longdouble"])
def test_dtypes_that_are_not_stored_are_refused_by_column(lake: Lake, dtype: str) -> None:
    made = {
        "interval[int64, right]": pd.Series(pd.interval_range(0, 2)),
        "period[D]": pd.Series(pd.period_range("2024", periods=2)),
    }
    column = made[dtype] if dtype in made else pd.Series([1, 2]).astype(dtype)
    for other in (["a", "b"], pd.Series(["a", "b"], dtype=object)):
        with pytest.raises(DataError, match="readings_v1 gave a type that cannot be stored: .*'x'"):
            staged(lake, pd.DataFrame({"k": [1, 2], "x": column, "y": other}))


def test_whole_numbers_in_categories_stay_whole(lake: Lake) -> None:
    frame = pd.DataFrame({"k": [1, 2], "x": pd.Categorical([2**53 + 1, None])})
    assert staged(lake, frame) == ("BIGINT", [2**53 + 1, None])


def test_changes_are_typed_from_all_values(tmp_path: Path) -> None:
    @fti.feature_group(keys=["k"])
    def readings() -> fti.Changes:
        return fti.Changes(upserts=of_objects([1] * 2000 + [1.5]))

    stores = testing.stores_in(tmp_path)
    testing.materialize(readings, stores=stores)
    assert fti.read(readings, stores=stores)["x"].sum() == 2001.5


whole = st.integers(-(2**53), 2**53)
long = st.sampled_from([2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)])  # which no float is
nothing = st.sampled_from([None, float("nan"), pd.NA, pd.NaT])
INSTANTS = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "whole": st.one_of(
        whole, long, long.map(np.int64), whole.map(np.int64), st.integers(0, 255).map(np.uint8), whole.map(pa.scalar)
    ),
    "number": st.one_of(whole, st.floats(allow_nan=False), st.floats(width=32, allow_nan=False).map(np.float32)),
    "decimal": st.one_of(st.decimals("-1e6", "1e6", places=2), st.integers(-99, 99), st.just(Decimal("1E+5"))),
    "text": st.one_of(st.text(max_size=5), st.text(max_size=5).map(np.str_)),
    "time": st.one_of(
        INSTANTS,
        INSTANTS.map(lambda value: value.replace(tzinfo=BERLIN)),
        INSTANTS.map(pd.Timestamp),
        INSTANTS.map(lambda value: np.datetime64(value, "us")),
        st.dates(dt.date(1700, 1, 1), dt.date(2200, 1, 1)),
    ),
    "boolean": st.one_of(st.booleans(), st.booleans().map(np.bool_)),
}


def plain(value: Any) -> Any:
    """What a value is, in plain Python: the oracle."""
    if isinstance(value, pa.Scalar):
        value = value.as_py()
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    if isinstance(value, dt.datetime):
        value = value.to_pydatetime() if isinstance(value, pd.Timestamp) else value
        return value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
    return dt.datetime(value.year, value.month, value.day) if isinstance(value, dt.date) else value


@settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), container=st.sampled_from(["pandas", "polars", "dicts", "lists"]))
def test_what_is_stored_equals_what_was_given_or_names_column(lake: Lake, data: st.DataObject, container: str) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(SCALARS)), min_size=1, max_size=2))
    values = data.draw(st.lists(st.one_of(nothing, *(SCALARS[kind] for kind in kinds)), min_size=1, max_size=8))
    expected: list[Any] = [plain(value) for value in values]
    frame: Any = of_objects(values)
    if container == "polars":
        frame = pl.DataFrame({"k": range(len(values)), "x": pl.Series(values, dtype=pl.Object)})
    elif container == "lists":
        frame, expected = of_objects([[value] for value in values]), [[value] for value in expected]
    problem = kept = None
    try:
        if container == "dicts":
            frame = as_arrow([{"k": at, "x": value} for at, value in enumerate(values)], what="readings_v1")
        _, kept = staged(lake, frame)
        kept = [[plain(one) for one in value] if isinstance(value, list) else plain(value) for value in kept]
    except DataError as error:
        problem = str(error)
    assert kept == expected if problem is None else "readings_v1" in problem and "'x'" in problem
    assert problem is None or len(set(kinds)) > 1


@pytest.mark.parametrize("empty", [np.str_(""), np.bytes_(b"")])
def test_an_empty_text_of_numpy_stays_empty(lake: Lake, empty: Any) -> None:
    for _ in range(repetitions(200)):
        assert staged(lake, of_objects([empty, None]))[1] == [empty.item(), None]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param(
            [Decimal("Infinity")], "Infinity.* is no number that a decimal column holds, in 'x'", id="infinity"
        ),
        pytest.param([1, 2**70], f"{2**70} is beyond the whole numbers of 64 bits, in 'x'", id="too large"),
        pytest.param([1, -(2**70)], f"{-(2**70)} is beyond the whole numbers of 64 bits, in 'x'", id="too small"),
    ],
)
def test_a_number_that_no_column_holds_is_named(values: list[Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        object_columns.arrow_array(values, column="x", what="orders_v1")
