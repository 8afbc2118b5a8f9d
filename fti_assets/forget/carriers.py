"""Which tables can carry the rows of one entity, by the declarations of a system."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import dagster as dg

from fti_assets.core.names import DATASETS, FEATURES, PREDICTIONS, TableName
from fti_assets.errors import DeclarationError, NotMaterializedError, one_of
from fti_assets.features.groups.group import FeatureGroup, Selection, selection_of
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.forget.dead_letters import group_table_of
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitors.parity.parity import Parity
from fti_assets.orchestration.declaration import Declaration, walk
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.views.terms import ViewTerms

Values = Mapping[str, str]
"""The column of a table that holds each part of the entity's key, and that part as text."""

Kind = Literal["group", "predictions", "dataset", "log", "dead_letters"]
_TABLE_NAME = re.compile(r"(.+)_v[1-9][0-9]*")


@dataclass(frozen=True)
class Spine:
    """Where rows of a table come from: their spine's table, the columns that name a row in both, and the entity's there."""

    table: TableName
    identity: tuple[str, ...]
    values: Values


@dataclass(frozen=True)
class Carrier:
    """A table that can hold rows of the entity.

    A row is the entity's if some of ``values`` are in it, all columns of them together, or if its spine row is.
    """

    table: TableName
    kind: Kind
    values: tuple[Values, ...]
    spines: tuple[Spine, ...] = ()
    keys: tuple[str, ...] = ()
    """The columns that are the key in the online store."""
    asset: dg.AssetKey | None = None
    """None for a table that is no longer declared."""


def check_key(
    declarations: Sequence[Declaration], group: str, columns: Iterable[str], tables: Sequence[TableName]
) -> None:
    """Raise an error if there is no such group, or it is not by these columns that its rows belong to somebody."""
    groups = {one.name for one in declarations if isinstance(one, FeatureGroup)}
    if group not in groups:
        orphans = {name_of(table) for table in tables if table.schema == FEATURES} - groups
        also = f" (and tables of {one_of(sorted(orphans))}, which is not declared)" if orphans else ""
        raise NotMaterializedError(
            f"there is no feature group {group!r}: the definitions have {one_of(sorted(groups))}{also}"
        )
    key_columns = entity_columns(declarations, group)
    unknown = [column for column in columns if column not in key_columns]
    if unknown:
        raise DeclarationError(
            f"{one_of(unknown)} is not a key of feature group {group!r}: name one of {one_of(key_columns)}, --key {key_columns[0]}=VALUE"
        )


def entity_columns(declarations: Sequence[Declaration], group: str) -> list[str]:
    """The columns that say whose a group's row is: its keys, and as a spine those by which other groups are joined to it."""
    keys = [key for one in declarations if isinstance(one, FeatureGroup) and one.name == group for key in one.keys]
    spine_keys_of = [
        selection.spine_keys.get(key, key)
        for view in views_of(declarations)
        if view.spine.name == group
        for selection in _joins(view)
        for key in selection.group.keys
    ]
    return list(dict.fromkeys([*keys, *spine_keys_of]))


