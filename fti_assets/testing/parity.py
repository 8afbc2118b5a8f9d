"""The assertion that online is offline, on stores of a test or of a system."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pandas as pd

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import ViewRecord
from fti_assets.core.sql import quote, timestamp
from fti_assets.errors import NotMaterializedError
from fti_assets.features.external.rows import read_external
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.spine_rows import stored_spine
from fti_assets.inference.serving.predictor import Predictor
from fti_assets.monitoring.parity import ParityReport, compare
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.stores.online.store import OnlineStore
from fti_assets.testing.failures import ParityBroken
from fti_assets.training.composites.composite import Composite
from fti_assets.training.models.model import Model


@checked_arguments()
def assert_parity(
    model: Model | Composite | str,
    /,
    *,
    stores: Stores,
    partitions: Sequence[str] | None = None,
    predictor: Predictor | None = None,
    sample: int = 50,
    seed: int = 0,
    tolerance: float = 1e-5,
) -> ParityReport:
    """Assert that online is offline: replay past spine rows through the predictor as of their prediction time.

    Each row becomes the request that an app would send. Every feature must be what the offline join over the lake has
    at that instant, and the answer that of the graph on those features.

    Args:
        model: the model, or its name.
        stores: where its groups, online namespaces and builds are.
        partitions: the spine's partitions to replay; by default every row that the online store still answers for.
        predictor: the predictor to ask, by default one that follows the champion in ``stores``.
        sample: how many rows.
        seed: which ones.
        tolerance: the largest difference of an answer; features must be equal.

    Raises:
        ParityBroken: something differs; its ``rows`` name the feature, the row and both values.
        NotMaterializedError: there is no row to replay.
        NoChampionError: the model has no champion.
        PredictionError: the online store does not reach back to a row of the partitions that were asked for.

    >>> assert_parity(delay_net, stores=stores, partitions=["2013-02-20"]).rows  # doctest: +SKIP
    50
    """
    name = model if isinstance(model, str) else model.name
    store, online = stores.model_store(), stores.online_store()
    online_predictor = predictor or Predictor.load(name, models=str(store.root), online=online.location)
    manifest, graph = load_build(store, name, online_predictor.build)
    with stores.offline_store().connect() as lake:
        read_external(lake, [] if isinstance(model, str) else model.view.groups)
        offline = _replay(lake, manifest.view, partitions, online, sample, seed)
        report, differences = compare(
            online_predictor, manifest, graph, lake.connection.sql(f"FROM {offline}"), tolerance=tolerance
        )
    if differences:
        frame = pd.DataFrame(differences)
        counts = ", ".join(f"{feature} {number}" for feature, number in frame["feature"].value_counts().items())
        raise ParityBroken(
            f"online and offline differ for model {name!r} {report.build}: of {report.rows} rows, {counts}", frame
        )
    return report


def _replay(
    lake: Lake, view: ViewRecord, partitions: Sequence[str] | None, online: OnlineStore, sample: int, seed: int
) -> str:
    """A temporary table of sampled spine rows with their features, as the offline join has them now."""
    spine = stored_spine(lake, view, partitions=partitions)
    # The online store answers from the latest of its namespaces on.
    since = max(
        (at for join in view.joins if (at := online.reader(join.table_name).answers_from) is not None), default=None
    )
    if partitions is None and since is not None and view.prediction_time is not None:
        spine = spine.filter(f"{quote(view.prediction_time)} >= {timestamp(since)}")
    numbers_table, table = quote("__fti_replayed"), quote("__fti_replayed_features")
    order = ", ".join(map(quote, view.spine_keys))
    lake.connection.execute(
        f"CREATE TEMP TABLE {numbers_table} AS SELECT row_number() OVER (ORDER BY {order}) AS __fti_row, * FROM {relation_name(spine)}"
    )
    total = int(lake.connection.table(numbers_table).aggregate("count(*)").fetchall()[0][0])
    if not total:
        reach = f"; the online store answers from {since}" if since is not None else ""
        raise NotMaterializedError(
            f"{view.spine_table.full_name} has no row to replay{reach}: materialize a later partition of it"
        )
    numbers = sorted(random.Random(seed).sample(range(1, total + 1), min(sample, total)))
    rows = lake.connection.sql(f"SELECT * EXCLUDE (__fti_row) FROM {numbers_table} WHERE __fti_row IN {(0, *numbers)}")
    joined_rows = assemble(lake, view, rows, snapshot=lake.snapshot())
    lake.connection.execute(f"CREATE TEMP TABLE {table} AS FROM {relation_name(joined_rows)}")
    return table
