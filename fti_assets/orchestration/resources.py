"""The Dagster resource over the stores, which is the IO manager of what they hold too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.home import BRANCHES, MAIN, home
from fti_assets.core.home import environment as environment_of_process
from fti_assets.core.names import TableName
from fti_assets.engines.choice import Engine, checked_engine
from fti_assets.engines.running import RunningEngine
from fti_assets.errors import NotMaterializedError, StoreError, list_some
from fti_assets.orchestration.addresses import whole_address, without_secrets
from fti_assets.orchestration.engine import SparkEngine
from fti_assets.orchestration.tracking import MlflowTracking
from fti_assets.stores.duckdb.pandas_rows import pandas_rows
from fti_assets.stores.lake.branches.branch import branch_folder, branch_named
from fti_assets.stores.lake.branches.places import branch_store
from fti_assets.stores.lake.location import offline_store
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.store import OnlineStore, is_redis, online_store, with_prefix
from fti_assets.stores.places import Place

if TYPE_CHECKING:
    from fti_assets.stores.lake.lake import Lake

STORES = "fti"
"""The key of the ``Stores`` resource that every asset of this library needs."""

TABLE = "dagster/table_name"
"""The metadata of an asset that names its table in the offline store."""

ONLINE_KEYS = "online_keys"
"""The metadata of an event whose step has loaded the online store."""


def stored_table(metadata: Mapping[str, Any]) -> TableName | None:
    """The table of the offline store that an asset's metadata names."""
    name = metadata.get(TABLE)
    return None if name is None else TableName(*str(getattr(name, "value", name)).split(".", 1))


