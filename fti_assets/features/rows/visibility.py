"""When a row can be used, in SQL, and that a table has the columns that say so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fti_assets.core.sql import quote
from fti_assets.core.times import Times
from fti_assets.errors import DeclarationError, one_of


def available_sql(times: Times) -> str:
    """The SQL of available-at: its column, or event time plus the serving delay; the times have an event time."""
    if times.available_at is not None:
        return quote(times.available_at)
    return f"{quote(str(times.event_time))} + to_microseconds({times.serving_delay_us})"


def check_columns(names: Iterable[str], columns: Sequence[str], *, of: str) -> None:
    """Raise a DeclarationError that lists the ``columns`` there are if one of ``names`` is not among them."""
    for name in names:
        if name not in columns:
            raise DeclarationError(f"{of} has no column {name!r}: it has {one_of(columns)}")
