"""Freshness curves: joins under moved delays against plain Python, and a world in which the right answer is known."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets import testing
from fti_assets.cli import main
from fti_assets.core.manifest import Column, JoinedColumn, JoinedGroup, JoinedKey, OnDemandCall, ViewRecord
from fti_assets.core.times import microseconds
from fti_assets.errors import DeclarationError, ModelError, NotMaterializedError
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.training.freshness.curves import FreshnessCurves
from fti_assets.training.freshness.moved import moved_rows, moved_view
from fti_assets.training.freshness.picture import picture
from fti_assets.training.freshness.run import freshness
from fti_assets.training.freshness.stored import from_json, to_json
from fti_assets.training.freshness.text import as_text
from fti_assets.training.models.tuned import newest_parameters
from tests.support.worlds import made_once

START, DAYS = datetime(2024, 1, 1), 8
daily = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2024-01-09")
CUTOFF = "2024-01-09"
cutoffs = dg.DailyPartitionsDefinition(start_date=CUTOFF, end_date="2024-01-10")


def level_rows() -> pd.DataFrame:
    """A level each quarter of an hour that has nothing to do with the one before."""
    times = pd.date_range(START, periods=DAYS * 96, freq="15min")
    return pd.DataFrame({"tank": 1, "read_at": times, "level": np.random.default_rng(5).normal(size=len(times))})


def of_day(context: dg.AssetExecutionContext, rows: pd.DataFrame, time: str) -> pd.DataFrame:
    start, end = (moment.replace(tzinfo=None) for moment in context.partition_time_window)
    return rows[(rows[time] >= start) & (rows[time] < end)]


@fti.feature_group(keys=["tank"], event_time="read_at", serving_delay="0s", ttl="20min", partitions_def=daily)
def levels(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return of_day(context, level_rows(), "read_at")


@fti.feature_group(keys=["tank"], event_time="read_at", available_at="known_at", partitions_def=daily)
def notes(context: dg.AssetExecutionContext) -> pd.DataFrame:
    rows = of_day(context, level_rows(), "read_at")
    return rows.assign(known_at=rows["read_at"] + pd.Timedelta("1h"), note=-rows["level"]).drop(columns="level")


@fti.feature_group(keys=["tank"])
def tanks() -> pd.DataFrame:
    return pd.DataFrame({"tank": [1], "size": [3.0]})


@fti.feature_group(keys=["check_id"], event_time="checked_at", partitions_def=daily)
def checks(context: dg.AssetExecutionContext) -> pd.DataFrame:
    rows = level_rows().assign(
        check_id=range(DAYS * 96), checked_at=lambda rows: rows["read_at"] + pd.Timedelta("5min")
    )
    return of_day(context, rows.assign(is_high=rows["level"] > 0), "checked_at").drop(columns=["read_at", "level"])


tank_view = fti.FeatureView(
    name="tank_view",
    spine=checks,
    label=fti.Label(checks["is_high"]),
    features=[levels["level"], notes["note"], tanks["size"]],
)
tank_dataset = fti.training_dataset(
    name="tank_dataset", view=tank_view, partitions_def=cutoffs, split=fti.TimeSplit(validation="1d", test="3d")
)


class Words(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A resource of the user's own."""

    first: str


RESOURCES = {"words": Words(first="said")}


class Slope(dg.Config):
    """A config, as any model's function may take one."""

    penalty: float = 1.0


@fti.model(dataset=tank_dataset, task="binary", evaluate=fti.Evaluation(metrics=["roc_auc", "log_loss"]))
def high(context: dg.AssetExecutionContext, config: Slope, data: fti.TrainingData, words: Words) -> Any:
    assert (context.partition_key, words.first) == (CUTOFF, "said")
    return LogisticRegression(C=config.penalty).fit(data.train.X, data.train.y)


