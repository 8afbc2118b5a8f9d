import os
import sqlite3
import tempfile
import threading
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.errors import DamagedError, DataError, NotMaterializedError, PredictionError, StoreError
from fti_assets.stores.blobs import key_encoder
from fti_assets.stores.manifest import Column
from fti_assets.stores.online import OnlineStore, Winner
from fti_assets.times import microseconds

TEMP = (Column("temp", "number"),)
EVERY_TYPE = (
    Column("name", "text"),
    Column("count", "integer"),
    Column("rate", "number"),
    Column("flag", "boolean"),
    Column("seen", "timestamp"),
    Column("note", "text"),
)


@pytest.fixture
def store(tmp_path) -> OnlineStore:
    return OnlineStore(tmp_path / "online")


def load(store: OnlineStore, rows: object, **other: object) -> None:
    settings = {
        "key_types": ("text",),
        "columns": TEMP,
        "answers_from": None,
        "snapshot": 1,
        "event_time": True,
    }
    store.load("weather_v1", rows=rows, **(settings | other))


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


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(0, 20)), unique=True, max_size=30),
    st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 55)), min_size=1, max_size=20),
    st.integers(0, 15),
)
def test_the_newest_visible_event_wins_whatever_order_data_arrives_in(arrivals, asked, ttl):
    rows = [(key, event, event + lag, float(n)) for n, (key, event, lag) in enumerate(arrivals)]
    by_key = {key: [(visible, event, value) for k, event, visible, value in rows if k == key] for key, *_ in rows}
    with tempfile.TemporaryDirectory() as folder:
        store = OnlineStore(folder)
        load(store, [((f"k{key}",), frontier(versions)) for key, versions in by_key.items()])
        reader = store.reader("weather_v1")
        for key, at in asked:
            visible = [(event, seen, value) for seen, event, value in by_key.get(key, []) if seen <= at]
            expected = max(visible)[2] if visible and max(visible)[0] >= at - ttl else None
            winner = reader.get((f"k{key}",), at)
            found = winner.values[0] if winner is not None and winner.event_us >= at - ttl else None
            assert found == expected
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


@settings(max_examples=40, deadline=None)
@given(st.lists(values, min_size=1, max_size=4), st.permutations(range(6)), st.integers(0, 6))
def test_values_of_every_type_come_back_in_the_order_asked_for(rows, order, count):
    wanted = order[:count]
    with tempfile.TemporaryDirectory() as folder:
        store = OnlineStore(folder)
        versions = [(10 * i, i, row) for i, row in enumerate(rows)]
        load(store, [(("k",), versions)], columns=EVERY_TYPE)
        reader = store.reader("weather_v1", columns=[EVERY_TYPE[i].name for i in wanted])
        assert reader.columns == tuple(EVERY_TYPE[i] for i in wanted)
        for i, row in enumerate(rows):
            assert reader.get(("k",), 10 * i + 9) == Winner(i, 10 * i, tuple(row[place] for place in wanted))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_different_keys_are_never_encoded_alike(data):
    kinds = {
        "text": st.text(st.characters(codec="utf-8"), max_size=5),
        "integer": st.integers(-99, 99),
        "boolean": st.booleans(),
    }
    types = data.draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=3))
    key = st.tuples(*(kinds[kind] for kind in types))
    first, second = data.draw(key), data.draw(key)
    encode = key_encoder(types, "n")
    assert (encode(first) == encode(second)) == (first == second)


def test_a_lookup_has_one_row_a_key_and_no_times(store):
    load(store, [((1, True), [(None, None, (2.5,))])], key_types=("integer", "boolean"), event_time=False)
    reader = store.reader("weather_v1")
    assert reader.get((1, True), -(10**15)) == Winner(None, None, (2.5,))
    assert reader.get((1, False), 0) is None
    assert reader.key_types == ("integer", "boolean")


