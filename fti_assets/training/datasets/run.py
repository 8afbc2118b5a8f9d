"""What the step of a training dataset does: join at each cutoff, validate, store with its manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.manifest import Column, DatasetManifest, LabelRecord, ViewRecord
from fti_assets.core.records import to_json
from fti_assets.core.rules import Verdict, worst
from fti_assets.core.sql import quote
from fti_assets.core.times import Partition, instant, microseconds
from fti_assets.errors import DataError, list_phrases, list_some
from fti_assets.features.external.rows import changed_while_read, external_versions, read_external
from fti_assets.features.groups.columns import stored_schema
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.publish import Outcome, Part, publish_rows
from fti_assets.features.rows.staging import StagedRows, stage
from fti_assets.features.stored_partitions import COMPLETE, missing_partitions, provisional_partitions
from fti_assets.orchestration.engine import engine_metadata
from fti_assets.orchestration.lineage import COLUMN_LINEAGE, dataset_lineage
from fti_assets.orchestration.partitions import running_partitions
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.checks.coverage import coverage_metadata, coverage_plots
from fti_assets.training.datasets.checks.rows import judge_times
from fti_assets.training.datasets.dataset import TrainingDataset, columns_of, layout_of
from fti_assets.training.datasets.rows import DatasetRows, dataset_rows
from fti_assets.training.datasets.splits.hash_split import HashedParts
from fti_assets.training.datasets.splits.row_parts import where_the_parts_lie


def run_dataset(dataset: TrainingDataset, context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
    """Materialize the cutoffs that are run, all or nothing."""
    with (
        stores.offline_store().connect() as lake,
        stores.engine(dataset.engine, lake, what=dataset.table_name, log=context.log.info) as engine,
    ):
        read_external(lake, dataset.view.groups)
        outside = external_versions(lake, dataset.view.groups)
        with lake.one_snapshot():
            snapshot, view = lake.snapshot(), stored_view(lake, dataset)
        tables, manifests, verdicts = [], {}, []
        for partition in running_partitions(context):
            cutoff = partition.start or clock.now()
            if cutoff > clock.now():
                raise DataError(
                    f"{dataset.table_name} cannot be made at the cutoff {cutoff}, which is after now ({clock.now()}): what will be "
                    "known by then is not known yet"
                )
            rows = dataset_rows(lake, dataset, view, cutoff=cutoff, snapshot=snapshot, engine=engine)
            staged_rows = stage(lake.connection, rows.relation, layout_of(dataset), [Partition(partition.key)])
            warnings = [*rows.verdicts, judge_times(lake, view, dataset.view.groups, snapshot=snapshot)]
            verdicts.append([*staged_rows.verdicts, _complete(lake, dataset, cutoff, snapshot), *warnings])
            manifest = _manifest(lake, dataset, view, rows, cutoff, snapshot, code_version_of(context))
            manifest = replace(manifest, warnings=tuple(one.problem for one in warnings if not one.passed))
            tables.append(staged_rows)
            manifests[partition.key] = replace(manifest, upstream={**manifest.upstream, **outside})
            context.log.info(f"{dataset.table_name} at {cutoff}: {dict(rows.rows)}, left out {dict(rows.left_out)}")
            if not rows.rows["test"]:
                where = where_the_parts_lie(dataset, rows.boundaries)
                context.log.warning(f"{dataset.table_name} at {cutoff} has no row in its test split{where}")
        # External groups have no snapshots, so two looks are all that can tell a change during the join.
        new_versions = changed_while_read(outside, external_versions(lake, dataset.view.groups))
        if new_versions:
            context.log.warning(f"{dataset.table_name}: {list_some(new_versions)} changed while it was read")
            manifests = {key: replace(one, upstream={**one.upstream, **new_versions}) for key, one in manifests.items()}
        dataset_verdicts = worst(verdicts)

        def store_cutoffs() -> Outcome:
            commit = lake.replace(
                dataset.table,
                _union(lake, tables),
                list(manifests),
                asset=context.assets_def.key.to_user_string(),
                run_id=context.run.run_id,
                records={partition: to_json(manifest) for partition, manifest in manifests.items()},
            )
            newest = list(manifests.values())[-1]
            metadata = {
                "cutoff": newest.cutoff,
                "rows_by_split": dg.MetadataValue.json(newest.rows),
                **({"labels_by_split": dg.MetadataValue.json(newest.classes)} if newest.classes else {}),
                **({"queries_by_split": dg.MetadataValue.json(newest.queries)} if newest.queries else {}),
                **{
                    f"labels_by_split/{one.name}": dg.MetadataValue.json({**one.classes, "missing": one.missing})
                    for one in newest.labels
                },
                "keys_in_several_parts": newest.keys_in_several_parts,
                "left_out": dg.MetadataValue.json(newest.left_out),
                "point_in_time": newest.point_in_time,
                "delay_breaches": newest.delay_breaches,
                "read_from": dg.MetadataValue.json(newest.upstream),
                **engine_metadata(engine),
                **coverage_metadata(newest.coverage),
                **stored_schema(columns_of(dataset), commit.types),
                COLUMN_LINEAGE: dataset_lineage(newest, {group.table_name: group.key for group in dataset.view.groups}),
            }
            plots = {key: coverage_plots(manifest.coverage) for key, manifest in manifests.items()}
            return Outcome(commit, metadata, dataset_verdicts, by_partition=plots)

        run = context.run.run_id
        parts = [
            Part(
                staged_rows,
                f"{dataset.table_name} at {one.cutoff}",
                f"{run}-{instant(one.cutoff):%Y%m%dT%H%M%SZ}.jsonl",
            )
            for staged_rows, one in zip(tables, manifests.values(), strict=True)
        ]
        yield from publish_rows(context, lake, dataset.table, parts, dataset_verdicts, store=store_cutoffs)


def stored_view(lake: Lake, dataset: TrainingDataset) -> ViewRecord:
    """The view with the types that its groups are stored with."""
    return dataset.view.record(lambda group: lake.column_types(group.table))


def code_version_of(context: dg.AssetExecutionContext) -> str:
    return context.assets_def.code_versions_by_key[context.assets_def.key] or ""


def _union(lake: Lake, tables: Sequence[StagedRows]) -> str:
    """All staged rows as one temporary table."""
    name = f"{tables[0].table}_all"
    rows = " UNION ALL BY NAME ".join(f"FROM {quote(one.table)}" for one in tables)
    lake.connection.execute(f"CREATE TEMP VIEW {quote(name)} AS {rows}")
    return name


def _complete(lake: Lake, dataset: TrainingDataset, cutoff: datetime, snapshot: int) -> Verdict:
    """Whether every partition before the cutoff, and within the window, is stored and was run after it had ended."""
    missing: list[str] = []
    provisional: list[str] = []
    for group in dataset.view.groups:
        reach = group.lookback if group.windows is not None else group.ttl or timedelta(0)
        start = datetime.min if dataset.window is None else cutoff - dataset.window - reach
        missing += missing_partitions(lake, group, start, cutoff, snapshot=snapshot)
        provisional += provisional_partitions(lake, group, start, cutoff, snapshot=snapshot)
    problems = [f"without {list_some(missing)}"] if missing else []
    problems += [f"from {list_some(provisional)}, which ran before its end and delay had passed"] if provisional else []
    problem = f"{dataset.table_name} at {cutoff} was made {list_phrases(problems)}: materialize them, then it again"
    return Verdict(COMPLETE, len(missing) + len(provisional), (), problem if problems else "")


def _manifest(
    lake: Lake,
    dataset: TrainingDataset,
    view: ViewRecord,
    rows: DatasetRows,
    cutoff: datetime,
    snapshot: int,
    code_version: str,
) -> DatasetManifest:
    split, records = dataset.split, _label_records(lake, dataset, rows)
    several = dataset.view.has_several_labels
    return DatasetManifest(
        dataset=dataset.name,
        version=dataset.version,
        cutoff=cutoff.isoformat(),
        snapshot=snapshot,
        point_in_time=dataset.view.time is not None,
        lookups=tuple(group.table_name for group in dataset.view.lookups),
        view=view,
        label=Column(records[0].name, records[0].type),
        label_group=records[0].group,
        maturity_us=microseconds(dataset.view.maturity),
        rows=dict(rows.rows),
        left_out=dict(rows.left_out),
        upstream={group.table_name: _versions(lake, group, snapshot) for group in dataset.view.groups},
        trained_until=None if rows.trained_until is None else rows.trained_until.isoformat(),
        code_version=code_version,
        external={group.table_name: group.source.place for group in dataset.view.groups if group.source is not None},
        coverage=rows.coverage,
        delay_breaches=rows.delay_breaches,
        query=dataset.query,
        queries=dict(rows.queries),
        where=dataset.where or "",
        sample=rows.sample,
        weight=dataset.weight or "",
        profile=rows.profile,
        classes={} if several else records[0].classes,
        labels=tuple(records) if several else (),
        keys_in_several_parts=rows.keys_in_several_parts,
        random_parts=split.record if isinstance(split, HashedParts) else None,
    )


def _label_records(lake: Lake, dataset: TrainingDataset, rows: DatasetRows) -> list[LabelRecord]:
    records = []
    for name, label in dataset.view.labels.items():
        kind = lake.column_types(label.group.table).get(label.name)
        assert kind is not None
        records.append(
            LabelRecord(
                name=name,
                type=kind,
                column=label.name,
                group=label.group.table_name,
                maturity_us=microseconds(label.age),
                missing=rows.missing[name],
                classes={part: dict(counts) for part, counts in rows.classes[name].items()},
            )
        )
    return records


def _versions(lake: Lake, group: FeatureGroup, snapshot: int) -> str:
    """A hash of every partition's data version, so that a dataset says exactly what it was made of."""
    ledger = lake.ledger(group.table, snapshot=snapshot)
    versions = sorted((record.partition, record.data_version) for record in ledger.values())
    return hashlib.sha256(json.dumps(versions).encode()).hexdigest()[:24]
