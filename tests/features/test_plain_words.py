"""What DuckDB would refuse in its own words is refused in the library's, which say what to do."""

from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

import fti_assets as fti
from fti_assets.errors import DataError, DeclarationError
from fti_assets.features.rows.stored_types import storage_of
from fti_assets.orchestration.signature import call_function

BEYOND = {"BIGNUM": "1" + "0" * 40, "HUGEINT": str(2**70), "UHUGEINT": str(2**120), "UBIGINT": str(2**63)}


@pytest.mark.parametrize(
    "ask",
    [
        lambda rows: duckdb.sql("FROM rows"),
        lambda rows: duckdb.connect().sql("FROM rows"),
        lambda rows: rows.join(duckdb.sql("SELECT 1 AS x"), "x"),
        lambda rows: rows.union(duckdb.sql("SELECT 1 AS x")),
    ],
    ids=["default connection", "connection", "join", "union"],
)
def test_relation_of_a_run_on_another_connection_is_told_what_to_do(ask: Any) -> None:
    with duckdb.connect() as connection:
        rows = connection.sql("SELECT 1 AS x")
        with pytest.raises(
            DataError, match=r"rates_v1 reads a relation of this run .*table\.relation\.query\('rows', "
        ):
            call_function(ask, {"rows": rows}, None, what="rates_v1", instead="")  # type: ignore[arg-type]
        again = call_function(
            lambda rows: rows.query("rows", "SELECT x + 1 FROM rows"), {"rows": rows}, None, what="", instead=""
        )  # type: ignore[arg-type]
        assert again.fetchall() == [(2,)]
        arrow = call_function(
            lambda rows: duckdb.sql("FROM rows").fetchall(), {"rows": rows.arrow()}, None, what="", instead=""
        )  # type: ignore[arg-type]
        assert arrow == [(1,)]


def test_other_refusals_of_a_function_are_its_own() -> None:
    def fails() -> None:
        duckdb.sql("SELECT error('mine')").fetchall()

    with pytest.raises(duckdb.InvalidInputException, match="mine"):
        call_function(fails, {}, None, what="rates_v1", instead="")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", BEYOND)
@pytest.mark.parametrize(
    ("outer", "stored", "held"),
    [
        ("[{}, NULL]", "BIGINT[]", [5, None]),
        ("{{'a': {}}}", 'STRUCT("a" BIGINT)', {"a": 5}),
        ("map {{'a': {}}}", "MAP(VARCHAR, BIGINT)", {"a": 5}),
        ("[{{'a': {}, 'b': 0.5::FLOAT}}]", 'STRUCT("a" BIGINT, "b" FLOAT)[]', [{"a": 5, "b": 0.5}]),
    ],
    ids=["list", "struct", "map", "list of structs"],
)
def test_numbers_beyond_64_bits_inside_are_named(kind: str, outer: str, stored: str, held: Any) -> None:
    with duckdb.connect() as connection:
        for number, fits in (("5", True), (BEYOND[kind], False)):
            value = outer.format(f"'{number}'::{kind}")
            rows = connection.sql(f"SELECT {value} AS amounts UNION ALL SELECT NULL")
            column = storage_of(connection, "amounts", rows.types[0], None)
            requests = rows.project(column.sql)
            assert column.sql_type == stored
            if fits:
                assert sorted(requests.fetchall(), key=str) == sorted([(held,), (None,)], key=str)
            else:
                with pytest.raises(
                    duckdb.InvalidInputException, match="amounts has a number in .* out of range for BIGINT"
                ):
                    requests.fetchall()


def test_partition_by_without_spans_of_time_is_refused() -> None:
    shops = dg.DynamicPartitionsDefinition(name="shops")
    with pytest.raises(
        DeclarationError, match=r"rates_v1 has partition_by='shop', but its partitions are no spans of time"
    ):

        @fti.feature_group(keys=["id"], event_time="t", partition_by="shop", partitions_def=shops)
        def rates() -> None: ...

    @fti.feature_group(keys=["id"], event_time="t", partition_by="t", partitions_def=shops)
    def others() -> None: ...


def test_union_column_of_an_external_table_is_refused(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "their.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT 1 AS id, TIMESTAMP '2024-01-01' AS t, union_value(n := 1) AS amount"
        )
    group = fti.external_group(
        name="their", source=fti.DuckDBTable(file=tmp_path / "their.duckdb", table="t"), keys=["id"], event_time="t"
    )
    with pytest.raises(DataError, match="table t of the DuckDB file .* of their_v1 has a union in column 'amount'"):
        fti.read(group)
