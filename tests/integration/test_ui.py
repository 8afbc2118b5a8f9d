"""What a person sees in the Dagster UI, in a headless Chromium: graph, assets, checks and a failed run.

The module is the code location that the webserver loads, too.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

import fti_assets as fti
from tests.support import chromium
from tests.support.partitions import range_tags

pytestmark = pytest.mark.skipif(chromium.CHROMIUM is None, reason=chromium.ABSENT)

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-11")
CUTOFFS = dg.DailyPartitionsDefinition(start_date="2024-01-06", end_date="2024-01-11")


class OrderSchema(pa.DataFrameModel):
    order_id: int = pa.Field(unique=True)
    ordered_at: pa.DateTime
    country: str = pa.Field(isin=["BE", "FR", "NL"])
    amount: float = pa.Field(ge=0, description="What the customer pays, in euros")


class PriceSchema(pa.DataFrameModel):
    product: str
    priced_at: pa.DateTime
    price: float = pa.Field(gt=0)


def hours_of(context: dg.AssetExecutionContext) -> pd.DatetimeIndex:
    window = context.partition_time_window
    start, end = (pd.Timestamp(moment).tz_localize(None) for moment in (window.start, window.end))
    return pd.date_range(start, end, freq="15min", inclusive="left")


def ids_of(hours: pd.DatetimeIndex) -> np.ndarray:
    return np.asarray((hours - pd.Timestamp("2024-01-01")) // pd.Timedelta("15min"))


def amounts_of(ids: np.ndarray) -> np.ndarray:
    return 10 + 90 * (ids * 0.618 % 1)


@fti.feature_group(
    keys=["order_id"], event_time="ordered_at", schema=OrderSchema, partitions_def=DAYS, owners=["team:shop"]
)
def orders(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """What was ordered, as it was known at the order."""
    hours = hours_of(context)
    ids = ids_of(hours)
    countries = np.array(["BE", "FR", "NL"])[ids % 3]
    return pd.DataFrame({"order_id": ids, "ordered_at": hours, "country": countries, "amount": amounts_of(ids)})


@fti.feature_group(keys=["order_id"], event_time="told_at", partitions_def=DAYS)
def returns(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """Whether an order came back."""
    hours = hours_of(context)
    ids = ids_of(hours)
    noise = 50 * np.sin(ids)
    return pd.DataFrame({"order_id": ids, "told_at": hours, "came_back": amounts_of(ids) + noise > 60})


@fti.feature_group(keys=["product"], event_time="priced_at", schema=PriceSchema, partitions_def=DAYS)
def prices(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """What a product costs; the third day's source is broken."""
    hours = hours_of(context)[::16]
    broken = hours[0].day == 3
    cost = [-3.5 if broken and number > 1 else 9.5 for number in range(len(hours))]
    return pd.DataFrame({"product": "lamp", "priced_at": hours, "price": cost})


@fti.feature_group(keys=["country"], schema=pa.DataFrameSchema({"country": pa.Column(str), "vat": pa.Column(float)}))
def countries() -> pd.DataFrame:
    """What never changes of a country."""
    return pd.DataFrame({"country": ["BE", "FR", "NL"], "vat": [0.21, 0.2, 0.21]})


returning = fti.FeatureView(
    name="returning",
    spine=orders,
    label=fti.Label(returns["came_back"], maturity="1h"),
    features=[orders["amount", "country"], countries["vat"]],
    encoders={"country": fti.OneHot()},
)
returns_dataset = fti.training_dataset(
    name="returns_dataset",
    view=returning,
    split=fti.TimeSplit(validation="1d", test="1d"),
    partitions_def=CUTOFFS,
)


@fti.model(
    dataset=returns_dataset,
    task="binary",
    evaluate=fti.Evaluation(metrics=["roc_auc", "log_loss"], slices=["country"]),
    gates=[fti.BeatsBaseline("log_loss")],
)
def return_model(data: fti.TrainingData) -> Any:
    """Whether an order will come back."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(data.train.X, data.train.y)


@fti.model(dataset=returns_dataset, task="binary", gates=[fti.BeatsBaseline("log_loss")])
def contrary_model(data: fti.TrainingData) -> Any:
    """The opposite of whether an order will come back."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(data.train.X, 1 - data.train.y)


return_predictions = fti.batch_predictions(name="return_predictions", model=return_model, partitions_def=DAYS)
later_predictions = fti.batch_predictions(name="later_predictions", model=return_model, partitions_def=DAYS)

defs = fti.build_definitions([return_predictions, later_predictions, prices, contrary_model])


@dataclass(frozen=True)
class Ui:
    """A running webserver, and the run that failed."""

    url: str
    failed_run: str
    folder: Path

    def text(self, page: str, *expected: str) -> str:
        """What a page shows, as text, given more time until it has all that is expected; pictures as ``[picture <alt> <source>]``."""
        return chromium.shown(f"{self.url}{page}", self.folder, *expected)

    def dom(self, page: str, budget_s: int = 25) -> str:
        """A page's document after its scripts have had ``budget_s`` of virtual time."""
        return chromium.dom(f"{self.url}{page}", self.folder, budget_s)


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """A webserver over a home where a few days were made, one build was accepted, and one day's prices were refused."""
    home = tmp_path_factory.mktemp("ui")
    (home / "dagster").mkdir()
    shutil.copy(Path(__file__).parents[2] / "dagster.yaml", home / "dagster")
    stores = fti.Stores(**{name: str(home / name) for name in ("lake", "models", "online")})
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        failed_run = _fill(stores, instance)
    with _webserver(home) as url:
        yield Ui(url, failed_run, home)


