"""What a model answers."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(slots=True)  # not frozen, which takes six times as long to make
class Prediction:
    """One answer.

    ``value`` is the probability (binary), a dict of class to probability (multiclass) or the value (regression);
    ``features`` what the model saw, raw, None where missing; ``missing`` the group tables that brought no row or
    a stale one; ``at`` the prediction time, naive UTC. ``unknown`` names the features with a category that the model
    did not learn, which it treats as missing, and ``out_of_schema`` the fields with a value that the spine's schema would refuse.
    ``ages`` says of each group's row how many seconds before ``at`` its event time is, a stale row's too; None without a row, and for
    a lookup. A group that is joined more than once stands there by the spine's columns, as ``airports_v1[dest]``.
    ``arm`` says as what the build answered; ``request_id`` is what ``fti why`` is asked by, empty where nothing is logged.
    """

    value: float | dict[str, float]
    features: dict[str, Any]
    missing: tuple[str, ...]
    at: datetime
    model: str
    build: str
    unknown: tuple[str, ...] = ()
    out_of_schema: tuple[str, ...] = ()
    ages: dict[str, float | None] = field(default_factory=dict)
    arm: str = "champion"
    request_id: str = ""
