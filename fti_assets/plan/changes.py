"""Which declarations are other code than what is stored was made by, and what of it has to be run for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fti_assets.core.manifest import DatasetManifest
from fti_assets.core.records import from_json
from fti_assets.core.types import ColumnType
from fti_assets.errors import DamagedError, DeclarationError, NotMaterializedError, SchemaChangedError
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.stored_partitions import refuse_other_partitions
from fti_assets.orchestration.declaration import Declaration, TableDeclaration
from fti_assets.plan.stored import Stored
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.tables.placeholders import has_no_value
from fti_assets.training.datasets.dataset import TrainingDataset, columns_of
from fti_assets.training.datasets.run import stored_view
from fti_assets.training.models.model import Model, Servable


@dataclass(frozen=True)
class Change:
    """What of a declaration was made by other code.

    ``partitions`` are those, ``unknown`` those of which nobody noted the code. ``why`` says what has changed. ``needs_version`` says why it
    cannot be run under this version, empty if it can.
    """

    partitions: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    why: str = ""
    needs_version: str = ""
    is_new: bool = False


def change_of(declaration: Declaration, stored: Stored, lake: Lake) -> Change:
    """Compare a declaration with what is stored of it; of what another code location makes nothing is known, and nothing run from here."""
    if not declaration.is_owned:
        return Change()
    made = stored.made(declaration)
    declared = declaration.assets_def.code_versions_by_key.get(declaration.key)
    if not made:
        return Change(is_new=True, why=_new(declaration, stored))
    other = tuple(key for key, one in made.items() if one.code_version is not None and one.code_version != declared)
    unknown = tuple(key for key, one in made.items() if one.code_version is None)
    why = "its code or declaration has changed" if other else ""
    if isinstance(declaration, FeatureGroup):
        return Change(other, unknown, why, _needs_version(declaration, lake))
    if isinstance(declaration, TrainingDataset):
        joins = _with_other_joins(declaration, lake)
        if joins and not other:
            why = "; ".join(dict.fromkeys(joins.values()))
        changed = tuple(key for key in made if key in {*other, *joins})
        return Change(changed, unknown, why, _other_columns(declaration, lake) if changed else "")
    return Change(other, unknown, why)


def _new(declaration: Declaration, stored: Stored) -> str:
    before = stored.versions_before(declaration)
    if before:
        return f"it is new beside {before[0].name}"
    if isinstance(declaration, Servable):
        versions = sorted({build.version for build in stored.builds(declaration.name)})
        if versions:
            return f"it is new beside version {versions[-1]}"
    return "nothing of it is stored"


def _with_other_joins(dataset: TrainingDataset, lake: Lake) -> Mapping[str, str]:
    """The cutoffs that were joined otherwise than the view now says, such as with another ttl, and in what they differ."""
    try:
        view = stored_view(lake, dataset)
    except (DeclarationError, NotMaterializedError):  # a column or a table that is not there yet
        return {}
    results = {}
    for key, record in lake.ledger(dataset.table).items():
        try:
            manifest = from_json(DatasetManifest, record.record, what=f"{dataset.table.full_name} {key}")
        except DamagedError:  # of a repair, which lost it
            continue
        if manifest.view == view:
            continue
        calls = {call.name: call for call in manifest.view.on_demand}
        functions = [call.name for call in view.on_demand if call.name in calls and call != calls[call.name]]
        joins = [
            join.table_name
            for join, before in zip(view.joins, manifest.view.joins, strict=False)
            if join != before and join.table_name == before.table_name
        ]
        what = [f"the on-demand function {name!r} has changed" for name in functions]
        what += [f"{name} is joined otherwise (its ttl, times, keys or columns)" for name in joins]
        results[key] = "; ".join(what) or "its view has changed"
    return results


def _needs_version(group: FeatureGroup, lake: Lake) -> str:
    """Why the stored table cannot take rows of this declaration."""
    try:
        refuse_other_partitions(lake, group)
    except SchemaChangedError:
        return "it is stored in other partitions"
    types = lake.types(group.table)
    if not types or group.columns is None or not any(record.rows for record in lake.ledger(group.table).values()):
        return ""
    return "; ".join(_column_changes(lake, group, lake.column_types(group.table), group.columns))


def _other_columns(dataset: TrainingDataset, lake: Lake) -> str:
    """Which columns of a dataset are not those that its table has."""
    try:
        declared = set(columns_of(dataset)) | {column.name for column in stored_view(lake, dataset).features}
    except (DeclarationError, NotMaterializedError):
        return ""
    stored = lake.types(dataset.table)
    new, removed = sorted(declared - stored.keys()), sorted(stored.keys() - declared)
    return "; ".join([*(f"column {name} is new" for name in new), *(f"column {name} is gone" for name in removed)])


def _column_changes(
    lake: Lake, group: FeatureGroup, stored: Mapping[str, ColumnType | None], declared: Mapping[str, ColumnType | None]
) -> Iterator[str]:
    columns = {} if group.schema is None else group.schema.columns
    for name, kind in declared.items():
        if name in stored:
            is_other = None not in (kind, stored[name]) and kind != stored[name]
            if is_other and not has_no_value(lake, group.table, name):
                yield f"column {name} is stored as {stored[name]} and is now {kind}"
        elif name in columns and not columns[name].nullable:
            yield f"column {name} is new and never null"
    strict = group.schema is not None and group.schema.strict
    for name in stored:
        if name not in declared and strict:
            yield f"column {name} is gone"
    for name in (*group.keys, *group.time_columns):
        if name not in stored:
            yield f"key or time {name} is not among the stored columns"


def is_run_by_hand(declaration: Declaration) -> bool:
    """Whether its stored partitions are made again when its code changes: answers that were given, logs and figures stay."""
    return (
        declaration.is_owned
        and isinstance(declaration, FeatureGroup | TrainingDataset | Model)
        and (not isinstance(declaration, TableDeclaration) or declaration.is_stored)
    )
