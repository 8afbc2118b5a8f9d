"""Declaring composites: models that answer together, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Unpack, get_args

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import BY_NAME
from fti_assets.core.names import checked_version
from fti_assets.core.sql import checked_name
from fti_assets.core.types import ColumnType
from fti_assets.errors import DeclarationError, list_some, one_of
from fti_assets.features.groups.on_demand import OnDemand
from fti_assets.features.groups.on_demand_source import check_source
from fti_assets.orchestration.declaration import record_use
from fti_assets.orchestration.options import AssetOptions
from fti_assets.training.composites.asset import composite_asset
from fti_assets.training.composites.composite import Composite, whole_view
from fti_assets.training.datasets.dataset import checked_catch_up
from fti_assets.training.model import checked_latency_goal
from fti_assets.training.models.model import Model, Promotion
from fti_assets.training.views.checks.features import check_features
from fti_assets.training.views.terms import ViewTerms

_NUMBERS: tuple[ColumnType, ...] = ("number", "integer", "boolean")


@checked_arguments(options=AssetOptions)
def composite(
    *,
    name: str,
    models: Sequence[Model],
    version: int = 1,
    feeds: Mapping[str, Model] | None = None,
    combine: OnDemand | None = None,
    promote: Promotion = "automatic",
    catch_up: int | None = None,
    latency_goal: str | timedelta | None = None,
    **options: Unpack[AssetOptions],
) -> Composite:
    """Declare a composite: models over one spine that answer one request together, and are versioned, promoted and served as one.

    Its asset makes a build from the builds of its models. It puts their graphs into one graph, compares the answers of this graph
    with theirs, and joins once what their views need. ``Predictor.load``, the server, ``fti.batch_predictions`` and the commands
    accept its name like a model's. An answer's value is a number for each name: the model's own, ``<model>.<class>`` of a
    multiclass model, or an output of ``combine``.

    It is made from the champions of its models, or at a cutoff from the newest builds up to it that may serve. It keeps these until
    it is made again: when one of its models is rolled back, roll back the composite or materialize it.

    Args:
        name: its name in the model store, which no model may have.
        models: the models that answer, each once, in the order in which they run.
        version: names the asset.
        feeds: a column of the spine that later models use as a feature, and the model whose answer fills it; a request does not
            bring it. Later models learn from the spine's rows, so these must hold answers that the model gave before it had learned
            from their labels, such as its stored batch predictions.
        combine: an on-demand function that makes the composite's answers. Its parameters are the names of models, ``<model>_<class>`` of a
            multiclass model, and features of their views; its outputs are numbers.
        promote: as in ``fti.model``; a composite has no gates, because its models have passed theirs.
        catch_up: how many of the newest cutoffs answers are caught up on for, as in ``fti.model``; by default the smallest number
            among its models.
        latency_goal: the time within which a server is to answer a request, such as ``"50ms"``.
        options: every parameter of ``@dg.asset``, with its own meaning.

    Raises:
        DeclarationError: the declaration is impossible.

    >>> trip_risk = fti.composite(name="trip_risk", models=[delay_net, cancel_net], combine=risk)  # doctest: +SKIP
    """
    what = f"composite {checked_name(name, what='composite')!r}"
    checked_version(version, what=what)
    if promote not in get_args(Promotion):
        raise DeclarationError(f"{what} has promote={promote!r}: it is {one_of(get_args(Promotion))}")
    _check_models(name, models, combine, what)
    sources = {field: model.name for field, model in (feeds or {}).items()}
    view = whole_view(name, version, models, sources)
    _check_feeds(models, feeds or {}, view, what)
    check_features(view)
    if combine is not None:
        _check_function(combine, models, view, what)
    result = Composite(
        name=name,
        version=version,
        models=tuple(models),
        feeds=sources,
        function=combine,
        whole_view=view,
        task="composite",
        promote=promote,
        catch_up=min(one.catch_up for one in models) if catch_up is None else checked_catch_up(catch_up, what=what),
        latency_goal=None if latency_goal is None else checked_latency_goal(latency_goal, what=what),
        options={**options, "partitions_def": options.get("partitions_def") or models[0].partitions_def},
        to_asset=composite_asset,
    )
    _check_partitions(result, what)
    record_use(models, f"used_by_composite/{result.asset_name}", result)
    return result


def _check_models(name: str, models: Sequence[Model], combine: OnDemand | None, what: str) -> None:
    if len(models) < 2 and (combine is None or not models):
        raise DeclarationError(
            f"{what} has {len(models)} models: give at least two, or one and combine=, a function of its answer"
        )
    names = [one.name for one in models]
    if twice := [one for one in dict.fromkeys(names) if names.count(one) > 1]:
        raise DeclarationError(f"{what} has {one_of(twice)} twice: give each model once, for it has one champion")
    if name in names:
        raise DeclarationError(
            f"{what} is called like one of its models, and the model store has one of a name: rename one"
        )
    spine = models[0].view.spine
    if of_other_spines := [one for one in models if one.view.spine is not spine]:
        raise DeclarationError(
            f"{what}: the view of {names[0]!r} has the spine {spine.table_name}, that of {of_other_spines[0].name!r} has "
            f"{of_other_spines[0].view.spine.table_name}: models that answer one request share a spine"
        )


def _check_feeds(models: Sequence[Model], feeds: Mapping[str, Model], view: ViewTerms, what: str) -> None:
    for field, model in feeds.items():
        if model not in models:
            raise DeclarationError(
                f"{what} fills {field!r} with the answer of {model.name!r}, which is none of its models: it has "
                f"{one_of(one.name for one in models)}"
            )
        if model.task in BY_NAME:
            raise DeclarationError(
                f"{what} fills {field!r} with the answer of {model.name!r}, which is several numbers: a binary or a regression "
                "model answers one number"
            )
        takers = [place for place, one in enumerate(models) if field in _own_columns(one)]
        if not takers:
            own = dict.fromkeys(column for one in models for column in _own_columns(one))
            raise DeclarationError(
                f"{what} fills {field!r}, which no view of its models takes from the spine as a feature: they take {one_of(own)}"
            )
        if takers[0] <= models.index(model):
            raise DeclarationError(
                f"{what} fills {field!r} with the answer of {model.name!r}, but {models[takers[0]].name!r} takes it and does not stand "
                "behind it in models=[...]: put the model that answers first"
            )
        kind = (view.spine.columns or {}).get(field)
        if kind not in (None, "number"):
            raise DeclarationError(
                f"{what} fills {field!r} with the answer of {model.name!r}, a number, but the schema of {view.spine.table_name} says that "
                f"it is of type {kind}: make it a float column"
            )
        keys = [*view.identity, *(one.spine_keys.get(key, key) for one in view.joined for key in one.group.keys)]
        if field in keys:
            raise DeclarationError(f"{what} fills {field!r}, which is a key or the time that rows are found by")
        if takes := [one.name for one in view.on_demand if field in one.inputs]:
            raise DeclarationError(
                f"{what} fills {field!r}, which the on-demand feature {one_of(takes)} takes: such features are made before the models "
                "run; give the model what it makes of the answer another way, or use combine="
            )


def _own_columns(model: Model) -> list[str]:
    """The spine's columns among a model's features."""
    view = model.view
    return [name for one in view.selections if one.group is view.spine for name in one.feature_names]


def _check_function(combine: OnDemand, models: Sequence[Model], view: ViewTerms, what: str) -> None:
    check_source(combine.function.__module__, what=f"combine={combine.name} of {what}", requires=combine.requires)
    wrong = [output.name for output in combine.outputs if output.type not in _NUMBERS]
    if wrong:
        raise DeclarationError(
            f"{what}: {list_some(wrong)} of combine={combine.name} is no number: answers are int, float or bool; name classes by "
            "a number each"
        )
    if combine.name in [one.name for one in view.on_demand]:
        raise DeclarationError(
            f"{what}: combine={combine.name} is called like an on-demand feature of its models: give it another name="
        )
    features = view.feature_names
    if both := [one.name for one in models if one.name in features]:
        raise DeclarationError(f"{what}: {one_of(both)} is a model and a feature too: give the feature a .prefix()")
    single = [one.name for one in models if one.task not in BY_NAME]
    several = [f"{one.name}_" for one in models if one.task in BY_NAME]
    unknown = [
        name for name in combine.inputs if name not in (*single, *features) and not name.startswith(tuple(several))
    ]
    if unknown:
        classes = [f"{name}<class>" for name in several]
        raise DeclarationError(
            f"{what}: combine={combine.name} takes {list_some(unknown)}, and there is no such answer or feature: there is "
            f"{one_of([*single, *classes, *features])}"
        )
    types = {name: kind for name, kind, _ in view.declared_features}
    if of_vectors := [name for name in combine.inputs if types.get(name) == "vector"]:
        raise DeclarationError(
            f"{what}: combine={combine.name} takes {list_some(of_vectors)}, a vector, which no on-demand function takes: store what is "
            "made of it, such as a norm, as a number of the group, and take that"
        )


def _check_partitions(result: Composite, what: str) -> None:
    for model in result.models:
        if model.partitions_def != result.partitions_def:
            raise DeclarationError(
                f"{what} and its model {model.name!r} have different partitions: a composite has the cutoffs of its models, so leave "
                "partitions_def out and give the models' datasets the same"
            )
