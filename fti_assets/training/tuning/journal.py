"""Trials that are done, written down one by one, so that a run goes on where one that was killed ended."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from fti_assets.core.records import from_plain
from fti_assets.errors import StoreError
from fti_assets.stores.files import guard_writes
from fti_assets.stores.locks import hold_lock
from fti_assets.training.tuning.study import TrialRecord

_log = logging.getLogger(__name__)


class Journal:
    """The finished trials of a study that is under way, as JSON lines in a file; without a file nothing is kept.

    >>> Journal(None).trials
    ()
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.trials: tuple[TrialRecord, ...] = () if file is None else tuple(_trials_in(file))

    def add(self, trial: TrialRecord) -> None:
        """Write a trial down; where that fails the study goes on, and can no longer be resumed."""
        if self._file is None:
            return
        line = json.dumps(asdict(trial), allow_nan=False) + "\n"  # type: ignore[call-overload]
        try:
            with guard_writes(self._file), self._file.open("a") as lines:
                lines.write(line)
                lines.flush()
                os.fsync(lines.fileno())
        except StoreError as error:
            _log.warning("trial %d is not written down, so a run that is killed begins again: %s", trial.number, error)
            self._file = None


@contextmanager
def open_journal(file: Path) -> Iterator[Journal]:
    """The journal of one study; where another run makes the same study, or the folder cannot be written, one that keeps nothing."""
    lock = file.with_suffix(".lock")
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(lock, timeout=0))
        except StoreError as error:
            _log.warning("the study is not written down, so a run that is killed begins again: %s", error)
            yield Journal(None)
            return
        # A last line that was being written when its process ended is cut off before more is written behind it.
        journal = Journal(file)
        _keep_whole_lines(file, len(journal.trials))
        try:
            yield journal
        finally:
            lock.unlink(missing_ok=True)


def forget_journal(file: Path) -> None:
    """Remove a journal whose study lies beside a build."""
    with suppress(OSError):
        file.unlink(missing_ok=True)
        file.parent.rmdir()


def _trials_in(file: Path) -> Iterator[TrialRecord]:
    try:
        lines = file.read_text().splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        if not line.endswith("\n"):
            return
        try:
            yield from_plain(TrialRecord, json.loads(line))
        except ValueError:
            return


def _keep_whole_lines(file: Path, count: int) -> None:
    if not file.exists():
        return
    with guard_writes(file):
        lines = file.read_bytes().splitlines(keepends=True)
        if len(lines) > count:
            with file.open("r+b") as writable:
                writable.truncate(sum(map(len, lines[:count])))
