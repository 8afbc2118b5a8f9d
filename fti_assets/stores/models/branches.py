"""The builds and aliases of a branch's model store: those of main when it was made, and its own."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import field, replace

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.records import record, to_json
from fti_assets.errors import AliasConflictError, StoreError, list_some
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.files import files_under, guard_writes, make_folder, read_file
from fti_assets.stores.folders import publish_folder, remove_folder
from fti_assets.stores.models.aliases import Aliases, without_arm_of
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.places import Place, within


@record(frozen=True)
class ModelBase:
    """What main had of a model when the branch was made: its builds, the hash of its aliases, empty without any, and that of each alias.

    ``marks`` are empty in what an earlier release wrote.
    """

    builds: tuple[str, ...]
    aliases: str
    marks: dict[str, str] = field(default_factory=dict)


@record(frozen=True)
class ModelChange:
    """What a branch has of a model that main had not: builds, and another champion or rollout.

    ``champion`` is the branch's. ``aliases`` are those that the branch has changed, of "champion" and "rollout".
    """

    model: str
    builds: tuple[ModelManifest, ...]
    champion: str | None
    main_champion: str | None
    aliases: tuple[str, ...]


CHAMPION, ROLLOUT = "champion", "rollout"

AliasMarks = Mapping[str, Collection[str]]
"""The hashes that each alias of a model may have in main without anybody having changed it there."""


def alias_marks(aliases: Aliases) -> dict[str, str]:
    """The hash of each alias with its history. Which old builds were deleted or could not be promoted, and that a
    rollback is proposed, is no part of either."""
    bare = replace(aliases, model="", retired=(), proposal=None, unpromoted=())
    champion = replace(bare, rollout=None, rollouts=())
    rollout = replace(bare, champion=None, history=(), rolled_back=())
    return {CHAMPION: _hash(to_json(champion).encode()), ROLLOUT: _hash(to_json(rollout).encode())}


def marks_before(
    main: ModelStore, branch: ModelStore, model: str, base: ModelBase, hashes: Collection[str], marks: AliasMarks
) -> dict[str, set[str]]:
    """The hashes of each alias that main has from before the branch was made, or from it.

    Args:
        main: the store of main.
        branch: that of the branch.
        model: the model.
        base: what main had then.
        hashes: those of whole aliases that merges of an earlier release have moved.
        marks: those of each alias that merges have moved.
    """
    results = {alias: {*marks.get(alias, ())} for alias in (CHAMPION, ROLLOUT)}
    if base.marks or not base.aliases:
        before = [base.marks or alias_marks(Aliases(model))]
    else:  # of an earlier release: known only of who has changed nothing
        unchanged = {base.aliases, *hashes}
        before = [alias_marks(one.aliases(model)) for one in (main, branch) if aliases_hash(one, model) in unchanged]
    for one in before:
        for alias, mark in one.items():
            results[alias].add(mark)
    return results


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
        bases[model] = ModelBase(builds, _hash(content), alias_marks(main.aliases(model)))
    return bases


def model_changes(
    main: ModelStore, branch: ModelStore, bases: Mapping[str, ModelBase], marks: Callable[[str], AliasMarks]
) -> list[ModelChange]:
    """What a branch's store has that main's had not when the branch was made, and has not now; by model.

    Args:
        main: the store of main.
        branch: that of the branch.
        bases: what main had then.
        marks: gives the hashes of a model's aliases that main has from before the branch was made, or from it.
    """
    changes = []
    for model in branch.models():
        base = bases.get(model, ModelBase((), ""))
        references = {build.reference for build in main.all_builds(model)[0]} if model in main.models() else set()
        builds = tuple(one for one in branch.builds(model) if one.reference not in {*base.builds, *references})
        own, mains, before = branch.aliases(model), main.aliases(model), marks(model)
        of_main = alias_marks(mains)
        aliases = tuple(
            alias for alias, mark in alias_marks(own).items() if mark not in before[alias] and mark != of_main[alias]
        )
        if builds or aliases:
            changes.append(ModelChange(model, builds, own.champion, mains.champion, aliases))
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


def move_aliases(main: ModelStore, branch: ModelStore, model: str, aliases: Collection[str], known: AliasMarks) -> None:
    """Give main some aliases of a branch, with their history; the others stay as they are.

    Args:
        main: the store of main.
        branch: that of the branch.
        model: the model.
        aliases: which, of "champion" and "rollout".
        known: the hashes that each of them may have in main.

    Raises:
        AliasConflictError: one has changed in main since the branch was made; nothing was changed.
    """
    own = branch.aliases(model)
    own_marks = alias_marks(own)

    def change(current: Aliases) -> Aliases:
        marks = alias_marks(current)
        for alias in aliases:
            if marks[alias] != own_marks[alias] and marks[alias] not in known[alias]:
                raise AliasConflictError(f"{alias_change(current, alias)}: nothing was changed there")
        result = _with_aliases(current, own, aliases)
        references = [one for one in (result.champion, *result.arms) if one is not None]
        if absent := [one for one in references if not (main.root / model / one / "manifest.json").exists()]:
            raise StoreError(
                f"main has no build {list_some(absent)} of model {model!r}, which would serve: nothing was changed"
            )
        return result

    if any(alias_marks(main.aliases(model))[alias] != own_marks[alias] for alias in aliases):
        main.change_aliases(model, change)


def alias_change(aliases: Aliases, alias: str) -> str:
    """What was last done to an alias, by whom and when, as a refusal says it."""
    if alias == ROLLOUT:
        when = f", at {aliases.rollouts[-1].at[:16]} UTC: {aliases.rollouts[-1].reason}" if aliases.rollouts else ""
        return f"the rollout of model {aliases.model!r} was changed in main{when}"
    last = aliases.history[-1] if aliases.history else None
    by = "" if last is None else f" to {last.champion} by {last.author or 'nobody knows whom'}, at {last.at[:16]} UTC"
    return f"the champion of model {aliases.model!r} was changed in main{by}"


def _with_aliases(current: Aliases, own: Aliases, names: Collection[str]) -> Aliases:
    result = current
    if CHAMPION in names:
        champion = {name: getattr(own, name) for name in ("champion", "history", "rolled_back")}
        notes = {one.build: one for one in (*result.unpromoted, *own.unpromoted) if one.build != own.champion}
        result = replace(result, **champion, proposal=None, unpromoted=tuple(notes.values()))
    if ROLLOUT in names:
        result = replace(result, rollout=own.rollout, rollouts=own.rollouts)
    if result.champion is None:
        return result
    return without_arm_of(result, result.champion, f"{result.champion} became champion by a merge")


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
