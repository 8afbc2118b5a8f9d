"""The Dagster instance that a command tells of what it does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import dagster as dg


@contextmanager
def instance_of_home() -> Iterator[dg.DagsterInstance | None]:
    """The instance of ``DAGSTER_HOME``; None where that is not set.

    Raises:
        UsageError: the folder is not there, or is no absolute path.
    """
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        yield None
        return
    if not Path(home).is_absolute() or not Path(home).is_dir():
        raise click.UsageError(
            f"DAGSTER_HOME is {home!r}: make that folder and name it whole, or unset DAGSTER_HOME to keep no events"
        )
    with dg.DagsterInstance.get() as instance:
        yield instance


@contextmanager
def instance_to_run_in() -> Iterator[dg.DagsterInstance]:
    """The instance of ``DAGSTER_HOME``, else one that is gone when the command ends."""
    with instance_of_home() as instance:
        if instance is not None:
            yield instance
            return
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance
