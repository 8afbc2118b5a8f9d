"""The one way from staged rows to a materialization, which groups, datasets and predictions go: all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import dagster as dg
import pandas as pd

from fti_assets.core.names import Commit, TableName
from fti_assets.core.rules import Verdict, reasons
from fti_assets.core.sql import quote
from fti_assets.errors import StoreError
from fti_assets.features.rows.staging import StagedRows
from fti_assets.features.validation.pandera_run import REJECTED_ROWS
from fti_assets.orchestration.checks import check_result, preview, refusal
from fti_assets.orchestration.materialization import report_commit
from fti_assets.stores.files import guard_writes, make_folder, write_atomically
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.places import Place


@dataclass(frozen=True)
class Part:
    """Staged rows that are accepted or refused together.

    Args:
        staged_rows: the rows and their verdicts.
        what: the asset, and its partition where a run has several parts, for errors.
        file: the name of the file that keeps rejected rows.
    """

    staged_rows: StagedRows
    what: str
    file: str


@dataclass(frozen=True)
class Outcome:
    """What a step has stored, and what it says of it.

    Args:
        commit: what was stored.
        metadata: what the asset's page shows beside the preview.
        verdicts: one for each check.
        delay: how long after its end a partition is still provisional; None if its rows are never that.
        by_partition: what the event of each partition shows beside.
    """

    commit: Commit
    metadata: Mapping[str, Any]
    verdicts: Sequence[Verdict]
    delay: timedelta | None = None
    by_partition: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def publish_rows(
    context: dg.AssetExecutionContext,
    lake: Lake,
    table: TableName,
    parts: Sequence[Part],
    verdicts: Sequence[Verdict],
    *,
    store: Callable[[], Outcome],
) -> Iterator[Any]:
    """Store staged rows and report them, or keep the rejected ones aside, report the checks and end the step.

    Args:
        context: the step's.
        lake: the open lake.
        table: where the rows go.
        parts: the staged rows; if a blocking rule of one is broken, none is stored.
        verdicts: one for each check, reported where nothing is stored.
        store: commits the rows, and says what they are.

    Raises:
        Failure: a blocking rule is broken.
    """
    key = context.assets_def.key
    refusals = [part for part in parts if not part.staged_rows.is_accepted]
    if refusals:
        problems = []
        for part in refusals:
            note = _rejection_note(lake.store.rejected / table.name / part.file, part.staged_rows)
            problems.append(f"{part.what}: nothing was stored, because {reasons(part.staged_rows.verdicts)}. {note}")
        # Before the failure: Dagster takes no check results of a step that has ended.
        yield from (check_result(key, verdict) for verdict in verdicts)
        raise refusal("\n".join(problems))
    outcome = store()
    yield from (check_result(key, verdict) for verdict in outcome.verdicts)
    metadata = {"preview": preview(lake.connection.table(quote(parts[-1].staged_rows.table))), **outcome.metadata}
    yield from report_commit(context, outcome.commit, metadata, delay=outcome.delay, by_partition=outcome.by_partition)


def _rejection_note(file: Place, staged_rows: StagedRows) -> str:
    """Where the failing rows are; that a disk does not take them hides no broken rule."""
    try:
        return f"The failing rows are kept in {keep_rejected(file, staged_rows)}"
    except StoreError as error:
        return f"The failing rows are not kept: {error}"


def keep_rejected(file: Place, staged_rows: StagedRows) -> Place:
    """Write some of the failing rows as JSON lines.

    Raises:
        StoreError: they cannot be written.
    """
    frames = [] if staged_rows.failing is None else [staged_rows.failing]
    frames += [
        pd.DataFrame(list(verdict.sample)) for verdict in staged_rows.verdicts if not verdict.passed and verdict.sample
    ]
    rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    # As text: a list or dict in a cell has no hash. A row that breaks two rules comes once.
    rows = rows[~rows.astype(str).duplicated()].head(REJECTED_ROWS)
    content = rows.to_json(orient="records", lines=True, date_format="iso", default_handler=str).encode()
    with guard_writes(file):
        make_folder(file.parent)
        write_atomically(file, content)
    return file
