"""The model store: immutable builds in a folder, and one champion a model.

<root>/<model>/v<N>/<build>/model.onnx, manifest.json, card.md, and what the manifest lists in `files`
<root>/<model>/aliases.json
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from fti_assets.core import clock
from fti_assets.core.home import folder_of
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.records import from_json, to_json
from fti_assets.core.sql import is_name
from fti_assets.core.times import instant, naive_utc
from fti_assets.errors import (
    AliasConflictError,
    DamagedError,
    NoChampionError,
    NotMaterializedError,
    PredictionError,
    StoreError,
    one_of,
)
from fti_assets.stores.file_kinds import check_folder
from fti_assets.stores.files import publish_folder, read_file, readable, reason, write_atomically, written
from fti_assets.stores.locks import locked
from fti_assets.stores.models.aliases import AliasChange, Aliases, without_arm_of
from fti_assets.stores.models.manifest_check import check_manifest, problem_of
from fti_assets.stores.models.samples import SAMPLES

_log = logging.getLogger(__name__)
_REFERENCE = re.compile(r"v[1-9][0-9]*/[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")

_REMEDY = "restore it from a copy, or make another build the champion and remove this one's folder"
_REMEDY_OF_ALIASES = "restore it from a copy, or remove it and promote a build"


def build_id(cutoff: datetime, token: str | None = None) -> str:
    """Name a build by its cutoff (naive UTC) and 8 hex digits, random ones unless ``token`` gives them.

    >>> build_id(datetime(2013, 5, 1), "1f9ac3d2")
    '20130501T000000Z-1f9ac3d2'
    """
    return f"{naive_utc(cutoff):%Y%m%dT%H%M%SZ}-{token or os.urandom(4).hex()}"


def cutoff_of(reference: str) -> str:
    """The cutoff in a build's reference, ``20130501T000000Z`` in ``v1/20130501T000000Z-1f9ac3d2``; it sorts by time."""
    return reference.partition("/")[2].partition("-")[0]


class Promotions:
    """How many times this process has changed a champion, so that whoever follows one here can tell without asking the file."""

    made = 0


