"""The tools: what an agent may ask about a system. Each gives plain values and raises the library's own errors."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, Literal

import dagster as dg

from fti_assets.agents.answers import without_redacted
from fti_assets.agents.plain import plain
from fti_assets.agents.redaction import MASK, Redaction
from fti_assets.agents.rows import some_rows
from fti_assets.core import clock
from fti_assets.describe import describe, existing_store, search
from fti_assets.errors import DeclarationError, NotMaterializedError, one_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.monitors.monitor import Monitor
from fti_assets.monitors.quality.redaction import mask_slice, redacted_by_logs
from fti_assets.orchestration.declaration import Declaration, TableDeclaration, declarations_of
from fti_assets.orchestration.resources import Stores
from fti_assets.report.reading.causes import causes_of
from fti_assets.report.reading.figures import MonitorFigures, Series, figures_of
from fti_assets.report.reading.groups import freshness_of
from fti_assets.stores.lake.snapshots import moment_of
from fti_assets.stores.models.builds.differences import differences
from fti_assets.stores.models.builds.facts import facts_of
from fti_assets.stores.models.manifest_check import verdict_of
from fti_assets.why import as_text, why

_MOST_MATCHES, _MOST_BUILDS, _MOST_POINTS = 50, 30, 30

Part = Literal["features", "datasets", "models", "batch", "online", "logs", "monitors", "alerts", "others"]


class Tools:
    """A system that is asked; its definitions are loaded once.

    Args:
        definitions: the system's.
        stores: where everything is; it is only read.
    """

    def __init__(self, definitions: dg.Definitions, stores: Stores) -> None:
        self._definitions, self._stores = definitions, stores

    @cached_property
    def _declarations(self) -> list[Declaration]:
        return list(declarations_of(self._definitions))

    @cached_property
    def _redaction(self) -> Redaction:
        return Redaction.of(self._declarations)

    def search(self, words: str) -> dict[str, Any]:
        """Find feature groups, views, datasets, models, predictions, monitors and on-demand functions by words.

        All words must be in the name, a column, a tag, an owner or the description.
        """
        matches = search(words, self._definitions)
        return {"matches": self._plain(list(matches[:_MOST_MATCHES])), "total": len(matches)}

    def describe(self, asset: str | None = None, part: Part | None = None) -> dict[str, Any]:
        """Say what the system is: without arguments the assets of each part, of a part or an asset all facts.

        Facts are how it runs, keys, times, features, encoders, gates, triggers, rules of monitors, where rows go, and who is told.
        """
        system = describe(self._definitions)
        if asset is not None:
            facts = {part: one for part, some in system.items() for one in some if one["asset"] == asset}
            if not facts:
                names = sorted({one["asset"] for some in system.values() for one in some})
                raise DeclarationError(f"the definitions have no asset {asset!r}: they have {one_of(names)}")
            return dict(self._plain(facts))
        if part is not None:
            return {part: self._plain(system.get(part, []))}
        return {name: self._plain([one["asset"] for one in some]) for name, some in system.items() if some}

    def builds(self, model: str | None = None) -> dict[str, Any]:
        """List the models and their champions, or the newest builds of a model with metrics and gates, and the history of its champions."""
        store = self._stores.model_store()
        if model is None:
            return {name: {"champion": store.aliases(name).champion} for name in store.models()}
        builds, errors = store.all_builds(model)
        if not builds and not errors:
            raise NotMaterializedError(f"there is no model {model!r} in {store.root}: it has {one_of(store.models())}")
        aliases = store.aliases(model)
        return {
            "champion": aliases.champion,
            "builds": [
                {
                    "build": one.reference,
                    "verdict": verdict_of(one),
                    "cutoff": one.cutoff,
                    "made": one.created_at,
                    "trained_because": self._plain(one.trained_because),
                    "metrics": self._plain(one.metrics),
                    "test_rows": one.dataset.rows.get("test"),
                    "gates": self._plain(
                        [f"{'passed' if gate.passed else 'failed'} {gate.gate}: {gate.reason}" for gate in one.gates]
                    ),
                }
                for one in reversed(builds[-_MOST_BUILDS:])
            ],
            "older_builds": max(len(builds) - _MOST_BUILDS, 0),
            "damaged": self._plain({reference: str(error) for reference, error in errors.items()}),
            "champions": self._plain([asdict(change) for change in aliases.history[-_MOST_BUILDS:]]),
            "rolled_back": self._plain(aliases.rolled_back),
            "not_promoted": self._plain([asdict(one) for one in aliases.unpromoted]),
            "rollout": None
            if aliases.rollout is None
            else self._plain({"kind": aliases.rollout.kind, "arms": aliases.rollout.arms}),
            "rollback_proposed": None if aliases.proposal is None else self._plain(asdict(aliases.proposal)),
        }

    def build(self, model: str, build: str | None = None) -> dict[str, Any]:
        """Say what a build is, of the champion without one: its data, code, features, encoders, metrics, gates and packages."""
        store = self._stores.model_store()
        manifest = store.manifest(model, build or store.champion(model).reference)
        facts = {section: dict(some) for section, some in facts_of(manifest).items()}
        facts["encoders"] = {name: self._learned(name, value) for name, value in facts["encoders"].items()}
        return {"build": manifest.reference, "verdict": verdict_of(manifest), **self._plain(facts)}

    def diff_builds(self, model: str, build: str, other: str | None = None) -> dict[str, Any]:
        """Say in what a build differs from another one, or from the champion."""
        store = self._stores.model_store()
        before = store.manifest(model, other or store.champion(model).reference)
        after = store.manifest(model, build)
        results = [
            replace(one, first=self._learned(one.name, one.first), second=self._learned(one.name, one.second))
            if one.section == "encoders"
            else one
            for one in differences(before, after)
        ]
        return {"from": before.reference, "to": after.reference, "differences": self._plain(results)}

    def drift(self, monitor: str, since: str | None = None) -> dict[str, Any]:
        """Say how features, labels and answers drift: a monitor's figures of the newest partition that are nearest to their limits, and
        the PSI of each column over the newest partitions."""
        figures = self._figures(monitor, since)
        return {
            "watches": figures.watches,
            "newest_partition": self._plain(figures.newest),
            "warnings": figures.warnings,
            "nearest_to_limits": self._plain(figures.nearest),
            "columns": {one.name: _points(one) for one in figures.drift},
        }

    def quality(self, monitor: str, since: str | None = None) -> dict[str, Any]:
        """Say how good the answers are: the newest figure of each metric, slice, build and arm, and each metric over the newest
        partitions, as mature labels say and as it was estimated before they came."""
        figures = self._figures(monitor, since)
        if not figures.quality_now:
            raise NotMaterializedError(
                f"{figures.table} has no figures of quality: give the monitor quality=[fti.Quality(...)], or wait for answers"
            )
        return {
            "watches": figures.watches,
            "newest": self._plain(figures.quality_now),
            "metrics": {f"{one.name}, {one.reference}": _points(one) for one in figures.quality},
        }

    def why(self, request_id: str, at: str | None = None, build: str | None = None) -> dict[str, Any]:
        """Say why a logged request was answered as it was: the rows, snapshot, build and graph behind it, and the answer computed again.

        With a time or a build also what it would have been then, or under that build.
        """
        answers = why(self._definitions, request_id, stores=self._stores, at=at, build=build)
        return {
            "text": self._plain(as_text([without_redacted(one, self._redaction) for one in answers])),
            "answers": len(answers),
        }

    def rows(
        self, table: str, limit: int = 10, columns: list[str] | None = None, partition: str | None = None
    ) -> dict[str, Any]:
        """Read a few rows, at most 50 and in no order, of a feature group, dataset, predictions, log or monitor, such as weather_v1.

        What a prediction log of the system redacts is masked in every table.
        """
        declaration = self._table(table)
        rows = some_rows(declaration, self._stores, limit=limit, columns=columns, partition=partition)
        if isinstance(declaration, Monitor):
            rules, hidden = declaration.quality, self._redaction.names | redacted_by_logs(declaration.models)
            rows = [
                one | {"slice": mask_slice(one["slice"], rules, hidden)} if one.get("slice") else one for one in rows
            ]
        return {"rows": [self._plain(self._redaction.masked(declaration.table_name, one)) for one in rows]}

    def causes(self) -> dict[str, Any]:
        """Say what is wrong now: rejected builds, rollbacks, stale groups, and with DAGSTER_HOME broken checks and failed steps."""
        groups = [one for one in self._declarations if isinstance(one, FeatureGroup)]
        with existing_store(self._stores).connect() as lake:
            fresh = [freshness_of(lake, one, clock.now()) for one in groups]
        causes = causes_of(self._definitions, self._declarations, self._stores.model_store(), fresh)
        return {
            "causes": [
                {"title": self._plain(one.title), "text": self._plain(one.text), "since": self._plain(one.since)}
                for one in causes.causes
            ],
            "not_looked_at": self._plain(causes.unseen),
        }

    def _plain(self, value: Any) -> Any:
        return self._redaction.in_words(plain(value))

    def _learned(self, name: str, value: Any) -> Any:
        """What an encoder has learned of a feature: its categories are values of rows."""
        return MASK if name.partition(".")[0] in self._redaction.names and value is not None else value

    def _figures(self, name: str, since: str | None) -> MonitorFigures:
        monitors = [one for one in self._declarations if isinstance(one, Monitor)]
        matches = [one for one in monitors if name in (one.name, one.asset_name)]
        if len(matches) != 1:
            names = one_of(sorted(one.asset_name for one in monitors))
            raise DeclarationError(
                f"the definitions have {'no' if not matches else 'several'} monitors {name!r}: name {names}"
            )
        start = None if since is None else moment_of(since, what="since")
        with existing_store(self._stores).connect() as lake, lake.one_snapshot():
            figures = figures_of(lake, matches[0], start, self._redaction.names)
        if figures.problem:
            raise NotMaterializedError(f"{figures.table} says nothing: {figures.problem}")
        return figures

    def _table(self, name: str) -> TableDeclaration:
        tables = [one for one in self._declarations if isinstance(one, TableDeclaration)]
        matches = [one for one in tables if name in (one.table_name, one.table.full_name, one.name)]
        if len(matches) != 1:
            names = one_of(sorted(one.table_name for one in tables))
            raise DeclarationError(
                f"the definitions have {'no' if not matches else 'several'} tables {name!r}: name one of {names}"
            )
        return matches[0]


def _points(series: Series) -> dict[str, Any]:
    def of(points: Any) -> list[Any]:
        return [
            {
                "partition": plain(one.start),
                "value": plain(one.value),
                "low": plain(one.low),
                "high": plain(one.high),
                "rows": one.rows,
            }
            for one in points[-_MOST_POINTS:]
        ]

    estimates = {"estimates": of(series.estimates)} if series.estimates else {}
    return {
        "statistic": series.statistic,
        "of": series.reference,
        "limit": series.limit,
        "points": of(series.points),
        **estimates,
    }
