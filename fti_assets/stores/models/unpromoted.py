"""New builds that were to become champion and could not: what is noted of them, so that nothing takes them for others."""

from contextlib import suppress
from dataclasses import replace

from fti_assets.core import clock
from fti_assets.core.manifest import ModelManifest
from fti_assets.errors import StoreError
from fti_assets.stores.models.aliases import Aliases, UnpromotedBuild
from fti_assets.stores.models.store import ModelStore


def promote_new(store: ModelStore, manifest: ModelManifest, *, expected: str | None, reason: str, run_id: str) -> None:
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
        note = UnpromotedBuild(manifest.reference, clock.now().isoformat(), str(error), run_id)

        def noted(aliases: Aliases) -> Aliases:
            if manifest.reference == aliases.champion:  # of a bucket whose answer was lost, or by a person since
                return aliases
            return replace(aliases, unpromoted=(*aliases.unpromoted, note))

        with suppress(StoreError):  # what is raised is why it was not promoted
            store.change_aliases(manifest.model, noted)
        raise
