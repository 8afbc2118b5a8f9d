"""What the model store knows to be wrong: rejected builds, rollbacks, done or proposed, and files that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import takewhile

from fti_assets.alerts.causes import Cause, Findings
from fti_assets.core.manifest import ModelManifest
from fti_assets.core.times import instant
from fti_assets.errors import FtiError
from fti_assets.stores.models.aliases import Aliases
from fti_assets.stores.models.store import ModelStore


def findings_of_builds(store: ModelStore, models: Iterable[str]) -> Findings:
    """Of each model: the newest build if it was rejected, the champion if a rollback made it that or is proposed, and a store that
    cannot be read.

    Args:
        store: the model store.
        models: the names of the models that are watched.
    """
    result = Findings()
    for model in models:
        try:
            builds, aliases = store.builds(model), store.aliases(model)
        except (FtiError, OSError) as error:
            unreadable = Cause(
                subject=f"store {model}",
                title=f"The model store cannot be read for {model}",
                text=str(error),
                end=f"The model store can be read for {model} again",
            )
            result += Findings(
                (unreadable,), frozenset({f"rejected {model}", f"rollback {model}", f"proposal {model}"})
            )
            continue
        causes = [_rejection(model, builds, aliases), _rollback(model, aliases), _proposal(model, aliases)]
        result += Findings(tuple(cause for cause in causes if cause is not None))
    return result


def _rejection(model: str, builds: list[ModelManifest], aliases: Aliases) -> Cause | None:
    newest = max(builds, key=lambda build: build.created_at, default=None)
    if newest is None or newest.status != "rejected":
        return None
    reasons = [f"- {verdict.gate}: {verdict.reason}" for verdict in newest.gates if not verdict.passed]
    serving = f"{aliases.champion} goes on serving." if aliases.champion else "No build of it serves."
    return Cause(
        subject=f"rejected {model}",
        occurrence=newest.reference,
        title=f"Model {model}: build {newest.reference} was rejected",
        text="\n".join([*reasons, serving, f"See fti models show {model}"]),
        end=f"Model {model}: a newer build was accepted",
        since=_first_rejection(builds),
    )


def _first_rejection(builds: Sequence[ModelManifest]) -> datetime:
    """When the first of the newest builds was made of which each was rejected."""
    newest = sorted(builds, key=lambda build: build.created_at, reverse=True)
    return instant([*takewhile(lambda build: build.status == "rejected", newest)][-1].created_at)


def _rollback(model: str, aliases: Aliases) -> Cause | None:
    last = aliases.history[-1] if aliases.history else None
    if last is None or last.previous is None or last.previous not in aliases.rolled_back:
        return None
    by = f" by {last.author}" if last.author else ""
    return Cause(
        subject=f"rollback {model}",
        occurrence=last.at,
        title=f"Model {model} was rolled back from {last.previous} to {last.champion}",
        text=f"At {last.at}{by}: {last.reason}",
        end=f"Model {model} has a new champion since it was rolled back",
        since=instant(last.at),
    )


def _proposal(model: str, aliases: Aliases) -> Cause | None:
    proposal = aliases.proposal
    if proposal is None:
        return None
    return Cause(
        subject=f"proposal {model}",
        occurrence=proposal.champion,
        title=f"Model {model}: a rollback from {proposal.champion} to {proposal.to} is proposed",
        text=f"{proposal.evidence.text}\nfti rollback {model} --to {proposal.to} --reason WHY",
        end=f"Model {model}: no rollback is proposed any more",
        since=instant(proposal.at),
    )
