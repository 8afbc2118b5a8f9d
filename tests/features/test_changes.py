"""Row-level changes: a feed ends as if its operations had been done one at a time, each batch in one commit."""

import dataclasses
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.errors import DataError, DeclarationError, SchemaChangedError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.rows.changes import ChangeFeed, net_changes
from fti_assets.testing import materialize, stores_in
from tests.features.oracles import START, Row, connection, relation
from tests.support.examples import examples

HOUR = timedelta(hours=1)
COLUMNS = {"id": "BIGINT", "at": "TIMESTAMP", "x": "BIGINT", "op": "VARCHAR", "lsn": "BIGINT"}
operations = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 5), st.sampled_from(["c", "u", "d"])), max_size=12
)
batches = st.lists(operations, min_size=1, max_size=4)


def feed_rows(changes: Sequence[tuple[int, int, int, str]], first: int = 0) -> list[Row]:
    return [
        {
            "id": i,
            "at": None if op == "d" else START + t * HOUR,
            "x": None if op == "d" else x,
            "op": op,
            "lsn": first + n,
        }
        for n, (i, t, x, op) in enumerate(changes)
    ]


def one_at_a_time(stored: dict[Any, int], rows: Sequence[Row]) -> dict[Any, int]:
    """The oracle: what is stored after each operation was done in its turn."""
    state = dict(stored)
    for row in sorted(rows, key=lambda row: row["lsn"]):
        if row["op"] == "d":
            state = {key: x for key, x in state.items() if key[0] != row["id"]}
        else:
            state[row["id"], row["at"]] = row["x"]
    return state


@given(operations, st.randoms())
@settings(max_examples=examples(80))
def test_feed_comes_to_what_its_operations_come_to_singly(
    changes: list[tuple[int, int, int, str]], shuffle: Any
) -> None:
    rows = feed_rows(changes)
    shuffled = list(rows)
    shuffle.shuffle(shuffled)
    stored = {(i, START + t * HOUR): 100 for i in range(4) for t in range(3)}
    with connection() as con:
        feed = relation(con, COLUMNS, shuffled)
        net = net_changes(
            con,
            feed,
            ChangeFeed(None),
            keys=["id"],
            identity=["id", "at"],
            extras=["id", "at", "x"],
            what="balances_v1",
        )
        deleted = {key for (key,) in net.deletes.fetchall()}
        upserts = {(i, at): x for i, at, x in net.upserts.project('id, "at", x').fetchall()}
        assert net.upserts.columns == ["id", "at", "x"]
        assert net.position == (str(len(rows) - 1) if rows else None)
    left = {key: x for key, x in stored.items() if key[0] not in deleted}
    assert left | upserts == one_at_a_time(stored, rows)


def feed_of(rows: Sequence[Row], **named: Any) -> ChangeFeed:
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"at": "datetime64[us]", "x": "Int64", "id": "int64"})
    return fti.ChangeFeed(frame, **named)


def balances(give: Callable[[fti.FeedPosition], Any], **options: Any) -> FeatureGroup:
    @fti.feature_group(keys=["id"], event_time="at", name="balances", **options)
    def group(position: fti.FeedPosition) -> Any:
        return give(position)

    return group


def stored(folder: Path) -> dict[Any, int]:
    rows = fti.read(balances(lambda _: None), stores=stores_in(folder))
    return {(row.id, row.at.to_pydatetime()): row.x for row in rows.itertuples()}


@pytest.mark.soak
@given(batches)
@settings(max_examples=examples(3))
def test_batches_are_one_commit_each_and_leave_version_of_full_reload(
    tmp_path_factory: pytest.TempPathFactory, of_batches: list[list[tuple[int, int, int, str]]]
) -> None:
    folder, first, expected = tmp_path_factory.mktemp("lake"), 0, {}
    for changes in of_batches:
        rows = feed_rows(changes, first)
        first += len(rows)
        before = snapshot(folder)
        materialize(balances(lambda _, rows=rows: feed_of(rows)), stores=stores_in(folder))
        expected = one_at_a_time(expected, rows)
        assert stored(folder) == expected
        assert before is None or snapshot(folder) - before == 1
    whole = pd.DataFrame([(i, at, x) for (i, at), x in expected.items()], columns=["id", "at", "x"])
    reloaded = tmp_path_factory.mktemp("reloaded")
    frame = whole.astype({"id": "int64", "at": "datetime64[us]", "x": "Int64"})
    materialize(balances(lambda _: frame), stores=stores_in(reloaded))
    assert version(folder) == version(reloaded)


def snapshot(folder: Path) -> int | None:
    with stores_in(folder).offline_store().connect() as lake:
        return lake.snapshot() if lake.tables() else None


