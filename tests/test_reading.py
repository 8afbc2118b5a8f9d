"""Rows for a notebook."""

import builtins
import gc
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.core.manifest import JoinedGroup, JoinedKey
from fti_assets.errors import MissingExtraError, NotMaterializedError, StoreError
from tests.features import oracles

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-05")


@fti.feature_group(keys=["id"], event_time="t", partitions_def=DAYS)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    starts = [datetime.replace(tzinfo=None) for datetime in (context.partition_time_window.start,)]
    return pd.DataFrame({"id": [starts[0].day], "t": starts, "spend": [starts[0].day / 2]})


MINUTE = timedelta(minutes=1)
MOVES = [
    {"k": k, "e": oracles.START + e * MINUTE, "a": oracles.START + a * MINUTE, "x": x}
    for k, e, a, x in [
        ("x", 0, 0, 1.0), ("x", 10, 30, 2.0), ("x", 20, 20, None), ("x", 20, 25, 4.0), ("y", 5, 50, 5.0), ("y", 6, 6, 6.0),
    ]
]  # fmt: skip


@fti.feature_group(keys=["k"], event_time="e", available_at="a", ttl="15min")
def moves() -> pd.DataFrame:
    return pd.DataFrame(MOVES)


@fti.feature_group(keys=["k"])
def places() -> pd.DataFrame:
    return pd.DataFrame({"k": ["x", "y"], "size": [1, 2]})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    with dg.DagsterInstance.ephemeral() as instance:
        for day in ("2013-01-01", "2013-01-02"):
            resources = {"fti": fti.Stores(lake=str(home / "lake"))}
            dg.materialize([visits.assets_def], instance=instance, resources=resources, partition_key=day)
        dg.materialize([moves.assets_def, places.assets_def], instance=instance, resources=resources)
    return home


@pytest.fixture
def stores(home: Path) -> fti.Stores:
    return fti.Stores(lake=str(home / "lake"))


def test_all_rows_are_read(stores: fti.Stores) -> None:
    rows = fti.read(visits, stores=stores).sort_values("id", ignore_index=True)
    times = pd.to_datetime(["2013-01-01", "2013-01-02"]).astype("datetime64[us]")
    expected = pd.DataFrame({"id": [1, 2], "t": times, "spend": [0.5, 1.0]})
    pd.testing.assert_frame_equal(rows, expected)


def test_some_columns_of_some_partitions_are_read(stores: fti.Stores) -> None:
    rows = fti.read(visits, columns=["spend", "id"], partitions=["2013-01-02"], stores=stores)
    assert rows.to_dict("list") == {"spend": [1.0], "id": [2]}


def test_a_snapshot_is_read_as_it_was(stores: fti.Stores) -> None:
    first, second = snapshots(stores, "visits_v1")
    assert len(fti.read(visits, snapshot=second[0], stores=stores)) == 2
    assert len(fti.read(visits, snapshot=first[0], stores=stores)) == 1
    assert len(fti.read(visits, snapshot=first[1], stores=stores)) == 1  # committed at that very instant
    assert len(fti.read(visits, snapshot=(second[1] - timedelta(microseconds=1)).isoformat(), stores=stores)) == 1
    assert len(fti.read(visits, snapshot=datetime.now(UTC), stores=stores)) == 2


def snapshots(stores: fti.Stores, asset: str) -> list[tuple[int, datetime]]:
    """The snapshots that an asset made, with their times."""
    with stores.offline_store().connect() as lake:
        return lake.connection.execute(
            "SELECT snapshot_id::INTEGER, snapshot_time::TIMESTAMP FROM lake.snapshots() WHERE commit_message = ? ORDER BY 1",
            [f"materialize {asset}"],
        ).fetchall()


