"""Finding logged answers by the id of their request: in the log's table, and in the files that wait to be taken in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from fti_assets.core.sql import quoted
from fti_assets.inference.log.entries import entry_of
from fti_assets.inference.log.log import PredictionLog
from fti_assets.inference.serving.log.files import LogFile, closed_files, open_files
from fti_assets.monitoring.logged import LoggedAnswer
from fti_assets.stores.lake.lake import Lake


def answers_of(log: PredictionLog, lake: Lake, folder: Path, request_id: str) -> list[LoggedAnswer]:
    """The answers of a request, by its rows."""
    answers = _stored(log, lake, request_id) or list(_waiting(log, folder, request_id))
    return sorted(answers, key=lambda one: one.row)


def _stored(log: PredictionLog, lake: Lake, request_id: str) -> list[LoggedAnswer]:
    if not lake.has(log.table):
        return []
    columns = ("row", log.event_time, "answered_at", "build", "arm", log.output, "request", "features")
    result = lake.connection.execute(
        f"SELECT {', '.join(map(quoted, columns))} FROM {log.table.sql} WHERE request_id = ?", [request_id]
    )
    return [
        LoggedAnswer(
            request_id, row, at, answered_at, build, arm, _value(value), json.loads(request), json.loads(features)
        )
        for row, at, answered_at, build, arm, value, request, features in result.fetchall()
    ]


def _waiting(log: PredictionLog, folder: Path, request_id: str) -> Iterator[LoggedAnswer]:
    named = json.dumps(request_id).encode()
    files = [*closed_files(folder), *(LogFile(path) for path in open_files(folder))]
    for line in (line for file in files for line in file.lines() if named in line):
        entry = entry_of(line, log.redact)
        if entry is not None and entry.is_answer and entry.content["request_id"] == request_id:
            one = entry.content
            at, answered_at = (datetime.fromisoformat(one[name]) for name in ("at", "answered_at"))
            parts = (one["build"], one["arm"], one["value"], one["request"], one["features"])
            yield LoggedAnswer(request_id, one["row"], at, answered_at, *parts)


def _value(value: Any) -> Any:
    return dict(value) if isinstance(value, list) else value
