"""Whether what serves can be served by what is declared: the group versions and the on-demand source that a champion learned from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from fti_assets.core.on_demand.call import check_source
from fti_assets.errors import DamagedError, DeclarationError, NotMaterializedError, PredictionError, list_some
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.declaration import Declaration
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.models.model import Servable
from fti_assets.training.views.needed_groups import NeededGroup, changes_of, needed_groups, side_by_side


def refuse_retired_versions(declarations: Sequence[Declaration], stores: Any) -> None:
    """A champion is served from the very group versions that it learned from, so each must still be declared."""
    if not isinstance(stores, Stores) or isinstance(stores.models, dg.EnvVar):
        return
    store = stores.model_store()
    groups = {
        declaration.table_name: declaration for declaration in declarations if isinstance(declaration, FeatureGroup)
    }
    for model in declarations:
        if not isinstance(model, Servable) or not model.is_owned:
            continue
        aliases = store.aliases(model.name)
        if aliases.champion is not None:
            _refuse_unservable(store, model.name, aliases.champion, "champion", groups, declarations)
        for build, arm in aliases.arms.items():
            _refuse_unservable(store, model.name, build, f"arm {arm!r}", groups, declarations)


def _refuse_unservable(
    store: ModelStore,
    model: str,
    build: str,
    role: str,
    groups: Mapping[str, FeatureGroup],
    declarations: Sequence[Declaration],
) -> None:
    try:
        manifest = store.manifest(model, build)
    except (NotMaterializedError, DamagedError) as lost:
        warnings.warn(f"the {role} of model {model!r} is lost: {lost}; promote another with fti promote", stacklevel=4)
        return
    learner = f"the {role} {build} of model {model!r}"
    groups_needed = needed_groups(manifest.view)
    absent = [group for group in groups_needed if group.table_name not in groups]
    if absent:
        raise DeclarationError(
            f"{learner} needs {list_some(group.table_name for group in absent)}, which is no longer declared: declare it beside the new "
            f"version, under a Python name of its own, until a champion that learned from the new version is promoted:\n"
            f"{side_by_side(absent, declarations)}"
        )
    for group in groups_needed:
        _refuse_other_meaning(groups[group.table_name], group, learner, declarations)
    for call in manifest.on_demand:
        try:
            check_source(call)
        except PredictionError as problem:  # no error, since the model could not be trained again then
            warnings.warn(
                f"{learner} cannot be served from here: {problem}. Raise the function's version and materialize the model, so that "
                "its next champion has learned from this source",
                stacklevel=4,
            )


def _refuse_other_meaning(
    group: FeatureGroup, terms: NeededGroup, learner: str, declarations: Sequence[Declaration]
) -> None:
    """The online store follows the declaration, so times and keys cannot change under a version that someone serves."""
    changes = changes_of(group, terms)
    if changes:
        raise DeclarationError(
            f"{group.table_name} has changed its meaning under one version: {'; '.join(changes)}, but {learner} learned from it: "
            f"declare it as version {group.version + 1} beside this one, until a champion that learned from it is promoted. Give the "
            f"new declaration, and every view with it, version={group.version + 1}, and keep the old one under a Python name of its "
            f"own:\n{side_by_side([terms], declarations)}"
        )
