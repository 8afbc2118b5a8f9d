"""Reading a model store: immutable builds in a folder or a bucket, and one champion a model.

<root>/<model>/v<N>/<build>/model.onnx, manifest.json, card.md, and what the manifest lists in `files`
<root>/<model>/aliases.json
"""

import os
import re
from collections.abc import Callable, Collection
from contextlib import suppress

from fti_assets.core.logs import late_logger
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.records import from_json
from fti_assets.core.sql import is_name
from fti_assets.core.times import instant
from fti_assets.errors import DamagedError, NoChampionError, NotMaterializedError, StoreError, one_of
from fti_assets.stores.buckets.client import BucketError
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.file_kinds import check_folder
from fti_assets.stores.files import read_file, readable, reason
from fti_assets.stores.models.aliases import Aliases
from fti_assets.stores.models.hashes import sha256_of
from fti_assets.stores.models.manifest_check import check_manifest, verdict_of
from fti_assets.stores.places import Place, place_of

_log = late_logger(__name__)
MANIFEST = "manifest.json"
"""The file of a build that is written last where files are written one by one."""
REFERENCE = re.compile(r"v[1-9][0-9]*/[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")

_REMEDY = "restore it from a copy, or make another build the champion and remove this one's folder"
_REMEDY_OF_ALIASES = "restore it from a copy, or remove it and promote a build"


class Promotions:
    """How many times this process has changed a champion, so that whoever follows one here can tell without asking the file."""

    count = 0


