"""What the assertions of this package raise: an ``AssertionError`` with the rows that show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

EXAMPLE_ROWS = 5


class AssertionWithRows(AssertionError):
    """A failed assertion that keeps the rows that show why.

    Args:
        message: what is wrong.
        rows: the rows that show it, of which the message shows the first few.
    """

    def __init__(self, message: str, rows: pd.DataFrame) -> None:
        example = f"\n{rows.head(EXAMPLE_ROWS).to_string(index=False)}" if len(rows) else ""
        super().__init__(f"{message}{example}")
        self.rows = rows


class RowsRefused(AssertionWithRows):
    """A group's rows break a rule, so a run would have stored nothing."""


class LeakFound(AssertionWithRows):
    """A feature changes when what became visible only later is taken away."""


class ParityBroken(AssertionWithRows):
    """The predictor sees or answers something else than the offline join and the graph."""
