"""Which rollout an experiment judges, since when, and what obeys its verdict if that rollout still goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fti_assets.core.rollouts.rollout import CHAMPION, Rollout
from fti_assets.core.times import instant
from fti_assets.errors import AliasConflictError
from fti_assets.monitoring.experiments.verdict import Verdict
from fti_assets.stores.models.aliases import Aliases, with_rollout
from fti_assets.stores.models.rollouts import SHARES_CHANGED, shares_of
from fti_assets.stores.models.store import ModelStore


@dataclass(frozen=True)
class OngoingRollout:
    """A rollout as it goes on.

    Args:
        rollout: the arms beside the champion.
        champion: the build that they are compared with.
        since: the last change of what is compared: of the champion, the arms, or their shares unless they are a bandit's.
    """

    rollout: Rollout
    champion: str
    since: datetime

    @property
    def builds(self) -> dict[str, str]:
        """The build of each arm, the champion first."""
        return {CHAMPION: self.champion, **{arm.name: arm.build for arm in self.rollout.arms}}

    @property
    def shares(self) -> dict[str, float] | None:
        """The share of the keys that each arm is to have; None where both answer each request, or shares have followed the outcomes."""
        return None if self.rollout.kind in ("shadow", "bandit") else shares_of(self.rollout)


def judged_rollout(aliases: Aliases) -> OngoingRollout | None:
    """The rollout of a model that goes on, None without one."""
    rollout = aliases.rollout
    if rollout is None or aliases.champion is None:
        return None
    passing = SHARES_CHANGED if rollout.kind == "bandit" else ""
    changes = [change.at for change in aliases.rollouts if change.event != passing]
    instants = [rollout.started_at, *changes[-1:], *(change.at for change in aliases.history[-1:])]
    return OngoingRollout(rollout, aliases.champion, max(map(instant, instants)))


def obey(
    store: ModelStore,
    model: str,
    ongoing: OngoingRollout,
    verdict: Verdict,
    shares: Mapping[str, float] | None,
    *,
    run_id: str,
) -> str:
    """Promote, stop or shift under the lock of the aliases, and say what was done; empty for nothing.

    Args:
        store: the model store.
        model: whose rollout it is.
        ongoing: as it was when it was judged.
        verdict: on it.
        shares: those that a bandit's arms get, None to leave them.
        run_id: the Dagster run, for the history.

    Raises:
        AliasConflictError: the rollout or the champion is another one by now; nothing was changed.
        StoreError: the build of the arm cannot be champion; nothing was changed.
    """
    change: Callable[[Aliases], Aliases]
    if verdict.decision == "promote" and verdict.arm is not None:
        arm, outcome = verdict.arm, f"promoted {verdict.arm}"

        def change(aliases: Aliases) -> Aliases:
            without_rollout = with_rollout(aliases, None, outcome, verdict.reason)
            return store.with_champion(without_rollout, ongoing.builds[arm], reason=verdict.reason, run_id=run_id)

    elif verdict.decision == "stop":
        outcome = "stopped"

        def change(aliases: Aliases) -> Aliases:
            return with_rollout(aliases, None, outcome, verdict.reason)

    elif shares is not None:
        outcome = "shares changed"

        def change(aliases: Aliases) -> Aliases:
            new_rollout = ongoing.rollout.with_shares({arm: share for arm, share in shares.items() if arm != CHAMPION})
            return with_rollout(aliases, new_rollout, SHARES_CHANGED, verdict.reason)

    else:
        return ""

    def change_if_same(aliases: Aliases) -> Aliases:
        if aliases.rollout != ongoing.rollout or aliases.champion != ongoing.champion:
            raise AliasConflictError(
                f"the rollout of model {model!r} or its champion has changed since it was judged, so nothing was done; the verdict was "
                f"{verdict.decision!r}, because {verdict.reason}. Run the experiment again to judge what goes on now"
            )
        return change(aliases)

    store.change_aliases(model, change_if_same)
    return outcome