class ModelStore:
    """A folder of models.

    A build is named by its reference, ``v<N>/<build>``; times are naive UTC.

    >>> store = ModelStore("models/")  # doctest: +SKIP
    >>> manifest, graph = store.load("delay_net", store.champion("delay_net").reference)  # doctest: +SKIP
    """

    def __init__(self, root: Path | str, *, lock_timeout: float = 60.0, trial_seconds: float = 60.0) -> None:
        self.root = folder_of(root, what="model")
        self._lock_timeout = lock_timeout
        self._trial_seconds = trial_seconds
        self._last_manifest: tuple[tuple[Path, bytes], ModelManifest] | None = None
        """Of the manifest that was read last: its file and content, and what it says."""
        self._tried: dict[tuple[str, str], ModelManifest] = {}
        """The builds whose graphs ran here as their manifests say, by model and reference: each is tried once."""

    def models(self) -> tuple[str, ...]:
        """The names of the models that have a folder here."""
        return tuple(sorted(folder.name for folder in self._folders(self.root) if is_name(folder.name)))

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
        if not _REFERENCE.fullmatch(manifest.reference):
            raise StoreError(
                f"{manifest.reference!r} does not name a build of model {manifest.model!r}: "
                "make its name with build_id(cutoff), as in v1/20130501T000000Z-1f9ac3d2"
            )
        if (result := hashlib.sha256(graph).hexdigest()) != manifest.sha256:
            raise StoreError(
                f"the graph of {manifest.model}/{manifest.reference} has sha256 {result}, "
                f"its manifest says {manifest.sha256}: nothing was published, make the manifest from these bytes"
            )
        listed = {name: hashlib.sha256(content).hexdigest() for name, content in (files or {}).items()}
        if listed != manifest.files:
            raise StoreError(
                f"the files of {manifest.model}/{manifest.reference} are {listed}, its manifest says {manifest.files}: "
                "nothing was published, make the manifest from these files"
            )
        own = {"model.onnx": graph, "manifest.json": to_json(manifest).encode(), "card.md": card.encode()}
        if unusable := sorted(name for name in listed if name in own or Path(name).name != name):
            raise StoreError(
                f"{manifest.model}/{manifest.reference} cannot have a file {one_of(unusable)}: give it a plain name beside "
                f"{one_of(own)}"
            )
        # Not at the top: an app only reads, and starts without what publishing needs.
        import shutil

        from fti_assets.stores.models.graph_trial import check_graph

        folder = self._folder(manifest.model) / manifest.reference
        if (problem := problem_of(manifest)) is not None:
            raise StoreError(f"the manifest of {manifest.model}/{manifest.reference} {problem}: nothing was published")
        # Before the lock is taken: a trial may take minutes, and others publish and promote meanwhile.
        check_graph(manifest, graph, (files or {}).get(SAMPLES), seconds=self._trial_seconds)
        with written(folder), self._locked(manifest.model):
            for abandoned in self._folder(manifest.model).glob(
                "v*/.*.tmp"
            ):  # a killed publisher's: living ones hold the lock
                shutil.rmtree(abandoned, ignore_errors=True)
            publish_folder(folder, own | dict(files or {}))
        self._tried[manifest.model, manifest.reference] = manifest

    def builds(self, model: str) -> list[ModelManifest]:
        """The manifests of all builds of a model, by cutoff, then by when they were made; empty without any.

        Raises:
            DamagedError: a manifest cannot be read.
        """
        manifests, damaged = self.all_builds(model)
        for error in damaged.values():
            raise error
        return manifests

    def readable_builds(self, model: str) -> list[ModelManifest]:
        """``builds`` without those whose manifests cannot be read, which the log names."""
        manifests, damaged = self.all_builds(model)
        for reference, error in damaged.items():
            _log.warning("the build %s/%s is left out: %s", model, reference, error)
        return manifests

    def all_builds(self, model: str) -> tuple[list[ModelManifest], dict[str, StoreError]]:
        """The manifests of a model's builds in the order of ``builds``, and why those of others, by reference, cannot be read."""
        manifests, damaged = [], {}
        for reference in self._references(model):
            try:
                manifests.append(self.manifest(model, reference))
            except StoreError as error:
                damaged[reference] = error
        manifests.sort(key=lambda build: (instant(build.cutoff), instant(build.created_at), build.reference))
        return manifests, damaged

    def manifest(self, model: str, reference: str) -> ModelManifest:
        """The manifest of one build.

        Raises:
            NotMaterializedError: there is no such build.
            DamagedError: its manifest is missing, cannot be read, or is another build's.
        """
        path = self._build(model, reference) / "manifest.json"
        text = _read(path)
        if (last := self._last_manifest) is not None and last[0] == (path, text):
            return last[1]
        manifest = from_json(ModelManifest, text, what=str(path), remedy=_REMEDY)
        if (manifest.model, manifest.reference) != (model, reference):
            raise DamagedError(
                f"{path} is the manifest of {f'{manifest.model}/{manifest.reference}':.100}: "
                "the folder was moved or copied, put it back under its own name"
            )
        check_manifest(manifest, what=str(path))
        self._last_manifest = (path, text), manifest
        return manifest

    def load(self, model: str, reference: str) -> tuple[ModelManifest, bytes]:
        """The manifest and the graph of one build, the graph's bytes compared with the manifest's hash.

        Raises:
            NotMaterializedError: there is no such build.
            DamagedError: a file is missing, or is not what was written.
        """
        manifest = self.manifest(model, reference)
        path = self._build(model, reference) / "model.onnx"
        graph = _read(path)
        if (result := hashlib.sha256(graph).hexdigest()) != manifest.sha256:
            raise DamagedError(
                f"{path} is damaged: its {len(graph)} bytes have sha256 {result}, the manifest says {manifest.sha256}. "
                "Restore the file from a copy, or make another build the champion"
            )
        return manifest, graph

    def file(self, manifest: ModelManifest, name: str) -> bytes:
        """One of the further files of a build, compared with the manifest's hash.

        Raises:
            DamagedError: it is missing, or is not what was written.
        """
        path = self.folder(manifest) / name
        content = _read(path)
        if (result := hashlib.sha256(content).hexdigest()) != manifest.files[name]:
            raise DamagedError(
                f"{path} is damaged: its {len(content)} bytes have sha256 {result}, the manifest says {manifest.files[name]}. "
                "Restore the file from a copy, or make another build the champion"
            )
        return content

    def folder(self, manifest: ModelManifest) -> Path:
        """Where a build's files lie."""
        return self._folder(manifest.model) / manifest.reference

    def aliases(self, model: str) -> Aliases:
        """Who is and was champion; empty when there never was one.

        Raises:
            DamagedError: the file is not what was written, or another model's.
            StoreError: it cannot be read.
        """
        path = self.aliases_file(model)
        text = read_file(path, _REMEDY_OF_ALIASES)
        if text is None:
            return Aliases(model)
        aliases = from_json(Aliases, text, what=str(path), remedy=_REMEDY_OF_ALIASES)
        if aliases.model != model:
            raise DamagedError(
                f"{path} has the aliases of model {aliases.model!r}: the folder was copied or restored under another name. "
                f"Put it back as {self.root / aliases.model}, or remove {path.name} and promote a build of {model!r}"
            )
        return aliases

    def aliases_file(self, model: str) -> Path:
        """The file that each change of the champion replaces: a changed one tells of a change."""
        return self._folder(model) / "aliases.json"

    def champion(self, model: str) -> ModelManifest:
        """The manifest of the build that serves.

        Raises:
            NoChampionError: there is none; the error lists the builds there are and why they are not champion.
            DamagedError: the aliases name a build that is not there, or that was rejected.
        """
        champion = self.aliases(model).champion
        if champion is None:
            raise self._no_champion(model)
        try:
            manifest = self.manifest(model, champion)
        except NotMaterializedError as error:
            raise DamagedError(f"{self.aliases_file(model)} names a champion that is gone: {error}") from error
        if manifest.status != "accepted":
            raise DamagedError(
                f"{self.aliases_file(model)} names {champion} as champion, which is {_verdict(manifest)}: "
                f"it was changed by hand. Promote an accepted build, of {self._accepted(model)}"
            )
        return manifest

    def promote(self, model: str, reference: str, *, expected: str | None, reason: str, run_id: str = "") -> Aliases:
        """Make an accepted build champion; one that was rolled back is no longer marked so.

        Args:
            expected: the champion that the gates compared with, None for none.

        Raises:
            AliasConflictError: the champion is another one by now; nothing was changed.
            StoreError: the build was rejected, is damaged or is not there, or the source of an on-demand function that is here
                means something else than what the build learned from.
        """
        self._build(model, reference)
        if self.aliases(model).champion == expected:
            self.check_servable(model, reference, "champion")  # before the lock is taken, as in publish

        def change(aliases: Aliases) -> Aliases:
            if aliases.champion != expected:
                raise AliasConflictError(
                    f"the champion of model {model!r} is {aliases.champion or 'nobody'}, not {expected or 'nobody'} "
                    f"with which {reference} was compared: nothing was changed, compare it with the champion of now"
                )
            return self.with_champion(aliases, reference, reason=reason, run_id=run_id)

        return self.change_aliases(model, change)

    def roll_back(self, model: str, to: str | None = None, *, reason: str, run_id: str = "") -> Aliases:
        """Mark the champion as rolled back and make ``to``, or the one before it that was not rolled back, champion.

        Raises:
            NoChampionError: there is no champion to roll back.
            StoreError: there is nothing to go back to, or ``to`` is the champion, rejected, damaged or not there, or the
                source of an on-demand function that is here means something else than what it learned from.
        """

        def target_of(aliases: Aliases) -> str:
            if aliases.champion is None:
                raise self._no_champion(model)
            target = to or self._previous(aliases, aliases.champion)
            if target == aliases.champion:
                raise StoreError(f"{target} is the champion of model {model!r} itself: name the build to go back to")
            return target

        self.check_servable(
            model, target_of(self.aliases(model)), "champion"
        )  # before the lock is taken, as in publish

        def change(aliases: Aliases) -> Aliases:
            champion, target = str(aliases.champion), target_of(aliases)
            changed = self.with_champion(aliases, target, reason=reason, run_id=run_id)
            marks = (*(mark for mark in changed.rolled_back if mark != champion), champion)
            return replace(changed, rolled_back=marks)

        return self.change_aliases(model, change)

    def change_aliases(self, model: str, change: Callable[[Aliases], Aliases]) -> Aliases:
        """Write what ``change`` makes of a model's aliases, while nobody else changes them; what it raises changes nothing.

        Raises:
            StoreError: they cannot be read or written.
        """
        with written(self.aliases_file(model)), self._locked(model):
            changed = change(self.aliases(model))
            path = self.aliases_file(model)
            for abandoned in path.parent.glob(f".{path.name}.*.tmp"):  # a killed writer's: living ones hold the lock
                abandoned.unlink(missing_ok=True)
            write_atomically(path, to_json(changed).encode())
            Promotions.made += 1
            return changed

    def with_champion(self, aliases: Aliases, reference: str, *, reason: str, run_id: str = "") -> Aliases:
        """The aliases with an accepted build as champion, which ends its part in a rollout and its mark as rolled back.

        Raises:
            StoreError: as ``check_servable``.
        """
        self.check_servable(aliases.model, reference, "champion")
        change = AliasChange(clock.now().isoformat(), reference, aliases.champion, reason, run_id)
        marks = tuple(mark for mark in aliases.rolled_back if mark != reference)
        changed = replace(aliases, champion=reference, history=(*aliases.history, change), rolled_back=marks)
        return without_arm_of(changed, reference, reason)

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
                f"{model}/{reference} cannot be {role}: it is {_verdict(manifest)}. Accepted ones are {self._accepted(model)}"
            )
        self._check_answers(manifest, graph, role)
        self._check_on_demand(manifest, role)

    def _check_answers(self, manifest: ModelManifest, graph: bytes, role: str) -> None:
        samples = self.file(manifest, SAMPLES) if SAMPLES in manifest.files else None
        build = (manifest.model, manifest.reference)
        if self._tried.get(build) == manifest:
            return
        # Not at the top: who reads manifests needs no runtime.
        from fti_assets.stores.models.opened_graph import open_graph

        what, samples_file = f"model {manifest.model!r} ({manifest.reference})", str(self.folder(manifest) / SAMPLES)
        try:
            open_graph(manifest, graph, samples, what=what, samples_file=samples_file, seconds=self._trial_seconds)
        except (DamagedError, PredictionError) as error:
            raise StoreError(
                f"{manifest.model}/{manifest.reference} cannot be {role}, nothing was changed: {error}"
            ) from error
        self._tried[build] = manifest

    def newest_accepted(
        self, model: str, *, before: str | None = None, at_or_before: str | None = None, besides: Collection[str] = ()
    ) -> ModelManifest | None:
        """The newest accepted build that was not rolled back, None without any; the log names those that cannot be read.

        Args:
            before: only cutoffs strictly before this instant, in ISO text.
            at_or_before: only cutoffs not after this instant, in ISO text.
            besides: references of builds that are passed over.
        """
        limits: list[Callable[[datetime], bool]] = []
        if before is not None:
            limits.append(instant(before).__gt__)
        if at_or_before is not None:
            limits.append(instant(at_or_before).__ge__)
        passed_over = {*self.aliases(model).rolled_back, *besides}
        for build in reversed(self.readable_builds(model)):
            fits = all(limit(instant(build.cutoff)) for limit in limits)
            if fits and build.status == "accepted" and build.reference not in passed_over:
                return build
        return None

    def _check_on_demand(self, manifest: ModelManifest, role: str) -> None:
        """Refuse a build that predictors would refuse with the source of now, where that source is here."""
        for call in manifest.view.on_demand:
            # Not at the top, as above.
            from fti_assets.core.on_demand.call import check_source
            from fti_assets.core.on_demand.source import source_file

            if source_file(call.module) is None:
                _log.warning(
                    "the on-demand function %r of %s/%s is not compared with what the model learned from: its module %r is "
                    "not here",
                    call.name, manifest.model, manifest.reference, call.module,
                )  # fmt: skip
                continue
            try:
                check_source(call)
            except PredictionError as error:
                raise StoreError(
                    f"{manifest.model}/{manifest.reference} cannot be {role}, nothing was changed: {error}"
                ) from error

    def _accepted(self, model: str) -> str:
        return one_of(build.reference for build in self.readable_builds(model) if build.status == "accepted")

    def _previous(self, aliases: Aliases, champion: str) -> str:
        for change in reversed(aliases.history):
            if change.champion != champion and change.champion not in aliases.rolled_back:
                return change.champion
        raise StoreError(
            f"no champion of model {aliases.model!r} came before {champion} that was not rolled back: "
            f"name the build to go back to, of {one_of(self._references(aliases.model))}"
        )

    def _no_champion(self, model: str) -> NoChampionError:
        text = f"no champion for model {model!r} in {self.root}/: "
        builds, damaged = self.all_builds(model)
        if not builds and not damaged:
            with readable(self.root):
                check_folder(self.root)
                is_folder = self.root.is_dir()
            if not is_folder:
                return NoChampionError(
                    f"{text}there is no such folder. Name the model store's own, models=... (--models of fti), or set FTI_HOME to "
                    "the folder that holds models/"
                )
            other_models = [name for name in self.models() if name != model]
            holdings = f"the store has {one_of(other_models)}" if other_models else "the store is empty"
            return NoChampionError(f"{text}it has no builds; {holdings}. Materialize the model first")
        states = {build.reference: _verdict(build) for build in builds} | dict.fromkeys(damaged, "damaged")
        listed = ", ".join(f"{reference} ({state})" for reference, state in states.items())
        accepted = any(build.status == "accepted" for build in builds)
        remedy = (
            "Promote an accepted one with fti promote"
            if accepted
            else "Materialize a build that passes its gates, or change the gates"
        )
        return NoChampionError(f"{text}it has builds {listed}. {remedy}")

    def _references(self, model: str) -> list[str]:
        results = []
        for version in self._folders(self._folder(model)):
            results += [f"{version.name}/{build.name}" for build in self._folders(version)]
        return sorted(reference for reference in results if _REFERENCE.fullmatch(reference))

    def _folder(self, model: str) -> Path:
        if not is_name(model):
            raise StoreError(f"{model!r} is not the name of a model: names are [a-z_][a-z0-9_]*")
        return self.root / model

    def _build(self, model: str, reference: str) -> Path:
        folder = self._folder(model) / reference if _REFERENCE.fullmatch(reference) else None
        with readable(self.root):
            is_folder = folder is not None and folder.is_dir()
        if folder is None or not is_folder:
            raise NotMaterializedError(
                f"model {model!r} has no build {reference!r} in {self.root}/: it has {one_of(self._references(model))}"
            )
        return folder

    def _locked(self, model: str) -> AbstractContextManager[None]:
        return locked(self._folder(model) / ".lock", self._lock_timeout)

    @staticmethod
    def _folders(folder: Path) -> list[Path]:
        try:
            check_folder(folder)
            return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
        except OSError as error:
            raise StoreError(f"{folder} cannot be listed: {reason(error)}") from error


def _read(path: Path) -> bytes:
    content = read_file(path, _REMEDY)
    if content is None:
        with readable(path.parent):
            siblings = one_of(sorted(file.name for file in path.parent.iterdir()))
        raise DamagedError(f"{path} is missing, its folder holds {siblings}: {_REMEDY}")
    return content


def _verdict(manifest: ModelManifest) -> str:
    failed = [verdict.gate for verdict in manifest.gates if not verdict.passed]
    return f"{manifest.status}: {', '.join(failed)}" if failed else manifest.status