def test_a_reload_replaces_everything_and_readers_stay_valid(store):
    load(store, [(("a",), [(0, 0, (1.0,))]), (("b",), [(0, 0, (2.0,))])])
    reader = store.reader("weather_v1")
    assert reader.holds(("a",))
    load(store, [(("b",), [(0, 0, (3.0,))])], snapshot=2)
    assert reader.get(("a",), 5) is None
    assert not reader.holds(("a",))
    assert reader.get(("b",), 5) == Winner(0, 0, (3.0,))
    assert store.snapshot("weather_v1") == 2


def test_a_correction_of_the_same_event_wins_once_it_is_visible(store):
    load(store, [(("a",), [(1, 0, (1.0,)), (9, 0, (2.0,))])])
    reader = store.reader("weather_v1")
    assert [reader.get(("a",), at).values for at in (1, 8, 9)] == [(1.0,), (1.0,), (2.0,)]


def test_only_changed_blobs_are_written(store):
    rows = [((f"k{i}",), [(0, 0, (float(i),))]) for i in range(3000)]
    load(store, rows)
    wal = store.root / "weather_v1.sqlite-wal"
    reader = store.reader("weather_v1")
    with sqlite3.connect(store.root / "weather_v1.sqlite") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    load(store, [(("k0",), [(0, 0, (-1.0,))]), *rows[1:]], snapshot=2)
    assert reader.get(("k0",), 0).values == (-1.0,)
    assert wal.stat().st_size < 10 * 4096


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


def test_an_instant_before_what_is_held_is_refused_also_after_a_reload(store):
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


def test_an_unknown_namespace_is_not_there_and_the_error_lists_those_that_are(store):
    with pytest.raises(NotMaterializedError, match=r"no online namespace 'planes_v1' in .*/online/: it has nothing"):
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


@pytest.mark.parametrize("at", range(0, 40, 3))
def test_a_flipped_bit_is_damage_that_names_namespace_and_key(store, at):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    change_blob(
        store, lambda blob: blob[: at % len(blob)] + bytes([blob[at % len(blob)] ^ 4]) + blob[at % len(blob) + 1 :]
    )
    with pytest.raises(DamagedError, match=r"namespace 'weather_v1' is damaged at key \('a',\)"):
        store.reader("weather_v1").get(("a",), 0)


