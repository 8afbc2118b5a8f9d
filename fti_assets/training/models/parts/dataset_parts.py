"""A dataset at a cutoff, read for one build: its parts at one snapshot, and the data that a model's function gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fti_assets.core.manifest import DatasetManifest, DatasetRecord
from fti_assets.core.records import from_json
from fti_assets.core.times import instant
from fti_assets.errors import ModelError, NotMaterializedError, list_phrases, one_of
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.sampling.weights import undoing
from fti_assets.training.datasets.splits.row_parts import where_the_parts_lie
from fti_assets.training.datasets.splits.split import SPLITS, TimeSplit
from fti_assets.training.datasets.weight_column import about_one
from fti_assets.training.encoders.declarations import check_encoders, needs_target
from fti_assets.training.encoders.encoders import FittedEncoder, fit_encoders
from fti_assets.training.encoders.float32 import float32_warnings
from fti_assets.training.models.data import TrainingData, refuse_one_class, train_target
from fti_assets.training.models.model import Model
from fti_assets.training.models.parts.split_rows import (
    SplitRows,
    beyond_float64,
    column_positions,
    split_rows,
    train_rows,
)
from fti_assets.training.trainer.fits.progress import Progress


@dataclass(frozen=True)
class DatasetParts:
    """What a build learns from and is judged on.

    Attributes:
        partition: the dataset's.
        manifest, data_version: of the rows that were read.
        train, validation, test: on disk, since they may not fit into memory.
        data: what the model's function gets.
        exact_counts: how many different values each feature has of which float64 merges some.
        clusters: ``[n]``, which of the test rows are drawn together, by the evaluation's ``cluster`` or the queries of a ranking.
    """

    partition: str
    manifest: DatasetManifest
    data_version: str
    train: SplitRows
    validation: SplitRows
    test: SplitRows
    data: TrainingData
    exact_counts: dict[str, int]
    clusters: np.ndarray | None = None

    @property
    def record(self) -> DatasetRecord:
        """What the build's manifest says of the dataset."""
        manifest = self.manifest
        return DatasetRecord(
            name=manifest.dataset,
            version=manifest.version,
            partition=self.partition,
            data_version=self.data_version,
            rows=manifest.rows,
            point_in_time=manifest.point_in_time,
            trained_until=manifest.trained_until,
            random_parts=manifest.random_parts,
            upstream=manifest.upstream,
            where=manifest.where,
            sample=manifest.sample,
            query=manifest.query,
            weight=manifest.weight,
        )

    def warnings(self, encoders: Mapping[str, FittedEncoder]) -> list[str]:
        """What the encoders make of train values that differ."""
        return float32_warnings(encoders, self.train.stored.columns, self.exact_counts)


def read_parts(model: Model, partition: str, lake: Lake, folder: Path, progress: Progress) -> DatasetParts:
    """Read a dataset at a cutoff, and fit the encoders on its train part.

    Args:
        folder: where the rows are written; it must be there as long as the parts are used.
        progress: of the training, whose seed the data has.

    Raises:
        NotMaterializedError: the partition is not there.
        ModelError: there is nothing to train or test on, one class only, or clusters of test rows that divide queries.
        StoreError: there is no room for the rows.
    """
    with lake.one_snapshot():  # the dataset can be made again meanwhile
        snapshot, ledger = lake.snapshot(), lake.ledger(model.dataset.table)
        if partition not in ledger:
            raise NotMaterializedError(
                f"{model.dataset.table_name} has no partition {partition!r} in {lake.store.root}: materialize it before {model.asset_name}"
            )
        what = f"the manifest of {model.dataset.table_name} {partition}"
        dataset = from_json(DatasetManifest, ledger[partition].record, what=what, remedy="materialize it again")
        _check_labels(model, dataset, what=f"{model.dataset.table_name} {partition}")
        validation, test = (split_rows(lake, model, partition, dataset, part, snapshot, folder) for part in SPLITS[1:])
        train = train_rows(lake, model, partition, dataset, snapshot, folder)
    labels = {"train": train.labels, "validation": validation.labels, "test": test.labels}
    empty = [part for part in ("train", "test") if not len(labels[part])]
    if empty:
        raise ModelError(
            f"{model.dataset.table_name} {partition} has no rows in {list_phrases(empty)}: {dataset.rows}{_newest(model, dataset)}"
        )
    features = dataset.view.features
    large, exact_counts = beyond_float64(lake, train.table, features)
    of_features, target = check_encoders(features, model.encoders), None
    if needs_target(of_features):
        target = train_target(train.labels, model.task)
    weight = None if train.weights is None else about_one(train.weights)
    data = TrainingData(
        features,
        fit_encoders(features, of_features, train.stored.columns, large, target, weight),
        {"train": train.stored, "validation": validation.stored, "test": test.stored},
        labels,
        task=model.task,
        classes=tuple(one.name for one in dataset.labels) or None,
        progress=progress,
        undo=undoing(train.labels, dataset.sample),
        weights=model.weights,
        levels=model.levels,
        counts={"train": train.weights, "validation": validation.weights, "test": test.weights},
        queries={"train": train.queries, "validation": validation.queries, "test": test.queries},
        what=f"model {model.name!r}",
    )
    refuse_one_class(data, what=f"{model.dataset.table_name} {partition}", label=next(iter(model.view.labels)))
    clusters = _clusters(model, lake, test, data)
    version = ledger[partition].data_version
    return DatasetParts(partition, dataset, version, train, validation, test, data, exact_counts, clusters)


def _clusters(model: Model, lake: Lake, test: SplitRows, data: TrainingData) -> np.ndarray | None:
    """Which test rows are drawn together.

    Raises:
        ModelError: those of a query would not be, by the evaluation's ``cluster``.
    """
    queries = data.test.qid if model.task == "ranking" else None
    cluster = model.evaluate.cluster
    if cluster is None:
        return queries
    clusters = column_positions(lake, test.table, cluster)
    if queries is not None and len(np.unique(np.stack([queries, clusters]), axis=1).T) > len(data.test.groups):
        raise ModelError(
            f"model {model.name!r} draws test rows by {cluster!r}, which differs within a query: leave cluster= out, so that queries are "
            "drawn, or name what holds whole queries"
        )
    return clusters


def _check_labels(model: Model, dataset: DatasetManifest, *, what: str) -> None:
    """Refuse rows that were made with other labels than the view has by now."""
    stored, declared = {one.name for one in dataset.label_columns}, set(model.view.labels)
    if stored != declared:
        raise ModelError(
            f"{what} was made with the labels {one_of(sorted(stored))}, and the view {model.view.name!r} has {one_of(sorted(declared))} by "
            f"now: materialize it again before {model.asset_name}"
        )


def _newest(model: Model, dataset: DatasetManifest) -> str:
    """Where a dataset's rows lie beside where its time split looks for them."""
    split, until = model.dataset.split, dataset.trained_until
    if not isinstance(split, TimeSplit) or split.has_shares or until is None:
        return ""
    parts = split.boundaries(instant(dataset.cutoff), model.dataset.view.maturity)
    return f"; its newest row that trains or validates is of {until}{where_the_parts_lie(model.dataset, parts)}"
