"""Answers of an entity in the files of prediction logs, which are not in the lake yet."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fti_assets.core.sql import literal
from fti_assets.core.times import instant
from fti_assets.forget.carriers import Values, spine_values
from fti_assets.inference.log.waiting import OUTSIDE
from fti_assets.inference.serving.log.files import CLOSED, LogFile, closed_files, open_files
from fti_assets.inference.serving.log.lines import Redaction
from fti_assets.orchestration.declaration import Declaration
from fti_assets.stores.files import guard_writes, is_folder, paths_in, readable, write_atomically
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.models.model import Servable

REQUEST_COLUMN = "request"
_LOOK_SECONDS = 0.2
_WRITING_SECONDS = 60.0  # far longer than writing one file again takes


@dataclass(frozen=True)
class LogFolder:
    """The files of one model's log, and the fields of its requests that hold the entity's key, each part as text."""

    model: str
    folder: Path
    values: Sequence[Values]

    def closed_files(self) -> list[LogFile]:
        """The files that nobody writes any more, those of lines outside the partitions included."""
        return [
            *closed_files(self.folder),
            *(LogFile(path) for path in paths_in(self.folder / OUTSIDE, f"*{CLOSED}")),
        ]

    def open_files(self) -> list[LogFile]:
        """The files that are being written; those that a crash left are closed."""
        closed_files(self.folder)
        return [LogFile(path) for path in open_files(self.folder)]

    def half_written(self) -> list[Path]:
        """What is written again, and what a process that was killed had begun to write."""
        return [*paths_in(self.folder, ".*.tmp"), *paths_in(self.folder / OUTSIDE, ".*.tmp")]

    def holds(self, line: bytes) -> bool:
        """Whether a line is of a request of the entity."""
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            # Nobody can read it, so its bytes decide.
            return any(all(text.encode() in line for text in values.values()) for values in self.values)
        request = entry.get(REQUEST_COLUMN) if isinstance(entry, dict) else None
        return isinstance(request, dict) and any(_has(request, values) for values in self.values)

    def lines(self, file: LogFile) -> int:
        """How many lines of a file are the entity's."""
        return sum(map(self.holds, file.lines()))


def log_folders(declarations: Sequence[Declaration], group: str, key: Values, folder: Path) -> list[LogFolder]:
    """The logs of the models whose requests bring a group's key, declared or not."""
    results = []
    for model in dict.fromkeys(one for one in declarations if isinstance(one, Servable)):
        request_keys = list(spine_values(model.view, group, key))
        if request_keys and is_folder(folder / model.name):
            results.append(LogFolder(model.name, folder / model.name, request_keys))
    return results


def holding_files(folders: Sequence[LogFolder]) -> list[Path]:
    """The files that hold the entity, open ones and half-written ones too."""
    return [path for one in folders for path in _files_with(one, [*one.closed_files(), *one.open_files()])] + [
        path for one in folders for path in one.half_written() if one.lines(LogFile(path))
    ]


def line_counts(folders: Sequence[LogFolder]) -> dict[str, tuple[int, int]]:
    """Of each model, how many lines are the entity's, in how many files; models without one are left out."""
    return _counts(folders, lambda one: [one.lines(file) for file in [*one.closed_files(), *one.open_files()]])


def await_closed(folders: Sequence[LogFolder], seconds: float) -> None:
    """Wait until the files that hold the entity are closed by those who write them, which they soon are."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(_files_with(one, one.open_files()) for one in folders):
        time.sleep(_LOOK_SECONDS)


def take_out_of_files(lake: Lake, folders: Sequence[LogFolder]) -> dict[str, tuple[int, int]]:
    """Write closed files again without the entity's lines; of each model how many lines, of how many files.

    Raises:
        StoreError: one cannot be read, or not written.
    """
    # Under the lock that a take-in commits under: it sees that what it has read is not what is there.
    with lake.store.lock():
        for one in folders:
            for path in one.half_written():
                if _age_seconds(path) > _WRITING_SECONDS:
                    with guard_writes(path):
                        path.unlink(missing_ok=True)
        return _counts(folders, lambda one: [_without(one, file) for file in one.closed_files()])


def in_request(values: Values, types: Mapping[str, str]) -> str:
    """A predicate over a log's table: the request's fields hold the key, in clear or hashed."""
    parts = []
    for column, text in values.items():
        pointer = "/" + column.replace("~", "~0").replace("/", "~1")
        own_value = f"json_extract_string({REQUEST_COLUMN}, {literal(pointer)})"
        kind = types.get(column, "VARCHAR")
        value_list = ", ".join(map(literal, [text, *_hashes(column, text)]))
        same = f"TRY_CAST({own_value} AS {kind}) = TRY_CAST({literal(text)} AS {kind})"
        parts.append(f"({own_value} IN ({value_list}) OR coalesce({same}, false))")
    return " AND ".join(parts)


def comparable(value: Any) -> str:
    """One text for what JSON, the command line and the lake write in different ways: 17, 17.0 and "17"; instants."""
    text = str(value)
    with suppress(ValueError):
        return str(int(text.removesuffix(".0")))
    with suppress(ValueError, OverflowError):
        return instant(text).isoformat(timespec="microseconds")
    return text.lower() if text.lower() in ("true", "false") else text


def _has(request: Mapping[str, Any], values: Values) -> bool:
    return all(
        column in request
        and (comparable(request[column]) == comparable(text) or request[column] in _hashes(column, text))
        for column, text in values.items()
    )


def _hashes(column: str, text: str) -> list[str]:
    """What a value is hashed to by those who answer, whatever type a request had it in; none without the secret."""
    redaction = Redaction.of([column])
    candidates: list[Any] = [text, *({"true": [True], "false": [False]}.get(text, []))]
    for kind in (int, float):
        with suppress(ValueError):
            candidates.append(kind(text))
    hashes = [redaction.redact({column: candidate})[column] for candidate in candidates]
    return [one for one in hashes if one is not None]


def _files_with(one: LogFolder, files: Sequence[LogFile]) -> list[Path]:
    return [file.path for file in files if any(map(one.holds, file.lines()))]


def _counts(folders: Sequence[LogFolder], lines_of: Callable[[LogFolder], Sequence[int]]) -> dict[str, tuple[int, int]]:
    results = {}
    for one in folders:
        lines = [number for number in lines_of(one) if number]
        if lines:
            results[one.model] = (sum(lines), len(lines))
    return results


def _without(one: LogFolder, file: LogFile) -> int:
    """Write a file again without the entity's lines; how many they were."""
    lines = list(file.lines())
    other_lines = [line for line in lines if not one.holds(line)]
    if len(other_lines) < len(lines):
        with guard_writes(file.path):
            write_atomically(file.path, b"".join(other_lines))
    return len(lines) - len(other_lines)


def _age_seconds(path: Path) -> float:
    with readable(path), suppress(FileNotFoundError):
        return time.time() - os.stat(path).st_mtime
    return 0.0
