"""Samples of train rows: which of them a dataset keeps, by a pinned hash, and what was there before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import SampleRecord
from fti_assets.core.sql import literal
from fti_assets.core.types import ColumnType
from fti_assets.errors import DataError, DeclarationError, excerpt, one_of
from fti_assets.training.datasets.splits.hash_split import HASH, share_sql

_NEGATIVE, _BINARY = "0", ("0", "1")
_MOST_CLASSES = 20


@checked_arguments()
@dataclass(frozen=True, kw_only=True)
class Sample:
    """Keep a share of the train rows of a dataset; validation and test stay complete, so metrics are those of the full population.

    A hash of the row's keys, its prediction time and the seed decides which rows stay, so they stay when rows are added. If classes
    have their own shares, the base rate of the train rows changes: ``data.train.weight`` has the weights that undo this, so a
    model's probabilities stay calibrated. Exactly one of ``rows``, ``negatives`` and ``classes`` is given.

    Args:
        rows: the share of all train rows that stay.
        negatives: the share that stays of the rows whose label is 0 or false; all other rows stay.
        classes: the share that stays of each named class, ``{"on time": 0.1}``; all other rows stay.
        seed: another seed keeps other rows, at least 0.

    Raises:
        DeclarationError: there is not exactly one of the three, or a share is not above 0 and below 1.

    >>> Sample(negatives=0.1).shares
    {'0': 0.1}
    """

    rows: float | None = None
    negatives: float | None = None
    classes: Mapping[str, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        ways = [name for name in ("rows", "negatives", "classes") if getattr(self, name) is not None]
        if len(ways) != 1:
            raise DeclarationError(
                f"a sample is given by one of rows=, negatives= and classes=, not by {' and '.join(ways) or 'none'}: write such as "
                "fti.Sample(negatives=0.1)"
            )
        wrong = {name: share for name, share in self.shares.items() if not 0 < share < 1}
        if wrong or not self.shares:
            raise DeclarationError(
                f"Sample({ways[0]}={excerpt(getattr(self, ways[0]))}): give a share above 0 and below 1, such as 0.1; what is to "
                "stay whole is left out"
            )
        if self.seed < 0:
            raise DeclarationError(f"Sample(seed={excerpt(self.seed)}): give a whole number, 0 or more")

    @property
    def shares(self) -> dict[str, float]:
        """The share that stays, by class; under the empty text, that of all rows."""
        if self.rows is not None:
            return {"": self.rows}
        if self.negatives is not None:
            return {_NEGATIVE: self.negatives}
        return dict(sorted((self.classes or {}).items()))


def is_sampled_out(sample: Sample | None, identity: Sequence[str], label: str, kind: ColumnType) -> str:
    """The SQL of whether a train row is left out.

    Args:
        identity: the columns that name a row.
        label: the SQL of its label.
        kind: the label's type.
    """
    if sample is None:
        return "false"
    share = share_sql(identity, sample.seed, purpose="sample")
    if sample.rows is not None:
        return f"{share} >= {float(sample.rows)!r}"
    cases = " ".join(f"WHEN {literal(name)} THEN {share_of!r}" for name, share_of in sample.shares.items())
    return f"{share} >= CASE {class_sql(label, kind)} {cases} ELSE 1.0 END"


def class_sql(label: str, kind: ColumnType) -> str:
    """The SQL of a label's class as text, as a model names it: whole numbers without a point."""
    if kind == "text":
        return label
    if kind == "boolean":
        return f"{label}::INTEGER::VARCHAR"
    if kind == "integer":
        return f"{label}::VARCHAR"
    whole = f"isfinite({label}::DOUBLE) AND {label} = trunc({label}) AND abs({label}) < 9e18"
    return f"CASE WHEN {whole} THEN {label}::BIGINT::VARCHAR ELSE {label}::DOUBLE::VARCHAR END"


def sample_record(
    connection: duckdb.DuckDBPyConnection,
    sample: Sample,
    train: str,
    label: str,
    kind: ColumnType,
    is_out: str,
    *,
    what: str,
) -> SampleRecord:
    """What a sample keeps of the train rows, counted.

    Args:
        train: the SQL of all train rows, as a table.
        label: the SQL of a row's label.
        is_out: the SQL of whether a row is left out.
        what: the dataset, for errors.

    Raises:
        DataError: nothing is left of a class, a class is none of the train rows', or a label of negatives is neither 0 nor 1.
    """  # fmt: skip
    name = "''" if sample.rows is not None else class_sql(label, kind)
    counts = {
        str(one): (before, after)
        for one, before, after in connection.execute(
            f"SELECT {name}, count(*), count(*) FILTER (NOT ({is_out})) FROM {train} GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()
    }
    strange = [one for one in counts if one not in _BINARY]
    if sample.negatives is not None and strange:
        raise DataError(
            f"{what} keeps a sample of its negatives, whose label is 0 or false, but it has the labels {one_of(strange[:_MOST_CLASSES])}: "
            f"write sample=fti.Sample(classes={{{strange[0]!r}: 0.1}})"
        )
    if unknown := [one for one in sample.shares if one not in counts]:
        raise DataError(
            f"{what} keeps a sample of the class {one_of(unknown)}, which no train row has: there is "
            f"{one_of([*counts][:_MOST_CLASSES])}"
        )
    if absent := [one for one in sample.shares if not counts[one][1]]:
        of_class = f" of class {absent[0]!r}" if absent[0] else ""
        raise DataError(
            f"{what} keeps none of {counts[absent[0]][0]} train rows{of_class} with a share of {sample.shares[absent[0]]}: "
            "give a larger share"
        )
    return SampleRecord(
        HASH,
        sample.seed,
        sample.shares,
        {one: counts[one][0] for one in sample.shares},
        {one: counts[one][1] for one in sample.shares},
    )
