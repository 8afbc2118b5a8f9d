"""Declaring training datasets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Unpack

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import checked_version, versioned_name
from fti_assets.core.sql import checked_name
from fti_assets.core.times import duration
from fti_assets.engines.choice import Engine, checked_engine
from fti_assets.errors import DeclarationError, list_some, one_of
from fti_assets.features.validation.schema import pandera_schema
from fti_assets.orchestration.declaration import record_use
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.partitions import is_timed
from fti_assets.training.datasets.asset import dataset_asset
from fti_assets.training.datasets.dataset import SPLIT, TrainingDataset, checked_catch_up
from fti_assets.training.datasets.sampling.sample import Sample
from fti_assets.training.datasets.spine_filter import checked_filter
from fti_assets.training.datasets.splits.hash_split import GroupSplit, HashedParts, HashSplit, RandomSplit
from fti_assets.training.datasets.splits.split import TimeSplit
from fti_assets.training.datasets.weight_column import check_weight
from fti_assets.training.views.view import FeatureView


@checked_arguments(options=AssetOptions)
def training_dataset(
    *,
    name: str,
    view: FeatureView,
    version: int = 1,
    split: TimeSplit | HashSplit | GroupSplit | RandomSplit | None = None,
    window: str | timedelta | None = None,
    query: str | Sequence[str] | None = None,
    where: str | None = None,
    sample: Sample | None = None,
    weight: str | None = None,
    schema: Any = None,
    catch_up: int = 1,
    engine: Engine | None = None,
    **options: Unpack[AssetOptions],
) -> TrainingDataset:
    """Declare a training dataset: the rows of a view at a cutoff, which is the start of its partition.

    Args:
        name: the dataset's name.
        view: the feature view that it is made from.
        version: names the asset and its table.
        split: for a view with times ``TimeSplit``, by default with the newest fifth of the rows as test part and the fifth before it
            as validation part. For a view without times ``RandomSplit``, or with queries ``GroupSplit`` by them. ``HashSplit`` and
            ``GroupSplit`` work for both.
        window: how far back from the cutoff it reaches; everything by default.
        query: the spine's column that names the list in which a row is ranked, such as a session, or several that name it together, such as
            ``["listener_id", "week"]``: for models with ``task="ranking"``. A query whose rows the split would put into several parts
            is left out whole, and counted. So is a query with stored rows before the window or after the cutoff.
        where: a SQL condition on the spine's own columns, such as ``"country = 'NL'"``. Rows for which it is false or null are left out.
            It sees the row as of its prediction time, never the label or other groups.
        sample: keep only a share of some train rows, ``fti.Sample(negatives=0.1)``; all are kept by default.
        weight: the spine's column with the weight of each row, a number above 0, such as the sum insured. It counts in training, where
            ``data.train.weight`` has it, and in all metrics of a build. Encoders and the checks of the rows count all rows alike.
        schema: a Pandera model or schema of the rows, checked before they are stored.
        catch_up: how many of the newest ready cutoffs are made automatically if they are missing, at most
            1,000. Older ones are left to a backfill, and the sensor's tick names them.
        engine: what joins its features: ``"duckdb"``, ``"spark"``, or ``"auto"``, which chooses by rows and memory; by default the
            engine of the stores. The rows are the same with each.
        options: every parameter of ``@dg.asset``, with its own meaning; ``partitions_def`` are the cutoffs. Without it
            the cutoff is the clock at the run's start.

    Raises:
        DeclarationError: the declaration is impossible.
    """
    what = f"training dataset {checked_name(name, what='training dataset')!r}"
    checked_version(version, what=what)
    columns = _checked_query(query, what=what)
    if view.time is None:
        split = split or (GroupSplit(by=columns) if columns else RandomSplit())
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
    if view.has_several_labels and sample is not None and sample.rows is None:
        raise DeclarationError(
            f"{what} keeps a sample of classes, and its view has the labels {list_some(view.labels)}, each with classes of its own: keep a "
            "share of all rows, sample=fti.Sample(rows=0.1)"
        )
    if isinstance(split, HashedParts):
        _check_split(view, split, what=what)
    if columns:
        _check_spine_columns(view, columns, what=what, verb="has queries by")
        _check_whole_queries(view, columns, split, sample, what=what)
    if weight is not None:
        check_weight(view, weight, columns, what=what)
        _check_spine_columns(view, [weight], what=what, verb="has weights by")
    if options.get("partitions_def") is not None and not is_timed(options.get("partitions_def")):
        raise DeclarationError(f"{what}: its partitions are cutoffs, so partitions_def must be time windows")
    if SPLIT in [
        *view.feature_names,
        *view.spine.keys,
        view.time,
        *view.labels,
        *getattr(split, "columns", ()),
        *columns,
        weight,
    ]:
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
        query=columns,
        where=None if where is None else checked_filter(where, view, what=what),
        sample=sample,
        weight=weight,
        schema=None if schema is None else pandera_schema(schema, what=what),
        catch_up=checked_catch_up(catch_up, what=what),
        engine=checked_engine(engine, what=what),
        options=options,
        to_asset=dataset_asset,
    )
    record_use(view.groups, f"used_by_view/{versioned_name(view.name, view.version)}", dataset)
    return dataset


def _check_split(view: FeatureView, split: HashedParts, *, what: str) -> None:
    """Refuse a split by columns that the spine does not have or that are not its own."""
    spine = view.spine
    if isinstance(split, HashSplit) and (strange := [key for key in split.columns if key not in spine.keys]):
        raise DeclarationError(
            f"{what} is split by the hash of {list_some(strange)}, but the spine {spine.table_name} has the keys {one_of(spine.keys)}: "
            f"take some of those, or write split=fti.GroupSplit(by={strange[0]!r}) for another column of the spine"
        )
    if own := _labels_among(view, split.columns):
        raise DeclarationError(
            f"{what} is split by its label {own[0]!r}, so that each part would have other labels: split by what names an entity"
        )
    _check_spine_columns(view, split.columns, what=what, verb="is split by")


def _labels_among(view: FeatureView, columns: Sequence[str]) -> list[str]:
    """The columns that are labels, or that labels come from."""
    return [one for name, label in view.labels.items() for one in (name, label.name) if one in columns]


def _check_spine_columns(view: FeatureView, columns: Sequence[str], *, what: str, verb: str) -> None:
    """Refuse columns that the spine does not have, or that a feature from elsewhere is called as."""
    spine = view.spine
    if spine.columns is not None and (unknown := [name for name in columns if name not in spine.columns]):
        raise DeclarationError(
            f"{what} {verb} {list_some(unknown)}, which its spine {spine.table_name} does not have: there is {one_of(spine.columns)}"
        )
    own = [name for one in view.selections if one.group is spine for name in one.feature_names]
    if others := [name for name in columns if name in view.feature_names and name not in own]:
        raise DeclarationError(
            f"{what} {verb} the spine's column {list_some(others)}, and a feature from elsewhere is called so too: give the feature "
            "a .prefix(), or the on-demand output another name"
        )


def _checked_query(query: str | Sequence[str] | None, *, what: str) -> tuple[str, ...]:
    """The columns that name a query."""
    columns = () if query is None else (query,) if isinstance(query, str) else tuple(query)
    if query is not None and (not all(columns) or len(set(columns)) < max(1, len(columns))):
        raise DeclarationError(
            f"{what} has query={query!r}: give the spine's column that names a list, such as 'session_id', or several, each once"
        )
    return columns


def _check_whole_queries(
    view: FeatureView, query: Sequence[str], split: TimeSplit | HashedParts, sample: Sample | None, *, what: str
) -> None:
    """Refuse what would take rows out of queries, or spread them over the parts.

    Raises:
        DeclarationError: the split goes by the hash of what rows of a query differ in, a sample takes rows, or the label is the query.
    """
    if own := _labels_among(view, query):
        raise DeclarationError(f"{what} has queries by its label {own[0]!r}: name the list that a row is in")
    if isinstance(split, HashedParts) and not isinstance(split, GroupSplit):
        spread = [name for name in split.columns or view.spine.keys if name not in query]
        if spread:
            by = list(query) if len(query) > 1 else query[0]
            raise DeclarationError(
                f"{what} is split by the hash of {list_some(spread)}, in which rows of one query differ, so that none would stay whole: "
                f"write split=fti.GroupSplit(by={by!r})"
            )
    if sample is not None:
        raise DeclarationError(
            f"{what} has both query= and sample=: a list without some of its rows is another list. Leave sample= out, or keep some queries "
            "by a column of the spine that where= asks for"
        )
