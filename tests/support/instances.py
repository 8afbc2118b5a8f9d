"""Dagster's instances of tests: what each of them would read or make anew is read or made once in a process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.support.memory_storages import EventsInMemory, RunsInMemory


@contextmanager
def instances_made_at_little_cost() -> Iterator[None]:
    """Within it, ephemeral instances have storages of ours, and Dagster's migrations, a hundred files, are read
    once, where each database on disk would read them."""
    read, known = ScriptDirectory.from_config, dict[Any, ScriptDirectory]()

    def from_config(config: Config) -> ScriptDirectory:
        place = (config.config_file_name, config.get_main_option("script_location"))
        if place not in known:
            known[place] = read(config)
        return known[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        patch.setattr("dagster._core.storage.runs.InMemoryRunStorage", RunsInMemory)
        patch.setattr("dagster._core.storage.event_log.InMemoryEventLogStorage", EventsInMemory)
        yield
