"""What the bank keeps beside its stream: a file of authorizations and one of chargebacks for each day, and its cards and terminals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pandas as pd

from examples.card_fraud.simulator import Bank

AUTHORIZATION = ["authorization", "card", "terminal", "amount", "at", "stored_at"]
CHARGEBACK = ["authorization", "terminal", "charged_back_at", "is_fraud"]


class Archive(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A folder of Parquet files.

    Args:
        folder: where they are.
    """

    folder: str

    def write(self, bank: Bank) -> None:
        """Write all that the simulator gave."""
        root = Path(self.folder)
        for name, time, columns in (
            ("authorizations", "at", AUTHORIZATION),
            ("chargebacks", "charged_back_at", CHARGEBACK),
        ):
            rows: pd.DataFrame = getattr(bank, name)[columns]
            (root / name).mkdir(parents=True, exist_ok=True)
            for day, of_day in rows.groupby(rows[time].dt.strftime("%Y-%m-%d")):
                of_day.to_parquet(root / name / f"{day}.parquet", index=False)
        for name in ("cards", "terminals"):
            getattr(bank, name).to_parquet(root / f"{name}.parquet", index=False)

    def days(self, name: str, keys: Sequence[str]) -> pd.DataFrame:
        """The rows of some days; of one that has none there is no file."""
        files = [Path(self.folder) / name / f"{key}.parquet" for key in keys]
        return pd.concat([pd.read_parquet(file) for file in files if file.exists()])

    def table(self, name: str) -> pd.DataFrame:
        """All cards, or all terminals."""
        return pd.read_parquet(Path(self.folder) / f"{name}.parquet")
