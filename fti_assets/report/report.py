"""The report: what a system's monitors, models and groups say, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import dagster as dg

from fti_assets.core import clock
from fti_assets.describe import existing_store
from fti_assets.errors import FtiError
from fti_assets.experiments.experiment import Experiment
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.monitors.monitor import Monitor
from fti_assets.monitors.parity.parity import Parity
from fti_assets.orchestration.declaration import Declaration, declarations_of
from fti_assets.orchestration.resources import Stores
from fti_assets.report.reading.causes import OpenCauses, causes_of
from fti_assets.report.reading.comparisons import ExperimentFigures, ParityFigures, experiment_of, parity_of
from fti_assets.report.reading.figures import MonitorFigures, figures_of
from fti_assets.report.reading.groups import Delay, Freshness, delay_of, freshness_of
from fti_assets.report.reading.models import ModelHistory, history_of
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.models.model import Servable

D = TypeVar("D", bound=Declaration)

_UNREADABLE = "the lake cannot be read"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is known of a system at an instant.

    Args:
        title: the system's name.
        made_at: when it was looked at, naive UTC.
        since: from when on; None for everything.
        causes: what is wrong.
        models: each model's builds and champions.
        monitors, parities, experiments: what they have measured.
        groups, delays: how fresh groups are, and how late their rows come.
        snapshot: of the lake; None if it cannot be read, and ``problem`` says why.
    """

    title: str
    made_at: datetime
    since: datetime | None
    causes: OpenCauses
    models: tuple[ModelHistory, ...] = ()
    monitors: tuple[MonitorFigures, ...] = ()
    parities: tuple[ParityFigures, ...] = ()
    experiments: tuple[ExperimentFigures, ...] = ()
    groups: tuple[Freshness, ...] = ()
    delays: tuple[Delay, ...] = ()
    snapshot: int | None = None
    problem: str = ""


@dataclass
class _OfLake:
    monitors: list[MonitorFigures] = field(default_factory=list)
    parities: list[ParityFigures] = field(default_factory=list)
    experiments: list[ExperimentFigures] = field(default_factory=list)
    groups: list[Freshness] = field(default_factory=list)
    delays: list[Delay] = field(default_factory=list)


def report(
    definitions: dg.Definitions, *, stores: Stores, title: str = "system", since: datetime | None = None
) -> Report:
    """Look at a system: nothing is run and nothing is written.

    Args:
        definitions: the system's.
        stores: where everything is.
        title: what it is called.
        since: naive UTC; only what is of then or later, with the champion of then.

    >>> report(defs, stores=stores).causes.causes  # doctest: +SKIP
    ()
    """
    now, declarations = clock.now(), list(declarations_of(definitions))
    store = stores.model_store()
    names = sorted({one.name for one in declarations if isinstance(one, Servable)})
    parts, snapshot, problem = _OfLake(), None, ""
    try:
        with existing_store(stores).connect() as lake, lake.one_snapshot():
            snapshot = lake.snapshot()
            _look(lake, declarations, since, now, parts)
        for group in _of_kind(declarations, FeatureGroup):
            if group.event_time is not None and group.is_stored:
                parts.delays.append(delay_of(group, stores, since))
    except FtiError as error:
        problem = str(error)
        _fill(declarations, parts)
    return Report(
        title=title,
        made_at=now,
        since=since,
        causes=causes_of(definitions, declarations, store, parts.groups),
        models=tuple(history_of(store, name, since) for name in names),
        monitors=tuple(parts.monitors),
        parities=tuple(parts.parities),
        experiments=tuple(parts.experiments),
        groups=tuple(parts.groups),
        delays=tuple(parts.delays),
        snapshot=snapshot,
        problem=problem,
    )


def _look(
    lake: Lake, declarations: Sequence[Declaration], since: datetime | None, now: datetime, parts: _OfLake
) -> None:
    parts.groups += [freshness_of(lake, one, now) for one in _of_kind(declarations, FeatureGroup)]
    parts.monitors += [figures_of(lake, one, since) for one in _of_kind(declarations, Monitor)]
    parts.parities += [parity_of(lake, one, since) for one in _of_kind(declarations, Parity)]
    parts.experiments += [experiment_of(lake, one) for one in _of_kind(declarations, Experiment)]


def _fill(declarations: Sequence[Declaration], parts: _OfLake) -> None:
    """Say of what the lake was asked for and did not tell that it cannot be read: nothing is not what is declared."""
    parts.groups = parts.groups or [
        Freshness(one.table_name, "unknown" if one.source is None else "outside")
        for one in _of_kind(declarations, FeatureGroup)
    ]
    parts.monitors = parts.monitors or [
        MonitorFigures(one.table.full_name, one.answers.table_name, problem=_UNREADABLE)
        for one in _of_kind(declarations, Monitor)
    ]
    parts.parities = parts.parities or [
        ParityFigures(one.table.full_name, one.of.table_name, problem=_UNREADABLE)
        for one in _of_kind(declarations, Parity)
    ]
    parts.experiments = parts.experiments or [
        ExperimentFigures(one.table.full_name, one.figure.name, problem=_UNREADABLE)
        for one in _of_kind(declarations, Experiment)
    ]
    tables = {one.table for one in parts.delays}
    parts.delays += [
        Delay(one.table_name, problem=_UNREADABLE)
        for one in _of_kind(declarations, FeatureGroup)
        if one.event_time is not None and one.is_stored and one.table_name not in tables
    ]


def _of_kind(declarations: Sequence[Declaration], kind: type[D]) -> list[D]:
    return sorted((one for one in declarations if isinstance(one, kind)), key=lambda one: one.asset_name)
