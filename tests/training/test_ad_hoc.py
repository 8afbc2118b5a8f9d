"""Ad-hoc point-in-time joins: the features of a view for rows that somebody brings."""

import random
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pandera.pandas as pandera
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets import testing
from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.core.times import duration, microseconds
from fti_assets.errors import DataError, NotMaterializedError, StoreError
from tests.features import oracles
from tests.features.oracles import START, Row
from tests.on_demand import big, ratio_of
from tests.support.examples import examples
from tests.testing.shop import FIRST, LAST, dataset, habits, outcomes, visits

MINUTE = timedelta(minutes=1)


def nasty(seed: int) -> list[Row]:
    """Rows that tie, arrive late and expire."""
    rng = random.Random(seed)
    results: dict[Any, Row] = {}
    for _ in range(90):
        e = rng.randrange(0, 60)
        a = e + rng.choice([0, 0, 1, 7, 30, -3])
        k = rng.choice("xyz")
        results[k, e, a] = {"k": k, "e": START + e * MINUTE, "a": START + a * MINUTE, "x": rng.choice([None, 1.5, e])}
    return list(results.values())


READINGS = nasty(3)
PLACES = [{"k": "x", "size": 2.0}, {"k": "y", "size": None}]


@fti.feature_group(keys=["k"], event_time="e", available_at="a", ttl="10min")
def readings() -> pd.DataFrame:
    return pd.DataFrame(READINGS)


@fti.feature_group(keys=["k"])
def places() -> pd.DataFrame:
    return pd.DataFrame(PLACES)


COLUMNS = {"id": int, "t": "datetime64[ns]", "place": str, "own": float, "y": float}


@fti.feature_group(
    keys=["id"],
    event_time="t",
    schema=pandera.DataFrameSchema({name: pandera.Column(kind, nullable=True) for name, kind in COLUMNS.items()}),
)
def asked() -> pd.DataFrame: ...


VIEW = fti.FeatureView(
    name="asking",
    spine=asked,
    label=fti.Label(asked["y"]),
    features=[asked["own"], big, readings.on(place="k")["x"], ratio_of, places.on(place="k")["size"]],
)
JOINS = [
    JoinedGroup(
        "readings", 1, (JoinedKey("place", "k", "text"),), (JoinedColumn("x", "x", "number"),), event_time="e",
        available_at="a", ttl_us=microseconds(duration("10min")),
    ),
    JoinedGroup("places", 1, (JoinedKey("place", "k", "text"),), (JoinedColumn("size", "size", "number"),)),
]  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    """The groups, but not the spine: its schema tells its types."""
    stores = testing.stores_in(tmp_path_factory.mktemp("ad_hoc"))
    testing.materialize(readings, places, stores=stores)
    return stores


def row(id: int = 1, minute: float = 20, place: str | None = "x", own: float | None = 0.5) -> Row:
    return {"id": id, "t": START + minute * MINUTE, "place": place, "own": own}


