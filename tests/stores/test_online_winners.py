"""Winners of many keys at once are those of each key alone, bit for bit."""

from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import Column
from fti_assets.stores.online.blobs import BlobFormat
from fti_assets.stores.online.checksums import are_whole, is_whole, with_checksum
from fti_assets.stores.online.store import SqliteOnlineStore
from fti_assets.stores.online.winners import WinnersFormat
from tests.support.examples import examples

VALUES = {
    "text": st.text(max_size=5),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(),
    "boolean": st.booleans(),
    "timestamp": st.integers(-(2**55), 2**55),
}


@st.composite
def namespaces(draw):
    """A format, the columns wanted of it, and the keys with their blobs, None for some."""
    types = draw(st.one_of(st.lists(st.just("number"), max_size=9), st.lists(st.sampled_from([*VALUES]), max_size=9)))
    columns = tuple(Column(f"c{i}", kind) for i, kind in enumerate(types))
    some = st.lists(st.sampled_from(range(len(types))), max_size=6) if types else st.just([])
    wanted = draw(st.one_of(st.just([*range(len(types))]), some))
    is_lookup = draw(st.booleans())
    blob_format = BlobFormat(columns, event_time=not is_lookup, selection=wanted)
    values = st.tuples(*[st.none() | VALUES[kind] for kind in types])
    pairs = []
    for key in draw(st.lists(st.binary(max_size=6), unique=True, max_size=6)):
        count = 1 if is_lookup else draw(st.integers(1, 3))
        times = [(None, None)] if is_lookup else [(10 * (i + 1), i) for i in range(count)]
        versions = [(*time, draw(values)) for time in times]
        pairs.append((key, draw(st.sampled_from([None, blob_format.pack(key, versions)]))))
    return blob_format, wanted, pairs


def in_rows(winners, columns, wanted, rows):
    """The same as plain tuples."""
    nulls = winners.nulls
    listed = [winners.values(position) for position in range(len(wanted))]
    listed = [one if isinstance(one, list) else one.tolist() for one in listed]
    for index in range(rows):
        if winners.won is not None and not winners.won[index]:
            yield None
            continue
        values = []
        for position, place in enumerate(wanted):
            value = listed[position][index]
            is_null = nulls is not None and nulls[index, position]
            values.append(None if is_null else bool(value) if columns[place].type == "boolean" else value)
        yield None if winners.event_us is None else winners.event_us[index].item(), tuple(values)


@settings(max_examples=examples(300), deadline=None)
@given(namespaces(), st.sampled_from([0, 10, 15, 20, 99]))
def test_many_keys_win_what_each_wins_alone(namespace, at_us):
    blob_format, wanted, pairs = namespace
    keys, blobs = [key for key, _ in pairs], [blob for _, blob in pairs]
    winners = WinnersFormat(blob_format, wanted).find(keys, blobs, at_us)
    alone = [None if blob is None else blob_format.find(key, blob, at_us) for key, blob in pairs]
    expected = [None if one is None else (one[0], one[2]) for one in alone]
    results = list(in_rows(winners, blob_format.columns, wanted, len(pairs)))
    assert repr(results) == repr(expected)  # repr tells every bit of a float, and NaN from NaN nothing
    numbers = winners.numbers
    if numbers is not None:
        for index, one in enumerate(expected):
            if one is not None:
                assert repr([0.0 if value is None else value for value in one[1]]) == repr(numbers[index].tolist())


@settings(max_examples=examples(200), deadline=None)
@given(namespaces(), st.data())
def test_no_flipped_bit_among_many_passes(namespace, data):
    blob_format, wanted, pairs = namespace
    pairs = [(key, blob) for key, blob in pairs if blob is not None]
    if not pairs:
        return
    index = data.draw(st.integers(0, len(pairs) - 1))
    key, blob = pairs[index]
    bit = data.draw(st.integers(0, len(blob) * 8 - 1))
    damaged = bytearray(blob)
    damaged[bit >> 3] ^= 1 << (bit & 7)
    pairs[index] = key, bytes(damaged)
    with pytest.raises(ValueError, match="checksum"):
        WinnersFormat(blob_format, wanted).find([key for key, _ in pairs], [blob for _, blob in pairs], 99)


def test_blobs_of_two_keys_that_were_exchanged_do_not_pass():
    blob_format = BlobFormat((Column("temp", "number"),), event_time=True)
    blobs = [blob_format.pack(key, [(1, 1, (2.0,))]) for key in (b"a", b"b")]
    assert crc32(blobs[0]) != crc32(blobs[1])
    with pytest.raises(ValueError, match="checksum"):
        WinnersFormat(blob_format, [0]).find([b"b", b"a"], blobs, 9)


def test_more_keys_than_one_statement_takes_are_of_one_state(tmp_path):
    store = SqliteOnlineStore(tmp_path)
    rows = [((f"K{key}",), [(1, 1, (float(key),))]) for key in range(1_200)]
    for namespace in ("weather_v1", "planes_v1"):
        store.load(
            namespace,
            key_types=("text",),
            columns=(Column("temp", "number"),),
            rows=rows,
            answers_from=None,
            snapshot=1,
            event_time=True,
        )
    reader = store.readers([("weather_v1", None), ("planes_v1", None)], [[0], [1]])
    requests = [f"K{key}" for key in range(1_250)]
    of_weather, of_planes = reader.find_many([requests, [None, *requests[:9]] * 125], 5)
    assert of_weather.places is None
    assert of_weather.winners.values(0).tolist() == [*map(float, range(1_200)), *[0.0] * 50]
    assert of_weather.winners.won.tolist() == [True] * 1_200 + [False] * 50
    values = of_planes.winners.values(0)[of_planes.places]
    assert np.array_equal(values, [0.0, *range(9)] * 125)
    assert of_planes.winners.won[of_planes.places].tolist() == [False, *[True] * 9] * 125


@given(
    contents=st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=90)), max_size=6),
    damage=st.data(),
)
@settings(max_examples=examples(100))
def test_one_damaged_pair_among_many_is_seen(contents, damage):
    keys = [key for key, _ in contents]
    blobs = [with_checksum(key, content) for key, content in contents]
    assert are_whole(keys, blobs)
    if not keys:
        return
    place = damage.draw(st.sampled_from(range(len(keys))))
    side = damage.draw(st.sampled_from([one for one in (keys, blobs) if one[place]]))
    side[place] = damage.draw(st.binary(max_size=99) | st.just(side[place][:-1]) | flipped(side[place]))
    assert are_whole(keys, blobs) == is_whole(keys[place], blobs[place])


def flipped(content):
    """The content with one bit flipped."""
    bits = st.integers(0, 8 * len(content) - 1)
    return bits.map(lambda bit: (int.from_bytes(content) ^ 1 << bit).to_bytes(len(content)))
