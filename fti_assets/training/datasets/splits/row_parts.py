"""Which part of a dataset a row is in, as SQL, and why it is in none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import duckdb

from fti_assets.core.sql import quote, timestamp
from fti_assets.training.datasets.checks.rows import ROW_SPLIT
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.datasets.labels import label_columns
from fti_assets.training.datasets.queries import DIVIDED, OF_DIVIDED
from fti_assets.training.datasets.splits.hash_split import HashedParts, share_sql
from fti_assets.training.datasets.splits.split import Interval, TimeSplit


@dataclass(frozen=True)
class MatureRows:
    """The mature rows with a label, as ``TimeSplit`` asks for them."""

    connection: duckdb.DuckDBPyConnection
    table: str
    dataset: TrainingDataset
    cutoff: datetime

    def start_of_newest(self, share: float, before: datetime | None) -> datetime | None:
        """The prediction time at which the newest share of the rows begins, no later than ``before``."""
        execute, time = self.connection.execute, quote(self.dataset.view.time or "")
        rows = f"FROM {self.table} WHERE {has_labels(self.dataset)} AND {is_mature(self.dataset, self.cutoff)}"
        until = "" if before is None else f" AND {time} < {timestamp(before)}"
        [(count, oldest)] = execute(f"SELECT count(*), min({time}) {rows}").fetchall()
        nth = execute(
            f"SELECT {time} {rows}{until} ORDER BY 1 DESC LIMIT 1 OFFSET {max(1, int(share * count)) - 1}"
        ).fetchall()
        start: datetime | None = nth[0][0] if nth else oldest
        return start if start is None or before is None else min(start, before)


def has_labels(dataset: TrainingDataset) -> str:
    """The SQL of whether a row has all its labels."""
    return " AND ".join(f"{column} IS NOT NULL" for column in label_columns(dataset.view.labels).values())


def where_the_parts_lie(dataset: TrainingDataset, parts: Mapping[str, Interval]) -> str:
    """Where the parts of a time split lie and what to type if that does not suit the rows; nothing for a split by hash."""
    if not parts:
        return ""
    (_, train_end), (validation_start, validation_end), (test_start, test_end) = parts.values()
    maturity = dataset.view.maturity
    gap = f", with gaps of the label's maturity, {maturity}" if maturity else ""
    message = (
        f". Train is before {train_end}, validation from {validation_start} to {validation_end}, test from {test_start} to "
        f"{test_end}{gap}"
    )
    if isinstance(dataset.split, TimeSplit) and not dataset.split.has_shares:
        return f"{message}: write split=fti.TimeSplit(validation=0.2, test=0.2) for shares of the rows that there are"
    return f"{message}: take more history, or a label with a shorter maturity"


def split_sql(dataset: TrainingDataset, parts: Mapping[str, Interval]) -> str:
    """The SQL of the part that a row is in; null between the parts of a time split."""
    split, view = dataset.split, dataset.view
    if isinstance(split, HashedParts):
        share = share_sql(split.columns or view.spine.keys, split.seed)
        return (
            f"CASE WHEN {share} < {float(split.test)} THEN 'test' "
            f"WHEN {share} < {float(split.test + split.validation)} THEN 'validation' ELSE 'train' END"
        )
    assert view.time is not None
    time, cases = quote(view.time), []
    for part, (start, end) in parts.items():
        after = "" if start is None else f"{time} >= {timestamp(start)} AND "
        # A row exactly as old as the maturity is mature, so the test part holds its own end.
        before = "<=" if part == "test" else "<"
        cases.append(f"WHEN {after}{time} {before} {timestamp(end)} THEN '{part}'")
    return f"CASE {' '.join(cases)} END"


def is_mature(dataset: TrainingDataset, cutoff: datetime) -> str:
    """The SQL of whether a row is as old at the cutoff as its label takes."""
    if dataset.view.time is None:
        return "true"
    return f"{quote(dataset.view.time)} <= {timestamp(cutoff - dataset.view.maturity)}"


def part_or_reason(dataset: TrainingDataset, cutoff: datetime, is_sampled_out: str = "false") -> str:
    """The part that a row is in, or why it is in none."""
    return (
        f"CASE WHEN NOT ({is_mature(dataset, cutoff)}) THEN 'immature' WHEN NOT ({has_labels(dataset)}) THEN 'unlabelled' "
        f"WHEN {DIVIDED} THEN '{OF_DIVIDED}' WHEN {ROW_SPLIT} = 'train' AND {is_sampled_out} THEN 'sampled out' "
        f"ELSE coalesce({ROW_SPLIT}, 'between splits') END"
    )
