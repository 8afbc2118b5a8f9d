"""New rows put beside those of a blob: the same bytes as when all are put in at once, those of a frontier by hand, and the winners of the
oracle."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fti_assets.core.manifest import Column, JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.features.online.keyed import places_of_keys
from fti_assets.features.online.merging import Merge
from fti_assets.stores.online.blobs import BlobFormat
from fti_assets.stores.online.keys import key_encoder

TYPES = {
    "event": ("timestamp", pa.timestamp("us")), "known": ("timestamp", pa.timestamp("us")), "note": ("text", pa.string()),
    "ok": ("boolean", pa.bool_()), "point": ("vector", pa.list_(pa.float32())), "amount": ("number", pa.float64()),
    "tie": ("integer", pa.int64()), "name": ("text", pa.string()),
}  # fmt: skip
NAMES = ["", "a", "ä", "b"]


def joined(names: list[str], tie: str | None) -> JoinedGroup:
    return JoinedGroup(
        group="payments",
        version=1,
        keys=(JoinedKey("card", "card", "text"),),
        columns=tuple(JoinedColumn(name, name, TYPES[name][0]) for name in names),
        event_time="event",
        available_at="known",
        serving_delay_us=0,
        ttl_us=None,
        tie_break=tie,
        external="",
    )


def table(rows: list[dict], names: list[str]) -> pa.Table:
    schema = pa.schema([("card", pa.string()), *((name, TYPES[name][1]) for name in names)])
    return pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema)


def frontier(rows: list[dict], since: int, tie: str | None) -> list[dict]:
    """By hand: the rows that answer an instant from one on."""

    def rank(row: dict) -> tuple:
        value = None if tie is None else row[tie]
        return row["event"], row["known"], value is not None, value or type(value)()

    kept = []
    for instant in sorted({max(row["event"], row["known"]) for row in rows}):
        winner = max((row for row in rows if max(row["event"], row["known"]) <= instant), key=rank)
        if not kept or kept[-1][1] is not winner:
            kept.append((instant, winner))
    first = max((place for place, (instant, _) in enumerate(kept) if instant <= since), default=0)
    # A winner that was visible before and wins again is none: a row counts once, when it becomes visible.
    return [winner for instant, winner in kept[first:] if max(winner["event"], winner["known"]) == instant]


def blob_of(key: bytes, rows: list[dict], whole: JoinedGroup, names: list[str]) -> bytes:
    packed = BlobFormat(tuple(Column(one.column, one.type) for one in whole.columns), event_time=True)
    versions = []
    for row in rows:
        values = tuple(np.array(row[n], "<f4") if n == "point" and row[n] is not None else row[n] for n in names)
        versions.append((max(row["event"], row["known"]), row["event"], values))
    return packed.pack(key, versions)


@given(data=st.data(), texts=st.booleans(), tie=st.sampled_from([None, "tie", "name"]))
def test_rows_in_any_parts_are_what_a_frontier_by_hand_is(data, texts, tie):
    names = [name for name in TYPES if texts or TYPES[name][0] not in ("text", "vector") or name == tie]
    whole = joined(names, tie)
    merge = Merge(whole)
    identities = st.tuples(
        st.sampled_from("ab"), st.integers(0, 12), st.integers(0, 12), st.integers(0, 3 if tie else 0)
    )
    rows = []
    for card, event, known, number in data.draw(st.lists(identities, unique=True, min_size=1, max_size=14)):
        note = data.draw(st.one_of(st.none(), st.sampled_from(["", "ä", "long " * 3])))
        point = data.draw(st.one_of(st.none(), st.just([1.5, number])))
        is_null = tie is not None and number == 3
        rows.append(
            {
                "card": card, "event": event, "known": known, "note": note, "point": point, "ok": None if number == 1 else event > 3,
                "amount": None if number == 2 else 0.5 * known, "tie": None if is_null else number,
                "name": None if is_null else NAMES[number],
            }
        )  # fmt: skip
    since = data.draw(st.integers(0, 14))
    blobs: dict[bytes, bytes] = {}
    start = 0
    while start < len(rows):
        end = data.draw(st.integers(start + 1, len(rows)))
        blobs |= dict(
            merge.blobs(merge.rows_by_key(table(rows[start:end], names)), blobs, data.draw(st.integers(0, since)))
        )
        start = end
    # The same rows again change nothing.
    again = merge.rows_by_key(table(rows, names))
    last = dict(merge.blobs(again, blobs, since))
    assert list(again) == sorted({row["card"].encode() for row in rows})
    for key, blob in last.items():
        mine = [row for row in rows if row["card"].encode() == key]
        assert blob == blob_of(key, frontier(mine, since, tie), whole, names)
    at_once = dict(merge.blobs(merge.rows_by_key(table(rows, names)), {}, since))
    assert at_once == last


def test_a_blob_that_is_not_what_was_written_is_refused():
    whole = joined(["event", "known", "amount"], None)
    merge = Merge(whole)
    row = {"card": "a", "event": 1, "known": 1, "amount": 2.0}
    rows = merge.rows_by_key(table([row], ["event", "known", "amount"]))
    [(key, blob)] = merge.blobs(rows, {}, 0)
    with pytest.raises(ValueError, match="the checksum does not fit"):
        list(merge.blobs(rows, {key: blob[:-1] + bytes([blob[-1] ^ 1])}, 0))


def test_keys_of_several_parts_are_those_of_the_encoder_and_rows_without_one_have_none():
    at = datetime(2024, 5, 1)
    rows = [
        ("a", 1, True, at),
        ("b", 1, True, at),
        ("a", 1, True, at),
        ("a", None, True, at),
        ("é:1", -7, False, at + timedelta(1)),
    ]
    names = ["text", "number", "flag", "time"]
    columns = zip(*rows, strict=True)
    given_rows = pa.table({name: pa.array(list(column)) for name, column in zip(names, columns, strict=True)})
    encode = key_encoder(("text", "integer", "boolean", "timestamp"), "payments_v1")
    keys, places = places_of_keys(given_rows, names, encode)
    assert keys == sorted(encode(row) for row in {*rows} - {rows[3]})
    assert [None if place < 0 else keys[place] for place in places] == [
        None if None in row else encode(row) for row in rows
    ]
    empty, none = places_of_keys(given_rows.slice(0, 0), names, encode)
    assert (empty, none.tolist()) == ([], [])
