"""Batch answers, looked up by key in the online store: no graph is run, and no model store is asked."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from fti_assets.core import clock
from fti_assets.core.arguments import checked_arguments
from fti_assets.core.home import default_store
from fti_assets.core.times import from_microseconds, instant, microseconds, naive_utc
from fti_assets.core.types.vectors import plain_vector
from fti_assets.errors import RequestError, excerpt
from fti_assets.inference.serving.forks import flights
from fti_assets.stores.online.namespace import NamespaceReader
from fti_assets.stores.online.store import online_store
from fti_assets.stores.online.versions import Key, Winner


@checked_arguments()
def read_online(name: str, key: Any, *, at: datetime | str | None = None, online: str | Path | None = None) -> Any:
    """Look up rows by key in the online store: the answers of ``batch_predictions(online=True)``, or a group's features.

    An app that reads often opens an ``OnlineReader`` once. Neither needs more than the base install.

    Args:
        name: the table's name, ``"weekly_scores_v1"``.
        key: the key's value, a tuple of values for a key of several columns, or a list of either for as many rows, all from one
            state of the store. A time is a datetime, naive for UTC.
        at: the instant (naive for UTC) to answer as of; now by default. The newest row by then counts.
        online: the online store, a folder or ``redis://host:port/db?prefix=name``; ``online`` under ``FTI_HOME`` by default.

    Returns:
        The row's columns without its keys, times naive UTC, lists as lists, several numbers by name as a dict; None for a key without a
        row, or whose newest row is older than the group's ttl.

    Raises:
        NotMaterializedError: there is no such table in the online store.
        RequestError: ``at`` is not an instant.
        PredictionError: ``at`` is before the first instant that the online store can answer for.
        DataError: a key does not have the table's types.
        MissingExtraError: the online store is a server, and its client is not installed.
    """
    return OnlineReader(name, online=online).read(key, at=at)


@checked_arguments()
class OnlineReader:
    """One table of the online store, kept open for look-ups by key from any thread, also while the table is being reloaded.

    Args:
        name: as in ``read_online``.
        online: as in ``read_online``.
    """

    def __init__(self, name: str, *, online: str | Path | None = None) -> None:
        with flights:  # a fork waits for it, as for a prediction
            self._reader: NamespaceReader = online_store(default_store("online") if online is None else online).reader(
                name
            )

    def read(self, key: Any, *, at: datetime | str | None = None) -> Any:
        """As ``read_online``."""
        at_us = microseconds(clock.now() if at is None else _instant(at))
        with flights:
            if not isinstance(key, list):
                return self._row(self._reader.get(_parts(key), at_us), at_us)
            return [self._row(winner, at_us) for winner in self._reader.get_many([_parts(one) for one in key], at_us)]

    def _row(self, winner: Winner | None, at_us: int) -> dict[str, Any] | None:
        if winner is None:
            return None
        ttl_us = self._reader.ttl_us
        if ttl_us is not None and winner.event_us is not None and at_us - winner.event_us > ttl_us:
            return None
        columns, as_json = self._reader.columns, self._reader.as_json
        row: dict[str, Any] = {}
        for column, value in zip(columns, winner.values, strict=True):
            if value is not None and column.type == "timestamp":
                value = from_microseconds(value)
            elif column.type == "vector":
                value = plain_vector(value)
            elif value is not None and column.name in as_json:
                value = json.loads(value)
            row[column.name] = value
        return row


def _parts(key: Any) -> Key:
    parts = key if isinstance(key, tuple) else (key,)
    return tuple([naive_utc(one.to_pydatetime()) if hasattr(one, "to_pydatetime") else one for one in parts])


def _instant(at: datetime | str) -> datetime:
    try:
        return instant(at)
    except (TypeError, ValueError) as error:
        raise RequestError(f"at is {excerpt(at)}, where a datetime or ISO text is expected") from error
