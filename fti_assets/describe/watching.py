"""What watches a system, in facts: monitors, parities, experiments, reviews, and who is told."""

from __future__ import annotations

from typing import Any

import dagster as dg

from fti_assets.alerts.alerts import ALERTS, Alerts
from fti_assets.describe.facts import length, runs, upstream
from fti_assets.experiments.experiment import Experiment
from fti_assets.monitoring.drift.drift import MARGINS, Drift
from fti_assets.monitoring.quality.quality import Quality
from fti_assets.monitors.monitor import Monitor
from fti_assets.monitors.parity.parity import Parity
from fti_assets.orchestration.declaration import TableDeclaration
from fti_assets.reviews.review import Review
from fti_assets.training.judging.slices import slices_key


def monitor_facts(monitor: Monitor, spec: Any, starts: list[str]) -> dict[str, Any]:
    """What a monitor watches, and by which rules."""
    maturity = monitor.maturity
    return {
        "asset": spec.key.to_user_string(),
        "watches": monitor.answers.table_name,
        "models": [model.asset_name for model in monitor.models],
        "drift": [drift_in_words(rule) for rule in monitor.drift],
        "quality": [quality_in_words(rule) for rule in monitor.quality],
        **({} if maturity is None else {"labels": f"mature after {length(maturity)}"}),
        **_runs_and_rests(monitor, starts),
    }


def drift_in_words(rule: Drift) -> str:
    """A rule of drift in a few words.

    >>> drift_in_words(Drift("null_rate", columns=["temp", "wind"], in_a_row=2))
    'null_rate of temp and wind against training at most 0.05 above it (2 in a row)'
    """
    of = "" if rule.columns is None else f" of {' and '.join(rule.columns)}"
    above = " above it" if rule.statistic in MARGINS else ""
    reference = (rule.reference or "").replace("_", " ")
    unusual = ", or usual" if rule.unusual else ""
    return (
        f"{rule.statistic}{of} against {reference} at most {rule.at_most:g}{above}{unusual}{_in_a_row(rule.in_a_row)}"
    )


def quality_in_words(rule: Quality) -> str:
    """A rule of quality in a few words.

    >>> quality_in_words(Quality("roc_auc", at_least=0.7, slices=["origin"])), quality_in_words(Quality("log_loss"))
    ('roc_auc by origin at least 0.7', 'log_loss measured')
    """
    by = "".join(f" by {slices_key(one)}" for one in rule.sliced_by)
    if not rule.is_judged:
        return f"{rule.metric}{by} measured"
    if rule.drop is not None:
        bound = f"worse by at most {rule.drop:g} than on test rows"
    else:
        bound = f"{'at least' if rule.higher_is_better else 'at most'} {rule.bound(None):g}"
    return f"{rule.metric}{by} {bound}{_in_a_row(rule.in_a_row)}"


def _in_a_row(number: int) -> str:
    return "" if number == 1 else f" ({number} in a row)"


def parity_facts(parity: Parity, spec: Any, starts: list[str]) -> dict[str, Any]:
    """What a parity compares, and how much of it."""
    return {
        "asset": spec.key.to_user_string(),
        "compares": parity.of.table_name,
        "models": [model.asset_name for model in parity.models],
        "requests": f"at most {parity.sample:,} of a partition",
        "lag": length(parity.lag),
        **_runs_and_rests(parity, starts),
    }


def experiment_facts(experiment: Experiment, spec: Any, starts: list[str]) -> dict[str, Any]:
    """Whose arms an experiment compares, by what, and when it decides."""
    terms = experiment.terms
    return {
        "asset": spec.key.to_user_string(),
        "compares": f"the arms of {experiment.model.asset_name} by {experiment.figure.name}",
        "log": experiment.log.table_name,
        "decides": f"at {terms.least_keys:,} keys an arm{'' if terms.looks == 1 else f', in {terms.looks} looks'}",
        **_runs_and_rests(experiment, starts),
    }


def review_facts(review: Review, spec: Any, starts: list[str]) -> dict[str, Any]:
    """Whose champion a review judges, and what it does."""
    return {
        "asset": spec.key.to_user_string(),
        "compares": f"the champion of {review.model.asset_name} with the one before it by {review.metric}",
        "rollback": review.model.rollback,
        "schedule": starts,
        "upstream": upstream(review.assets_def),
    }


def _runs_and_rests(declaration: TableDeclaration, starts: list[str]) -> dict[str, Any]:
    return {
        "runs": runs(declaration.partitions_def),
        "sink": f"the table {declaration.table.full_name} of the offline store",
        "schedule": starts,
        "upstream": upstream(declaration.assets_def),
    }


def alerts_facts(alerts: Alerts) -> dict[str, Any]:
    """Who is told, and of what: of an address the scheme, and the name of a variable of the environment."""
    levels = "errors and warnings" if alerts.at_least == "warning" else "errors"
    to = [f"${one.env_var_name}" if isinstance(one, dg.EnvVar) else one for one in alerts.to]
    return {"asset": ALERTS, "tells": to, "of": levels}
