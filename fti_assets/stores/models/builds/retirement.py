"""Deleting old builds by a policy: none that serves, ever served, or that something else rests on."""

import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from fti_assets.core import clock
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.records import record
from fti_assets.core.times import duration, instant
from fti_assets.errors import DeclarationError, NotMaterializedError, StoreError, list_some, one_of
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.buckets.publish import remove_objects
from fti_assets.stores.files import NO_ROOM, files_under, guard_writes, readable, reason, sync_renamed
from fti_assets.stores.models.aliases import Aliases, RetiredBuilds
from fti_assets.stores.models.reader import MANIFEST
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.places import Place


@record(frozen=True)
class Policy:
    """Which builds of a model are old.

    A build is old if it stands before the ``keep`` newest accepted ones, by cutoff, and was made longer ago than ``older_than``. What
    is None is not asked.

    Raises:
        DeclarationError: neither is given, or ``keep`` is below 1.
    """

    keep: int | None = None
    older_than: timedelta | None = None

    @property
    def text(self) -> str:
        """As the alias file keeps it: what is left out was not asked."""
        terms = [] if self.keep is None else [f"all but the {self.keep} newest accepted builds"]
        return ", ".join([*terms, *([] if self.older_than is None else [f"older than {self.older_than}"])])

    @classmethod
    def of(cls, keep: int | None, older_than: str | None) -> "Policy":
        """A policy from what somebody wrote, such as ``"90d"``."""
        return cls(keep, None if older_than is None else duration(older_than, what="--older-than"))

    def __post_init__(self) -> None:
        if self.keep is None and self.older_than is None:
            raise DeclarationError(
                "say which builds are old: the number that are kept, or the age from which on they are not"
            )
        if self.keep is not None and self.keep < 1:
            raise DeclarationError(f"{self.keep} builds cannot be kept: keep 1 or more")


@record(frozen=True)
class Retirement:
    """What a policy does to the builds of a model: those that go with their bytes, oldest first, and why old ones stay."""

    model: str
    sizes: Mapping[str, int]
    spared: Mapping[str, str]


def plan_retirement(store: ModelStore, model: str, policy: Policy) -> Retirement:
    """Say which builds of a model go by a policy, and why others that are old stay; nothing is changed.

    Raises:
        NotMaterializedError: there is no such model.
        DamagedError: a manifest or the aliases cannot be read, so nobody can say what rests on which build.
        StoreError: the folder cannot be read.
    """
    return _plan(store, model, policy, store.aliases(model))


def _plan(store: ModelStore, model: str, policy: Policy, aliases: Aliases) -> Retirement:
    builds = store.builds(model)
    if not builds:
        raise NotMaterializedError(f"there is no model {model!r} in {store.root}: it has {one_of(store.models())}")
    if aliases.contradiction:
        raise StoreError(
            f"{store.aliases_file(model)} {aliases.contradiction}, so nobody can say which builds were in production, and none is deleted. "
            f"Restore it from a copy, or promote the build that is to serve: fti models promote {model} ..."
        )
    reasons = _pins(store, model, aliases)
    old = _old(builds, policy, {one.build for one in aliases.unpromoted})
    sizes = {build.reference: _size(store.folder(build)) for build in old if build.reference not in reasons}
    spared = {build.reference: reasons[build.reference] for build in old if build.reference in reasons}
    return Retirement(model, sizes, spared)


