"""Rows that checks rejected and steps kept aside, as JSON in files beside the lake: finding them, and taking them out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from fti_assets.errors import DamagedError
from fti_assets.stores.files import guard_writes, paths_in, read_file, readable, write_atomically
from fti_assets.stores.places import Place

_WRITING_SECONDS = 60.0  # far longer than a step needs for some rejected rows


def rejected_rows(folder: Place, matches: Callable[[Mapping[str, Any]], bool], *, remove: bool) -> tuple[int, int]:
    """How many rows that were kept aside match, in how many files; with ``remove``, they are taken out.

    What a killed step had begun to write is deleted with them: its file, or the half line at the end of one.

    Raises:
        DamagedError: a file is not of rows as JSON.
        StoreError: one cannot be read, or not written.
    """
    rows = files = 0
    for file in paths_in(folder, "*.jsonl"):
        content = read_file(file) or b""
        lines = content.splitlines()
        whole = lines[:-1] if lines and _is_half_line(content, lines[-1]) else lines
        left = [line for line in whole if not (line.strip() and matches(_row(line, file)))]
        if len(left) < len(lines):
            rows, files = rows + len(lines) - len(left), files + 1
            if remove:
                with guard_writes(file):
                    write_atomically(file, b"".join(line + b"\n" for line in left))
    for leftover in paths_in(folder, ".*.tmp"):
        with readable(leftover), suppress(FileNotFoundError):  # its step is done
            if leftover.stat().st_mtime < time.time() - _WRITING_SECONDS:
                files += 1
                if remove:
                    with guard_writes(leftover):
                        leftover.unlink(missing_ok=True)
    return rows, files


def _is_half_line(content: bytes, last: bytes) -> bool:
    """Whether the last line of a file was begun and is no row: its writer was killed, and it may hold anybody's values."""
    if content.endswith(b"\n"):
        return False
    try:
        return not isinstance(json.loads(last), dict)
    except (ValueError, RecursionError):
        return True


def _row(line: bytes, file: Place) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise DamagedError(
            f"{file} keeps rejected rows aside, and a line of it is not a row: {line[:80]!r}. Look at it, then delete the file"
        )
    return row
