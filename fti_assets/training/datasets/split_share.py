"""Which part of a random split a row is in: a hash of its keys that is fixed here, the same under every version of everything.

The share of a row is the first 52 bits of the MD5 of its seed and keys as text, as a number from 0 to 1. DuckDB's own ``hash()``
changed between its versions, and with it every split.
"""

from __future__ import annotations

from collections.abc import Sequence

from fti_assets.core.sql import quoted

HASH = "md5-52"
"""The name of this hash, which a dataset's manifest has beside its seed and shares."""

_DIGITS = 13  # hexadecimal ones: 52 bits, which a float64 has all


def share_sql(keys: Sequence[str], seed: int) -> str:
    """The SQL of a row's share, ``0 <= share < 1``.

    Args:
        keys: the spine's key columns, in their order; each counts as DuckDB writes it as text, with its length in bytes.
        seed: a whole number.
    """
    texts = [f"strlen({quoted(key)}::VARCHAR), ':', {quoted(key)}::VARCHAR" for key in keys]
    text = f"concat({int(seed)}, '|', {', '.join(texts)})"
    return f"(('0x' || md5({text})[:{_DIGITS}])::UBIGINT::DOUBLE / {float(16**_DIGITS)!r})"
