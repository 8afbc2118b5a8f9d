"""A reset in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from fti_assets.errors import count_of
from fti_assets.reset.plan import Plan, StoredTable


def as_text(plan: Plan, *, is_done: bool = False, wiped_assets: int | None = None) -> str:
    """Write what a reset would do or did, for people.

    Args:
        plan: what it drops.
        is_done: whether it has been done.
        wiped_assets: how many assets had their records wiped from Dagster; None where there is no ``DAGSTER_HOME``.
    """
    return "\n".join(_lines(plan, is_done, wiped_assets))


def refusal(plan: Plan) -> str:
    """Why a plan cannot be done, and what to do."""
    groups = sorted({table.name for need in plan.needs for table in need.tables})
    reasons = "; ".join(need.what for need in plan.needs)
    along = [need.name for need in plan.needs if need.name is not None]
    remedies = list(dict.fromkeys(need.remedy for need in plan.needs if need.name is None))
    if remedies:
        remedies.insert(
            0, "raise its version, so that new rows get a table of their own and the model keeps what it learned from"
        )
    if along:
        remedies.append(f"reset the datasets with it: fti reset {' '.join([*plan.names, *along])}")
    free = [one.table.name for one in plan.drops if one.table.name not in groups]
    if free:
        remedies.append(f"reset the rest alone: fti reset {' '.join(free)}")
    return (
        f"{', '.join(groups)} cannot be reset: {reasons}. Nothing was dropped. What you can do: {'; '.join(remedies)}"
    )


def _lines(plan: Plan, is_done: bool, wiped_assets: int | None) -> Iterator[str]:
    names = ", ".join(plan.names)
    if not plan.drops:
        yield f"nothing of {names} is stored in {plan.root}, online or among the rejected rows"
    else:
        yield f"{'dropped' if is_done else 'would drop'} of {names}:"
        for one in plan.drops:
            yield from _of_table(one)
    if plan.dependents:
        yield "made from it, and not dropped:"
        yield from (f"  {line}" for line in plan.dependents)
    if not is_done:
        keys = ", ".join(key.to_user_string() for key in plan.assets)
        yield f"Dagster's records of {keys} are wiped: materializations, their partitions and checks"
    else:
        yield (
            "Dagster was not told, since DAGSTER_HOME is not set: wipe the materializations on the asset's page"
            if wiped_assets is None
            else f"wiped Dagster's records of {count_of(wiped_assets, 'asset')}"
        )
    if plan.drops:
        yield "snapshots that hold the rows stay readable until upkeep expires them"


def _of_table(one: StoredTable) -> Iterator[str]:
    if one.in_lake:
        size = f"{count_of(one.rows, 'row')} in {count_of(one.partitions, 'partition')}"
        yield f"  {one.table.full_name}: {size}, with the ledger of their versions"
    for tiles in one.tiles:
        yield f"  {tiles.full_name}: what windows keep of its partitions"
    if one.online_keys is not None:
        yield f"  online {one.table.name}: {count_of(one.online_keys, 'key')}"
    if one.rejected_files:
        yield f"  rejected rows of {one.table.name}: {count_of(one.rejected_files, 'file')}"
