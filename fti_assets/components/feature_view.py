"""Feature views in YAML, with the training dataset that is made of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import dagster as dg

import fti_assets as fti
from fti_assets.components.attributes import AssetAttributes, RowSchema
from fti_assets.components.declaring import ComponentTree, DeclaringComponent
from fti_assets.components.feature_group import GROUPS
from fti_assets.components.reference import construct, encoders_of
from fti_assets.components.scaffold import FeatureViewScaffolder
from fti_assets.core.names import versioned_name
from fti_assets.errors import DeclarationError
from fti_assets.features.groups.group import FeatureGroup, Selection
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.training.datasets.dataset import TrainingDataset

_SPLITS = ("training.datasets.splits.split", "training.datasets.splits.hash_split")


class LabelAttributes(dg.Resolvable, dg.Model):  # type: ignore[misc]
    """The column that a model learns to predict; the attributes are those of ``fti.Label``."""

    group: str
    column: str
    maturity: str | None = None
    within: str | None = None
    missing: bool | None = None


class FeatureAttributes(dg.Resolvable, dg.Model):  # type: ignore[misc]
    """Columns of a group, or an on-demand feature.

    Args:
        group: whose columns; ``columns`` names them, all by default.
        join_on: the spine's column for a key of another name: ``{dest: airport}``.
        prefix: put before each column's name.
        on_demand: the path of an on-demand feature, instead of a group.
    """

    group: str | None = None
    columns: Sequence[str] | None = None
    join_on: Mapping[str, str] | None = None
    prefix: str | None = None
    on_demand: str | None = None


class DatasetAttributes(AssetAttributes, dg.Resolvable):  # type: ignore[misc]
    """The view's training dataset; the attributes are those of ``fti.training_dataset``, ``partitions_def`` are the cutoffs.

    Args:
        name: the dataset's name, by default ``<view>_dataset``.
        version: its version, by default the view's.
        split: ``{validation: 14d, test: 30d}``, or shares such as ``{validation: 0.2, test: 0.2}``, for a
            view without times with a ``seed``; with ``keys`` it is an ``fti.HashSplit``, with ``by`` an ``fti.GroupSplit``.
        query: the spine's column that names a list to be ranked, or several.
        sample: ``{negatives: 0.1}``, ``{rows: 0.1}`` or ``{classes: {on time: 0.1}}``, the arguments of ``fti.Sample``.
        weight: the spine's column that says what each row counts.
        engine: ``duckdb``, ``spark`` or ``auto``.
    """

    name: str | None = None
    version: int | None = None
    split: Mapping[str, Any] | None = None
    window: str | None = None
    query: str | Sequence[str] | None = None
    where: str | None = None
    sample: Mapping[str, Any] | None = None
    weight: str | None = None
    catch_up: int = 1
    engine: str | None = None
    row_schema: RowSchema


@dg.scaffold_with(FeatureViewScaffolder)
class FeatureViewComponent(DeclaringComponent):
    """A feature view and its training dataset. The attributes are those of ``fti.FeatureView``; groups are named.

    Args:
        name: the view's name.
        spine: the group whose rows are predicted for.
        label: its group, column, and maturity or horizon; of several labels, those of each by its name.
        features: columns of groups and on-demand features.
        encoders: an encoder a feature: ``Standardize``, or ``{type: Embedding, max_categories: 64}``.
        dataset: how the training dataset is split and when it is cut off.
    """

    name: str
    spine: str
    label: LabelAttributes | dict[str, LabelAttributes]  # of a Mapping Dagster makes no union
    features: Sequence[FeatureAttributes]
    version: int = 1
    prediction_time: str | None = None
    encoders: Mapping[str, str | Mapping[str, Any]] | None = None
    dataset: DatasetAttributes | None = None

    summary = "A feature view, what one model needs, and the training dataset made of it."

    def names(self) -> Sequence[str]:
        """The view's name and the dataset's, each with and without its version."""
        dataset = self._dataset()
        name = dataset.name or f"{self.name}_dataset"
        return (
            self.name,
            name,
            versioned_name(name, dataset.version or self.version),
            versioned_name(self.name, self.version),
        )

    def declare(self, tree: ComponentTree) -> TrainingDataset:
        """The dataset, which holds the view."""
        view = fti.FeatureView(
            name=self.name,
            version=self.version,
            spine=self._group(tree, self.spine, what=f"spine of view {self.name!r}"),
            prediction_time=self.prediction_time,
            label=self._labels(tree),
            features=[self._feature(tree, feature) for feature in self.features],
            encoders=encoders_of(self.encoders, self._context),
        )
        dataset = self._dataset()
        return fti.training_dataset(
            name=self.names()[1],
            version=dataset.version or self.version,
            view=view,
            split=self._split(dataset.split, view),
            window=dataset.window,
            query=dataset.query,
            where=dataset.where,
            weight=dataset.weight,
            sample=construct(
                {"type": "Sample", **dataset.sample},
                self._context,
                module="training.datasets.sampling.sample",
                what="sample",
            )
            if dataset.sample
            else None,
            catch_up=dataset.catch_up,
            engine=cast("Any", dataset.engine),
            schema=self.python(dataset.row_schema, what="schema"),
            **dataset.options(),
        )

    def _dataset(self) -> DatasetAttributes:
        return self.dataset or DatasetAttributes()

    def _group(self, tree: ComponentTree, reference: str, *, what: str) -> FeatureGroup:
        return self.look_up(tree, GROUPS, reference, what=what)

    def _labels(self, tree: ComponentTree) -> fti.Label | dict[str, fti.Label]:
        if isinstance(self.label, LabelAttributes):
            return self._label(tree, self.label)
        return {name: self._label(tree, label) for name, label in self.label.items()}

    def _label(self, tree: ComponentTree, label: LabelAttributes) -> fti.Label:
        group = self._group(tree, label.group, what=f"label of view {self.name!r}")
        return fti.Label(group[label.column], maturity=label.maturity, within=label.within, missing=label.missing)

    def _feature(self, tree: ComponentTree, feature: FeatureAttributes) -> Selection | OnDemand:
        what = f"a feature of view {self.name!r}"
        if feature.on_demand is not None:
            if feature.model_fields_set - {"on_demand"}:
                raise DeclarationError(f"{what} is on_demand {feature.on_demand!r}: it takes nothing beside its path")
            return self.on_demand_of(feature.on_demand, what=what)
        if feature.group is None:
            raise DeclarationError(
                f"{what} names neither a group nor on_demand: write group: <name> and columns: [...]"
            )
        selection = Selection(self._group(tree, feature.group, what=what)).on(**feature.join_on or {})
        if feature.prefix:
            selection = selection.prefix(feature.prefix)
        return selection[tuple(feature.columns)] if feature.columns else selection

    def _split(self, split: Mapping[str, Any] | None, view: fti.FeatureView) -> Any:
        if split is None:
            return None
        by_columns = {"keys": "HashSplit", "by": "GroupSplit"}
        by_time = view.time is not None or any(isinstance(split.get(part), str) for part in ("validation", "test"))
        kind = next(
            (by_columns[name] for name in split if name in by_columns), "TimeSplit" if by_time else "RandomSplit"
        )
        return construct({"type": kind, **split}, self._context, module=_SPLITS, what="split")
