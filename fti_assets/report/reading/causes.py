"""What is wrong now, as the alerts would tell it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from fti_assets.alerts.alerts import ALERTS, Alerts
from fti_assets.alerts.builds import findings_of_builds
from fti_assets.alerts.causes import Cause, Findings
from fti_assets.alerts.runs import findings_of_runs
from fti_assets.alerts.staleness import stale_causes
from fti_assets.orchestration.declaration import Declaration
from fti_assets.report.reading.groups import Freshness
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.models.model import Servable


@dataclass(frozen=True)
class OpenCauses:
    """What is wrong, who is told of it, and what could not be looked at."""

    causes: tuple[Cause, ...]
    targets: tuple[str, ...] = ()
    unseen: str = ""


def causes_of(
    definitions: dg.Definitions,
    declarations: Sequence[Declaration],
    store: ModelStore,
    groups: Sequence[Freshness],
) -> OpenCauses:
    """What the model store, the lake and the Dagster instance of ``DAGSTER_HOME`` know to be wrong.

    Without that instance nobody knows of checks and runs, which is said.
    """
    models = [one for one in declarations if isinstance(one, Servable)]
    stale = [cause for one in groups for cause in stale_causes(one.table, one.missing, one.overdue_since)]
    findings = findings_of_builds(store, sorted({one.name for one in models})) + Findings(tuple(stale))
    unseen = ""
    if os.environ.get("DAGSTER_HOME"):
        try:
            with dg.DagsterInstance.get() as instance:
                assets = [one.assets_def for one in declarations]
                findings = findings_of_runs(instance, assets, models, warnings=True) + findings
        except Exception as error:  # whatever its storage raises
            unseen = f"Checks and runs were not looked at: the Dagster instance of DAGSTER_HOME failed: {error}"
    else:
        unseen = (
            "Checks and runs were not looked at: set DAGSTER_HOME to the folder of the Dagster instance of the system"
        )
    alerts = (definitions.resources or {}).get(ALERTS)
    targets = tuple(alerts.to) if isinstance(alerts, Alerts) else ()
    return OpenCauses(findings.causes, targets, unseen)
