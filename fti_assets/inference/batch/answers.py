"""The answers of builds to the spine rows of some partitions: joined, scored, in the columns of the predictions' table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from fti_assets.core import clock
from fti_assets.core.manifest import ModelManifest, ViewRecord
from fti_assets.core.sql import literal, quote, timestamp
from fti_assets.core.times import Partition
from fti_assets.engines.running import RunningEngine
from fti_assets.errors import PredictionError, excerpt, list_some
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.spine_rows import LATE, spine_as_of, with_spine_times
from fti_assets.inference.batch.inputs import Inputs, inputs_of
from fti_assets.inference.batch.on_spark import is_scored_on_spark, score_on_spark
from fti_assets.inference.batch.passes import Pass, passes_of
from fti_assets.inference.batch.predictions import PREDICTED_AT, Answer, BatchPredictions
from fti_assets.inference.batch.scoring import Scorer, numbered_table, score
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.answering import Answering
from fti_assets.stores.models.graphs.execution import execution_providers
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.datasets.checks.coverage import with_match_columns
from fti_assets.training.models.model import Model


@dataclass(frozen=True)
class Answers:
    """Answers, for how many the spine row was not available at its prediction time, and what each pass of joins found for them."""

    rows: duckdb.DuckDBPyRelation
    delay_breaches: int
    inputs: tuple[Inputs, ...]


def answers_of(
    lake: Lake,
    store: ModelStore,
    predictions: BatchPredictions,
    builds: Sequence[ModelManifest],
    partitions: Sequence[Partition],
    old: duckdb.DuckDBPyRelation | None,
    snapshot: int,
    engine: RunningEngine,
) -> Answers:
    """What a build of each model answers for the spine rows of some partitions that have no answers yet.

    Raises:
        NotMaterializedError: the builds learned from different versions of the spine.
        PredictionError: a build has no answer of the name that lists are ranked by, or a list of a ranking model's would be a part of one.
    """
    _check_ranked(predictions, builds)
    spine = predictions.spine
    in_times = [replace(build, view=with_spine_times(build.view, spine)) for build in builds]
    parts = [
        _of_pass(lake, store, predictions, one, partitions, old, snapshot, engine)
        for one in passes_of(in_times, what=predictions.table_name)
    ]
    # Each pass has one row for each spine row.
    by = ", ".join(map(quote, in_times[0].view.identity))
    first, *further = [relation_name(part.rows) for part in parts]
    source = " ".join([f"FROM {first}", *(f"LEFT JOIN {other} USING ({by})" for other in further)])
    rows = lake.connection.sql(_select(predictions, builds, source))
    inputs = tuple(one for part in parts for one in part.inputs)
    return Answers(rows, max(part.delay_breaches for part in parts), inputs)


def _check_ranked(predictions: BatchPredictions, builds: Sequence[ModelManifest]) -> None:
    of = None if predictions.top is None else predictions.top.of
    for build in builds:
        if of is not None and of not in build.classes:
            raise PredictionError(
                f"{predictions.table_name} ranks by {excerpt(of)}, but build {build.reference} of model {build.model!r} answers "
                f"{list_some(build.classes, 20)}: name one of them in fti.TopK(of=...)"
            )


def refuse_parts_of_lists(
    lake: Lake, predictions: BatchPredictions, view: ViewRecord, due: duckdb.DuckDBPyRelation, snapshot: int
) -> None:
    """Refuse queries with several prediction times, each of which would get a list of its own.

    All of the spine is looked at, since a query may go on in another partition.

    Raises:
        PredictionError: it names some of them.
    """
    top, time = predictions.top, view.prediction_time
    queries = [one.dataset.query for one in predictions.models if isinstance(one, Model) and one.task == "ranking"]
    if top is None or time is None or all(time in query for query in queries):
        return
    names, rows = ", ".join(map(quote, top.by)), relation_name(lake.rows(view.spine_table, snapshot=snapshot))
    query = (
        f"SELECT {names}, count(DISTINCT {quote(time)}) FROM {rows} WHERE ({names}) IN (SELECT ({names}) FROM {relation_name(due)}) "
        f"GROUP BY {names} HAVING count(DISTINCT {quote(time)}) > 1 ORDER BY {names} LIMIT 3"
    )
    if several := lake.connection.execute(query).fetchall():
        examples = list_some(row[0] if len(top.by) == 1 else row[:-1] for row in several)
        raise PredictionError(
            f"{predictions.table_name} keeps a list for each {list_some(top.by)} and {time}, but {view.spine_table.name} has rows of one "
            f"{list_some(top.by)} at several times, such as of {examples}: each list would be a part of what the model ranks. Give the "
            f"rows of a list one {time}, or name {time} in the dataset's query="
        )


def _select(predictions: BatchPredictions, builds: Sequence[ModelManifest], source: str) -> str:
    """The SQL of the table's columns, one row an answered row or a list, from ``source`` with a column of scores for each model."""
    references, top = {build.model: build.reference for build in builds}, predictions.top
    items = list(map(quote, predictions.identity))
    for answer in predictions.answers:
        score = _scores_of(answer)
        value = quote(score) if top is None else top.sql(score, predictions.items)
        items += [
            f"{value} AS {quote(answer.value)}",
            f"{literal(references[answer.model.name])} AS {quote(answer.build)}",
        ]
    items.append(f"{timestamp(clock.now())} AS {PREDICTED_AT}")
    group_by = "" if top is None else f" GROUP BY {', '.join(map(quote, predictions.identity))}"
    return f"SELECT {', '.join(items)} {source}{group_by}"


