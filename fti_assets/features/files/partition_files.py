"""The files of the partitions that a step is run for, as one lazy relation."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import groupby
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import WHOLE
from fti_assets.core.sql import quote
from fti_assets.core.times import Partition
from fti_assets.errors import DataError, DeclarationError, excerpt, list_some, one_of
from fti_assets.features.files.floats import fit_table, fitted_floats
from fti_assets.features.files.readable import parquet_dataset, unreadable, values_of
from fti_assets.features.files.schemas import one_schema
from fti_assets.features.rows.frames.kinds import as_arrow
from fti_assets.orchestration.partitions import running_partitions
from fti_assets.stores.duckdb.extensions import connect_in_memory
from fti_assets.stores.files import readable
from fti_assets.stores.sources.links import check_folders, refuse_repeated_files
from fti_assets.stores.sources.put_aside import is_put_aside, spelled_folder

if TYPE_CHECKING:
    import dagster as dg
    import duckdb
    import pyarrow as pa

_FIELDS = ("partition", "start", "end")
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@checked_arguments()
def read_files(
    context: dg.AssetExecutionContext, path: str | Path, *, reader: Callable[[Path], Any] | None = None
) -> duckdb.DuckDBPyRelation:
    """Read the file of each partition of a run: one day, a range of a backfill, or one file without partitions.

    Parquet is read lazily, batch by batch, while the rows are stored; ``.df()`` gives a pandas frame of them. Columns that only
    some files have are null in the others. A float column without a value takes the type of the other files. Whole floats, which
    pandas makes from whole numbers beside a null, become whole numbers if the first file has whole numbers.

    Args:
        context: the step's context.
        path: where a partition's file is, a local path: ``"landing/orders/{partition}.parquet"``. ``{partition}`` is the
            partition's key; ``{start:%Y/%m/%d}`` and ``{end:%Y-%m-%d}`` are its first instant and the first after it, in UTC. A
            pattern with ``*`` reads all files that it finds for a partition. Files and folders whose names begin with ``_`` or
            ``.``, such as ``_temporary/`` and ``_delta_log/``, hold no rows and are left out, unless the pattern itself names them.
        reader: reads a file that is not Parquet: ``pd.read_csv``, or a function of a ``Path`` that returns a frame. It is called
            for one file after another, and its frames are held in memory.

    Returns:
        A DuckDB relation of all rows, in the order of the partitions.

    Raises:
        DataError: a file is not there or cannot be read, or a column has types that do not fit in two files; each is named.
        StoreError: a folder cannot be read, or a link leads to a file that the pattern finds too.
        DeclarationError: the path cannot name a file of each partition.

    >>> import dagster as dg, duckdb
    >>> from fti_assets import feature_group
    >>> days = dg.DailyPartitionsDefinition(start_date="2024-01-01")
    >>> @feature_group(keys=["order_id"], event_time="placed_at", partitions_def=days)
    ... def orders(context: dg.AssetExecutionContext) -> duckdb.DuckDBPyRelation:
    ...     return read_files(context, "landing/orders/{partition}.parquet")
    """
    import pyarrow as pa

    name, partitions = _run_of(context)
    files = _files(str(path), partitions, name)
    tables = {} if reader is None else {file: _read(reader, file, name) for file in files}
    schemas = {file: tables[file].schema if reader else _parquet_schema(file, name) for file in files}

    def values(file: Path, column: str) -> Iterator[pa.Array]:
        if reader is not None:
            return iter(tables[file].column(column).chunks)
        return values_of(file, column, name)

    floats = fitted_floats(schemas, values, name)
    connection = connect_in_memory()
    # Times with a zone are stored as naive UTC, and DuckDB would take them to the zone of the machine.
    connection.execute("SET TimeZone = 'UTC'")
    schema = one_schema(schemas, floats, values, name, connection)
    if reader is None:
        return _of_parquet(connection, files, schema, floats, name)
    return connection.from_arrow(pa.concat_tables([fit_table(tables[file], floats[file], schema) for file in files]))


def _of_parquet(
    connection: duckdb.DuckDBPyConnection,
    files: list[Path],
    schema: pa.Schema,
    floats: Mapping[Path, list[str]],
    name: str,
) -> duckdb.DuckDBPyRelation:
    """The rows of Parquet files, lazily and in order; the named columns of each are floats, and take the schema's type."""
    from duckdb import DuckDBPyRelation

    kinds = connection.from_arrow(schema.empty_table()).types
    parts = []
    for columns, run in groupby(files, key=lambda file: floats[file]):
        own = _with_type(schema, columns, "float64")
        part = connection.from_arrow(parquet_dataset(list(run), name, own))
        if columns:
            fields = zip(schema, kinds, strict=True)
            part = part.project(", ".join(_as_fitted(field, str(kind), columns) for field, kind in fields))
        parts.append(part)
    while len(parts) > 1:  # by halves: DuckDB takes only so many unions within one another
        parts = [reduce(DuckDBPyRelation.union, parts[at : at + 2]) for at in range(0, len(parts), 2)]
    return parts[0]


def _as_fitted(field: pa.Field, kind: str, floats: list[str]) -> str:
    import pyarrow as pa

    column = quote(field.name)
    if field.name not in floats:
        return column
    value = f"CASE WHEN NOT isnan({column}) THEN {column} END" if pa.types.is_integer(field.type) else "NULL"
    return f"CAST({value} AS {kind}) AS {column}"


