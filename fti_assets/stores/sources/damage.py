"""Which file of a source it is that DuckDB cannot read, where its error does not say."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Protocol

import duckdb

from fti_assets.core.addresses import scrub
from fti_assets.errors import DamagedError, FtiError
from fti_assets.stores.duckdb.extensions import connect_in_memory
from fti_assets.stores.duckdb.file_damage import is_of_files, problem_of

_is_searched: ContextVar[bool] = ContextVar("is_searched", default=False)
"""Whether a source is being searched for a damaged file: what fails in a search starts no other one."""


class SourceOfFiles(Protocol):
    """What an external source says of the files that it lies in."""

    @property
    def place(self) -> str: ...

    @property
    def secrets(self) -> tuple[str, ...]: ...

    def parts(self, connection: duckdb.DuckDBPyConnection) -> Iterable[tuple[str, str]]: ...


def damage_of_source(source: SourceOfFiles, error: duckdb.Error) -> DamagedError | None:
    """The damaged file of a source that an error is about: one that it names, else the first that cannot be read, file by file.

    Returns:
        The error that names the file; None if the error is of something else, or each file can be read.
    """
    if not is_of_files(error) or _is_searched.get():
        return None
    search = _is_searched.set(True)
    connection = connect_in_memory()  # one that has failed may be of no more use
    try:
        parts = list(source.parts(connection))
        for name, scan in [part for part in parts if part[0] in str(error)] or parts:
            if (problem := problem_of(connection, scan)) is not None:
                return DamagedError(
                    f"{scrub(name, source.secrets)} of {source.place} cannot be read: {scrub(problem, source.secrets)}. Put it back from "
                    "a copy, or have it written again"
                )
    except (duckdb.Error, FtiError):  # the error that there is says more
        return None
    finally:
        connection.close()
        _is_searched.reset(search)
    return None
