"""The rows of a training dataset, sentence by sentence and against brute force."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.core.names import WHOLE, PartitionRecord, TableName
from fti_assets.core.times import duration, microseconds
from fti_assets.core.types import type_of_sql
from fti_assets.errors import DataError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.datasets.rows import DatasetRows, dataset_rows
from fti_assets.training.datasets.splits.row_parts import where_the_parts_lie
from tests.features import oracles
from tests.features.oracles import START, Row
from tests.support.examples import examples

HOUR = timedelta(hours=1)
SPINE = {"id": "BIGINT", "k": "VARCHAR", "t": "TIMESTAMP", "known": "TIMESTAMP", "own": "DOUBLE", "y": "DOUBLE"}
OUTCOMES = {"id": "BIGINT", "e": "TIMESTAMP", "a": "TIMESTAMP", "v": "DOUBLE"}
EVENTS = {"k": "VARCHAR", "e": "TIMESTAMP", "a": "TIMESTAMP", "v": "DOUBLE"}
FEATURES = {"k": "VARCHAR", "e": "TIMESTAMP", "a": "TIMESTAMP", "x": "BIGINT"}
PLACES = {"k": "VARCHAR", "size": "BIGINT"}


@fti.feature_group(keys=["id"], event_time="t", available_at="known")
def spine() -> pd.DataFrame: ...


@fti.feature_group(keys=["id"], event_time="t", serving_delay="2h")
def delayed_spine() -> pd.DataFrame: ...


@fti.feature_group(keys=["id"], event_time="e", available_at="a")
def outcomes() -> pd.DataFrame: ...


@fti.feature_group(keys=["k"], event_time="e", available_at="a")
def events() -> pd.DataFrame: ...


@fti.feature_group(keys=["k"], event_time="e", available_at="a", ttl="5h")
def measures() -> pd.DataFrame: ...


@fti.feature_group(keys=["k"])
def places() -> pd.DataFrame: ...


@fti.feature_group(keys=["id"])
def people() -> pd.DataFrame: ...


@fti.feature_group(keys=["id"])
def verdicts() -> pd.DataFrame: ...


COLUMNS: dict[FeatureGroup, Mapping[str, str]] = {
    spine: SPINE,
    delayed_spine: SPINE,
    outcomes: OUTCOMES,
    events: EVENTS,
    measures: FEATURES,
    places: PLACES,
    people: SPINE,
    verdicts: {"id": "BIGINT", "v": "DOUBLE"},
}
Stored = Mapping[FeatureGroup, Sequence[Row]]


def hours(number: float | None) -> datetime | None:
    return None if number is None else START + number * HOUR


def row(id: int, t: float, *, k: str | None = "x", known: float | None = None, y: float | None = 1.0) -> Row:
    return {"id": id, "k": k, "t": hours(t), "known": hours(t if known is None else known), "own": float(id), "y": y}


def outcome(id: int, e: float, v: float | None = 1.0, *, a: float | None = None) -> Row:
    return {"id": id, "e": hours(e), "a": hours(e if a is None else a), "v": v}


def event(k: str, e: float, v: float | None = 1.0, *, a: float | None = None) -> Row:
    return {"k": k, "e": hours(e), "a": hours(e if a is None else a), "v": v}


def measure(k: str, e: float, x: int | None, *, a: float | None = None) -> Row:
    return {"k": k, "e": hours(e), "a": hours(e if a is None else a), "x": x}


class Rows:
    """The tables of a lake in memory: what the pure core asks of one."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, stored: Stored) -> None:
        self.connection = connection
        self._tables = {group.table: (COLUMNS[group], rows) for group, rows in stored.items()}

    def rows(self, table: TableName, *, snapshot: int | None = None) -> duckdb.DuckDBPyRelation:
        return oracles.relation(self.connection, *self._tables[table])

    def ledger(self, table: TableName, *, snapshot: int | None = None) -> dict[str, PartitionRecord]:
        at = datetime(2100, 1, 1)
        return {WHOLE: PartitionRecord(WHOLE, "", len(self._tables[table][1]), at, at, "", "{}")}


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with oracles.connection_to_shared() as connection:
        yield connection


