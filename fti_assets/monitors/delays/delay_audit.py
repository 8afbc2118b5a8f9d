"""How late a feature group's rows were really committed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from fti_assets.core.arguments import checked_arguments
from fti_assets.errors import DeclarationError, NotMaterializedError, excerpt, one_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.monitoring.delays.audit import DelayAudit
from fti_assets.monitoring.delays.delays import QUANTILES, delays_of, proposal
from fti_assets.monitoring.delays.first_commits import first_commits
from fti_assets.monitoring.delays.price import Price, price_of
from fti_assets.monitoring.delays.text import written
from fti_assets.orchestration.partitions import is_timed, partitions_of
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.snapshots import moment_of
from fti_assets.training.freshness.curves import FreshnessCurves


@checked_arguments()
def delay_audit(
    group: FeatureGroup,
    *,
    stores: Stores,
    since: datetime | str | None = None,
    quantile: float = 0.99,
    curves: Sequence[FreshnessCurves] = (),
) -> DelayAudit:
    """How late a group's rows were committed, against what its ``serving_delay`` or ``available_at`` says, and an honest delay.

    The lake knows in which commit each row came first. A backfill is not judged: a partition whose first commit came later after its
    end than it is long, unless partitions come at their own pace, always as late; nor the first commit of a table without partitions
    of time; rows that came to a partition later, once it was made in its time, are. Rows from before the oldest snapshot that upkeep
    has left are unknown.

    Args:
        group: an own group with an event time.
        stores: where its table is.
        since: only rows with an event time from then on, naive for UTC: after a change of the code that reruns brought rows of, say.
        quantile: the share of the rows that the proposed delay is to hold for.
        curves: freshness curves, which price the proposal.

    Raises:
        DeclarationError: the group has no event time, or another system keeps it.
        NotMaterializedError: it is not there.

    >>> delay_audit(weather, stores=stores).proposal.delay  # doctest: +SKIP
    datetime.timedelta(seconds=7200)
    """
    if group.event_time is None:
        raise DeclarationError(f"{group.table_name} is a lookup without an event time: none of its rows can be late")
    if group.source is not None:
        raise DeclarationError(
            f"{group.table_name} is kept by another system, whose commits the lake does not see: audit its delay there"
        )
    if group.windows is not None:
        raise DeclarationError(
            f"{group.table_name} has no rows of its own, it counts those of {one_of(group.inputs)}: audit the delay there"
        )
    if not 0 < quantile <= 1:
        raise DeclarationError(f"quantile={excerpt(quantile)}: give a share above 0 and at most 1, such as 0.99")
    start = None if since is None else moment_of(since, what="since")
    store = stores.offline_store()
    if not store.exists():
        raise NotMaterializedError(f"there is no offline store at {store.root} that has {group.table.full_name}")
    with store.connect() as lake, lake.one_snapshot():
        lake.require(group.table)
        keys = list(lake.ledger(group.table)) if is_timed(group.partitions_def) else []
        partitions = {one.key: one for one in partitions_of(group.partitions_def, keys)} if keys else {}
        commits = first_commits(lake, group.table, group.identity, group.times, partitions, since=start)
        delays = delays_of(lake.connection, commits, tuple(sorted({*QUANTILES, quantile})))
    fixed = None if group.available_at is not None else group.serving_delay or timedelta(0)
    honest = proposal(delays, quantile, serving_delay=fixed)
    prices: list[Price] = []
    if honest is not None and not honest.declared_holds:
        # A curve counts from the event time; what a column adds on top is the measured delay as it is.
        delay = honest.delay if fixed is not None else delays.after_event[quantile]
        prices = [price for one in curves if (price := price_of(one, group.table_name, delay)) is not None]
    return DelayAudit(group.table_name, _says(group), fixed, delays, honest, tuple(prices))


def _says(group: FeatureGroup) -> str:
    if group.available_at is not None:
        return f"its column {group.available_at!r} says when a row is available"
    if group.serving_delay is None:
        return "no serving_delay is stated, so rows count as available at their event time"
    return f'serving_delay="{written(group.serving_delay)}" says when rows are available after their event time'