def test_the_stores_are_those_of_the_home_by_default(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTI_HOME", str(home))
    assert len(fti.read(visits)) == 2


def test_what_was_never_materialized_is_named_with_what_there_is(stores: fti.Stores) -> None:
    @fti.feature_group(keys=["id"])
    def others() -> pd.DataFrame: ...

    with pytest.raises(NotMaterializedError, match=r"features.others_v1 is not in .*which has .*'features.visits_v1'"):
        fti.read(others, stores=stores)


@pytest.mark.parametrize("name", ["visits", "features.visits"])
def test_a_name_without_its_version_is_told_the_versions(stores: fti.Stores, name: str) -> None:
    with pytest.raises(NotMaterializedError, match=f"has no table '{name}'.*; say 'visits_v1'$"):
        fti.read(name, stores=stores)


def test_partition_never_materialized_is_named_with_what_there_is(stores: fti.Stores) -> None:
    with pytest.raises(NotMaterializedError, match="features.visits_v1 has no partition '2013-01-03'.*'2013-01-02'"):
        fti.read(visits, partitions=["2013-01-01", "2013-01-03"], stores=stores)


def test_an_unknown_column_is_named_with_what_there_is(stores: fti.Stores) -> None:
    with pytest.raises(StoreError, match="features.visits_v1 has no column 'spent': it has 'id', 't' and 'spend'"):
        fti.read(visits, columns=["spent"], stores=stores)


def test_reading_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(NotMaterializedError, match="there is no offline store"):
        fti.read(visits, stores=fti.Stores(lake=str(tmp_path / "lake")))
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("minute", [0, 4, 6, 10, 20, 24, 25, 29, 30, 35, 35.5, 50, 60])
def test_at_instant_each_key_has_row_that_wins_then(stores: fti.Stores, minute: float) -> None:
    at = oracles.START + minute * MINUTE
    key = (JoinedKey("k", "k", "text"),)
    group = JoinedGroup("moves", 1, key, (), event_time="e", available_at="a", ttl_us=15 * 60 * 1_000_000)
    wanted = [row for k in "xy" if (row := oracles.winner(group, MOVES, [k], at)) is not None]
    results = fti.read(moves, at=at.replace(tzinfo=UTC), as_="dicts", stores=stores)
    assert sorted(results, key=lambda row: str(row["k"])) == wanted


def test_at_instant_lookup_is_whole_and_columns_can_be_chosen(stores: fti.Stores) -> None:
    assert len(fti.read(places, at="2013-01-01", stores=stores)) == 2
    assert sorted(fti.read(moves, at="2013-01-01T00:06Z", columns=["x"], stores=stores)["x"]) == [1.0, 6.0]


def test_an_instant_before_anything_was_visible_is_told(stores: fti.Stores) -> None:
    with pytest.raises(
        NotMaterializedError, match="moves_v1 had no row that was visible at 2012-.*first became visible at 2013-01"
    ):
        fti.read(moves, at="2012-12-31T23:59:59Z", stores=stores)


@pytest.mark.parametrize(
    ("declaration", "options", "message"),
    [
        ("moves_v1", {"at": "2013-01-01"}, "'moves_v1' cannot be read at=2013-01-01 00:00:00: a name does not say"),
        (visits, {"at": "2013-01-02", "partitions": ["2013-01-01"]}, "visits_v1 cannot be read at=.* from some partitions"),
        (moves, {"at": "soon"}, "at is 'soon', where a datetime or ISO text is expected"),
        (moves, {"snapshot": "soon"}, "snapshot is 'soon', where"),
        (moves, {"snapshot": -1}, "no snapshot -1: its newest is"),
        (moves, {"snapshot": 10_000}, "no snapshot 10000: its newest is"),
        (moves, {"snapshot": "1999-01-01"}, "no snapshot that was committed at or before 1999-01-01 00:00:00: its oldest, 0"),
        (moves, {"snapshot": 0}, "features.moves_v1 was not there yet at snapshot 0"),
        (moves, {"as_": "numpy"}, "as_ is 'numpy': rows come as 'pandas', 'polars', 'arrow', 'relation' or 'dicts'"),
        ("move_v1", {}, "no table 'move_v1': it has 'features.moves_v1', 'features.places_v1' and 'features.visits_v1'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(
    stores: fti.Stores, declaration: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        fti.read(declaration, stores=stores, **options)


def test_an_expired_snapshot_is_called_so(tmp_path: Path) -> None:
    stores = testing.stores_in(tmp_path)
    testing.materialize(moves, places, stores=stores)
    with stores.offline_store().connect() as lake:
        ((expired, _),) = snapshots(stores, "moves_v1")
        newest = lake.snapshot()
        lake.connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => [{expired}])")
    message = f"no snapshot {expired} any more, it is expired: {expired - 1} and {newest} can be read"
    with pytest.raises(NotMaterializedError, match=message):
        fti.read(moves, snapshot=expired, stores=stores)


def test_a_table_is_read_by_its_name(stores: fti.Stores) -> None:
    for name in ("visits_v1", "features.visits_v1"):
        assert fti.read(name, columns=["id"], partitions=["2013-01-02"], stores=stores)["id"].tolist() == [2]


def test_rows_come_as_what_is_asked_for(stores: fti.Stores) -> None:
    what: dict[str, Any] = {"columns": ["id", "spend"], "partitions": ["2013-01-02"], "stores": stores}
    assert isinstance(fti.read(visits, as_="pandas", **what), pd.DataFrame)
    of_polars = fti.read(visits, as_="polars", **what)
    assert isinstance(of_polars, pl.DataFrame)
    of_arrow = fti.read(visits, as_="arrow", **what)
    assert isinstance(of_arrow, pa.Table)
    assert (
        of_polars.to_dicts()
        == of_arrow.to_pylist()
        == fti.read(visits, as_="dicts", **what)
        == [{"id": 2, "spend": 1.0}]
    )


def test_polars_that_is_not_installed_is_told(stores: fti.Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_polars(name: str, *others: Any, **named: Any) -> Any:
        if name == "polars":
            raise ModuleNotFoundError(name)
        return real(name, *others, **named)

    monkeypatch.setattr(builtins, "__import__", without_polars)
    with pytest.raises(MissingExtraError, match="polars is not installed: pip install polars, or take as_='pandas'"):
        fti.read(visits, as_="polars", stores=stores)


def test_a_relation_holds_its_connection(stores: fti.Stores) -> None:
    relation = fti.read(visits, as_="relation", stores=stores)
    assert isinstance(relation, duckdb.DuckDBPyRelation)
    derived = relation.filter("id = 2").project("spend")
    joined = relation.join(fti.read(places, as_="relation", stores=stores), condition="id = size")
    del relation
    gc.collect()
    assert derived.fetchall() == [(1.0,)]
    assert len(joined.fetchall()) == 2


@pytest.mark.soak
def test_threads_read_relations_beside_each_other(stores: fti.Stores) -> None:
    expected = sorted(fti.read(visits, stores=stores)["id"])

    def ids(_: int) -> list[int]:
        relations = [fti.read(group, as_="relation", stores=stores) for group in (visits, places, visits)]
        return sorted(results for (results,) in relations[-1].project("id").fetchall())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ids, range(12))) == [expected] * 12


@pytest.mark.soak
def test_a_program_that_read_relations_leaves_nothing_behind(stores: fti.Stores, tmp_path: Path) -> None:
    """DuckDB's threads may hold what they ran last, so that the folder of a connection goes with the program at the latest."""
    program = (
        f"import os, fti_assets as fti; rows = fti.read('visits_v1', as_='relation', stores=fti.Stores(lake={stores.lake!r})); "
        f"print(rows.filter('id = 2').fetchall(), len(os.listdir({str(tmp_path)!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("1.0)] 1\n")
    assert not list(tmp_path.iterdir())


def test_relation_stays_when_more_is_stored(tmp_path: Path) -> None:
    stores = testing.stores_in(tmp_path)
    testing.materialize(visits, stores=stores, partition="2013-01-01")
    before = fti.read(visits, as_="relation", stores=stores)
    testing.materialize(visits, stores=stores, partition="2013-01-02")
    assert len(before.fetchall()) == 1
    assert len(fti.read(visits, as_="relation", stores=stores).fetchall()) == 2
