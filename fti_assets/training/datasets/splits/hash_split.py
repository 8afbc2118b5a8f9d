"""Splits by the hash of columns: a row stays in its part whatever rows come, in whatever order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import RandomParts
from fti_assets.core.sql import literal, quote
from fti_assets.errors import DeclarationError, excerpt


@dataclass(frozen=True, kw_only=True)
class HashedParts:
    """What the splits by hash have in common: the shares of the parts, and the columns whose hash decides."""

    validation: float = 0.2
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not (0 <= self.validation < 1 and 0 < self.test < 1 and self.validation + self.test < 1):
            raise DeclarationError(
                f"{name}(validation={excerpt(self.validation)}, test={excerpt(self.test)}): give shares of the rows, such as "
                "0.2, with test above 0 and both together below 1"
            )
        if not isinstance(self.seed, int) or self.seed < 0:
            raise DeclarationError(f"{name}(seed={excerpt(self.seed)}): give a whole number, 0 or more")

    @property
    def columns(self) -> tuple[str, ...]:
        """The spine's columns whose hash decides; none for all its keys."""
        return ()

    @property
    def record(self) -> RandomParts:
        """The split as a manifest has it."""
        return RandomParts(HASH, self.seed, self.test, self.validation, self.columns)


@checked_arguments()
@dataclass(frozen=True, kw_only=True)
class RandomSplit(HashedParts):
    """Split at random, for rows without an event time.

    A hash of the spine's keys and the seed decides which part a row is in, so it stays there when rows are added.

    Args:
        validation: share of the rows in the validation part, at least 0.
        test: share of the rows in the test part, above 0.
        seed: another seed gives other parts, at least 0.

    Raises:
        DeclarationError: a share is out of range, or the shares leave nothing to train on.
    """


@checked_arguments()
@dataclass(frozen=True, kw_only=True)
class HashSplit(HashedParts):
    """Split by the hash of key columns, for rows with or without an event time.

    A key's part depends only on the key and the seed, not on the order of the rows or on new rows. All rows of one key are in one part.
    With an event time, test rows are as old as train rows: the metrics then show how a model does on other keys, not at later times,
    which ``TimeSplit`` shows.

    Args:
        validation: share of the keys in the validation part, at least 0.
        test: share of the keys in the test part, above 0.
        seed: another seed gives other parts, at least 0.
        keys: some of the spine's keys; all by default.

    Raises:
        DeclarationError: a share is out of range, the shares leave nothing to train on, or a key is named twice.

    >>> HashSplit(test=0.1, keys=["customer_id"]).columns
    ('customer_id',)
    """

    keys: Sequence[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_columns("HashSplit(keys=)", self.columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys whose hash decides; none for all the spine's keys."""
        return tuple(self.keys or ())


@checked_arguments()
@dataclass(frozen=True, kw_only=True)
class GroupSplit(HashedParts):
    """Split by entity: no customer, shop or machine is in two parts, so the model is tested on entities that it has not seen.

    The hash of the entity decides, as in ``HashSplit``; the entity is any column of the spine, which need not be a key, and the
    dataset keeps it beside its rows. As with ``HashSplit``, test rows are as old as train rows.

    Args:
        by: the column that names the entity, or several that name it together.
        validation: share of the entities in the validation part, at least 0.
        test: share of the entities in the test part, above 0.
        seed: another seed gives other parts, at least 0.

    Raises:
        DeclarationError: a share is out of range, the shares leave nothing to train on, or a column is named twice.

    >>> GroupSplit(by="customer_id").columns
    ('customer_id',)
    """

    by: str | Sequence[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_columns("GroupSplit(by=)", self.columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that name the entity."""
        return (self.by,) if isinstance(self.by, str) else tuple(self.by)


def _check_columns(what: str, columns: Sequence[str]) -> None:
    twice = [one for one in columns if columns.count(one) > 1]
    if twice:
        raise DeclarationError(f"{what} names {twice[0]!r} more than once: name each column once")


HASH = "md5-52"
"""The name of the hash of a split, which a dataset's manifest has beside its seed and shares."""

_DIGITS = 13  # hexadecimal ones: 52 bits, which a float64 has all


def share_sql(keys: Sequence[str], seed: int, *, purpose: str = "") -> str:
    """The SQL of a row's share, ``0 <= share < 1``: the first 52 bits of the MD5 of its seed and keys as text.

    Args:
        keys: the spine's key columns, in their order; each counts as DuckDB writes it as text, with its length in bytes.
            Numbers that are equal count as one: -0.0 as 0.0.
        seed: a whole number.
        purpose: what the share is for, where that is no split: shares of two purposes are independent.
    """
    # DuckDB's own hash() changed between its versions, and with it every split; MD5 is the same under every version.
    texts = [f"strlen({text}), ':', {text}" for text in map(_text_sql, keys)]
    text = f"concat({literal(f'{purpose}{int(seed)}')}, '|', {', '.join(texts)})"
    return f"(('0x' || md5({text})[:{_DIGITS}])::UBIGINT::DOUBLE / {float(16**_DIGITS)!r})"


def _text_sql(key: str) -> str:
    """A key as text, the same for floats that DuckDB calls equal: the sign of a zero or of a NaN tells none apart."""
    text = f"{quote(key)}::VARCHAR"
    unsigned = f"CASE {text} WHEN '-0.0' THEN '0.0' WHEN '-nan' THEN 'nan' ELSE {text} END"
    return f"CASE WHEN typeof({quote(key)}) IN ('DOUBLE', 'FLOAT') THEN {unsigned} ELSE {text} END"