def declared(
    label: fti.Label, *, features: Sequence[Any] = (), of: FeatureGroup = spine, window: str | None = None,
    split: Any = None, where: str | None = None,
    sample: fti.Sample | None = None, query: Any = None,
) -> TrainingDataset:  # fmt: skip
    view = fti.FeatureView(name="v", spine=of, label=label, features=features or [of["own"]])
    split = split or (fti.TimeSplit(validation="1h", test="1h") if of.event_time else None)
    return fti.training_dataset(
        name="d", view=view, split=split, window=window, where=where, sample=sample, query=query
    )


def made(
    connection: duckdb.DuckDBPyConnection, dataset: TrainingDataset, stored: Stored, cutoff: float
) -> tuple[DatasetRows, dict[Any, Row]]:
    """The dataset's rows by id."""
    view = dataset.view.record(lambda group: {name: type_of_sql(kind) for name, kind in COLUMNS[group].items()})
    at = START + cutoff * HOUR
    lake: Any = Rows(connection, stored)
    rows = dataset_rows(lake, dataset, view, cutoff=at, snapshot=1)
    columns = rows.relation.columns
    results = [dict(zip(columns, values, strict=True)) for values in rows.relation.fetchall()]
    assert sum(rows.rows.values()) == len(results)
    return rows, {one["id"]: one for one in results}


BY_KEY = fti.Label(outcomes["v"])


def test_no_spine_row_at_or_after_the_cutoff(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, 0), row(2, 9.99), row(3, 10), row(4, 11)]
    known = [outcome(number, 5) for number in (1, 2, 3, 4)]
    _, by_id = made(connection, declared(BY_KEY), {spine: rows, outcomes: known}, cutoff=10)
    assert list(by_id) == [1, 2]


def test_no_spine_row_not_known_by_cutoff(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, 0), row(2, 1, known=10), row(3, 1, known=10.01)]
    _, by_id = made(connection, declared(fti.Label(spine["y"])), {spine: rows}, cutoff=10)
    assert list(by_id) == [1, 2]


def test_the_spines_serving_delay_counts(connection: duckdb.DuckDBPyConnection) -> None:
    dataset = declared(fti.Label(delayed_spine["y"]), of=delayed_spine)
    _, by_id = made(connection, dataset, {delayed_spine: [row(1, 0), row(2, 8), row(3, 8.01)]}, cutoff=10)
    assert list(by_id) == [1, 2]


def test_no_label_that_was_not_known_by_the_cutoff(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, 0), row(2, 1), row(3, 1), row(4, 1)]
    known = [outcome(1, 2), outcome(2, 2, a=10), outcome(3, 2, a=10.01), outcome(4, 10.01, a=3)]
    result, by_id = made(connection, declared(BY_KEY), {spine: rows, outcomes: known}, cutoff=10)
    assert list(by_id) == [1, 2]
    assert result.left_out == {"immature": 0, "unlabelled": 2, "between splits": 0}


def test_no_feature_that_was_not_visible_at_prediction_time(connection: duckdb.DuckDBPyConnection) -> None:
    values = [measure("x", 1, 1), measure("x", 2, 2, a=4), measure("x", 3, 3, a=4.01), measure("x", 4.01, 4)]
    stored = {spine: [row(1, 4)], outcomes: [outcome(1, 5)], measures: values}
    _, by_id = made(connection, declared(BY_KEY, features=[measures["x"]]), stored, cutoff=10)
    assert by_id[1]["x"] == 2


@pytest.mark.parametrize(("cutoff", "label"), [(5, 1.0), (6, 2.0), (7, 3.0)])
def test_the_latest_correction_known_at_the_cutoff_wins(
    connection: duckdb.DuckDBPyConnection, cutoff: float, label: float
) -> None:
    corrections = [outcome(1, 2, 2.0, a=6), outcome(1, 2, 1.0, a=5), outcome(1, 2, 3.0, a=7)]
    _, by_id = made(connection, declared(BY_KEY), {spine: [row(1, 0)], outcomes: corrections}, cutoff)
    assert by_id[1]["v"] == label


