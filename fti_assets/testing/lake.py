"""Assets on stores under a temporary folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.arguments import checked_arguments
from fti_assets.core.home import home
from fti_assets.core.times import from_microseconds
from fti_assets.errors import DeclarationError, excerpt
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.declaration import Declaration
from fti_assets.orchestration.resources import STORES, Stores
from fti_assets.reading import read
from fti_assets.streaming.flush import Flush
from fti_assets.streaming.running import run as run_service
from fti_assets.streaming.service import Settings
from fti_assets.testing.memory_stream import MemoryStream
from fti_assets.testing.running import PartitionKeys, named_partitions, partitions_by, run

if TYPE_CHECKING:
    import pandas as pd


@checked_arguments()
def stores_in(folder: str | Path) -> Stores:
    """Stores of their own under a folder, such as pytest's ``tmp_path``: lake, models, online store and the log of answers.

    >>> stores_in("/tmp/t").model_store().root.as_posix()
    '/tmp/t/models'
    """
    lake, models, online, log = (Path(folder) / name for name in ("lake", "models", "online", "log"))
    return Stores(lake=lake, models=models, online=online, log=log)


@dataclass(frozen=True)
class Materialized:
    """What ``materialize`` did.

    Attributes:
        stores: where it was stored.
        runs: Dagster's result of each declaration's run, by asset name.
    """

    stores: Stores
    runs: Mapping[str, dg.ExecuteInProcessResult]

    @property
    def success(self) -> bool:
        """Whether every run succeeded."""
        return all(run.success for run in self.runs.values())

    @property
    def failed_checks(self) -> dict[str, str]:
        """What each failed check said, by ``<asset>/<check>``; those that only warn are among them."""
        return {
            f"{check.asset_key.to_user_string()}/{check.check_name}": check.description or ""
            for result in self.runs.values()
            for check in result.get_asset_check_evaluations()
            if not check.passed
        }

    def rows(self, declaration: Any, **what: Any) -> pd.DataFrame:
        """The stored rows of a group, dataset or predictions; takes what ``fti.read`` takes."""
        return read(declaration, stores=self.stores, **what)


@checked_arguments(itself=["declarations", "partition"])
def materialize(
    *declarations: Declaration,
    stores: Stores,
    partition: PartitionKeys = None,
    resources: Mapping[str, Any] | None = None,
    run_config: Mapping[str, Any] | None = None,
    now: str | datetime | None = None,
    instance: dg.DagsterInstance | None = None,
    raise_on_error: bool = True,
) -> Materialized:
    """Materialize declarations in the order given, a run each, on stores of a test.

    The clock stands at ``now``: by default at the end of the last partition of each run, so that a test gives the same
    on every day. What is not partitioned runs at the clock as it is.

    Args:
        declarations: groups, datasets, models and predictions; what they rest on is not run unless it is among them.
        stores: where to store, such as ``stores_in(tmp_path)``.
        partition: a partition key or the first and last key of a range; those without partitions among several leave it.
        resources: the user's own Dagster resources.
        run_config: as Dagster takes it, for all runs.
        now: what the clock says; a partition is there that has ended by then, or by the system's own clock.
        instance: the Dagster instance; an ephemeral one by default.
        raise_on_error: whether a failed run is raised; else see ``success`` and ``failed_checks``.

    Raises:
        DeclarationError: a partition is missing, or there is no such one.
        dagster.Failure: a run was refused, in its own words; an error of the user's function is raised as it is.

    >>> import pandas as pd, tempfile
    >>> from fti_assets import feature_group
    >>> @feature_group(keys=["customer"])
    ... def ages() -> pd.DataFrame:
    ...     return pd.DataFrame({"customer": [7], "age": [33]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     materialize(ages, stores=stores_in(folder)).rows(ages).values.tolist()
    [[7, 33]]
    """
    if not declarations:
        raise DeclarationError("materialize was given nothing: name at least one declaration")
    wrong = [one for one in declarations if not isinstance(one, Declaration)]
    if wrong:
        each = (
            ", one after the other: materialize(orders, shop_load, stores=...)"
            if isinstance(wrong[0], list | tuple)
            else ""
        )
        raise DeclarationError(
            f"materialize was given {wrong[0]!r}: name feature groups, training datasets, models or batch predictions{each}"
        )
    runs: dict[str, dg.ExecuteInProcessResult] = {}
    with nullcontext(instance) if instance is not None else dg.DagsterInstance.ephemeral() as of_test:
        for declaration in declarations:
            has_partitions = declaration.partitions_def is not None or len(declarations) == 1
            keys = partition if has_partitions else None
            with partitions_by(now):
                partitions = named_partitions(declaration, keys)
            end = partitions[-1].end if now is None else now
            with clock.at(end) if end is not None else nullcontext(), partitions_by(now):
                runs[declaration.key.to_user_string()] = run(
                    [declaration.assets_def],
                    partitions,
                    declaration.partitions_def,
                    instance=of_test,
                    resources={STORES: stores, **(resources or {})},
                    run_config=run_config,
                    raise_on_error=raise_on_error,
                )
    return Materialized(stores, runs)


@dataclass(frozen=True)
class TakenEvents:
    """What ``take_events`` did.

    Attributes:
        rows: how many rows each group's table got.
        dead_letters: how many events are no rows, by reason.
    """

    rows: Mapping[str, int]
    dead_letters: Mapping[str, int]


@checked_arguments(itself=["groups"])
def take_events(*groups: FeatureGroup, stores: Stores, now: str | datetime | None = None) -> TakenEvents:
    """Take all events that the streams of groups have now, as ``fti stream --until-caught-up`` does, and flush them to the lake.

    The outbox lies beside the lake, so that the next call goes on behind this one.

    Args:
        groups: groups with a stream, and windows at the time of a request over them that are to be kept online too.
        stores: where to store, such as ``stores_in(tmp_path)``.
        now: what the clock says: by default when the newest event of a ``MemoryStream`` was stored, or the clock as it is.

    Raises:
        DeclarationError: none of the groups has a stream.
        StoreError: a store or the broker cannot be read or written.

    >>> take_events(payments, spending, stores=stores)  # doctest: +SKIP
    """
    streamed = [one for one in groups if isinstance(one, FeatureGroup) and one.stream is not None]
    if not streamed:
        raise DeclarationError(
            f"take_events was given {excerpt(groups)}, none of which is a feature group with a stream: declare one with stream="
        )
    flushes: list[Flush] = []
    settings = Settings(batch_seconds=0.0, flush_seconds=60.0, until_caught_up=True)
    store = stores.offline_store()
    with nullcontext() if (at := _instant_of(streamed, now)) is None else clock.at(at):
        run_service(
            streamed,
            stores,
            str(store.folder.parent / "outbox" if isinstance(store.root, Path) else home() / "outbox"),
            settings,
            flushed=flushes.append,
            windows=groups,
        )
    rows, letters = Counter[str](), Counter[str]()
    for flush in flushes:
        rows[flush.table.name] += sum(flush.additions.values())
        letters.update(flush.dead_letters)
    return TakenEvents(dict(rows), dict(letters))


def _instant_of(groups: Sequence[FeatureGroup], now: str | datetime | None) -> str | datetime | None:
    if now is not None:
        return now
    instants = [
        event.stored_at for one in groups if isinstance(one.stream, MemoryStream) for event in one.stream.events
    ]
    return from_microseconds(max(instants)) if instants else None