class ModelReader:
    """A folder of models, or ``s3://bucket/folder``, that is read.

    A build is named by its reference, ``v<N>/<build>``; times are naive UTC.

    >>> reader = ModelReader("models/")  # doctest: +SKIP
    >>> manifest, graph = reader.load("delay_net", reader.champion("delay_net").reference)  # doctest: +SKIP
    """

    def __init__(self, root: Place | str) -> None:
        self.root = place_of(root, what="model")
        self._last_manifest: tuple[tuple[Place, bytes], ModelManifest] | None = None
        """Of the manifest that was read last: its file and content, and what it says."""

    def models(self) -> tuple[str, ...]:
        """The names of the models that have a folder here."""
        return tuple(sorted(folder.name for folder in self._folders(self.root) if is_name(folder.name)))

    def builds(self, model: str) -> list[ModelManifest]:
        """The manifests of all builds of a model, by cutoff, then by when they were made; empty without any.

        Raises:
            DamagedError: a manifest cannot be read.
        """
        manifests, errors = self.all_builds(model)
        for error in errors.values():
            raise error
        return manifests

    def readable_builds(self, model: str) -> list[ModelManifest]:
        """``builds`` without those whose manifests cannot be read, which the log names."""
        manifests, errors = self.all_builds(model)
        for reference, error in errors.items():
            _log.warning("the build %s/%s is left out: %s", model, reference, error)
        return manifests

    def all_builds(self, model: str) -> tuple[list[ModelManifest], dict[str, StoreError]]:
        """The manifests of a model's builds in the order of ``builds``, and why those of others, by reference, cannot be read."""
        manifests, errors = [], {}
        for reference in self._references(model):
            try:
                manifests.append(self.manifest(model, reference))
            except StoreError as error:
                errors[reference] = error
        manifests.sort(key=lambda build: (instant(build.cutoff), instant(build.created_at), build.reference))
        return manifests, errors

    def manifest(self, model: str, reference: str) -> ModelManifest:
        """The manifest of one build.

        Raises:
            NotMaterializedError: there is no such build.
            DamagedError: its manifest is missing, cannot be read, or is another build's.
        """
        path = self._build(model, reference) / MANIFEST
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

    def manifest_if_readable(self, model: str, reference: str | None) -> ModelManifest | None:
        """``manifest``, or None for none and for one that is not there or cannot be read."""
        with suppress(StoreError):
            return None if reference is None else self.manifest(model, reference)
        return None

    def load(self, model: str, reference: str) -> tuple[ModelManifest, bytes]:
        """The manifest and the graph of one build, the graph's bytes compared with the manifest's hash.

        Raises:
            NotMaterializedError: there is no such build.
            DamagedError: a file is missing, or is not what was written.
        """
        manifest = self.manifest(model, reference)
        path = self._build(model, reference) / "model.onnx"
        graph = _read(path)
        if (result := sha256_of(graph)) != manifest.sha256:
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
        if (result := sha256_of(content)) != manifest.files[name]:
            raise DamagedError(
                f"{path} is damaged: its {len(content)} bytes have sha256 {result}, the manifest says {manifest.files[name]}. "
                "Restore the file from a copy, or make another build the champion"
            )
        return content

    def folder(self, manifest: ModelManifest) -> Place:
        """Where a build's files lie."""
        return self._folder(manifest.model) / manifest.reference

    def aliases(self, model: str) -> Aliases:
        """Who is and was champion; empty when there never was one.

        Raises:
            DamagedError: the file is not what was written, or another model's.
            StoreError: it cannot be read.
        """
        return self._aliases_in(model, read_file(self.aliases_file(model), _REMEDY_OF_ALIASES))

    def _aliases_in(self, model: str, text: bytes | None) -> Aliases:
        path = self.aliases_file(model)
        if text is None:
            return Aliases(model)
        aliases = from_json(Aliases, text, what=str(path), remedy=_REMEDY_OF_ALIASES)
        if aliases.model != model:
            raise DamagedError(
                f"{path} has the aliases of model {aliases.model!r}: the folder was copied or restored under another name. "
                f"Put it back as {self.root / aliases.model}, or remove {path.name} and promote a build of {model!r}"
            )
        return aliases

    def aliases_file(self, model: str) -> Place:
        """The file that each change of the champion replaces: a changed one tells of a change."""
        return self._folder(model) / "aliases.json"

    def signature(self, model: str) -> tuple[int | str, ...]:
        """What changes with the aliases of a model; empty if they are not there or cannot be looked at."""
        path = self.aliases_file(model)
        try:
            if isinstance(path, BucketPath):
                return (path.stat().tag,)
            result = os.stat(path)
        except OSError:
            return ()
        # The file is replaced, never rewritten: the inode changes even where the clock's step hides the time.
        return result.st_mtime_ns, result.st_ino, result.st_size

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
                f"{self.aliases_file(model)} names {champion} as champion, which is {verdict_of(manifest)}: "
                f"it was changed by hand. Promote an accepted build, of {self._accepted_builds(model)}"
            )
        return manifest

    def newest_of_version(self, model: str, version: int) -> ModelManifest | None:
        """The build of a version with the latest cutoff, of several the one that was made last; None without any.

        It may have been rejected: it is what has learned from the newest data. The log names those that cannot be read.
        """
        start = f"v{version}/"
        references = [one for one in self._references(model) if one.startswith(start)]
        for cutoff in sorted({one.partition("-")[0] for one in references}, reverse=True):
            builds = []
            for reference in references:
                if reference.startswith(cutoff):
                    try:
                        builds.append(self.manifest(model, reference))
                    except StoreError as error:
                        _log.warning("the build %s/%s is left out: %s", model, reference, error)
            if builds:
                return max(builds, key=lambda build: (instant(build.created_at), build.reference))
        return None

    def newest_accepted(
        self,
        model: str,
        *,
        version: int | None = None,
        before: str | None = None,
        rivals_of: int | None = None,
        at_or_before: str | None = None,
        besides: Collection[str] = (),
    ) -> ModelManifest | None:
        """The newest accepted build, of those that are not passed over; None without any. The log names those that cannot be read.

        Args:
            version: only builds of this version; of all by default.
            before: only cutoffs strictly before this instant, in ISO text.
            rivals_of: with ``before``, a version: builds of other versions count at that very instant, too.
            at_or_before: only cutoffs not after this instant, in ISO text.
            besides: references of builds that are passed over.
        """
        limits: list[Callable[[ModelManifest], bool]] = []
        if version is not None:
            limits.append(lambda one: one.version == version)
        if before is not None:
            end = instant(before)

            def is_before(one: ModelManifest) -> bool:
                is_rival = rivals_of is not None and one.version != rivals_of
                return instant(one.cutoff) < end or (is_rival and instant(one.cutoff) == end)

            limits.append(is_before)
        if at_or_before is not None:
            last = instant(at_or_before)
            limits.append(lambda one: instant(one.cutoff) <= last)
        passed_over = {*self.aliases(model).passed_over, *besides}
        for build in reversed(self.readable_builds(model)):
            fits = all(limit(build) for limit in limits)
            if fits and build.status == "accepted" and build.reference not in passed_over:
                return build
        return None

    def _accepted_builds(self, model: str) -> str:
        return one_of(build.reference for build in self.readable_builds(model) if build.status == "accepted")

    def _no_champion(self, model: str) -> NoChampionError:
        from fti_assets.stores.models.builds.no_champion import no_champion  # not at the top: most apps have one

        return no_champion(self.root, model, *self.all_builds(model), self.models)

    def _references(self, model: str) -> list[str]:
        results = []
        folder = self._folder(model)
        if isinstance(folder, BucketPath):  # one question, and a build is there when what was written last is
            with readable(folder):
                paths = [path for path, _ in folder.files() if path.name == MANIFEST]
            results = [str(path.parent.relative_to(folder)) for path in paths]
        else:
            for version in self._folders(folder):
                results += [f"{version.name}/{build.name}" for build in self._folders(version)]
        return sorted(reference for reference in results if REFERENCE.fullmatch(reference))

    def _folder(self, model: str) -> Place:
        if not is_name(model):
            raise StoreError(f"{model!r} is not the name of a model: names are [a-z_][a-z0-9_]*")
        return self.root / model

    def _build(self, model: str, reference: str) -> Place:
        folder = self._folder(model) / reference if REFERENCE.fullmatch(reference) else None
        with readable(self.root):
            is_there = folder is not None and self._is_whole(folder)
        if folder is None or not is_there:
            raise NotMaterializedError(
                f"model {model!r} has no build {reference!r} in {self.root}/{self._fate(model, reference)}: it has "
                f"{one_of(self._references(model))}"
            )
        return folder

    @staticmethod
    def _is_whole(build: Place) -> bool:
        return (build / MANIFEST).is_file() if isinstance(build, BucketPath) else build.is_dir()

    def _fate(self, model: str, reference: str) -> str:
        """When and why a build was deleted, for an error; empty if nobody noted that."""
        try:
            retired = self.aliases(model).retired
        except StoreError:  # the error is about the build, not about aliases that cannot be read
            return ""
        for one in reversed(retired):
            if reference in one.builds:
                return f", since it was retired at {one.at[:19]}{one.by and f' by {one.by}'} ({one.policy})"
        return ""

    @staticmethod
    def _folders(folder: Place) -> list[Place]:
        try:
            if isinstance(folder, BucketPath):
                return list(folder.iterdir())
            check_folder(folder)
            return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
        except BucketError as error:
            raise StoreError(f"{folder} cannot be listed: {error.strerror}. {error.remedy}") from error
        except OSError as error:
            raise StoreError(f"{folder} cannot be listed: {reason(error)}") from error


def _read(path: Place) -> bytes:
    content = read_file(path, _REMEDY)
    if content is None:
        with readable(path.parent):
            siblings = one_of(sorted(file.name for file in path.parent.iterdir()))
        raise DamagedError(f"{path} is missing, its folder holds {siblings}: {_REMEDY}")
    return content
