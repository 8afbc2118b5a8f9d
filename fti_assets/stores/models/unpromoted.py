"""New builds that are to become champion: what is noted of them until they are, so that nothing takes them for others."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from fti_assets.core import clock
from fti_assets.core.manifest import ModelManifest
from fti_assets.errors import NotMaterializedError, StoreError
from fti_assets.stores.models.aliases import Aliases, UnpromotedBuild
from fti_assets.stores.models.reader import ModelReader
from fti_assets.stores.models.store import ModelStore, cutoff_of


def publish_new(
    store: ModelStore,
    manifest: ModelManifest,
    graph: bytes,
    card: str,
    files: Mapping[str, bytes] | None = None,
    *,
    expected: str | None,
    run_id: str = "",
) -> None:
    """Publish a build that ``promote_new`` is to make champion; a process that is killed in between leaves a note that says so.

    Args:
        store: where the build goes.
        manifest: the build, with ``graph``, ``card`` and ``files`` as in ``ModelStore.publish``.
        expected: the champion that its gates compared with, None for none.
        run_id: the run that made it.

    Raises:
        StoreError: as ``ModelStore.publish``.
    """
    by = f"run {run_id}" if run_id else "the process that published it"
    role = f"champion after {expected}" if expected else "the first champion"
    _note(
        store,
        manifest,
        f"{by} was to make it {role}: it is about to, or was killed before it could. "
        f"fti models promote {manifest.model} {manifest.reference} --reason WHY makes it champion",
        run_id,
    )
    try:
        store.publish(manifest, graph, card, files)
    except BaseException:
        with suppress(StoreError):
            _forget(store, manifest)
        raise


def promote_new(
    store: ModelStore, manifest: ModelManifest, *, expected: str | None, reason: str, run_id: str = ""
) -> None:
    """Make the build of a run champion, or note in the aliases why it is not.

    Args:
        store: where the build is.
        manifest: the build.
        expected: the champion that its gates compared with, None for none.
        reason: why, for the history of champions.
        run_id: the run that made it.

    Raises:
        AliasConflictError: the champion is another one by now.
        StoreError: as ``ModelStore.promote``.
    """
    try:
        store.promote(manifest.model, manifest.reference, expected=expected, reason=reason, run_id=run_id)
    except StoreError as error:
        with suppress(StoreError):  # what is raised is why it was not promoted
            _note(store, manifest, str(error), run_id)
        raise


def left_behind(store: ModelReader, model: str) -> tuple[UnpromotedBuild, ...]:
    """The builds that were to become champion, are not, and would be newer than the champion of now."""
    aliases = store.aliases(model)
    since = (cutoff_of(aliases.champion or ""), aliases.history[-1].at if aliases.history else "")
    results = []
    for note in aliases.unpromoted:
        if (cutoff_of(note.build), note.at) > since:
            with suppress(StoreError):  # killed before it was published, or gone since
                store.manifest(model, note.build)
                results.append(note)
    return tuple(results)


def _note(store: ModelStore, manifest: ModelManifest, reason: str, run_id: str) -> None:
    note = UnpromotedBuild(manifest.reference, clock.now().isoformat(), reason, run_id)

    def noted(aliases: Aliases) -> Aliases:
        if manifest.reference == aliases.champion:  # of a bucket whose answer was lost, or by a person since
            return aliases
        return replace(aliases, unpromoted=(*_notes_of_others(aliases, manifest), note))

    store.change_aliases(manifest.model, noted)


def _forget(store: ModelStore, manifest: ModelManifest) -> None:
    """Take the note of a build back that was not published; one that is there after all, as of a bucket whose answer was lost, keeps it."""
    try:
        store.manifest(manifest.model, manifest.reference)
    except NotMaterializedError:
        store.change_aliases(
            manifest.model, lambda aliases: replace(aliases, unpromoted=_notes_of_others(aliases, manifest))
        )


def _notes_of_others(aliases: Aliases, manifest: ModelManifest) -> tuple[UnpromotedBuild, ...]:
    return tuple(one for one in aliases.unpromoted if one.build != manifest.reference)
