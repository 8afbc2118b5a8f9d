"""What a table must not be reset for: champions, what a rollback can go back to, and datasets that are pinned to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from fti_assets.core.manifest import DatasetManifest, ModelManifest
from fti_assets.core.names import DATASETS, FEATURES, TableName
from fti_assets.core.records import from_json
from fti_assets.errors import one_of
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.upkeep.pins import pinned_builds
from fti_assets.stores.models.aliases import Aliases
from fti_assets.stores.models.store import ModelStore


@dataclass(frozen=True)
class Need:
    """What needs some tables and what to do, in words; ``name`` is a dataset that can be reset along, None for a model's build."""

    what: str
    tables: tuple[TableName, ...]
    remedy: str
    name: str | None = None


def needs(lake: Lake, models: ModelStore, tables: Collection[TableName]) -> Iterator[Need]:
    """What needs some tables: builds that serve, served or can serve, then datasets that are not reset along.

    Raises:
        DamagedError: a manifest cannot be read, so nobody can say what it needs.
    """
    for model in models.models():
        aliases = models.aliases(model)
        for build in pinned_builds(models, model):
            read = tuple(table for table in tables if table in _tables_of_build(build))
            if read:
                yield Need(
                    f"model {model} {build.reference}, {_place(build, aliases)}, learned from {one_of(t.name for t in read)}",
                    read,
                    f"if nothing asks model {model!r} any more, delete its folder {models.root / model} and reset again",
                )
    for table in lake.tables():
        if table.schema != DATASETS or table in tables:
            continue
        of: dict[TableName, int] = {}
        for key, record in lake.ledger(table).items():
            manifest = from_json(
                DatasetManifest,
                record.record,
                what=f"the manifest of {table.full_name} {key}",
                remedy="materialize it again",
            )
            for name in manifest.upstream:
                if (group := TableName(FEATURES, name)) in tables:
                    of[group] = of.get(group, 0) + 1
        if of:
            cutoffs = max(of.values())
            yield Need(
                f"dataset {table.name} is pinned to rows of {one_of(group.name for group in of)} ({cutoffs} cutoffs)",
                tuple(of),
                f"reset {table.name} with it",
                name=table.name,
            )


def rejected_builds(models: ModelStore, tables: Collection[TableName]) -> Iterator[str]:
    """The builds that learned from some tables and can never serve, in words."""
    for model in models.models():
        pins = {build.reference for build in pinned_builds(models, model)}
        for build in models.builds(model):
            read = [table.name for table in tables if table in _tables_of_build(build)]
            if read and build.reference not in pins:
                yield f"model {model} {build.reference}, {build.status}, learned from {one_of(read)}: it stays as it is"


def _tables_of_build(build: ModelManifest) -> set[TableName]:
    view = build.view
    return {build.dataset.table, view.spine_table, *(join.table for join in view.joins if not join.external)}


def _place(build: ModelManifest, aliases: Aliases) -> str:
    if build.reference == aliases.champion:
        return "the champion"
    if build.reference in aliases.arms:
        return f"the arm {aliases.arms[build.reference]!r} of a rollout"
    if any(change.champion == build.reference for change in aliases.history):
        return "a champion before, to which a rollback can go back"
    return "accepted, which can become champion"
