"""What is particular to the online store on SQLite."""

import json
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import Column
from fti_assets.core.types import SIDES
from fti_assets.errors import DamagedError, NotMaterializedError, StoreError
from fti_assets.stores.online.sqlite import reads
from fti_assets.stores.online.store import Schema, SqliteOnlineStore, online_store
from tests.stores.online_stores import load
from tests.support.damage import VALUES, places_in, with_value
from tests.support.examples import examples, repetitions


@pytest.fixture
def store(tmp_path: Path) -> SqliteOnlineStore:
    return SqliteOnlineStore(tmp_path / "online")


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


def test_a_file_that_is_no_database_is_damage(store):
    load(store, [])
    for extra in store.root.glob("weather_v1.sqlite-*"):
        extra.unlink()
    (store.root / "weather_v1.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(DamagedError, match=r"weather_v1.sqlite is damaged: file is not a database"):
        store.reader("weather_v1")
    load(store, [(("a",), [(0, 0, (1.0,))])])
    assert store.reader("weather_v1").get(("a",), 0).values == (1.0,)


def test_a_folder_with_odd_characters_works(tmp_path: Path):
    store = SqliteOnlineStore(tmp_path / "a b?#%20é")
    load(store, [(("a",), [(0, 0, (1.0,))])])
    assert store.reader("weather_v1").holds(("a",))


PARTS = ["", "a", '"', "\\", "\n", "\0", "\x7f", "é", "\u2028", "\ufeff", "😀", '","', "]", "\\u0061", "1", "null"]


@pytest.mark.parametrize("has_json", [True, False])
@given(rest=st.lists(st.text(max_size=3), max_size=3), number=st.integers(1, 3))
@settings(max_examples=examples(20))
def test_keys_of_any_text_are_read_together_as_one_by_one(tmp_path_factory, has_json, rest, number):
    keys = [one + other for one in PARTS for other in PARTS] + rest
    values = {key: float(i) for i, key in enumerate(keys) if i % number == 0}
    store = SqliteOnlineStore(tmp_path_factory.mktemp("keys"))
    load(store, [((key,), [(0, 0, (value,))]) for key, value in values.items()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reads, "_reads_json", lambda: has_json)
        requests = [[(key,) for key in keys], [("a",)] * len(keys)]
        winners = store.readers([("weather_v1", None)] * 2).get_many(requests, 0)
        plain = [(key,) for key in keys if key.isprintable()]
        of_plain = store.reader("weather_v1").get_many(plain, 0)
    reader = store.reader("weather_v1")
    assert [one and one.values[0] for one in winners[0]] == [values.get(key) for key in keys]
    assert [one and one.values[0] for one in winners[1]] == [values.get("a")] * len(keys)
    assert winners[0] == [reader.get((key,), 0) for key in keys]
    assert of_plain == [reader.get(key, 0) for key in plain]


def test_a_folder_is_an_embedded_store(tmp_path: Path):
    for location in (tmp_path, str(tmp_path)):
        result = online_store(location)
        assert isinstance(result, SqliteOnlineStore)
        assert result.location == str(result) == str(tmp_path)


def test_file_made_anew_is_read_by_who_had_old_one_open(store):
    """Also where it has as many loads behind it as the old one."""
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader = store.reader("weather_v1")
    assert reader.get(("a",), 0).values == (1.0,)
    store.drop("weather_v1")
    load(store, [(("a",), [(0, 0, (2.0,))])])
    assert reader.get(("a",), 0).values == (2.0,)
    assert list(store.root.glob("weather_v1.sqlite*"))


def test_a_dropped_namespace_leaves_no_file(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader = store.reader("weather_v1")
    assert reader.holds(("a",))
    store.drop("weather_v1")
    assert list(store.root.glob("weather_v1.sqlite*")) == []


def test_one_damaged_file_of_several_is_named(store):
    load(store, [], "good_v1")
    load(store, [(("a",), [(0, 0, (1.0,))])])
    reader = store.readers([("good_v1", None), ("weather_v1", None)])
    for extra in store.root.glob("weather_v1.sqlite-*"):
        extra.unlink()
    (store.root / "weather_v1.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="weather_v1.sqlite"):
        reader.get([("a",), ("a",)], 0)


def test_address_of_something_else_is_refused_without_its_password():
    with pytest.raises(
        StoreError, match=r"cannot lie at s3://user:\*\*\*@bucket/online: name a folder, or redis://"
    ) as problem:
        online_store("s3://user:secret@bucket/online")
    assert "secret" not in str(problem.value)


def damaged_copy(store: SqliteOnlineStore, folder: Path, position: int, bit: int) -> SqliteOnlineStore:
    content = bytearray((store.root / "weather_v1.sqlite").read_bytes())
    content[position] ^= 1 << bit
    folder.mkdir()
    (folder / "weather_v1.sqlite").write_bytes(content)
    return SqliteOnlineStore(folder)


@pytest.mark.soak
def test_no_flipped_bit_makes_a_known_key_unknown(store, tmp_path):
    """Nor does it change a value: each read gives what was written, or an error of ours."""
    rows = {f"key {number:04d}": float(number) for number in range(900)}
    load(store, [((key,), [(0, 0, (value,))]) for key, value in rows.items()])
    with closing(sqlite3.connect(store.root / "weather_v1.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = (store.root / "weather_v1.sqlite").stat().st_size
    chance = random.Random(7)
    errors, flips = 0, repetitions(300)
    for number in range(flips):
        damaged = damaged_copy(store, tmp_path / str(number), chance.randrange(size), chance.randrange(8))
        for read in ("one", "many"):
            try:
                reader = damaged.reader("weather_v1")
                if read == "one":
                    for key, value in rows.items():
                        assert reader.get((key,), 0).values == (value,)
                else:
                    winners = reader.get_many([(key,) for key in rows], 0)
                    assert [winner.values[0] for winner in winners] == list(rows.values())
            except StoreError:
                errors += 1
    assert errors > flips * 2 / 3


def test_a_load_over_a_damaged_key_keeps_all_keys(store, tmp_path):
    rows = [((f"key {number}",), [(0, 0, (float(number),))]) for number in range(100)]
    load(store, rows)
    with closing(sqlite3.connect(store.root / "weather_v1.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    position = (store.root / "weather_v1.sqlite").read_bytes().rindex(b"key 50")
    damaged = damaged_copy(store, tmp_path / "copy", position, 4)
    with pytest.raises(DamagedError, match=r"damaged at key '.ey 50'.*copy/weather_v1.sqlite"):
        damaged.reader("weather_v1").get(("key 50",), 0)
    load(damaged, rows, snapshot=2)
    assert damaged.about("weather_v1").keys == 100
    assert all(damaged.reader("weather_v1").get(key, 0).values == of[0][2] for key, of in rows)


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"key_types": []}', '{"key_types": 7, "columns": 1}'])
def test_damage_in_what_file_says_of_itself_is_named(store, text):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    with closing(sqlite3.connect(store.root / "weather_v1.sqlite")) as connection, connection:
        connection.execute("UPDATE about SET schema = ?", (text,))
    with pytest.raises(DamagedError, match=r"weather_v1.sqlite is damaged: .*Materialize the group again"):
        store.reader("weather_v1")
    load(store, [(("a",), [(0, 0, (2.0,))])])
    assert store.reader("weather_v1").get(("a",), 0).values == (2.0,)


def test_schema_with_values_of_other_types_is_refused(store):
    """Without its checksum, as earlier releases wrote it: what is read of it is what it says."""
    columns = (Column("temp", "number"), Column("about", "text"))
    schema = json.loads(Schema(("text", "integer"), columns, event_time=True, as_json=("about",)).to_json())
    for place in places_in(schema):
        for value in (*VALUES, ...):
            changed = with_value(schema, place, value)
            try:
                read = Schema.from_json(json.dumps(changed))
            except (ValueError, TypeError, KeyError):
                continue
            assert json.loads(read.to_json()) == {name: value for name, value in changed.items() if value != []}
            assert {type(column.name) for column in read.columns} <= {str}
            assert {*read.key_types, *(column.type for column in read.columns)} <= SIDES.keys()
            assert (type(read.event_time), type(read.format)) == (bool, int)


def test_file_of_another_namespace_is_damage_until_it_is_loaded(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    load(store, [(("a",), [(0, 0, (2.0,))])], "other_v1")
    with closing(sqlite3.connect(store.root / "other_v1.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(store.root / "other_v1.sqlite", store.root / "weather_v1.sqlite")
    with pytest.raises(DamagedError, match=r"weather_v1.sqlite has the rows of 'other_v1'.* Materialize weather again"):
        store.reader("weather_v1")
    load(store, [(("a",), [(0, 0, (3.0,))])])
    assert [store.reader(name).get(("a",), 0).values for name in ("weather_v1", "other_v1")] == [(3.0,), (2.0,)]


def test_a_number_in_place_of_a_blob_is_damage(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    with closing(sqlite3.connect(store.root / "weather_v1.sqlite")) as connection, connection:
        connection.execute("UPDATE rows SET blob = 7")
    for read in (lambda reader: reader.get(("a",), 0), lambda reader: reader.get_many([("a",)], 0)):
        with pytest.raises(DamagedError, match=r"damaged at key 'a'.* \(of type int in .*weather_v1.sqlite\)"):
            read(store.reader("weather_v1"))


def test_file_without_checksum_of_earlier_release_is_read(store):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    with closing(sqlite3.connect(store.root / "weather_v1.sqlite")) as connection, connection:
        connection.execute("UPDATE about SET schema = json_remove(schema, '$.checksum')")
    assert store.reader("weather_v1").get(("a",), 0).values == (1.0,)


@pytest.mark.parametrize("instant", [2**62, -(2**62)])
def test_a_file_that_answers_from_no_instant_is_damage(store, instant):
    load(store, [(("a",), [(0, 0, (1.0,))])])
    with closing(sqlite3.connect(store.root / "weather_v1.sqlite")) as connection, connection:
        connection.execute("UPDATE about SET schema = json_remove(schema, '$.checksum'), answers_from = ?", (instant,))
    with pytest.raises(DamagedError, match=r"weather_v1.sqlite is damaged: .*Materialize the group again"):
        store.reader("weather_v1").get(("a",), 0)


def test_a_file_whose_rows_were_deleted_is_damage(store):
    load(store, [((key,), [(0, 0, (1.0,))]) for key in "abc"])
    load(store, [], "empty_v1")
    assert store.counts("weather_v1") == (3, 3)
    assert not store.reader("weather_v1").holds(("d",))
    reader = store.readers([("weather_v1", None), ("empty_v1", None)])
    assert reader.get([("b",), ("b",)], 0)[1] is None
    with closing(sqlite3.connect(store.root / "weather_v1.sqlite")) as connection, connection:
        connection.execute("DELETE FROM rows")
    assert (store.counts("weather_v1"), store.counts("empty_v1")) == ((3, 0), (0, 0))
    error = "'weather_v1' says that it has 3 keys, and has none: .*weather_v1.sqlite. Materialize weather again"
    for read in (
        lambda: reader.get([("b",), ("b",)], 0),
        lambda: reader.get_many([[("b",), ("z",)], [("b",)]], 0),
        lambda: store.reader("weather_v1").holds(("a",)),
    ):
        with pytest.raises(DamagedError, match=error):
            read()
    assert store.reader("empty_v1").get(("b",), 0) is None
    load(store, [])
    assert reader.get([("b",), ("b",)], 0) == [None, None]


def changed_file(store, script):
    """Rows of a namespace in a file that someone else has changed."""
    load(store, [((key,), [(0, 0, (1.0,))]) for key in "abc"])
    with closing(sqlite3.connect(store.root / "weather_v1.sqlite")) as connection:
        connection.executescript(script)


COPY = "CREATE TABLE copy AS SELECT * FROM {0}; INSERT INTO copy SELECT * FROM {0}; {1} DROP TABLE {0}; ALTER TABLE copy RENAME TO {0};"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("PRAGMA ignore_check_constraints = on; UPDATE about SET id = 3", "other rows than the one of id 1"),
        (
            "PRAGMA ignore_check_constraints = on; INSERT INTO about SELECT 3, generation, schema, answers_from, snapshot, keys, origin, "
            "written_at FROM about",
            "other rows than the one of id 1",
        ),
        (COPY.format("about", ""), "other rows than the one of id 1"),
        (
            COPY.format("about", "UPDATE copy SET generation = generation + 1 WHERE rowid = 2;"),
            "other rows than the one of id 1",
        ),
        (COPY.format("rows", ""), "no primary key"),
        ("ALTER TABLE about RENAME TO said; CREATE VIEW about AS SELECT * FROM said", "'about' is no table"),
        ("ALTER TABLE rows RENAME TO kept; CREATE VIEW rows AS SELECT * FROM kept", "'rows' is no table"),
    ],
)
def test_other_tables_than_were_made_are_damage_until_they_are_loaded(store, script, problem):
    changed_file(store, script)
    expected = rf"weather_v1.sqlite is damaged: .*{problem}.*\. Materialize weather again, which loads it again"
    for read in (
        lambda: store.reader("weather_v1"),
        lambda: store.about("weather_v1"),
        lambda: store.counts("weather_v1"),
        lambda: store.everything("weather_v1"),
        store.namespaces,
    ):
        with pytest.raises(DamagedError, match=expected):
            read()
    with store.writing("weather_v1") as writer:
        assert writer.about is None
    load(store, [(("a",), [(0, 0, (2.0,))])], snapshot=2)
    with closing(sqlite3.connect(store.root / "weather_v1.sqlite")) as connection:
        assert connection.execute("SELECT id, keys, snapshot FROM about").fetchall() == [(1, 1, 2)]
    reader = store.reader("weather_v1")
    assert [row and row.values for row in reader.get_many([("a",), ("b",)], 0)] == [(2.0,), None]


@pytest.mark.parametrize(
    "script",
    [
        COPY.format("about", ""),
        COPY.format("about", "UPDATE copy SET generation = generation + rowid;"),
        COPY.format("rows", ""),
    ],
)
def test_damage_under_an_open_reader_ends(store, script):
    load(store, [((key,), [(0, 0, (1.0,))]) for key in "abc"])
    reader = store.reader("weather_v1")
    assert reader.get(("a",), 0).values == (1.0,)
    changed_file(store, script)
    with pytest.raises(DamagedError, match=r"weather_v1.sqlite is damaged: .*Materialize weather again"):
        reader.get_many([("a",), ("b",)], 0)
    load(store, [((key,), [(0, 0, (2.0,))]) for key in "abc"])
    assert [row.values for row in reader.get_many([("a",), ("b",)], 0)] == [(2.0,), (2.0,)]


def test_a_file_without_a_row_of_its_own_is_empty(store):
    changed_file(store, "DELETE FROM about")
    assert store.about("weather_v1") is None
    with pytest.raises(NotMaterializedError):
        store.counts("weather_v1")