def version(folder: Path) -> str:
    with stores_in(folder).offline_store().connect() as lake:
        record = lake.ledger(balances(lambda _: None).table)["all"]
        assert record.rows == len(lake.rows(balances(lambda _: None).table).fetchall())
        return record.data_version


AT = pd.Timestamp("2024-01-01").as_unit("us")


def rows_of(*pairs: tuple[int, int], at: pd.Timestamp = AT) -> pd.DataFrame:
    return pd.DataFrame({"id": [i for i, _ in pairs], "at": at, "x": [x for _, x in pairs]})


def done(folder: Path, *batches_given: Any) -> list[dict[str, Any]]:
    """The metadata of each batch's materialization, one run after another."""
    messages = []
    for batch in batches_given:
        run = materialize(balances(lambda _, batch=batch: batch), stores=stores_in(folder)).runs["balances_v1"]
        (event,) = run.get_asset_materialization_events()
        messages.append({name: value.value for name, value in event.materialization.metadata.items()})
    return messages


def test_upserts_replace_and_add_appends_add_and_deletes_remove(tmp_path: Path) -> None:
    first, second, third, fourth = done(
        tmp_path,
        fti.Changes(upserts=rows_of((1, 10), (2, 20), (3, 30))),
        fti.Changes(upserts=rows_of((2, 21), (4, 40))),
        fti.Changes(appends=rows_of((1, 11), at=AT + HOUR), deletes=pd.DataFrame({"id": [3]})),
        fti.Changes(deletes=rows_of((1, 0))[["id", "at"]]),
    )
    counts = [
        [result[f"rows_{name}"] for name in ("added", "replaced", "deleted")] for result in (first, second, third)
    ]
    assert counts == [[3, 0, 0], [1, 1, 0], [1, 0, 1]]
    assert fourth["rows_deleted"] == 1
    assert stored(tmp_path) == {(1, AT + HOUR): 11, (2, AT): 21, (4, AT): 40}


def test_deletes_and_feeds_with_times_as_iso_text_mean_those_instants(tmp_path: Path) -> None:
    texts = ["2024-01-01T02:00+02:00", "2024-01-01T00:00:00Z", "2024-01-01T01:00Z"]
    feed = pd.DataFrame({"id": [1, 1, 2], "at": texts, "x": [10, 11, 20], "op": "u", "lsn": [1, 2, 3]})
    done(tmp_path, fti.ChangeFeed(feed))
    assert stored(tmp_path) == {(1, AT): 11, (2, AT + HOUR): 20}
    done(tmp_path, fti.Changes(deletes=pd.DataFrame({"id": [1], "at": ["2024-01-01T01:00+01:00"]})))
    assert stored(tmp_path) == {(2, AT + HOUR): 20}


def test_a_batch_that_is_stored_again_changes_nothing(tmp_path: Path) -> None:
    batch = fti.Changes(upserts=rows_of((1, 10), (2, 20)), deletes=pd.DataFrame({"id": [2]}))
    done(tmp_path, batch)
    before = version(tmp_path)
    done(tmp_path, batch)
    assert (stored(tmp_path), version(tmp_path)) == ({(1, AT): 10, (2, AT): 20}, before)


def test_appended_rows_must_be_new_unless_their_key_is_deleted_first(tmp_path: Path) -> None:
    done(tmp_path, fti.Changes(appends=rows_of((1, 10))))
    with pytest.raises(dg.Failure, match=r"1 row to append with the same id, at as stored rows of balances_v1"):
        done(tmp_path, fti.Changes(appends=rows_of((1, 11), (2, 20))))
    assert stored(tmp_path) == {(1, AT): 10}
    done(tmp_path, fti.Changes(appends=rows_of((1, 11)), deletes=pd.DataFrame({"id": [1]})))
    assert stored(tmp_path) == {(1, AT): 11}


def test_rule_that_more_rows_break_is_told_of_appended_rows(tmp_path: Path) -> None:
    done(tmp_path, fti.Changes(appends=rows_of((1, 10))))
    with pytest.raises(dg.Failure, match="4 rows of balances_v1 with the same id, at as another"):
        done(tmp_path, fti.Changes(appends=rows_of((1, 11), (2, 20), (2, 21), (3, 30), (3, 31))))


@pytest.mark.soak
def test_next_run_gets_position_and_full_reload_forgets_it(tmp_path: Path) -> None:
    observed: list[str | None] = []

    def give(batch: Any) -> Callable[[fti.FeedPosition], Any]:
        return lambda position: (observed.append(position.value), batch)[1]

    stores = stores_in(tmp_path)
    for batch in (
        fti.Changes(upserts=rows_of((1, 10)), position="lsn-1"),
        fti.Changes(),
        feed_of([{"id": 1, "at": AT, "x": 3, "op": "u", "lsn": 7}]),
        rows_of((9, 9)),
        fti.Changes(),
    ):
        materialize(balances(give(batch)), stores=stores)
    assert observed == [None, "lsn-1", "lsn-1", "7", None]
    assert stored(tmp_path) == {(9, AT): 9}


