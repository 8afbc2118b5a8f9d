"""The builds and aliases of a branch's model store: those of main when it was made, and its own."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.records import record, to_json
from fti_assets.errors import AliasConflictError, StoreError, list_some
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.files import files_under, guard_writes, make_folder, read_file
from fti_assets.stores.folders import publish_folder, remove_folder
from fti_assets.stores.models.aliases import Aliases
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.places import Place, within


@record(frozen=True)
class ModelBase:
    """What main had of a model when the branch was made: its builds, and the hash of its aliases, empty without any."""

    builds: tuple[str, ...]
    aliases: str


@record(frozen=True)
class ModelChange:
    """What a branch has of a model that main had not: builds, and another champion or rollout.

    ``champion`` is the branch's, ``base_champion`` main's then. ``moves_aliases`` is whether the branch has changed the aliases.
    """

    model: str
    builds: tuple[ModelManifest, ...]
    champion: str | None
    main_champion: str | None
    moves_aliases: bool


def share_models(main: ModelStore, target: Place) -> dict[str, ModelBase]:
    """Make a store that has the builds and aliases of another, without copying graphs where links can be made.

    Args:
        main: the store of main.
        target: the folder of the new store.
    """
    bases = {}
    make_folder(target)
    for model in main.models():
        with main.locked(model):
            builds = tuple(build.reference for build in main.all_builds(model)[0])
            for reference in builds:
                _link_folder(main.root / model / reference, target / model / reference)
            content = read_file(main.aliases_file(model))
            if content is not None:
                make_folder(target / model)
                (target / model / main.aliases_file(model).name).write_bytes(content)
        bases[model] = ModelBase(builds, _hash(content))
    return bases


def model_changes(
    main: ModelStore, branch: ModelStore, bases: Mapping[str, ModelBase], merged: Mapping[str, Collection[str]]
) -> list[ModelChange]:
    """What a branch's store has that main's had not when the branch was made, and has not now; by model.

    Args:
        main: the store of main.
        branch: that of the branch.
        bases: what main had then.
        merged: the hashes of the aliases that merges have moved to main, by model.
    """
    changes = []
    for model in branch.models():
        base = bases.get(model, ModelBase((), ""))
        references = {build.reference for build in main.all_builds(model)[0]} if model in main.models() else set()
        builds = tuple(one for one in branch.builds(model) if one.reference not in {*base.builds, *references})
        own = aliases_hash(branch, model)
        moves = own not in {base.aliases, aliases_hash(main, model), *merged.get(model, ())}
        if builds or moves:
            champions = (branch.aliases(model).champion, main.aliases(model).champion)
            changes.append(ModelChange(model, builds, *champions, moves))
    return changes


def aliases_hash(store: ModelStore, model: str) -> str:
    """The hash of a model's aliases; empty without any."""
    return _hash(read_file(store.aliases_file(model)))


def publish_again(main: ModelStore, branch: ModelStore, build: ModelManifest, snapshot: int) -> None:
    """Publish a build of a branch in main, with the snapshot of main that has what it learned from; one that is there stays.

    Its files are compared with their hashes. Its graph was tried when it was published in the branch.
    """
    folder = branch.folder(build)
    _, graph = branch.load(build.model, build.reference)
    files = {file.name: file.read_bytes() for file in files_under(folder)}
    for name in build.files:
        files[name] = branch.file(build, name)
    files |= {"model.onnx": graph, "manifest.json": to_json(replace(build, snapshot=snapshot)).encode()}
    target = main.root / build.model / build.reference
    with guard_writes(target), main.locked(build.model):
        main.remove_leftovers(build.model)
        if not (target / "manifest.json").exists():
            remove_folder(target)  # in a bucket, what a merge was killed over: the manifest is written last
            publish_folder(target, files, last="manifest.json")


def move_aliases(main: ModelStore, branch: ModelStore, model: str, known: Collection[str]) -> None:
    """Give main the aliases of a branch, with their history.

    Args:
        main: the store of main.
        branch: that of the branch.
        model: the model.
        known: the hashes of the aliases that main may have: those when the branch was made, and those that merges have moved.

    Raises:
        AliasConflictError: those of main have changed since the branch was made; nothing was changed.
    """
    aliases = branch.aliases(model)

    def change(current: Aliases) -> Aliases:
        if current != aliases and aliases_hash(main, model) not in known:
            raise AliasConflictError(
                f"the champion or the rollout of model {model!r} was changed in main since: nothing was changed there"
            )
        references = [one for one in (aliases.champion, *aliases.arms) if one is not None]
        if absent := [one for one in references if not (main.root / model / one / "manifest.json").exists()]:
            raise StoreError(
                f"main has no build {list_some(absent)} of model {model!r}, which would serve: nothing was changed"
            )
        return aliases

    if main.aliases(model) != aliases:
        main.change_aliases(model, change)


def _link_folder(source: Place, target: Place) -> None:
    make_folder(target)
    for file in files_under(source):
        place = target / within(file, source)
        make_folder(place.parent)
        if isinstance(file, BucketPath) or isinstance(place, BucketPath):
            place.write_bytes(file.read_bytes())
            continue
        try:
            os.link(file, place)  # files of a build are never written again
        except OSError:
            shutil.copyfile(file, place)


def _hash(content: bytes | None) -> str:
    return "" if content is None else hashlib.sha256(content).hexdigest()
