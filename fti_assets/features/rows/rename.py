"""The names of a source's columns in a group: ``rename={"Order ID": "order_id"}``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fti_assets.core.names import is_kept
from fti_assets.core.sql import checked_name, is_name, quote
from fti_assets.errors import DataError, DeclarationError, excerpt, one_of

if TYPE_CHECKING:
    import duckdb


def checked_rename(rename: object, *, what: str) -> dict[str, str]:
    """What a declaration says of names: the source's name of a column to the group's.

    Raises:
        DeclarationError: it is no mapping of names, a name is none that a column may have, or two columns get the same.
    """
    if not isinstance(rename, Mapping) or not all(isinstance(name, str) for pair in rename.items() for name in pair):
        raise DeclarationError(
            f"rename of {what} is {excerpt(rename)}: write the source's names and the group's, rename={{'Order ID': 'order_id'}}"
        )
    names = dict(rename)
    for source, name in names.items():
        if not is_name(name):
            raise DeclarationError(
                f"rename of {what} calls {source!r} {name!r}, which is not a name: use lower-case letters, digits and _, not "
                f"starting with a digit, as in {_line({source: suggested_names([source])[source]})}"
            )
        if is_kept(name):
            raise DeclarationError(
                f"rename of {what} calls {source!r} {name!r}, a name that the store keeps for itself: take another"
            )
    for name in names.values():
        sources = [source for source, other in names.items() if other == name]
        if len(sources) > 1:
            raise DeclarationError(
                f"rename of {what} calls {' and '.join(map(repr, sources))} both {name!r}: give each column a name of its own"
            )
    return names


def checked_column(name: str, rename: Mapping[str, str], *, what: str) -> str:
    """A column's name in a declaration, which is the group's own and not the source's.

    Raises:
        DeclarationError: it is not a name, or it is what the source calls a column that is renamed.
    """
    if name in rename and name not in rename.values():
        raise DeclarationError(f"{what} {name!r} is called {rename[name]!r} by rename: write {rename[name]!r} here")
    if isinstance(name, str) and not is_name(name):
        try:
            checked_name(name, what=what)
        except DeclarationError as error:
            ours = suggested_names([name])[name]
            raise DeclarationError(
                f"{error}. Where the source calls a column so, give {_line({name: ours})} and write {ours!r} here"
            ) from None
    return checked_name(name, what=what)


def rename_columns(
    rows: duckdb.DuckDBPyRelation, rename: Mapping[str, str], *, what: str, partly: bool = False
) -> duckdb.DuckDBPyRelation:
    """Rows under the group's names, lazily.

    Args:
        rows: rows as a function gave them.
        rename: the source's name of a column to the group's.
        what: the group's table, for errors.
        partly: whether columns may be missing, as in deletions, which have keys alone.

    Raises:
        DataError: a column is not there, or two would have one name.

    >>> import duckdb
    >>> rename_columns(duckdb.sql('SELECT 1 AS "Order ID", 2 AS price'), {"Order ID": "order_id"}, what="orders_v1").columns
    ['order_id', 'price']
    """
    if not rename:
        return rows
    if not partly:
        refuse_unfit(rows.columns, rename, what=what)
    refuse_clashes(rows.columns, rename, what=what)
    names = renamed_names(rows.columns, rename)
    return rows.project(
        ", ".join(f"{quote(old)} AS {quote(new)}" for old, new in zip(rows.columns, names, strict=True))
    )


def refuse_unfit(columns: Sequence[str], rename: Mapping[str, str], *, what: str) -> None:
    """Raise a DataError if a result lacks a column that is renamed, or two of its columns would have one name."""
    refuse_missing_sources(columns, rename, what=f"the result of {what}", of=what)
    refuse_clashes(columns, rename, what=what)


def renamed_names(names: Iterable[object], rename: Mapping[str, str]) -> list[str]:
    """What columns are called in the group."""
    return [rename.get(str(name), str(name)) for name in names]


def refuse_missing_sources(columns: Sequence[str], rename: Mapping[str, str], *, what: str, of: str) -> None:
    """Raise a DataError if a column that is renamed is not there.

    Args:
        columns: what there is.
        rename: the source's name of a column to the group's.
        what: what has the columns, for the error.
        of: the group's table.
    """
    missing = [name for name in rename if name not in columns]
    if missing:
        near = {_plain(name): name for name in columns}
        hints = [f"{near[_plain(name)]!r} for {name!r}" for name in missing if _plain(name) in near]
        advice = f"; write {', '.join(hints)} in rename" if hints else ""
        raise DataError(f"rename of {of} names {one_of(missing)}, but {what} has {one_of(columns)}{advice}")


def refuse_clashes(columns: Sequence[str], rename: Mapping[str, str], *, what: str) -> None:
    """Raise a DataError if a column would get the name of another."""
    unrenamed = {name for name in columns if name not in rename}
    for source, name in rename.items():
        if source in columns and name in unrenamed:
            raise DataError(
                f"rename of {what} calls {source!r} {name!r}, but there is a column {name!r} already: leave one of them out, or "
                "rename the other too"
            )


def refuse_no_names(columns: Iterable[object], *, what: str) -> None:
    """Raise a DeclarationError if columns of a result have names that the store cannot hold, with what to type."""
    names = list(columns)
    wrong = [str(name) for name in names if not is_name(name)]
    if not wrong:
        return
    line = _line(suggested_names(wrong, others=[str(name) for name in names if is_name(name)]))
    try:
        checked_name(wrong[0], what=f"column of {what}")
    except DeclarationError as error:
        raise DeclarationError(f"{error}. Say in the declaration what it is called here: {line}") from None
    raise DeclarationError(f"column of {what} {names!r} is not text: say in the declaration what it is called: {line}")


def suggested_names(columns: Iterable[str], *, others: Collection[str] = ()) -> dict[str, str]:
    """A name for each column that a group can have, none of them twice.

    >>> suggested_names(["Order ID", "orderId", "1st price", "Größe"])
    {'Order ID': 'order_id', 'orderId': 'order_id_2', '1st price': '_1st_price', 'Größe': 'gro_e'}
    """
    results: dict[str, str] = {}
    names = set(others)
    for column in columns:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column)
        plain = "".join(c for c in unicodedata.normalize("NFKD", words) if not unicodedata.combining(c))
        base = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_") or "column"
        base = f"_{base}" if base[0].isdigit() else base
        name, number = base, 1
        while name in names:
            number += 1
            name = f"{base}_{number}"
        results[column] = name
        names.add(name)
    return results


def rename_line(columns: Iterable[str], *, others: Collection[str] = ()) -> str:
    """What to type for columns that have no name yet: ``rename={'Order ID': 'order_id'}``."""
    return _line(suggested_names(columns, others=others))


def _line(rename: Mapping[str, str]) -> str:
    some = dict(list(rename.items())[:20])
    more = ", ..." if len(rename) > len(some) else ""
    return f"rename={{{', '.join(f'{source!r}: {name!r}' for source, name in some.items())}{more}}}"


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()
