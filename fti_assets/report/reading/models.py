"""What the model store says of a model: its builds, its champions with their reasons, and its rollout."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.times import instant
from fti_assets.errors import FtiError
from fti_assets.stores.models.aliases import AliasChange, Aliases
from fti_assets.stores.models.store import ModelStore

_MOST_BUILDS = 200


@dataclass(frozen=True)
class ModelHistory:
    """A model's builds, by when they were made, and its aliases; ``left_out`` builds are older than those.

    ``problems`` name builds or aliases that cannot be read.
    """

    model: str
    builds: tuple[ModelManifest, ...]
    aliases: Aliases
    left_out: int = 0
    problems: tuple[str, ...] = ()

    @property
    def champion(self) -> ModelManifest | None:
        """The champion's manifest, if it can be read."""
        return next((one for one in self.builds if one.reference == self.aliases.champion), None)

    def changes(self, since: datetime | None) -> list[AliasChange]:
        """The changes of the champion, oldest first, with the one before ``since``, which served then."""
        history = list(self.aliases.history)
        if since is None:
            return history
        before = [one for one in history if instant(one.at) < since]
        return [*before[-1:], *history[len(before) :]]


def history_of(store: ModelStore, model: str, since: datetime | None) -> ModelHistory:
    """What there is of a model, since an instant; the champion always."""
    problems = []
    try:
        builds, errors = store.all_builds(model)
        problems += [f"{reference}: {error}" for reference, error in errors.items()]
    except (FtiError, OSError) as error:
        builds, problems = [], [str(error)]
    try:
        aliases = store.aliases(model)
    except (FtiError, OSError) as error:
        aliases, problems = Aliases(model), [*problems, str(error)]
    builds.sort(key=lambda one: (instant(one.created_at), one.reference))
    recent = [one for one in builds if since is None or instant(one.created_at) >= since][-_MOST_BUILDS:]
    references = {one.reference for one in recent} | {aliases.champion}
    selection = [one for one in builds if one.reference in references]
    return ModelHistory(model, tuple(selection), aliases, len(builds) - len(selection), tuple(problems))
