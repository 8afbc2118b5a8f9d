"""Rows that a reader keeps: what is answered of them is what the store says by now, and they take bounded memory."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.errors import StoreError
from fti_assets.stores.online.blobs import BlobFormat
from fti_assets.stores.online.reader import NamespacesReader
from fti_assets.stores.online.row_cache import VARIABLE, RowCache, Writes
from fti_assets.stores.online.store import OnlineStore
from tests.stores.online_stores import KINDS, TEMP, load, online_store_of
from tests.support.examples import examples

KEYS = ["a", "b", "c", "d"]
SELECTIONS = [("weather_v1", None), ("planes_v1", None)]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Iterator[OnlineStore]:
    with online_store_of(request.param) as made:
        yield made


def rows(values: dict[str, float]) -> list[Any]:
    return [((key,), [(0, 0, (value,)), (5, 5, (-value,))]) for key, value in sorted(values.items())]


def reader_of(store: OnlineStore) -> NamespacesReader:
    return store.readers(SELECTIONS, [(0,), (1,)])


def one_by_one(reader: NamespacesReader, pairs: list[tuple[str | None, str | None]], at_us: int) -> list[Any]:
    return [reader.find(pair, at_us) for pair in pairs]


def together(reader: NamespacesReader, pairs: list[tuple[str | None, str | None]], at_us: int) -> list[Any]:
    """The values of each pair of keys, None without a row."""
    results = []
    for winners, places in reader.find_many(list(map(list, zip(*pairs, strict=True))), at_us):
        numbers = [row[0] for row in winners.numbers.tolist()]
        won = [True] * len(numbers) if winners.won is None else winners.won.tolist()
        by_place = [number if has else None for number, has in zip(numbers, won, strict=True)]
        results.append(by_place if places is None else [by_place[place] for place in places.tolist()])
    return [list(pair) for pair in zip(*results, strict=True)]


pairs = st.lists(st.tuples(st.sampled_from([*KEYS, None]), st.sampled_from([*KEYS, None])), min_size=1, max_size=6)
steps = st.one_of(
    st.tuples(st.just("load"), st.sampled_from(SELECTIONS), st.dictionaries(st.sampled_from(KEYS), st.floats(-9, 9))),
    st.tuples(st.just("delete"), st.sampled_from(SELECTIONS), st.sampled_from(KEYS)),
    st.tuples(st.just("read"), pairs, st.integers(-1, 7)),
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=examples(40))
@given(st.lists(steps, max_size=25))
def test_answers_of_kept_rows_are_those_of_the_store_by_now(kind, story):
    with online_store_of(kind) as store:
        content: dict[str, dict[str, float]] = {}
        for namespace, _ in SELECTIONS:
            content[namespace] = {"a": 1.0, "b": 2.0}
            load(store, rows(content[namespace]), namespace)
        reader = reader_of(store)
        for step, first, second in story:
            if step == "load":
                content[first[0]] = second
                load(store, rows(second), first[0])
            elif step == "delete":
                content[first[0]].pop(second, None)
                store.delete(first[0], [(second,)])
            else:
                sign = 1 if second < 5 else -1
                truth = [
                    [
                        sign * content[namespace][key] if second >= 0 and key in content[namespace] else None
                        for key, (namespace, _) in zip(pair, SELECTIONS, strict=True)
                    ]
                    for pair in first
                ]
                singles = one_by_one(reader, first, second)
                assert [[one and one[2][0] for one in of_pair] for of_pair in singles] == truth
                assert together(reader, first, second) == truth


def test_what_another_process_writes_is_seen_after_a_look(store):
    for namespace, _ in SELECTIONS:
        load(store, rows({"a": 1.0}), namespace)
    reader = reader_of(store)
    assert together(reader, [("a", "a")], 0) == [[1.0, 1.0]]
    before = Writes.count
    load(store, rows({"a": 3.0}), "planes_v1")
    assert Writes.count > before
    Writes.count = before  # as another process would have left it
    time.sleep(0.002)
    assert together(reader, [("a", "a")], 0) == [[1.0, 3.0]]
    assert [one[2] for one in reader.find(("a", "a"), 0)] == [(1.0,), (3.0,)]


def test_kept_rows_are_not_read_again(store, monkeypatch):
    for namespace, _ in SELECTIONS:
        load(store, rows({"a": 1.0, "b": 2.0}), namespace)
    reader = reader_of(store)
    asked: list[Any] = []
    for name in ("one", "many"):
        fetch = getattr(reader._fetcher, name)
        monkeypatch.setattr(
            reader._fetcher, name, lambda abouts, keys, fetch=fetch: asked.append(keys) or fetch(abouts, keys)
        )
    together(reader, [("a", "a"), ("b", "a")], 0)
    reader.find(("a", None), 0)
    time.sleep(0.002)
    together(reader, [("b", "b")], 0)
    time.sleep(0.002)
    reader.find(("b", "b"), 0)
    wanted = [
        [[b"a", b"b"], [b"a"]],  # what is new
        [[], [b"b"]],
        [None, None],  # a look
    ]
    assert [keys for keys in asked if keys != [None, None]] == wanted[:2]
    assert asked[-1] == wanted[2]


def test_damage_is_not_kept(store):
    blob = BlobFormat(TEMP, event_time=True).pack(b"a", [(0, 0, (1.0,))])
    for namespace, _ in SELECTIONS:
        load(store, rows({"a": 1.0}), namespace)
    reader = reader_of(store)
    damaged = bytes([blob[0] ^ 1]) + blob[1:]
    reader._fetcher.one = lambda abouts, keys: (reader._state.generations, [damaged, damaged])
    reader._fetcher.many = lambda abouts, keys: (reader._state.generations, [[damaged], [damaged]])
    for _ in range(2):
        with pytest.raises(StoreError, match="the checksum does not fit"):
            reader.find(("a", "a"), 0)
        with pytest.raises(StoreError, match="the checksum does not fit"):
            together(reader, [("a", "a")], 0)
    assert reader._state.cache.rows == ({}, {})


def test_kept_rows_take_bounded_memory():
    cache = RowCache(2, 10_000)
    for number in range(1_010):
        cache.keep(number % 2, [b"%d" % number, b"absent"], [b"x" * 50, None])
        assert sum(map(len, cache.rows)) <= 40
    assert any(cache.rows)
    assert b"absent" not in cache.rows[0]


def test_no_rows_are_kept_where_none_may_be(store, monkeypatch):
    monkeypatch.setenv(VARIABLE, "0")
    for namespace, _ in SELECTIONS:
        load(store, rows({"a": 1.0}), namespace)
    reader = reader_of(store)
    assert together(reader, [("a", "a")], 0) == [[1.0, 1.0]]
    assert [one[2] for one in reader.find(("a", "a"), 0)] == [(1.0,), (1.0,)]
    assert reader._state.cache.rows == ({}, {})


@pytest.mark.parametrize("text", ["-1", "1.5", "much", "٣", "1" * 400])
def test_a_size_that_is_none_is_refused(tmp_path, monkeypatch, text):
    with online_store_of("sqlite") as store:
        load(store, rows({"a": 1.0}))
        monkeypatch.setenv(VARIABLE, text)
        with pytest.raises(StoreError, match=f"{VARIABLE} is .* a whole number of megabytes"):
            store.reader("weather_v1")
