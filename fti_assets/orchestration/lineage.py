"""Lineage by column: which columns of which assets each column was made from.

Only what a view decides is told. What a feature group's function does with its inputs cannot be known; a group may say
it, ``metadata={"dagster/column_lineage": dg.TableColumnLineage(...)}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg

from fti_assets.core.manifest import DatasetManifest, ViewRecord

COLUMN_LINEAGE = "dagster/column_lineage"
"""The metadata under which Dagster looks for it, on a materialization."""

Source = tuple[str, str]
"""A table, ``weather_v1``, and one of its columns."""


def feature_sources(view: ViewRecord) -> dict[str, tuple[Source, ...]]:
    """The columns that each feature is made from; an on-demand feature rests on all of its inputs."""
    spine = view.spine_table.name
    sources: dict[str, tuple[Source, ...]] = {
        column.feature: ((join.table_name, column.column),) for join in view.joins for column in join.columns
    }
    for call in view.on_demand:
        inputs = [source for name in call.inputs for source in sources.get(name, ((spine, name),))]
        sources |= {output.name: tuple(dict.fromkeys(inputs)) for output in call.outputs}
    return {feature.name: sources.get(feature.name, ((spine, feature.name),)) for feature in view.features}


def dataset_lineage(manifest: DatasetManifest, keys: Mapping[str, dg.AssetKey]) -> dg.TableColumnLineage:
    """What the columns of a training dataset were made from, by the asset ``keys`` of the groups' tables."""
    view = manifest.view
    labels = {one.name: ((one.group, one.column),) for one in manifest.labels}
    if not labels:
        labels = {manifest.label.name: ((manifest.label_group, manifest.label.name),)}
    return _lineage({**_identity(view), **feature_sources(view), **labels}, keys)


def answers_lineage(
    answers: Mapping[str, Iterable[ViewRecord]], keys: Mapping[str, dg.AssetKey]
) -> dg.TableColumnLineage:
    """What the columns of prediction tables were made from: an answer rests on every feature of the builds that gave it.

    Args:
        answers: the views of the builds that gave each column of answers.
        keys: the asset of each table; one that has none is left out.
    """
    sources: dict[str, tuple[Source, ...]] = {}
    for answer, views in answers.items():
        features: dict[Source, None] = {}
        for view in views:
            sources |= _identity(view)
            features |= dict.fromkeys(source for of_feature in feature_sources(view).values() for source in of_feature)
        sources[answer] = tuple(features)
    return _lineage(sources, keys)


def _identity(view: ViewRecord) -> dict[str, tuple[Source, ...]]:
    """The columns that are taken from the spine as they are."""
    return {name: ((view.spine_table.name, name),) for name in view.identity}


def _lineage(sources: Mapping[str, tuple[Source, ...]], keys: Mapping[str, dg.AssetKey]) -> dg.TableColumnLineage:
    deps = {
        column: [dg.TableColumnDep(asset_key=keys[table], column_name=name) for table, name in of if table in keys]
        for column, of in sources.items()
    }
    return dg.TableColumnLineage({column: of for column, of in deps.items() if of})
