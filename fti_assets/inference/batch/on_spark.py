"""The answers of graphs for the rows of a table, given by the workers of Spark: features go there, answers come back."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from fti_assets.core.records import to_json
from fti_assets.core.sql import literal, quote, temporary_name
from fti_assets.engines.choice import SCORING_SPEED, PlanSize
from fti_assets.engines.running import RunningEngine
from fti_assets.errors import EngineError
from fti_assets.features.point_in_time.arrays import canonical_sql
from fti_assets.inference.batch.scoring import NUMBER, Scorer
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.models.store import ModelStore


def is_scored_on_spark(
    engine: RunningEngine, connection: duckdb.DuckDBPyConnection, table: str, scorers: Sequence[Scorer]
) -> bool:
    """Whether the rows of a numbered table are answered on Spark."""
    if not engine.may_use_spark:
        return False
    what = f"answers of {', '.join(scorer.manifest.model for scorer in scorers)}"

    def size() -> PlanSize:
        [(rows,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
        # Rows are answered some at a time, so that no number of them takes memory.
        return PlanSize(what, int(rows), 0, SCORING_SPEED)

    return engine.is_on_spark(size, what=what)


def score_on_spark(
    engine: RunningEngine,
    connection: duckdb.DuckDBPyConnection,
    store: ModelStore,
    table: str,
    scorers: Sequence[Scorer],
    *,
    columns: Sequence[str],
) -> str:
    """What ``score`` gives, by the workers of Spark; the arguments are its own.

    Raises:
        EngineError: Spark cannot be reached, lacks the library, or fails.
    """
    from fti_assets.engines.spark.worker import Question, own_version

    tables = engine.tables()
    features = list(dict.fromkeys(feature for scorer in scorers for feature in scorer.manifest.view.features))
    names = {feature: f"feature_{number}" for number, feature in enumerate(features)}
    items = [NUMBER, *(f"{canonical_sql(feature)} AS {name}" for feature, name in names.items())]
    rows = tables.send(connection.sql(f"SELECT {', '.join(items)} FROM {table}"), what="features", of="the features")
    questions = []
    for scorer in scorers:
        folder, manifest = tables.place("build"), scorer.manifest
        _, graph = store.load(manifest.model, manifest.reference)
        (folder / "model.onnx").write_bytes(graph)
        (folder / "manifest.json").write_bytes(to_json(manifest).encode())
        of_build = tuple((names[feature], feature) for feature in manifest.view.features)
        questions.append(Question(str(folder), of_build))
    number, own = NUMBER, own_version()

    def answers(batches):  # type: ignore[no-untyped-def]  # Spark reads annotations, for which the worker would lack the names
        from fti_assets.engines.spark.worker import Worker

        return Worker(number, questions, own).answers(batches)

    kinds = ["array<double>" if scorer.manifest.answers_by_name else "double" for scorer in scorers]
    schema = ", ".join([f"{NUMBER} bigint", *(f"answer_{place} {kind}" for place, kind in enumerate(kinds))])
    answered_rows = relation_name(tables.receive(rows.mapInArrow(answers, schema), what="answers", of="the answers"))
    name = quote(temporary_name("answers"))
    own_columns = [f"rows.{quote(column)}" for column in columns]
    values = [
        f"{_value(f'chunk.answer_{place}', scorer)} AS {quote(scorer.column)}" for place, scorer in enumerate(scorers)
    ]
    connection.execute(
        f"CREATE TEMP TABLE {name} AS SELECT {', '.join([*own_columns, *values])} FROM {table} rows "
        f"JOIN {answered_rows} chunk USING ({NUMBER})"
    )
    [(rows_back, due)] = connection.execute(
        f"SELECT (SELECT count(*) FROM {name}), (SELECT count(*) FROM {table})"
    ).fetchall()
    if rows_back != due:
        raise EngineError(f"Spark answered {rows_back} of {due} rows. Nothing was stored; run it again")
    return name


def _value(answer: str, scorer: Scorer) -> str:
    """The SQL of an answer: a number, or a map of class, or name, to number."""
    if not scorer.manifest.answers_by_name:
        return answer
    return f"MAP([{', '.join(literal(str(name)) for name in scorer.manifest.classes)}], {answer})"
