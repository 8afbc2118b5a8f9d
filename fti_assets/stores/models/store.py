"""The model store: builds are published into its folder or bucket whole, and one of them at a time is made champion."""

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from fti_assets.core import clock
from fti_assets.core.home import home
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.names import is_blank
from fti_assets.core.records import to_json
from fti_assets.core.times import naive_utc
from fti_assets.errors import AliasConflictError, StoreError, list_some, one_of
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.files import guard_writes, write_atomically
from fti_assets.stores.folders import publish_folder
from fti_assets.stores.locks import hold_lock
from fti_assets.stores.models.aliases import (
    AliasChange,
    Aliases,
    Evidence,
    FreshComparison,
    evidence_of_proposal,
    refuse_other_champion,
    without_arm_of,
)
from fti_assets.stores.models.builds.twins import are_twins
from fti_assets.stores.models.manifest_check import problem_of, verdict_of
from fti_assets.stores.models.reader import MANIFEST, REFERENCE, ModelReader, Promotions
from fti_assets.stores.models.samples import SAMPLES
from fti_assets.stores.places import Place


def build_id(cutoff: datetime, token: str | None = None) -> str:
    """Name a build by its cutoff (naive UTC) and 8 hex digits, random ones unless ``token`` gives them.

    >>> build_id(datetime(2013, 5, 1), "1f9ac3d2")
    '20130501T000000Z-1f9ac3d2'
    """
    return f"{naive_utc(cutoff):%Y%m%dT%H%M%SZ}-{token or os.urandom(4).hex()}"


def cutoff_of(reference: str) -> str:
    """The cutoff in a build's reference, ``20130501T000000Z`` in ``v1/20130501T000000Z-1f9ac3d2``; it sorts by time."""
    return reference.partition("/")[2].partition("-")[0]


