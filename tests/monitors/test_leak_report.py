"""What leaky joins bring to a row, against a search, and what they then promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.cli.monitoring import leak_report as command
from fti_assets.core.manifest import Column
from fti_assets.errors import DeclarationError
from fti_assets.monitoring.leak_report.picture import picture
from fti_assets.monitoring.leak_report.quick_model import fit
from fti_assets.monitoring.leak_report.report import promises_of
from fti_assets.monitors.leak_report.event_time_rows import EventTimeRows
from fti_assets.monitors.leak_report.joins import LeakyJoins
from fti_assets.monitors.leak_report.leak_report import leak_report
from fti_assets.training.freshness.rows import dataset_rows
from fti_assets.training.freshness.run import stored_cutoff

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-01-20")
CUTOFF = "2025-01-15"
DAY = pd.Timedelta("1D")


def source() -> pd.DataFrame:
    """Visits of three customers, whose mood holds for half a day: what they did hours ago tells, and is known a day later."""
    rng = np.random.default_rng(5)
    t = pd.date_range("2025-01-01", "2025-01-15", freq="20min", inclusive="left")
    customer = np.arange(len(t)) % 3
    mood = rng.random((3, 28)) < 0.5
    half_day = ((t - t[0]) // pd.Timedelta("12h")).to_numpy()
    likely = np.where(mood[customer, half_day], 0.95, 0.05)
    return pd.DataFrame(
        {
            "visit_id": np.arange(len(t)),
            "customer": customer,
            "t": t,
            "x": rng.normal(size=len(t)),
            "known": t + DAY,
            "bought": (rng.random(len(t)) < likely).astype(int),
        }
    )


SOURCE = source()


def of_run(context: dg.AssetExecutionContext, *columns: str) -> pd.DataFrame:
    return SOURCE[SOURCE["t"].dt.strftime("%Y-%m-%d").isin(context.partition_keys)][list(columns)]


@fti.feature_group(keys=["visit_id"], event_time="t", partitions_def=DAYS)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return of_run(context, "visit_id", "customer", "t", "x")


@fti.feature_group(keys=["visit_id"], event_time="seen", available_at="known", partitions_def=DAYS)
def outcomes(context: dg.AssetExecutionContext) -> pd.DataFrame:
    rows = of_run(context, "visit_id", "customer", "t", "known", "bought").rename(columns={"t": "seen"})
    return rows.assign(paid=rows["bought"] * 9.5, basket=[[float(one), 1.0] for one in rows["bought"]])


@fti.feature_group(keys=["customer"], event_time="hour", serving_delay="30min", lookback="3d", partitions_def=DAYS)
def habits(outcomes: fti.Table) -> fti.Table:
    return fti.window_aggregate(
        outcomes, keys=["customer"], every="1h", windows=["6h", "24h"], aggregates={"bought": fti.Mean("bought")}
    )


@fti.feature_group(keys=["customer"])
def people() -> pd.DataFrame:
    return pd.DataFrame({"customer": [0, 1, 2], "town": ["a", "b", "c"]})


def view(*features: Any, **options: Any) -> fti.FeatureView:
    return fti.FeatureView(
        name="buying",
        spine=visits,
        label=fti.Label(outcomes["bought"], maturity="1d"),
        features=[visits["x"], *features],
        encoders={"town": fti.OneHot()} if people in [getattr(one, "group", None) for one in features] else {},
        **options,
    )


def dataset_of(of: fti.FeatureView) -> Any:
    return fti.training_dataset(
        name="buying_dataset",
        view=of,
        split=fti.TimeSplit(validation="2d", test="4d"),
        partitions_def=dg.DailyPartitionsDefinition(start_date=CUTOFF, end_date="2025-01-20"),
    )


DATASET = dataset_of(view(habits["bought_6h", "bought_24h"], people["town"]))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    stores = testing.stores_in(tmp_path_factory.mktemp("leaks"))
    testing.materialize(people, stores=stores)
    testing.materialize(visits, outcomes, habits, stores=stores, partition=("2025-01-01", "2025-01-14"))
    testing.materialize(DATASET, stores=stores, partition=CUTOFF)
    return stores


def rate(customer: int, until: pd.Timestamp, window: pd.Timedelta) -> float | None:
    """The mean of what a customer's visits came to, of those just after whose time ``(until - window, until]`` has the next instant."""
    after = SOURCE["t"] + pd.Timedelta("1us")
    rows = SOURCE[(SOURCE["customer"] == customer) & (after > until - window) & (after <= until)]
    return None if rows.empty else float(rows["bought"].mean())


@pytest.mark.parametrize("join", ["event_time", "same_day"])
def test_a_leaky_join_brings_what_a_search_finds(stores: fti.Stores, join: Any) -> None:
    with stores.offline_store().connect() as lake:
        key, manifest = stored_cutoff(lake, DATASET, None)
        rows = dataset_rows(lake, DATASET.table, key, manifest)
        happened = EventTimeRows(lake, DATASET.view, manifest.snapshot, SOURCE["t"].min(), SOURCE["t"].max())
        groups = {one.table_name: one for one in DATASET.view.groups}
        table = LeakyJoins(lake, rows, visits, happened, groups).features(join)
        frame = lake.connection.sql(f"FROM {table}").df()
    assert len(frame) == sum(manifest.rows.values())
    assert (happened.outcomes, happened.computed, happened.left) == (["outcomes_v1"], ["habits_v1"], {})
    for row in frame.sample(60, random_state=1).itertuples():
        until = row.t.floor("1h") if join == "event_time" else row.t.floor("1D") + DAY
        customer = int(SOURCE.loc[row.visit_id, "customer"])
        for window in ("6h", "24h"):
            expected = rate(customer, until, pd.Timedelta(window))
            brought = getattr(row, f"bought_{window}")
            assert pd.isna(brought) if expected is None else brought == pytest.approx(expected)
        assert row.town == "abc"[customer]


