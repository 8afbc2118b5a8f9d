"""Logged answers: of one request, in the log's table or in the files that wait to be taken in, or some of the table."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fti_assets.core.sql import literal, quote
from fti_assets.inference.log.entries import entry_of, is_frame
from fti_assets.inference.log.log import PredictionLog
from fti_assets.inference.log.waiting import OUTSIDE
from fti_assets.inference.serving.log.answer import LoggedAnswer
from fti_assets.inference.serving.log.files import LogFile, closed_files, open_files
from fti_assets.stores.duckdb.nul_texts import compared_with
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.files.current_files import refuse_damaged_files
from fti_assets.stores.lake.lake import Lake


def answers_of(log: PredictionLog, lake: Lake, folder: Path, request_id: str) -> list[LoggedAnswer]:
    """The answers of a request, by its rows."""
    answers = _stored_answers(log, lake, request_id) or list(_waiting_answers(log, folder, request_id))
    return sorted(answers, key=lambda one: one.row)


def sampled_answers(
    log: PredictionLog, lake: Lake, *, partitions: Sequence[str] | None, sample: int, seed: int
) -> list[LoggedAnswer]:
    """Some answers of a log's table, the same ones for the same seed."""
    rows = lake.rows(log.table, partitions=partitions)
    [(total,)] = rows.aggregate("count(*)").fetchall()
    positions = sorted(random.Random(seed).sample(range(1, total + 1), min(sample, total)))
    rows_sql = (
        f"SELECT *, row_number() OVER (ORDER BY request_id, row, answered_at) AS _fti_row FROM {relation_name(rows)}"
    )
    return _answers(log, lake, f"({rows_sql}) WHERE _fti_row IN {(0, *positions)} ORDER BY _fti_row")


def _stored_answers(log: PredictionLog, lake: Lake, request_id: str) -> list[LoggedAnswer]:
    if not lake.has(log.table):
        return []
    refuse_damaged_files(lake, log.table)
    same = f"{compared_with(request_id, quote('request_id'))} = {literal(request_id)}"
    return _answers(log, lake, f"{log.table.sql} WHERE {same}")


def _answers(log: PredictionLog, lake: Lake, rows: str) -> list[LoggedAnswer]:
    columns = ("request_id", "row", log.event_time, "answered_at", "build", "arm", log.output, "request", "features")
    records = lake.connection.execute(f"SELECT {', '.join(map(quote, columns))} FROM {rows}").fetchall()
    return [
        LoggedAnswer(*one[:6], _value(one[6]), json.loads(one[7]), json.loads(one[8]))  # type: ignore[call-arg]
        for one in records
    ]


def _waiting_answers(log: PredictionLog, folder: Path, request_id: str) -> Iterator[LoggedAnswer]:
    pattern = json.dumps(request_id).encode()
    files = [*closed_files(folder), *(LogFile(path) for path in open_files(folder))]
    for line in (line for file in files for line in file.lines() if pattern in line):
        entry = entry_of(line, log.redact)
        if entry is not None and entry.is_answer and entry.content["request_id"] == request_id:
            one = entry.content
            at, answered_at = (datetime.fromisoformat(one[name]) for name in ("at", "answered_at"))
            parts = (one["build"], one["arm"], one["value"], one["request"], one["features"])
            yield LoggedAnswer(request_id, one["row"], at, answered_at, *parts)


def damaged_files(log: PredictionLog, folder: Path) -> list[Path]:
    """The files of a log's folder with a line that cannot be read: those that wait, and those of lines outside the table."""
    whole_files = [*closed_files(folder), *closed_files(folder / OUTSIDE)]
    results = [file for file in whole_files if file.is_cut_off()]
    for file in [*whole_files, *(LogFile(path) for path in open_files(folder))]:
        if file not in results and any(
            not is_frame(line) and entry_of(line, log.redact) is None for line in file.lines()
        ):
            results.append(file)
    return sorted(file.path for file in results)


def _value(value: Any) -> Any:
    return dict(value) if isinstance(value, list) else value
