"""Splits: which rows train a model, which ones choose it, which ones judge it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.times import duration, naive_utc
from fti_assets.errors import DeclarationError, excerpt

SPLITS = ("train", "validation", "test")

Interval = tuple[datetime | None, datetime]
"""A half-open interval of prediction times, naive UTC: from the first, included, to the second, excluded."""


class TimedRows(Protocol):
    """The rows that a share is of, by prediction time."""

    def start_of_newest(self, share: float, before: datetime | None) -> datetime | None:
        """The time of the oldest of the newest rows before an instant, or of all, that are this share of all rows.

        At least one row counts; the oldest row of all stands for those that are missing. None if there is no row at all.
        """
        ...


@checked_arguments()
@dataclass(frozen=True, kw_only=True)
class TimeSplit:
    """Split by prediction time: the newest mature rows are the test part, those before them the validation part, all earlier ones the
    train part.

    Between the parts is a gap of the label's maturity, whose rows belong to no part: their labels were not yet known when the next part
    began. Source: purged splits with an embargo (Lopez de Prado, Advances in Financial
    Machine Learning, 2018, ch. 7).

    Args:
        validation: length of the validation part, a ``timedelta`` or text such as ``"14d"``; or a share of the mature rows with a
            label, such as ``0.2``, which suits data of any span. Rows of one instant stay together.
        test: length of the test part, or its share.

    Raises:
        DeclarationError: a length is no duration or is not above 0, or the shares leave nothing to train on.
    """

    validation: str | timedelta | float = 0.2
    test: str | timedelta | float = 0.2

    def __post_init__(self) -> None:
        shares = 0.0
        for part in ("validation", "test"):
            length = getattr(self, part)
            if isinstance(length, int | float):
                if not 0 < length < 1:
                    raise DeclarationError(
                        f"TimeSplit({part}={excerpt(length)}): give a length such as '14d', or a share of the rows between 0 and 1"
                    )
                shares += length
            elif not duration(length, what=f"TimeSplit({part}=)"):
                raise DeclarationError(f"TimeSplit({part}={length!r}) leaves no time to {part}: make it longer")
        if shares >= 1:
            raise DeclarationError(
                f"TimeSplit(validation={self.validation!r}, test={self.test!r}) leaves no row to train on: both shares "
                "together must be below 1"
            )

    @property
    def has_shares(self) -> bool:
        """Whether a part is a share of the rows, so that its boundaries depend on them."""
        return any(isinstance(length, float) for length in (self.validation, self.test))

    def boundaries(
        self,
        cutoff: datetime,
        maturity: timedelta,
        *,
        window: timedelta | None = None,
        rows: TimedRows | None = None,
    ) -> dict[str, Interval]:
        """Half-open intervals of prediction time for ``train``, ``validation`` and ``test``.

        Args:
            cutoff: the dataset's cutoff, UTC.
            maturity: how old a row must be for its label to be complete.
            window: how far back from the cutoff the dataset reaches; without it ``train`` starts at None.
            rows: the mature rows with a label; needed for shares.

        Raises:
            DeclarationError: the window leaves nothing to train on.

        >>> split = TimeSplit(validation="2d", test="3d")
        >>> for part, (start, end) in split.boundaries(datetime(2013, 6, 11), timedelta(days=1)).items():
        ...     print(part, start, end)
        train None 2013-06-03 00:00:00
        validation 2013-06-04 00:00:00 2013-06-06 00:00:00
        test 2013-06-07 00:00:00 2013-06-10 00:00:00
        """

        def start(length: str | timedelta | float, end: datetime, before: datetime | None) -> datetime:
            if isinstance(length, str | timedelta):
                return end - duration(length)
            assert rows is not None, "a share is one of rows"
            return rows.start_of_newest(length, before) or end

        cutoff = naive_utc(cutoff)
        test_end = cutoff - maturity
        test_start = start(self.test, test_end, None)
        validation_end = test_start - maturity
        validation_start = start(self.validation, validation_end, validation_end)
        # A gap of a maturity before each part: labels of the part before would else become known within it.
        train_end = validation_start - maturity
        train_start = None if window is None else cutoff - window
        if train_start is not None and train_start >= train_end and not self.has_shares:
            raise DeclarationError(
                f"a window of {window} holds no train rows: test, validation and three maturities of {maturity} take "
                f"{cutoff - train_end}; make the window longer or the parts shorter"
            )
        return {
            "train": (train_start, train_end),
            "validation": (validation_start, validation_end),
            "test": (test_start, test_end),
        }
