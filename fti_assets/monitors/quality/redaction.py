"""Slices by what some prediction log keeps out of tables: figures of them are measured, and shown without their values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitoring.quality.quality import Quality, slicings
from fti_assets.orchestration.declaration import Declaration
from fti_assets.training.judging.slices import columns_of, slices_key

MASK = "(redacted)"


def redacted_by_logs(models: Iterable[Declaration]) -> frozenset[str]:
    """The features and fields that the prediction logs of some models redact."""
    logs = (user for model in models for user in model.users.values() if isinstance(user, PredictionLog))
    return frozenset(name for log in logs for name in log.redact)


def mask_slice(name: str, rules: Sequence[Quality], hidden: Collection[str]) -> str:
    """The name of a slice of some rules, ``<columns>=<values>``, without the values if one of the columns is hidden.

    Which slicing it is of is told by the columns that the rules name; what the values look like does not matter.
    """
    for by in slicings(rules):
        if name.startswith(f"{slices_key(by)}=") and not set(columns_of(by)).isdisjoint(hidden):
            return f"{slices_key(by)}={MASK}"
    return name
