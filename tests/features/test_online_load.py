"""Loading the online store: whole or in part, the result is that of the offline join."""

import logging
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.times import microseconds
from fti_assets.features.online.joined import joined_whole
from fti_assets.features.online.load import load_online
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.inference.serving import lookup
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import OnlineStore
from tests.features.oracles import START, Row, relation
from tests.stores.online_stores import KINDS, online_store_of, why_no_redis
from tests.support.examples import examples

MINUTE = timedelta(minutes=1)
TYPES = {"k": "VARCHAR", "e": "TIMESTAMP", "a": "TIMESTAMP", "x": "DOUBLE", "s": "VARCHAR"}
ORIGIN = logging.getLogger("fti_assets.features.online.load")


def declared(**options: Any) -> Any:
    inputs = {"keys": ["k"], "event_time": "e", "available_at": "a", "online": True, "online_history": "10min"}

    def readings() -> None: ...

    return fti.feature_group(**(inputs | options))(readings)


READINGS = declared()


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with OfflineStore(tmp_path / "lake").connect() as opened:
        yield opened


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Iterator[OnlineStore]:
    with online_store_of(request.param) as made:
        yield made


def row(key: str | None, event: int, lag: int = 0, x: float | None = 1.0, s: str | None = "s") -> Row:
    return {"k": key, "e": START + event * MINUTE, "a": START + (event + lag) * MINUTE, "x": x, "s": s}


def replace(lake: Lake, partitions: Mapping[str, Sequence[Row]], group: Any = READINGS) -> None:
    """Store whole partitions, in one commit."""
    columns = ", ".join(f'"{name}" {kind}' for name, kind in TYPES.items())
    lake.connection.execute(f"CREATE OR REPLACE TEMP TABLE staged ({columns}, _partition VARCHAR)")
    for partition, rows in partitions.items():
        for one in rows:
            values = [*(one[name] for name in TYPES), partition]
            lake.connection.execute("INSERT INTO temp.staged VALUES (?, ?, ?, ?, ?, ?)", values)
    lake.replace(group.table, "staged", list(partitions), asset="readings_v1")


def offline(lake: Lake, group: Any, keys: Sequence[str], instants: Sequence[datetime]) -> dict[Any, tuple[Any, ...]]:
    """What the offline join has for each key and instant; times as whole microseconds."""
    requests = [{"k": key, "t": at} for key, at in product(keys, instants)]
    spine = relation(lake.connection, {"k": "VARCHAR", "t": "TIMESTAMP"}, requests)
    whole = joined_whole(group, lake.types(group.table))
    joined = point_in_time(
        lake.connection, spine, [whole], lambda _: lake.rows(group.table), prediction_time="t"
    ).fetchall()
    return {
        (key, at): tuple(microseconds(value) if isinstance(value, datetime) else value for value in results)
        for key, at, *results in joined
    }


def assert_as_offline(lake: Lake, stores: Sequence[OnlineStore], group: Any, keys: Sequence[str]) -> None:
    """At every minute that is answered, and just before it, online has what the offline join has."""
    since = stores[0].about(group.table_name).answers_from
    instants = [since + n * MINUTE for n in range(30)]
    instants = [*instants, *(at - timedelta(microseconds=1) for at in instants[1:])]
    expected = offline(lake, group, keys, instants)
    held = lake.rows(group.table).filter("k IS NOT NULL").aggregate("count(DISTINCT k)").fetchall()[0][0]
    for store in stores:
        reader = store.reader(group.table_name)
        differences = []
        for at in instants:
            winners = reader.get_many([(key,) for key in keys], microseconds(at))
            for key, winner in zip(keys, winners, strict=True):
                online = (None,) * 4 if winner is None else winner.values
                if online != expected[key, at]:
                    differences.append((key, at, online, expected[key, at]))
        assert differences == []
        about = store.about(group.table_name)
        assert (about.keys, about.snapshot, about.answers_from) == (held, lake.snapshot(), since)


