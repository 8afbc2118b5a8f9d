"""Starting, changing and ending a rollout, in the file that names the champion and under its lock."""

from collections.abc import Mapping

from fti_assets.core.rollouts.rollout import CHAMPION, Rollout, missing_fields
from fti_assets.errors import AliasConflictError, StoreError, one_of
from fti_assets.stores.models.aliases import Aliases, with_rollout
from fti_assets.stores.models.store import ModelStore

SHARES_CHANGED = "shares changed"
"""The event of a rollout whose arms are what they were, with other shares."""


def start_rollout(store: ModelStore, model: str, rollout: Rollout) -> Aliases:
    """Let builds answer requests beside the champion of a model.

    Raises:
        NoChampionError: there is none.
        AliasConflictError: another rollout goes on; nothing was changed.
        StoreError: the rollout is none, or one of its builds was rejected or rolled back, is damaged, not there or the champion.
    """
    rollout.check()
    request = store.champion(model).view.request
    fields = [column.name for column in request]
    if unknown := [name for name in rollout.key if name not in fields]:
        raise StoreError(
            f"a request to model {model!r} has no field {unknown[0]!r:.100} by which its arm could be told: "
            f"there are {one_of(sorted(fields))}"
        )
    for arm in rollout.arms:
        if lacks := missing_fields(request, store.manifest(model, arm.build).view.request):
            raise StoreError(
                f"{model}/{arm.build} cannot be an arm: it takes {one_of(lacks)}, which the requests to the champion do not bring"
            )

    def change(aliases: Aliases) -> Aliases:
        if aliases.rollout is not None:
            raise AliasConflictError(
                f"model {model!r} has a rollout already, since {aliases.rollout.started_at}: end it first, with fti rollout stop"
            )
        for arm in rollout.arms:
            if arm.build == aliases.champion or arm.build in aliases.rolled_back:
                state = "the champion itself" if arm.build == aliases.champion else "rolled back"
                raise StoreError(f"{model}/{arm.build} cannot be an arm: it is {state}")
            store.check_servable(model, arm.build, "an arm")
        return with_rollout(aliases, rollout, "started", rollout.reason)

    return store.change_aliases(model, change)


def change_shares(store: ModelStore, model: str, shares: Mapping[str, float], *, reason: str) -> Aliases:
    """Give the arms of a rollout other shares.

    Raises:
        StoreError: there is no rollout or no such arm, or the shares are none; nothing was changed.
    """
    return store.change_aliases(
        model, lambda aliases: with_rollout(aliases, rollout_of(aliases).with_shares(shares), SHARES_CHANGED, reason)
    )


def stop_rollout(store: ModelStore, model: str, *, reason: str) -> Aliases:
    """Let the champion answer everything again.

    Raises:
        StoreError: there is no rollout.
    """

    def change(aliases: Aliases) -> Aliases:
        rollout_of(aliases)
        return with_rollout(aliases, None, "stopped", reason)

    return store.change_aliases(model, change)


def promote_arm(store: ModelStore, model: str, arm: str, *, reason: str, by: str = "") -> Aliases:
    """Make the build of an arm champion and end the rollout, in one change.

    Raises:
        StoreError: there is no rollout or no such arm, or its build cannot be champion; nothing was changed.
    """

    def change(aliases: Aliases) -> Aliases:
        builds = {one.name: one.build for one in rollout_of(aliases).arms}
        if arm not in builds:
            raise StoreError(f"the rollout of model {model!r} has no arm {arm!r:.100}: there are {one_of(builds)}")
        without_rollout = with_rollout(aliases, None, f"promoted {arm}", reason)
        return store.with_champion(without_rollout, builds[arm], reason=reason, by=by)

    return store.change_aliases(model, change)


def rollout_of(aliases: Aliases) -> Rollout:
    """The rollout that goes on.

    Raises:
        StoreError: there is none.
    """
    if aliases.rollout is None:
        raise StoreError(f"model {aliases.model!r} has no rollout: start one, with fti rollout start")
    return aliases.rollout


def shares_of(rollout: Rollout) -> dict[str, float]:
    """The share of each arm, the champion's too; a shadow takes nothing from it."""
    shares = {arm.name: arm.share for arm in rollout.arms}
    return {CHAMPION: 1.0 if rollout.kind == "shadow" else max(0.0, 1.0 - sum(shares.values()))} | shares
