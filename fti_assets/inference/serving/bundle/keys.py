"""Which keys of the online store go into a bundle: those of a file, told by the fields of a request that are parts of keys."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fti_assets.core.manifest import JoinedGroup
from fti_assets.core.records import from_json
from fti_assets.core.types import SIDES, ColumnType
from fti_assets.errors import DamagedError, DataError, excerpt, list_some, one_of
from fti_assets.stores.bundles.online import KeySlice
from fti_assets.stores.files import read_file


@dataclass(frozen=True)
class ChosenKeys:
    """Values of some fields of a request that are parts of keys, each row once and in order."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def key_slice(self, joins: Sequence[JoinedGroup], table_name: str) -> KeySlice | None:
        """The keys of a namespace that agree with one of the rows in the fields that both have; None for all keys."""
        parts = []
        for group in joins:
            if group.table_name == table_name:
                common = [(place, key.spine) for place, key in enumerate(group.keys) if key.spine in self.columns]
                if not common:
                    return None
                places = [self.columns.index(name) for _, name in common]
                values = frozenset(tuple([row[place] for place in places]) for row in self.rows)
                parts.append((tuple(place for place, _ in common), values))
        return tuple(parts)

    @classmethod
    def from_json(cls, text: bytes, *, what: str) -> ChosenKeys:
        """What ``to_json`` of a record wrote.

        Raises:
            DamagedError: it is something else.
        """
        keys = from_json(cls, text, what=what)
        for row in keys.rows:
            if len(row) != len(keys.columns) or not all(isinstance(value, str | int) for value in row):
                raise DamagedError(
                    f"{what} has the row {excerpt(row)} for {list_some(keys.columns)}: make the bundle again"
                )
        return keys


def read_keys(path: Path, joins: Sequence[JoinedGroup]) -> ChosenKeys:
    """The rows of a file: CSV with a header if its name ends with ``.csv``, else one JSON object a line.

    Raises:
        DataError: it is not there or has no row; a field is no part of a key, or is a time; a value is missing or of another type.
        StoreError: it cannot be read.
    """
    types = {key.spine: key.type for group in joins for key in group.keys}
    content = read_file(path)
    if content is None:
        raise DataError(
            f"there is no file of keys {path}: write one with {one_of(types)}, as CSV or one JSON object a line"
        )
    columns: tuple[str, ...] = ()
    rows: set[tuple[Any, ...]] = set()
    for number, row in _rows(content, path):
        if not columns:
            columns = tuple(sorted(row))
            if unknown := [name for name in columns if name not in types]:
                raise DataError(
                    f"{path} names {list_some(unknown)}, by which no group of the model is looked up: {one_of(types)} are"
                )
            if times := [name for name in columns if types[name] == "timestamp"]:
                raise DataError(
                    f"{path} names {list_some(times)}, which is a time, and keys are chosen by texts and whole numbers: leave it out, "
                    "and every time of the others is taken"
                )
        if tuple(sorted(row)) != columns:
            raise DataError(
                f"line {number} of {path} names {list_some(row)}: the lines before it name {list_some(columns)}"
            )
        rows.add(tuple([_value(row[name], types[name], name, number, path) for name in columns]))
    if not columns:
        raise DataError(f"{path} has no row: write {one_of(types)} into it, or leave it out for all keys")
    return ChosenKeys(columns, tuple(sorted(rows)))


def _rows(content: bytes, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = content.decode("utf-8-sig")
        if path.suffix.lower() == ".csv":
            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError("a line has more or fewer values than the header")
                yield reader.line_num, row
            return
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict) or not row:
                    raise ValueError(f"line {number} is {excerpt(row)} and no object with a field")
                yield number, row
    except (ValueError, csv.Error, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read as keys, {error}: CSV (.csv) or one JSON object a line is expected"
        ) from error


def _value(value: Any, kind: ColumnType, name: str, number: int, path: Path) -> Any:
    if isinstance(value, str) and kind != "text":
        words: dict[str, Any] = {"true": True, "false": False}
        value = words.get(value.strip().lower(), value) if kind == "boolean" else _whole(value)
    if value.__class__ is not SIDES[kind].plain:
        raise DataError(
            f"line {number} of {path} has {excerpt(value)} for {name!r}: a value of the type {kind} is expected"
        )
    return value


def _whole(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return text
