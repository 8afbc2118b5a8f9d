"""A model that another code location owns, as this one uses it: of the contract and the manifest of a build."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, cast

import dagster as dg

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.manifest.contracts import CONTRACT_FILE, DatasetContract, ModelContract
from fti_assets.core.records import from_json
from fti_assets.errors import DeclarationError, NotMaterializedError, one_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.published.group import external_asset
from fti_assets.features.published.partitions import partitions_def_of
from fti_assets.features.published.reading import group_of_store, resolve_stores
from fti_assets.orchestration.declaration import Declaration
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.models.manifest_check import verdict_of
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.composites.composite import Composite
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.datasets.splits.split import TimeSplit
from fti_assets.training.judging.evaluation import Evaluation
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.models.model import Model, Promotion, Servable
from fti_assets.training.published.view import PublishedView, published_view
from fti_assets.training.views.view import FeatureView


@dataclass(frozen=True, eq=False, kw_only=True)
class PublishedDataset(TrainingDataset):
    """The training dataset of a model that another code location owns."""

    is_owned = False


@dataclass(frozen=True, eq=False, kw_only=True)
class PublishedModel(Model):
    """A model that another code location trains. Get one with ``fti.published_model``."""

    is_owned = False

    @property
    def rests_on(self) -> list[FeatureGroup]:  # type: ignore[override]
        """The groups of its view, which its answers here are joined from."""
        return self.view.groups


@dataclass(frozen=True, eq=False, kw_only=True)
class PublishedComposite(Composite):
    """A composite that another code location makes."""

    is_owned = False

    @property
    def rests_on(self) -> list[FeatureGroup]:  # type: ignore[override]
        """The groups of its view."""
        return self.view.groups

    @property
    def feature_groups(self) -> list[FeatureGroup]:
        """The groups that its features come from, without the spine."""
        return Servable.feature_groups.fget(self)  # type: ignore[attr-defined, no-any-return]


def model_of_store(name: str, version: int | None, stores: Stores) -> PublishedModel | PublishedComposite:
    """The model of the contract of its champion, or of the newest accepted build of a version.

    Raises:
        NotMaterializedError: there is no such build, or one of its groups is not there.
        StoreError: a later release made the build.
        DeclarationError: what it needs is not here.
    """
    resolved = resolve_stores(stores)
    store = resolved.model_store()
    manifest = _build(store, name, version)
    what = f"model {name!r} (build {manifest.reference})"
    if CONTRACT_FILE not in manifest.files:
        raise NotMaterializedError(
            f"{what} was made by an earlier release, which promised nothing to other code locations: upgrade fti-assets where it is "
            "trained and materialize it once more"
        )
    content = store.file(manifest, CONTRACT_FILE)
    contract = from_json(ModelContract, content, what=f"{CONTRACT_FILE} of {what} in {store.root}")

    def groups(group: str, of: int) -> FeatureGroup:
        return group_of_store(group, of, resolved)

    view = published_view(manifest.view, contract, groups, what=what)
    return _composite(contract, view) if contract.task == "composite" else _model(contract, view)


def _build(store: ModelStore, name: str, version: int | None) -> ModelManifest:
    champion = store.aliases(name).champion
    if champion is not None and (version is None or champion.startswith(f"v{version}/")):
        return store.champion(name)
    build = store.newest_accepted(name, version=version)
    if build is not None:
        return build
    of = "" if version is None else f" of version {version}"
    builds = [f"{one.reference} ({verdict_of(one)})" for one in store.readable_builds(name)]
    existing = f"the store has the models {one_of(store.models())}" if store.models() else "the store is empty"
    raise NotMaterializedError(
        f"model {name!r} is owned by another code location, but {store.root} has no accepted build{of} of it: "
        f"{f'it has builds {one_of(builds)}' if builds else existing}. Materialize it there first, and load this code location again"
    )


def _options(contract: ModelContract) -> AssetOptions:
    return {
        "key": dg.AssetKey(list(contract.asset_key)),
        "partitions_def": partitions_def_of(contract.partitions, what=f"{contract.model}_v{contract.version}"),
        "description": contract.description or None,
        "owners": list(contract.owners),
    }


def _no_function(what: str) -> Any:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise DeclarationError(f"{what} is made in another code location, which has its function: run it there")

    return refuse


def _model(contract: ModelContract, view: PublishedView) -> PublishedModel:
    assert contract.dataset is not None
    what = f"{contract.model}_v{contract.version}"
    return PublishedModel(
        name=contract.model,
        version=contract.version,
        function=_no_function(what),
        data_parameter="data",
        annotations={},
        dataset=_dataset(contract.dataset, contract, view),
        own_encoders={},
        weights=None,
        task=contract.task,
        levels=contract.levels,
        evaluate=_evaluation(contract.evaluation),
        gates=(),
        gates_fail_run=True,
        importance=None,
        tune=None,
        calibrate=None,
        intended_use="",
        limits=(),
        trial_parameter=None,
        promote=cast(Promotion, contract.promote),
        catch_up=contract.catch_up,
        latency_goal=_length(contract.latency_goal_us),
        asset_ins={},
        options=_options(contract),
        to_asset=_model_asset,
    )


def _composite(contract: ModelContract, view: PublishedView) -> PublishedComposite:
    return PublishedComposite(
        name=contract.model,
        version=contract.version,
        models=(),
        feeds=contract.feeds,
        function=None,
        whole_view=view,
        task=contract.task,
        promote=cast(Promotion, contract.promote),
        catch_up=contract.catch_up,
        latency_goal=_length(contract.latency_goal_us),
        options=_options(contract),
        to_asset=_model_asset,
    )


def _length(us: int | None) -> timedelta | None:
    return None if us is None else timedelta(microseconds=us)


def _dataset(dataset: DatasetContract, contract: ModelContract, view: FeatureView) -> PublishedDataset:
    return PublishedDataset(
        name=dataset.name,
        version=dataset.version,
        view=view,
        split=TimeSplit(),  # what its owner split by is in the rows
        window=_length(dataset.window_us),
        query=dataset.query,
        where=dataset.where,
        sample=None,
        schema=None,
        catch_up=contract.catch_up,
        options={**_options(contract), "key": dg.AssetKey(list(dataset.asset_key))},
        to_asset=_no_function(f"{dataset.name}_v{dataset.version}"),
    )


def _evaluation(terms: Mapping[str, Any]) -> Evaluation:
    """The evaluation, without metrics of the owner's own that this code does not have."""
    names = []
    for name in terms.get("metrics", ()):
        with suppress(DeclarationError):
            metric_named(name)
            names.append(name)
    return Evaluation(**{**terms, "metrics": names or ["log_loss"]})


def _model_asset(model: Declaration) -> dg.AssetsDefinition:
    assert isinstance(model, Servable)
    features = dg.MetadataValue.json(list(model.view.feature_names))
    view = f"{model.view.name} version {model.view.version}"
    return external_asset(
        model, group_name="training", metadata={"task": model.task, "view": view, "features": features}
    )
