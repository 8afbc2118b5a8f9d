"""What the step of an experiment does: judge the rollout that goes on, store the figures, and obey the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from fti_assets.core import clock
from fti_assets.core.rollouts.rollout import CHAMPION
from fti_assets.core.rules import Verdict as CheckVerdict
from fti_assets.core.sql import timestamp
from fti_assets.errors import AliasConflictError
from fti_assets.experiments.answers import answers_of
from fti_assets.experiments.experiment import AS_PLANNED, VERDICT_OBEYED, Experiment, columns_of
from fti_assets.experiments.judged import OngoingRollout, judged_rollout, obey
from fti_assets.features.external.rows import read_external
from fti_assets.features.groups.columns import stored_schema
from fti_assets.features.publish import Outcome, Part, publish_rows
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.staging import stage
from fti_assets.monitoring.experiments.bandit import chances, shares_by_chance
from fti_assets.monitoring.experiments.comparison import ArmComparison
from fti_assets.monitoring.experiments.samples import Answers
from fti_assets.monitoring.experiments.verdict import Verdict, estimate, judge, mismatch
from fti_assets.orchestration.checks import check_result
from fti_assets.orchestration.partitions import UNPARTITIONED
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.rollouts import shares_of
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.models.events import champion_observations

_LEAST_SHIFT = 0.01
"""A bandit's shares stay where they are until one would change by so much, since each change moves keys to another build."""

_TYPES = {
    "timestamp": pa.timestamp("us"),
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
}