class Stores(dg.ConfigurableIOManager, dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where features, models and online values are stored.

    It is also the IO manager of feature groups, training datasets and predictions: a Dagster asset that takes one as an input,
    ``def report(weather_v1: pd.DataFrame)``, gets its rows in the annotated type, ``pandas.DataFrame``, ``polars.DataFrame`` or
    ``pyarrow.Table``, for the partitions that Dagster's partition mapping names.

    Args:
        lake: the offline store, a folder or ``postgresql://user:password@host/database?data=s3://bucket/folder``; ``<home>/lake`` by
            default.
        models: the model store, a folder or ``s3://bucket/folder``; ``<home>/models`` by default.
        online: the online store, a folder or ``redis://host:port/db?prefix=name``; ``<home>/online`` by default. The password of an
            address is kept out of what Dagster shows and records of the resource; better still, ``dg.EnvVar`` keeps it out of the code.
        log: the folder into which servers and apps log their answers, for ``prediction_log``; ``<home>/log`` by default.
        tracking: where builds are also mirrored, ``fti.MlflowTracking(...)``; nowhere by default.
        environment: the environment of that lake whose stores are used, created by ``fti env create``; ``"main"`` for the stores as
            they are declared. By default the one in ``FTI_ENV``, or main.
        spark: what large plans run on, ``fti.SparkEngine(...)``; by default all run on DuckDB.
    """

    lake: str | None = None
    models: str | None = None
    online: str | None = None
    log: str | None = None
    tracking: MlflowTracking | None = None
    environment: str | None = None
    spark: SparkEngine | None = None

    @checked_arguments(method=True)
    def __init__(
        self,
        *,
        lake: str | Path | None = None,
        models: str | Path | None = None,
        online: str | Path | None = None,
        log: str | Path | None = None,
        tracking: MlflowTracking | Mapping[str, Any] | None = None,
        environment: str | None = None,
        spark: SparkEngine | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            lake=without_secrets(lake),
            models=without_secrets(models),
            online=without_secrets(online),
            log=without_secrets(log),
            # Dagster makes the resource again from its config, as mappings.
            tracking=MlflowTracking(**tracking) if isinstance(tracking, Mapping) else tracking,
            environment=environment,
            spark=SparkEngine(**spark) if isinstance(spark, Mapping) else spark,
        )

    @property
    def environment_name(self) -> str | None:
        """The environment whose stores these are; None for main."""
        name = self.environment or environment_of_process()
        return None if name == MAIN else name

    def in_environment(self, name: str) -> Stores:
        """The same stores in another environment, ``"main"`` among them."""
        places = {field: getattr(self, field) for field in type(self).model_fields}
        return type(self)(**{**places, "environment": name})

    def offline_store(self) -> OfflineStore:
        folder, main = self._folder(), offline_store(whole_address(self.lake) or home() / "lake")
        return main if folder is None else branch_store(main, folder.name)

    def model_store(self) -> ModelStore:
        folder = self._folder()
        return ModelStore(whole_address(self.models) or home() / "models" if folder is None else folder / "models")

    def online_store(self) -> OnlineStore:
        folder, main = self._folder(), whole_address(self.online) or home() / "online"
        if folder is None:
            return online_store(main)
        if isinstance(main, str) and is_redis(main):
            return online_store(with_prefix(main, folder.name))
        return online_store(_own_folder(folder, main, "online"))

    def engine(self, engine: Engine | None, lake: Lake, *, what: str, log: Callable[[str], None]) -> RunningEngine:
        """What runs the plans of a step.

        Args:
            engine: what the declaration names; None for that of the environment.
            lake: the open lake of the step.
            what: the asset, for errors.
            log: where each choice is told.

        Raises:
            EngineError: Spark is asked for, and there is none.
        """
        if engine is None:
            engine = "duckdb" if self.spark is None else checked_engine(self.spark.engine, what="fti.SparkEngine")
        place = None if self.spark is None else self.spark.place(lake.store.data)
        return RunningEngine(engine or "duckdb", place, lake.connection, what=what, log=log)

    def log_folder(self) -> Path:
        """The folder of prediction logs, with one folder a model."""
        folder = self._folder()
        main = Path(whole_address(self.log) or home() / "log")
        return main if folder is None else _own_folder(folder, main, "log")

    def _folder(self) -> Place | None:
        """The folder of the environment; None for main.

        Raises:
            NotMaterializedError: there is no such environment.
        """
        name = self.environment_name
        if name is None:
            return None
        main = offline_store(whole_address(self.lake) or home() / "lake")
        branch_named(main, name)
        return branch_folder(main, name)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Refuse: a step of this library stores its rows itself, and no other asset's output belongs into its tables.

        Raises:
            StoreError: always.
        """
        raise StoreError(
            f"{context.asset_key.to_user_string()} cannot be stored by the Stores resource, which only reads for others: "
            "declare it with fti.feature_group, or give it another io_manager_key"
        )

    def load_input(self, context: dg.InputContext) -> Any:
        """Read the rows of an upstream asset.

        Raises:
            NotMaterializedError: a partition that is asked for is not there.
            StoreError: the upstream asset has no table, or the input is annotated with something else.
        """
        upstream = context.upstream_output
        table = None if upstream is None else stored_table(upstream.definition_metadata or {})
        key = context.asset_key.to_user_string()
        if table is None:
            raise StoreError(
                f"{key} has no rows to take as an input: depend on it with deps=[...], and in the asset's body take a "
                "model by fti.Predictor.load, an external group by fti.read"
            )
        partitions = sorted(context.asset_partition_keys) if context.has_asset_partitions else None
        if partitions is not None and set(partitions) >= set(context.asset_partitions_def.get_partition_keys()):
            partitions = None  # all of it, however much that is by now
        with self.offline_store().connect() as lake:
            ledger = lake.ledger(table)
            missing = [partition for partition in partitions or () if partition not in ledger]
            if missing:
                raise NotMaterializedError(
                    f"an input takes {key}, of which {list_some(missing)} is not materialized: materialize it first"
                )
            return _as(context.dagster_type.typing_type, lake.rows(table, partitions=partitions), key)


def _own_folder(folder: Place, main: str | Path, name: str) -> Path:
    """The folder of an environment's store of this machine: of a lake in a bucket it lies beside that of main."""
    return folder / name if isinstance(folder, Path) else Path(main).parent / BRANCHES / folder.name / name


def _as(kind: Any, rows: Any, key: str) -> Any:
    """A DuckDB relation as what the input is annotated with; pandas without an annotation."""
    name = f"{getattr(kind, '__module__', '').partition('.')[0]}.{getattr(kind, '__name__', kind)}"
    match name:
        case "pandas.DataFrame" | "typing.Any":
            return pandas_rows(rows)
        case "polars.DataFrame":
            return rows.pl()
        case "pyarrow.Table":
            return rows.to_arrow_table()
    raise StoreError(
        f"{key} cannot be taken as {name}: annotate the input pandas.DataFrame, polars.DataFrame or pyarrow.Table"
    )