def expected(rows: list[Row]) -> list[Row]:
    """By brute force: the oracle's joins, then the on-demand functions in plain Python."""
    joined = oracles.point_in_time(rows, JOINS, {"readings_v1": READINGS, "places_v1": PLACES}, "t")
    results = []
    for given_row, (x, size) in zip(rows, joined, strict=True):
        ratio = None if x is None or size is None else x / size
        made = {"is_big": None if ratio is None else ratio > 1, "bucket": None if ratio is None else int(ratio // 1)}
        results.append({**given_row, **made, "x": x, "ratio": ratio, "size": size})
    return results


@settings(max_examples=examples(6), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spine=st.lists(
        st.builds(
            row, st.integers(0, 5), st.integers(-5, 110), st.sampled_from(["x", "y", "z", "?", None]),
            st.sampled_from([None, 1.0]),
        ),
        min_size=1, max_size=40,
    )
)  # fmt: skip
def test_features_equal_brute_force_in_row_order(stores: fti.Stores, spine: list[Row]) -> None:
    assert VIEW.features_for(spine, stores=stores) == expected(spine)


def test_features_are_those_of_the_training_dataset(tmp_path_factory: pytest.TempPathFactory) -> None:
    stores = testing.stores_in(tmp_path_factory.mktemp("shop"))
    testing.materialize(visits, outcomes, habits, stores=stores, partition=(FIRST, LAST))
    done = testing.materialize(dataset, stores=stores, partition="2025-01-07")
    stored = done.rows(dataset, partitions=["2025-01-07"]).drop(columns=["bought", "split"])
    spine = done.rows(visits).sample(frac=1, random_state=1)
    features = dataset.view.features_for(spine, stores=stores)
    assert len(features) == len(spine) > len(stored)
    assert (features["visit_id"] == spine["visit_id"]).all()
    order = ["t", "visit_id"]
    of_dataset = features[features["visit_id"].isin(stored["visit_id"])].sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(of_dataset[list(stored)], stored.sort_values(order, ignore_index=True))
    assert stored["bought_6h"].notna().any()


@pytest.fixture
def spine() -> list[Row]:
    return [row(2, 30, "y"), row(1, 20, "x", None), row(2, 30, "y")]


@pytest.mark.soak
def test_the_kind_of_the_rows_is_kept(stores: fti.Stores, spine: list[Row]) -> None:
    wanted = expected(spine)
    frame = pd.DataFrame(spine).set_index(pd.Index(["a", "b", "c"]))
    of_pandas = VIEW.features_for(frame, stores=stores)
    assert isinstance(of_pandas, pd.DataFrame)
    assert list(of_pandas.index) == ["a", "b", "c"]
    assert list(of_pandas["x"].fillna(-1)) == [-1 if one["x"] is None else one["x"] for one in wanted]
    of_polars = VIEW.features_for(pl.DataFrame(spine), stores=stores)
    assert isinstance(of_polars, pl.DataFrame)
    assert of_polars.to_dicts() == wanted
    of_arrow = VIEW.features_for(pa.Table.from_pylist(spine), stores=stores)
    assert isinstance(of_arrow, pa.Table)
    assert of_arrow.to_pylist() == wanted
    with duckdb.connect() as connection:
        relation = connection.from_arrow(pa.Table.from_pylist(spine))
        of_relation = VIEW.features_for(relation, stores=stores)
        assert isinstance(of_relation, duckdb.DuckDBPyRelation)
        assert of_relation.to_arrow_table().to_pylist() == wanted
    assert VIEW.features_for(frame, stores=stores, as_="dicts") == wanted


def test_outputs_have_the_types_that_are_declared(stores: fti.Stores, spine: list[Row]) -> None:
    table = VIEW.features_for(spine, stores=stores, as_="arrow")
    types = {field.name: str(field.type) for field in table.schema}
    assert types == {
        "id": "int64", "t": "timestamp[us]", "place": "string", "own": "double", "is_big": "bool", "bucket": "int64",
        "x": "double", "ratio": "double", "size": "double",
    }  # fmt: skip


def test_one_instant_for_all_rows(stores: fti.Stores, spine: list[Row]) -> None:
    timeless = [{name: value for name, value in one.items() if name != "t"} for one in spine]
    at = START + 30 * MINUTE
    wanted = expected([{**one, "t": at} for one in timeless])
    for moment in (at, at.isoformat(), at.replace(tzinfo=UTC)):
        results = VIEW.features_for(timeless, at=moment, stores=stores)
        assert [{**one} for one in results] == wanted
        assert list(results[0])[:4] == ["id", "place", "own", "t"]


@pytest.mark.soak
def test_times_with_zone_and_iso_text_are_taken_as_utc(stores: fti.Stores) -> None:
    wanted = expected([row()])
    zone = timezone(timedelta(hours=2))
    texts = (
        "2013-01-01T02:20:00+02:00",
        "2013-01-01 00:20:00",
        "2013-01-01T00:20Z",
        "2013-01-01T02:20+02:00",
        "20130101T0020",
    )
    zoned = {**row(), "t": row()["t"].replace(tzinfo=UTC).astimezone(zone)}
    assert VIEW.features_for([zoned], stores=stores) == wanted
    assert VIEW.features_for([{**row(), "t": text} for text in texts], stores=stores) == wanted * len(texts)
    for named in ("America/New_York", "+02:00", "UTC"):
        stamp = pl.Series([START + 20 * MINUTE]).dt.replace_time_zone("UTC").to_arrow().cast(pa.timestamp("us", named))
        table = pa.Table.from_pylist([row()]).drop_columns("t").append_column("t", stamp)
        assert VIEW.features_for(table, stores=stores, as_="dicts") == [
            {name: wanted[0][name] for name in ("id", "place", "own", "t", "is_big", "bucket", "x", "ratio", "size")}
        ]
    stamped = pd.DataFrame([row()]).assign(t=pd.Timestamp("2013-01-01 02:20", tz=zone), place=pd.Categorical(["x"]))
    assert VIEW.features_for(stamped, stores=stores, as_="dicts") == wanted


def test_unknown_columns_are_kept_unless_named_like_a_feature(
    stores: fti.Stores,
) -> None:
    result = VIEW.features_for([{"Note": "n", **row(), "x": -1.0, "is_big": None}], stores=stores)
    assert result == [{"Note": "n", **expected([row()])[0]}]


def test_numbers_and_missing_values_come_in_every_form_that_loses_nothing(stores: fti.Stores) -> None:
    frame = pd.DataFrame({"id": [1.0, np.nan], "t": START + 20 * MINUTE, "place": ["x", None], "own": [1, 2]})
    results = VIEW.features_for(frame, stores=stores, as_="dicts")
    assert [(one["id"], one["own"], one["x"]) for one in results] == [
        (1, 1.0, expected([row()])[0]["x"]),
        (None, 2.0, None),
    ]
    empty = pd.DataFrame({"id": [1], "t": [None], "place": [None], "own": [None]})
    assert VIEW.features_for(empty, stores=stores, as_="dicts")[0]["x"] is None


@pytest.mark.soak
def test_a_snapshot_is_joined_as_it_was(tmp_path: Any) -> None:
    stores = testing.stores_in(tmp_path)
    testing.materialize(readings, places, stores=stores)
    with stores.offline_store().connect() as lake:
        before = lake.snapshot()

    @fti.feature_group(keys=["k"], name="places")
    def other_places() -> pd.DataFrame:
        return pd.DataFrame([{"k": "x", "size": 4.0}])

    testing.materialize(other_places, stores=stores)
    assert VIEW.features_for([row()], stores=stores)[0]["size"] == 4.0
    assert VIEW.features_for([row()], stores=stores, snapshot=before)[0]["size"] == 2.0


WITHOUT = {"id": 1, "place": "x", "own": 0.5}


@pytest.mark.parametrize(
    ("spine", "options", "message"),
    [
        ([{"id": 1, "t": START}], {}, "view 'asking' has no column 'own' and 'place': it needs 'id', 'own', 'place' or 't' and"),
        ([WITHOUT], {}, "has no column 't'.*at=... gives every row one 't'"),
        ([row()], {"at": START}, "it has a column 't', a time for each row: leave at= out"),
        ([{**row(), "place": 3}], {}, "has 'place' as BIGINT, text is expected"),
        ([{**row(), "own": "3"}], {}, "has 'own' as VARCHAR, number is expected"),
        ([{**row(), "own": True}], {}, "has 'own' as BOOLEAN, number is expected"),
        ([{**row(), "id": 1.5}], {}, "has 'id' with 1.5, a DOUBLE: a whole number is expected"),
        ([{**row(), "id": 1e30}], {}, "has 'id' with 1e[+]30, a DOUBLE: a whole number of 64 bits is expected"),
        ([{**row(), "id": 2**64}], {}, "a column whose values have no one type: 18446744073709551616 is beyond the whole numbers"),
        ([{**row(), "t": 3}], {}, "has 't' as BIGINT, timestamp is expected"),
        ([{**row(), "t": "soon"}], {}, "has 't' with 'soon', a VARCHAR: ISO text is expected"),
        ([{**row(), "own": 1}, {**row(), "own": "a"}], {}, "a column whose values have no one type"),
        ([{**row(), "__fti_row": 1}], {}, "a column '__fti_row', a name that plans keep"),
        ([{**row(), "Own": 1}], {}, "has columns 'own' and 'Own', which SQL takes for one: give each"),
        ({"id": 1}, {}, "the spine given to view 'asking' is a dict: give a pandas or polars DataFrame"),
        ([1, 2], {}, "is a list: give a pandas"),
        (pd.DataFrame([[1, 2]], columns=["id", "id"]), {}, "cannot be taken: Duplicate column names|two columns 'id'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_rows_is_said(
    stores: fti.Stores, spine: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        VIEW.features_for(spine, stores=stores, **options)


def test_what_is_wrong_with_the_question_is_said(stores: fti.Stores, tmp_path: Any) -> None:
    with pytest.raises(StoreError, match="as_ is 'numpy': rows come as 'pandas', 'polars'"):
        VIEW.features_for([row()], stores=stores, as_="numpy")  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="at is 'soon', where a datetime or ISO text is expected"):
        VIEW.features_for([WITHOUT], stores=stores, at="soon")
    with pytest.raises(NotMaterializedError, match="no snapshot 99"):
        VIEW.features_for([row()], stores=stores, snapshot=99)
    with pytest.raises(NotMaterializedError, match="there is no offline store at .* the groups of view 'asking'"):
        VIEW.features_for([row()], stores=testing.stores_in(tmp_path))
    part = testing.stores_in(tmp_path)
    testing.materialize(readings, stores=part)
    with pytest.raises(NotMaterializedError, match="features.places_v1 is not in the offline store"):
        VIEW.features_for([row()], stores=part)
    timeless = fti.FeatureView(name="timeless", spine=places, label=fti.Label(places["size"]), features=[places["k"]],
                               encoders={"k": fti.OneHot()})  # fmt: skip
    with pytest.raises(DataError, match="given at=2013-01-01 00:00:00, but its view has no times"):
        timeless.features_for([{"k": "x"}], stores=stores, at=START)


@pytest.mark.soak
def test_hundreds_of_columns_are_checked_each(tmp_path: Path) -> None:
    names = [f"x{at}" for at in range(300)]
    frame = pd.DataFrame({"id": range(50), "at": START, "y": 1} | dict.fromkeys(names, range(50)))

    @fti.feature_group(keys=["id"], event_time="at")
    def wide() -> pd.DataFrame:
        return frame.drop(columns="y")

    @fti.feature_group(keys=["id"], event_time="at")
    def outcome() -> pd.DataFrame:
        return frame[["id", "at", "y"]]

    view = fti.FeatureView(name="wide", spine=wide, label=fti.Label(outcome["y"]), features=[wide[tuple(names)]])
    stores = testing.materialize(wide, outcome, stores=testing.stores_in(tmp_path)).stores
    results = view.features_for(frame.astype(dict.fromkeys(names, float)), stores=stores)
    assert results[names].to_numpy().tolist() == [[at] * 300 for at in range(50)]
    wrong = frame.astype({"x7": float, "x200": float}).assign(x200=0.5)
    wrong.loc[3, "x7"] = 1.5
    with pytest.raises(DataError, match="has 'x7' with 1.5, a DOUBLE: a whole number is expected"):
        view.features_for(wrong, stores=stores)


@fti.feature_group(keys=["n"])
def numbered() -> pd.DataFrame:
    return pd.DataFrame({"n": range(4), "amount": [1, 2, 3, 4], "x": [0.5, 1.5, 2.5, 3.5], "y": [0, 1, 0, 1]})


NUMBERED = fti.FeatureView(
    name="numbering", spine=numbered, label=fti.Label(numbered["y"]), features=[numbered["amount", "x"]]
)


@pytest.fixture(scope="module")
def numbered_stores(tmp_path_factory):
    stores = testing.stores_in(tmp_path_factory.mktemp("numbered"))
    assert testing.materialize(numbered, stores=stores).success
    return stores


LARGE = 2**62 + 1


@pytest.mark.soak
@pytest.mark.parametrize("number", [Decimal(2), Decimal("2.00"), Decimal(LARGE), Decimal(f"{LARGE}.000")])
@pytest.mark.parametrize("as_frame", [list, pd.DataFrame, pa.Table.from_pylist])
def test_whole_decimals_are_whole_numbers(numbered_stores, number, as_frame):
    inputs = as_frame([{"n": number, "amount": number, "x": Decimal("0.5")}])
    result = NUMBERED.features_for(inputs, stores=numbered_stores, as_="dicts")
    assert result == [{"n": int(number), "amount": int(number), "x": 0.5}]


@pytest.mark.parametrize("number", [Decimal("2.5"), Decimal(2**63)])
def test_decimals_that_are_no_whole_numbers_are_refused(numbered_stores, number):
    with pytest.raises(DataError, match="'amount' with Decimal.* a whole number"):
        NUMBERED.features_for([{"n": 1, "amount": number, "x": 0.5}], stores=numbered_stores)


HALF = np.array([1.5, 2.0], dtype="float16")


@pytest.mark.parametrize(
    "given",
    [
        pd.DataFrame({"n": [1, 2], "amount": HALF.astype("float32") * 2, "x": HALF}),
        pa.table(
            {
                "n": [1, 2],
                "amount": [3, 4],
                "x": pa.array(HALF),
                "more": pa.array([[HALF[0]], None], pa.list_(pa.float16())),
            }
        ),
        [{"n": 1, "amount": 3, "x": HALF[0]}, {"n": 2, "amount": 4, "x": HALF[1]}],
    ],
    ids=["pandas", "arrow", "dicts"],
)
def test_floats_of_16_bits_are_taken(numbered_stores, given):
    results = NUMBERED.features_for(given, stores=numbered_stores, as_="dicts")
    assert [(row["amount"], row["x"]) for row in results] == [(3, 1.5), (4, 2.0)]
