"""Sinks of predictions: what holds a key is written again without it, and the report says no more than what was found."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import psycopg
import pytest

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.cli import rows as commands
from fti_assets.forget import Forgotten, as_text, forget
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.sinks.sink import Sink, StoredPartition, write_partitions
from tests.forgetting import library
from tests.forgetting.library import ANN, DAYS, LAST
from tests.forgetting.test_forget import ANSWERS, HERS, home, lake, made, stores
from tests.stores.test_sinks import DSN
from tests.support.buckets import bucket_named

__all__ = ["home", "lake", "made", "stores"]  # fixtures


@dataclass
class Place:
    """A sink, and how its loans are read without it."""

    sink: Sink
    loans: Any
    note: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(params=["parquet", "bucket", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    if request.param == "parquet":
        folder = tmp_path / "out[1]"

        def in_folder() -> set[int]:
            files = [file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != ".lock"]
            result = set[int]()
            for content in files:
                (tmp_path / "one.parquet").write_bytes(content)
                result |= {row[0] for row in duckdb.sql(f"SELECT loan_id FROM '{tmp_path}/one.parquet'").fetchall()}
            return result

        yield Place(fti.ParquetSink(folder), in_folder)
    elif request.param == "bucket":
        with bucket_named("shop", monkeypatch) as client:

            def in_bucket() -> set[int]:
                result = set[int]()
                for one in client.list_objects_v2(Bucket="shop").get("Contents", []):
                    if not one["Key"].endswith("/"):
                        body = client.get_object(Bucket="shop", Key=one["Key"])["Body"].read()
                        (tmp_path / "one.parquet").write_bytes(body)
                        result |= {
                            row[0] for row in duckdb.sql(f"SELECT loan_id FROM '{tmp_path}/one.parquet'").fetchall()
                        }
                return result

            yield Place(fti.ParquetSink("s3://shop/out"), in_bucket)
    else:
        schema = f"sink_{uuid.uuid4().hex[:12]}"
        try:
            psycopg.connect(DSN, connect_timeout=3).close()
        except psycopg.Error as error:
            pytest.skip(f"no Postgres at {DSN}: {error}")

        def in_postgres() -> set[int]:
            with psycopg.connect(DSN) as connection:
                return {row[0] for row in connection.execute(f"SELECT loan_id FROM {schema}.answers").fetchall()}

        yield Place(fti.PostgresSink(dsn=DSN, table=f"{schema}.answers"), in_postgres)
        with psycopg.connect(DSN) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def definitions_with(stores: fti.Stores, *sinks: Sink) -> dg.Definitions:
    answers = fti.batch_predictions(name="answers", model=library.late_model, partitions_def=DAYS, sinks=sinks)
    return fti.build_definitions([*library.GROUPS, answers], resources={"fti": stores})


def forget_with(stores: fti.Stores, *sinks: Sink, **options: Any) -> Forgotten:
    return forget(definitions_with(stores, *sinks), "members", {"person": ANN}, stores=stores, **options)


def test_a_sink_that_holds_the_key_is_written_again_without_it(stores: fti.Stores, lake: Lake, place: Place) -> None:
    everything = {row[0] for row in lake.rows(ANSWERS).project("loan_id").fetchall()}
    hers = everything & HERS
    assert 0 < len(hers) < len(everything)
    write_partitions([place.sink], [StoredPartition(lake, ANSWERS, LAST)])
    assert place.loans() == everything
    dry = as_text(forget_with(stores, place.sink, dry_run=True))
    assert f"  {place.sink.place} of predictions.answers_v1: holds {len(hers)} rows in 1 partition" in dry
    assert place.loans() == everything
    [report] = forget_with(stores, place.sink).sinks
    assert (report.rows, report.written, report.left, report.problem) == ({LAST: len(hers)}, [LAST], 0, "")
    assert place.loans() == everything - hers


@pytest.mark.soak
@pytest.mark.parametrize(
    "place",
    ["parquet", *(pytest.param(kind, marks=pytest.mark.soak) for kind in ("bucket", "postgres"))],
    indirect=True,
)
def test_a_sink_that_missed_it_is_mended_by_asking_again(stores: fti.Stores, lake: Lake, place: Place) -> None:
    """As after a command that was killed once the lake had forgotten."""
    write_partitions([place.sink], [StoredPartition(lake, ANSWERS, LAST)])
    forget_with(stores)
    assert place.loans() & HERS
    done = forget_with(stores, place.sink)
    assert not done.nothing
    assert f"{LAST!r} written again; a search finds none" in as_text(done)
    assert not place.loans() & HERS


@pytest.mark.soak
def test_a_function_is_called_again_or_said_not_to_be_reached(stores: fti.Stores, lake: Lake) -> None:
    taken: list[tuple[str, set[int]]] = []

    def push(rows: Any, partition: str) -> None:
        taken.append((partition, set(rows.read_all()["loan_id"].to_pylist())))

    text = as_text(forget_with(stores, fti.FunctionSink(push)))
    [(partition, loans)] = taken
    assert (partition, loans & HERS) == (LAST, set())
    assert loans
    assert (
        f"function push of predictions.answers_v1: called again with {LAST!r}; it cannot be asked what it keeps" in text
    )
    again = as_text(forget_with(stores, fti.FunctionSink(push)))
    assert "function push of predictions.answers_v1: not reached; it cannot be asked what it keeps" in again
    assert len(taken) == 1


def test_a_sink_that_fails_keeps_nothing_from_being_forgotten(stores: fti.Stores, lake: Lake, tmp_path: Path) -> None:
    def away(rows: Any, partition: str) -> None:
        raise ConnectionError("the CRM is away")

    folder = tmp_path / "out"
    write_partitions([fti.ParquetSink(folder)], [StoredPartition(lake, ANSWERS, LAST)])
    unreachable = fti.PostgresSink(dsn="postgresql://ann:s3cret@127.0.0.1:1/shop?connect_timeout=2")
    done = forget_with(stores, fti.FunctionSink(away), unreachable, fti.ParquetSink(folder))
    assert [report.left for report in done.sinks] == [None, None, 0]
    text = as_text(done)
    assert (
        "function away of predictions.answers_v1: nothing written: ConnectionError: the CRM is away. It may hold"
        in text
    )
    assert "127.0.0.1 port=1' of predictions.answers_v1: nothing written: " in text
    assert "s3cret" not in text
    assert not {row[0] for row in lake.rows(ANSWERS).project("loan_id").fetchall()} & HERS


def test_the_command_fails_where_a_sink_may_hold_the_key_still(
    stores: fti.Stores, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = fti.PostgresSink(dsn="postgresql://ann:s3cret@127.0.0.1:1/shop?connect_timeout=2")
    monkeypatch.setattr(commands, "load_definitions", lambda *_: definitions_with(stores, sink))
    assert main(["forget", "members", "--key", f"person={ANN}"]) == 1
    output = capsys.readouterr().err
    assert "not every sink is shown to be without the key: see above for " in output
    assert "s3cret" not in output


@pytest.mark.soak
def test_history_that_tells_the_rows_of_a_sink_stays_until_it_is_mended(
    stores: fti.Stores, lake: Lake, tmp_path: Path
) -> None:
    """An answer has no borrower: once the loans are gone at every snapshot, nobody could say whose it is."""
    sink = fti.ParquetSink(tmp_path / "out")
    write_partitions([sink], [StoredPartition(lake, ANSWERS, LAST)])
    file = tmp_path / "out" / "answers_v1" / f"_partition={LAST}" / "rows.parquet"
    content = file.read_bytes()
    (file.parent / "kept").write_bytes(content)
    file.unlink()
    file.mkdir()
    done = forget_with(stores, sink, expire=True)
    assert "they were not expired, since a sink may hold it" in as_text(done)
    file.rmdir()
    (file.parent / "kept").rename(file)
    done = forget_with(stores, sink, expire=True)
    assert done.expired is not None
    assert [(report.written, report.left) for report in done.sinks] == [([LAST], 0)]
    assert not {row[0] for row in duckdb.sql(f"SELECT loan_id FROM '{file}'").fetchall()} & HERS


@pytest.mark.soak
def test_what_a_killed_run_left_in_a_sink_goes_too(stores: fti.Stores, lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    other = folder / "answers_v1" / "_partition=2025-01-02"
    other.mkdir(parents=True)
    (other / ".rows.parquet.tmp").write_bytes(b"half of it")
    [report] = forget_with(stores, fti.ParquetSink(folder)).sinks
    assert report.written == [LAST, "2025-01-02"]
    assert [file.name for file in other.iterdir()] == ["rows.parquet"]


def test_a_sink_whose_table_the_lake_lost_is_said_not_to_be_searched(stores: fti.Stores, tmp_path: Path) -> None:
    other = fti.batch_predictions(
        name="never", model=library.late_model, partitions_def=DAYS, sinks=[fti.ParquetSink(tmp_path / "out")]
    )
    defs = fti.build_definitions([*library.GROUPS, other], resources={"fti": stores})
    text = as_text(forget(defs, "members", {"person": ANN}, stores=stores))
    assert "of predictions.never_v1: not reached; the lake has no such table to tell its rows by" in text


@pytest.mark.soak
def test_a_damaged_file_of_a_sink_is_named(stores: fti.Stores, lake: Lake, tmp_path: Path) -> None:
    sink = fti.ParquetSink(tmp_path / "out")
    write_partitions([sink], [StoredPartition(lake, ANSWERS, LAST)])
    file = tmp_path / "out" / "answers_v1" / f"_partition={LAST}" / "rows.parquet"
    file.write_bytes(file.read_bytes()[:-8])
    [report] = forget_with(stores, sink).sinks
    assert (report.rows, report.written, report.left) == (None, [LAST], None)
    assert "rows.parquet" in report.problem
    [again] = forget_with(stores, sink).sinks
    assert (again.rows, again.problem) == ({}, "")
