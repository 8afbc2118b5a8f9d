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
from fti_assets.orchestration.upkeep.recorded import (
    compared_tables,
    named_like,
    namespaces_of,
    recorded_tables,
    refuse_lost,
    stale_namespaces,
    tables_of,
)
from fti_assets.stores.lake.files.contents import Contents, compare_contents
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.upkeep.expiry import Upkeep, upkeep
from fti_assets.stores.online.store import OnlineStore


@checked_arguments()
def upkeep_job(
    *,
    name: str = "upkeep",
    keep: str = "30d",
    contents: bool = False,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.JobDefinition:
    """Make a job that expires what nothing is pinned to, merges small files, and deletes the files that nothing needs.

    First it compares the lake with what Dagster recorded about the assets of its definitions. If the lake lacks some of it, the job
    fails without having changed anything. It warns about an online namespace that is older than its recorded load.

    It uses the ``fti`` resource of its definitions, can run beside everything else, and can be killed and run again at any time.
    Its run shows the lake's size before and after.

    Args:
        name: the job's name.
        keep: how long a snapshot of the lake can be read after the next one came, if nothing is pinned to it. It must be longer
            than any run takes. A run's config can set another: ``{"ops": {"run_upkeep": {"config": {"keep": "7d"}}}}``.
        contents: also read every row of the lake and compare each partition with its data version, which finds flipped bits that
            are read as other values: about five seconds for a million rows. The run fails if there is damage, after everything
            else. A run's config can set this too: ``{"ops": {"run_upkeep": {"config": {"contents": True}}}}``.
        description: what the job page says.
        tags: the job's tags.

    Raises:
        DeclarationError: ``keep`` is not a duration, or ``name`` is not a name.

    >>> upkeep_job(keep="14d").name
    'upkeep'
    """
    checked_name(name, what="upkeep job")
    duration(keep, what=f"keep of upkeep job {name!r}")

    @dg.op(
        name=f"run_{name}",  # Dagster refuses an op and a job of one name
        out=dg.Out(dg.Nothing),
        config_schema={
            "keep": dg.Field(str, default_value=keep, description="How long past snapshots can be read"),
            "contents": dg.Field(bool, default_value=contents, description="Whether every row is read and compared"),
        },
        required_resource_keys={STORES},
        description="Expire, merge, delete.",
    )
    def keep_up(context: dg.OpExecutionContext) -> dg.Output[None]:
        stores: Stores = getattr(context.resources, STORES)
        store, online = stores.offline_store(), stores.online_store()
        with store.connect() as lake:
            tables, namespaces = _stored_names(context, lake, online)
            refuse_lost(lake, context.instance, tables)
            with store.lock():
                comparable_tables = compared_tables(lake, context.instance)
                known_tables = recorded_tables(lake, context.instance, comparable_tables)
            contents = Contents()
            if context.op_config["contents"]:
                contents = compare_contents(lake, [*lake.tables(), *lake.tiles()], say=context.log.info)
        stale = stale_namespaces(online, context.instance, namespaces)
        for sentence in stale.values():
            context.log.warning(sentence)
        result = upkeep(
            store,
            stores.model_store(),
            online,
            keep=duration(context.op_config["keep"], what=f"keep of upkeep job {name!r}"),
            tables_compared=comparable_tables,
            tables_recorded=known_tables,
            say=context.log.info,
        )
        for snapshot, holders in result.pinned.items():
            context.log.debug(f"snapshot {snapshot} stays for {', '.join(holders)}")
        contents.refuse_damage()
        return dg.Output(None, metadata={**_metadata(result), "stale_namespaces": dg.MetadataValue.json(sorted(stale))})

    @dg.job(
        name=name,
        description=description
        or f"Keeps the lake small: snapshots stay {keep}, pinned ones for as long as they are pinned.",
        tags=dict(tags or {}),
    )
    def job() -> None:
        keep_up()

    return job


def _stored_names(
    context: dg.OpExecutionContext, lake: Lake, online: OnlineStore
) -> tuple[dict[dg.AssetKey, TableName], dict[dg.AssetKey, str]]:
    """The tables and the namespaces of the assets beside the job."""
    try:
        assets = context.repository_def.assets_defs_by_key.values()
    except (
        CheckError
    ):  # a job that Dagster runs in this process knows no repository: what is stored says which assets there are
        groups = [TableName("features", namespace) for namespace in online.namespaces()]
        namespaces = {key: table.name for key, table in named_like(context.instance, groups).items()}
        return named_like(context.instance, lake.tables()), namespaces
    return tables_of(assets), namespaces_of(assets)


def _metadata(result: Upkeep) -> dict[str, Any]:
    sizes = {
        f"{when}/{what}": number
        for when, size in (("before", result.before), ("after", result.after))
        for what, number in (
            ("files", size.files),
            ("bytes", size.data_bytes),
            ("catalog_bytes", size.catalog_bytes),
            ("snapshots", size.snapshots),
        )
    }
    merges = {table: {"before": before, "after": after} for table, (before, after) in result.merged.items()}
    pins = {str(snapshot): list(holders) for snapshot, holders in result.pinned.items()}
    return {
        **sizes,
        "expired_snapshots": len(result.expired),
        "pinned_snapshots": dg.MetadataValue.json(pins),
        "dropped_tiles": len(result.tiles),
        "merged_files": dg.MetadataValue.json(merges),
        "deleted_files": result.deleted,
        "orphan_files": result.orphans,
        "spilled_files": result.spilled,
    }