def run_experiment(experiment: Experiment, context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
    """Judge the rollout of the model that goes on; without one the figures of earlier ones stay as they are."""
    store, model = stores.model_store(), experiment.model
    ongoing = judged_rollout(store.aliases(model.name))
    with stores.offline_store().connect() as lake:
        snapshot = lake.snapshot()
        read_external(lake, model.view.groups)
        verdict: Verdict | None = None
        facts: dict[str, Any] = {}
        best: dict[str, float] = {}
        if ongoing is None:
            context.log.info(f"model {model.name!r} has no rollout: there is nothing to judge")
        else:
            now = clock.now()
            verdict, facts, best = _judge(experiment, lake, ongoing, now, snapshot)
            context.log.info(f"{verdict.decision}: {verdict.reason}")
        rows = _rows(experiment, ongoing, verdict, best)
        table = experiment.table
        relation = lake.connection.from_arrow(rows)
        if lake.has(table):
            not_ongoing = f"since <> {timestamp(ongoing.since)}" if ongoing is not None else "true"
            earlier = relation_name(lake.rows(table, snapshot=snapshot).filter(not_ongoing))
            relation = lake.connection.sql(f"FROM {earlier} UNION ALL BY NAME FROM {relation_name(relation)}")
        layout = Layout(
            what=experiment.table_name, not_null=("since", "arm"), unique=("since", "arm"), partition_by=None
        )
        staged_rows = stage(lake.connection, relation, layout, [UNPARTITIONED])
        problem = _mismatch(verdict)
        checks = [CheckVerdict(AS_PLANNED, int(bool(problem)), problem=problem)]

        def store_figures() -> Outcome:
            commit = lake.replace(
                table,
                staged_rows.table,
                [UNPARTITIONED.key],
                asset=context.assets_def.key.to_user_string(),
                run_id=context.run.run_id,
            )
            metadata = {**facts, **stored_schema(columns_of(experiment), lake.types(table))}
            return Outcome(commit, metadata, checks)

        part = Part(staged_rows, experiment.table_name, f"{context.run.run_id}.jsonl")
        yield from publish_rows(context, lake, table, [part], checks, store=store_figures)
    # Behind the commit: a run that is killed between the two judges the same again, and obeys then.
    problem = ""
    if ongoing is not None and verdict is not None:
        try:
            outcome = _obey(experiment, store, ongoing, verdict, best, context.run.run_id)
            context.log.info(f"the rollout of model {model.name!r}: {outcome or 'left as it is'}")
            if outcome.startswith("promoted"):
                yield from champion_observations(store, store.aliases(model.name))
        except AliasConflictError as conflict:
            problem = str(conflict)
            context.log.warning(problem)
    yield check_result(context.assets_def.key, CheckVerdict(VERDICT_OBEYED, int(bool(problem)), problem=problem))


def _judge(
    experiment: Experiment, lake: Lake, ongoing: OngoingRollout, now: datetime, snapshot: int
) -> tuple[Verdict, dict[str, Any], dict[str, float]]:
    """The verdict, what the asset's page shows of it, and in a bandit each arm's chance to be best."""
    kind, terms = ongoing.rollout.kind, experiment.terms
    answers_by_arm = answers_of(experiment, lake, ongoing, now, snapshot)
    arms = list(ongoing.builds)
    answers = Answers(
        lake.connection, answers_by_arm.rows, arms, is_paired=kind == "shadow", keys_move=kind == "bandit"
    )
    best: dict[str, float] = {}
    if kind == "bandit":
        samples = answers.samples()
        best = chances(samples, higher_is_better=terms.higher_is_better, salt=ongoing.rollout.salt)
        chances_text = ", ".join(f"{arm} {chance:.1%}" for arm, chance in best.items())
        verdict = estimate(
            terms, None, samples, f"a bandit goes on until somebody ends it; the chance to be best: {chances_text}"
        )
    else:
        verdict = judge(
            terms, ongoing.shares, horizon=answers.horizon, samples=answers.samples, is_paired=kind == "shadow"
        )
    facts: dict[str, Any] = {
        "verdict": verdict.decision,
        "reason": verdict.reason,
        "is_estimate": verdict.is_estimate,
        "judged_since": str(ongoing.since),
        "keys_of_several_arms": answers.keys_of_several_arms,
        "answers_of_other_builds": answers_by_arm.of_other_builds,
    }
    for name, arm in verdict.arms.items():
        facts |= {f"{name}/keys": arm.keys, f"{name}/{experiment.figure.name}": _round(arm.mean)}
        if name != CHAMPION:
            facts |= {f"{name}/improvement": _round(arm.improvement)}
            facts |= {f"{name}/improvement_low": _round(arm.improvement_interval.low)}
            facts |= {f"{name}/improvement_high": _round(arm.improvement_interval.high)}
    return verdict, {name: value for name, value in facts.items() if value is not None}, best


def _obey(
    experiment: Experiment,
    store: ModelStore,
    ongoing: OngoingRollout,
    verdict: Verdict,
    best: Mapping[str, float],
    run_id: str,
) -> str:
    """Do what the verdict says if the model is promoted by experiments, and shift a bandit's shares in any case; say what was done.

    Raises:
        AliasConflictError: the rollout is another one by now.
    """
    model = experiment.model
    if ongoing.rollout.kind == "bandit":
        shares = shares_by_chance(best, least_share=experiment.least_share, rest=CHAMPION)
        now = shares_of(ongoing.rollout)
        if max(abs(shares[arm] - now[arm]) for arm in shares) < _LEAST_SHIFT:
            return ""
        return obey(store, model.name, ongoing, verdict, shares, run_id=run_id)
    if model.promote != "after_experiment":
        return ""
    return obey(store, model.name, ongoing, verdict, None, run_id=run_id)


def _mismatch(verdict: Verdict | None) -> str:
    return "" if verdict is None else mismatch(verdict.arms)


def _rows(
    experiment: Experiment, ongoing: OngoingRollout | None, verdict: Verdict | None, best: Mapping[str, float]
) -> pa.Table:
    """One row an arm."""
    columns = columns_of(experiment)
    rows = []
    if ongoing is not None and verdict is not None:
        for name, build in ongoing.builds.items():
            rows.append(
                _row(verdict.arms[name])
                | {
                    "since": ongoing.since,
                    "kind": ongoing.rollout.kind,
                    "build": build,
                    "chance": best.get(name),
                    "is_estimate": verdict.is_estimate,
                    "look": verdict.look,
                    "until": verdict.until,
                    "verdict": verdict.decision,
                    "promoted": verdict.arm,
                    "reason": verdict.reason,
                }
            )
    schema = pa.schema([pa.field(name, _TYPES[column.type]) for name, column in columns.items()])
    return pa.Table.from_pylist(rows, schema=schema)


def _row(arm: ArmComparison) -> dict[str, Any]:
    return {
        "arm": arm.arm,
        "keys": arm.keys,
        "answers": arm.sample.rows,
        "unlabelled": arm.sample.unlabelled,
        "mean": arm.mean,
        "mean_low": arm.mean_interval.low,
        "mean_high": arm.mean_interval.high,
        "improvement": arm.improvement,
        "improvement_low": arm.improvement_interval.low,
        "improvement_high": arm.improvement_interval.high,
        "planned_share": arm.planned_share,
        "share": arm.share,
    }


def _round(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.6g}")
