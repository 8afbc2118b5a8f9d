"""What triggers are told about a model: what its newest build has not seen, and what its monitors warn of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import PartitionRecord, TableName
from fti_assets.core.sql import literal
from fti_assets.core.times import Partition, instant
from fti_assets.errors import DataError, NotMaterializedError, list_some
from fti_assets.features.external.rows import external_versions, read_external
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.groups.window_columns import window_types
from fti_assets.orchestration.partitions import is_timed, partitions_of
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.asset import reach_into
from fti_assets.training.models.model import Model
from fti_assets.training.triggers.trigger import Breach

_FIGURE = "subject, column_name, statistic, reference, slice, build, arm"


@dataclass(frozen=True)
class ModelSituation:
    """A model at an instant.

    Args:
        model: the model.
        lake: the open lake.
        target: what would be trained now.
        learned: the newest build of the model's version, accepted or not; None without any.
        champion: the reference of the build that serves; empty for none.
        monitors: the tables of the monitors, by the names that the triggers give them.
        now: by the one clock, naive UTC.
    """

    model: Model
    lake: Lake
    target: Partition
    learned: ModelManifest | None
    champion: str
    monitors: Mapping[str, TableName]
    now: datetime

    def changes(self, group: str | None) -> list[datetime]:
        """When each partition of a group came that the newest build has not seen and the next would; the spine's by default."""
        name = group or self.model.view.spine.table_name
        return [
            record.committed_at
            for one, records in self._changes_of.items()
            if name in (one.name, one.table_name)
            for record in records
        ]

    @property
    def last_change(self) -> datetime:
        """When the last of all partitions came that the newest build has not seen; now if there is none."""
        return max((one.committed_at for records in self._changes_of.values() for one in records), default=self.now)

    def breaches(self, monitor: str) -> list[Breach]:
        """The figures of a monitor that are warnings in the newest partition in which they were judged, or were measured late.

        Measured late is a warning that was never the newest, since a later partition had been judged before it or with it, as of labels or
        rows that came late. It counts as far back from the newest partition as the cool-down is long, if the newest build has not learned
        from its partition. Figures of a build count if they are the champion's.
        """
        table = self.monitors[monitor]
        if not self.lake.has(table):
            return []
        rows = relation_name(self.lake.rows(table))
        figure = f"PARTITION BY {_FIGURE} ORDER BY partition_start DESC"
        query = (
            "SELECT partition_start, subject, column_name, statistic, reference, slice, value, threshold, estimated, _fti_newest "
            f"FROM (SELECT *, first_value(partition_start) OVER ({figure}) AS _fti_newest, min(measured_at) OVER ({figure} "
            "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS _fti_judged_later "
            f"FROM {rows} WHERE verdict IN ('ok', 'warning') AND build IN ('', {literal(self.champion)})) "
            "WHERE verdict = 'warning' AND (partition_start = _fti_newest OR measured_at >= _fti_judged_later) ORDER BY ALL"
        )
        results = []
        for *row, newest in self.lake.connection.execute(query).fetchall():
            one = Breach(*row)
            is_near = one.partition_start > newest - self._cooldown
            if one.partition_start == newest or (is_near and not self.is_learned(one.partition_start)):
                results.append(one)
        return results

    def is_learned(self, start: datetime) -> bool:
        """Whether the newest build has learned from what came at an instant: its cutoff is later."""
        return self.learned is not None and start < instant(self.learned.cutoff)

    @property
    def _cooldown(self) -> timedelta:
        return timedelta(0) if self.model.retraining is None else self.model.retraining.cooldown

    @property
    def has_news(self) -> bool:
        """Whether training now could give another build than the newest: data, or the code, are not what it was made from."""
        learned, cutoff = self.learned, self.target.start
        if learned is None:
            return True
        if cutoff is not None and cutoff != instant(learned.cutoff):
            return cutoff > instant(learned.cutoff)  # a build that somebody made at a later one knows more
        key = self.model.assets_def.key
        if self.model.assets_def.code_versions_by_key.get(key) != learned.code_version:
            return True
        return any(self._changes_of.values()) or self._outside_changed

    def refuse_schema_skew(self) -> None:
        """Stop where columns that the newest build learned from are not there any more, or hold another type.

        Raises:
            DataError: so it is.
        """
        skews = list(self._skews())
        if skews:
            assert self.learned is not None
            raise DataError(
                f"{self.model.asset_name} is not trained again, since what it learned from has another schema: {list_some(skews)}, beside "
                f"its build {self.learned.reference}. Restore the source, or give the group a new version and the view with it"
            )

    @cached_property
    def _changes_of(self) -> dict[FeatureGroup, list[PartitionRecord]]:
        return {group: list(self._changes(group)) for group in self.model.view.groups if group.source is None}

    def _changes(self, group: FeatureGroup) -> Iterator[PartitionRecord]:
        ledger, before = self.lake.ledger(group.table), self._ledger_before(group)
        changes = {
            key: record
            for key, record in ledger.items()
            if key not in before or before[key].data_version != record.data_version
        }
        cutoff = self.target.start
        if cutoff is None or not is_timed(group.partitions_def):
            yield from changes.values()
            return
        back = reach_into(self.model.dataset, group).back
        keys = [key for key in changes if group.partitions_def.has_partition_key(key)]
        for partition in partitions_of(group.partitions_def, keys):
            assert partition.end is not None
            if partition.end <= cutoff and (back is None or partition.end > cutoff - back):
                yield changes[partition.key]

    def _ledger_before(self, group: FeatureGroup) -> Mapping[str, PartitionRecord]:
        """What the newest build's dataset was made from; by the time of its making where that snapshot is expired."""
        learned = self.learned
        if learned is None:
            return {}
        try:
            return self.lake.ledger(group.table, snapshot=learned.snapshot)
        except NotMaterializedError:
            made_at = instant(learned.created_at)
            return {key: one for key, one in self.lake.ledger(group.table).items() if one.committed_at <= made_at}

    @property
    def _outside_changed(self) -> bool:
        outside = [group for group in self.model.view.groups if group.source is not None]
        if not outside or self.learned is None:
            return False
        read_external(self.lake, outside)
        upstream = self.learned.dataset.upstream
        return any(upstream.get(table) != version for table, version in external_versions(self.lake, outside).items())

    def _skews(self) -> Iterator[str]:
        if self.learned is None:
            return
        view, types = self.learned.view, {one.name: one.type for one in self.learned.view.features}
        groups = {group.table: group for group in self.model.view.groups if group.source is None}
        for join in view.joins:
            if join.table in groups and self.lake.has(join.table):
                stored = self.lake.column_types(join.table)
                if join.windows is not None:
                    keys = tuple(key.group for key in join.keys)
                    stored = window_types(join.windows, keys, stored, of=join.table_name)
                for column in join.columns:
                    yield from _skew(
                        f"{join.table_name}.{column.column}", types.get(column.feature), stored, column.column
                    )
        if view.spine_table in groups and self.lake.has(view.spine_table):
            stored = self.lake.column_types(view.spine_table)
            for field in view.request:
                if field.name in stored:
                    yield from _skew(f"{view.spine_table}.{field.name}", field.type, stored, field.name)


def _skew(what: str, learned: object, stored: Mapping[str, object], column: str) -> Iterator[str]:
    if column not in stored:
        yield f"{what} is gone"
    elif None not in (learned, stored[column]) and stored[column] != learned:
        yield f"{what} was {learned} and is {stored[column]}"