def test_of_two_runs_that_read_one_position_one_is_stored(tmp_path: Path) -> None:
    done(tmp_path, fti.Changes(upserts=rows_of((1, 10)), position="1"))

    def overtaken(_: fti.FeedPosition) -> Any:
        done(tmp_path, fti.Changes(upserts=rows_of((1, 11)), position="2"))
        return fti.Changes(upserts=rows_of((1, 12)), position="2")

    with pytest.raises(DataError, match=r"moved balances_v1 from position '1' of its change feed to '2' meanwhile"):
        materialize(balances(overtaken), stores=stores_in(tmp_path))
    assert stored(tmp_path) == {(1, AT): 11}


class Balances(pa.DataFrameModel):
    id: int
    at: pd.Timestamp
    x: int = pa.Field(ge=0)


def test_rows_are_validated_before_any_of_batch_is_stored(tmp_path: Path) -> None:
    done(tmp_path, fti.Changes(upserts=rows_of((1, 10))))
    batch = fti.Changes(upserts=rows_of((2, -1)), deletes=pd.DataFrame({"id": [1]}))
    with pytest.raises(dg.Failure, match=r"x: greater_than_or_equal_to\(0\): 1 of 1 rows break it"):
        materialize(balances(lambda _: batch, schema=Balances), stores=stores_in(tmp_path))
    assert stored(tmp_path) == {(1, AT): 10}


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (fti.Changes(upserts=rows_of((1, 1)), appends=rows_of((2, 2))), DataError, "both upserts and appends"),
        (
            fti.Changes(upserts=rows_of((1, 1)), deletes=pd.DataFrame({"ident": [1]})),
            DataError,
            "no column 'id': give its",
        ),
        (fti.ChangeFeed(rows_of((1, 1))), DataError, "has no column 'op' or 'lsn': it has 'id', 'at' or 'x'"),
        (
            feed_of([{"id": 1, "at": AT, "x": 1, "op": "z", "lsn": 1}]),
            DataError,
            "has operations 'z' in 'op', and knows 'c'",
        ),
        (
            feed_of([{"id": 1, "at": AT, "x": 1, "op": op, "lsn": 1} for op in "ud"]),
            DataError,
            r"deletes and upserts the key \(1,\) at lsn 1",
        ),
    ],
)
def test_a_batch_that_says_nothing_clear_is_refused(tmp_path: Path, batch: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        done(tmp_path, batch)
    assert snapshot(tmp_path) is None


def test_a_null_in_the_feeds_order_is_refused() -> None:
    with connection() as con:
        feed = relation(con, COLUMNS, [{"id": 1, "at": START, "x": 1, "op": "u", "lsn": None}])
        with pytest.raises(DataError, match="1 row in the change feed of b_v1 with a null in 'lsn'"):
            net_changes(con, feed, ChangeFeed(None), keys=["id"], identity=["id"], extras=[], what="b_v1")


def test_other_columns_than_the_stored_ones_are_refused(tmp_path: Path) -> None:
    done(tmp_path, fti.Changes(upserts=rows_of((1, 10))))
    with pytest.raises(SchemaChangedError, match="with another schema: x was BIGINT and is now VARCHAR"):
        done(tmp_path, fti.Changes(upserts=rows_of((1, 10)).assign(x="ten")))


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["upserts", "appends"])
def test_table_without_rows_takes_types_that_first_rows_have(tmp_path: Path, kind: str) -> None:
    untold = pd.DataFrame({"id": [], "at": [], "x": []}, dtype=object)
    rows = pd.DataFrame({"id": ["a", "b"], "at": AT, "x": ["ten", "twenty"], "y": [1.5, None]})
    one, two, three = done(
        tmp_path,
        fti.Changes(**{kind: untold}, position="1"),
        fti.Changes(**{kind: rows}),
        fti.Changes(upserts=rows.assign(x="thirty")[:1], deletes=pd.DataFrame({"id": ["b"]})),
    )
    assert stored(tmp_path) == {("a", AT): "thirty"}
    assert [result["feed_position"] for result in (one, two, three)] == ["1"] * 3
    reloaded = tmp_path / "reloaded"
    done(reloaded, rows.assign(x="thirty")[:1])
    assert version(tmp_path) == version(reloaded)


