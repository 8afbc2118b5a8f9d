"""Keys of row-level changes: deletes in the stored types, texts with a NUL, and batches that come before any rows."""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa_schema
import polars as pl
import pyarrow as pa
import pytest

import fti_assets as fti
from fti_assets.errors import DataError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.testing import materialize, stores_in

LARGE = 2**53


def seats(batch: Any, positions: list[str | None] | None = None, **options: Any) -> FeatureGroup:
    @fti.feature_group(**{"keys": ["k"], "name": "seats", **options})
    def group(position: fti.FeedPosition) -> Any:
        if positions is not None:
            positions.append(position.value)
        return batch

    return group


def store(folder: Path, *batches: Any, **options: Any) -> list[str | None]:
    """Store batches one after the other, and give the position from which each went on."""
    positions: list[str | None] = []
    for batch in batches:
        materialize(seats(batch, positions, **options), stores=stores_in(folder))
    return positions


def stored(folder: Path) -> dict[Any, Any]:
    rows = fti.read(seats(None), stores=stores_in(folder))
    return {row.k: row.x for row in rows.itertuples()}


def rows_of(*keys: Any) -> pd.DataFrame:
    return pd.DataFrame({"k": keys, "x": range(len(keys))})


def deletes_of(*keys: Any) -> fti.Changes:
    return fti.Changes(deletes=pd.DataFrame({"k": keys}))


