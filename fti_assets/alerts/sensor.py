"""The sensor that looks for what is wrong and tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from fti_assets.alerts.alerts import ALERTS, Alerts
from fti_assets.alerts.builds import findings_of_builds
from fti_assets.alerts.causes import Changes, Findings, age_text, changes_of, length_text
from fti_assets.alerts.cursor import AlertsCursor, Message
from fti_assets.alerts.delivery import deliver
from fti_assets.alerts.runs import findings_of_runs
from fti_assets.alerts.staleness import findings_of_groups
from fti_assets.core import clock
from fti_assets.core.times import instant
from fti_assets.errors import list_some
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.declaration import Declaration, declaration_of
from fti_assets.orchestration.resources import STORES, Stores
from fti_assets.orchestration.signature import CONTEXT, take
from fti_assets.training.models.model import Servable

_Watched = tuple[Sequence[dg.AssetsDefinition], Sequence[Declaration]]
"""The assets that are watched, and what is declared of them."""


def alerts_sensor(name: str, declarations: Sequence[Declaration], plain: Iterable[Any]) -> dg.SensorDefinition:
    """The sensor over some declarations, and over other assets beside them, which tells the targets of the resource ``alerts``."""
    others = [one for one in plain if isinstance(one, dg.AssetsDefinition)]
    assets = [*(one.assets_def for one in declarations), *others]
    return _sensor(name, lambda context: (assets, declarations))


def location_alerts_sensor(name: str) -> dg.SensorDefinition:
    """As ``alerts_sensor``, over whatever is in its code location: of an asset that comes from elsewhere it cannot know before."""

    def everything(context: dg.SensorEvaluationContext) -> _Watched:
        assert context.repository_def is not None
        assets = list({id(one): one for one in context.repository_def.assets_defs_by_key.values()}.values())
        return assets, [one for one in map(declaration_of, assets) if one is not None]

    return _sensor(name, everything)


def _sensor(name: str, watched: Callable[[dg.SensorEvaluationContext], _Watched]) -> dg.SensorDefinition:
    def look(context: dg.SensorEvaluationContext, **resources: Any) -> dg.SensorResult:
        alerts, stores = resources[ALERTS], resources[STORES]
        assets, declarations = watched(context)
        # What another code location owns is told of there.
        models = [one for one in declarations if isinstance(one, Servable) and one.is_owned]
        groups = [one for one in declarations if isinstance(one, FeatureGroup) and one.is_owned]
        now, before = clock.now(), AlertsCursor.of(context.cursor).causes
        findings = (
            findings_of_runs(
                context.instance, assets, models, warnings=alerts.at_least == "warning", open_causes=before
            )
            + findings_of_groups(context.instance, groups, now)
            + findings_of_builds(stores.model_store(), sorted({one.name for one in models}))
        )
        return tell(context, alerts, findings, now)

    take(look, {CONTEXT: dg.SensorEvaluationContext, ALERTS: Alerts, STORES: Stores})
    return dg.sensor(
        name=name,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells what is wrong once, and once more when it is over.",
    )(look)


def tell(context: dg.SensorEvaluationContext, alerts: Alerts, findings: Findings, now: datetime) -> dg.SensorResult:
    """Tell the targets what has changed since the last tick, and remember what is wrong."""
    cursor = AlertsCursor.of(context.cursor)
    changes = changes_of(cursor.causes, findings, now)
    cursor.causes = changes.open
    cursor.queue(alerts.to, messages_of(changes, now))
    problems = deliver(cursor, alerts, context.log)
    for problem in problems:
        context.log.error(problem)
    count = f"{len(changes.open)} causes are open" if len(changes.open) != 1 else "1 cause is open"
    oldest_first = sorted(changes.open.values(), key=lambda one: one.since)
    titles = list_some(f"{one.title}, since {instant(one.since):%Y-%m-%d %H:%M}" for one in oldest_first)
    reasons = [f"{count}: {titles}" if changes.open else "all is well"]
    return dg.SensorResult(skip_reason="; ".join([*reasons, *problems]), cursor=cursor.text())


def messages_of(changes: Changes, now: datetime) -> list[Message]:
    """What is over and how long it lasted, and then what has begun and when."""
    ends = [
        Message(f"Over: {one.end or one.title}", f"{length_text(instant(one.since), now)}: {one.title}", "over")
        for one in changes.over
    ]
    ages = [age_text(instant(changes.open[cause.subject].since), now) for cause in changes.begun]
    return [
        *ends,
        *(
            Message(cause.title, "\n".join(filter(None, (cause.text, age))), "begun")
            for cause, age in zip(changes.begun, ages, strict=True)
        ),
    ]