def test_a_group_with_late_rows_takes_first_types(tmp_path: Path) -> None:
    untold = pd.DataFrame({"id": [], "at": [], "x": []}, dtype=object)
    for rows in (untold, pd.DataFrame({"id": ["a"], "at": AT, "x": [1]})):
        materialize(balances(lambda _, rows=rows: rows, serving_delay="1h"), stores=stores_in(tmp_path))
    assert stored(tmp_path) == {("a", AT): 1}


@pytest.mark.soak
def test_new_column_that_may_be_null_is_added_by_batch(tmp_path: Path) -> None:
    wider = rows_of((2, 21), (4, 40)).assign(city="Ulm")
    done(tmp_path, fti.Changes(upserts=rows_of((1, 10), (2, 20), (3, 30))))
    (result,) = done(tmp_path, fti.Changes(upserts=wider, deletes=pd.DataFrame({"id": [3]})))
    assert [result[f"rows_{name}"] for name in ("added", "replaced", "deleted")] == [1, 1, 1]
    assert stored(tmp_path) == {(1, AT): 10, (2, AT): 21, (4, AT): 40}
    cities = fti.read(balances(lambda _: None), stores=stores_in(tmp_path)).set_index("id")["city"]
    assert cities.dropna().to_dict() == {2: "Ulm", 4: "Ulm"}
    reloaded = tmp_path / "reloaded"
    done(reloaded, pd.concat([rows_of((1, 10)).assign(city=None), wider]))
    assert version(tmp_path) == version(reloaded)
    with pytest.raises(SchemaChangedError, match="city VARCHAR is gone"):
        done(tmp_path, fti.Changes(upserts=rows_of((1, 10))))


def test_new_column_never_null_is_refused_in_batch(tmp_path: Path) -> None:
    class Wider(Balances):
        city: str

    done(tmp_path, fti.Changes(upserts=rows_of((1, 10))))
    batch = fti.Changes(upserts=rows_of((2, 20)).assign(city="Ulm"))
    with pytest.raises(SchemaChangedError, match="city VARCHAR is new"):
        materialize(balances(lambda _: batch, schema=Wider), stores=stores_in(tmp_path))
    assert stored(tmp_path) == {(1, AT): 10}


def test_a_partitioned_group_gives_whole_partitions(tmp_path: Path) -> None:
    days = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-03")
    group = balances(lambda _: fti.Changes(upserts=rows_of((1, 10))), partitions_def=days)
    with pytest.raises(DeclarationError, match="gave row-level changes but has partitions"):
        materialize(group, stores=stores_in(tmp_path), partition="2024-01-01")


@pytest.mark.parametrize("kind", ["str", "category", "string[pyarrow]"])
def test_an_order_of_text_is_refused(tmp_path: Path, kind: str) -> None:
    rows = rows_of((1, 9), (1, 10)).assign(op=["c", "u"], lsn=pd.Series(["9", "10"], dtype=kind))
    with pytest.raises(
        DataError, match=r"ordered by 'lsn', which is text .*CAST\(\"lsn\" AS BIGINT\).*- '0/0'::pg_lsn"
    ):
        done(tmp_path, fti.ChangeFeed(rows))
    (result,) = done(tmp_path, fti.ChangeFeed(rows.assign(lsn=rows["lsn"].astype("int64"))))
    assert (result["feed_position"], stored(tmp_path)) == ("10", {(1, AT): 10})


def test_a_feed_takes_times_and_the_users_operations(tmp_path: Path) -> None:
    when = [AT, AT + HOUR, AT]
    rows = pd.DataFrame({"id": [1, 1, 2], "at": AT, "x": [1, 2, 3], "what": ["put", "put", "put"], "when": when})
    feed = fti.ChangeFeed(rows, operation="what", order="when", upsert=["put"], delete=[])
    (result,) = done(tmp_path, feed)
    assert result["feed_position"] == "2024-01-01 01:00:00"
    (result,) = done(tmp_path, dataclasses.replace(feed, position="page-2"))
    assert result["feed_position"] == "page-2"
    assert stored(tmp_path) == {(1, AT): 2, (2, AT): 3}


def test_a_lookups_deleted_key_is_gone_online_too(tmp_path: Path) -> None:
    def plane(batch: Any) -> FeatureGroup:
        @fti.feature_group(keys=["id"], online=True)
        def planes() -> Any:
            return batch

        return planes

    stores = stores_in(tmp_path)
    seats = pd.DataFrame({"id": [1, 2], "seats": [100, 200]})
    materialize(plane(fti.Changes(upserts=seats)), stores=stores)
    materialize(plane(fti.Changes(deletes=pd.DataFrame({"id": [1]}))), stores=stores)
    reader = stores.online_store().reader("planes_v1")
    assert reader.get((1,), 0) is None
    assert reader.get((2,), 0).values == (200,)