def _with_type(schema: pa.Schema, columns: list[str], kind: str) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([field.with_type(pa.type_for_alias(kind)) if field.name in columns else field for field in schema])


def _run_of(context: dg.AssetExecutionContext) -> tuple[str, list[Partition]]:
    """What is run, and for which partitions; of a context that a test made, the keys alone."""
    import dagster as dg

    if not isinstance(context, dg.AssetExecutionContext | dg.OpExecutionContext):
        raise DeclarationError(
            f"read_files takes the step's context first, not {excerpt(context)}: def orders(context: dg.AssetExecutionContext): return "
            "fti.read_files(context, 'landing/orders/{partition}.parquet')"
        )
    try:
        return context.asset_key.to_user_string(), running_partitions(context)
    except dg.DagsterError:  # dg.build_asset_context, which runs no asset and knows no windows
        return "the step", [Partition(context.partition_key if context.has_partition_key else WHOLE)]


def _files(path: str, partitions: Sequence[Partition], name: str) -> list[Path]:
    """The files of the partitions, all of them there."""
    scheme = urlsplit(path).scheme
    if len(scheme) > 1:  # one letter is a drive
        raise DeclarationError(
            f"read_files reads local files, not {path!r}: join what lies in a bucket by fti.external_group(source="
            f"fti.ParquetFiles(path=...)), or copy it before"
        )
    has_partitions = not (len(partitions) == 1 and partitions[0].key == WHOLE and partitions[0].start is None)
    _refuse_fields(path, partitions, name, has_partitions=has_partitions)
    results: list[Path] = []
    missing: list[str] = []
    for partition in partitions:
        values = {"partition": partition.key, "start": partition.start, "end": partition.end} if has_partitions else {}
        try:
            pattern = path.format(**values)
        except (ValueError, LookupError) as error:
            raise DeclarationError(f"the path {path!r} of {name} cannot be filled in: {error}") from error
        with readable(Path(pattern)):
            files, put_aside = _matches(pattern) if "*" in pattern else ([pattern] * Path(pattern).is_file(), [])
        results += map(Path, files)
        only = f" (only {put_aside[0]}, which is left out as what begins with _ or . is)" if put_aside else ""
        missing += [] if files else [f"{pattern}{only}"]
    if missing:
        of = f" for {len(missing)} of {len(partitions)} partitions" if len(partitions) > 1 else ""
        raise DataError(
            f"{name} has no file{of}: {list_some(missing)} (seen from {Path.cwd()}). Put it there, one without rows where nothing "
            "happened, or run only the partitions whose files are there. Nothing was stored"
        )
    return results


def _matches(pattern: str) -> tuple[list[str], list[str]]:
    """The files that a pattern finds, and those that a writer put aside.

    Raises:
        StoreError: a folder that it goes through cannot be read, or a link makes one file two.
    """
    folder = spelled_folder(pattern)
    check_folders(folder, pattern.removeprefix(folder))
    files: tuple[list[str], list[str]] = ([], [])
    for file in sorted(set(glob.glob(pattern, recursive=True))):  # which gives a file of two ** twice
        files[is_put_aside(os.path.relpath(file, folder or "."), pattern)].append(file)
    refuse_repeated_files(files[0])
    return files


def _refuse_fields(path: str, partitions: Sequence[Partition], name: str, *, has_partitions: bool) -> None:
    """Refuse a path that is the same for every partition, or that names what a partition has not."""
    try:
        fields = {field for _, field, _, _ in Formatter().parse(path) if field is not None}
    except ValueError as error:
        raise DeclarationError(
            f"the path {path!r} of {name} cannot be filled in: {error}; write a literal brace as {{{{"
        ) from error
    has = () if not has_partitions else _FIELDS if partitions[0].start is not None else _FIELDS[:1]
    unknown = sorted(fields - {*has})
    if unknown:
        remedy = f"write {one_of('{' + field + '}' for field in has)}" if has else "it has no partitions"
        raise DeclarationError(
            f"the path {path!r} of {name} names {list_some('{' + field + '}' for field in unknown)}: {remedy}"
        )
    if has_partitions and not fields:
        raise DeclarationError(
            f"the path {path!r} of {name} is one file for every partition: write where a partition's file lies, as in "
            "'landing/orders/{partition}.parquet', or leave out partitions_def"
        )


def _parquet_schema(file: Path, name: str) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        other = f"reader=pd.read_{file.suffix[1:]}" if file.suffix in (".csv", ".json") else "reader=pd.read_csv"
        raise DataError(
            unreadable(file, name, error, f"Write it whole, or say what reads it, as in {other}")
        ) from error
    # What pandas writes of an index without a name is no column.
    return pa.schema([field for field in schema if not _PANDAS_INDEX.fullmatch(field.name)])


def _read(reader: Callable[[Path], Any], file: Path, name: str) -> pa.Table:
    import duckdb
    import pyarrow as pa

    try:
        rows = reader(file)
    except Exception as error:
        raise DataError(f"{file} of {name} cannot be read by reader={reader!r}: {error}") from error
    try:
        table = as_arrow(rows, what=f"what reader= gives for {file} of {name}")
        table.validate(full=True)  # Arrow's readers take bytes that are no text
        _ = table.schema.names
    except (duckdb.Error, pa.ArrowException, UnicodeDecodeError) as error:
        problem = str(error).splitlines()[0]
        raise DataError(
            f"{file} of {name} cannot be read by reader={reader!r}: {problem}. Write it whole, and its text as UTF-8"
        ) from error
    return table