@fti.model(name="high", version=2, dataset=tank_dataset, task="binary")
def higher(data: fti.TrainingData) -> Any:
    return LogisticRegression().fit(data.train.X, data.train.y)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    def make(root: Path) -> None:
        of_test = testing.stores_in(root)
        for group in (levels, notes, checks):
            testing.materialize(group, stores=of_test, partition=("2024-01-01", "2024-01-08"))
        testing.materialize(tanks, stores=of_test)
        testing.materialize(tank_dataset, stores=of_test, partition=CUTOFF, now="2024-01-10")

    return testing.stores_in(made_once(tmp_path_factory, "tanks", make))


@pytest.fixture(scope="module")
def curves(stores: fti.Stores) -> FreshnessCurves:
    return freshness(high, stores=stores, resources=RESOURCES, delays=["0h", "15min", "1h", "6h"])


def test_a_label_that_is_the_newest_row_is_lost_with_it(curves: FreshnessCurves) -> None:
    fresh, *late = curves.groups["levels_v1"]
    assert fresh.is_declared
    assert (fresh.change, fresh.interval) == (0, None)
    assert curves.score == fresh.score > 0.999
    for point in late:
        assert point.interval is not None
        assert point.score == pytest.approx(0.5, abs=0.1)
        assert point.change == point.score - curves.score
        assert point.interval.low < point.change < point.interval.high < -0.35


def test_rows_never_come_sooner_than_they_did(curves: FreshnessCurves) -> None:
    declared, moved = curves.groups["notes_v1"][:3], curves.groups["notes_v1"][3]
    assert all(point.is_declared for point in declared)  # the note of an hour ago says nothing, but is not known sooner
    assert not moved.is_declared
    assert abs(moved.change) < 0.01


def test_lookups_and_the_spine_are_not_moved(curves: FreshnessCurves) -> None:
    assert list(curves.groups) == ["levels_v1", "notes_v1"]


def test_nothing_is_stored(stores: fti.Stores, curves: FreshnessCurves) -> None:
    with stores.offline_store().connect() as lake:
        before = lake.snapshot()
        tables = lake.tables()
    of_levels = freshness(high, stores=stores, resources=RESOURCES, delays=["1h"], groups=["levels"], rows=100)
    with stores.offline_store().connect() as lake:
        assert (lake.snapshot(), lake.tables()) == (before, tables)
    assert stores.model_store().models() == ()
    # The delay that the group states itself is a point, too.
    assert [(point.delay, point.is_declared) for point in of_levels.points] == [(hours(0), True), (hours(1), False)]


def test_some_train_rows_and_all_test_rows(stores: fti.Stores, curves: FreshnessCurves) -> None:
    of_some = freshness(
        high,
        stores=stores,
        resources=RESOURCES,
        delays=["0h"],
        groups=["levels_v1"],
        rows=100,
        metric="log_loss",
    )
    assert 60 < of_some.train_rows < 140 < curves.train_rows
    assert of_some.test_rows == curves.test_rows
    assert (of_some.metric, of_some.higher_is_better) == ("log_loss", False)


