"""What an online namespace says of itself."""

import json
from dataclasses import asdict, fields
from datetime import datetime
from functools import lru_cache
from typing import Any
from zlib import crc32

from fti_assets.core.manifest import Column, RequestWindows
from fti_assets.core.records import from_plain, record
from fti_assets.core.times import from_microseconds, microseconds, naive_utc
from fti_assets.core.types import ColumnType
from fti_assets.errors import DamagedError, StoreError, excerpt
from fti_assets.stores.online.blobs import FORMAT

WINDOWS_FORMAT = 3
"""The layout of the blobs of windows, which an earlier release refuses to read."""


class DamagedNamespaceError(DamagedError):
    """A namespace is not what was written; the lake is, so that loading it again mends it."""


def group_of(namespace: str) -> str:
    """The name of the group whose rows a namespace has.

    >>> group_of("weather_v1")
    'weather'
    """
    name, version, number = namespace.rpartition("_v")
    return name if version and number.isdecimal() else namespace


def damaged_at(namespace: str, key: object, blob: object, problem: str, where: str) -> DamagedNamespaceError:
    """The error of a key or a blob that is not what was written."""
    text = key.decode(errors="replace") if isinstance(key, bytes) else key
    size = f"{len(blob)} bytes" if isinstance(blob, bytes) else f"of type {type(blob).__name__}"
    return DamagedNamespaceError(
        f"the online namespace {namespace!r} is damaged at key {text!r}: {problem} ({size} in {where}). "
        "Remove it and load the group again"
    )


@record(frozen=True)
class Schema:
    """The types of a namespace's keys and columns, and the layout of its blobs.

    ``event_time`` is False for a lookup, whose rows have no times. ``as_json`` names the text columns whose texts are JSON.
    ``windows`` is of a namespace that holds what its columns are computed from at the time of a request. ``ttl_us`` is how old a
    row may be at most, in microseconds, None for any age.
    """

    key_types: tuple[ColumnType, ...]
    columns: tuple[Column, ...]
    event_time: bool
    format: int = FORMAT
    as_json: tuple[str, ...] = ()
    windows: RequestWindows | None = None
    ttl_us: int | None = None

    def to_json(self, **more: int | str) -> str:
        return json.dumps(self.plain() | more)

    def plain(self) -> dict[str, Any]:
        """Its fields; without those that later releases brought where they say nothing, so that old checksums fit."""
        return dict(_plain(self))

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """What ``to_json`` wrote; what else it says is left out.

        Raises:
            ValueError: it is something else; or a TypeError, a KeyError or a RecursionError.
        """
        values = json.loads(text)
        schema = from_plain(cls, {name: values[name] for name in _FIELDS if name not in _LATER or name in values})
        names = [column.name for column in schema.columns]
        if len({*names}) < len(names) or not {*schema.as_json} <= {*names} or not schema.key_types:
            raise ValueError(
                f"its columns are {excerpt(names)}, its keys {schema.key_types}, its JSON {schema.as_json}"
            )
        if schema.ttl_us is not None and (type(schema.ttl_us) is not int or schema.ttl_us <= 0):
            raise ValueError(f"its ttl is {excerpt(schema.ttl_us)}")
        if schema.windows is not None and (problem := schema.windows.problem(names)):
            raise ValueError(f"its windows {problem}")
        return schema


@lru_cache(maxsize=256)
def _plain(schema: Schema) -> dict[str, Any]:
    """Made once a schema, which each turn of a stream writes; whoever is given it changes nothing within."""
    return {name: value for name, value in asdict(schema).items() if value or name not in _LATER}


_LATER = ("as_json", "windows", "ttl_us")
_FIELDS = tuple(field.name for field in fields(Schema))


@record(frozen=True)
class About:
    """What a namespace says of itself.

    Attributes:
        schema: the types of its keys and columns.
        answers_from_us: the earliest instant that it answers, in microseconds since 1970; None for any.
        snapshot: the lake snapshot that its rows come from.
        keys: how many keys it holds.
        origin: what its loader noted of where the rows come from.
        generation: the number of its last write, which tells a reader that it has changed.
        place: where its rows are, for a store that moves them.
    """

    schema: Schema
    answers_from_us: int | None
    snapshot: int
    keys: int
    origin: str
    generation: int
    place: str = ""

    @property
    def answers_from(self) -> datetime | None:
        """The earliest instant (naive UTC) that it answers, None for any."""
        return None if self.answers_from_us is None else from_microseconds(self.answers_from_us)


_OF_ABOUT = tuple(field.name for field in fields(About))


def since_us(answers_from: datetime | None) -> int | None:
    """``answers_from`` as it is stored."""
    return None if answers_from is None else microseconds(naive_utc(answers_from))


def readable(about: About, namespace: str) -> About:
    """What a namespace says of itself, if this release can read it.

    Raises:
        StoreError: its blobs have another layout.
    """
    expected = FORMAT if about.schema.windows is None else WINDOWS_FORMAT
    if about.schema.format != expected:
        raise StoreError(
            f"online namespace {namespace!r} was written in layout {about.schema.format}, this release of fti-assets "
            f"reads {expected}: materialize the group again, or use the release that wrote it"
        )
    return about


def about_from(fields: dict[str, Any], namespace: str, *, what: str) -> About:
    """``About`` from what a store keeps of it, its schema as ``stored_schema`` writes it.

    Args:
        fields: those of ``About``.
        namespace: whose they should be.
        what: where they are from, for the error.

    Raises:
        DamagedNamespaceError: it is not what was written, or another namespace's.
    """
    try:
        about = About(**(fields | {"schema": Schema.from_json(fields["schema"])}))
        numbers = (about.generation, about.snapshot, about.keys, about.answers_from_us or 0)
        if not all(type(number) is int for number in numbers):
            raise ValueError(f"its numbers are {excerpt(numbers)}")
        _ = about.answers_from  # raises OverflowError for what is no instant
        if not (isinstance(about.origin, str) and isinstance(about.place, str)):
            raise ValueError(f"its origin is {excerpt(about.origin)}, its place {excerpt(about.place)}")
        values = json.loads(fields["schema"])
        checksum = values.get("checksum")  # what earlier releases wrote has none
        if checksum is not None and checksum != checksum_of(about):
            raise ValueError("its checksum does not fit")
        owner = values.get("namespace", namespace)  # what earlier releases wrote does not say it
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedNamespaceError(
            f"{what} is damaged: what it says of itself cannot be read ({type(error).__name__}: {error}). "
            "Materialize the group again, which loads it again"
        ) from error
    if owner != namespace:
        raise DamagedNamespaceError(
            f"{what} has the rows of {excerpt(owner)}: it was copied or restored under another name. Materialize "
            f"{group_of(namespace)} again, which loads it again"
        )
    return about


def stored_schema(about: About, namespace: str) -> str:
    """The schema of a namespace as it is stored, with its name and a checksum of all that it says of itself."""
    return about.schema.to_json(checksum=checksum_of(about), namespace=namespace)


def checksum_of(about: About) -> int:
    """The crc32 of what a namespace says of itself."""
    values = {name: getattr(about, name) for name in _OF_ABOUT} | {"schema": about.schema.plain()}
    return crc32(json.dumps(values, sort_keys=True).encode())