def test_a_cut_blob_and_another_keys_blob_are_damage(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    change_blob(store, lambda blob: blob[:3])
    with pytest.raises(DamagedError):
        store.reader("weather_v1").get(("a",), 0)
    load(store, [(("a",), [(0, 0, (1.0,))]), (("b",), [(0, 0, (2.0,))])])
    with sqlite3.connect(store.root / "weather_v1.sqlite") as connection:
        connection.execute("UPDATE rows SET blob = (SELECT blob FROM rows WHERE key = ?)", (b"b",))
    connection.close()
    with pytest.raises(DamagedError):
        store.reader("weather_v1").get(("a",), 0)
    assert store.reader("weather_v1").get(("b",), 0).values == (2.0,)


def change_blob(store: OnlineStore, change: object) -> None:
    with sqlite3.connect(store.root / "weather_v1.sqlite") as connection:
        (blob,) = connection.execute("SELECT blob FROM rows").fetchone()
        connection.execute("UPDATE rows SET blob = ?", (change(blob),))
    connection.close()


def test_a_file_that_is_no_database_is_damage(store):
    load(store, [])
    for extra in store.root.glob("weather_v1.sqlite-*"):
        extra.unlink()
    (store.root / "weather_v1.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(DamagedError, match=r"weather_v1.sqlite is damaged: file is not a database"):
        store.reader("weather_v1")
    with pytest.raises(DamagedError):
        load(store, [])


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([(("a",), [(0, 0, (1.0,))])] * 2, r"key \('a',\) of online namespace 'weather_v1' comes twice"),
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


def test_a_key_of_a_type_that_is_no_keys_type_is_refused(store):
    with pytest.raises(DataError, match="has keys of types 'number': one or more of 'text', 'integer' and 'boolean'"):
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


def test_many_threads_read_one_state_or_the_next_while_it_is_loaded(store):
    keys = [(f"k{i}",) for i in range(200)]

    def load_round(n: int) -> None:
        load(store, ((key, [(0, n, (float(n),))]) for key in keys), snapshot=n)

    load_round(0)
    reader = store.reader("weather_v1")
    problems, done = [], threading.Event()

    def read() -> None:
        last = 0.0
        while not done.is_set():
            found = {winner.values[0] for winner in reader.get_many(keys, 0)}
            newest = max(found)
            if len(found) != 1 or newest < last:
                problems.append((found, last))
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
    before = reader._local
    child = os.fork()
    if child == 0:
        os._exit(0 if reader._local is not before and reader.get(("a",), 0).values == (1.0,) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert reader.get(("a",), 0).values == (1.0,)


def test_a_folder_with_odd_characters_works(tmp_path: Path):
    store = OnlineStore(tmp_path / "a b?#%20é")
    load(store, [(("a",), [(0, 0, (1.0,))])])
    assert store.reader("weather_v1").holds(("a",))


def test_many_keys_are_read_at_once(store):
    load(store, [((f"k{i}",), [(5, 0, (float(i),))]) for i in range(0, 1500, 2)], answers_from=datetime(1970, 1, 1))
    reader = store.reader("weather_v1")
    keys = [(f"k{i}",) for i in range(1500)] + [("k0",)]
    found = [winner and winner.values[0] for winner in reader.get_many(keys, 5)]
    assert found == [None if i % 2 else float(i) for i in range(1500)] + [0.0]
    assert reader.get_many(keys, 4) == [None] * 1501
    assert reader.get_many([], 5) == []
    with pytest.raises(PredictionError, match="answers from"):
        reader.get_many(keys, -1)
    with pytest.raises(DataError, match="has types"):
        reader.get_many([("k1",), (1,)], 5)
    assert reader.get(("k2",), 5) is not None


# Keys that are deleted

NOTES = (Column("note", "text"),)


def test_a_deleted_key_answers_no_more_and_its_bytes_are_gone_those_of_earlier_loads_too(store: OnlineStore) -> None:
    def bytes_on_disk() -> bytes:
        return b"".join(file.read_bytes() for file in store.root.glob("weather_v1.sqlite*"))

    others = [((f"other{number}",), [(0, 0, (f"of other{number} " * 5,))]) for number in range(300)]
    load(store, [*others, (("mine-5f2e",), [(0, 0, ("an earlier secret",))])], columns=NOTES)
    load(store, [*others, (("mine-5f2e",), [(0, 0, ("a secret",))])], columns=NOTES)
    reader = store.reader("weather_v1")
    assert reader.get(("mine-5f2e",), at_us=1).values == ("a secret",)
    assert store.delete("weather_v1", [("mine-5f2e",), ("nobody",)]) == 1
    assert store.delete("weather_v1", [("mine-5f2e",)]) == 0
    assert reader.get(("mine-5f2e",), at_us=1) is None
    assert [reader.get(key, at_us=1).values for key, _ in others] == [versions[0][2] for _, versions in others]
    assert not [secret for secret in (b"mine-5f2e", b"a secret", b"an earlier secret") if secret in bytes_on_disk()]
    assert store.snapshot("weather_v1") == 1


def test_what_cannot_be_deleted_is_said(store: OnlineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotMaterializedError, match="no online namespace 'weather_v1'"):
        store.delete("weather_v1", [("JFK",)])
    load(store, [(("JFK",), [(0, 0, (1.0,))])])
    with pytest.raises(DataError, match="has types"):
        store.delete("weather_v1", [(7,)])
    monkeypatch.setattr("fti_assets.stores.online.WAIT_SECONDS", 0.2)
    with sqlite3.connect(store.root / "weather_v1.sqlite") as reading:
        reading.execute("BEGIN")
        assert reading.execute("SELECT count(*) FROM rows").fetchone() == (1,)
        with pytest.raises(StoreError, match="others read it all the time.*delete the keys again"):
            store.delete("weather_v1", [("JFK",)])
        reading.rollback()
    reading.close()
    assert store.reader("weather_v1").get(("JFK",), at_us=1) is None
    assert store.delete("weather_v1", [("JFK",)]) == 0
