"""Parquet files as one Arrow dataset that names the file that cannot be read, whoever reads its rows and however late."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fti_assets.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_UNREADABLE = " cannot be read as Parquet: "
_WITHIN = re.compile(rf"(?:.*\w+Error: )?(.+?{_UNREADABLE}.+?)(?: Detail: Python exception: .*)?", re.DOTALL)
"""The text of such an error within that of an engine that has passed it on."""


def unreadable(file: Path, name: str, error: Exception, remedy: str) -> str:
    """What to say of a file that cannot be read.

    Args:
        file: the file.
        name: what it is read for.
        error: what Arrow says.
        remedy: what to do.
    """
    return f"{file} of {name}{_UNREADABLE}{str(error).splitlines()[0].rstrip('.')}. {remedy}"


@contextmanager
def file_errors() -> Iterator[None]:
    """Give the library's own error where an engine passes on that a file cannot be read.

    Raises:
        DataError: the block read such a file; it is named.
    """
    try:
        yield
    except Exception as error:  # of DuckDB, Arrow, polars: whatever the function reads the rows with
        if (text := _WITHIN.fullmatch(str(error))) is None:
            raise
        raise DataError(text[1].rstrip(".")) from error


def parquet_dataset(files: Sequence[Path], name: str, schema: pa.Schema | None = None) -> Any:
    """Parquet files as an Arrow dataset; checksums of pages are compared where their writer has left them.

    Args:
        files: the files, in the order of their rows.
        name: what they are read for, for errors.
        schema: the columns; those of the first file by default.

    Returns:
        A ``pyarrow.dataset.Dataset``. Reading it raises an ``OSError`` that names the file that cannot be read.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    parquet = ds.ParquetFileFormat(default_fragment_scan_options=options)
    plain = ds.dataset(list(map(str, files)), schema=schema, format=parquet)

    class DatasetOfFiles(ds.FileSystemDataset):  # type: ignore[misc]
        def scanner(self, **options: Any) -> Any:
            return _Scanner(super().scanner(**options), self)

    class _Scanner:
        def __init__(self, scanner: Any, dataset: Any) -> None:
            self._scanner, self._dataset = scanner, dataset

        def to_reader(self) -> pa.RecordBatchReader:
            return pa.RecordBatchReader.from_batches(self._scanner.projected_schema, self.to_batches())

        def to_batches(self) -> Iterator[pa.RecordBatch]:
            try:
                yield from self._scanner.to_batches()
            except (pa.ArrowException, OSError) as error:
                remedy = "Its bytes are damaged: write it again, or put it back from a copy. Nothing was stored"
                for fragment in self._dataset.get_fragments():
                    if (own := _problem(fragment)) is not None:
                        raise OSError(unreadable(Path(fragment.path), name, own, remedy)) from error
                raise

    return DatasetOfFiles(list(plain.get_fragments()), plain.schema, plain.format, plain.filesystem)


def values_of(file: Path, column: str, name: str) -> Iterator[pa.Array]:
    """The values of a file's column, in parts.

    Raises:
        DataError: the file cannot be read.
    """
    import pyarrow.dataset as ds

    with file_errors():
        for batch in parquet_dataset([file], name).scanner(columns={column: ds.field(column)}).to_batches():
            yield batch.column(0)


def _problem(fragment: Any) -> Exception | None:
    import pyarrow as pa

    try:
        for _ in fragment.to_batches():
            pass
    except (pa.ArrowException, OSError) as error:
        return error  # type: ignore[no-any-return]
    return None
