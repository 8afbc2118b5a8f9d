"""New rows put behind those of a blob: the same bytes as when all are merged one by one, and the winners of the oracle."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fti_assets.core.manifest import Column, JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.features.online.merging import Merge
from fti_assets.stores.online.blobs import BlobFormat

COLUMNS = (("event", "timestamp"), ("known", "timestamp"), ("note", "text"), ("amount", "number"), ("tie", "integer"))


def joined(*, texts: bool, tie: bool) -> JoinedGroup:
    return JoinedGroup(
        group="payments",
        version=1,
        keys=(JoinedKey("card", "card", "text"),),
        columns=tuple(JoinedColumn(name, name, kind) for name, kind in COLUMNS if texts or kind != "text"),
        event_time="event",
        available_at="known",
        serving_delay_us=0,
        ttl_us=None,
        tie_break="tie" if tie else None,
        external="",
    )


@given(data=st.data(), texts=st.booleans(), tie=st.booleans())
def test_rows_in_any_parts_are_what_they_are_at_once(data, texts, tie):
    whole = joined(texts=texts, tie=tie)
    merge = Merge(whole)
    identities = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 2 if tie else 0))
    rows = []
    for event, known, number in data.draw(st.lists(identities, unique=True, min_size=1, max_size=12)):
        note = data.draw(st.one_of(st.none(), st.sampled_from(["", "ä", "long " * 3])))
        values = (event, known, *((note,) if texts else ()), 0.5 * known, number)
        rows.append((max(event, known), event, values))
    since = data.draw(st.integers(0, 14))
    [(_, expected)] = merge.blobs({b"a": list(rows)}, {}, since)
    blob: dict[bytes, bytes] = {}
    start = 0
    while start < len(rows):
        end = data.draw(st.integers(start + 1, len(rows)))
        at = data.draw(st.integers(0, since))
        blob = dict(merge.blobs({b"a": rows[start:end]}, blob, max(at, 0)))
        start = end
    [(_, last)] = merge.blobs({b"a": rows[-1:]}, blob, since)
    assert last == expected
    reading = BlobFormat(tuple(Column(one.column, one.type) for one in whole.columns), event_time=True)
    for instant in range(since, 15):
        visible = [row for row in rows if row[0] <= instant]
        winner = max(visible, key=lambda row: (row[1], row[2][1], row[2][-1]), default=None)
        answer = reading.winner(b"a", last, instant)
        assert (answer and answer.values) == (winner and winner[2])
