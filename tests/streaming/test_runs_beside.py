"""Runs over the partitions of a streamed group, while its service goes on: no row of the stream is lost, and online values follow."""

from __future__ import annotations

from datetime import datetime

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.errors import DataError
from fti_assets.features.steps.streamed_run import replace_streamed
from fti_assets.features.stored_partitions import provisional_partitions
from fti_assets.orchestration.partitions import partitions_of
from fti_assets.stores.online.store import online_store
from fti_assets.testing import MemoryStream
from tests.streaming.test_kills import Killed, killed
from tests.streaming.test_service import World
from tests.support.payments import DAY, MINUTE, Payments, payment, payments, spending

AT = "2024-05-01T12:00:00Z"


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def frame(*contents, stored_at: int) -> pd.DataFrame:
    rows = pd.DataFrame(contents)
    rows["at"] = pd.to_datetime(rows["at"]).dt.tz_localize(None).astype("datetime64[us]")
    rows["stored_at"] = pd.to_datetime([stored_at + n for n in range(len(rows))], unit="us")
    return rows


def materialize(world: World, group, partition: str = "2024-05-01", at: str = AT):
    stores = fti.Stores(lake=world.folder / "lake", online=world.folder / "online")
    with clock.at(at):
        return dg.materialize([group.assets_def], partition_key=partition, resources={"fti": stores})


def group_over(archive: list, events: MemoryStream, *, online: bool = True, **terms):
    @fti.feature_group(
        name="payments",
        keys=["card"],
        event_time="at",
        available_at="stored_at",
        schema=Payments,
        partitions_def=dg.DailyPartitionsDefinition(start_date="2024-04-01"),
        stream=events,
        online=online,
        **terms,
    )
    def declared() -> pd.DataFrame:
        return archive[0]

    return declared


def test_a_run_that_gives_the_same_rows_changes_nothing(world):
    events = MemoryStream("payments")
    contents = [payment("a", amount=1.0), payment("b", amount=2.0)]
    archive = [frame(*contents, stored_at=DAY + 660 * MINUTE)]
    group = group_over(archive, events, online=False)
    events.put(*contents, at=DAY + 660 * MINUTE)
    world.run(group)
    with world.offline.connect() as lake:
        streamed = lake.ledger(group.table)["2024-05-01"]
    assert materialize(world, group, at="2024-05-03T00:00:00Z").success
    with world.offline.connect() as lake:
        batch = lake.ledger(group.table)["2024-05-01"]
    assert batch.data_version == streamed.data_version
    assert batch.committed_at == streamed.committed_at


def test_a_day_is_final_once_a_run_has_said_so(world):
    """However late the service adds to it: it may be behind, and nobody knows what is to come."""
    events = MemoryStream("payments")
    first = payment("a", amount=1.0)
    group = group_over([frame(first, stored_at=DAY + 660 * MINUTE)], events, online=False)
    events.put(first, at=DAY + 660 * MINUTE)
    world.run(group, at="2024-05-02T09:00:00Z")
    end, days = datetime(2024, 5, 2), (datetime(2024, 5, 1), datetime(2024, 5, 2))
    with world.offline.connect() as lake:
        assert provisional_partitions(lake, group, *days, snapshot=lake.snapshot()) == ["payments_v1 2024-05-01"]
    assert materialize(world, group, at="2024-05-02T10:00:00Z").success
    events.put(payment("b"), at=DAY + 661 * MINUTE)
    world.run(group, at="2024-05-02T11:00:00Z")
    with world.offline.connect() as lake:
        assert lake.ledger(group.table)["2024-05-01"].run_at > end
        assert provisional_partitions(lake, group, *days, snapshot=lake.snapshot()) == []


@pytest.mark.soak
def test_rows_that_the_archive_of_an_open_day_lacks_stay(world):
    events = MemoryStream("payments")
    first, second = payment("a", amount=1.0), payment("b", amount=2.0)
    archive = [frame(first, stored_at=DAY + 660 * MINUTE)]
    group = group_over(archive, events, online=False)
    events.put(first, second, at=DAY + 660 * MINUTE)
    world.run(group)
    assert materialize(world, group).success
    assert len(world.rows(group)) == 2
    # Once the day is over, the run says what it held.
    assert materialize(world, group, at="2024-05-03T00:00:00Z").success
    assert len(world.rows(group)) == 1


def test_rows_that_are_flushed_while_a_run_reads_stay(world):
    events = MemoryStream("payments")
    group = payments(events)
    events.put(payment("a", amount=1.0), at=DAY + 660 * MINUTE)
    world.run(group)
    with world.offline.connect() as lake:
        began = lake.snapshot()
    events.put(payment("b", amount=2.0), at=DAY + 661 * MINUTE)
    world.run(group)
    with world.offline.connect() as lake, clock.at("2024-05-09T00:00:00Z"):
        lake.connection.execute(
            f"CREATE TEMP TABLE given AS SELECT * REPLACE (7.0::DOUBLE AS amount) FROM {group.table.sql} AT (VERSION => {began})"
        )
        [partition] = partitions_of(group.partitions_def, ["2024-05-01"])
        commit = replace_streamed(
            lake, group, "given", [partition], began=began, check=lambda: None,
            writer={"asset": "payments", "run_id": ""}, addable=(),
        )  # fmt: skip
    assert commit.kept == 1
    assert [row[3] for row in world.rows(group)] == [7.0, 2.0]


