"""Lineage by column: which columns of which assets each column was made from.

Only what a view decides is told. What a feature group's function does with its inputs cannot be known; a group may say
it, ``metadata={"dagster/column_lineage": dg.TableColumnLineage(...)}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import dagster as dg

from fti_assets.core.manifest import DatasetManifest, ViewRecord

COLUMN_LINEAGE = "dagster/column_lineage"
"""The metadata under which Dagster looks for it, on a materialization."""

Source = tuple[str, str]
"""A table, ``weather_v1``, and one of its columns."""


def feature_sources(view: ViewRecord) -> dict[str, tuple[Source, ...]]:
    """The columns that each feature is made from; an on-demand feature rests on all of its inputs.

    Args:
        view: the view, as a manifest has it.
    """
    spine = _spine(view)
    joined = {column.feature: ((join.table, column.column),) for join in view.joins for column in join.columns}
    sources: dict[str, tuple[Source, ...]] = dict(joined)
    for call in view.on_demand:
        results = [source for name in call.inputs for source in sources.get(name, ((spine, name),))]
        sources |= {output.name: tuple(dict.fromkeys(results)) for output in call.outputs}
    return {feature.name: sources.get(feature.name, ((spine, feature.name),)) for feature in view.features}


def dataset_lineage(manifest: DatasetManifest, keys: Mapping[str, dg.AssetKey]) -> dg.TableColumnLineage:
    """What the columns of a training dataset were made from: keys and time, features, label.

    Args:
        manifest: how the dataset was made.
        keys: the asset of each feature group's table.
    """
    view, label = manifest.view, manifest.label.name
    return _lineage({**dict(_given(view)), **feature_sources(view), label: ((manifest.label_group, label),)}, keys)


def answers_lineage(
    views: Iterable[ViewRecord], answers: Iterable[str], keys: Mapping[str, dg.AssetKey]
) -> dg.TableColumnLineage:
    """What the columns of prediction tables were made from: an answer rests on every feature of its build.

    Args:
        views: the views of the builds that answered.
        answers: the columns with answers.
        keys: the asset of each feature group's table; a table that is not there is left out.
    """
    sources: dict[str, tuple[Source, ...]] = {}
    everything: dict[Source, None] = {}
    for view in views:
        sources |= dict(_given(view))
        everything |= dict.fromkeys(source for match in feature_sources(view).values() for source in match)
    return _lineage({**sources, **{answer: tuple(everything) for answer in answers}}, keys)


def _spine(view: ViewRecord) -> str:
    return view.spine_table.name


def _given(view: ViewRecord) -> Iterator[tuple[str, tuple[Source, ...]]]:
    """The columns that are taken from the spine as they are."""
    for name in view.identity:
        yield name, ((_spine(view), name),)


def _lineage(sources: Mapping[str, tuple[Source, ...]], keys: Mapping[str, dg.AssetKey]) -> dg.TableColumnLineage:
    deps = {
        column: [dg.TableColumnDep(asset_key=keys[table], column_name=name) for table, name in match if table in keys]
        for column, match in sources.items()
    }
    return dg.TableColumnLineage({column: match for column, match in deps.items() if match})
