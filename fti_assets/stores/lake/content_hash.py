"""The content hash of rows, which is their data version: the same in any order, and added up without reading all again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from fti_assets.core.sql import quoted

_HASH_VERSION = "1"


def content_sums(types: Iterable[str]) -> str:
    """The SQL of what a content hash is made of: the number of rows and two sums of their hashes, in any order."""
    row = ", ".join(quoted(column) for column in sorted(types))
    return f"count(*), coalesce(sum(hash({row})), 0), coalesce(sum(hash(hash({row}), 1)), 0)"


def data_version(types: Mapping[str, str], sums: Sequence[int]) -> str:
    """The data version of rows: their content hash, with its own version in front.

    Args:
        types: the DuckDB type of each column.
        sums: what ``content_sums`` gave.
    """
    schema = [[column, types[column]] for column in sorted(types)]
    digest = hashlib.sha256(json.dumps([schema, *sums]).encode()).hexdigest()
    return f"{_HASH_VERSION}.{digest[:24]}"
