"""Rows of a stream in the lake: the ledger says of them what a run that gives the same rows says."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.features.events.decoding import group_decoder
from fti_assets.features.events.reading import EventReader
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.streaming.dead_letters import dead_letters_table
from fti_assets.streaming.flush import Flush, flush
from fti_assets.streaming.outbox import Batches
from fti_assets.testing import MemoryStream
from tests.support.examples import examples
from tests.support.payments import DAY, MINUTE, payment, payments


def intake_of(group: FeatureGroup):
    events = group.stream.events
    return EventReader(group, group_decoder(group)).read(events)


def flushed(lake: Lake, group: FeatureGroup, first: int = 0, last: int | None = None) -> Flush:
    events = group.stream.events[first:last]
    intake = EventReader(group, group_decoder(group)).read(events)
    return flush(lake, group, Batches(1, intake.rows, intake.dead_letters))


@pytest.fixture
def lake(tmp_path: Path):
    with OfflineStore(tmp_path / "lake").connect() as lake:
        yield lake


def test_rows_of_a_stream_are_in_the_partition_of_their_event_time(lake):
    stream = MemoryStream("payments")
    group = payments(stream)
    stream.put(payment(), payment("b", "2024-05-02T00:00:00Z"), at=DAY + 600 * MINUTE)
    result = flushed(lake, group)
    assert dict(result.additions) == {"2024-05-01": 1, "2024-05-02": 1}
    assert result.positions == lake.stream_positions(group.table) == {0: 2}
    assert lake.rows(group.table).order("card").fetchall()[0] == (
        "a", datetime(2024, 5, 1, 10), datetime(2024, 5, 1, 10), 1.5, 7, True,
    )  # fmt: skip


def test_events_that_were_flushed_are_not_flushed_again(lake):
    stream = MemoryStream("payments")
    group = payments(stream)
    stream.put(*[payment(str(number)) for number in range(5)], at=DAY + 600 * MINUTE)
    flushed(lake, group, 0, 3)
    result = flushed(lake, group)
    assert dict(result.additions) == {"2024-05-01": 2}
    again = flushed(lake, group)
    assert (dict(again.additions), again.positions) == ({}, {0: 5})
    assert len(lake.rows(group.table)) == 5


def test_an_event_that_is_no_row_is_a_dead_letter_with_its_reason_and_the_others_go_on(lake):
    stream = MemoryStream("payments")
    group = payments(stream)
    wrong = {
        "no JSON": b"{",
        "null key": payment(card=None),
        "wrong type": payment(terminal="seven"),
        "broken rule": payment(amount=-1.0),
        "half a character": payment(card="\ud800"),
        "before the partitions": payment(at="2023-05-01T00:00:00Z"),
        "far ahead": payment(at="2024-05-03T12:00:00Z"),
        "too large": payment(terminal=2**63),
        "no time": payment(at="yesterday"),
    }
    stream.put(payment("first"), *wrong.values(), payment("last"), at=DAY + 600 * MINUTE)
    result = flushed(lake, group)
    assert sum(result.additions.values()) == 2
    assert sum(result.dead_letters.values()) == len(wrong)
    letters = lake.rows(dead_letters_table(group)).order("sequence").df()
    assert list(letters.sequence) == [*range(2, 2 + len(wrong))]
    assert letters.payload[0] == b"{"
    reasons = dict(zip(wrong, letters.reason, strict=True))
    assert reasons["broken rule"] == "it breaks amount_greater_than_or_equal_to: amount: greater_than_or_equal_to(0)"
    assert reasons["null key"] == "card is missing or null, and never may be"
    assert "more than a day after" in reasons["far ahead"]
    assert flushed(lake, group).dead_letters == {}


@settings(max_examples=examples(12))
@given(data=st.data())
def test_a_partition_has_the_version_that_a_run_with_the_same_rows_gives_it(tmp_path_factory, data):
    """However the events are cut into flushes, and whatever was stored before."""
    number = data.draw(st.integers(1, 12))
    contents = [
        payment(
            data.draw(st.sampled_from(["a", "b", "ä\0", ""])),
            data.draw(st.sampled_from(["2024-05-01T10:00:00Z", "2024-05-01T23:59:59.999999Z", "2024-05-02T00:00:00Z"])),
            amount=data.draw(st.one_of(st.none(), st.floats(0, allow_nan=False, allow_infinity=False))),
            terminal=data.draw(st.integers(-(2**63), 2**63 - 1)),
        )
        for _ in range(number)
    ]
    cuts = sorted(data.draw(st.sets(st.integers(0, number))) | {0, number})
    stream = MemoryStream("payments")
    group = payments(stream)
    stream.put(*contents, at=DAY + 600 * MINUTE)
    folder = tmp_path_factory.mktemp("lakes")
    with OfflineStore(folder / "streamed").connect() as streamed, OfflineStore(folder / "batch").connect() as batch:
        for start, end in pairwise(cuts):
            flushed(streamed, group, start, end)
        rows = intake_of(group).rows
        batch.connection.register("arrived", rows)
        batch.connection.execute(
            "CREATE TEMP TABLE staged AS SELECT * EXCLUDE (_fti_shard, _fti_sequence) FROM arrived"
        )
        batch.replace(group.table, "staged", sorted(set(rows["_partition"].to_pylist())), asset="payments")
        versions = {key: (one.data_version, one.rows) for key, one in batch.ledger(group.table).items()}
        assert versions == {key: (one.data_version, one.rows) for key, one in streamed.ledger(group.table).items()}


def test_rows_that_a_run_has_stored_meanwhile_are_not_added_again(lake):
    stream = MemoryStream("payments")
    group = payments(stream)
    stream.put(*[payment(str(number)) for number in range(4)], at=DAY + 600 * MINUTE)
    flushed(lake, group, 0, 2)
    rows = intake_of(group).rows
    lake.connection.register(
        "arrived", rows.slice(0, 3)
    )  # the run's archive had the third event, which is not flushed yet
    lake.connection.execute("CREATE TEMP TABLE staged AS SELECT * EXCLUDE (_fti_shard, _fti_sequence) FROM arrived")
    lake.replace(group.table, "staged", ["2024-05-01"], asset="payments")
    result = flushed(lake, group)
    assert (result.present, dict(result.additions)) == (1, {"2024-05-01": 1})
    assert len(lake.rows(group.table)) == 4


def test_an_event_with_the_keys_and_times_of_another_row_is_a_dead_letter(lake):
    stream = MemoryStream("payments")
    group = payments(stream)
    stream.put(payment(), payment(amount=2.0), at=DAY, step=0)
    flushed(lake, group, 0, 1)
    result = flushed(lake, group)
    assert (dict(result.additions), result.present) == ({}, 0)
    [(reason, count)] = result.dead_letters.items()
    assert count == 1
    assert reason.startswith("another row has the same card, at, stored_at")
    assert len(lake.rows(group.table)) == 1


def test_rows_of_two_shards_keep_a_position_each(lake):
    stream = MemoryStream("payments", shards=2)
    group = payments(stream)
    stream.put(payment(), at=DAY)
    stream.put(payment("b"), payment("c"), at=DAY, shard=1)
    assert flushed(lake, group, 0, 2).positions == {0: 1, 1: 1}
    assert flushed(lake, group).positions == {0: 1, 1: 2}
    assert len(lake.rows(group.table)) == 3


def test_rows_are_read_back_as_they_came(lake):
    stream = MemoryStream("payments")
    group = payments(stream)
    stream.put(payment(), at=DAY)
    flushed(lake, group)
    types = {name: str(kind) for name, kind in lake.types(group.table).items()}
    assert types == {
        "card": "VARCHAR",
        "at": "TIMESTAMP",
        "stored_at": "TIMESTAMP",
        "amount": "DOUBLE",
        "terminal": "BIGINT",
        "online": "BOOLEAN",
    }