def test_correction_that_takes_label_back_leaves_row_without_one(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    stored = {spine: [row(1, 0), row(2, 0)], outcomes: [outcome(1, 2), outcome(1, 2, None, a=3), outcome(2, 2)]}
    result, by_id = made(connection, declared(BY_KEY), stored, cutoff=10)
    assert list(by_id) == [2]
    assert result.left_out["unlabelled"] == 1


def test_within_takes_the_first_outcome_inside_the_horizon(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, 0), row(2, 2), row(3, 2.5), row(4, 5), row(5, 0, k="y"), row(6, 0, k=None)]
    first = [event("x", 2, 7.0), event("x", 3, 8.0), event("x", 8.01, 9.0), event("y", 3.01, 1.0)]
    dataset = declared(fti.Label(events["v"], within="3h"))
    result, by_id = made(connection, dataset, {spine: rows, events: first}, cutoff=20)
    # An outcome at the prediction time itself is no outcome of it; the horizon's end is inside.
    assert {number: one["v"] for number, one in by_id.items()} == {1: 7.0, 2: 8.0, 3: 8.0}
    assert result.left_out["unlabelled"] == 3


def test_the_horizons_end_is_inside(connection: duckdb.DuckDBPyConnection) -> None:
    stored = {spine: [row(1, 0), row(2, 0, k="y")], events: [event("x", 3), event("y", 3.001)]}
    _, by_id = made(connection, declared(fti.Label(events["v"], within="3h")), stored, cutoff=20)
    assert list(by_id) == [1]


def test_within_reads_corrections_of_the_first_outcome_too(connection: duckdb.DuckDBPyConnection) -> None:
    known = [event("x", 2, 1.0), event("x", 2, 5.0, a=19), event("x", 2, 6.0, a=21)]
    _, by_id = made(connection, declared(fti.Label(events["v"], within="3h")), {spine: [row(1, 0)], events: known}, 20)
    assert by_id[1]["v"] == 5.0


def test_within_of_the_spine_itself_is_its_next_row(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, 0, y=1.0), row(1, 2, y=2.0), row(1, 7, y=3.0)]
    lake: Any = Rows(connection, {spine: rows})
    dataset = declared(fti.Label(spine["y"], within="3h"))
    view = dataset.view.record(lambda group: {name: type_of_sql(kind) for name, kind in SPINE.items()})
    result = dataset_rows(lake, dataset, view, cutoff=START + 20 * HOUR, snapshot=1)
    assert result.relation.project("t, y").fetchall() == [(hours(0), 2.0)]
    assert result.left_out["unlabelled"] == 2


def test_rows_younger_than_maturity_are_left_out_labelled_or_not(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, 0), row(2, 6), row(3, 6.01), row(4, 9), row(5, 0.5)]
    known = [outcome(number, 6.5) for number in (1, 2, 3)]
    result, by_id = made(
        connection, declared(fti.Label(outcomes["v"], maturity="4h"), split=fti.TimeSplit(validation="1s", test="1s")),
        {spine: [*rows, row(6, -5)], outcomes: [*known, outcome(6, 0)]}, cutoff=10,
    )  # fmt: skip
    assert result.left_out == {"immature": 2, "unlabelled": 1, "between splits": 1}
    assert {number: one["split"] for number, one in by_id.items()} == {6: "train", 2: "test"}


def test_splits_count_back_from_cutoff_less_maturity_with_gaps_between(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    dataset = declared(
        fti.Label(outcomes["v"], maturity="2h"), split=fti.TimeSplit(validation="3h", test="4h"), window="30h"
    )
    rows = [row(number, number / 2) for number in range(-4, 81)]
    known = [outcome(number, number / 2) for number in range(-4, 81)]
    results, by_id = made(connection, dataset, {spine: rows, outcomes: known}, cutoff=40)
    spans = {part: [number / 2 for number in by_id if by_id[number]["split"] == part] for part in results.rows}
    # cutoff 40 less 2 is the test's end, 4 hours back its start; a gap of 2; 3 hours of validation; a gap of 2
    assert {part: (min(times), max(times)) for part, times in spans.items()} == {
        "train": (10.0, 26.5),
        "validation": (29.0, 31.5),
        "test": (34.0, 38.0),
    }
    assert results.left_out == {"immature": 3, "unlabelled": 0, "between splits": 8}
    assert results.trained_until == hours(31.5)


def test_a_window_counts_back_from_the_cutoff(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, 3.99), row(2, 4), row(3, 6)]
    known = [outcome(number, 7) for number in (1, 2, 3)]
    _, by_id = made(connection, declared(BY_KEY, window="6h"), {spine: rows, outcomes: known}, cutoff=10)
    assert list(by_id) == [2, 3]