def _scores_of(answer: Answer) -> str:
    """The column of a model's scores before they are the table's: its name cannot be a key's."""
    return f"__fti_scores_{answer.model.name}"


def _of_pass(
    lake: Lake,
    store: ModelStore,
    predictions: BatchPredictions,
    one: Pass,
    partitions: Sequence[Partition],
    old: duckdb.DuckDBPyRelation | None,
    snapshot: int,
    engine: RunningEngine,
) -> Answers:
    """The rows that are due by their keys and prediction time, with the answers of the builds that are joined together."""
    view = one.view
    versions = lake.rows(view.spine_table, snapshot=snapshot).filter(_within(view.prediction_time, partitions))
    due = spine_as_of(lake.connection, versions, view)
    if old is not None:
        same = " AND ".join(f"old.{quote(name)} = spine.{quote(name)}" for name in predictions.identity)
        due = lake.connection.sql(
            f"SELECT spine.* FROM {relation_name(due)} spine WHERE NOT EXISTS (FROM {relation_name(old)} old WHERE {same})"
        )
    refuse_parts_of_lists(lake, predictions, view, due, snapshot)
    features = relation_name(assemble(lake, with_match_columns(view), due, snapshot=snapshot, engine=engine))
    table = numbered_table(lake.connection, features)
    columns = {answer.model.name: _scores_of(answer) for answer in predictions.answers}
    scorers = [
        Scorer(
            Answering(*load_build(store, build.model, build.reference, providers=execution_providers())),
            columns[build.model],
        )
        for build in one.builds
    ]
    if is_scored_on_spark(engine, lake.connection, table, scorers):
        answers = score_on_spark(engine, lake.connection, store, table, scorers, columns=view.identity)
    else:
        answers = score(lake.connection, table, scorers, columns=view.identity)
    [(late,)] = lake.connection.execute(f"SELECT count(*) FILTER ({LATE}) FROM {table}").fetchall()
    inputs = inputs_of(lake.connection.sql(f"FROM {table}"), view)
    lake.connection.execute(f"DROP TABLE {table}")  # features are wider than answers, and done with
    return Answers(lake.connection.sql(f"FROM {answers}"), int(late), (inputs,))


def _within(time: str | None, partitions: Sequence[Partition]) -> str:
    """The SQL that a prediction time is in one of the partitions; adjoining ones are one span."""
    if time is None or partitions[0].start is None:
        return "true"
    spans: list[tuple[Any, Any]] = []
    for partition in partitions:
        is_next = bool(spans) and spans[-1][1] == partition.start
        spans.append((spans.pop()[0] if is_next else partition.start, partition.end))
    column = quote(time)
    within = [f"{column} >= {timestamp(start)} AND {column} < {timestamp(end)}" for start, end in spans]
    return f"({' OR '.join(within)})"
