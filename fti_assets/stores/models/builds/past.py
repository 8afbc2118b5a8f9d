"""What was in production at an instant, by the history of a model's aliases."""

from collections.abc import Mapping
from datetime import datetime

from fti_assets.core.records import record
from fti_assets.core.times import instant
from fti_assets.stores.models.aliases import AliasChange, Aliases, RolloutChange


@record(frozen=True)
class Production:
    """What answered the requests to a model at an instant.

    ``change`` made the champion that there was, None if there was none yet; ``until`` is when the next one came, None if none did.
    ``arms`` are the builds beside it, by name, and ``shares`` the part of the keys that each answered.
    """

    model: str
    change: AliasChange | None
    until: str | None
    arms: Mapping[str, str]
    shares: Mapping[str, float]


def production_at(aliases: Aliases, at: datetime) -> Production:
    """What was in production at an instant; a change counts from its own instant on.

    Args:
        aliases: of the model, with their history.
        at: naive UTC.
    """
    # By their order in the file, which is that of the lock: two changes can have one instant.
    before = [change for change in aliases.history if instant(change.at) <= at]
    after = [change for change in aliases.history if instant(change.at) > at]
    rollouts = [change for change in aliases.rollouts if instant(change.at) <= at]
    latest = rollouts[-1] if rollouts and not _ended(rollouts[-1]) else None
    return Production(
        aliases.model,
        before[-1] if before else None,
        after[0].at if after else None,
        {} if latest is None else latest.builds,
        {} if latest is None else latest.shares,
    )


def _ended(change: RolloutChange) -> bool:
    """Whether nothing was left of a rollout after a change; one whose arm became champion goes on with the rest."""
    became, _, rest = change.event.partition(" became champion")
    return (
        change.event == "stopped"
        or change.event.startswith("promoted ")
        or (not rest and became in change.builds.values())
    )
