"""Dropping what is stored: the lake in one commit, then what follows it."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from fti_assets.describe import existing_store
from fti_assets.errors import StoreError
from fti_assets.forget.events import home_instance
from fti_assets.orchestration.declaration import declarations_of
from fti_assets.orchestration.resources import Stores
from fti_assets.reset.plan import Plan, plan_of
from fti_assets.reset.text import refusal
from fti_assets.stores.folders import remove_folder
from fti_assets.stores.lake.upkeep.dropping import drop_tables


def reset(
    definitions: dg.Definitions, names: Sequence[str], *, stores: Stores, agreed_plan: Plan | None = None
) -> tuple[Plan, int | None]:
    """Drop what is stored of groups, datasets or predictions, so that the next run begins again, with any schema.

    The tables, their ledgers and tiles go in one commit of the lake, which decides: killed before it, everything is as it was;
    after it, the next run and another reset find nothing in the lake, and drop or replace what is left beside it.

    Args:
        definitions: the system's.
        names: what to reset, a name for all of its versions or one version, ``orders_v1``.
        stores: where it is stored.
        agreed_plan: the plan that somebody agreed to.

    Returns:
        What was dropped, and how many assets Dagster was told to forget; None where there is no ``DAGSTER_HOME``.

    Raises:
        StoreError: a champion, the history of an alias or a dataset needs it, it is not what was agreed to any more, or the
            commit failed; nothing was dropped.
        NotMaterializedError: there is nothing of that name, or no offline store.
    """
    declarations, store, online = declarations_of(definitions), existing_store(stores), stores.online_store()
    with store.connect() as lake, store.lock():
        plan = plan_of(lake, declarations, names, stores)
        if plan.needs:
            raise StoreError(refusal(plan))
        # What was shown and confirmed is what is dropped, however long the answer took.
        if agreed_plan is not None and plan.drops != agreed_plan.drops:
            raise StoreError(
                f"what is stored of {', '.join(names)} has changed since it was shown, and nothing was dropped: reset again"
            )
        tables = [one.table for one in plan.drops if one.in_lake]
        tiles = [table for one in plan.drops for table in one.tiles]
        drop_tables(lake, [*tables, *tiles], message=f"reset {', '.join(names)}")
        for one in plan.drops:  # under the lock, so that no run stores rows whose values would be dropped here
            if one.online_keys is not None:
                online.drop(one.table.name)
            if one.rejected_files:
                remove_folder(store.rejected / one.table.name)
    return plan, _wipe(plan.assets)


def _wipe(assets: Sequence[dg.AssetKey]) -> int | None:
    """Have Dagster forget the materializations, as by the button on an asset's page; how many assets had any."""
    with home_instance() as instance:
        if instance is None:
            return None
        asset_keys = set(instance.all_asset_keys())
        targets = [key for key in dict.fromkeys(assets) if key in asset_keys]
        if targets:
            instance.wipe_assets(targets)
    return len(targets)