def _fill(stores: fti.Stores, instance: dg.DagsterInstance) -> str:
    job = fti.build_definitions(
        [return_predictions, later_predictions, prices, contrary_model], resources={"fti": stores}
    ).resolve_implicit_global_asset_job_def()

    def run(*declarations: Any, partition: str | None = None, last: str | None = None) -> dg.ExecuteInProcessResult:
        return job.execute_in_process(
            instance=instance,
            asset_selection=[declaration.key for declaration in declarations],
            partition_key=partition if last is None else None,
            tags={} if last is None else range_tags(partition or "", last),
            raise_on_error=False,
        )

    made = [
        run(countries),
        run(orders, returns, partition="2024-01-01", last="2024-01-07"),
        run(returns_dataset, return_model, partition="2024-01-07"),
        run(return_predictions, partition="2024-01-07"),
        run(prices, partition="2024-01-02"),
    ]
    assert all(result.success for result in made)
    assert not run(contrary_model, partition="2024-01-07").success
    time.sleep(1.1)  # Dagster holds a check's time in whole seconds, and takes one of the same second for an older one
    refused = run(prices, partition="2024-01-03")
    assert not refused.success
    return str(refused.run_id)


@contextmanager
def _webserver(home: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with open(home / "webserver.log", "w") as log:
        server = subprocess.Popen(
            [Path(sys.executable).parent / "dagster-webserver", "-f", __file__, "-h", "127.0.0.1", "-p", str(port)],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith(("FTI_", "DAGSTER_"))},
                "FTI_HOME": str(home),
                "DAGSTER_HOME": str(home / "dagster"),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_for(f"{url}/server_info", server, home / "webserver.log")
            yield url
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=60)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"the webserver did not answer within 120 s: {log.read_text()}")


def test_graph_shows_three_pipelines_and_assets_of_one(ui: Ui) -> None:
    ui.text("/asset-groups", "features", "training", "inference")
    names = [f"{name}_v1" for name in ("orders", "returns", "prices", "countries")]
    ui.text(f"/locations/{Path(__file__).name}/asset-groups/features", *names, "DuckDB")


@pytest.mark.soak
def test_asset_that_never_ran_shows_its_columns_and_what_uses_it(ui: Ui) -> None:
    ui.text(
        "/assets/later_predictions_v1?view=overview",
        "What return_model answers for each row of orders_v1, and the build that answered.",
        "probability number non-nullable The answer of return_model",
        "Never materialized",
    )


@pytest.mark.soak
def test_group_shows_its_columns_owners_kinds_and_models_that_use_it(ui: Ui) -> None:
    ui.text(
        "/assets/orders_v1?view=overview",
        "ordered_at timestamp non-nullable Event time: when it was true",
        "greater_than_or_equal_to(0) What the customer pays, in euros",
        *("shop", "DuckDB", "Parquet", "features.orders_v1"),
        "used_by_view/returning_v1",
        "used_by_model/return_model_v1",
    )


@pytest.mark.soak
def test_a_model_shows_its_scores_and_pictures(ui: Ui) -> None:
    ui.text(
        "/assets/return_model_v1?view=overview",
        "Whether an order will come back.",
        *("test/roc_auc", "baseline/log_loss", "champion_after_run", "v1/20240107T000000Z-", "/pictures.html"),
        *(f"[picture {name} data:image/svg+xml;base64," for name in ("roc_curve", "calibration", "slices/country")),
    )


@pytest.mark.soak
def test_rejected_build_is_shown_with_its_scores_and_pictures(ui: Ui) -> None:
    ui.text(
        "/assets/contrary_model_v1?view=events",
        *("Partition 2024-01-07 observed in run", "is rejected: beats_baseline_log_loss: log_loss"),
        *("rejected/gates", "rejected/test/log_loss", "rejected/card", "[picture roc_curve", "/pictures.html"),
    )
    ui.text("/assets/contrary_model_v1?view=checks", "Failed", "Partition 2024-01-07", "test/log_loss")


def test_a_failed_check_shows_the_count_and_the_rows(ui: Ui) -> None:
    ui.text(
        "/assets/prices_v1?view=checks&checkDetail=price_greater_than",
        "price: greater_than(0): 4 of 6 rows break it, such as -3.5",
        "failures 4",
        "lamp 2024-01-03 08:00:00 -3.5",
    )


def test_failed_run_says_what_was_wrong_and_where_rows_are(ui: Ui) -> None:
    ui.text(
        f"/runs/{ui.failed_run}",
        "Failure",
        "prices_v1: nothing was stored, because price: greater_than(0): 4 of 6 rows break it, such as -3.5.",
        f"The failing rows are kept in {ui.folder}/lake/rejected/prices_v1/{ui.failed_run}.jsonl",
    )
