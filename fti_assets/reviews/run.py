"""What the step of a review does: compare the champion with the one before it, and propose or do a rollback."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.rules import Verdict
from fti_assets.core.times import instant
from fti_assets.errors import (
    AliasConflictError,
    DamagedError,
    DataError,
    ModelError,
    NotMaterializedError,
    PredictionError,
    StoreError,
)
from fti_assets.orchestration.checks import check_result
from fti_assets.orchestration.resources import Stores
from fti_assets.reviews.fresh_rows import answers_to, fresh_rows
from fti_assets.reviews.looks import LEAST_ROWS, MOST_ROWS, compared, looks_at
from fti_assets.reviews.review import HOLDS, Review
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.aliases import Aliases, FreshComparison
from fti_assets.stores.models.builds.served_groups import check_groups_served
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.stores.models.proposals import propose_rollback, withdraw_proposal
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.models.events import champion_observations, proposal_observation

_JUDGED = "judged"
"""The metadata of a comparison by which a champion held: what was compared, on which rows."""


class _Unjudged(Exception):
    """Why nothing can be said of the champion, as a sentence."""


class _HeldBefore(Exception):
    """The last run held the champion on the same rows."""


def run_review(review: Review, context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
    """Compare, and propose or do a rollback if the champion is the one that was judged."""
    store, model = stores.model_store(), review.model
    aliases, problem, outcome = store.aliases(model.name), "", ""
    before = _facts_before(context)
    try:
        with stores.offline_store().connect() as lake:
            comparison, judged = _compared(review, lake, store, aliases, str(before.get(_JUDGED, "")))
    except _HeldBefore:
        context.log.info("the rows of the last look are those on which the champion held before")
        yield dg.MaterializeResult(metadata=before)
        yield check_result(context.assets_def.key, Verdict(HOLDS))
        return
    except _Unjudged as why:
        context.log.info(str(why))
        yield dg.MaterializeResult(metadata={"outcome": str(why)})
        yield check_result(context.assets_def.key, Verdict(HOLDS))
        return
    context.log.info(comparison.text)
    try:
        if comparison.is_worse:
            problem = comparison.text
            outcome = _act(review, stores, store, comparison, context.run.run_id)
        elif aliases.proposal is not None:
            withdraw_proposal(store, model.name, comparison)
            outcome = f"the proposal to go back to {aliases.proposal.to} is withdrawn"
    except AliasConflictError as conflict:
        problem = outcome = str(conflict)
        context.log.warning(outcome)
    facts = _facts(comparison) | ({} if comparison.is_worse else {_JUDGED: judged})
    yield dg.MaterializeResult(metadata={"outcome": outcome or "the champion holds", **facts})
    yield check_result(context.assets_def.key, Verdict(HOLDS, int(bool(problem)), problem=problem))
    if outcome.startswith("rolled back"):
        yield from champion_observations(store, store.aliases(model.name))
    elif outcome.startswith("a rollback"):
        yield from proposal_observation(store, store.aliases(model.name))


def _act(review: Review, stores: Stores, store: ModelStore, comparison: FreshComparison, run_id: str) -> str:
    """Propose or do it, and say what was done; what cannot be done is proposed.

    Raises:
        AliasConflictError: the champion is another one by now; nothing was changed.
    """
    name, back, why = review.model.name, comparison.previous, ""
    if review.model.rollback == "automatic":
        try:
            check_groups_served(store, name, back, stores.online_store())
            store.roll_back(name, back, reason=comparison.text, run_id=run_id, evidence=comparison)
        except AliasConflictError:
            raise
        except StoreError as error:  # such as groups that are served no longer
            why = f", since {error}"
        else:
            return f"rolled back to {back}"
    propose_rollback(store, name, comparison, run_id=run_id)
    return f"a rollback to {back} is proposed: fti rollback {name} --to {back} --reason WHY{why}"


def _compared(
    review: Review, lake: Lake, store: ModelStore, aliases: Aliases, judged_before: str
) -> tuple[FreshComparison, str]:
    """The champion beside the one before it, and what was compared on which rows.

    Raises:
        _Unjudged: there is nothing to go back to, nothing to compare by, or too little.
        _HeldBefore: what would be compared is what the last run has compared, and the champion held.
    """
    model = review.model
    if aliases.champion is None:
        raise _Unjudged(f"model {model.name!r} has no champion yet")
    try:
        back = store.target_of_rollback(aliases)
    except StoreError as error:
        raise _Unjudged(f"there is nothing to go back to: {error}") from error
    try:
        (champion, graph), (previous, graph_before) = (
            load_build(store, model.name, reference) for reference in (aliases.champion, back)
        )
        if champion.version != model.version:
            raise _Unjudged(f"the champion {champion.reference} is of another version: its own review judges it")
        since, unseen = max(instant(champion.cutoff), instant(previous.cutoff)), ""
        if (decided := _decided_at(aliases)) is not None and decided - model.view.maturity > since:
            since, unseen = (
                decided - model.view.maturity,
                ", and whose labels were not there when somebody made it champion",
            )
        rows = fresh_rows(lake, model, since=since, now=clock.now(), most=MOST_ROWS)
        if len(rows.times) < LEAST_ROWS:
            raise _Unjudged(
                f"{len(rows.times)} rows with mature labels have come since {since}, of which neither {champion.reference} nor "
                f"{previous.reference} has learned{unseen}: the first look is at {LEAST_ROWS}"
            )
        *_, last = looks_at(len(rows.times))
        rows = rows.earliest(last.rows)
        # Looks double, so on most days there is no further one: then nothing is joined and asked again.
        judged = f"{review.metric} of {champion.reference} and {previous.reference} since {since}, {rows.fingerprint()}"
        if judged == judged_before:
            raise _HeldBefore
        own, features = answers_to(rows, champion, graph, model, champion.classes)
        other, _ = answers_to(rows, previous, graph_before, model, champion.classes)
    except (DamagedError, DataError, ModelError, NotMaterializedError, PredictionError) as error:
        raise _Unjudged(f"{aliases.champion} and {back} cannot be compared: {error}") from error
    clusters = rows.clusters(model.evaluate.cluster, features)
    comparison = compared(champion.reference, previous.reference, review.metric, own, other, rows.times, clusters)
    if comparison is None:
        raise _Unjudged(f"{review.metric} is undefined on the {len(rows.times)} rows that have come since {since}")
    return comparison, judged


def _facts_before(context: dg.AssetExecutionContext) -> dict[str, Any]:
    """What the last run said."""
    event = context.instance.get_latest_materialization_event(context.assets_def.key)
    materialization = None if event is None else event.asset_materialization
    own = {} if materialization is None else dict(materialization.metadata)
    if _JUDGED not in own:
        return {}
    return {name: value.value for name, value in own.items() if name.startswith("behind/") or "/" not in name}


def _decided_at(aliases: Aliases) -> datetime | None:
    """When a person made the champion of now champion, who knew the labels of then; None if a run did."""
    if not aliases.history or aliases.history[-1].run_id:
        return None
    return instant(aliases.history[-1].at)


def _facts(comparison: FreshComparison) -> dict[str, Any]:
    interval = comparison.interval
    facts = {
        "champion": comparison.champion,
        "champion_before": comparison.previous,
        comparison.metric: comparison.value,
        f"{comparison.metric}_before": comparison.previous_value,
        "behind": comparison.behind,
        "rows": comparison.rows,
        "since": comparison.since,
        "until": comparison.until,
    }
    return facts if interval is None else {**facts, "behind/low": interval.low, "behind/high": interval.high}