def carriers(
    declarations: Sequence[Declaration], group: str, values: Values, tables: Sequence[TableName]
) -> list[Carrier]:
    """The stored tables of a group, and the predictions, logs and datasets whose rows can be the same entity's."""
    results: dict[TableName, Carrier] = {}
    keys: tuple[str, ...] = ()
    for one in declarations:
        if isinstance(one, FeatureGroup) and one.name == group and one.windows is None:
            keys = one.keys
            results[one.table] = Carrier(one.table, "group", (values,), keys=one.keys, asset=one.key)
        elif isinstance(one, BatchPredictions | TrainingDataset):
            views = [model.view for model in one.models] if isinstance(one, BatchPredictions) else [one.view]
            view = views[0]
            # By the joins of each model's view: only one of them may lead to the group.
            spine_keys = _unique(one_key for each in views for one_key in spine_values(each, group, values))
            if spine_keys:
                kind: Kind = "predictions" if isinstance(one, BatchPredictions) else "dataset"
                identity, own = view.identity, view.spine.keys
                if isinstance(one, BatchPredictions):  # a list has fewer keys than the rows of the spine that it ranks
                    identity, own = one.identity, one.keys
                spines = tuple(Spine(view.spine.table, identity, of_spine) for of_spine in spine_keys)
                results[one.table] = Carrier(one.table, kind, tuple(spine_keys), spines, own, one.key)
        elif isinstance(one, PredictionLog):
            spine_keys = list(spine_values(one.model.view, group, values))
            if spine_keys:
                results[one.table] = Carrier(one.table, "log", tuple(spine_keys), asset=one.key)
        elif isinstance(one, Parity):  # a difference has the request that it is of, as a log has it
            spine_keys = _unique(one_key for model in one.models for one_key in spine_values(model.view, group, values))
            if spine_keys:
                results[one.table] = Carrier(one.table, "log", tuple(spine_keys), asset=one.key)
    kinds = FeatureGroup | BatchPredictions | TrainingDataset | PredictionLog | Parity
    declared_tables = {one.table for one in declarations if isinstance(one, kinds)}
    for table in tables:  # what is no longer declared, or never is
        if table in declared_tables:
            continue
        of_stream = group_table_of(table)
        if of_stream is not None and name_of(of_stream) == group:
            results[table] = Carrier(table, "dead_letters", (values,))
        elif table.schema == FEATURES and name_of(table) == group:
            results[table] = Carrier(table, "group", (values,), keys=keys)
        elif table.schema in (PREDICTIONS, DATASETS):
            results[table] = Carrier(table, "predictions" if table.schema == PREDICTIONS else "dataset", (values,))
    return [results[table] for table in tables if table in results]


def other_carriers(
    declarations: Sequence[Declaration], group: str, values: Values, tables: Sequence[TableName]
) -> list[Carrier]:
    """The stored tables of other groups that can hold rows of the same entity."""
    results = []
    for table in tables:
        if table.schema != FEATURES or name_of(table) == group:
            continue
        spine_keys: list[Values] = []
        if set(values) <= set(entity_columns(declarations, name_of(table))):
            spine_keys.append(values)
        for view in views_of(declarations):
            if view.spine.table == table:
                spine_keys += spine_values(view, group, values)
            elif view.spine.name == group:
                spine_keys += _group_values(view, table, values)
        if spine_keys:
            results.append(Carrier(table, "group", tuple(_unique(spine_keys))))
    return results


def _unique(all_values: Iterable[Values]) -> list[Values]:
    return list({tuple(sorted(one.items())): one for one in all_values}.values())


def views_of(declarations: Sequence[Declaration]) -> list[ViewTerms]:
    """The views of all datasets, models and predictions."""
    return list(dict.fromkeys(one.view for one in walk(declarations) if isinstance(one, TrainingDataset)))


def name_of(table: TableName) -> str:
    """The name of what a table is a version of."""
    match = _TABLE_NAME.fullmatch(table.name)
    return match[1] if match else table.name


def _joins(view: ViewTerms) -> Iterator[Selection]:
    """The groups that a view joins to its spine, the label's included."""
    for feature in [*view.features, *(label.column for label in view.labels.values())]:
        if not isinstance(feature, OnDemand):
            selection = selection_of(feature)
            if selection.group is not view.spine:
                yield selection


def spine_values(view: ViewTerms, group: str, values: Values) -> Iterator[Values]:
    """How a group's entity is found in a view's spine: as it is, or by each join to the group."""
    if view.spine.name == group:
        yield dict(values)
        return
    spine_columns = set()
    for selection in _joins(view):
        if selection.group.name == group and set(values) <= set(selection.group.keys):
            own_values = {selection.spine_keys.get(column, column): text for column, text in values.items()}
            if frozenset(own_values) not in spine_columns:
                spine_columns.add(frozenset(own_values))
                yield own_values


def _group_values(view: ViewTerms, table: TableName, values: Values) -> Iterator[Values]:
    """How a spine's entity is found in a group that is joined by the columns which name it."""
    for selection in _joins(view):
        by = {selection.spine_keys.get(key, key): key for key in selection.group.keys}
        if selection.group.table == table and set(values) <= set(by):
            yield {by[column]: text for column, text in values.items()}
