"""Where a number lies."""

from fti_assets.core.records import record


@record(frozen=True)
class Interval:
    """From where to where a number lies, both included, and with what confidence."""

    low: float
    high: float
    confidence: float = 0.95

    @property
    def text(self) -> str:
        """As reasons and cards write it.

        >>> Interval(-0.01, 0.0325).text
        '95% interval -0.01 to 0.0325'
        """
        return f"{self.confidence * 100:g}% interval {self.low:.4g} to {self.high:.4g}"
