"""Why a model has no champion, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fti_assets.core.manifest import ModelManifest
from fti_assets.errors import NoChampionError, StoreError, one_of
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.file_kinds import check_folder
from fti_assets.stores.files import readable
from fti_assets.stores.models.manifest_check import verdict_of
from fti_assets.stores.places import Place


def no_champion(
    root: Place,
    model: str,
    builds: Sequence[ModelManifest],
    errors: Mapping[str, StoreError],
    models: Callable[[], Sequence[str]],
) -> NoChampionError:
    """The error of a model without a champion, which lists the builds there are and why they are not champion.

    Args:
        root: the model store.
        model: the model's name.
        builds: its builds that can be read.
        errors: why others, by reference, cannot be.
        models: gives the names of the models there are.
    """
    text = f"no champion for model {model!r} in {root}/: "
    if not builds and not errors:
        with readable(root):
            check_folder(root)
            is_folder = root.is_dir()
        if not is_folder and isinstance(root, BucketPath):
            return NoChampionError(
                f"{text}nothing lies there. Name the model store's own address, models=... (--models of fti), or materialize the model "
                "first"
            )
        if not is_folder:
            return NoChampionError(
                f"{text}there is no such folder. Name the model store's own, models=... (--models of fti), or set FTI_HOME to "
                "the folder that holds models/"
            )
        other_models = [name for name in models() if name != model]
        holdings = f"the store has {one_of(other_models)}" if other_models else "the store is empty"
        return NoChampionError(f"{text}it has no builds; {holdings}. Materialize the model first")
    states = {build.reference: verdict_of(build) for build in builds} | dict.fromkeys(errors, "damaged")
    build_list = ", ".join(f"{reference} ({state})" for reference, state in states.items())
    has_accepted = any(build.status == "accepted" for build in builds)
    remedy = (
        "Promote an accepted one with fti promote"
        if has_accepted
        else "Materialize a build that passes its gates, or change the gates"
    )
    return NoChampionError(f"{text}it has builds {build_list}. {remedy}")
