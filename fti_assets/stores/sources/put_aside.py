"""Which files of a folder hold no rows, since a writer put them aside: by the convention of Hive and Spark."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase


def is_put_aside(file: str, pattern: str) -> bool:
    """Whether a folder or file in a path begins with ``_`` or ``.``, such as ``_temporary/`` and ``_delta_log/``.

    A partition's folder may begin with ``_`` (``_day=2013-01-01``); a name that the pattern itself spells out is meant.

    Args:
        file: a path below the folder that is searched.
        pattern: the pattern that found it.

    >>> is_put_aside("_temporary/0/part.parquet", "landing/**/*.parquet")
    True
    >>> is_put_aside("_part.parquet", "landing/_*.parquet")
    False
    """
    exceptions = [part for part in pattern.split("/") if part.startswith(("_", "."))]
    return any(
        (part.startswith(".") or (part.startswith("_") and "=" not in part) or part.endswith("._COPYING_"))
        and not any(fnmatchcase(part, one) for one in exceptions)
        for part in file.split("/")
    )


def spelled_folder(pattern: str) -> str:
    """The part of a pattern before its first wildcard, up to a slash: whatever it is called, it is meant.

    >>> spelled_folder("_landing/2024*/x.parquet")
    '_landing/'
    """
    before = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return before[: before.rfind("/") + 1]
