"""What was measured of a build, and how, as records."""

from fti_assets.core.records import record


@record(frozen=True)
class ThresholdRecord:
    """The probability from which on a binary model says yes; ``goal`` is what it makes largest on so many ``rows`` of the validation
    part, or empty if it was declared."""

    value: float
    goal: str = ""
    rows: int = 0