def test_text_and_picture_show_each_point(curves: FreshnessCurves) -> None:
    text, svg = as_text(curves), picture(curves)
    assert text.count("as declared") == 5
    root = ElementTree.fromstring(svg)
    circles = list(root.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(circles) == len(curves.points) == 8
    assert sum(circle.get("class") == "declared" for circle in circles) == 4


def test_command_prints_a_table_and_writes_a_picture(
    stores: fti.Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "import fti_assets as fti\nfrom tests.training.test_freshness import RESOURCES, high, higher\n"
    Path("definitions.py").write_text(f"{code}defs = fti.build_definitions([high], resources=RESOURCES)\n")
    arguments = ["--lake", stores.lake, "--groups", "levels, notes", "--delays", "0h,1h", "--rows", "50"]
    assert main(["freshness", "high", *arguments]) == 0
    assert "levels_v1" in capsys.readouterr().out
    assert Path("freshness_high.svg").read_text().startswith("<svg")
    assert main(["freshness", "low", "--lake", stores.lake]) == 1
    assert "no model 'low': they have 'high'" in capsys.readouterr().err
    Path("definitions.py").write_text(f"{code}defs = fti.build_definitions([high, higher], resources=RESOURCES)\n")
    assert main(["freshness", "high", "--lake", stores.lake]) == 1
    assert "several versions of model 'high': write 'high_v1' or 'high_v2'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"groups": ["tanks"]}, DeclarationError, "joins no group 'tanks' that has an event time: it has 'levels_v1'"),
        ({"metric": "brier"}, DeclarationError, "does not evaluate 'brier': it has 'roc_auc'"),
        ({"delays": ["soon"]}, DeclarationError, "a delay 'soon' is not a duration"),
        ({"rows": 0}, DeclarationError, "rows=0"),
        ({"partition": "2024-02-01"}, NotMaterializedError, "no partition '2024-02-01'"),
    ],
)
def test_what_cannot_be_moved_is_refused(
    stores: fti.Stores, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        freshness(high, stores=stores, **arguments)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


@pytest.mark.soak
@pytest.mark.parametrize("delay", [0, 1, 5])
@pytest.mark.parametrize("has_available_at", [False, True])
def test_moved_joins_equal_plain_python(has_available_at: bool, delay: int) -> None:
    """Each visible row, by the definition: the newest event, then the last to come, then the greatest tie break."""
    rng = np.random.default_rng(delay)
    facts = pd.DataFrame(
        {
            "k": rng.integers(0, 3, 120),
            "e": [START + hours(int(hour)) for hour in rng.integers(0, 30, 120)],
            "a": [START + hours(int(hour)) for hour in rng.integers(0, 34, 120)],
            "n": range(120),
        }
    )
    facts.loc[::19, "a"] = pd.NaT
    facts = facts.drop_duplicates(["k", "e"] if not has_available_at else ["k", "e", "a"])
    spine = pd.DataFrame(
        {"k": rng.integers(0, 4, 60), "t": [START + hours(int(hour)) for hour in rng.integers(0, 48, 60)]}
    )
    join = JoinedGroup(
        "facts",
        1,
        (JoinedKey("k", "k", "integer"),),
        (JoinedColumn("n", "n", "integer"),),
        event_time="e",
        available_at="a" if has_available_at else None,
        serving_delay_us=0 if has_available_at else microseconds(hours(2)),
        ttl_us=microseconds(hours(6)),
        tie_break="n" if has_available_at else None,
    )
    view = ViewRecord("v", 1, "s", 1, ("k",), "t", (), (join,), (), (Column("n", "integer"),))
    ttl = hours(6) + max(timedelta(0), hours(delay) - (timedelta(0) if has_available_at else hours(2)))

    def winner(k: int, t: datetime) -> int | None:
        best = None
        for fact in facts.itertuples():
            if fact.k != k or (has_available_at and pd.isna(fact.a)):
                continue
            came = fact.a if has_available_at else fact.e
            if max(came, fact.e + hours(delay)) <= t and (best is None or (fact.e, came, fact.n) > best):
                best = (fact.e, came, fact.n)
        return None if best is None or best[0] < t - ttl else best[2]

    connection = duckdb.connect()
    moved = moved_view(view, "facts_v1", hours(delay))
    rows = moved_rows(lambda _: connection.from_df(facts), view)
    joined = point_in_time(connection, connection.from_df(spine), moved.joins, rows, prediction_time="t")
    expected = [winner(row.k, row.t) for row in spine.itertuples()]
    assert joined.project("n").fetchall() == [(one,) for one in expected]
    assert len(set(expected)) > 10


def test_what_rests_on_a_moved_group_moves_with_it() -> None:
    def join(name: str) -> JoinedGroup:
        return JoinedGroup(
            name, 1, (JoinedKey("k", "k", "integer"),), (JoinedColumn(f"{name}_x", "x", "number"),), event_time="e"
        )

    def call(name: str, *inputs: str) -> OnDemandCall:
        return OnDemandCall(name, 1, "m", name, "", inputs, (Column(f"of_{name}", "number"),))

    calls = (call("a", "one_x"), call("b", "two_x"), call("c", "of_a", "of_b", "k"), call("d", "two_x"))
    names = ["one_x", "two_x", "three_x", "of_a", "of_b", "of_c", "of_d"]
    features = tuple(Column(name, "number") for name in names)
    view = ViewRecord("v", 1, "s", 1, ("k",), "t", (), tuple(map(join, ("one", "two", "three"))), calls, features)
    moved = moved_view(view, "one_v1", hours(3))
    assert [(one.group, one.serving_delay_us) for one in moved.joins] == [("one", microseconds(hours(3))), ("two", 0)]
    assert [one.name for one in moved.on_demand] == ["a", "b", "c"]
    assert [one.name for one in moved.features] == ["one_x", "of_a", "of_c"]
    alone = moved_view(view, "three_v1", hours(3))
    assert ([one.group for one in alone.joins], alone.on_demand) == (["three"], ())
    assert alone.features == (Column("three_x", "number"),)


def tuned(version: int, space: dict[str, Any]) -> Any:
    declare = fti.model(
        name="high", version=version, dataset=tank_dataset, task="binary", tune=fti.Tuning(space=space, trials=1)
    )

    def fit(data: fti.TrainingData, trial: fti.Trial) -> Any:
        return LogisticRegression(C=trial["C"]).fit(data.train.X, data.train.y)

    return declare(fit)


def test_tuned_model_needs_the_parameters_of_a_build(stores: fti.Stores) -> None:
    with pytest.raises(ModelError, match="is tuned, and no accepted build of version 1 in .* run"):
        freshness(tuned(1, {"C": fti.Uniform(1.0, 2.0)}), stores=stores)


def test_parameters_are_those_of_the_own_version(stores: fti.Stores, tmp_path: Path) -> None:
    own = fti.Stores(lake=stores.lake, models=tmp_path)
    first, second = tuned(1, {"C": fti.Uniform(1.0, 2.0)}), tuned(2, {"C": fti.Uniform(10.0, 20.0)})
    for model in (first, second):
        testing.materialize(model, stores=own, partition=CUTOFF)
    store = own.model_store()
    assert 1.0 <= newest_parameters(first, store)["C"] <= 2.0
    assert 10.0 <= newest_parameters(second, store)["C"] <= 20.0
    renamed = tuned(2, {"C": fti.Uniform(10.0, 20.0), "penalty": fti.Uniform(0.0, 1.0)})
    with pytest.raises(ModelError, match=r"tuned over 'C' and 'penalty', .* 'C': there is no penalty\. Run high_v2"):
        newest_parameters(renamed, store)


def failing(numbers: set[int]) -> Any:
    """A model whose trainings of these numbers fail, each in its own way, and what was trained."""
    trained: list[int] = []

    def fit(data: fti.TrainingData) -> Any:
        trained.append(len(trained) + 1)
        if trained[-1] in numbers:
            raise [ValueError("solver did\nnot converge"), SystemExit(4)][trained[-1] % 2]
        return LogisticRegression().fit(data.train.X, data.train.y)

    return fti.model(name="touchy", dataset=tank_dataset, task="binary")(fit)


def test_a_delay_that_fails_does_not_end_the_others(stores: fti.Stores) -> None:
    requests: dict[str, Any] = {
        "stores": stores,
        "delays": ["0h", "15min", "1h", "6h"],
        "groups": ["levels"],
        "rows": 100,
    }
    some = freshness(failing({2, 3}), **requests)
    reasons = ["ValueError: solver did not converge", "touchy_v1 ends the process with exit code 4"]
    assert [one.delay for one in some.problems] == [timedelta(minutes=15), hours(1)]
    assert all(one.reason.startswith(reason) for one, reason in zip(some.problems, reasons, strict=True))
    assert [point.delay for point in some.points] == [hours(0), hours(6)]
    assert "levels_v1 15 min after its event time: ValueError: solver did not converge" in as_text(some)
    assert "2 failed, left out" in picture(some)
    assert from_json(to_json(some), what="curves") == some
    with pytest.raises(ModelError, match="cannot be trained at 2024-01-09 as it is declared: .* exit code 4"):
        freshness(failing({1}), **requests)
