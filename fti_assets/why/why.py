"""Why a request was answered as it was: its rows, snapshot, build and graph, recomputed and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import dagster as dg

from fti_assets.core.manifest import ModelManifest
from fti_assets.describe import existing_store
from fti_assets.errors import DamagedError, FtiError, NotMaterializedError, list_some
from fti_assets.features.external.rows import read_external
from fti_assets.inference.log.answers import answers_of, damaged_files
from fti_assets.inference.log.log import PredictionLog
from fti_assets.inference.serving.log.answer import LoggedAnswer
from fti_assets.monitoring.logged import (
    Recomputation,
    WinningRow,
    differences,
    is_hashed,
    recompute,
    winning_rows,
)
from fti_assets.orchestration.declaration import declarations_of
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.snapshots import current_snapshot, moment_of
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.stores.models.store import ModelStore


@dataclass(frozen=True)
class Replay:
    """A logged request, asked again.

    Args:
        build: the build that answers it.
        at: the prediction time.
        snapshot: the lake's, None where nothing could be read.
        was_newest: whether the snapshot is that of the instant; else that one is expired, or was made since.
        again: what it is answered, None if it cannot be.
        problem: why it cannot be.
        differences: what differs from the logged answer: ``feature``, ``online`` and ``offline``.
        rows: the row of each group.
    """

    build: str
    at: datetime
    snapshot: int | None
    was_newest: bool
    again: Recomputation | None = None
    problem: str = ""
    differences: Sequence[Mapping[str, Any]] = ()
    rows: Sequence[WinningRow] = ()


@dataclass(frozen=True)
class Why:
    """One answer and what it rests on; ``others`` is what it would be at another time or under another build."""

    model: str
    table: str
    logged: LoggedAnswer
    manifest: ModelManifest | None
    replay: Replay
    others: Sequence[Replay] = field(default_factory=list)


def why(
    definitions: dg.Definitions,
    request_id: str,
    *,
    stores: Stores,
    at: str | datetime | None = None,
    build: str | None = None,
) -> list[Why]:
    """Look up a logged request, and recompute each of its answers through the offline join and the graph.

    Args:
        definitions: the system's, with its prediction logs.
        request_id: the request's id; that of a shadow's answer is ``<request id>~<arm>``.
        stores: where everything is.
        at: another prediction time to ask the same request at, naive for UTC.
        build: another build to ask.

    Returns:
        One for each row of the request.

    Raises:
        NotMaterializedError: no log has such a request, or there is no offline store.
        DamagedError: no log has it as far as it can be read; the damaged files are named.
    """
    logs = [one for one in declarations_of(definitions) if isinstance(one, PredictionLog)]
    if not logs:
        raise NotMaterializedError("the definitions have no prediction log: declare one with fti.prediction_log")
    moment = None if at is None else moment_of(at, what="at")
    with existing_store(stores).connect() as lake:
        for log in logs:
            answers = answers_of(log, lake, stores.log_folder() / log.model.name, request_id)
            if answers:
                read_external(lake, log.model.view.groups)
                return [_why(log, lake, stores.model_store(), one, moment, build) for one in answers]
    files = [file for log in logs for file in damaged_files(log, stores.log_folder() / log.model.name)]
    if files:
        raise DamagedError(
            f"no answer to a request {request_id!r} can be read, and it may be in {list_some(map(str, files))}, which is damaged: "
            "put that file back from a copy, and ask again"
        )
    raise NotMaterializedError(
        f"no answer to a request {request_id!r} is in {list_some(log.table_name for log in logs)}, nor in the files of "
        f"{stores.log_folder()} that wait to be taken in: an answer is there 0.2 seconds after it was given"
    )


def _why(
    log: PredictionLog, lake: Lake, store: ModelStore, answer: LoggedAnswer, at: datetime | None, build: str | None
) -> Why:
    redactions = frozenset(log.redact)
    first = _replay(log, lake, store, answer, answer.build, answer.at, answer.answered_at, redactions)
    replays = []
    if build is not None:
        replays.append(_replay(log, lake, store, answer, build, answer.at, answer.answered_at, redactions))
    if at is not None:
        replays.append(_replay(log, lake, store, answer, answer.build, at, at, redactions))
    try:
        manifest: ModelManifest | None = store.manifest(log.model.name, answer.build)
    except FtiError:  # said by what was asked
        manifest = None
    return Why(log.model.name, log.table_name, answer, manifest, first, replays)


def _replay(
    log: PredictionLog,
    lake: Lake,
    store: ModelStore,
    answer: LoggedAnswer,
    build: str,
    at: datetime,
    as_of: datetime,
    redactions: frozenset[str],
) -> Replay:
    then = current_snapshot(lake, as_of)
    snapshot = lake.snapshot() if then is None else then
    hidden_names = sorted({name for name in redactions if name in answer.request} | _hashes(answer.request))
    try:
        manifest, graph = load_build(store, log.model.name, build)
        if lost_names := [name for name in hidden_names if name in {column.name for column in manifest.view.request}]:
            problem = f"{list_some(lost_names)} was redacted when it was logged, so the request cannot be asked again"
            return Replay(build, at, snapshot, then is not None, problem=problem)
        [again] = recompute(lake, manifest, graph, [answer.request], [at], snapshot=snapshot)
        differing = differences(manifest, answer, again, redactions=redactions)
        rows = winning_rows(lake, manifest, answer.request, at, snapshot=snapshot)
    except FtiError as error:  # the build is deleted, takes other fields, or a group was not there yet
        return Replay(build, at, snapshot, then is not None, problem=str(error))
    return Replay(build, at, snapshot, then is not None, again, "", differing, rows)


def _hashes(request: Mapping[str, Any]) -> set[str]:
    return {name for name, value in request.items() if is_hashed(value)}
