"""A training dataset as a Dagster asset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.features.asset import dep_on, upstream_of
from fti_assets.features.groups.columns import column_schema
from fti_assets.features.groups.group import FeatureGroup, Selection, selection_of
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.features.stored_partitions import COMPLETE
from fti_assets.features.validation.schema import rules_of, schema_demands
from fti_assets.orchestration.checks import check_specs
from fti_assets.orchestration.conditions.defaults import on_changed_inputs, on_cutoff
from fti_assets.orchestration.conditions.reach import Reach
from fti_assets.orchestration.resources import Stores
from fti_assets.orchestration.step import build_asset
from fti_assets.training.datasets.dataset import TrainingDataset, columns_of, layout_of, row_rules
from fti_assets.training.views.terms import Label
from fti_assets.training.views.view import FeatureView


def dataset_asset(dataset: TrainingDataset) -> dg.AssetsDefinition:
    """The dataset's asset."""

    def run(context: dg.AssetExecutionContext, stores: Stores, arguments: dict[str, Any]) -> Iterator[Any]:
        from fti_assets.training.datasets.run import run_dataset

        return run_dataset(dataset, context, stores)

    rules = [*rules_of(dataset.schema), *layout_of(dataset).rules, COMPLETE, *row_rules(dataset)]
    view = dataset.view
    return build_asset(
        dataset,
        function=None,
        run=run,
        deps=[
            dep_on(group, dataset.partitions_def, reach_into(dataset, group).back, end_offset=-1)
            for group in view.groups
        ],
        check_specs=check_specs(dataset.key, rules),
        metadata={
            "dagster/table_name": dataset.table.full_name,
            "view": f"{view.name} version {view.version}",
            "features": dg.MetadataValue.json(list(view.feature_names)),
            **labels_in_words(view),
            **({"query": ", ".join(dataset.query)} if dataset.query else {}),
            **({} if dataset.where is None else {"where": dataset.where}),
            **({} if dataset.sample is None else {"sample": repr(dataset.sample)}),
            **({} if dataset.weight is None else {"weight": dataset.weight}),
            **({} if dataset.partitions_def is None else {"catch_up": dataset.catch_up}),
            **column_schema(columns_of(dataset)),
            **{f"rests_on/{group.table_name}": dg.MetadataValue.asset(group.key) for group in view.groups},
        },
        kinds={"duckdb", "parquet"},
        group_name="training",
        description=f"Training rows of view {view.name}: each row of {view.spine.table_name} with what was known at its time.",
        automation_condition=_condition(dataset),
        code_terms=(
            dataset.name,
            dataset.version,
            repr(dataset.split),
            dataset.window,
            schema_demands(dataset.schema),
            _view_terms(view),
            *([("query", dataset.query)] if dataset.query else []),
            *([] if dataset.where is None else [dataset.where]),
            *([] if dataset.sample is None else [(dataset.sample.shares, dataset.sample.seed)]),
            *([] if dataset.weight is None else [("weight", dataset.weight)]),
        ),
    )


def _condition(dataset: TrainingDataset) -> dg.AutomationCondition[Any] | None:
    """A cutoff is made once, when it has come and its last day is final; without cutoffs, when an input has changed.

    None if its models are trained by triggers alone: it is made in their runs.
    """
    if dataset.users and all(user.requests_inputs for user in dataset.users.values()):
        return None
    near: dict[TimedTable, Reach] = {group: reach_into(dataset, group) for group in dataset.view.groups}
    if dataset.partitions_def is None:
        return on_changed_inputs(upstream_of(near), whole=True).with_label("inputs_changed")
    every = dict.fromkeys(dataset.view.upstream, Reach(None, own=False))
    return on_cutoff(
        upstream_of(near),
        upstream_of(every),
        depth=1 + max(group.depth for group in near),
        catch_up=dataset.catch_up,
    ).with_label("cutoff_ready")


def reach_into(dataset: TrainingDataset, group: FeatureGroup) -> Reach:
    """What a cutoff reads of a group: its window, and a row's features as old as the group's ttl before it."""
    back = None if dataset.window is None else dataset.window + (group.ttl or timedelta(0))
    return Reach(back, own=False)


def _view_terms(view: FeatureView) -> tuple[object, ...]:
    """Everything of a view that decides what its rows hold."""
    features = [
        (feature.name, feature.version, feature.inputs, feature.outputs, *feature.vectors)
        if isinstance(feature, OnDemand)
        else _selection_terms(selection_of(feature))
        for feature in view.features
    ]
    return (
        view.name,
        view.version,
        view.spine.table_name,
        features,
        *(_label_terms(view.label) if isinstance(view.label, Label) else _terms_of_several(view.labels)),
    )


def _label_terms(label: Label) -> tuple[object, ...]:
    own = () if label.missing is None else (label.missing,)
    return (_selection_terms(label.column), label.age, label.horizon, *own)


def _terms_of_several(labels: Mapping[str, Label]) -> tuple[object, ...]:
    return tuple((name, *_label_terms(label)) for name, label in labels.items())


def labels_in_words(view: FeatureView) -> dict[str, str]:
    """The entry of a dataset's page that says what its label is, or one for each label."""
    words = {name: f"{label.name} of {label.group.table_name}" for name, label in view.labels.items()}
    return (
        {f"label/{name}": text for name, text in words.items()}
        if view.has_several_labels
        else {"label": words.popitem()[1]}
    )


def _selection_terms(selection: Selection) -> tuple[object, ...]:
    keys = sorted(selection.spine_keys.items())
    return (selection.group.table_name, selection.columns, keys, selection.feature_prefix)