@pytest.fixture(scope="module")
def of_type(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with a table of whole numbers as keys, and one of text."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("integer", "text")}
    store(folders["integer"], rows_of(1, LARGE, LARGE + 1))
    store(folders["text"], rows_of("1", "z"))
    return folders


REFUSED: list[tuple[str, list[Any], str]] = [
    ("integer", [float(LARGE)], "the deletes of seats_v1 have 'k' as DOUBLE, BIGINT is stored"),
    ("integer", [1.5], "'k' as DOUBLE, BIGINT"),
    ("integer", [LARGE, None], "1 row in the deletes of seats_v1 with a null in 'k'"),
    ("integer", [True], "'k' as BOOLEAN, BIGINT"),
    ("integer", ["1"], "the deletes of seats_v1 have 'k' as VARCHAR, BIGINT is stored"),
    ("integer", [pd.Timestamp("2024-01-01")], "'k' as TIMESTAMP, BIGINT"),
    ("integer", [[1]], r"'k' as BIGINT\[\], BIGINT"),
    ("integer", [2**64 - 1], "k is 18446744073709551615, which is out of range for BIGINT"),
    ("text", [1], "'k' as BIGINT, VARCHAR"),
    ("text", [pd.Timestamp("2024-01-01").date()], "'k' as DATE, VARCHAR"),
    ("text", ["z", None], "1 row in the deletes of seats_v1 with a null in 'k'"),
]


def test_deletes_of_another_type_are_refused(of_type: dict[str, Path]) -> None:
    for kind, keys, message in REFUSED:
        with pytest.raises(DataError, match=message):
            store(of_type[kind], deletes_of(*keys))
    assert {kind: len(stored(folder)) for kind, folder in of_type.items()} == {"integer": 3, "text": 2}


def test_deletes_with_two_columns_of_one_name_are_refused(of_type: dict[str, Path]) -> None:
    with pytest.raises(DataError, match="the deletes of seats_v1 have two columns 'k'"):
        store(of_type["integer"], fti.Changes(deletes=pd.DataFrame([[1, 2]], columns=["k", "k"])))


@pytest.mark.soak
def test_deletes_that_mean_stored_keys_exactly_are_taken(tmp_path: Path) -> None:
    store(tmp_path, rows_of(1, 2, 3, LARGE, LARGE + 1), deletes_of(1.0, 7.0), deletes_of(LARGE))
    narrow = pd.DataFrame({"k": pd.Series([2], dtype="int8")})
    store(tmp_path, fti.Changes(deletes=narrow))
    assert set(stored(tmp_path)) == {3, LARGE + 1}


def test_a_feeds_deletes_are_in_the_stored_types(tmp_path: Path) -> None:
    store(tmp_path, rows_of(1, LARGE, LARGE + 1))
    with pytest.raises(DataError, match="'k' as DOUBLE, BIGINT is stored"):
        store(tmp_path, fti.ChangeFeed(pd.DataFrame({"k": [float(LARGE)], "x": 0, "op": "d", "lsn": 1})))
    store(tmp_path, fti.ChangeFeed(pd.DataFrame({"k": [1.0], "x": 0, "op": "d", "lsn": 1})))
    assert set(stored(tmp_path)) == {LARGE, LARGE + 1}


@pytest.mark.soak
def test_frames_without_rows_change_nothing(tmp_path: Path) -> None:
    batches: list[Any] = [fti.Changes(deletes=pd.DataFrame({"k": []}), position="1")]
    for number, empty in enumerate((pd.DataFrame(), pl.DataFrame(), pa.table({})), 2):
        batches += [fti.Changes(upserts=empty, deletes=empty, position=str(number)), fti.ChangeFeed(empty)]
    positions = store(tmp_path, rows_of("a"), *batches, fti.Changes())
    assert stored(tmp_path) == {"a": 0}
    assert positions == [None, None, "1", "2", "2", "3", "3", "4", "4"]


def test_keys_with_nul_are_replaced_and_deleted(tmp_path: Path) -> None:
    store(tmp_path, rows_of("a\0b", "a", "z"), fti.Changes(upserts=rows_of("a\0b").assign(x=9)))
    assert stored(tmp_path) == {"a\0b": 9, "a": 1, "z": 2}
    store(tmp_path, fti.Changes(upserts=rows_of("z"), deletes=pd.DataFrame({"k": ["a\0b"]})))
    assert stored(tmp_path) == {"a": 1, "z": 0}


def test_appended_key_with_nul_is_met_among_many(tmp_path: Path) -> None:
    store(tmp_path, rows_of("a\0b", *map(str, range(5_000))))
    with pytest.raises(Exception, match="1 row to append with the same k as stored rows"):
        store(tmp_path, fti.Changes(appends=rows_of("a\0b")))


@pytest.mark.parametrize(
    "first",
    [
        fti.Changes(),
        fti.Changes(deletes=pd.DataFrame({"k": [5]})),
        fti.Changes(upserts=pd.DataFrame()),
        fti.ChangeFeed(pd.DataFrame()),
    ],
    ids=["nothing", "deletes", "no upserts", "no feed"],
)
def test_first_batch_without_rows_moves_position(tmp_path: Path, first: Any) -> None:
    batches = [dataclasses.replace(first, position="1"), fti.Changes(upserts=rows_of(1, 2)), fti.Changes()]
    assert store(tmp_path, *batches, online=True) == [None, "1", "1"]
    assert stored(tmp_path) == {1: 0, 2: 1}


@pytest.mark.soak
@pytest.mark.parametrize("coerces", ["schema", "column"])
def test_deletes_are_coerced_as_rows_are(tmp_path: Path, coerces: str) -> None:
    kinds = {"text": str, "number": int, "moment": "datetime64[ns]", "x": int}
    columns = {name: pa_schema.Column(kind, coerce=coerces == "column") for name, kind in kinds.items()}  # type: ignore[arg-type]
    schema = pa_schema.DataFrameSchema(columns, coerce=coerces == "schema")
    keys = ["text", "number", "moment"]
    rows = pd.DataFrame({"text": [1, 2], "number": ["1", "2"], "moment": ["2024-01-01", "2024-01-02"], "x": [0, 1]})
    store(tmp_path, rows, fti.Changes(deletes=rows.head(1)[keys]), schema=schema, keys=keys)
    (left,) = fti.read(seats(None, keys=keys), stores=stores_in(tmp_path), as_="dicts")
    assert left == {"text": "2", "number": 2, "moment": pd.Timestamp("2024-01-02"), "x": 1}


def test_keys_and_times_of_deletes_are_coerced(tmp_path: Path) -> None:
    kinds = {"k": int, "t": "datetime64[ns]", "x": int}
    columns = {name: pa_schema.Column(kind, coerce=True) for name, kind in kinds.items()}
    schema = pa_schema.DataFrameSchema(columns, strict=True)
    rows = pd.DataFrame({"k": ["1", "1"], "t": ["2024-01-01", "2024-01-02"], "x": [0, 1]})
    store(tmp_path, rows, fti.Changes(deletes=rows.head(1)[["k", "t"]]), schema=schema, event_time="t")
    assert stored(tmp_path) == {1: 1}


def test_deletes_that_no_schema_can_coerce_are_refused(tmp_path: Path) -> None:
    schema = pa_schema.DataFrameSchema({"k": pa_schema.Column(int)}, coerce=True)
    store(tmp_path, rows_of("1"), schema=schema)
    with pytest.raises(DataError, match="have 'k' as VARCHAR, BIGINT is stored: cast it to the type of the rows"):
        store(tmp_path, deletes_of("one"), schema=schema)
    assert stored(tmp_path) == {1: 0}
