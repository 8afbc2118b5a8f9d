"""The job that keeps the lake small."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import TableName
from fti_assets.core.sql import checked_name
from fti_assets.core.times import duration
from fti_assets.orchestration.dagster_internals import CheckError
from fti_assets.orchestration.resources import STORES, Stores
from fti_assets.orchestration.upkeep.namespaces import namespaces_of, stale_namespaces
from fti_assets.orchestration.upkeep.recorded import named_like, refuse_lost, tables_of
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.upkeep.expiry import LakeSize, Upkeep, upkeep


@checked_arguments()
def upkeep_job(
    *,
    name: str = "upkeep",
    keep: str = "30d",
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.JobDefinition:
    """Make a job that expires what nobody is pinned to, merges small files, and deletes the files that nobody needs.

    First it compares the lake with what Dagster recorded of the assets of its definitions, and fails without having changed
    anything if the lake lacks some of it; of an online namespace that is older than its recorded load it warns.

    It uses the ``fti`` resource of the definitions that it stands in, can run beside everything else, and can be killed and
    run again at any time. Its run shows the lake's size before and after.

    Args:
        name: the job's name.
        keep: how long a snapshot of the lake can be read after the next one came, if nothing is pinned to it. Longer than any
            run takes. A run's config can say another: ``{"ops": {"run_upkeep": {"config": {"keep": "7d"}}}}``.
        description: what the job page says.
        tags: the job's tags.

    Raises:
        DeclarationError: ``keep`` is no duration, or ``name`` no name.

    >>> upkeep_job(keep="14d").name
    'upkeep'
    """
    checked_name(name, what="upkeep job")
    duration(keep, what=f"keep of upkeep job {name!r}")

    @dg.op(
        name=f"run_{name}",  # Dagster refuses an op and a job of one name
        out=dg.Out(dg.Nothing),
        config_schema={"keep": dg.Field(str, default_value=keep, description="How long past snapshots can be read")},
        required_resource_keys={STORES},
        description="Expire, merge, delete.",
    )
    def keep_up(context: dg.OpExecutionContext) -> dg.Output[None]:
        stores: Stores = getattr(context.resources, STORES)
        store = stores.offline_store()
        with store.connect() as lake:
            refuse_lost(lake, context.instance, _tables(context, lake))
        stale = stale_namespaces(stores.online_store(), context.instance, _namespaces(context, stores))
        for sentence in stale.values():
            context.log.warning(sentence)
        done = upkeep(
            store,
            stores.model_store(),
            stores.online_store(),
            keep=duration(context.op_config["keep"], what=f"keep of upkeep job {name!r}"),
            say=context.log.info,
        )
        for snapshot, whats in done.pinned.items():
            context.log.debug(f"snapshot {snapshot} stays for {', '.join(whats)}")
        return dg.Output(None, metadata={**_metadata(done), "stale_namespaces": dg.MetadataValue.json(sorted(stale))})

    @dg.job(
        name=name,
        description=description
        or f"Keeps the lake small: snapshots stay {keep}, pinned ones for as long as they are pinned.",
        tags=dict(tags or {}),
    )
    def job() -> None:
        keep_up()

    return job


def _tables(context: dg.OpExecutionContext, lake: Lake) -> dict[dg.AssetKey, TableName]:
    """The tables of the assets beside the job; in a job that Dagster runs in this process, of those named like a stored one."""
    try:
        return tables_of(context.repository_def.assets_defs_by_key.values())
    except CheckError:  # there Dagster does not tell the repository
        return named_like(context.instance, lake.tables())


def _namespaces(context: dg.OpExecutionContext, stores: Stores) -> dict[dg.AssetKey, str]:
    """The namespaces of the assets beside the job; in a job that Dagster runs in this process, those that are there."""
    try:
        return namespaces_of(context.repository_def.assets_defs_by_key.values())
    except CheckError:
        there = [TableName("features", namespace) for namespace in stores.online_store().namespaces()]
        return {key: table.name for key, table in named_like(context.instance, there).items()}


def _metadata(done: Upkeep) -> dict[str, Any]:
    return {
        **_size("before", done.before),
        **_size("after", done.after),
        "expired_snapshots": len(done.expired),
        "pinned_snapshots": dg.MetadataValue.json(
            {str(snapshot): list(what) for snapshot, what in done.pinned.items()}
        ),
        "dropped_tiles": len(done.tiles),
        "merged_files": dg.MetadataValue.json(
            {table: {"before": before, "after": after} for table, (before, after) in done.merged.items()}
        ),
        "deleted_files": done.deleted,
        "orphan_files": done.orphans,
        "spilled_files": done.spilled,
    }


def _size(when: str, size: LakeSize) -> dict[str, int]:
    return {
        f"{when}/files": size.files,
        f"{when}/bytes": size.data_bytes,
        f"{when}/catalog_bytes": size.catalog_bytes,
        f"{when}/snapshots": size.snapshots,
    }