def test_a_run_leaves_the_online_store_to_the_service_while_it_is_ahead(world):
    """A correction of the day is in the lake; what the service has taken since is not yet, and must not be lost online."""
    events = MemoryStream("payments")
    first, second = payment("a", amount=1.0), payment("b", amount=2.0)
    archive = [frame({**first, "amount": 5.0}, stored_at=DAY + 660 * MINUTE)]
    group = group_over(archive, events)
    events.put(first, at=DAY + 660 * MINUTE)
    world.run(group)
    events.put(second, at=DAY + 661 * MINUTE)
    with killed("records", after=False, times=1), pytest.raises(Killed):
        world.run(group)  # it ends before it has flushed
    assert materialize(world, group).success
    assert (world.value(group, "a"), world.value(group, "b")) == (1.0, 2.0)
    world.run(group)
    assert (world.value(group, "a"), world.value(group, "b")) == (5.0, 2.0)
    assert [row[3] for row in world.rows(group)] == [5.0, 2.0]


@pytest.mark.soak
def test_unflushed_rows_are_loaded_where_what_has_changed_cannot_be_told(world, monkeypatch):
    """The whole load that follows has a transaction of its own, without what was named in the one that failed."""
    events = MemoryStream("payments")
    first, second = payment("a", amount=1.0), payment("b", amount=2.0)
    group = group_over([frame({**first, "amount": 5.0}, stored_at=DAY + 660 * MINUTE)], events)
    events.put(first, at=DAY + 660 * MINUTE)
    world.run(group)
    events.put(second, at=DAY + 661 * MINUTE)
    with killed("records", after=False, times=1), pytest.raises(Killed):
        world.run(group)
    assert materialize(world, group).success
    failures = []

    def fail(load, about):
        failures.append(about)
        return load._lake.connection.execute("SELECT error('a file is gone')").fetchall()

    monkeypatch.setattr("fti_assets.features.online.load._Load._changed_keys", fail)
    world.run(group)
    assert failures
    assert (world.value(group, "a"), world.value(group, "b")) == (5.0, 2.0)
    assert [row[3] for row in world.rows(group)] == [5.0, 2.0]


def test_windows_count_a_row_once_that_a_run_had_before_the_service(world):
    """The run's load has it already, and the service puts it in as an event: the flush sees that it is stored, and makes its key again."""
    events = MemoryStream("payments")
    first, second, third = payment("a", amount=1.0), payment("a", amount=2.0), payment("b", amount=4.0)
    archive = [frame(first, second, third, stored_at=DAY + 660 * MINUTE)]
    group = group_over(archive, events)
    windows = spending(group, "spent", "paid")
    events.put(first, at=DAY + 660 * MINUTE)
    world.run(group, windows=[windows])
    assert materialize(world, group).success
    events.put(second, third, at=DAY + 660 * MINUTE + 1)
    for _ in range(2):  # a service that begins again has nothing to mend
        world.run(group, windows=[windows])
        reader = world.online.reader(windows.table_name, columns=["spent_2h", "paid_2h"])
        at = DAY + 661 * MINUTE
        assert [reader.get((card,), at_us=at).values for card in "ab"] == [(3.0, 2), (4.0, 1)]
    assert len(world.rows(group)) == 3


@pytest.mark.soak
def test_a_run_loads_the_online_store_where_all_is_flushed(world):
    events = MemoryStream("payments")
    first = payment("a", amount=1.0)
    archive = [frame({**first, "amount": 5.0}, stored_at=DAY + 660 * MINUTE)]
    group = group_over(archive, events)
    events.put(first, at=DAY + 660 * MINUTE)
    world.run(group)
    assert materialize(world, group).success
    assert world.value(group, "a") == 5.0
    events.put(payment("a", "2024-05-01T10:30:00Z", amount=6.0), at=DAY + 662 * MINUTE)
    world.run(group)
    assert world.value(group, "a") == 6.0
    assert world.value(group, "a", at_us=DAY + 661 * MINUTE) == 5.0


def test_a_run_may_give_no_column_that_events_do_not_have(world):
    events = MemoryStream("payments")
    archive = [frame(payment("a", amount=1.0), stored_at=DAY).assign(more=1)]
    group = group_over(archive, events)
    with pytest.raises(DataError, match="gave 'more', which its schema does not declare"):
        materialize(world, group)


def test_a_group_of_a_stream_alone_reads_the_broker_again(world):
    events = MemoryStream("payments")
    group = fti.stream_feature_group(
        name="payments",
        keys=["card"],
        event_time="at",
        available_at="stored_at",
        schema=Payments,
        partitions_def=dg.DailyPartitionsDefinition(start_date="2024-04-01"),
        stream=events,
        online=True,
    )
    events.put(
        payment("a"), b"no JSON", payment("b", "2024-04-30T23:59:00Z"), payment("c", "2024-05-02T00:00:00Z"),
        payment("a", amount=9.0), at=DAY + 660 * MINUTE, step=0,
    )  # fmt: skip
    world.run(group)
    with world.offline.connect() as lake:
        streamed = {key: one.data_version for key, one in lake.ledger(group.table).items()}
    for partition in streamed:
        assert materialize(world, group, partition, at="2024-05-09T00:00:00Z").success
    with world.offline.connect() as lake:
        assert {key: one.data_version for key, one in lake.ledger(group.table).items()} == streamed
    assert len(world.rows(group)) == 3
    assert online_store(str(world.folder / "online")).counts(group.table_name) == (3, 3)
