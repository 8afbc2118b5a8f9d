"""Windows over a long lookback: what is kept of a source gives what its rows give, and costs no re-reading."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.core.names import TILES, TableName
from fti_assets.core.sql import quote, timestamp
from fti_assets.core.times import Partition, duration
from fti_assets.features.rows.table import Grid, SourcePartitions, Table
from fti_assets.features.steps.inputs import input_table
from fti_assets.features.windows import window_aggregate
from fti_assets.features.windows.axis import RowsBy
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.upkeep.dropping import drop_tables
from tests.features import oracles
from tests.features.oracles import START, Row
from tests.features.test_windows import CHOSEN, COLUMNS, EVERY, NUMBERS, ODD
from tests.support.examples import examples

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
DAYS = [Partition(f"{START + day * DAY:%Y-%m-%d}", START + day * DAY, START + (day + 1) * DAY) for day in range(12)]
numbers = count(1)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with OfflineStore(tmp_path_factory.mktemp("lake")).connect() as lake:
        yield lake


def stored(lake: Lake, table: TableName, rows: Sequence[Row], days: Sequence[Partition] = DAYS) -> None:
    staged = f"staged_{next(numbers)}"
    relation = oracles.relation(lake.connection, COLUMNS, rows)
    relation.project("*, strftime(e, '%Y-%m-%d') AS _partition").create(staged)
    lake.replace(table, staged, [day.key for day in days], asset="source")


def source(lake: Lake, table: TableName, start: datetime, end: datetime, **changes: Any) -> Table:
    """What a run of ``[start, end)`` gets, by day, with a lookback to the first day."""
    observed = f"e >= {timestamp(START)} AND e < {timestamp(end)}"
    versions = {key: record.data_version for key, record in lake.ledger(table).items()}
    rows = lake.rows(table, with_partition=True)
    before = tuple(day for day in DAYS if day.end is not None and day.end <= start)
    partitions = SourcePartitions(lake, table, rows, rows.filter(observed), before, versions)
    declared: dict[str, Any] = {"event_time": "e", "available_at": "a", "grid": Grid("hour", start, end), **changes}
    return Table(
        lake.rows(table).filter(observed), lake.connection, "events_v1", ("n",), partitions=partitions, **declared
    )


def answers(rows: Table, chosen: Sequence[str], windows: Sequence[str], **options: Any) -> dict[Any, list[Any]]:
    aggregates = {name: EVERY[name] for name in chosen}
    results = window_aggregate(rows, keys=["k"], windows=windows, aggregates=aggregates, **options)
    place = len(results.keys) + 1
    return {row[:place]: list(row[place:]) for row in results.relation.fetchall()}


def exactly(found: dict[Any, list[Any]]) -> list[str]:
    return sorted(map(repr, found.items()))


def staying_days(first: datetime, last: datetime, windows: Sequence[str]) -> list[Partition]:
    """The days before a run that stay in its longest window, and of which no hour leaves another: tiles save reading these."""
    lengths = [duration(window) for window in windows]
    return [
        day
        for day in DAYS
        if day.start is not None and day.end is not None and last - max(lengths) < day.start and day.end <= first
        and not any(day.start <= last - length and first - length <= day.end for length in lengths)
    ]  # fmt: skip


HOURS = st.integers(0, 12 * 24 - 1).map(lambda hour: START + hour * HOUR)
LATE = st.sampled_from([-5, 0, 0, 0, 1, 3, 30, 150]).map(lambda hours: hours * HOUR)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "k": st.sampled_from(["x", "x", "y"]), "j": st.just(1), "e": HOURS, "late": LATE, "n": st.integers(-5, 5),
            "x": st.none() | NUMBERS | st.floats(-1e9, 1e9).filter(lambda x: not 0 < abs(x) < 1e-9) | ODD,
            "t": st.none() | st.sampled_from(["", "a", "ab"]),
        }
    ).map(lambda row: {**row, "a": row["e"] + row["late"]}),
    min_size=4, max_size=25,
)  # fmt: skip
WINDOWS = st.lists(st.sampled_from(["90min", "1d", "36h", "3d", "8d"]), min_size=1, max_size=3, unique=True)


@settings(max_examples=examples(8), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=ROWS, chosen=CHOSEN, written=WINDOWS, rows_by=st.sampled_from(["visible_at", "event_time"]),
    every=st.sampled_from([HOUR, 3 * HOUR, None]), start=st.sampled_from([216, 240, 246, 264]), hours=st.sampled_from([6, 24, 48]),
    times=st.sampled_from([{}, {}, {"available_at": None, "serving_delay": 2 * HOUR}]), lost=st.integers(0, 3),
)  # fmt: skip
@example(
    [{"k": "x", "j": 1, "e": START + day * DAY, "late": 0 * HOUR, "n": day, "x": 0.5, "t": "a", "a": START + day * DAY} for day in (2, 5)],
    ["sum_x"], ["3d"], "visible_at", HOUR, 240, 6, {}, 1,
)  # fmt: skip
def test_tiles_give_what_rows_give(
    lake: Lake, rows: list[Row], chosen: list[str], written: list[str], rows_by: RowsBy, every: timedelta | None,
    start: int, hours: int, times: dict[str, Any], lost: int,
) -> None:  # fmt: skip
    """The second time without one of the rows, whose day is stored again."""
    table = TableName("features", f"events_{next(numbers)}")
    stored(lake, table, rows)
    first, last = START + start * HOUR, START + (start + hours) * HOUR
    chosen = [*dict.fromkeys(["rows", *chosen])]
    given_ = source(lake, table, first, last, **times)
    result = answers(given_, chosen, ["11d", *written], rows_by=rows_by, every=every)
    if len(staying_days(first, last, ["11d", *written])) >= 3:
        assert any(tile.name.startswith(table.name) for tile in lake._stored_tables() if tile.schema == TILES)
    assert exactly(result) == exactly(
        answers(given_.with_relation(given_.relation), chosen, ["11d", *written], rows_by=rows_by, every=every)
    )
    assert exactly(result) == exactly(answers(given_, chosen, ["11d", *written], rows_by=rows_by, every=every))
    removed = rows[lost % len(rows)]
    day = DAYS[(removed["e"] - START) // DAY]
    kept = [row for row in rows if row is not removed and day.start <= row["e"] < day.end]
    stored(lake, table, kept, [day])
    given_ = source(lake, table, first, last, **times)
    result = answers(given_, chosen, ["11d", *written], rows_by=rows_by, every=every)
    assert exactly(result) == exactly(
        answers(given_.with_relation(given_.relation), chosen, ["11d", *written], rows_by=rows_by, every=every)
    )


DAILY = dg.DailyPartitionsDefinition(start_date=f"{START:%Y-%m-%d}", end_date=f"{START + 30 * DAY:%Y-%m-%d}")
FORECASTS = fti.feature_group(
    name="forecasts", keys=["k"], event_time="e", available_at="a", partition_by="a", partitions_def=DAILY
)(lambda: None)


def forecasts(lake: Lake, version: int, rows: Sequence[Row]) -> fti.FeatureGroup:
    """Stored rows that are partitioned by when they became available, which may be long before their event time."""
    table, staged = TableName("features", f"forecasts_v{version}"), f"staged_{next(numbers)}"
    relation = oracles.relation(lake.connection, COLUMNS, rows)
    relation.project("*, strftime(a, '%Y-%m-%d') AS _partition").create(staged)
    lake.replace(table, staged, DAILY.get_partition_keys(), asset="forecasts")
    return replace(FORECASTS, version=version)


def reading(lake: Lake, source: fti.FeatureGroup, day: float, lookback: str, days: float = 1) -> Table:
    group = fti.feature_group(name="counted", keys=["k"], event_time="hour", lookback=lookback, partitions_def=DAILY)(
        lambda rows: rows
    )
    return input_table(lake, source, group, [Partition("run", START + day * DAY, START + (day + days) * DAY)])


def ahead(day: float, by: timedelta) -> Row:
    issued = START + day * DAY
    return {"k": "x", "j": 1, "e": issued + by, "a": issued, "n": 1, "x": 0.5, "t": "t"}


@pytest.mark.soak
def test_rows_visible_later_are_in_later_tiles(lake: Lake) -> None:
    source = forecasts(lake, next(numbers), [ahead(day + 0.5, 5 * DAY) for day in range(30)])
    for day in (8, 10, 12, 25):
        rows = reading(lake, source, day, "25d")
        result = answers(rows, ["rows"], ["20d"], every=DAY)
        assert result == {("x", START + day * DAY): [min(20, day - 5)]}


@pytest.mark.soak
@settings(max_examples=examples(4), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.builds(ahead, st.integers(0, 19 * 24).map(lambda hour: hour / 24), st.integers(-80, 80).map(lambda hour: hour * HOUR)),
        max_size=40,
    ),
    runs=st.lists(st.sampled_from([12, 12.5, 14.25, 15, 18]), min_size=2, max_size=3),
    rows_by=st.sampled_from(["visible_at", "event_time"]), every=st.sampled_from([HOUR, DAY / 4]), days=st.sampled_from([0.25, 1, 2]),
)  # fmt: skip
def test_tiles_do_not_depend_on_the_runs_before(
    lake: Lake, rows: list[Row], runs: list[float], rows_by: RowsBy, every: timedelta, days: float
) -> None:
    source = forecasts(lake, next(numbers), rows)
    for day in runs:
        given_ = reading(lake, source, day, "12d", days)
        options: dict[str, Any] = {"rows_by": rows_by, "every": every}
        result = answers(given_, ["rows", "sum_x"], ["36h", "8d"], **options)
        assert exactly(result) == exactly(
            answers(given_.with_relation(given_.relation), ["rows", "sum_x"], ["36h", "8d"], **options)
        )
    assert any(tile.name.startswith(f"{source.table_name}_") for tile in lake._stored_tables() if tile.schema == TILES)


def day_rows(day: int, x: float, number: int = 3) -> list[Row]:
    times = [START + day * DAY + hour * HOUR for hour in range(number)]
    return [{"k": "x", "j": 1, "e": time, "a": time, "n": hour, "x": x, "t": "t"} for hour, time in enumerate(times)]


def test_changed_partition_gets_new_tile_and_others_keep_theirs(lake: Lake) -> None:
    table = TableName("features", "changing")
    rows = [row for day in range(12) for row in day_rows(day, 0.5)]
    stored(lake, table, rows)
    first, last = START + 11 * DAY, START + 12 * DAY
    total = ["sum_x", "std_x"]
    answers(source(lake, table, first, last), total, ["11d"], every=HOUR)
    (tiles,) = (tile for tile in lake._stored_tables() if tile.schema == TILES and tile.name.startswith("changing"))
    before = {key: record.committed_at for key, record in lake.ledger(tiles).items()}
    stored(lake, table, day_rows(5, 1e12), [DAYS[5]])
    changed = source(lake, table, first, last)
    results = answers(changed, total, ["11d"], every=HOUR)
    assert exactly(results) == exactly(answers(changed.with_relation(changed.relation), total, ["11d"], every=HOUR))
    assert results["x", first][0] == 10 * 3 * 0.5 + 3e12  # less the row of the first instant, which has left
    after = {key: record.committed_at for key, record in lake.ledger(tiles).items()}
    assert {key for key in after if after[key] != before.get(key)} == {DAYS[5].key}


@pytest.mark.soak
def test_second_run_makes_only_tiles_that_are_new_and_reads_few_files(lake: Lake) -> None:
    table = TableName("features", "growing")
    stored(lake, table, [row for day in range(12) for row in day_rows(day, 0.5)])
    answers(source(lake, table, START + 10 * DAY, START + 11 * DAY), ["rows"], ["9d"], every=HOUR)
    snapshot = lake.snapshot()
    again = source(lake, table, START + 10 * DAY, START + 11 * DAY)
    aggregates = {"rows": EVERY["rows"]}
    result = window_aggregate(again, keys=["k"], windows=["9d"], every=HOUR, aggregates=aggregates)
    assert lake.snapshot() == snapshot
    name = "again"
    result.relation.create_view(name)
    plan = str(lake.connection.sql(f"EXPLAIN ANALYZE FROM {quote(name)}").fetchall()[0][1])
    read = [int(line.split("Read:")[1].strip(" │")) for line in plan.splitlines() if "Total Files Read" in line]
    assert sum(read) <= 8 + 4  # a tile a day, the days that enter and leave, and their neighbours
    answers(source(lake, table, START + 11 * DAY, START + 12 * DAY), ["rows"], ["9d"], every=HOUR)
    (tiles,) = (tile for tile in lake._stored_tables() if tile.schema == TILES and tile.name.startswith("growing"))
    assert tiles not in lake.tables()
    assert sorted(lake.ledger(tiles)) == [day.key for day in DAYS[2:11]]


def test_rows_that_user_changed_are_read_as_they_are(lake: Lake) -> None:
    table = TableName("features", "filtered")
    stored(lake, table, [row for day in range(12) for row in day_rows(day, 0.5)])
    rows = source(lake, table, START + 11 * DAY, START + 12 * DAY)
    some = rows.with_relation(rows.relation.filter("n = 0"))
    assert some.partitions is None
    assert answers(some, ["rows"], ["11d"], every=HOUR)["x", START + 11 * DAY + HOUR] == [11]
    assert not [tile for tile in lake._stored_tables() if tile.schema == TILES and tile.name.startswith("filtered")]


def test_tiles_dropped_while_run_looks_at_them_are_done_without(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    table, ledger = TableName("features", "dropping"), Lake.ledger
    stored(lake, table, [row for day in range(12) for row in day_rows(day, 0.5)])
    rows = source(lake, table, START + 11 * DAY, START + 12 * DAY)
    before = answers(rows, ["rows"], ["11d"], every=HOUR)

    def then_dropped(self: Lake, of: TableName, **options: Any) -> Any:
        result = ledger(self, of, **options)
        if of.schema == TILES and "snapshot" in options:
            with self.store.lock():
                drop_tables(self, [of], message="drop tiles")
        return result

    monkeypatch.setattr(Lake, "ledger", then_dropped)
    assert answers(rows, ["rows"], ["11d"], every=HOUR) == before


LATER = st.lists(
    st.builds(
        fti.Window,
        st.sampled_from(["90min", "1d", "36h", "3d", "8d", "lifetime"]),
        delay=st.sampled_from(["0h", "5h", "1d", "30h", "4d"]),
    ),
    min_size=1,
    max_size=3,
    unique_by=repr,
)


@pytest.mark.soak
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=ROWS, windows=LATER, rows_by=st.sampled_from(["visible_at", "event_time"]), every=st.sampled_from([HOUR, 3 * HOUR, None]),
    start=st.sampled_from([216, 240, 246, 264]), hours=st.sampled_from([6, 24, 48]),
    times=st.sampled_from([{}, {}, {"available_at": None, "serving_delay": 2 * HOUR}]),
)  # fmt: skip
def test_tiles_of_windows_that_end_before_and_of_lifetimes_give_what_rows_give(
    lake: Lake, rows: list[Row], windows: list[fti.Window], rows_by: RowsBy, every: timedelta | None, start: int, hours: int,
    times: dict[str, Any],
) -> None:  # fmt: skip
    table = TableName("features", f"events_{next(numbers)}")
    stored(lake, table, rows)
    given_ = source(lake, table, START + start * HOUR, START + (start + hours) * HOUR, **times)
    aggregates = {
        "rows": fti.Count(), "total": fti.Sum("x"), "high": fti.Max("n"), "first": fti.First("t"), "differ": fti.DistinctCount("t"),
        "lasts": fti.Last("n", n=2), "median": fti.Percentile("n", 0.5),
    }  # fmt: skip
    results = [
        window_aggregate(
            one, keys=["k"], windows=["11d", *windows], every=every, rows_by=rows_by, aggregates=aggregates
        )
        for one in (given_, given_.with_relation(given_.relation))
    ]
    result, expected = (sorted(map(repr, one.relation.fetchall())) for one in results)
    assert result == expected
    assert any(tile.name.startswith(f"{table.name}_") for tile in lake._stored_tables() if tile.schema == TILES)


@pytest.mark.soak
def test_lifetime_reads_its_tiles_and_few_rows(lake: Lake) -> None:
    table = TableName("features", "long_lived")
    stored(lake, table, [row for day in range(12) for row in day_rows(day, 0.5)])
    rows = source(lake, table, START + 11 * DAY, START + 12 * DAY)
    aggregates = {"rows": fti.Count(), "first": fti.First("x"), "differ": fti.DistinctCount("n")}
    result = window_aggregate(rows, keys=["k"], windows=["lifetime"], every=DAY, aggregates=aggregates).relation
    assert result.fetchall() == [("x", START + 11 * DAY, 34, 0.5, 3)]
    result.create_view("long_lived")
    plan = str(lake.connection.sql("EXPLAIN ANALYZE FROM long_lived").fetchall()[0][1])
    read = [int(line.split("Read:")[1].strip(" │")) for line in plan.splitlines() if "Total Files Read" in line]
    assert sum(read) <= 11 + 2  # a tile a day, and the day of the run
