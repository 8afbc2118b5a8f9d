"""The lineage by column of a group's run, for Dagster: as the user declares it, else as the SQL of its result tells it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
import duckdb

from fti_assets.core.names import PARTITION
from fti_assets.features.external.rows import outside_view
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.rows.table import Table
from fti_assets.features.sql_lineage import UntoldError, sql_lineage
from fti_assets.orchestration.lineage import COLUMN_LINEAGE
from fti_assets.stores.duckdb.relations import sql_of
from fti_assets.stores.lake.lake import Lake

_log = logging.getLogger(__name__)


def lineage_of_run(lake: Lake, group: FeatureGroup, result: Any, views: Mapping[str, str]) -> dict[str, Any]:
    """The metadata that tells what each column of a run was made from; none where that cannot be told.

    Args:
        lake: the open lake of the run.
        group: the group; what its ``metadata`` says of lineage is taken as it is.
        result: what its function gave.
        views: the SQL of the temporary views that were made while it ran.
    """
    declared = (group.options.get("metadata") or {}).get(COLUMN_LINEAGE)
    if declared is not None:
        return {COLUMN_LINEAGE: declared}
    relation = result.relation if isinstance(result, Table) else result
    if not isinstance(relation, duckdb.DuckDBPyRelation) or not group.inputs:
        return {}
    keys = {_place(source): source.key for source in _inputs(group)}
    try:
        sources = sql_lineage(_text(relation), tables=dict(_columns(lake, group)), views=views)
    except UntoldError as error:
        _log.debug("%s has no lineage by column: %s", group.table_name, error)
        return {}
    spelled = {name.lower(): name for name in relation.columns}  # a query may spell them otherwise
    deps = {
        group.rename.get(spelled[column.lower()], spelled[column.lower()]): [
            dg.TableColumnDep(asset_key=keys[table], column_name=name) for table, name in match
        ]
        for column, match in sources.items()
        if column.lower() in spelled
    }
    return {COLUMN_LINEAGE: dg.TableColumnLineage(deps)} if deps else {}


def _text(relation: duckdb.DuckDBPyRelation) -> str:
    text = sql_of(relation)
    if text is None:
        raise UntoldError("its rows were fetched, and what they were made from is lost")
    return text


def _inputs(group: FeatureGroup) -> Iterable[FeatureGroup]:
    return dict.fromkeys(group.inputs.values())


def _place(source: FeatureGroup) -> str:
    """What a query that reads a group calls its table."""
    return outside_view(source.table_name) if source.source is not None else f"lake.{source.table.full_name}"


def _columns(lake: Lake, group: FeatureGroup) -> Iterable[tuple[str, dict[str, str]]]:
    for source in _inputs(group):
        own = {} if source.source is not None else {PARTITION: "VARCHAR"}
        yield _place(source), {**lake.types(source.table), **own}
