"""Every kind of bad input by the service itself: taken as stated or a dead letter with its reason, counted, and the rest goes on."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pandera.pandas as pa

from fti_assets.core import clock
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import online_store
from fti_assets.stores.streams.event import Event
from fti_assets.streaming import outbox as outboxes
from fti_assets.streaming import service
from fti_assets.streaming.service import Settings, stream
from fti_assets.testing import MemoryStream
from tests.support.payments import DAY, MINUTE, Payments, payment, payments

NOW = DAY + 720 * MINUTE
AT = DAY + 700 * MINUTE


def take(folder: Path, *groups, **settings) -> list[tuple[str, dict]]:
    said: list[tuple[str, dict]] = []
    chosen = Settings(**{"until_caught_up": True, "flush_seconds": 60.0, "batch_seconds": 0.0, **settings})
    stores = OfflineStore(folder / "lake"), online_store(str(folder / "online"))
    with clock.at("2024-05-01T12:00:00Z"):
        asyncio.run(
            stream(
                groups,
                *stores,
                folder / "outbox",
                settings=chosen,
                say=lambda what, **facts: said.append((what, facts)),
            )
        )
    return said


def stored(folder: Path, group) -> tuple[list[float], dict[int, str]]:
    """The amounts of the rows, and the reason of each dead letter by its sequence."""
    with OfflineStore(folder / "lake").connect() as lake:
        amounts = [amount for (amount,) in lake.rows(group.table).project("amount").order("amount").fetchall()]
        letters = []
        if lake.has(group.table.dead_letters):
            letters = lake.rows(group.table.dead_letters).project("sequence, reason").fetchall()
    return amounts, dict(letters)


BAD = {
    "an unknown field": (payment(amout=1.0), "it has 'amout', which is none of the columns"),
    "a wrong type": (payment(amount="12,50"), "amount is '12,50': a number is expected"),
    "a null key": (payment(None), "card is missing or null, and never may be"),
    "10 MB": (b'{"card": "' + b"x" * 10_000_000 + b'"}', "it has 10,000,012 bytes, and at most 1,048,576 are taken"),
    "invalid UTF-8": (b'{"card": "\xff"}', "it cannot be read|it is no UTF-8"),
    "a rule that it breaks": (payment(amount=-1.0), "it breaks amount"),
    "an event of years before the partitions": (payment(at="2023-05-01T00:00:00Z"), "in none of the partitions"),
    "an event of three days ahead": (payment(at="2024-05-04T12:00:00Z"), "more than a day after the broker stored it"),
}


def test_bad_events_are_dead_letters_with_their_reasons_and_the_others_are_rows(tmp_path):
    events = MemoryStream("payments")
    group = payments(events, online=True)
    for number, (content, _) in enumerate(BAD.values()):
        events.put(content, payment(f"c{number}", amount=float(number)), at=AT + 2 * number)
    said = take(tmp_path, group, batch_events=3)
    amounts, reasons = stored(tmp_path, group)
    assert amounts == [float(number) for number in range(len(BAD))]
    assert sorted(reasons) == [1 + 2 * number for number in range(len(BAD))]
    for number, (_, reason) in enumerate(BAD.values()):
        assert any(part in reasons[1 + 2 * number] for part in reason.split("|")), reasons[1 + 2 * number]
    assert sum(facts["number"] for what, facts in said if what == "dead_letters") == len(BAD)
    assert sum(facts["dead_letters"] for what, facts in said if what == "flushed") == len(BAD)
    reader = online_store(str(tmp_path / "online")).reader("payments_v1", columns=["amount"])
    assert [reader.get((f"c{number}",), at_us=NOW).values for number in range(len(BAD))] == [
        (float(number),) for number in range(len(BAD))
    ]


def test_an_event_of_last_month_and_one_of_tomorrow_are_rows_of_their_days(tmp_path):
    events = MemoryStream("payments")
    group = payments(events)
    events.put(payment(at="2024-04-02T00:00:00Z", amount=1.0), payment(at="2024-05-02T06:00:00Z", amount=2.0), at=AT)
    take(tmp_path, group)
    assert stored(tmp_path, group) == ([1.0, 2.0], {})
    with OfflineStore(tmp_path / "lake").connect() as lake:
        assert sorted(lake.ledger(group.table)) == ["2024-04-02", "2024-05-02"]


def test_of_two_events_with_one_sequence_the_first_is_a_row_and_the_others_are_passed_over(tmp_path):
    """No broker gives one number twice: what comes again under it is a delivery anew."""
    events = MemoryStream("payments")
    group = payments(events)
    events.put(payment(amount=1.0), at=AT)
    [first] = events.stored[0]
    other = Event(0, first.sequence, first.stored_at + 1, first.payload.replace(b"1.0", b"2.0"))
    events.stored[0].append(other)
    events.put(payment("b", amount=3.0), at=AT + 2)
    take(tmp_path, group)
    assert stored(tmp_path, group) == ([1.0, 3.0], {})


def test_two_producers_that_send_one_payment_each_make_two_rows_if_the_broker_stored_two(tmp_path):
    events = MemoryStream("payments")
    group = payments(events)
    events.put(payment(amount=1.0), payment(amount=1.0), at=AT)
    take(tmp_path, group)
    assert stored(tmp_path, group) == ([1.0, 1.0], {})


def test_events_of_a_newer_schema_are_dead_letters_until_the_group_knows_it_and_then_rows(tmp_path):
    class More(Payments):
        shop: str = pa.Field(nullable=True)

    events = MemoryStream("payments")
    group = payments(events)
    events.put(payment(amount=1.0), payment(amount=2.0, shop="s"), at=AT)
    take(tmp_path, group)
    amounts, letters = stored(tmp_path, group)
    assert (amounts, list(letters)) == ([1.0], [2])
    assert "'shop', which is none of the columns" in letters[2]
    newer = payments(events, schema=More)
    events.put(payment(amount=3.0, shop="s"), payment(amount=4.0), at=AT + 2)
    take(tmp_path, newer)
    assert stored(tmp_path, newer) == ([1.0, 3.0, 4.0], letters)


def test_a_full_disk_of_the_outbox_is_waited_for_and_nothing_is_lost(tmp_path, monkeypatch):
    """SQLite itself refuses, since its file may not grow."""
    events = MemoryStream("payments")
    group = payments(events, online=True)
    for number in range(60):
        events.put(payment(f"c{number}", amount=float(number)), at=AT + number)
    connect = outboxes._connect
    opened: list[sqlite3.Connection] = []

    def small(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        if not opened:
            [(pages,)] = connection.execute("PRAGMA page_count").fetchall()
            connection.execute(f"PRAGMA max_page_count = {pages + 4}")
        opened.append(connection)
        return connection

    failures: list[str] = []

    async def make_room(attempt: int, stop: asyncio.Event) -> int:
        failures.append("full")
        if len(failures) == 3:
            opened[0].execute("PRAGMA max_page_count = 100000")
        return attempt + 1

    monkeypatch.setattr(outboxes, "_connect", small)
    monkeypatch.setattr(service, "_back_off", make_room)
    said = take(tmp_path, group, batch_events=5)
    assert len(failures) == 3
    errors = [facts["error"] for what, facts in said if what == "outbox_failed"]
    assert len(errors) == 3
    assert all("database or disk is full" in error and "Make room on the disk" in error for error in errors)
    assert stored(tmp_path, group) == ([float(number) for number in range(60)], {})
    reader = online_store(str(tmp_path / "online")).reader("payments_v1", columns=["amount"])
    assert reader.get(("c59",), at_us=NOW).values == (59.0,)
