"""One build of a composite: which builds of its models, their views and graphs as one, compared with theirs, published, promoted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fti_assets.core import clock
from fti_assets.core.manifest import (
    OUTPUT_NAMES,
    CompositeRecord,
    DatasetRecord,
    GraphOutput,
    MemberRecord,
    ModelManifest,
    OnDemandCall,
    ViewRecord,
)
from fti_assets.core.manifest.contracts import CONTRACT_FILE
from fti_assets.core.times import instant
from fti_assets.core.types import ColumnType
from fti_assets.core.types.columns import canonical
from fti_assets.errors import ExportError, ModelError, NotMaterializedError, list_some
from fti_assets.stores.models.answering import combining_function
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.loaded_build import load_whole_build
from fti_assets.stores.models.samples import SAMPLES, Samples
from fti_assets.stores.models.store import ModelStore, build_id
from fti_assets.stores.models.unpromoted import promote_new, publish_new
from fti_assets.training.composites.card import composite_card
from fti_assets.training.composites.composite import Composite
from fti_assets.training.composites.graph import Member, MergedGraph, merged_graph
from fti_assets.training.models.champions.promotion import is_promoted
from fti_assets.training.models.contract import contract_file
from fti_assets.training.models.graphs.parity import PARITY_TOLERANCE
from fti_assets.training.models.packages import packages
from fti_assets.training.views.union import clashes, same_spine, union_of

_OUTPUT = OUTPUT_NAMES["composite"]


@dataclass(frozen=True)
class _MemberBuild:
    """A build of a model as the composite takes it: its graph as bytes, and as it runs, with its samples if it kept some."""

    member: Member
    graph: Graph
    samples: Samples | None


def build_composite_at(
    composite: Composite,
    partition: str,
    cutoff: str | None,
    store: ModelStore,
    *,
    code_version: str,
    run_id: str,
    asset_key: Sequence[str],
) -> ModelManifest:
    """Put the builds of the models together, publish them as one build, and promote it.

    Args:
        composite: of which models.
        partition: the cutoff's partition.
        cutoff: up to when the models' builds are, as ISO text; None for their champions.
        store: where the builds are, and where the composite's goes.

    Raises:
        NotMaterializedError: a model has no build that may serve.
        ModelError: the builds do not fit each other.
        ExportError: the one graph answers otherwise than the models' own.
        PredictionError: the combining function fails, or is not here.
        AliasConflictError: the composite's champion changed meanwhile; the build is in the store and was not promoted.
    """
    alias = store.aliases(composite.name).champion
    manifests = [
        _build_of(composite, model.name, model.promote == "automatic", cutoff, store) for model in composite.models
    ]
    members = [_load(store, manifest) for manifest in manifests]
    graph = merged_graph([one.member for one in members], composite.feeds)
    view = _view(composite, manifests)
    samples = _samples(composite, members, graph, view)
    files = {SAMPLES: samples.to_json(), CONTRACT_FILE: contract_file(composite, composite.feeds)}
    newest = max(instant(one.cutoff) for one in manifests).isoformat()
    manifest = replace(
        _manifest(composite, manifests, view, cutoff or newest, partition),
        inputs=graph.inputs,
        sha256=hashlib.sha256(graph.bytes).hexdigest(),
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        composite=CompositeRecord(
            tuple(_record(one.member) for one in members), dict(composite.feeds), _call(composite)
        ),
        classes=_answers(composite, members),
        code_version=code_version,
        run_id=run_id,
        asset_key=tuple(asset_key),
    )
    _check_function(manifest, samples)
    content = (manifest, graph.bytes, composite_card(manifest, manifests), files)
    if is_promoted(composite.promote, alias, manifest):
        publish_new(store, *content, expected=alias, run_id=run_id)
        promote_new(store, manifest, expected=alias, reason="made of its models", run_id=run_id)
    else:
        store.publish(*content)
    return manifest


def _manifest(
    composite: Composite, manifests: Sequence[ModelManifest], view: ViewRecord, cutoff: str, partition: str
) -> ModelManifest:
    """What the builds of the models say together, without what the one graph and its run say."""
    times = [one.dataset.trained_until for one in manifests]
    return ModelManifest(
        model=composite.name,
        version=composite.version,
        build=build_id(instant(cutoff)),
        task="composite",
        status="accepted",
        cutoff=cutoff,
        created_at=clock.now().isoformat(),
        view=view,
        dataset=DatasetRecord(
            name=composite.name,
            version=composite.version,
            partition=partition,
            data_version="",
            rows={},
            point_in_time=all(one.dataset.point_in_time for one in manifests),
            trained_until=max((time for time in times if time is not None), default=None),
        ),
        inputs=(),
        outputs=(GraphOutput(_OUTPUT, "float32"),),
        encoders=_encoders(manifests, [feature.name for feature in view.features]),
        metrics={f"{one.model}/{name}": value for one in manifests for name, value in one.metrics.items()},
        baseline={f"{one.model}/{name}": value for one in manifests for name, value in one.baseline.items()},
        gates=(),
        snapshot=max(one.snapshot for one in manifests),
        code_version="",
        packages=packages(),
        sha256="",
        warnings=tuple(f"{one.model}: {warning}" for one in manifests for warning in one.warnings),
        latency_goal=None if composite.latency_goal is None else composite.latency_goal.total_seconds(),
    )


def _call(composite: Composite) -> OnDemandCall | None:
    return None if composite.function is None else composite.function.call


def _answers(composite: Composite, members: Sequence[_MemberBuild]) -> tuple[str, ...]:
    """What the numbers of an answer are called."""
    if composite.function is not None:
        return tuple(output.name for output in composite.function.outputs)
    return tuple(name for one in members for name in one.member.answers)


def _build_of(
    composite: Composite, model: str, automatic: bool, cutoff: str | None, store: ModelStore
) -> ModelManifest:
    """The build of a model that may serve: its champion, or the newest up to a cutoff that is or was it, or could be by itself."""
    if cutoff is None:
        return store.champion(model)
    besides: list[str] = []
    if not automatic:
        champions = {change.champion for change in store.aliases(model).history}
        besides = [one.reference for one in store.readable_builds(model) if one.reference not in champions]
    build = store.newest_accepted(model, at_or_before=cutoff, besides=besides)
    if build is None:
        may = "accepted" if automatic else "that was ever promoted"
        raise NotMaterializedError(
            f"composite {composite.name!r} at {cutoff} needs a build of model {model!r}, which has none {may} up to that cutoff: "
            "materialize it first"
        )
    return build


def _load(store: ModelStore, manifest: ModelManifest) -> _MemberBuild:
    _, content = store.load(manifest.model, manifest.reference)
    _, graph, samples = load_whole_build(store, manifest.model, manifest.reference)
    return _MemberBuild(Member(manifest, content), graph, samples)


def _record(member: Member) -> MemberRecord:
    manifest = member.manifest
    assert manifest.task != "composite"  # a composite's models are models
    return MemberRecord(manifest.model, manifest.reference, manifest.task, manifest.sha256, member.answers)


def _view(composite: Composite, manifests: Sequence[ModelManifest]) -> ViewRecord:
    """What the builds need together, without the fields that answers fill.

    Raises:
        ModelError: they find their rows otherwise, or a name means something else in each.
    """
    what = f"composite {composite.name!r}"
    first, *others = manifests
    view = first.view
    for other in others:
        builds = f"{first.model} {first.reference} and {other.model} {other.reference}"
        if other.view.spine_table != view.spine_table or not same_spine(view, other.view):
            raise ModelError(
                f"{what} cannot be made of {builds}: they learned from different spines, or from other times of one. Materialize both "
                "models with the spine that their views have now"
            )
        if names := clashes(view, other.view):
            raise ModelError(
                f"{what} cannot be made of {builds}: {list_some(names)} means something else in each. Materialize both models with the "
                "declarations of now, and give one of two features of one name a .prefix()"
            )
        view = union_of(view, other.view)
    feeds = composite.feeds
    return replace(
        view,
        name=composite.name,
        version=composite.version,
        request=tuple(column for column in view.request if column.name not in feeds),
        features=tuple(feature for feature in view.features if feature.name not in feeds),
        rules=tuple(rule for rule in view.rules if rule.column not in feeds),
    )


def _encoders(manifests: Sequence[ModelManifest], features: Sequence[str]) -> dict[str, Any]:
    """What each model does with a feature; of categories those that all models which take it have learned."""
    encoders: dict[str, Any] = {}
    for name in features:
        own = {one.model: one.encoders[name] for one in manifests if name in one.encoders}
        kinds = dict.fromkeys(str(one.get("kind", "")) for one in own.values())
        encoders[name] = {"kind": ", ".join(kinds), "by_model": own}
        categories = [one["categories"] for one in own.values() if "categories" in one]
        if categories:
            common = set(categories[0]).intersection(*categories[1:])
            encoders[name]["categories"] = [value for value in categories[0] if value in common]
    return encoders


def _samples(composite: Composite, members: Sequence[_MemberBuild], whole: MergedGraph, view: ViewRecord) -> Samples:
    """Rows of what the models kept, put side by side, with the answers of the one graph.

    Raises:
        ExportError: the one graph answers otherwise than the models' own, one after another.
    """
    what = f"composite {composite.name!r}"
    graph = Graph.from_bytes(whole.bytes, whole.inputs, what=f"the graph of {what}")
    columns, real = _rows(members, composite.feeds) or _made_up(view)
    answers = graph.run(columns)[_OUTPUT]
    model_answers = _answers_of_each(members, columns, composite.feeds)
    difference = np.nan_to_num(np.abs(answers - model_answers) / np.maximum(1.0, np.abs(model_answers)), nan=np.inf)
    if float(difference.max(initial=0.0)) > PARITY_TOLERANCE:
        row, place = np.unravel_index(int(difference.argmax()), difference.shape)
        name = [name for one in members for name in one.member.answers][int(place)]
        raise ExportError(
            f"the one graph of {what} answers {answers[row, place]} for {name!r} where its model's own graph answers "
            f"{model_answers[row, place]}: materialize its models again with this release, so that their graphs have one opset"
        )
    return Samples(columns, answers, real)


def _rows(members: Sequence[_MemberBuild], feeds: Mapping[str, str]) -> tuple[dict[str, np.ndarray], np.ndarray] | None:
    """Rows with the features of all, and which of them are real: each feature is of the first model that has it.

    Real rows stand beside real ones, and shorter parts are repeated. None if a model kept no rows.
    """
    samples = [one.samples for one in members if one.samples is not None]
    if len(samples) < len(members):
        return None
    masks = [np.zeros(len(one.answers), bool) if one.real is None else one.real for one in samples]
    heights = {
        # A model without such rows has nothing to put beside those of others.
        value: max(int((mask == value).sum()) for mask in masks) if all((mask == value).any() for mask in masks) else 0
        for value in (True, False)
    }
    columns: dict[str, np.ndarray] = {}
    for one, mask in zip(samples, masks, strict=True):
        for name, values in one.columns.items():
            if name not in columns and name not in feeds:
                parts = [np.resize(values[mask == value], height) for value, height in heights.items() if height]
                columns[name] = np.concatenate(parts) if parts else values[:0]
    real = np.concatenate([np.full(height, value) for value, height in heights.items()])
    return (columns, real) if len(real) else None


def _made_up(view: ViewRecord) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Two rows that no data had, for builds of an earlier release, which kept none."""
    some: dict[ColumnType, list[Any]] = {"text": ["", "x"], "vector": [None, None]}
    rows = {feature.name: canonical(some.get(feature.type, [0.0, 1.0]), feature.type) for feature in view.features}
    return rows, np.zeros(2, bool)


def _answers_of_each(
    members: Sequence[_MemberBuild], columns: Mapping[str, np.ndarray], feeds: Mapping[str, str]
) -> np.ndarray:
    """What the models' own graphs answer, one after another, ``[n, k]``."""
    inputs: dict[str, np.ndarray] = dict(columns)
    answers = []
    for one in members:
        manifest = one.member.manifest
        values = one.graph.run(inputs)[OUTPUT_NAMES[manifest.task]]
        inputs |= {field: values.astype(np.float64) for field, model in feeds.items() if model == manifest.model}
        answers.append(values.reshape(len(values), -1))
    return np.concatenate(answers, axis=1)


def _check_function(manifest: ModelManifest, samples: Samples) -> None:
    """Refuse a build whose combining function is not here, or fails on the rows that the models kept of their data.

    Raises:
        PredictionError: it is.
    """
    function = combining_function(manifest, {feature.name: feature.type for feature in manifest.view.features})
    if function is None or samples.background is None or samples.real is None:
        return
    function(samples.answers[samples.real], samples.background)
