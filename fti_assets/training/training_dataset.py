"""Declaring training datasets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Unpack

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import checked_version, versioned_name
from fti_assets.core.sql import checked_name
from fti_assets.core.times import duration
from fti_assets.errors import DeclarationError, list_some, one_of
from fti_assets.features.validation.schema import pandera_schema
from fti_assets.orchestration.declaration import record_use
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.partitions import is_timed
from fti_assets.training.datasets.asset import dataset_asset
from fti_assets.training.datasets.dataset import SPLIT, TrainingDataset, checked_catch_up
from fti_assets.training.datasets.hash_split import GroupSplit, HashedParts, HashSplit, RandomSplit
from fti_assets.training.datasets.sampling.sample import Sample
from fti_assets.training.datasets.spine_filter import checked_filter
from fti_assets.training.datasets.split import TimeSplit
from fti_assets.training.views.view import FeatureView


@checked_arguments(options=AssetOptions)
def training_dataset(
    *,
    name: str,
    view: FeatureView,
    version: int = 1,
    split: TimeSplit | HashSplit | GroupSplit | RandomSplit | None = None,
    window: str | timedelta | None = None,
    where: str | None = None,
    sample: Sample | None = None,
    schema: Any = None,
    catch_up: int = 1,
    **options: Unpack[AssetOptions],
) -> TrainingDataset:
    """Declare a training dataset: the rows of a view at a cutoff, the start of its partition.

    Args:
        name: the dataset's name.
        view: what it is made of.
        version: names the asset and its table.
        split: ``TimeSplit`` for a view with times, by default its newest fifth of the rows tests and the fifth before it
            validates; ``RandomSplit`` for one without. ``HashSplit`` and ``GroupSplit`` are for either.
        window: how far back from the cutoff it reaches; everything by default.
        where: a SQL condition on the spine's own columns, such as ``"country = 'NL'"``: a row is left out for which it is false or null.
            It is on what the row was at its prediction time, never on the label or on other groups.
        sample: of which train rows a share is kept, ``fti.Sample(negatives=0.1)``; all by default.
        schema: a Pandera model or schema of the rows, checked before they are stored.
        catch_up: of how many of the newest cutoffs that are ready those that are missing are made by themselves, at most
            1,000; older ones are left to a backfill, and the sensor's tick names them.
        options: every parameter of ``@dg.asset``, with its own meaning; ``partitions_def`` are the cutoffs. Without it
            the cutoff is the clock at the run's start.

    Raises:
        DeclarationError: the declaration is impossible.
    """
    what = f"training dataset {checked_name(name, what='training dataset')!r}"
    checked_version(version, what=what)
    if view.time is None:
        split = split or RandomSplit()
        if isinstance(split, TimeSplit) or window is not None:
            raise DeclarationError(
                f"{what}: the spine {view.spine.table_name} has no event time, so rows cannot be split or windowed by time: give "
                "it an event_time, or use RandomSplit(), HashSplit() or GroupSplit(by=...) and no window"
            )
    else:
        split = split or TimeSplit()
        if isinstance(split, RandomSplit):
            raise DeclarationError(
                f"{what}: a random split would let the model see the future of its test rows, since the spine {view.spine.table_name} has "
                "an event time; leave split= out, or write split=fti.TimeSplit(validation='14d', test='30d'). To judge a model on other "
                "keys or entities instead of later times, write split=fti.HashSplit() or fti.GroupSplit(by=...)"
            )
    if isinstance(split, HashedParts):
        _check_split(view, split, what=what)
    if options.get("partitions_def") is not None and not is_timed(options.get("partitions_def")):
        raise DeclarationError(f"{what}: its partitions are cutoffs, so partitions_def must be time windows")
    if SPLIT in [*view.feature_names, *view.spine.keys, view.time, view.label.name, *getattr(split, "columns", ())]:
        raise DeclarationError(
            f"{what}: the column {SPLIT!r} is the dataset's own; give a feature a .prefix(), or the key, time or label of that "
            "name another one"
        )
    dataset = TrainingDataset(
        name=name,
        version=version,
        view=view,
        split=split,
        window=None if window is None else duration(window, what=f"window of {what}"),
        where=None if where is None else checked_filter(where, view, what=what),
        sample=sample,
        schema=None if schema is None else pandera_schema(schema, what=what),
        catch_up=checked_catch_up(catch_up, what=what),
        options=options,
        to_asset=dataset_asset,
    )
    record_use(view.groups, f"used_by_view/{versioned_name(view.name, view.version)}", dataset)
    return dataset


def _check_split(view: FeatureView, split: HashedParts, *, what: str) -> None:
    """Refuse a split by columns that the spine does not have or that are not its own."""
    spine, label = view.spine, view.label
    if isinstance(split, HashSplit) and (strange := [key for key in split.columns if key not in spine.keys]):
        raise DeclarationError(
            f"{what} is split by the hash of {list_some(strange)}, but the spine {spine.table_name} has the keys {one_of(spine.keys)}: "
            f"take some of those, or write split=fti.GroupSplit(by={strange[0]!r}) for another column of the spine"
        )
    if spine.columns is not None and (unknown := [name for name in split.columns if name not in spine.columns]):
        raise DeclarationError(
            f"{what} is split by {list_some(unknown)}, which its spine {spine.table_name} does not have: there is {one_of(spine.columns)}"
        )
    if label.name in split.columns:
        raise DeclarationError(
            f"{what} is split by its label {label.name!r}, so that each part would have other labels: split by what names an entity"
        )
    own = [name for one in view.selections if one.group is spine for name in one.feature_names]
    if others := [name for name in split.columns if name in view.feature_names and name not in own]:
        raise DeclarationError(
            f"{what} is split by the spine's column {list_some(others)}, and a feature from elsewhere is called so too: give the feature "
            "a .prefix(), or the on-demand output another name"
        )
