"""What the services of a group's stream have taken and not yet flushed: it is brought to the lake, where it is then forgotten."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from fti_assets.core.names import FEATURES, TableName
from fti_assets.errors import StoreError, count_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.forget.carriers import name_of
from fti_assets.orchestration.declaration import Declaration
from fti_assets.orchestration.resources import Stores
from fti_assets.streaming.flusher import Flusher
from fti_assets.streaming.outbox import Outbox, OutboxInUseError, open_outbox, opened_beside
from fti_assets.streaming.service import over

_PAUSE_SECONDS = 0.1


def waiting_events(folder: Path, group: str) -> dict[str, int]:
    """How many events wait for the lake in each outbox of a group that has any."""
    waiting = {}
    for path in _paths(folder, group):
        with opened_beside(path) as outbox:
            if number := outbox.count_events():
                waiting[str(path)] = number
    return waiting


def bring_to_lake(
    declarations: Sequence[Declaration], group: str, stores: Stores, folder: Path, seconds: float
) -> None:
    """Have all outboxes of a group flushed, and what they held overwritten.

    What a running service holds it flushes itself, which is waited for. An outbox without a service is flushed here.

    Args:
        declarations: those of the system.
        group: a group's name.
        stores: where it is stored.
        folder: where the outboxes are.
        seconds: how long to wait for a service.

    Raises:
        StoreError: an outbox cannot be flushed: its group is not declared, or its service does not flush. Nothing was forgotten.
    """
    waiting = waiting_events(folder, group)
    groups = [one for one in declarations if isinstance(one, FeatureGroup)]
    for path in _paths(folder, group):
        declared = [one for one in groups if one.table_name == path.parent.name and one.stream is not None]
        if declared:
            _flush(declared[0], groups, path, stores, seconds)
        elif str(path) in waiting:
            raise StoreError(
                f"the outbox {path} holds {count_of(waiting[str(path)], 'event')} of {path.parent.name}, which is not declared "
                "with a stream. Nothing was forgotten: declare it again, or delete the outbox, whose events the lake then never gets"
            )


def _flush(group: FeatureGroup, groups: Sequence[FeatureGroup], path: Path, stores: Stores, seconds: float) -> None:
    until, newest = time.monotonic() + seconds, None
    while True:
        try:
            with open_outbox(path, of=group.table_name) as outbox:
                if outbox.newest():
                    _flush_here(group, groups, outbox, stores)
                outbox.overwrite()
                return
        except OutboxInUseError:
            with opened_beside(path) as outbox:
                newest = outbox.newest() if newest is None else newest
                # What a flush read before this is in the lake once the batches of then are let go.
                if outbox.oldest() > newest and outbox.overwrite():
                    return
                number = outbox.count_events()
        if time.monotonic() > until:
            raise StoreError(
                f"the service of {group.table_name} has not flushed for {seconds:g} seconds what it has taken: {number} events wait in "
                f"{path}. Nothing was forgotten: see in its log why, or stop it, and forget the key then"
            )
        time.sleep(_PAUSE_SECONDS)


def _flush_here(group: FeatureGroup, groups: Sequence[FeatureGroup], outbox: Outbox, stores: Stores) -> None:
    flusher = Flusher(group, stores.offline_store(), stores.online_store(), over(group, groups), run_id="fti forget")
    try:
        flusher.flush(outbox, lambda flush: None)
    finally:
        flusher.close()


def _paths(folder: Path, group: str) -> Iterator[Path]:
    for path in sorted(folder.glob("*/*.sqlite")):
        if name_of(TableName(FEATURES, path.parent.name)) == group:
            yield path