def test_ambiguous_spine_key_is_refused_for_label_by_key(connection: duckdb.DuckDBPyConnection) -> None:
    stored = {spine: [row(1, -5), row(7, 1), row(7, 2)], outcomes: [outcome(1, -4), outcome(7, 1.5)]}
    with pytest.raises(
        DataError, match=r"the key id of the spine spine_v1 is not unique.*it has 7 more than once.*within="
    ):
        made(connection, declared(BY_KEY), stored, cutoff=10)
    _, by_id = made(connection, declared(BY_KEY), stored, cutoff=2)  # the second one is not there yet
    assert list(by_id) == [1, 7]


def test_nothing_to_train_on_says_what_there_was(connection: duckdb.DuckDBPyConnection) -> None:
    stored = {spine: [row(1, 0), row(2, 9.5)], outcomes: [outcome(2, 9.6)]}
    with pytest.raises(DataError, match=r"has no row to train on: 2 rows of spine_v1 .* 1 unlabelled, .* 1 test"):
        made(connection, declared(BY_KEY), stored, cutoff=10)


OLD = {spine: [row(number, number) for number in range(10)], outcomes: [outcome(number, 11) for number in range(10)]}


def test_shares_suit_rows_of_any_span(connection: duckdb.DuckDBPyConnection) -> None:
    dataset = declared(BY_KEY, split=fti.TimeSplit())
    result, by_id = made(connection, dataset, OLD, cutoff=9000)
    assert {number: one["split"] for number, one in by_id.items()} == {
        **dict.fromkeys(range(6), "train"),
        **dict.fromkeys((6, 7), "validation"),
        **dict.fromkeys((8, 9), "test"),
    }
    assert result.boundaries["test"] == (START + 8 * HOUR, START + 9000 * HOUR)


def test_shares_leave_gaps_of_a_maturity(connection: duckdb.DuckDBPyConnection) -> None:
    label = fti.Label(outcomes["v"], maturity="1h")
    _, by_id = made(connection, declared(label, split=fti.TimeSplit()), OLD, cutoff=9000)
    assert {number: one["split"] for number, one in by_id.items()} == {
        **dict.fromkeys(range(4), "train"),
        **dict.fromkeys((5, 6), "validation"),  # 4 and 7 are in the gaps
        **dict.fromkeys((8, 9), "test"),
    }


def test_shares_count_mature_rows_with_a_label(connection: duckdb.DuckDBPyConnection) -> None:
    stored = {**OLD, outcomes: [outcome(number, 9) for number in range(1, 10)]}
    dataset = declared(fti.Label(outcomes["v"], maturity="90min"), split=fti.TimeSplit(validation=0.01, test=0.5))
    result, by_id = made(connection, dataset, stored, cutoff=9.5)
    assert [number for number, one in by_id.items() if one["split"] == "test"] == [5, 6, 7, 8]
    assert result.left_out == {"immature": 1, "unlabelled": 1, "between splits": 2}


def test_gaps_longer_than_the_rows_span_say_so(connection: duckdb.DuckDBPyConnection) -> None:
    label = fti.Label(outcomes["v"], maturity="10h")
    with pytest.raises(DataError, match="gaps of the label's maturity, 10:00:00: take more history"):
        made(connection, declared(label, split=fti.TimeSplit()), OLD, cutoff=9000)


def test_an_empty_test_split_says_what_to_type(connection: duckdb.DuckDBPyConnection) -> None:
    dataset = declared(BY_KEY)
    result, _ = made(connection, dataset, OLD, cutoff=9000)
    assert result.rows == {"train": 10, "validation": 0, "test": 0}
    assert where_the_parts_lie(dataset, result.boundaries).endswith(
        "write split=fti.TimeSplit(validation=0.2, test=0.2) for shares of the rows that there are"
    )


def test_lookups_are_visible_at_every_instant(connection: duckdb.DuckDBPyConnection) -> None:
    stored = {
        spine: [row(1, 0), row(2, 1, k="unknown"), row(3, 1, k=None)],
        places: [{"k": "x", "size": 5}],
        verdicts: [{"id": number, "v": 1.0} for number in (1, 2, 3)],
    }
    dataset = declared(fti.Label(verdicts["v"]), features=[spine["own"], places["size"]])
    _, by_id = made(connection, dataset, stored, cutoff=10)
    assert {number: one["size"] for number, one in by_id.items()} == {1: 5, 2: None, 3: None}
    assert dataset.view.lookups == [verdicts, places]


