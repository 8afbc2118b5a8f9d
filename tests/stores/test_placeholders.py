"""A stored column without values has a placeholder's type: its first values give it theirs, whatever partition they come in."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fti_assets.core.names import Commit, TableName
from fti_assets.errors import DamagedError, SchemaChangedError
from fti_assets.stores.lake import lake as lake_module
from fti_assets.stores.lake.files.current_files import current_files
from fti_assets.stores.lake.files.damage import damage_errors, give_up
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.upkeep.dropping import drop_tables
from fti_assets.stores.lake.upkeep.expiry import delete_unneeded, expire
from fti_assets.stores.lake.upkeep.forgetting import take_out
from fti_assets.stores.lake.upkeep.occurrences import equals
from fti_assets.stores.lake.upkeep.repair import RecordedVersion, repair
from tests.stores.test_damage import cut, footer, pages
from tests.stores.test_lost_catalog import lose
from tests.support.examples import examples

NOON = dt.datetime(2025, 1, 1, 12)


Columns = Mapping[str, pa.Array]


def rows_of(columns: Columns) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in columns.values()), strict=True))


class Table:
    """A table of the lake with columns between ``id`` and ``y``, of other values in each partition; ``x`` where one is given."""

    def __init__(self, lake: Lake, name: str = "readings_v1") -> None:
        self.lake = lake
        self.name = TableName("features", name)

    def put(self, **partitions: pa.Array | Columns) -> Commit:
        tables = []
        for key, held in partitions.items():
            columns = held if isinstance(held, Mapping) else {"x": held}
            rows = len(next(iter(columns.values())))
            tables.append(pa.table({"id": list(range(rows)), **columns, "y": [0.5] * rows, "_partition": [key] * rows}))
        self.lake.connection.register("given", pa.concat_tables(tables, promote_options="default"))
        self.lake.connection.execute("CREATE OR REPLACE TEMP TABLE staged AS FROM given")
        self.lake.connection.unregister("given")
        return self.lake.replace(self.name, "staged", list(partitions), asset="readings")

    def rows(self, **options: Any) -> list[tuple[Any, ...]]:
        """The columns that were given, by partition and row; they lie where they were given."""
        rows = self.lake.rows(self.name, with_partition=True, **options)
        assert (rows.columns[0], *rows.columns[-2:]) == ("id", "y", "_partition")
        results = rows.order("_partition, id").fetchall()
        assert all(row[-2] == 0.5 for row in results)
        return [row[1:-2] for row in results]

    def values(self, **options: Any) -> list[Any]:
        return [value for (value,) in self.rows(**options)]

    @property
    def types(self) -> dict[str, str]:
        types = self.lake.types(self.name)
        return {name: types[name] for name in types if name not in ("id", "y")}

    @property
    def type(self) -> str:
        return self.types["x"]

    @property
    def versions(self) -> Mapping[str, str]:
        return {key: record.data_version for key, record in self.lake.ledger(self.name).items()}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with OfflineStore(tmp_path_factory.mktemp("lake")).connect() as lake:
        yield lake


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def table(shared: Lake, numbers: Iterator[int]) -> Table:
    """A table of its own in a lake that the tests of this module share."""
    return Table(shared, f"readings_v{next(numbers)}")


@pytest.fixture
def store(tmp_path: Path) -> OfflineStore:
    return OfflineStore(tmp_path / "lake")


NOTHING = {
    "null": pa.array([None, None], pa.null()),
    "int32": pa.array([None, None], pa.int32()),
    "double": pa.array([None, None], pa.float64()),
    "text": pa.array([None, None], pa.string()),
    "time": pa.array([None, None], pa.timestamp("us")),
}
VALUES = {
    "beyond int32": (pa.array([2**40, None]), "BIGINT"),
    "small": (pa.array([1, 2]), "BIGINT"),
    "double": (pa.array([0.5, None]), "DOUBLE"),
    "text": (pa.array([None, "a"]), "VARCHAR"),
    "boolean": (pa.array([True, False]), "BOOLEAN"),
    "time": (pa.array([NOON, None]), "TIMESTAMP"),
    "date": (pa.array([NOON.date(), None]), "DATE"),
    "bytes": (pa.array([b"a", None]), "BLOB"),
    "list": (pa.array([["a"], None]), "VARCHAR[]"),
    "struct": (pa.array([{"a": 1}, None]), "STRUCT(a BIGINT)"),
}
TEXT = VALUES["text"][0]


@pytest.mark.parametrize("nothing", NOTHING)
def test_the_first_values_give_the_type(table: Table, nothing: str) -> None:
    nulls = dict.fromkeys(VALUES, NOTHING[nothing])
    values = {name: column for name, (column, _) in VALUES.items()}
    before = table.put(a=nulls).snapshot
    version = table.versions["a"]
    table.put(b=values)
    assert table.types == {name: kind for name, (_, kind) in VALUES.items()}
    assert table.rows() == [*rows_of(nulls), *rows_of(values)]
    assert table.rows(snapshot=before) == rows_of(nulls)
    assert table.put(a=nulls).changed == ()
    assert table.put(a={name: pa.nulls(2, column.type) for name, column in values.items()}, b=values).changed == ()
    assert table.versions["a"] == version


def test_columns_get_their_types_one_after_another(table: Table) -> None:
    inputs = dict.fromkeys(VALUES, NOTHING["null"])
    table.put(a=inputs)
    for name in ("text", "double", "list"):
        inputs |= {name: VALUES[name][0]}
        table.put(b=inputs)
        assert table.rows() == [*rows_of(dict.fromkeys(VALUES, NOTHING["null"])), *rows_of(inputs)]


NESTED_NOTHING = {
    "empty list": pa.array([[], None], pa.list_(pa.null())),
    "list of nulls": pa.array([[None], []], pa.list_(pa.null())),
    "null": pa.array([None, None], pa.null()),
}
NESTED = {
    "texts": (pa.array([["a", None], []]), "VARCHAR[]"),
    "times": (pa.array([[NOON], None]), "TIMESTAMP[]"),
    "wide": (pa.array([[2**40], None]), "BIGINT[]"),
    "lists": (pa.array([[["a"]], [[]]]), "VARCHAR[][]"),
    "structs": (
        pa.array([[{"a": 1, "b": None}], None], pa.list_(pa.struct([("a", pa.int64()), ("b", pa.string())]))),
        "STRUCT(a BIGINT, b VARCHAR)[]",
    ),
}


@pytest.mark.soak
@pytest.mark.parametrize("nothing", NESTED_NOTHING)
def test_the_first_values_within_a_list_give_its_type(table: Table, nothing: str) -> None:
    nulls = dict.fromkeys(NESTED, NESTED_NOTHING[nothing])
    values = {name: column for name, (column, _) in NESTED.items()}
    before = table.put(a=nulls).snapshot
    table.put(b=values)
    assert table.types == {name: kind for name, (_, kind) in NESTED.items()}
    assert table.rows() == [*rows_of(nulls), *rows_of(values)]
    assert table.rows(snapshot=before) == rows_of(nulls)
    table.put(c=nulls)
    assert table.rows() == [*rows_of(nulls), *rows_of(values), *rows_of(nulls)]


def test_each_field_of_struct_gets_type_of_its_first_value(table: Table) -> None:
    table.put(a=pa.array([{"a": None, "b": "one"}], pa.struct([("a", pa.null()), ("b", pa.string())])))
    table.put(b=pa.array([{"a": NOON, "b": None}], pa.struct([("a", pa.timestamp("us")), ("b", pa.null())])))
    assert table.type == "STRUCT(a TIMESTAMP, b VARCHAR)"
    assert table.values() == [{"a": None, "b": "one"}, {"a": NOON, "b": None}]


def test_a_map_gets_the_type_of_its_first_value(table: Table) -> None:
    table.put(a=pa.array([[("k", None)]], pa.map_(pa.string(), pa.null())))
    table.put(b=pa.array([[("k", NOON)]], pa.map_(pa.string(), pa.timestamp("us"))))
    assert (table.type, table.values()) == ("MAP(VARCHAR, TIMESTAMP)", [{"k": None}, {"k": NOON}])


def test_a_column_with_values_keeps_its_type(table: Table) -> None:
    table.put(a=pa.array([1]))
    for other in (pa.array(["a"]), pa.array([[1]]), pa.array([0.5])):
        with pytest.raises(SchemaChangedError, match="x was BIGINT and is now"):
            table.put(b=other)
    assert (table.type, table.values()) == ("BIGINT", [1])


def test_several_partitions_of_one_run_get_one_type(table: Table) -> None:
    table.put(a=NOTHING["null"], b=NOTHING["null"])
    commit = table.put(b=NOTHING["text"], c=TEXT)
    assert commit.changed == ("c",)
    assert (table.type, table.values()) == ("VARCHAR", [None] * 5 + ["a"])


@pytest.mark.soak
@pytest.mark.parametrize("mended_by", ["a commit", "another table's commit", "expiry"])
def test_place_that_could_not_be_written_is_written_later(
    store: OfflineStore, monkeypatch: pytest.MonkeyPatch, mended_by: str
) -> None:
    with store.connect() as lake:
        table = Table(lake)
        first = table.put(a=NOTHING["null"]).snapshot

        def fails(*_: Any) -> None:
            raise duckdb.IOException("disk I/O error")

        with monkeypatch.context() as patched:
            patched.setattr(lake_module, "put_columns", fails)
            assert table.put(b=TEXT).changed == ("b",)
        assert lake.rows(table.name).columns == ["id", "y", "x"]
    with store.connect() as lake:
        if mended_by == "expiry":
            with store.lock():
                expire(lake, [first])
        elif mended_by == "a commit":
            Table(lake).put(b=TEXT)
        else:
            Table(lake, "others_v1").put(a=TEXT)
    with store.connect() as lake:
        assert (Table(lake).type, Table(lake).values()) == ("VARCHAR", [None, None, None, "a"])


KINDS = {"text": TEXT, "time": VALUES["time"][0], "list": VALUES["list"][0], "struct": VALUES["struct"][0]}


@pytest.mark.soak
@pytest.mark.parametrize("how", ["catalog lost", "partitions lost"])
def test_a_repaired_lake_has_placeholders_beside_values(store: OfflineStore, how: str) -> None:
    nulls = dict.fromkeys(KINDS, NOTHING["null"])
    with store.connect() as lake:
        table = Table(lake)
        table.put(a=nulls)
        table.put(b=KINDS)
        table.put(c=nulls)
        rows, versions, newest = table.rows(), table.versions, lake.snapshot()
        recorded = {table.name: {key: RecordedVersion(one, NOON, "a run") for key, one in versions.items()}}
        if how == "partitions lost":
            lake.connection.execute(f"DELETE FROM {table.name.ledger_sql} WHERE partition IN ('a', 'c')")
            give_up(lake, table.name, ["a", "c"], until=lake.snapshot())
            lake.connection.execute(
                "DELETE FROM __ducklake_metadata_lake.ducklake_data_file WHERE end_snapshot IS NOT NULL"
            )
    if how == "catalog lost":
        lose(store, "gone")
    done = repair(store, recorded, above=newest)
    assert done.left_out == {}
    with store.connect() as lake:
        table = Table(lake)
        assert (table.rows(), table.versions) == (rows, versions)
        assert list(table.types) == list(KINDS)
        again = table.put(
            a=nulls
        )  # of a partition whose file had to be written again, the version is one of newer types
        assert again.changed == (() if how == "catalog lost" else ("a",))
        assert table.put(a=nulls).changed == ()


@pytest.mark.soak
@pytest.mark.parametrize("values", KINDS)
def test_forgetting_rows_beside_placeholders_keeps_the_other_versions(store: OfflineStore, values: str) -> None:
    with store.connect() as lake:
        table = Table(lake)
        table.put(a=NOTHING["null"])
        table.put(b=KINDS[values], c=KINDS[values])
        before = table.versions
        for kept in (1, 0):
            predicate = f"{equals(lake, table.name, {'id': str(kept)})} AND _partition IN ('a', 'b')"
            commit = take_out(lake, table.name, predicate, message="forget", extra={})
            assert commit is not None
            assert commit.changed == ("a", "b")
            assert table.values() == [None] * kept + KINDS[values].to_pylist()[:kept] + KINDS[values].to_pylist()
            assert table.put(a=NOTHING["null"][:kept], b=KINDS[values][:kept]).changed == ()
        assert table.versions["c"] == before["c"]


def test_merged_files_and_expired_snapshots_leave_placeholders_readable(store: OfflineStore) -> None:
    with store.connect() as lake:
        table = Table(lake)
        first = table.put(a=NOTHING["null"]).snapshot
        lake.connection.execute(f"INSERT INTO {table.name.sql} VALUES (2, NULL, 0.5, 'a')")
        last = lake.snapshot()
        table.put(b=TEXT)
        table.put(b=TEXT[:1])
        rows = table.values()
        execute = lake.connection.execute
        merged = execute("CALL ducklake_merge_adjacent_files('lake', 'readings_v1', schema => 'features')").fetchall()
        assert merged
        with store.lock():
            expire(lake, [first])
            delete_unneeded(lake)
    with store.connect() as lake:
        assert Table(lake).values() == rows == [None] * 4
        assert Table(lake).values(snapshot=last) == [None] * 3


@pytest.mark.parametrize("damage", [Path.unlink, cut, footer, pages])
def test_a_damaged_partition_of_placeholders_is_replaced_by_values(
    store: OfflineStore, damage: Callable[[Path], None]
) -> None:
    with store.connect() as lake:
        table = Table(lake)
        table.put(a=NOTHING["null"])
        table.put(b=NOTHING["null"])
        (path,) = (Path(file.path) for file in current_files(lake, table.name) if file.partition == "a")
    damage(path)
    with store.connect() as lake:
        table = Table(lake)
        with pytest.raises(DamagedError, match="partition 'a'"), damage_errors(lake):
            table.put(b=TEXT)
        table.put(a=TEXT)
        assert table.values() == [None, "a", None, None]


GIVEN = {
    "nothing": pa.nulls(2),
    "no number": pa.array([None, None], pa.int64()),
    "no text": pa.array([None, None], pa.string()),
    "no time": pa.array([None, None], pa.timestamp("us")),
    "no list": pa.array([None, None], pa.list_(pa.string())),
    "numbers": pa.array([1, None]),
    "other numbers": pa.array([None, 2**40]),
    "texts": pa.array(["a", None]),
    "times": pa.array([NOON, None]),
    "lists": pa.array([["a"], None]),
}
runs = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.tuples(*[st.sampled_from(sorted(GIVEN))] * 2), min_size=1, max_size=2),
    min_size=2,
    max_size=4,
)  # fmt: skip


class Model:
    """The oracle: a column has the type of its first values, and no other type is taken while there are any."""

    def __init__(self) -> None:
        self.given: dict[str, tuple[str, ...]] = {}

    def kinds(self, given: Mapping[str, tuple[str, ...]]) -> list[set[pa.DataType]]:
        return [
            {GIVEN[names[place]].type for names in given.values() if GIVEN[names[place]].null_count < 2}
            for place in (0, 1)
        ]

    def is_refused(self, run: Mapping[str, tuple[str, ...]]) -> bool:
        return any(
            stored and new and stored != new for stored, new in zip(*map(self.kinds, (self.given, run)), strict=True)
        )

    def values_of(self, key: str, names: tuple[str, ...] = ()) -> list[Any]:
        return [GIVEN[name].to_pylist() for name in names or self.given.get(key, ())]

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        return [
            row
            for key in sorted(self.given)
            for row in zip(*(GIVEN[name].to_pylist() for name in self.given[key]), strict=True)
        ]


def frame_of(run: Mapping[str, tuple[str, ...]], kinds: list[set[pa.DataType]]) -> dict[str, Columns]:
    """What a run gives: each column of one type in all partitions, without values that of the first."""
    first = next(iter(run.values()))
    types = [next(iter(kind), GIVEN[name].type) for kind, name in zip(kinds, first, strict=True)]
    return {
        key: {
            f"x{place}": pa.nulls(2, kind) if GIVEN[name].null_count == 2 else GIVEN[name]
            for place, (name, kind) in enumerate(zip(names, types, strict=True))
        }
        for key, names in run.items()
    }


@given(runs)
@settings(max_examples=examples(10), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_types_follow_values_in_any_order_of_nulls(
    shared: Lake, numbers: Iterator[int], sequence: list[dict[str, tuple[str, str]]]
) -> None:
    """Each run is stored or refused as a column's first values say, and a run again of all that is there changes nothing."""
    table, model = Table(shared, f"drawn_v{next(numbers)}"), Model()
    for run in sequence:
        kinds = model.kinds(run)
        if any(len(kind) > 1 for kind in kinds):  # one run's frame has one type a column
            continue
        frame = frame_of(run, kinds)
        if model.is_refused(run):
            with pytest.raises(SchemaChangedError, match="is stored with another schema"):
                table.put(**frame)
            continue
        changed = {key for key, names in run.items() if model.values_of(key) != model.values_of(key, names)}
        before = table.versions
        assert set(table.put(**frame).changed) == changed
        model.given |= run
        assert table.rows() == model.rows
        assert {key: one for key, one in table.versions.items() if key not in changed} == {
            key: one for key, one in before.items() if key not in changed
        }
    drop_tables(shared, [table.name], message="drop what was drawn")
