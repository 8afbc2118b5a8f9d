"""Batch predictions: a model's answers for every spine row of a partition, stored with the build that gave them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

import dagster as dg

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import TableName
from fti_assets.core.sql import checked_name
from fti_assets.errors import DeclarationError
from fti_assets.features.validation.schema import pandera_schema
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.step import asset_key
from fti_assets.training.datasets.dataset import checked_catch_up
from fti_assets.training.models.model import Model
from fti_assets.training.views.view import checked_version

if TYPE_CHECKING:
    import pandera.pandas as pa


class PredictionConfig(dg.Config):
    """How a run of batch predictions treats what is stored.

    Args:
        predict_again: answer stored rows anew too; by default their answers stay, and only absent rows are predicted.
    """

    predict_again: bool = False


@dataclass(frozen=True, eq=False)
class BatchPredictions:
    """Declared batch predictions. Make them with ``batch_predictions``."""

    name: str
    version: int
    model: Model
    schema: pa.DataFrameSchema | None
    catch_up: int
    options: AssetOptions = field(repr=False)

    @property
    def table(self) -> str:
        """The table and asset: ``delay_predictions_v1``."""
        return f"{self.name}_v{self.version}"

    @property
    def table_name(self) -> TableName:
        return TableName("predictions", self.table)

    @property
    def partitions_def(self) -> dg.PartitionsDefinition[str] | None:
        return self.options.get("partitions_def")

    @property
    def key(self) -> dg.AssetKey:
        """The asset's key, for ``deps=[...]``."""
        return asset_key(self.options, self.table)

    @cached_property
    def assets_def(self) -> dg.AssetsDefinition:
        """The Dagster asset, built once."""
        from fti_assets.inference.batch.asset import build_batch_predictions

        return build_batch_predictions(self)


@checked_arguments(options=AssetOptions)
def batch_predictions(
    *,
    name: str,
    model: Model,
    version: int = 1,
    schema: Any = None,
    catch_up: int | None = None,
    **options: Unpack[AssetOptions],
) -> BatchPredictions:
    """Declare batch predictions: a row for each spine row, with its keys, prediction time, answer and build.

    A partition that is run before its window closed is answered by the champion; one that is run after, by the newest
    accepted and not rolled-back build whose cutoff is not after its start. Run again, it keeps the stored answers.

    Args:
        name: the name of the predictions.
        model: whose answers they are.
        version: names the asset and its table.
        schema: a Pandera model or schema of the rows, checked before they are stored.
        catch_up: from how many of the newest builds' cutoffs on partitions that were never answered are answered by
            themselves, at most 1,000; by default as many as the model catches up on.
        options: every parameter of ``@dg.asset``, with its own meaning.

    Raises:
        DeclarationError: the declaration is impossible.
    """
    what = f"batch predictions {checked_name(name, what='batch predictions')!r}"
    checked_version(version, what=what)
    partitions_def = options.get("partitions_def")
    if partitions_def is not None and model.view.time is None:
        raise DeclarationError(
            f"{what} are partitioned, but the spine {model.view.spine.table} has no event time to tell a row's partition by"
        )
    if partitions_def is not None and not isinstance(partitions_def, dg.TimeWindowPartitionsDefinition):
        raise DeclarationError(
            f"{what}: partitions_def must be time windows, since a row belongs to its prediction time"
        )
    return BatchPredictions(
        name=name,
        version=version,
        model=model,
        schema=None if schema is None else pandera_schema(schema, what=what),
        catch_up=model.catch_up if catch_up is None else checked_catch_up(catch_up, what=what),
        options=options,
    )
