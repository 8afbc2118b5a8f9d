"""Whether what was requested ever began: a run that fails before a step of its own starts did so for Dagster's reasons.

A code server that does not answer in time, a launch that fails, a machine that takes no process: the request is made again,
after one minute, two, four, eight and sixteen. What fails in a step is the asset's own failure, and what somebody has
cancelled stays so.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import dagster as dg
from dagster import DagsterEventType

MOST_AGAIN = 5
"""How often a request that never began is made again."""

Launch = Literal["under way", "ended", "never began"]


def launch_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Launch:
    """What became of the launch of a run: it is under way, has ended for better or worse, or never began."""
    if not run.is_finished:
        return "under way"
    if run.status != dg.DagsterRunStatus.FAILURE:
        return "ended"
    return "ended" if instance.all_logs(run.run_id, of_type=DagsterEventType.STEP_START) else "never began"


def next_launch(requested: datetime, again: int) -> datetime:
    """When a request that never began may be made again.

    Args:
        requested: when it was made last.
        again: how often it was made again so far.

    >>> str(next_launch(datetime(2024, 1, 1), again=2))
    '2024-01-01 00:04:00'
    """
    return requested + timedelta(minutes=2**again)