def test_leaks_promise_what_they_do_not_deliver(stores: fti.Stores) -> None:
    report = leak_report(DATASET, stores=stores)
    honest, event_time, same_day = report.promises
    assert honest.promised == honest.delivered
    assert (honest.changed, honest.gap) == (0.0, None)
    for leaky in (event_time, same_day):
        assert leaky.promised["roc_auc"] > max(honest.promised["roc_auc"], leaky.delivered["roc_auc"]) + 0.05
        assert leaky.gap is not None
        assert leaky.gap.high < 0
        assert leaky.changed > 0.5
    assert report.task == "binary"
    assert "computed again of such rows: habits_v1" in report.notes
    assert json.loads(json.dumps(report.plain()))["promises"][0]["join"] == "honest"
    text = picture(report)
    assert text.count("class='promised'") == text.count("class='delivered'") == 3
    assert leak_report(DATASET, stores=stores, rows=200).train_rows < report.train_rows


def test_an_outcome_that_nobody_knows_in_time_is_a_leak(stores: fti.Stores) -> None:
    of = fti.FeatureView(
        name="paying",
        spine=visits,
        label=fti.Label(outcomes["bought"], maturity="1d"),
        features=[visits["x"], outcomes["paid", "basket"]],
        encoders={"basket": fti.Vector(dim=2)},
    )
    dataset = fti.training_dataset(
        name="paying_dataset",
        view=of,
        split=fti.TimeSplit(validation="2d", test="4d"),
        partitions_def=DATASET.partitions_def,
    )
    testing.materialize(dataset, stores=stores, partition=CUTOFF)
    report = leak_report(dataset, stores=stores, rows=300)
    honest, _, same_day = report.promises
    assert same_day.promised["roc_auc"] > 0.99
    assert max(honest.promised["roc_auc"], same_day.delivered["roc_auc"]) < 0.7
    assert [note.split()[0] for note in report.notes if "at no prediction time" in note] == ["paid", "basket"]


@pytest.mark.parametrize("low", [-np.inf, np.nan, 0.0])
def test_a_quick_model_learns_from_what_is_infinite(low: float) -> None:
    y = np.arange(300) % 2
    rows = ({"x": np.where(y == 1, np.inf, low), "empty": np.full(300, np.nan)}, y)
    model = fit("binary", [Column("x", "number"), Column("empty", "number")], rows, rows)
    assert ((model.answers(rows[0]) > 0.5) == y).all()
    assert np.isfinite(model.answers({"x": np.full(2, np.nan), "empty": np.ones(2)})).all()


def test_the_command_finds_the_dataset_of_a_view(
    stores: fti.Stores, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from fti_assets.cli import main

    defs = fti.build_definitions([DATASET], resources={"fti": stores})
    monkeypatch.setattr(command, "load_definitions", lambda *_: defs)
    monkeypatch.chdir(tmp_path)
    assert main(["leak-report", "buying", "--rows", "150"]) == 0
    displayed = capsys.readouterr().out
    assert displayed.startswith("buying on buying_dataset_v1 2025-01-15: what a quick model promises offline")
    assert (tmp_path / "leak_report_buying.svg").exists()
    assert main(["leak-report", "selling"]) == 1
    assert "no dataset over a view 'selling': their views are 'buying'" in capsys.readouterr().err


def test_a_view_without_times_cannot_leak(stores: fti.Stores) -> None:
    lookups = fti.FeatureView(
        name="towns", spine=people, label=fti.Label(people["town"]), features=[people["customer"]]
    )
    towns = fti.training_dataset(name="towns", view=lookups, split=fti.RandomSplit())
    with pytest.raises(DeclarationError, match="no join of it could leak"):
        leak_report(towns, stores=stores)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_quick_model_learns_texts_and_numbers(task: Any) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=600)
    town = rng.choice(["a", "b", ""], 600).astype(object)
    y = {
        "binary": ((x > 0) ^ (town == "a")).astype(float),
        "multiclass": np.where(town == "a", 2, (x > 0).astype(int)),
        "regression": x + 3.0 * (town == "a"),
    }[task]
    x[::7] = np.nan
    features = {"x": x, "town": town}
    columns = [Column("x", "number"), Column("town", "text")]
    parts = [
        ({name: values[part] for name, values in features.items()}, y[part]) for part in (slice(400), slice(400, 500))
    ]
    test = {name: values[500:] for name, values in features.items()}
    test["town"] = np.where(test["town"] == "b", "new", test["town"])
    answers = fit(task, columns, parts[0], parts[1]).answers(test)
    assert np.array_equal(answers, fit(task, columns, parts[0], parts[1]).answers(test))
    [promise] = promises_of(task, y[500:], {"honest": answers}, {"honest": answers}, {})
    assert promise.promised["roc_auc" if task == "binary" else "accuracy" if task == "multiclass" else "mae"] > (
        0.8 if task != "regression" else 0.0
    )
    if task == "regression":
        assert promise.promised["mae"] < 0.6
