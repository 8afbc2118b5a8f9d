"""A streamed group of payments, and events of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import dagster as dg
import pandera.pandas as pa

import fti_assets as fti
from fti_assets.core.times import microseconds
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.testing import MemoryStream

DAY = microseconds(datetime(2024, 5, 1))
MINUTE = 60_000_000


class Payments(pa.DataFrameModel):
    card: str
    at: datetime
    stored_at: datetime
    amount: float = pa.Field(ge=0, nullable=True)
    terminal: int = pa.Field(nullable=False)
    online: bool


def payments(stream: MemoryStream, *, schema: type[pa.DataFrameModel] = Payments, **terms: Any) -> FeatureGroup:
    @fti.feature_group(
        name="payments",
        keys=["card"],
        event_time="at",
        available_at="stored_at",
        schema=schema,
        partitions_def=dg.DailyPartitionsDefinition(start_date="2024-04-01"),
        stream=stream,
        **terms,
    )
    def declared() -> None: ...

    return declared


def payment(card: str = "a", at: str = "2024-05-01T10:00:00Z", **more: object) -> dict[str, object]:
    return {"card": card, "at": at, "amount": 1.5, "terminal": 7, "online": True, **more}


def spending(group: FeatureGroup, *only: str) -> FeatureGroup:
    """Windows at the time of a request over a group of payments: all aggregates, or those of some names, which cost less."""
    aggregates: dict[str, Any] = {
        "spent": fti.Sum("amount"),
        "paid": fti.Count(),
        "most": fti.Max("amount"),
        "terminals": fti.DistinctCount("terminal"),
        "median": fti.Percentile("amount", 0.5),
        "lasts": fti.Last("terminal", n=2, distinct=True),
        "visits": fti.Sessions(gap="3min", of="rows"),
    }
    return fti.request_windows(
        group,
        name="spending",
        keys=["card"],
        every="15min",
        windows=["10min", "2h"],
        aggregates={name: one for name, one in aggregates.items() if not only or name in only},
        online=True,
        online_history="1h",
    )