def retire(
    store: ModelStore, model: str, policy: Policy, *, references: Collection[str] | None = None, by: str = ""
) -> Retirement:
    """Delete the builds that a policy names, each in one step: it is there whole or not at all, whenever the process is killed.

    The alias file says first which ones go, when, by what policy and by whom. One that is there nevertheless was spared by a killed
    process. On a disk that has no room for that, builds go before it is written, the oldest first, no more than it takes.

    Args:
        store: the model store.
        model: whose builds go.
        policy: which of them are old.
        references: only these, such as those that somebody has been shown.
        by: the person, for the alias file.

    Raises:
        StoreError: as ``plan_retirement``, or a folder cannot be written; what went before it is gone, and named if nothing could be noted.
    """
    plan, sizes = Retirement(model, {}, {}), dict[str, int]()

    def retired(aliases: Aliases) -> Aliases:
        nonlocal plan, sizes
        plan = _plan(store, model, policy, aliases)
        sizes = {
            reference: size for reference, size in plan.sizes.items() if references is None or reference in references
        }
        record = RetiredBuilds(clock.now().isoformat(), tuple(sizes), policy.text, by)
        left = tuple(one for one in aliases.unpromoted if one.build not in sizes)
        return replace(aliases, retired=(*aliases.retired, record), unpromoted=left) if sizes else aliases

    if isinstance(store.root, BucketPath):
        store.change_aliases(model, retired)  # whoever promotes one of these afterwards is refused
        for reference in sizes:
            remove_objects(store.root / model / reference, first=MANIFEST)
        return Retirement(model, sizes, plan.spared)
    with store.locked(model):  # nobody publishes or promotes meanwhile
        aliases = store.aliases(model)
        after = retired(aliases)
        left = list(sizes) if after == aliases else _note_and_make_room(store, store.root, after, sizes)
        for reference in left:
            _remove(store.root / model / reference)
        with suppress(OSError):  # what is left is hidden, and the next change of a build removes it
            store.remove_leftovers(model)
    return Retirement(model, sizes, plan.spared)


def _old(builds: list[ModelManifest], policy: Policy, unpromoted: Collection[str] = ()) -> list[ModelManifest]:
    """The builds that a policy does not keep, in their order."""
    candidates = builds
    if policy.keep is not None:
        accepted = [
            place
            for place, build in enumerate(builds)
            if build.status == "accepted" and build.reference not in unpromoted
        ]
        candidates = builds[: accepted[-policy.keep]] if len(accepted) >= policy.keep else []
    if policy.older_than is not None:
        before = clock.now() - policy.older_than
        candidates = [build for build in candidates if instant(build.created_at) < before]
    return candidates


def _pins(store: ModelStore, model: str, aliases: Aliases) -> dict[str, str]:
    """Why builds of a model stay, by reference."""
    reasons: dict[str, str] = {}
    for name in store.models():
        for build in store.builds(name):
            for member in () if build.composite is None else build.composite.members:
                if member.model == model:
                    reasons[member.build] = f"the composite {name} {build.reference} is made of it"
    for past in aliases.rollouts:
        for arm, reference in past.builds.items():
            reasons[reference] = f"it was the arm {arm} of a rollout"
    for change in aliases.history:
        for reference in filter(None, (change.previous, change.champion)):
            reasons[reference] = "it was the champion once"
    for reference in aliases.rolled_back:
        reasons[reference] = "it was rolled back"
    for reference, arm in aliases.arms.items():
        reasons[reference] = f"it is the arm {arm} of the rollout"
    if aliases.champion is not None:
        reasons[aliases.champion] = "it is the champion"
    return reasons


def _note_and_make_room(store: ModelStore, root: Path, aliases: Aliases, references: Collection[str]) -> list[str]:
    """Write aliases that say which builds go, after as many of these are gone as a full disk asks for; those that are still there."""
    path, left, gone = store.aliases_file(aliases.model), list(references), list[str]()
    while True:
        try:
            store.write_aliases(aliases)
        except OSError as error:
            if error.errno not in NO_ROOM or not left:
                if gone:
                    raise StoreError(
                        f"{list_some(gone)} of model {aliases.model!r} are deleted, and {path} could not say so: {reason(error)}. "
                        "Make room elsewhere on this disk"
                    ) from error
                with guard_writes(path):
                    raise
        else:
            return left
        _remove(root / aliases.model / left[0])
        gone.append(left.pop(0))


def _remove(folder: Path) -> None:
    """Take a build away in one rename; what a killed process leaves of it is hidden, and goes with the next change."""
    hidden = folder.with_name(f".{folder.name}.{os.urandom(4).hex()}.tmp")
    with guard_writes(folder):
        folder.rename(hidden)
        sync_renamed(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _size(folder: Place) -> int:
    with readable(folder):
        if isinstance(folder, BucketPath):
            return sum(status.st_size for _, status in folder.files())
        return sum(file.stat().st_size for file in files_under(folder))
