"""What says where Spark is, and what runs on it, within the resource over the stores."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from fti_assets.core.arguments import checked_arguments
from fti_assets.engines.choice import Engine, checked_engine
from fti_assets.engines.running import RunningEngine, SparkPlace
from fti_assets.engines.spark.sessions import kind_of
from fti_assets.errors import DeclarationError
from fti_assets.orchestration.addresses import whole_address, without_secrets
from fti_assets.stores.buckets.path import SCHEME, BucketPath
from fti_assets.stores.places import Place

ENGINE = "engine"
"""The metadata that says on which engine each plan of a step ran, and why."""


class SparkEngine(dg.Config):  # type: ignore[misc]
    """A Spark server for work that is too large for the step's own process: training datasets, batch predictions, and groups with
    ``engine="spark"``.

    Pass it to the stores of an environment, ``fti.Stores(spark=fti.SparkEngine(url="sc://spark:15002"))``. It changes no asset and no
    data version: both engines give the same rows.

    Args:
        url: a server of Spark Connect, ``sc://host:15002``, which may be Spark's own or Sail's; ``sail`` for Sail in the step's
            process, which needs no Java; ``local[2]`` for a Spark that the step starts. A token in it is kept out of what Dagster
            shows and records; better still, ``dg.EnvVar`` keeps it out of the code.
        engine: what runs a dataset or predictions that name no engine themselves: ``"auto"`` chooses by rows and memory, ``"spark"`` runs
            all on Spark, ``"duckdb"`` none.
        scratch: the folder through which rows go to Spark and back, which the step and all of Spark's workers must reach by the
            same path, or ``s3://bucket/folder``; by default ``scratch`` beside the lake's own files.
        cores: how many cores Spark has. ``"auto"`` then also chooses the faster engine; without it, Spark is chosen only if
            DuckDB's memory is not enough.

    Raises:
        DeclarationError: the address is invalid, there is no such engine, or ``cores`` is less than 1.
    """

    url: str
    engine: str = "auto"
    scratch: str | None = None
    cores: int | None = None

    @checked_arguments(method=True)
    def __init__(
        self, *, url: str, engine: Engine = "auto", scratch: str | Path | None = None, cores: int | None = None
    ) -> None:
        if not isinstance(url, dg.EnvVar):
            kind_of(str(whole_address(url)))
        checked_engine(engine, what="fti.SparkEngine")
        if cores is not None and cores < 1:
            raise DeclarationError(f"fti.SparkEngine has cores={cores}: give the cores that Spark has, 1 or more")
        super().__init__(
            url=without_secrets(url), engine=engine, scratch=None if scratch is None else str(scratch), cores=cores
        )

    def place(self, data: Place) -> SparkPlace:
        """Where Spark is, for steps on a lake whose files lie in a folder or a bucket."""
        if self.scratch is None:
            scratch: Place = data.parent / "scratch"
        else:
            scratch = BucketPath.of(self.scratch) if self.scratch.startswith(SCHEME) else Path(self.scratch)
        return SparkPlace(
            str(whole_address(self.url)), scratch.absolute() if isinstance(scratch, Path) else scratch, self.cores
        )


def engine_metadata(engine: RunningEngine) -> dict[str, dg.MetadataValue]:
    """What a step's page says of where its plans ran, and why; nothing where all is DuckDB's and nobody chose."""
    return {ENGINE: dg.MetadataValue.json(engine.summary())} if engine.may_use_spark or engine.is_chosen else {}
