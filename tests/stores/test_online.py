"""What every online store does, whichever it is."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import Column
from fti_assets.core.times import microseconds
from fti_assets.errors import DamagedError, DataError, NotMaterializedError, PredictionError, StoreError
from fti_assets.stores.online.blobs import BlobFormat
from fti_assets.stores.online.keys import key_decoder, key_encoder
from fti_assets.stores.online.store import OnlineStore, Schema, Winner
from tests.stores.online_stores import KINDS, TEMP, load, online_store_of
from tests.support.examples import examples

EVERY_TYPE = (
    Column("name", "text"),
    Column("count", "integer"),
    Column("rate", "number"),
    Column("flag", "boolean"),
    Column("seen", "timestamp"),
    Column("note", "text"),
)


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Iterator[OnlineStore]:
    with online_store_of(request.param) as made:
        yield made


both = pytest.mark.parametrize("kind", KINDS)


def frontier(rows: list[tuple[int, int, float]]) -> list[tuple[int, int, tuple[float]]]:
    """Of rows (visible, event, value), those that win at some instant, as the offline store reduces them."""
    kept: list[tuple[int, int, tuple[float]]] = []
    for visible, event, value in sorted(rows):
        if kept and event < kept[-1][1]:
            continue
        if kept and kept[-1][0] == visible:
            kept.pop()
        kept.append((visible, event, (value,)))
    return kept


@both
@settings(max_examples=examples(40))
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(0, 20)), unique=True, max_size=30),
    st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 55)), min_size=1, max_size=20),
    st.integers(0, 15),
)
def test_newest_visible_event_wins_whatever_order_data_arrives_in(kind, arrivals, asked, ttl):
    rows = [(key, event, event + lag, float(n)) for n, (key, event, lag) in enumerate(arrivals)]
    by_key = {key: [(visible, event, value) for k, event, visible, value in rows if k == key] for key, *_ in rows}
    with online_store_of(kind) as store:
        load(store, [((f"k{key}",), frontier(versions)) for key, versions in by_key.items()])
        reader = store.reader("weather_v1")
        for key, at in asked:
            visible = [(event, observed, value) for observed, event, value in by_key.get(key, []) if observed <= at]
            expected = max(visible)[2] if visible and max(visible)[0] >= at - ttl else None
            winner = reader.get((f"k{key}",), at)
            result = winner.values[0] if winner is not None and winner.event_us >= at - ttl else None
            assert result == expected
        keys = [(f"k{key}",) for key, _ in asked]
        assert reader.get_many(keys, asked[0][1]) == [reader.get(key, asked[0][1]) for key in keys]


values = st.tuples(
    st.none() | st.text(st.characters(codec="utf-8")),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.booleans(),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.text(st.characters(codec="utf-8")),
)


@both
@settings(max_examples=examples(25))
@given(st.lists(values, min_size=1, max_size=4), st.permutations(range(6)), st.integers(0, 6))
def test_values_of_every_type_come_back_in_order_asked_for(kind, rows, order, count):
    wanted = order[:count]
    with online_store_of(kind) as store:
        versions = [(10 * i, i, row) for i, row in enumerate(rows)]
        load(store, [(("k",), versions)], columns=EVERY_TYPE)
        reader = store.reader("weather_v1", columns=[EVERY_TYPE[i].name for i in wanted])
        assert reader.columns == tuple(EVERY_TYPE[i] for i in wanted)
        for i, row in enumerate(rows):
            assert reader.get(("k",), 10 * i + 9) == Winner(i, 10 * i, tuple(row[place] for place in wanted))


@settings(max_examples=examples(200))
@given(st.data())
def test_different_keys_are_never_encoded_alike(data):
    kinds = {
        "text": st.text(st.characters(codec="utf-8"), max_size=5),
        "integer": st.integers(-99, 99),
        "boolean": st.booleans(),
        "timestamp": st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda at: at.replace(fold=0)),
    }
    types = data.draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=3))
    key = st.tuples(*(kinds[kind] for kind in types))
    first, second = data.draw(key), data.draw(key)
    texts = [place for place, kind in enumerate(types) if kind == "text"]
    if texts and data.draw(st.booleans()):  # the same letters, cut elsewhere
        letters = "".join(first[place] for place in texts)
        places = st.lists(st.integers(0, len(letters)), min_size=len(texts) - 1, max_size=len(texts) - 1)
        cuts = [0, *sorted(data.draw(places)), len(letters)]
        parts = dict(zip(texts, (letters[start:end] for start, end in pairwise(cuts)), strict=True))
        second = tuple(parts.get(place, part) for place, part in enumerate(first))
    encode, decode = key_encoder(types, "n"), key_decoder(types)
    assert (encode(first) == encode(second)) == (first == second)
    assert repr(decode(encode(first))) == repr(first)


def test_lookup_has_one_row_a_key_and_no_times(store):
    load(store, [((1, True), [(None, None, (2.5,))])], key_types=("integer", "boolean"), event_time=False)
    reader = store.reader("weather_v1")
    assert reader.get((1, True), -(10**15)) == Winner(None, None, (2.5,))
    assert reader.get((1, False), 0) is None
    assert reader.key_types == ("integer", "boolean")


def test_everything_is_read_in_order_of_keys_and_of_one_state(store):
    names = [f"k{number}" for number in range(1500)]
    load(store, [((name,), [(0, 0, (float(n),))]) for n, name in enumerate(names)])
    about, rows = store.everything("weather_v1")
    load(store, [(("other",), [(0, 0, (1.0,))])])
    expected = [written(store, name.encode(), float(n)) for n, name in enumerate(names)]
    assert (about.keys, list(rows)) == (1500, sorted(zip(map(str.encode, names), expected, strict=True)))
    assert [key for key, _ in store.everything("weather_v1")[1]] == [b"other"]
    with pytest.raises(NotMaterializedError, match="no online namespace 'none_v1'"):
        store.everything("none_v1")


def test_everything_refuses_a_blob_that_is_damaged(store):
    load(store, [(("a",), [(0, 0, (1.0,))]), (("b",), [(0, 0, (2.0,))])])
    put(store, written(store, b"b", 2.0)[:-1] + b"?", b"b")
    with pytest.raises(DamagedError, match="weather_v1.* key 'b'"):
        list(store.everything("weather_v1")[1])


def test_a_reload_replaces_everything_and_readers_stay_valid(store):
    load(store, [(("a",), [(0, 0, (1.0,))]), (("b",), [(0, 0, (2.0,))])])
    reader = store.reader("weather_v1")
    assert reader.holds(("a",))
    load(store, [(("b",), [(0, 0, (3.0,))])], snapshot=2)
    assert reader.get(("a",), 5) is None
    assert not reader.holds(("a",))
    assert reader.get(("b",), 5) == Winner(0, 0, (3.0,))
    assert store.snapshot("weather_v1") == 2


def test_correction_of_same_event_wins_once_it_is_visible(store):
    load(store, [(("a",), [(1, 0, (1.0,)), (9, 0, (2.0,))])])
    reader = store.reader("weather_v1")
    assert [reader.get(("a",), at).values for at in (1, 8, 9)] == [(1.0,), (1.0,), (2.0,)]


def test_a_reader_notices_a_changed_schema(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    every, one = store.reader("weather_v1"), store.reader("weather_v1", columns=["temp"])
    wider = (Column("name", "text"), Column("temp", "number"))
    load(store, [(("a",), [(0, 0, ("x", 2.0))])], columns=wider)
    assert every.get(("a",), 0).values == ("x", 2.0)
    assert one.get(("a",), 0).values == (2.0,)
    assert every.columns == wider
    load(store, [((7,), [(0, 0, ("y",))])], key_types=("integer",), columns=(Column("name", "text"),))
    assert every.get((7,), 0).values == ("y",)
    with pytest.raises(StoreError, match="namespace 'weather_v1' has no column 'temp': it has 'name'"):
        one.get((7,), 0)


def test_instant_before_what_is_held_is_refused_also_after_reload(store):
    since = datetime(2013, 6, 1)
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader = store.reader("weather_v1")
    assert reader.answers_from is None
    assert reader.get(("a",), 5) is not None
    load(store, [(("a",), [(0, 0, (1.0,))])], answers_from=since)
    for key in ("a", "unknown"):
        with pytest.raises(
            PredictionError, match=r"'weather_v1' answers from 2013-06-01T00:00:00 on and cannot say .*1970"
        ):
            reader.get((key,), 5)
    assert reader.answers_from == since
    assert reader.get(("a",), microseconds(since)) is not None


def test_unknown_namespace_error_lists_existing_ones(store):
    with pytest.raises(NotMaterializedError, match=r"no online namespace 'planes_v1' in .*: it has nothing"):
        store.reader("planes_v1")
    load(store, [])
    assert store.namespaces() == ("weather_v1",)
    assert store.snapshot("planes_v1") is None
    with pytest.raises(NotMaterializedError, match="it has 'weather_v1'"):
        store.reader("planes_v1")
    with pytest.raises(StoreError, match=r"'\.\./x' is not the name of a namespace"):
        store.reader("../x")
    with pytest.raises(StoreError, match="has no column 'wind': it has 'temp'"):
        store.reader("weather_v1", columns=["wind"])


def written(store: OnlineStore, key: bytes, value: float) -> bytes:
    return BlobFormat(TEMP, event_time=True).pack(key, [(0, 0, (value,))])


def put(store: OnlineStore, blob: bytes, key: bytes = b"a") -> None:
    """Write a blob as it is."""
    with store.writing("weather_v1") as writer:
        writer.apply(iter([(key, blob)]), (), answers_from=None, snapshot=1, origin="")


def test_flipped_bit_is_damage_that_names_namespace_and_key(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader, blob = store.reader("weather_v1"), written(store, b"a", 1.0)
    for at in range(len(blob)):
        put(store, blob[:at] + bytes([blob[at] ^ 4]) + blob[at + 1 :])
        for read in (lambda: reader.get(("a",), 0), lambda: reader.get_many([("b",), ("a",)], 0)):
            with pytest.raises(DamagedError, match=r"namespace 'weather_v1' is damaged at key 'a'"):
                read()
    put(store, blob)
    assert reader.get(("a",), 0).values == (1.0,)


@pytest.mark.parametrize("length", [0, 3, 20])
def test_a_cut_blob_is_damage(store, length):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    put(store, written(store, b"a", 1.0)[:length])
    with pytest.raises(DamagedError):
        store.reader("weather_v1").get(("a",), 0)


def test_another_keys_blob_is_damage(store):
    load(store, [(("a",), [(0, 0, (1.0,))]), (("b",), [(0, 0, (2.0,))])])
    put(store, written(store, b"b", 2.0))
    with pytest.raises(DamagedError):
        store.reader("weather_v1").get(("a",), 0)
    assert store.reader("weather_v1").get(("b",), 0).values == (2.0,)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([(("a",), [(0, 0, (1.0,))])] * 2, "key 'a' of online namespace 'weather_v1' comes twice"),
        ([((None,), [(0, 0, (1.0,))])], r"key \(None,\) .* has types \(NoneType\), not \('text',\)"),
        ([(("a", "b"), [(0, 0, (1.0,))])], r"has types \(str, str\)"),
        ([(("a",), [])], "at least one version"),
        ([(("a",), [(2, 0, (1.0,)), (2, 1, (1.0,))])], r"the visible times \[2, 2\] do not rise"),
        ([(("a",), [(2, 1, (1.0,)), (3, 0, (1.0,))])], r"the event times \[1, 0\] fall"),
        ([(("a",), [(None, None, (1.0,))])], "has no times"),
        ([(("a",), [(0, 0, ("warm",))])], r"key \('a',\) .*: column 'temp' \(number\) has 'warm', a str"),
        ([(("a",), [(0, 0, (True,))])], "has True, a bool"),
        ([(("a",), [(0, 0, (10**400,))])], "does not fit its columns"),
        ([(("a",), [(0, 0, (1.0, 2.0))])], r"a row has 2 values \(1.0, 2.0\) for 1 columns"),
    ],
)
def test_a_bad_row_changes_nothing(store, rows, problem):
    load(store, [(("old",), [(0, 0, (1.0,))])])
    with pytest.raises(DataError, match=problem):
        load(store, [(("new",), [(0, 0, (1.0,))]), *rows], snapshot=2)
    assert store.snapshot("weather_v1") == 1
    reader = store.reader("weather_v1")
    assert reader.holds(("old",))
    assert not reader.holds(("new",))


def test_key_of_type_no_keys_type_is_refused(store):
    with pytest.raises(
        DataError, match="has keys of types 'number': each is 'text', 'integer', 'boolean' or 'timestamp'"
    ):
        load(store, [], key_types=("number",))
    load(store, [])
    with pytest.raises(DataError, match=r"has types \(int\)"):
        store.reader("weather_v1").get((5,), 0)


def test_a_failing_source_of_rows_changes_nothing(store):
    load(store, [(("old",), [(0, 0, (1.0,))])])

    def failing():
        yield ("new",), [(0, 0, (1.0,))]
        raise KeyError("lake")

    with pytest.raises(KeyError, match="lake"):
        load(store, failing(), snapshot=2)
    assert store.reader("weather_v1").holds(("old",))


def test_a_namespace_never_loaded_whole_is_not_there(store):
    with pytest.raises(DataError):
        load(store, [(("a",), [])])
    assert store.namespaces() == ()
    with pytest.raises(NotMaterializedError):
        store.reader("weather_v1")


@pytest.mark.soak
def test_many_threads_read_one_state_or_next_while_it_is_loaded(store):
    keys = [(f"k{i}",) for i in range(200)]

    def load_round(n: int) -> None:
        load(store, ((key, [(0, n, (float(n),))]) for key in keys), snapshot=n)

    load_round(0)
    reader = store.reader("weather_v1")
    problems, done = [], threading.Event()

    def read() -> None:
        last = 0.0
        while not done.is_set():
            results = {winner.values[0] for winner in reader.get_many(keys, 0)}
            newest = max(results)
            if len(results) != 1 or newest < last:
                problems.append((results, last))
            last = newest

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(1, 15):
        load_round(n)
    done.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert reader.get(keys[0], 0).values == (14.0,)


def test_a_reader_works_on_in_a_forked_child(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader = store.reader("weather_v1")
    child = os.fork()
    if child == 0:
        for _ in range(100):
            if reader.get(("a",), 0).values != (1.0,):
                os._exit(1)
        os._exit(0)
    for _ in range(100):
        assert reader.get(("a",), 0).values == (1.0,)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.soak
def test_forked_children_leave_the_files_of_their_parents_threads_open(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader, go, ready, answers = store.reader("weather_v1"), threading.Event(), threading.Barrier(3), []

    def read() -> None:
        reader.get(("a",), 0)
        ready.wait()
        go.wait()
        answers.append(reader.get(("a",), 0).values)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    ready.wait()
    reader.get(("a",), 0)
    for number in range(3):
        child = os.fork()
        if not child:
            if not number:  # looking through all that the tests hold takes seconds
                gc.collect()
            os._exit(reader.get(("a",), 0).values != (1.0,))
        assert os.waitpid(child, 0)[1] == 0
    load(store, [(("a",), [(0, 0, (2.0,))])])
    go.set()
    for thread in threads:
        thread.join()
    assert [reader.get(("a",), 0).values, *answers] == [(2.0,)] * 3


EXITS = """
import os, sys, threading
from fti_assets.stores.online.store import online_store
reader = online_store(sys.argv[1]).reader("weather_v1")
reader.get(("a",), 0)
has_read = threading.Event()
thread = threading.Thread(target=lambda: (reader.get(("a",), 0), has_read.set(), threading.Event().wait()), daemon=True)
thread.start()
has_read.wait()  # predictions wait for a fork, and a bare store does not
child = os.fork()
assert reader.get(("a",), 0).values == (1.0,)
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.soak
def test_a_process_that_reads_ends_without_a_word(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    ended = subprocess.run([sys.executable, "-c", EXITS, store.location], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_many_keys_are_read_at_once(store):
    load(store, [((f"k{i}",), [(5, 0, (float(i),))]) for i in range(0, 1500, 2)], answers_from=datetime(1970, 1, 1))
    reader = store.reader("weather_v1")
    keys = [(f"k{i}",) for i in range(1500)] + [("k0",)]
    results = [winner and winner.values[0] for winner in reader.get_many(keys, 5)]
    assert results == [None if i % 2 else float(i) for i in range(1500)] + [0.0]
    assert reader.get_many(keys, 4) == [None] * 1501
    assert reader.get_many([], 5) == []
    with pytest.raises(PredictionError, match="answers from"):
        reader.get_many(keys, -1)
    with pytest.raises(DataError, match="has types"):
        reader.get_many([("k1",), (1,)], 5)
    assert reader.get(("k2",), 5) is not None


# Several namespaces at once


def test_several_namespaces_are_read_together_one_of_them_twice(store):
    load(store, [((f"a{i}",), [(0, 0, (float(i),))]) for i in range(9)])
    load(store, [((i, True), [(None, None, ("x", i))]) for i in range(9)], "planes_v1", key_types=("integer", "boolean"),
         columns=(Column("name", "text"), Column("n", "integer")), event_time=False)  # fmt: skip
    reader = store.readers([("weather_v1", None), ("planes_v1", ["n"]), ("weather_v1", [])])
    assert reader.columns == (TEMP, (Column("n", "integer"),), ())
    assert reader.key_types == (("text",), ("integer", "boolean"), ("text",))
    assert reader.answers_from == (None, None, None)
    assert reader.get([("a1",), (2, True), ("a3",)], 0) == [
        Winner(0, 0, (1.0,)), Winner(None, None, (2,)), Winner(0, 0, ())
    ]  # fmt: skip
    assert reader.get([None, (2, False), ("z",)], 0) == [None, None, None]
    many = reader.get_many([[("a1",), None, ("a1",)], [(2, True), (3, True), None], [("z",), ("a3",), ("a4",)]], 0)
    assert [[winner and winner.values for winner in one] for one in many] == [
        [(1.0,), None, (1.0,)], [(2,), (3,), None], [None, (), ()]
    ]  # fmt: skip
    assert reader.holds(1, (2, True))
    assert not reader.holds(1, (99, True))


def test_more_namespaces_than_sqlite_attaches_are_read_together(store):
    names = [f"group{i}_v1" for i in range(25)]
    for i, name in enumerate(names):
        load(store, [(("a",), [(0, 0, (float(i),))])], name)
    reader = store.readers([(name, None) for name in [*names, *names]])
    assert [winner.values[0] for winner in reader.get([("a",)] * 50, 0)] == [*range(25), *range(25)]
    assert [one[0].values[0] for one in reader.get_many([[("a",)]] * 50, 0)] == [*range(25), *range(25)]
    load(store, [(("a",), [(0, 0, (-1.0,))])], names[17])
    assert reader.get([("a",)] * 50, 0)[42].values == (-1.0,)


def test_no_namespace_at_all_is_read_as_nothing(store):
    load(store, [(("k",), [(0, 0, (1.0,))])])
    assert store.readers([("weather_v1", None)]).get([("k",)], 0)[0].values == (1.0,)  # which connects to a server
    reader = store.readers([])
    assert reader.get([], 0) == []
    assert reader.find([], 0) == []
    assert reader.get_many([], 0) == []


# Writing in part


def blob(key: str, value: float) -> tuple[bytes, bytes]:
    return key.encode(), BlobFormat(TEMP, event_time=True).pack(key.encode(), [(0, 0, (value,))])


def test_some_keys_are_replaced_some_removed_and_rest_stays(store):
    load(store, [((f"k{i}",), [(0, 0, (float(i),))]) for i in range(2000)])
    reader = store.reader("weather_v1")
    assert reader.holds(("k5",))
    since = datetime(1970, 1, 1)
    with store.writing("weather_v1") as writer:
        blobs = [blob("k1", -1.0), blob("k2", 2.0), blob("new", 7.0)]
        held = writer.apply(iter(blobs), [b"k3", b"k4", b"nobody"], answers_from=since, snapshot=9, origin="there")
    about = store.about("weather_v1")
    assert (held, about.keys, about.snapshot, about.origin, about.answers_from) == (1999, 1999, 9, "there", since)
    results = reader.get_many([("k1",), ("k2",), ("new",), ("k3",), ("k4",), ("k5",)], 0)
    assert [winner and winner.values[0] for winner in results] == [-1.0, 2.0, 7.0, None, None, 5.0]
    assert reader.answers_from == since


def test_a_part_that_fails_changes_nothing(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    for blobs in ([blob("b", 1.0), blob("b", 2.0)], [blob("b", 1.0), blob("a", 2.0)]):
        with (
            store.writing("weather_v1") as writer,
            pytest.raises(DataError, match="key '[ab]' .*comes twice|out of order"),
        ):
            writer.apply(iter(blobs), [b"a"], answers_from=None, snapshot=2, origin="")
    assert store.snapshot("weather_v1") == 1
    assert store.reader("weather_v1").get_many([("a",), ("b",)], 0) == [Winner(0, 0, (1.0,)), None]


def test_a_part_of_nothing_is_refused(store):
    with store.writing("weather_v1") as writer:
        for write in (lambda: writer.apply(iter([]), (), answers_from=None, snapshot=1, origin=""),
                      lambda: writer.delete([b"a"])):  # fmt: skip
            with pytest.raises(StoreError, match="'weather_v1' was never loaded"):
                write()
    assert store.namespaces() == ()


def test_what_to_remove_is_asked_for_after_last_blob(store):
    load(store, [((key,), [(0, 0, (1.0,))]) for key in "abc"])
    pending = {b"a", b"b"}

    def blobs():
        yield blob("a", 2.0)
        pending.discard(b"a")

    def gone():
        yield from sorted(pending)

    with store.writing("weather_v1") as writer:
        writer.apply(blobs(), gone(), answers_from=None, snapshot=2, origin="")
    assert [store.reader("weather_v1").holds((key,)) for key in "abc"] == [True, False, True]


def test_deleted_keys_are_gone_at_once_and_counted(store):
    load(store, [((key,), [(0, 0, (1.0,))]) for key in ("a", "b", "c")], answers_from=datetime(1970, 1, 1), snapshot=4)
    reader = store.reader("weather_v1")
    assert reader.holds(("a",))
    assert store.delete("weather_v1", [("a",), ("b",), ("b",), ("nobody",)]) == 2
    assert reader.get_many([("a",), ("b",), ("c",)], 0) == [None, None, Winner(0, 0, (1.0,))]
    about = store.about("weather_v1")
    assert (about.keys, about.snapshot, about.answers_from) == (1, 4, datetime(1970, 1, 1))
    assert store.delete("weather_v1", []) == 0
    with pytest.raises(DataError, match="has types"):
        store.delete("weather_v1", [("c",), (1,)])
    assert reader.holds(("c",))
    with pytest.raises(NotMaterializedError, match="no online namespace 'planes_v1' in .*: it has 'weather_v1'"):
        store.delete("planes_v1", [("a",)])


def test_dropped_namespace_is_gone_and_can_be_loaded_again(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    load(store, [], "other_v1")
    reader = store.reader("weather_v1")
    assert reader.holds(("a",))
    store.drop("weather_v1")
    store.drop("weather_v1")
    assert (store.namespaces(), store.about("weather_v1")) == (("other_v1",), None)
    for read in (lambda: reader.get(("a",), 0), lambda: reader.get_many([("a",)], 0), lambda: reader.holds(("a",))):
        with pytest.raises((NotMaterializedError, StoreError)):
            read()
    load(store, [(("a",), [(0, 0, ("x",))])], columns=(Column("name", "text"),))
    assert reader.get(("a",), 0).values == ("x",)


# Several writers


def test_a_second_writer_waits_for_the_first(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    order = []

    def second() -> None:
        with store.writing("weather_v1") as writer:
            order.append(("second", writer.about.snapshot))

    thread = threading.Thread(target=second)
    with store.writing("weather_v1") as writer:
        thread.start()
        thread.join(0.3)
        order.append(("first", 1))
        writer.apply(iter([]), (), answers_from=None, snapshot=2, origin="")
    thread.join()
    assert order == [("first", 1), ("second", 2)]


@pytest.mark.soak
def test_killed_load_leaves_old_rows_and_next_load_works(store):
    load(store, [(("old",), [(0, 0, (1.0,))])])
    child = os.fork()
    if child == 0:

        def killed():
            for i in range(30_000):
                yield blob(f"k{i:06}", 1.0)
            os._exit(9)

        with store.writing("weather_v1") as writer:
            writer.load(writer.about.schema, killed(), answers_from=None, snapshot=2, origin="")
    assert os.waitpid(child, 0)[1] >> 8 == 9
    assert store.snapshot("weather_v1") == 1
    reader = store.reader("weather_v1")
    assert reader.get_many([("old",), ("k000001",)], 0) == [Winner(0, 0, (1.0,)), None]
    load(store, [(("new",), [(0, 0, (3.0,))])], snapshot=3)
    assert reader.get_many([("old",), ("new",), ("k000001",)], 0) == [None, Winner(0, 0, (3.0,)), None]


def test_a_namespace_of_another_layout_is_refused(store):
    schema = Schema(("text",), TEMP, event_time=True, format=1)
    with store.writing("weather_v1") as writer:
        writer.load(schema, iter([]), answers_from=None, snapshot=1, origin="")
    with pytest.raises(StoreError, match="'weather_v1' was written in layout 1, this release of fti-assets reads 2"):
        store.reader("weather_v1")


@pytest.mark.soak
def test_readers_follow_whole_loads_parts_and_deletes_while_they_happen(store):
    """Each answer is of one state: a load sets every key to one number, a part too."""
    keys = [(f"k{i:03}",) for i in range(50)]
    load(store, [(key, [(0, 0, (0.0,))]) for key in keys])
    load(store, [(key, [(0, 0, (0.0,))]) for key in keys], "other_v1")
    reader = store.readers([("weather_v1", None), ("other_v1", None)])
    problems, done = [], threading.Event()

    def read() -> None:
        last = 0.0
        while not done.is_set():
            try:
                mine, _ = reader.get_many([keys, keys], 0)
                results = {winner and winner.values[0] for winner in mine}
                if len(results) != 1 or None in results or max(results) < last:
                    problems.append((results, last))
                last = max(results)
                one = reader.get([keys[7], keys[8]], 0)[0].values[0]
                if one < last:
                    problems.append((one, last))
            except Exception as error:
                problems.append(error)
                raise

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(1, 13):
        rows = [blob(key, float(n)) for (key,) in keys]
        with store.writing("weather_v1") as writer:
            if n % 2:
                writer.load(writer.about.schema, iter(rows), answers_from=None, snapshot=n, origin="")
            else:
                writer.apply(iter(rows), (), answers_from=None, snapshot=n, origin="")
    done.set()
    for thread in threads:
        thread.join()
    assert problems == []
