"""Partitions as a contract has them, and the same partitions made of it."""

from __future__ import annotations

import warnings
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from fti_assets.core.manifest.contracts import Calendar, PartitionsRecord
from fti_assets.errors import DeclarationError
from fti_assets.orchestration.partitions import is_timed

_CALENDARS: dict[Calendar, type[dg.TimeWindowPartitionsDefinition]] = {
    "hourly": dg.HourlyPartitionsDefinition,
    "daily": dg.DailyPartitionsDefinition,
    "weekly": dg.WeeklyPartitionsDefinition,
    "monthly": dg.MonthlyPartitionsDefinition,
}


def partitions_record(partitions_def: dg.PartitionsDefinition[str] | None) -> PartitionsRecord | None:
    """Partitions as a contract has them; None without any.

    >>> days = dg.DailyPartitionsDefinition(start_date="2025-03-01")
    >>> partitions_def_of(partitions_record(days), what="weather_v1") == days
    True
    """
    if partitions_def is None:
        return None
    if is_timed(partitions_def):
        excluded = partitions_def.exclusions or ()
        end = partitions_def.end
        return PartitionsRecord(
            "time",
            cron_schedule=partitions_def.cron_schedule,
            timezone=partitions_def.timezone,
            fmt=partitions_def.fmt,
            start=_wall_time(partitions_def.start),
            end=None if end is None else _wall_time(end),
            end_offset=partitions_def.end_offset,
            excluded=tuple(one for one in excluded if isinstance(one, str)),
            excluded_at=tuple(
                _wall_time(datetime.fromtimestamp(one.timestamp, ZoneInfo(one.timezone)))
                for one in excluded
                if not isinstance(one, str)
            ),
            calendar=next((name for name, kind in _CALENDARS.items() if type(partitions_def) is kind), ""),
        )
    if isinstance(partitions_def, dg.StaticPartitionsDefinition):
        return PartitionsRecord("list", keys=tuple(partitions_def.get_partition_keys()))
    if isinstance(partitions_def, dg.DynamicPartitionsDefinition) and partitions_def.name:
        return PartitionsRecord("dynamic", name=partitions_def.name)
    return PartitionsRecord("other", name=type(partitions_def).__name__)


def partitions_def_of(record: PartitionsRecord | None, *, what: str) -> dg.PartitionsDefinition[str] | None:
    """The partitions of a contract.

    Raises:
        DeclarationError: they are of a kind that nobody but their owner can make.
    """
    if record is None:
        return None
    if record.kind == "list":
        return dg.StaticPartitionsDefinition(list(record.keys))
    if record.kind == "dynamic":
        return dg.DynamicPartitionsDefinition(name=record.name)
    if record.kind == "other":
        raise DeclarationError(
            f"{what} has {record.name}, which no other code location can make again: its owner has to give it partitions of time, a list "
            "of keys, or dynamic ones with a name"
        )
    start, end = (None if at is None else datetime.fromisoformat(at) for at in (record.start, record.end))
    exclusions = [*record.excluded, *map(datetime.fromisoformat, record.excluded_at)]
    options: dict[str, Any] = {
        "timezone": record.timezone,
        "fmt": record.fmt,
        "end_offset": record.end_offset,
        "cron_schedule": record.cron_schedule,
        "exclusions": exclusions or None,
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Parameter `exclusions`")  # Dagster marks it as beta
        if record.calendar:
            kind: Any = _CALENDARS[record.calendar]
            return kind(start_date=start, end_date=end, **options)  # type: ignore[no-any-return]
        return dg.TimeWindowPartitionsDefinition(start=start, end=end, **options)  # type: ignore[arg-type]


def _wall_time(at: datetime) -> str:
    """What the clocks of its zone show at an instant, from which Dagster makes that instant again."""
    return at.replace(tzinfo=None).isoformat()
