"""What an environment has that main has not: partitions with their rows and versions, builds, champions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fti_assets.environments.opening import open_environment
from fti_assets.errors import count_of
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.branches.branch import Branch
from fti_assets.stores.lake.branches.comparing import PartitionChange, partition_changes
from fti_assets.stores.models.branches import ModelChange, model_changes

_MOST_ROWS = 10


@dataclass(frozen=True)
class Difference:
    """An environment beside main."""

    about: Branch
    partitions: Sequence[PartitionChange]
    models: Sequence[ModelChange]

    @property
    def is_empty(self) -> bool:
        """Whether main has all that was made in the environment."""
        return not self.models and all(one.is_in_main for one in self.partitions)

    @property
    def plain(self) -> dict[str, Any]:
        """It as JSON takes it."""
        return {
            "environment": self.about.name,
            "snapshot": self.about.snapshot,
            "partitions": [_plain(one) for one in self.partitions],
            "models": [
                {
                    "model": one.model,
                    "builds": {build.reference: build.status for build in one.builds},
                    "champion": one.champion,
                    "champion_of_main": one.main_champion,
                }
                for one in self.models
            ],
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if not self.partitions and not self.models:
            yield f"nothing was run in the environment {self.about.name!r}"
            return
        for table in dict.fromkeys(one.table for one in self.partitions):
            its = [one for one in self.partitions if one.table == table]
            counts = ", ".join(
                f"{number} {word}"
                for word in ("new", "changed", "same rows", "in main", "CHANGED IN MAIN TOO")
                if (number := sum(word_of(one) == word for one in its))
            )
            yield f"{table.full_name}: {counts}"
            for one in its[:_MOST_ROWS]:
                before = "-" if one.main is None else f"{count_of(one.main.rows, 'row')} {short(one.main.data_version)}"
                after = f"{count_of(one.own.rows, 'row')} {short(one.own.data_version)}"
                yield f"  {one.partition}  {word_of(one)}  main {before}  here {after}"
            if len(its) > _MOST_ROWS:
                yield f"  and {len(its) - _MOST_ROWS} more partitions"
        for model in self.models:
            yield f"model {model.model}: {count_of(len(model.builds), 'build')}, champion {model.champion}, in main {model.main_champion}"
            for build in model.builds:
                yield f"  {build.reference} ({build.status})"


def difference(stores: Stores, name: str) -> Difference:
    """Compare an environment with main as it is now.

    Raises:
        NotMaterializedError: there is none of that name.
        DamagedError: main was reset since.
    """
    with open_environment(stores, name) as env:
        partitions = partition_changes(env.own, env.main, env.about)
        mains, own = env.main_stores.model_store(), env.own_stores.model_store()
        return Difference(env.about, partitions, model_changes(mains, own, env.about.models, env.alias_marks))


def word_of(change: PartitionChange) -> str:
    """What became of a partition, in a word or some."""
    if change.is_in_main:
        return "in main"
    if change.conflicts:
        return "CHANGED IN MAIN TOO"
    if not change.moves_rows:
        return "same rows"
    return "new" if change.main is None else "changed"


def short(version: str) -> str:
    """A data version as people tell it from others."""
    return version.rpartition(":")[2][:12]


def _plain(one: PartitionChange) -> dict[str, Any]:
    return {
        "table": one.table.full_name,
        "partition": one.partition,
        "change": word_of(one),
        "rows": one.own.rows,
        "data_version": one.own.data_version,
        "rows_in_main": None if one.main is None else one.main.rows,
        "data_version_in_main": None if one.main is None else one.main.data_version,
    }
