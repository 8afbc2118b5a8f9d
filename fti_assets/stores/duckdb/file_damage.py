"""Whether an error of DuckDB's is about a file that it cannot read, and what is wrong with one."""

from __future__ import annotations

import duckdb

_OF_FILES = (
    "parquet",
    "tprotocol",
    "decompress",
    "snappy",
    "zstd",
    "thrift",
    "utf8",
    "utf-8",
    "cannot open file",
    "no files found",
    "invalid unicode",
    "stats size",
    "change source type",
)
"""What DuckDB says of a file that it cannot read, in some of its words."""
OF_WRITING = (
    "could not write",
    "no space left",
    "disk is full",
    "file too large",
    "read-only",
    "readonly",
    "permission denied",
)
"""What it says of a disk that it cannot write."""
_OF_DISKS = (
    duckdb.Error,
    duckdb.IOException,
    duckdb.SerializationException,
    duckdb.FatalException,
    duckdb.InternalException,
)
"""And the kinds of errors that do not come of what somebody asked for; ``duckdb.Error`` itself is what its reader of footers raises."""


def is_of_files(error: duckdb.Error) -> bool:
    """Whether an error may be about a file that cannot be read.

    >>> is_of_files(duckdb.InvalidInputException("ZSTD Decompression failure"))
    True
    >>> is_of_files(duckdb.BinderException("no column x"))
    False
    """
    message = str(error).lower()
    if any(word in message for word in OF_WRITING):
        return False
    return type(error) in _OF_DISKS or any(word in message for word in _OF_FILES)


def problem_of(connection: duckdb.DuckDBPyConnection, scan: str) -> str | None:
    """Why not every value of a table can be read; None if each can.

    Args:
        connection: what reads it.
        scan: the SQL that follows FROM.
    """
    try:
        connection.execute(
            f"SELECT count(*) FROM (SELECT hash(COLUMNS(*)) FROM {scan}) held WHERE held IS NOT NULL"
        ).fetchall()
    except duckdb.Error as error:
        return first_line(str(error))
    return None


def first_line(text: str) -> str:
    """The first line of an error, without the query that follows it.

    >>> first_line("IO Error: no such file\\n\\nLINE 1: SELECT 1")
    'IO Error: no such file'
    """
    return text.splitlines()[0][:300] if text else "no reason"