def test_rows_come_in_time_order_with_exactly_views_columns(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    stored = {spine: [row(3, 2), row(2, 1), row(1, 2)], outcomes: [outcome(number, 3) for number in (1, 2, 3)]}
    result, by_id = made(connection, declared(BY_KEY), stored, cutoff=10)
    assert result.relation.columns == ["id", "t", "own", "v", "split"]
    assert list(by_id) == [2, 1, 3]


def test_a_feature_may_share_an_unused_spine_columns_name(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    @fti.feature_group(keys=["k"], event_time="e")
    def twins() -> pd.DataFrame: ...

    COLUMNS[twins] = {"k": "VARCHAR", "e": "TIMESTAMP", "own": "DOUBLE"}
    stored = {
        spine: [row(1, 2)],
        outcomes: [outcome(1, 3)],
        twins: [{"k": "x", "e": hours(1), "own": 42.0}],
    }
    _, by_id = made(connection, declared(BY_KEY, features=[twins["own"]]), stored, cutoff=10)
    assert by_id[1]["own"] == 42.0


def test_random_split_is_seeded_and_stays_when_rows_are_added(connection: duckdb.DuckDBPyConnection) -> None:
    def splits(numbers: Sequence[int], seed: int = 0) -> dict[int, str]:
        dataset = declared(
            fti.Label(people["y"]), of=people, split=fti.RandomSplit(validation=0.3, test=0.1, seed=seed)
        )
        result, by_id = made(connection, dataset, {people: [row(number, 0) for number in numbers]}, cutoff=10)
        assert result.trained_until is None
        return {number: one["split"] for number, one in by_id.items()}

    few, many = splits(range(1000)), splits(range(2000))
    assert few == {number: many[number] for number in few}
    assert splits(range(1000)) == few
    assert splits(range(1000), seed=1) != few
    shares = {part: sum(split == part for split in many.values()) / 2000 for part in ("train", "validation", "test")}
    assert shares == pytest.approx({"train": 0.6, "validation": 0.3, "test": 0.1}, abs=0.04)


def test_unlabelled_rows_without_times_are_dropped_and_counted(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(number, 0, y=None if number < 5 else 1.0) for number in range(60)]
    result, by_id = made(connection, declared(fti.Label(people["y"]), of=people), {people: rows}, cutoff=10)
    assert len(by_id) == 55
    assert result.left_out == {"immature": 0, "unlabelled": 5, "between splits": 0}


moments = st.sampled_from([*range(-8, 15), *range(9), *range(9)])
numbers = st.sampled_from([0.0, 1.0, 2.0, 3.0, None])


@st.composite
def histories(draw: st.DrawFn) -> Stored:
    """A corrected spine with unique ids, corrected outcomes, first outcomes of its entities, and a feature with late rows."""
    names = st.sampled_from(["x", "y"])
    spine_rows = [
        {**row(number, at, k=draw(st.none() | names), known=known), "own": float(draw(st.integers(0, 9)))}
        for number in range(draw(st.sampled_from([1, 6, 10])))
        for at in [draw(moments)]
        for known in draw(st.lists(moments, min_size=1, max_size=3, unique=True))
    ]
    corrections = {  # one outcome a key, corrected: one event time, and an available-at for each correction
        (one["id"], available): outcome(one["id"], at, draw(numbers), a=available)
        for one in {one["id"]: one for one in spine_rows}.values()
        for at in [draw(moments)]
        for available in draw(st.lists(moments, min_size=1, max_size=3) | st.just([]))
    }
    happened = {
        (k, e, a): event(k, e, draw(numbers), a=a)
        for k, e, a in draw(st.lists(st.tuples(names, moments, moments), max_size=6))
    }
    measured = {
        (k, e, a): measure(k, e, draw(st.none() | st.integers(0, 9)), a=a)
        for k, e, a in draw(st.lists(st.tuples(names, moments, moments), max_size=6))
    }
    return {
        spine: spine_rows,
        outcomes: list(corrections.values()),
        events: list(happened.values()),
        measures: list(measured.values()),
    }


def joined(group: FeatureGroup, keys: Sequence[str], column: str) -> JoinedGroup:
    return JoinedGroup(
        group.name,
        1,
        tuple(JoinedKey(key, key, "text") for key in keys),
        (JoinedColumn(column, column, "number"),),
        event_time="e",
        available_at="a",
        ttl_us=None if group.ttl is None else microseconds(group.ttl),
    )


def first_outcome(stored: Stored, one: Row, horizon: timedelta, cutoff: datetime) -> Any:
    """The first outcome of a row's entity after it, as its latest correction known at the cutoff has it."""
    observed = [
        other
        for other in stored[events]
        if other["k"] == one["k"] and max(other["e"], other["a"]) <= cutoff and other["e"] > one["t"]
    ]
    if not observed:
        return None
    first = min(other["e"] for other in observed)
    if first > one["t"] + horizon:
        return None
    return max((other for other in observed if other["e"] == first), key=lambda other: other["a"])["v"]


def expected(
    stored: Stored, dataset: TrainingDataset, cutoff: datetime
) -> tuple[dict[int, tuple[Any, ...]], dict[str, int]]:
    """Brute force: label, feature and split of each row that is left, and why the others are not."""
    label, kept, left_out = dataset.view.label, {}, {"immature": 0, "unlabelled": 0, "between splits": 0}
    assert isinstance(dataset.split, fti.TimeSplit)
    validation, test = dataset.split.validation, dataset.split.test
    assert isinstance(validation, str)
    assert isinstance(test, str)
    test_end = cutoff - label.age
    test_start = test_end - duration(test)
    validation_end = test_start - label.age
    validation_start = validation_end - duration(validation)
    parts = {
        "train": (None, validation_start - label.age),
        "validation": (validation_start, validation_end),
        "test": (test_start, test_end),
    }
    for number in {one["id"] for one in stored[spine]}:
        versions = [one for one in stored[spine] if one["id"] == number]
        one = oracles.spine_version(versions, versions[0]["t"], "known")
        old = dataset.window is not None and one["t"] < cutoff - dataset.window
        if one["t"] >= cutoff or one["known"] > cutoff or old:
            continue
        if label.horizon is not None:
            value = first_outcome(stored, one, label.horizon, cutoff)
        else:  # the same rule by which a feature is found, as of the cutoff
            won = oracles.winner(joined(outcomes, ["id"], "v"), stored[outcomes], [one["id"]], cutoff)
            value = None if won is None else won["v"]
        split = None
        for part, (start, end) in parts.items():
            if (start is None or one["t"] >= start) and (one["t"] < end or (part == "test" and one["t"] == end)):
                split = part
        if one["t"] > cutoff - label.age:
            left_out["immature"] += 1
        elif value is None:
            left_out["unlabelled"] += 1
        elif split is None:
            left_out["between splits"] += 1
        else:
            feature = oracles.winner(joined(measures, ["k"], "x"), stored[measures], [one["k"]], one["t"])
            kept[one["id"]] = (value, None if feature is None else feature["x"], one["own"], split)
    return kept, left_out


@settings(max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stored=histories(),
    cutoff=st.integers(2, 12),
    maturity=st.sampled_from(["0h", "1h", "3h"]),
    window=st.sampled_from([None, "18h"]),
    by_key=st.booleans(),
)
@example(  # the second row is just within the gap
    stored={
        spine: [{**row(number, at, known=at), "own": 0.0} for number, at in ((1, 0), (2, 5))],
        outcomes: [outcome(1, 1, 1.0), outcome(2, 6, 1.0)],
        events: [],
        measures: [],
    },
    cutoff=10,
    maturity="1h",
    window=None,
    by_key=True,
)
def test_rows_labels_features_and_splits_are_those_of_brute_force(
    connection: duckdb.DuckDBPyConnection, stored: Stored, cutoff: int, maturity: str, window: str | None, by_key: bool
) -> None:
    label = fti.Label(outcomes["v"], maturity=maturity) if by_key else fti.Label(events["v"], within=maturity)
    dataset = declared(label, features=[spine["own"], measures["x"]], window=window)
    kept, left_out = expected(stored, dataset, START + cutoff * HOUR)
    if not any(split == "train" for *_, split in kept.values()):
        with pytest.raises(DataError, match="no row to train on"):
            made(connection, dataset, stored, cutoff)
        return
    result, by_id = made(connection, dataset, stored, cutoff)
    assert {number: (one["v"], one["x"], one["own"], one["split"]) for number, one in by_id.items()} == kept
    assert result.left_out == left_out


@pytest.mark.parametrize(("cutoff", "y"), [(5, 1.0), (6, 2.0), (7, 3.0), (20, 3.0)])
@pytest.mark.parametrize("label", [fti.Label(spine["y"]), BY_KEY], ids=["own", "by key"])
def test_corrected_spine_row_keeps_columns_and_takes_latest_label(
    connection: duckdb.DuckDBPyConnection, label: fti.Label, cutoff: float, y: float
) -> None:
    first, second, third = row(1, 2, known=5, y=1.0), row(1, 2, known=6, y=2.0), row(1, 2, known=7, y=3.0)
    other = [row(2, 2, known=5, y=9.0), row(3, 3, known=5, y=9.0)]
    for one, own in zip((first, second, third), (1.0, 2.0, 3.0), strict=True):
        one["own"] = own
    stored = {spine: [second, *other, third, first], outcomes: [outcome(number, 3, 9.0) for number in (1, 2, 3)]}
    results, by_id = made(connection, declared(label, split=fti.TimeSplit(validation="1s", test="1s")), stored, cutoff)
    assert sum(results.rows.values()) + sum(results.left_out.values()) == 3
    assert by_id[1]["own"] == 1.0  # the earliest version: none was there at the prediction time
    assert results.delay_breaches == len(by_id)
    if label is not BY_KEY:
        assert by_id[1]["y"] == y


def test_columns_are_those_known_at_prediction_time(connection: duckdb.DuckDBPyConnection) -> None:
    versions = [row(1, 2, known=0, y=1.0), row(1, 2, known=2, y=2.0), row(1, 2, known=3, y=3.0)]
    for one, own in zip(versions, (1.0, 2.0, 3.0), strict=True):
        one["own"] = own
    stored = {spine: [versions[2], row(2, 2, y=5.0), versions[0], versions[1]]}
    result, by_id = made(connection, declared(fti.Label(spine["y"])), stored, cutoff=10)
    assert {number: (one["own"], one["y"]) for number, one in by_id.items()} == {1: (2.0, 3.0), 2: (2.0, 5.0)}
    assert result.delay_breaches == 0


@pytest.mark.soak
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_parts_of_two_seeds_are_independent(connection: duckdb.DuckDBPyConnection, share: float) -> None:
    count = 4000

    def tests(seed: int) -> set[int]:
        split = fti.RandomSplit(validation=0.2, test=share, seed=seed)
        dataset = declared(fti.Label(people["y"]), of=people, split=split)
        _, by_id = made(connection, dataset, {people: [row(number, 0) for number in range(count)]}, cutoff=10)
        return {number for number, one in by_id.items() if one["split"] == "test"}

    parts = [tests(seed) for seed in range(4)]
    for one, other in combinations(parts, 2):
        assert len(one & other) / count == pytest.approx(share**2, abs=0.02)


def test_coverage_counts_joined_rows_and_values(connection: duckdb.DuckDBPyConnection) -> None:
    values = [measure("x", 1, 1), measure("x", 3, None), measure("z", -20, 5)]
    rows = [row(1, 0), row(2, 2), row(3, 4), row(4, 4, k="z"), row(5, 4, k=None)]
    known = [outcome(number, 5) for number in (1, 2, 3, 4, 5)]
    dataset = declared(
        BY_KEY, features=[spine["own"], measures["x"], places["size"], measures.on(k="k").prefix("again_")["x"]]
    )
    stored = {spine: rows, outcomes: known, measures: values, places: [{"k": "x", "size": None}]}
    result, by_id = made(connection, dataset, stored, cutoff=10)
    assert len(by_id) == 5
    assert result.coverage == {
        "measures_v1 by k for x": {"(row)": 0.4, "x": 0.2},
        "measures_v1 by k for again_x": {"(row)": 0.4, "again_x": 0.2},
        "places_v1": {"(row)": 0.6, "size": 0.0},
    }
    dataset = declared(BY_KEY, features=[spine["own"], measures["x"], places["size"]])
    result, _ = made(connection, dataset, stored, cutoff=10)
    assert result.coverage == {"measures_v1": {"(row)": 0.4, "x": 0.2}, "places_v1": {"(row)": 0.6, "size": 0.0}}
    assert made(connection, declared(BY_KEY), stored, cutoff=10)[0].coverage == {}
