"""The engine of a step: what it chooses for each plan, and the Spark that it opens if it comes to that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from fti_assets.engines.choice import Choice, Engine, PlanSize, Room, choose
from fti_assets.errors import EngineError
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.duckdb.s3_secret import read_s3
from fti_assets.stores.places import Place

if TYPE_CHECKING:
    import duckdb

    from fti_assets.engines.spark.lake_files import FilesRead
    from fti_assets.engines.spark.tables import SparkTables


@dataclass(frozen=True)
class SparkPlace:
    """Where Spark is.

    Args:
        url: its address.
        scratch: the folder through which rows go there and back.
        cores: how many cores it has, if somebody says so.
    """

    url: str
    scratch: Place
    cores: int | None = None


class RunningEngine:
    """What runs the plans of a step, for a block.

    Args:
        engine: what is asked for.
        spark: where Spark is; None if nobody says.
        connection: the DuckDB connection of the step.
        what: the asset, for errors.
        log: where each choice is told.

    Raises:
        EngineError: Spark is asked for, and nobody says where it is.
    """

    def __init__(
        self,
        engine: Engine,
        spark: SparkPlace | None,
        connection: duckdb.DuckDBPyConnection,
        *,
        what: str,
        log: Callable[[str], None],
    ) -> None:
        if engine == "spark" and spark is None:
            raise EngineError(
                f"{what} runs on Spark, and the stores do not say where that is: give them spark=fti.SparkEngine(url='sc://host:15002'), "
                "or url='sail' for Sail in the step's own process. Nothing was stored"
            )
        self.choices: dict[str, Choice] = {}
        self.files: dict[str, FilesRead] = {}
        self._engine, self._spark, self._connection, self._log = engine, spark, connection, log
        self._stack = ExitStack()
        self._tables: SparkTables | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> bool | None:
        return self._stack.__exit__(*error)  # type: ignore[arg-type]

    @property
    def may_use_spark(self) -> bool:
        """Whether a plan can come to run on Spark at all."""
        return self._engine != "duckdb" and self._spark is not None

    def is_on_spark(self, size: Callable[[], PlanSize], *, what: str) -> bool:
        """Whether a plan runs on Spark, which is told and kept.

        Args:
            size: counts the plan's rows, where they matter.
            what: the plan.
        """
        if self._engine == "auto":
            cores = None if self._spark is None else self._spark.cores
            choice = choose(size(), self._room(), cores=cores, has_spark=self._spark is not None)
        else:
            choice = Choice(what, self._engine, "it is asked for")
        self.note(choice)
        return choice.engine == "spark"

    def note(self, choice: Choice) -> None:
        """Tell and keep why a plan runs where it does."""
        if self.choices.get(choice.what) != choice:
            self.choices[choice.what] = choice
            self._log(f"{choice.what} runs on {choice.engine}: {choice.why}")

    def note_files(self, what: str, files: FilesRead) -> None:
        """Tell and keep which files Spark reads."""
        self.files[what] = files
        self._log(f"Spark reads {files.read} of the {files.total} files of {what}")

    @property
    def is_chosen(self) -> bool:
        """Whether the engine is chosen by the size of a plan."""
        return self._engine == "auto"

    def tables(self) -> SparkTables:
        """Spark, opened with the first plan.

        Raises:
            EngineError: it cannot be reached.
        """
        if self._tables is None:
            from fti_assets.engines.spark.scratch import scratch
            from fti_assets.engines.spark.sessions import spark_session
            from fti_assets.engines.spark.tables import SparkTables

            assert self._spark is not None
            if isinstance(self._spark.scratch, BucketPath):
                read_s3(self._connection)
            folder = self._stack.enter_context(scratch(self._spark.scratch))
            session = self._stack.enter_context(spark_session(self._spark.url))
            self._tables = SparkTables(session, self._connection, folder)
        return self._tables

    def summary(self) -> dict[str, object]:
        """What ran where and why, and which files Spark read, for the asset's page."""
        plans: dict[str, object] = {}
        for what, choice in self.choices.items():
            plans[what] = {"engine": choice.engine, "why": choice.why}
            if (files := self.files.get(what)) is not None:
                plans[what] = {"engine": choice.engine, "why": choice.why, "files": f"{files.read} of {files.total}"}
        return plans

    def _room(self) -> Room:
        [(memory, threads)] = self._connection.execute(
            "SELECT parse_formatted_bytes(current_setting('memory_limit')), current_setting('threads')"
        ).fetchall()
        return Room(int(memory), int(threads))
