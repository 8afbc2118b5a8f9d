"""Times of events that are read all at once are what they are one by one."""

from __future__ import annotations

import pytest

from fti_assets.features.events.typed_rows import _times, _timestamp

PLAIN = [
    "2024-05-01T09:30:00Z",
    "2024-02-29T23:59:59.123456Z",
    "2024-05-01 09:30:00.5+05:30",
    "1969-12-31T23:59:59.999999-14:00",
]
OTHERS = [
    "2024-05-01T09:30:00", "2024-05-01", "0000-05-01T09:30:00Z", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "now", "",
    "2023-02-29T00:00:00Z", "2024-05-01T24:00:00Z", "2024-05-01T23:59:60Z", "2024-05-01T09:30:00.1234567Z", "2024-05-01T09:30:00+24:00",
    "20240501T093000Z", "2024-05-01T09:30:00z", "2024-W18-3T09:30:00Z", "2024-05-01T09:30:00 Z",
]  # fmt: skip


def test_common_texts_are_read_at_once():
    times = _times([*PLAIN, None])
    assert times.cast("int64").to_pylist() == [*map(_timestamp, PLAIN), None]


@pytest.mark.parametrize("text", OTHERS)
def test_nothing_is_read_at_once_that_would_be_refused_or_another(text):
    times = _times([text])
    assert times is None or times.cast("int64").to_pylist() == [_timestamp(text)]
    # Beside others it is no different: either all are read at once, or each is looked at.
    assert (_times([PLAIN[0], text]) is None) == (times is None)