@contextmanager
def said(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What loading says of itself in a block."""
    caplog.clear()
    results: list[str] = []
    with caplog.at_level(logging.INFO, logger=ORIGIN.name):
        yield results
    results.extend(record.getMessage() for record in caplog.records if record.name == ORIGIN.name)


EVERYONE = [*"abcdefg", "a\0"]
drawn_rows = st.lists(
    st.tuples(
        st.sampled_from([*EVERYONE, None]),
        st.integers(0, 8),
        st.integers(0, 12),
        st.none() | st.floats(-9, 9),
        st.none() | st.sampled_from(["", "ä", "long text"]),
    ),
    max_size=5,
    unique_by=lambda one: one[:3],
)
steps = st.lists(
    st.tuples(
        st.dictionaries(st.integers(1, 3), drawn_rows, max_size=1),
        st.sets(st.sampled_from(EVERYONE), min_size=1, max_size=2) | st.sets(st.sampled_from(EVERYONE)),
        st.sampled_from([0, 0, 1, 7, -3, 2 * 24 * 60]),
    ),
    min_size=1,
    max_size=3,
)


@pytest.fixture
def stores() -> Iterator[list[OnlineStore]]:
    """Every store that there is a server for."""
    with ExitStack() as made:
        yield [made.enter_context(online_store_of(kind)) for kind in KINDS if kind != "redis" or not why_no_redis()]


@settings(max_examples=examples(3), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=drawn_rows, then=steps)
@example(first=[], then=[({}, {"a"}, 0), ({1: [("a", 1, 0, 1.0, None)]}, {"a", "b"}, 1)])
def test_partitions_replaced_in_any_order_leave_what_whole_load_would(lake, stores, first, then):
    """Events of partition p are at minutes p, p + 4, p + 8 ..., so that no two partitions hold the same one.

    In partition 0 everyone has a row but those who leave it: few of them, so that a part is loaded, or many.
    """

    def rows(partition: int, drawn: Sequence[tuple[Any, ...]]) -> list[Row]:
        return [row(key, 4 * event + partition, lag, x, s) for key, event, lag, x, s in drawn]

    def all_but(left: Set[str]) -> list[tuple[Any, ...]]:
        return [(key, 0, 0, 1.0, key) for key in EVERYONE if key not in left]

    replace(lake, {"0": rows(0, all_but(set())), "1": rows(1, first), "2": [], "3": []})
    now = START + 20 * MINUTE
    for store in stores:
        store.drop(READINGS.table_name)
    for changed, left, minutes in [({}, set(), 0), *then]:
        partitions = {0: all_but(left), **changed}
        replace(lake, {str(partition): rows(partition, drawn) for partition, drawn in partitions.items()})
        now += minutes * MINUTE
        for store in stores:
            with clock.at(now):
                load_online(lake, store, READINGS)
        assert_as_offline(lake, stores, READINGS, EVERYONE)


@pytest.fixture
def loaded(lake: Lake, store: OnlineStore) -> Lake:
    replace(lake, {"1": [row(key, 0, x=1.0) for key in "abcdefgh"], "2": []})
    with clock.at(START + 20 * MINUTE):
        load_online(lake, store, READINGS)
    return lake


def load_again(lake: Lake, store: OnlineStore, group: Any = READINGS, minutes: float = 21) -> int:
    with clock.at(START + minutes * MINUTE):
        return load_online(lake, store, group)


def values(store: OnlineStore, key: str, minute: float = 60) -> tuple[Any, ...] | None:
    results = store.reader("readings_v1", columns=["x"]).get((key,), microseconds(START + minute * MINUTE))
    return None if results is None else results.values


@pytest.mark.soak
def test_only_keys_with_rows_in_changed_partitions_are_written(loaded, store, caplog):
    """A key of an unchanged partition is not even looked at: removed by hand, it stays away."""
    store.delete("readings_v1", [("h",)])
    replace(loaded, {"2": [row("a", 5, x=2.0), row("new", 5, x=3.0)]})
    with said(caplog) as what:
        assert load_again(loaded, store) == 8
    assert what == ["readings_v1: 2 of 7 keys are loaded to the online store"]
    assert [values(store, key) for key in ("a", "new", "b", "h")] == [(2.0,), (3.0,), (1.0,), None]


@pytest.mark.soak
def test_a_key_whose_rows_are_all_gone_is_deleted(loaded, store, caplog):
    replace(loaded, {"2": [row("new", 5)]})
    assert load_again(loaded, store) == 9
    replace(loaded, {"2": []})
    with said(caplog) as what:
        assert load_again(loaded, store) == 8
    assert what == ["readings_v1: 1 of 9 keys are loaded to the online store"]
    assert not store.reader("readings_v1").holds(("new",))


@pytest.mark.soak
def test_a_key_with_nul_is_loaded_among_many(lake, store, caplog):
    for rows in ([], [row("a", 5, x=2.0), row("a\0b", 5, x=3.0)]):
        replace(lake, {"1": [row(f"n{number}", 0) for number in range(300)], "2": rows})
        with said(caplog) as what:
            load_again(lake, store)
    assert what == ["readings_v1: 2 of 300 keys are loaded to the online store"]
    assert [values(store, key) for key in ("a", "a\0", "a\0b", "n7")] == [(2.0,), None, (3.0,), (1.0,)]


@pytest.mark.soak
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_older_row_of_partition_that_is_gone_wins_again(loaded, store):
    replace(loaded, {"2": [row("a", 5, x=2.0)]})
    load_again(loaded, store)
    assert values(store, "a") == (2.0,)
    replace(loaded, {"2": []})
    load_again(loaded, store)
    assert values(store, "a") == (1.0,)


@pytest.mark.soak
def test_an_older_event_that_arrives_later_does_not_win(loaded, store):
    replace(loaded, {"2": [row("a", 30, x=9.0)]})
    load_again(loaded, store)
    replace(loaded, {"3": [row("a", 25, lag=10, x=5.0)]})
    load_again(loaded, store)
    assert [values(store, "a", minute) for minute in (29, 30, 36)] == [(1.0,), (9.0,), (9.0,)]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_rerun_that_changes_nothing_moves_on_snapshot_and_history(loaded, store, caplog):
    replace(loaded, {"2": []})
    before = store.about("readings_v1")
    with said(caplog) as what:
        load_again(loaded, store, minutes=25)
    assert what == ["readings_v1: 0 of 8 keys are loaded to the online store"]
    about = store.about("readings_v1")
    assert about.snapshot == loaded.snapshot() > before.snapshot
    assert about.answers_from == START + 15 * MINUTE


@pytest.mark.soak
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("most", "6 of its 8 keys have changed"),
        ("declaration", "its declaration has changed"),
        ("history", "its declaration has changed"),
        ("ttl", "its columns or its ttl have changed"),
        ("clock", "it does not reach back far enough"),
        ("old", "much of what it holds may have expired"),
        ("expired", "snapshot [0-9]+, which it was loaded from, is not in the lake"),
    ],
)
def test_when_a_namespace_is_loaded_whole(loaded, store, caplog, case, reason):
    """Then what someone removed by hand comes back too."""
    store.delete("readings_v1", [("h",)])
    store.delete("readings_v1", [])
    group, minutes = READINGS, 21.0
    match case:
        case "most":
            store.drop("readings_v1")
            load_again(loaded, store)
            replace(loaded, {"2": [row(key, 5) for key in "abcdef"]})
        case "declaration":
            group = declared(tie_break="x")
        case "history":
            group = declared(online_history="20min")
        case "ttl":
            group = declared(ttl="5min")
        case "clock":
            minutes = 19.0
        case "old":
            minutes = 24 * 60 + 21
        case "expired":
            replace(loaded, {"2": [row("a", 5)]})
            versions = [one[0] for one in loaded.connection.sql("SELECT snapshot_id FROM lake.snapshots()").fetchall()]
            loaded.connection.execute(f"CALL ducklake_expire_snapshots('lake', versions => {sorted(versions)[:-1]})")
    with said(caplog) as what:
        assert load_again(loaded, store, group, minutes) == 8
    (message,) = what
    assert message.startswith("readings_v1 is loaded whole to the online store: ")
    assert re.search(reason, message), message
    assert store.reader("readings_v1").holds(("h",))


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_namespace_that_has_lost_rows_is_loaded_whole(loaded, store, caplog):
    with closing(sqlite3.connect(store.root / "readings_v1.sqlite")) as connection, connection:
        connection.execute("DELETE FROM rows WHERE key = (SELECT max(key) FROM rows)")
    assert store.counts("readings_v1") == (8, 7)
    with said(caplog) as what:
        assert load_again(loaded, store) == 8
    assert what == ["readings_v1 is loaded whole to the online store: it says that it has 8 keys, and has 7"]
    assert store.counts("readings_v1") == (8, 8)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("origin", ["{", "7", '{"snapshot_at": 1}', "[" * 100_000])
def test_namespace_that_tells_no_origin_is_loaded_anew(loaded, store, origin):
    with closing(sqlite3.connect(store.root / "readings_v1.sqlite")) as connection, connection:
        # As an earlier release wrote it, without a checksum of what it says.
        connection.execute("UPDATE about SET origin = ?, schema = json_remove(schema, '$.checksum')", (origin,))
    assert load_again(loaded, store) == 8
    assert_as_offline(loaded, [store], READINGS, [*"abcdefgh"])


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_day_of_history_is_kept_before_it_is_loaded_whole(loaded, store, caplog):
    with said(caplog) as what:
        load_again(loaded, store, minutes=24 * 60 + 19)
    assert what == ["readings_v1: 0 of 8 keys are loaded to the online store"]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_new_lake_with_equal_snapshot_numbers_loads_whole(loaded, store, tmp_path, caplog):
    with OfflineStore(tmp_path / "other").connect() as other:
        replace(other, {"1": [row(key, 0, x=7.0) for key in "abcdefgh"], "2": []})
        assert other.snapshot() == loaded.snapshot()
        with said(caplog) as what:
            load_again(other, store)
    assert "is not in the lake" in what[0]
    assert values(store, "c") == (7.0,)


def test_a_lookup_is_loaded_in_part_too(lake, store, caplog):
    lookup = declared(event_time=None, available_at=None, online_history=None)
    replace(lake, {"1": [row(key, 0, x=1.0) for key in "abcd"], "2": [row("e", 0)]}, lookup)
    assert load_again(lake, store, lookup) == 5
    replace(lake, {"2": [row("f", 0, x=2.0)]}, lookup)
    with said(caplog) as what:
        assert load_again(lake, store, lookup) == 5
    assert what == ["readings_v1: 2 of 5 keys are loaded to the online store"]
    assert [values(store, key) for key in "aef"] == [(1.0,), None, (2.0,)]
    assert store.about("readings_v1").answers_from is None


def test_a_look_up_has_no_row_beyond_the_ttl_as_the_join_has_none(lake, store, monkeypatch):
    group, keys = declared(ttl="3min", online_history="20min"), ["a", "b", "c", "nobody"]
    with clock.at(START + 20 * MINUTE):
        rows = [row("a", 1), row("a", 9, lag=2, x=None), row("b", 4, lag=6), row("c", 12, lag=1), row("c", 15)]
        replace(lake, {"1": rows}, group)
        load_online(lake, store, group)
    monkeypatch.setattr(lookup, "online_store", lambda _: store)
    reader = fti.OnlineReader("readings_v1", online="memory")
    instants = [START + n * MINUTE + late for n in range(20) for late in (timedelta(0), timedelta(microseconds=1))]
    expected = offline(lake, group, keys, instants)
    assert {expected["a", at] == (None,) * 4 for at in instants} == {True, False}
    for at in instants:
        ofs = [expected[key, at] for key in keys]
        rows_at = reader.read(keys, at=at)
        assert rows_at == [reader.read(key, at=at) for key in keys]
        online = [
            None if one is None else (microseconds(one["e"]), microseconds(one["a"]), one["x"], one["s"])
            for one in rows_at
        ]
        assert online == [None if of == (None,) * 4 else of for of in ofs], at


def test_a_group_with_a_fixed_delay_and_two_keys(lake, store):
    group = declared(keys=["k", "s"], available_at=None, serving_delay="5min")
    replace(lake, {"1": [row(key, 10, x=1.0) for key in "abcd"]}, group)
    assert load_again(lake, store, group) == 4
    replace(lake, {"2": [row("a", 12, x=2.0), row("a", 13, x=3.0, s=None)]}, group)
    assert load_again(lake, store, group) == 4
    reader = store.reader("readings_v1", columns=["x"])
    results = [reader.get(("a", "s"), microseconds(START + minute * MINUTE)) for minute in (14, 15, 16, 17)]
    assert [one and one.values for one in results] == [None, (1.0,), (1.0,), (2.0,)]


@pytest.mark.soak
def test_waiting_load_reads_the_lake_at_its_turn(loaded, store):
    def second() -> None:
        with OfflineStore(loaded.store.root).connect() as own:
            load_online(own, store, READINGS)

    thread = threading.Thread(target=second)
    with store.writing("readings_v1"):
        thread.start()
        thread.join(0.5)
        replace(loaded, {"2": [row("new", 5)]})
    thread.join()
    assert store.snapshot("readings_v1") == loaded.snapshot()
    assert store.reader("readings_v1").holds(("new",))