class ModelStore(ModelReader):
    """A folder of models, or ``s3://bucket/folder``, that builds are published to and promoted in.

    >>> store = ModelStore("models/")  # doctest: +SKIP
    >>> manifest, graph = store.load("delay_net", store.champion("delay_net").reference)  # doctest: +SKIP
    """

    def __init__(self, root: Place | str, *, lock_timeout: float = 60.0, trial_seconds: float = 60.0) -> None:
        super().__init__(root)
        self._lock_timeout = lock_timeout
        self._trial_seconds = trial_seconds
        self._tried: dict[tuple[str, str], ModelManifest] = {}
        """The builds whose graphs ran here as their manifests say, by model and reference: each is tried once."""

    def publish(
        self, manifest: ModelManifest, graph: bytes, card: str, files: Mapping[str, bytes] | None = None
    ) -> None:
        """Store a build in one step; it is there whole or not at all.

        The graph is loaded, run and asked its samples in a process of its own first, within ``trial_seconds`` each.

        Args:
            manifest: with the ``sha256`` of the graph, and of each of the files.
            graph: the ONNX graph.
            card: the model card, Markdown.
            files: what else belongs to the build, by file name.

        Raises:
            StoreError: the build is there already, its name is none, a hash in the manifest is not that of the bytes, the
                graph does not load or run by itself, or the store cannot be written.
        """
        if not REFERENCE.fullmatch(manifest.reference):
            raise StoreError(
                f"{manifest.reference!r} does not name a build of model {manifest.model!r}: "
                "make its name with build_id(cutoff), as in v1/20130501T000000Z-1f9ac3d2"
            )
        if (result := hashlib.sha256(graph).hexdigest()) != manifest.sha256:
            raise StoreError(
                f"the graph of {manifest.model}/{manifest.reference} has sha256 {result}, "
                f"its manifest says {manifest.sha256}: nothing was published, make the manifest from these bytes"
            )
        checksums = {name: hashlib.sha256(content).hexdigest() for name, content in (files or {}).items()}
        if checksums != manifest.files:
            raise StoreError(
                f"the files of {manifest.model}/{manifest.reference} are {checksums}, its manifest says {manifest.files}: "
                "nothing was published, make the manifest from these files"
            )
        own = {"model.onnx": graph, MANIFEST: to_json(manifest).encode(), "card.md": card.encode()}
        if unusable := sorted(name for name in checksums if name in own or Path(name).name != name):
            raise StoreError(
                f"{manifest.model}/{manifest.reference} cannot have a file {one_of(unusable)}: give it a plain name beside "
                f"{one_of(own)}"
            )
        # Not at the top: an app only reads, and starts without what publishing needs.
        from fti_assets.stores.models.graph_trial import check_graph

        folder = self._folder(manifest.model) / manifest.reference
        if (problem := problem_of(manifest)) is not None:
            raise StoreError(f"the manifest of {manifest.model}/{manifest.reference} {problem}: nothing was published")
        # Before the lock is taken: a trial may take minutes, and others publish and promote meanwhile.
        check_graph(manifest, graph, (files or {}).get(SAMPLES), seconds=self._trial_seconds)
        with guard_writes(folder), self.locked(manifest.model):
            self.remove_leftovers(manifest.model)
            publish_folder(folder, own | dict(files or {}), last=MANIFEST)
        self._tried[manifest.model, manifest.reference] = manifest

    def remove_leftovers(self, model: str) -> None:
        """Remove what killed processes left of builds that they published or deleted; the caller holds the lock, as living ones do."""
        import shutil  # not at the top, as in publish

        folder = self._folder(model)
        if isinstance(folder, BucketPath):
            return  # where builds that are not whole are not seen, and others may be about to be
        for leftover in folder.glob("v*/.*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)

    def promote(
        self, model: str, reference: str, *, expected: str | None, reason: str, run_id: str = "", by: str = ""
    ) -> Aliases:
        """Make an accepted build champion; one that was rolled back, or could not be promoted, is no longer marked so.

        Args:
            expected: the champion that the gates compared with, None for none.
            reason: why, for the history of champions.
            run_id: the Dagster run, if one does it.
            by: the person, if one does it.

        Raises:
            AliasConflictError: the champion is another one by now; nothing was changed.
            StoreError: the build is the champion already, was rejected, is damaged or is not there, or the source of an on-demand
                function that is here means something else than what the build learned from.
        """
        self._build(model, reference)
        if self.aliases(model).champion == expected:
            self.check_servable(model, reference, "champion")  # before the lock is taken, as in publish

        def change(aliases: Aliases) -> Aliases:
            if aliases.champion != expected:
                raise AliasConflictError(
                    f"the champion of model {model!r} is {aliases.champion or 'no build'}, not {expected or 'no build'} "
                    f"with which {reference} was compared: nothing was changed, compare it with the champion of now"
                )
            if aliases.champion == reference and not aliases.contradiction:
                raise StoreError(f"{reference} is the champion of model {model!r} already: nothing was changed")
            return self.with_champion(aliases, reference, reason=reason, run_id=run_id, by=by)

        return self.change_aliases(model, change)

    def roll_back(
        self,
        model: str,
        to: str | None = None,
        *,
        reason: str,
        run_id: str = "",
        by: str = "",
        evidence: FreshComparison | None = None,
    ) -> Aliases:
        """Mark the champion as rolled back and make ``to``, or the one before it that was not rolled back, champion.

        Args:
            to: the build to go back to.
            reason: why, for the history of champions.
            run_id: the Dagster run, if one does it.
            by: the person, if one does it.
            evidence: what it rests on; by default that of a proposal of this very rollback, if there is one.

        Raises:
            AliasConflictError: the champion is not the one that the evidence judged; nothing was changed.
            NoChampionError: there is no champion to roll back.
            StoreError: there is nothing to go back to, or ``to`` is the champion, rejected, damaged or not there, or the
                source of an on-demand function that is here means something else than what it learned from.
        """
        target = self.target_of_rollback(self.aliases(model), to)
        self.check_servable(model, target, "champion")  # before the lock is taken, as in publish

        def change(aliases: Aliases) -> Aliases:
            champion, target = str(aliases.champion), self.target_of_rollback(aliases, to)
            refuse_other_champion(aliases, evidence)
            fresh = evidence or evidence_of_proposal(aliases, target)
            result = self.with_champion(aliases, target, reason=reason, run_id=run_id, by=by, fresh=fresh)
            marks = (*(mark for mark in result.rolled_back if mark != champion), champion)
            return replace(result, rolled_back=marks)

        return self.change_aliases(model, change)

    def target_of_rollback(self, aliases: Aliases, to: str | None = None) -> str:
        """The build that would be champion after a rollback: ``to``, or the champion before that was not rolled back.

        One that is the champion made twice, of the same cutoff, code and data and with the same figures, is passed over.

        Raises:
            NoChampionError: there is no champion to roll back.
            StoreError: there is nothing to go back to, or ``to`` is the champion.
        """
        if aliases.champion is None:
            raise self._no_champion(aliases.model)
        target = to or self._previous(aliases, aliases.champion)
        if target == aliases.champion:
            raise StoreError(
                f"{target} is the champion of model {aliases.model!r} itself: name the build to go back to"
            )
        return target

    def change_aliases(self, model: str, change: Callable[[Aliases], Aliases]) -> Aliases:
        """Write what ``change`` makes of a model's aliases, while nobody else changes them; what it raises changes nothing.

        In a bucket, where there is no lock, it is asked again if somebody has changed them meanwhile.

        Raises:
            StoreError: they cannot be read or written.
        """
        path = self.aliases_file(model)
        if isinstance(path, BucketPath):
            from fti_assets.stores.buckets.conditional import replace_object  # not at the top, as in publish

            aliases = Aliases(model)

            def changed(text: bytes | None) -> bytes:
                nonlocal aliases
                aliases = change(self._aliases_in(model, text))
                return to_json(aliases).encode()

            replace_object(path, changed, self._lock_timeout)
            Promotions.count += 1
            return aliases
        with guard_writes(self.aliases_file(model)), self.locked(model):
            return self.write_aliases(change(self.aliases(model)))

    def write_aliases(self, aliases: Aliases) -> Aliases:
        """Put a model's aliases in the place of those that are there; the caller holds the lock."""
        path = self.aliases_file(aliases.model)
        assert isinstance(path, Path)  # a bucket has no lock
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):  # a killed writer's: living ones hold the lock
            leftover.unlink(missing_ok=True)
        write_atomically(path, to_json(aliases).encode())
        Promotions.count += 1
        return aliases

    def with_champion(
        self,
        aliases: Aliases,
        reference: str,
        *,
        reason: str,
        run_id: str = "",
        by: str = "",
        fresh: FreshComparison | None = None,
    ) -> Aliases:
        """The aliases with an accepted build as champion, which ends its part in a rollout, its mark as rolled back, and any proposal.

        The history gets who did it, as evidence the metrics and verdicts of both builds, and what a rollback rests on.

        Raises:
            StoreError: as ``check_servable``.
        """
        if is_blank(reason):
            raise StoreError(
                f"{reference} cannot be champion of model {aliases.model!r} without a reason: say why in a few words, for those who read "
                "the history. Nothing was changed"
            )
        self.check_servable(aliases.model, reference, "champion")
        if isinstance(self.root, BucketPath) and any(reference in one.builds for one in aliases.retired):
            raise StoreError(
                f"{aliases.model}/{reference} cannot be champion: it was retired and may be about to be deleted. Nothing was "
                "changed"
            )
        manifest = self.manifest(aliases.model, reference)
        evidence = Evidence.of(manifest, self.manifest_if_readable(aliases.model, aliases.champion))
        change = AliasChange(clock.now().isoformat(), reference, aliases.champion, reason, run_id, by, evidence, fresh)
        marks = tuple(mark for mark in aliases.rolled_back if mark != reference)
        history = (*aliases.history, change)
        unpromoted = tuple(one for one in aliases.unpromoted if one.build != reference)
        result = replace(
            aliases, champion=reference, history=history, rolled_back=marks, proposal=None, unpromoted=unpromoted
        )
        return without_arm_of(result, reference, reason)

    def check_servable(self, model: str, reference: str, role: str) -> None:
        """Refuse a build that cannot have a role: what a predictor refuses when it loads one, short of the online store.

        Its files are read and compared with their hashes each time; its graph is run and asked its samples once, on the CPU, and
        not again after this object has published it.

        Raises:
            StoreError: it was rejected, is damaged or is not there, its graph does not run or answers otherwise than when it was
                made, or the source of an on-demand function that is here means something else than what it learned from.
        """
        manifest, graph = self.load(model, reference)
        if manifest.status != "accepted":
            raise StoreError(
                f"{model}/{reference} cannot be {role}: it is {verdict_of(manifest)}. Accepted ones are {self._accepted_builds(model)}"
            )
        # Not at the top: who reads manifests needs no runtime.
        from fti_assets.stores.models.builds.servable import check_answers, check_on_demand

        # Read for a build that was tried as well, since reading compares them with their hash.
        samples = self.file(manifest, SAMPLES) if SAMPLES in manifest.files else None
        if self._tried.get((model, reference)) != manifest:
            check_answers(self, manifest, graph, samples, role, seconds=self._trial_seconds)
            self._tried[model, reference] = manifest
        check_on_demand(manifest, role)

    def _previous(self, aliases: Aliases, champion: str) -> str:
        earlier = dict.fromkeys(change.champion for change in reversed(aliases.history))
        candidates = [one for one in earlier if one not in (champion, *aliases.rolled_back)]
        for reference in candidates:
            if not self._are_twins(aliases.model, reference, champion):
                return reference
        twins = (
            f" and is another build than it: {list_some(candidates)} has the same cutoff, code, data and figures"
            if candidates
            else ""
        )
        raise StoreError(
            f"no champion of model {aliases.model!r} came before {champion} that was not rolled back{twins}. "
            f"Name the build to go back to, of {one_of(self._references(aliases.model))}"
        )

    def _are_twins(self, model: str, reference: str, champion: str) -> bool:
        one, other = self.manifest_if_readable(model, reference), self.manifest_if_readable(model, champion)
        return one is not None and other is not None and are_twins(one, other)  # else who goes back to it is told then

    def locked(self, model: str) -> AbstractContextManager[None]:
        """Hold the lock of a model for a block: nobody publishes a build of it, or changes its aliases, meanwhile.

        A bucket has none: a build has a name of its own there, and aliases are replaced only as they were read.

        Raises:
            StoreError: somebody else holds it for too long.
        """
        folder = self._folder(model)
        return nullcontext() if isinstance(folder, BucketPath) else hold_lock(folder / ".lock", self._lock_timeout)

    def working_folder(self, model: str) -> Path:
        """Where this machine keeps what a training needs before it is published: with the builds; of a bucket, under ``FTI_HOME``."""
        folder = self._folder(model)
        return home() / "training" / model if isinstance(folder, BucketPath) else folder
