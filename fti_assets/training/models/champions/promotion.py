"""Whether an accepted build becomes champion by itself."""

from __future__ import annotations

from fti_assets.core.manifest import ModelManifest
from fti_assets.stores.models.store import cutoff_of
from fti_assets.training.models.model import Promotion


def is_promoted(promote: Promotion, alias: str | None, manifest: ModelManifest) -> bool:
    """Whether an accepted build takes the place of the champion without anybody's word.

    Args:
        promote: what is declared.
        alias: the champion of now.
    """
    if promote == "after_experiment":
        return alias is None  # the first one has none to be compared with
    return promote == "automatic" and _moves_forward(alias, manifest)


def withheld(promote: Promotion, alias: str | None, manifest: ModelManifest) -> str:
    """Why an accepted build did not become champion by itself, and what makes it so; empty if it did.

    Args:
        promote: what is declared.
        alias: the champion after the build.
    """
    if alias == manifest.reference:
        return ""
    command = f"fti models promote {manifest.model} {manifest.reference} --reason WHY"
    if promote == "by_hand":
        return (
            f"waits for a person: compare it with fti models diff {manifest.model} {manifest.reference}, then {command}"
        )
    if promote == "after_experiment":
        return f"waits for an experiment: let it answer some requests, with fti rollout start {manifest.model} {manifest.reference}"
    return f"stays beside the champion {alias}, which has a later cutoff: {command} makes it champion nevertheless"


def successor_of_lost(promote: Promotion, alias: str, model: str) -> str:
    """What takes the place of a champion that cannot be read.

    Args:
        promote: what is declared.
        alias: the champion.
        model: whose champion it is.
    """
    if promote != "automatic":
        return f"it stays until somebody promotes another: fti models promote {model} BUILD --reason WHY"
    cutoff = cutoff_of(alias)
    which = f", if its cutoff is not before {cutoff}" if cutoff else ""
    return f"a build that its gates accept takes its place{which}"


def _moves_forward(alias: str | None, manifest: ModelManifest) -> bool:
    """By the cutoff in a build's name, so that a champion whose files are lost can be followed by another."""
    return alias is None or cutoff_of(alias) <= cutoff_of(manifest.reference)
