"""Declaring batch predictions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Unpack

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import BY_NAME
from fti_assets.core.names import checked_version
from fti_assets.core.sql import checked_name
from fti_assets.core.times import duration
from fti_assets.engines.choice import Engine, checked_engine
from fti_assets.errors import DeclarationError, excerpt, list_some, one_of
from fti_assets.features.groups.group import DEFAULT_ONLINE_HISTORY
from fti_assets.features.validation.schema import pandera_schema
from fti_assets.inference.batch.asset import predictions_asset
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.batch.top import TopK
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.partitions import is_timed
from fti_assets.stores.sinks.sink import Sink
from fti_assets.training.composites.composite import Composite
from fti_assets.training.datasets.dataset import checked_catch_up
from fti_assets.training.models.model import Model, Servable


@checked_arguments(options=AssetOptions)
def batch_predictions(
    *,
    name: str,
    model: Model | Composite | Sequence[Model | Composite],
    version: int = 1,
    top: TopK | None = None,
    schema: Any = None,
    catch_up: int | None = None,
    sinks: Sequence[Sink] = (),
    online: bool = False,
    online_history: str | timedelta | None = None,
    engine: Engine | None = None,
    **options: Unpack[AssetOptions],
) -> BatchPredictions:
    """Declare batch predictions: a row for each spine row, with its keys, prediction time, answer and build.

    Several models over one spine answer in one pass: their features are joined once, and a row has the answers of all.

    The champion answers a partition that runs before its end. One that runs later is answered by the newest accepted and not
    rolled-back build whose cutoff is not after the partition's start. A rerun keeps the stored answers.

    Args:
        name: the name of the predictions.
        model: the model or composite that answers. With a list of models whose views share a spine, each has columns of its own,
            named after the model: ``delay_net_probability`` and ``delay_net_build``. The build is chosen for each model separately.
        version: names the asset and its table.
        top: keep the best items of each key as a list, ``fti.TopK(10, by="listener_id")``, instead of an answer for each spine row;
            for a multiclass model by one class, ``of="likes"``. A rerun keeps the stored lists, and adds lists for keys that have
            none at that prediction time.
        schema: a Pandera model or schema of the rows, checked before they are stored.
        catch_up: how many of the newest builds' cutoffs to look back over: from the earliest of these on, unanswered partitions are
            answered automatically. At most 1,000; by default as many as the model catches up on, with several models the largest
            number.
        sinks: where else the answers are written: ``fti.ParquetSink(folder)``, ``fti.PostgresSink(dsn=...)`` or
            ``fti.FunctionSink(function)``. After the lake's commit each replaces the partitions that were run, one by one. If a
            sink fails, the run fails with the answers in the lake; a rerun passes them to the sink.
        online: load the answers to the online store too, after the lake's commit, in a namespace with the table's name, keyed by
            the spine's keys, with the prediction time as event time. An app looks them up with ``fti.read_online``.
        online_history: how far back the online store answers, 7 days by default.
        engine: what joins the features and asks the models: ``"duckdb"``, ``"spark"``, or ``"auto"``, which chooses by rows and memory; by
            default the engine of the stores. The answers are the same on each.
        options: every parameter of ``@dg.asset``, with its own meaning.

    Raises:
        DeclarationError: the declaration is impossible.
    """
    what = f"batch predictions {checked_name(name, what='batch predictions')!r}"
    checked_version(version, what=what)
    models = _checked_models(model, what)
    partitions_def, view = options.get("partitions_def"), models[0].view
    if partitions_def is not None and view.time is None:
        raise DeclarationError(
            f"{what} are partitioned, but the spine {view.spine.table_name} has no event time to tell a row's partition by"
        )
    if partitions_def is not None and not is_timed(partitions_def):
        raise DeclarationError(
            f"{what}: partitions_def must be time windows, since a row belongs to its prediction time"
        )
    if top is not None:
        top.items(models[0].view.spine.keys, what=what)
        if top.of is None and (kinds := [one.name for one in models if one.task in BY_NAME]):
            raise DeclarationError(
                f"{what}: top ranks by one number, but {one_of(kinds)} answers several; name one of them, fti.TopK({top.k}, by=..., of=...)"
            )
        if top.of is not None and (numbers := [one.name for one in models if one.task not in BY_NAME]):
            raise DeclarationError(
                f"{what}: top ranks by the answer {excerpt(top.of)} of several, but {one_of(numbers)} answers one number: leave of out"
            )
        _refuse_other_lists(models, top, what)
    if online_history is not None and not online:
        raise DeclarationError(f"{what}: online_history is of the online store; give online=True with it")
    predictions = BatchPredictions(
        name=name,
        version=version,
        models=models,
        by_model=not isinstance(model, Servable),
        top=top,
        sinks=tuple(sinks),
        schema=None if schema is None else pandera_schema(schema, what=what),
        catch_up=max(one.catch_up for one in models) if catch_up is None else checked_catch_up(catch_up, what=what),
        online=online,
        online_history=DEFAULT_ONLINE_HISTORY
        if online_history is None
        else duration(online_history, what=f"online_history of {name!r}"),
        engine=checked_engine(engine, what=what),
        options=options,
        to_asset=predictions_asset,
    )
    _refuse_columns(predictions, what)
    return predictions


def _checked_models(model: Servable | Sequence[Model | Composite], what: str) -> tuple[Servable, ...]:
    """One model or several, as several.

    Raises:
        DeclarationError: there is none, one comes twice, or their views have different spines.
    """
    models = (model,) if isinstance(model, Servable) else tuple(model)
    if not models:
        raise DeclarationError(f"{what}: model is an empty list: give a model, or models whose views share a spine")
    names = [one.name for one in models]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise DeclarationError(
            f"{what}: model has {one_of(twice)} twice: give each model once, for it has one champion"
        )
    of_other_spines = [one for one in models if one.view.spine is not models[0].view.spine]
    if of_other_spines:
        first, other = models[0], of_other_spines[0]
        raise DeclarationError(
            f"{what}: the view of {first.name!r} has the spine {first.view.spine.table_name}, that of {other.name!r} has "
            f"{other.view.spine.table_name}: models that answer in one row share a spine; declare predictions for each spine"
        )
    return models


def _refuse_other_lists(models: Sequence[Servable], top: TopK, what: str) -> None:
    """Refuse lists over several queries of a ranking model, whose scores mean something within one query alone."""
    for model in models:
        if not isinstance(model, Model) or model.task != "ranking":
            continue
        lacking = [name for name in model.dataset.query if name not in (*top.by, model.view.time)]
        if lacking:
            raise DeclarationError(
                f"{what}: top is by {list_some(top.by)}, but {model.name!r} ranks the rows of one {list_some(model.dataset.query)}, and "
                f"the scores of others are not comparable: write by={list(model.dataset.query)}, with keys of the spine that name a list"
            )


def _refuse_columns(predictions: BatchPredictions, what: str) -> None:
    columns = predictions.columns
    if twice := [name for name in dict.fromkeys(columns) if columns.count(name) > 1]:
        names = ", ".join(model.name for model in predictions.models)
        raise DeclarationError(
            f"{what} would have two columns {one_of(twice)}, among the keys and time of {predictions.spine.table_name} and the answers "
            f"of {names}: rename a key of the spine, or a model"
        )
