"""An experiment, end to end: logged answers with their labels, the verdict, and the model store that obeys it."""

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.rollouts.rollout import CHAMPION, Arm, Rollout
from fti_assets.errors import DeclarationError
from fti_assets.experiments import run as running
from fti_assets.inference.log.take_in import take_in
from fti_assets.inference.serving.answers.prediction import Prediction
from fti_assets.inference.serving.log.lines import Redaction, answer_line
from fti_assets.stores.models.aliases import Aliases
from fti_assets.stores.models.rollouts import change_shares, start_rollout
from tests.support.logged import file_in
from tests.support.partitions import range_tags
from tests.support.worlds import made_once

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-20")
CUTOFFS = dg.DailyPartitionsDefinition(start_date="2013-01-07", end_date="2013-01-20")
START, NOW = datetime(2013, 1, 10), datetime(2013, 1, 13)
FIRST = 10_000  # the first visit that was asked about, of which every other one bought


def of_run(context: dg.AssetExecutionContext, rows: pd.DataFrame) -> pd.DataFrame:
    window = context.partition_time_window
    start, end = (moment.replace(tzinfo=None) for moment in (window.start, window.end))
    return rows[(rows["t"] >= start) & (rows["t"] < end)]


def learned() -> pd.DataFrame:
    t = pd.date_range("2013-01-01", "2013-01-08", freq="h", inclusive="left")
    x = np.random.default_rng(3).normal(size=len(t))
    return pd.DataFrame({"visit_id": np.arange(len(t)), "t": t, "shop": "s", "x": x, "bought": (x > 0).astype(int)})


def asked() -> pd.DataFrame:
    visits = np.arange(6_000)
    t = START + pd.to_timedelta(visits * 30, "s")
    return pd.DataFrame({"visit_id": FIRST + visits, "t": t, "bought": visits % 2})


@fti.feature_group(keys=["visit_id"], event_time="t", partitions_def=DAYS)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return of_run(context, learned())[["visit_id", "t", "shop", "x"]]


@fti.feature_group(keys=["visit_id"], event_time="t", available_at="known", partitions_def=DAYS)
def outcomes(context: dg.AssetExecutionContext) -> pd.DataFrame:
    rows = of_run(context, pd.concat([learned(), asked()]))[["visit_id", "t", "bought"]]
    return rows.assign(known=rows["t"] + pd.Timedelta("1h"))


view = fti.FeatureView(
    name="buying", spine=visits, label=fti.Label(outcomes["bought"], maturity="2h"), features=[visits["x", "shop"]],
    encoders={"shop": fti.OneHot()},
)  # fmt: skip
buying = fti.training_dataset(
    name="buying", view=view, split=fti.TimeSplit(validation="1d", test="1d"), partitions_def=CUTOFFS
)


def buyer(promote: Any) -> Any:
    @fti.model(name="buyer", dataset=buying, task="binary", promote=promote)
    def train(data: fti.TrainingData) -> Any:
        return LogisticRegression().fit(data.train.X, data.train.y)

    return train


OBEYING, TOLD = buyer("after_experiment"), buyer("by_hand")


def experiment(model: Any = OBEYING, metric: str = "brier", **options: Any) -> Any:
    log = fti.prediction_log(name="buyer_log", model=model, partitions_def=DAYS)
    return fti.experiment(
        **{"name": "buyer_arms", "model": model, "log": log, "metric": metric, "least_keys": 300} | options
    )


def make_world(root: Path) -> None:
    stores = stores_in(root)
    with dg.DagsterInstance.ephemeral() as instance, clock.at(START):
        for declared, span in (([visits, outcomes], ("01", "12")), ([buying, OBEYING], ("07", "08"))):
            days = [f"2013-01-{day}" for day in span]
            with clock.at(NOW) if declared[0] is visits else clock.at(START - timedelta(days=1)):
                assets = [one.assets_def for one in declared]
                assert dg.materialize(
                    assets, instance=instance, resources={"fti": stores}, tags=range_tags(*days)
                ).success


def stores_in(root: Path) -> fti.Stores:
    return fti.Stores(**{name: str(root / name) for name in ("lake", "models", "online", "log")})


class Bench:
    """A lake and two builds of the buyer, of which the first is champion."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance, self.stores = root, instance, stores_in(root)
        self.store = self.stores.model_store()
        self.champion, self.challenger = (build.reference for build in self.store.builds("buyer"))
        self.files = 0

    @property
    def aliases(self) -> Aliases:
        return self.store.aliases("buyer")

    def start(self, kind: Any = "ab", share: float = 0.5) -> Rollout:
        going = Rollout(
            kind, (Arm("challenger", self.challenger, share),), ("shop",), "salt", START.isoformat(), "to try"
        )
        with clock.at(START):
            start_rollout(self.store, "buyer", going)
        return going

    def log(self, rows: list[dict[str, Any]], model: Any = OBEYING) -> None:
        """Answers as a server logs them, taken in."""
        builds = {CHAMPION: self.champion, "challenger": self.challenger}
        lines = []
        for row in rows:
            answer = Prediction(
                row["value"], {"x": 0.5}, (), row["at"], "buyer", row.get("build", builds[row["arm"]]), arm=row["arm"]
            )
            request = {"visit_id": row["visit"], "shop": row["shop"], "x": 0.5}
            lines.append(answer_line(answer, request, row["id"], 0, row["at"], None, Redaction()))
        file_in(self.root / "log" / "buyer", lines, number=(number := self.files))
        self.files = number + 1
        with self.stores.offline_store().connect() as lake:
            log = experiment(model).log
            take_in(log, lake, self.root / "log" / "buyer", DAYS.get_partition_keys(), asset="buyer_log_v1")

    def judge(self, declared: Any = None, *, now: datetime = NOW, success: bool = True) -> dict[str, dict[str, Any]]:
        """The rows of the table by arm."""
        declared = declared or experiment()
        with clock.at(now):
            assets = [declared.assets_def]
            result = dg.materialize(
                assets,
                instance=self.instance,
                resources={"fti": self.stores},
                raise_on_error=success,
                tags={"any": "run"},
            )
        self.checks = {one.check_name: one for one in result.get_asset_check_evaluations()} if result.success else {}
        self.error = "" if result.success else str(result.failure_data_for_node("buyer_arms_v1").error.cause)
        rows = fti.read(declared, stores=self.stores, as_="dicts") if result.success else []
        return {row["arm"]: row for row in rows}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "experiment_of_buying", make_world)


@pytest.fixture
def bench(made: Path, tmp_path: Path) -> Iterator[Bench]:
    shutil.copytree(made, tmp_path / "world")
    with dg.DagsterInstance.ephemeral() as instance:
        yield Bench(tmp_path / "world", instance)


Answer = Callable[[str, int], float]


def answers(going: Rollout, value: Answer, *, visits: int = 2_000) -> list[dict[str, Any]]:
    """Two visits of each shop, answered by the build of its arm; ``value`` of an arm and of whether the visit bought."""
    rows = []
    for number in range(visits):
        shop = f"s{number // 2}"
        arm = going.arm_of([shop]) if going.kind != "shadow" else None
        name = arm.name if arm else CHAMPION
        at = START + timedelta(seconds=30 * number)
        rows.append(
            {
                "visit": FIRST + number,
                "shop": shop,
                "arm": name,
                "at": at,
                "id": f"r{number}",
                "value": value(name, number % 2),
            }
        )
    return rows


def better(arm: str, bought: int) -> float:
    """The challenger leans to what turned out."""
    return 0.5 if arm == CHAMPION else 0.3 + 0.4 * bought + 0.001 * (bought + 1)


def worse(arm: str, bought: int) -> float:
    return 0.5 if arm == CHAMPION else 0.9 - 0.8 * bought


def noisy(value: Answer) -> Answer:
    rng = np.random.Generator(np.random.PCG64(5))
    return lambda arm, bought: float(np.clip(value(arm, bought) + rng.normal(0, 0.05), 0.01, 0.99))


def test_a_better_arm_becomes_champion_and_its_rollout_ends(bench):
    going = bench.start()
    rows = answers(going, noisy(better))
    bench.log(rows)
    table = bench.judge(now=NOW)
    assert (bench.aliases.champion, bench.aliases.rollout) == (bench.challenger, None)
    assert bench.aliases.rollouts[-1].event == "promoted challenger"
    assert bench.aliases.history[-1].reason == table["challenger"]["reason"]
    [observation, *_] = bench.instance.fetch_observations(OBEYING.key, limit=1).records
    displayed = observation.asset_observation.metadata
    assert displayed["champion"].value == bench.challenger
    assert displayed["changed_by"].value.startswith("run ")
    challenger = table["challenger"]
    assert (challenger["verdict"], challenger["promoted"], challenger["is_estimate"]) == (
        "promote",
        "challenger",
        False,
    )
    assert challenger["reason"].startswith("arm 'challenger' improves by 0.1")
    # The same figures by hand, of the answers until the look.
    until = challenger["until"]
    by_shop: dict[str, dict[str, list[float]]] = {CHAMPION: {}, "challenger": {}}
    for row in rows:
        if row["at"] <= until:
            by_shop[row["arm"]].setdefault(row["shop"], []).append((row["value"] - row["visit"] % 2) ** 2)
    for arm, shops in by_shop.items():
        assert table[arm]["keys"] == len(shops)
        assert table[arm]["answers"] == sum(map(len, shops.values()))
        assert table[arm]["mean"] == pytest.approx(np.mean([np.mean(own) for own in shops.values()]))
    assert min(len(shops) for shops in by_shop.values()) == 300
    assert all(check.passed for check in bench.checks.values())
    again = bench.judge()  # nothing goes on: what was found stays
    assert again == table


def test_a_worse_arm_is_stopped_and_the_champion_stays(bench):
    bench.log(answers(bench.start(), noisy(worse)))
    table = bench.judge()
    assert table["challenger"]["verdict"] == "stop"
    assert (bench.aliases.champion, bench.aliases.rollout) == (bench.champion, None)
    assert bench.aliases.rollouts[-1].event == "stopped"


def test_few_keys_are_an_estimate_that_changes_nothing(bench):
    going = bench.start()
    bench.log(answers(going, noisy(better), visits=400))
    table = bench.judge()
    assert table["challenger"]["verdict"] == "wait"
    assert table["challenger"]["is_estimate"]
    assert table["challenger"]["improvement_low"] > 0  # it would be enough for whoever looks too soon
    assert bench.aliases.rollout == going


def test_answers_younger_than_the_maturity_do_not_count(bench):
    going = bench.start()
    rows = answers(going, noisy(better), visits=400)
    bench.log(rows)
    now = START + timedelta(hours=4)
    table = bench.judge(now=now)
    mature = [row for row in rows if row["at"] <= now - timedelta(hours=2)]
    assert 0 < len(mature) < len(rows)
    assert sum(arm["answers"] for arm in table.values()) == len(mature)


def test_a_model_that_people_promote_is_only_judged(bench):
    going = bench.start()
    bench.log(answers(going, noisy(better)), TOLD)
    assert bench.judge(experiment(TOLD))["challenger"]["verdict"] == "promote"
    assert (bench.aliases.champion, bench.aliases.rollout) == (bench.champion, going)


def test_a_rollout_that_changed_since_it_was_judged_is_left_alone(bench, monkeypatch):
    going = bench.start()
    bench.log(answers(going, noisy(better)))
    judged = running._judge

    def shift_meanwhile(*arguments: Any) -> Any:
        result = judged(*arguments)
        change_shares(bench.store, "buyer", {"challenger": 0.2}, reason="somebody was faster")
        return result

    monkeypatch.setattr(running, "_judge", shift_meanwhile)
    bench.judge()
    check = bench.checks["verdict_obeyed"]
    assert not check.passed
    assert "has changed since it was judged, so nothing was done; the verdict was 'promote'" in check.description
    assert bench.aliases.rollout == going.with_shares({"challenger": 0.2})
    assert bench.aliases.champion == bench.champion


@pytest.mark.soak
def test_changed_shares_begin_the_comparison_anew(bench):
    going = bench.start()
    rows = answers(going, noisy(better))
    bench.log(rows)
    half = rows[1000]["at"]
    with clock.at(half):
        change_shares(bench.store, "buyer", {"challenger": 0.6}, reason="no complaints")
    table = bench.judge()
    assert table["challenger"]["since"] == half
    assert sum(arm["answers"] for arm in table.values()) == len([row for row in rows if row["at"] >= half])


@pytest.mark.soak
def test_keys_that_are_not_shared_out_as_planned_fail_the_check(bench):
    going = bench.start()
    rows = answers(going, noisy(better))
    lost = [row for row in rows if row["arm"] == CHAMPION or row["visit"] % 8 < 4]
    bench.log(lost)
    table = bench.judge(experiment(least_keys=200))
    assert table["challenger"]["verdict"] == "wait"
    assert not bench.checks["keys_as_planned"].passed
    assert "are planned" in bench.checks["keys_as_planned"].description
    assert bench.aliases.rollout == going


def test_answers_of_other_builds_and_arms_are_left_out(bench):
    going = bench.start()
    rows = answers(going, noisy(better), visits=400)
    odd = [row | {"id": f"odd{row['id']}", "build": "v1/20130101T000000Z-00000000"} for row in rows[:10]]
    bench.log([*rows, *odd])
    table = bench.judge()
    assert sum(arm["answers"] for arm in table.values()) == 400


@pytest.mark.soak
def test_a_shadow_is_compared_on_what_both_answered(bench):
    going = bench.start("shadow", 1.0)
    champions = answers(going, noisy(better))
    shadows = [
        row
        | {"arm": "challenger", "id": f"{row['id']}~challenger", "value": row["value"] * 0.9 + 0.1 * (row["visit"] % 2)}
        for row in champions
        if row["visit"] % 10
    ]
    bench.log([*champions, *shadows])
    table = bench.judge()
    assert {arm: row["answers"] for arm, row in table.items()} == dict.fromkeys(table, table[CHAMPION]["answers"])
    assert table["challenger"]["verdict"] == "promote"
    assert table["challenger"]["keys"] == 300
    assert bench.aliases.champion == bench.challenger


def test_a_bandits_shares_follow_the_chance_to_be_best(bench):
    going = bench.start("bandit", 0.5)
    bench.log(answers(going, noisy(better)))
    declared = experiment(metric="accuracy", least_share=0.1)
    table = bench.judge(declared)
    shifted = bench.aliases.rollout
    assert shifted.arms[0].share == pytest.approx(0.9)
    assert sum(arm["chance"] for arm in table.values()) == pytest.approx(1.0)
    assert (table["challenger"]["verdict"], bench.aliases.champion) == ("wait", bench.champion)
    # Keys of the arm that gains stay; the other one gives up just what it loses.
    keys = [f"s{number}" for number in range(2_000)]
    assert all(shifted.arm_of([key]) for key in keys if going.arm_of([key]))
    before = len(bench.aliases.rollouts)
    bench.judge(declared)
    assert bench.aliases.rollout == shifted  # a small change moves nobody
    assert len(bench.aliases.rollouts) == before


@pytest.mark.parametrize(("kind", "metric", "message"), [
    ("shadow", "outcome", "compares outcomes, which a shadow cannot change"),
    ("bandit", "log_loss", "compares log_loss, by which no bandit can go"),
])  # fmt: skip
def test_a_figure_that_does_not_suit_the_rollout_is_refused(bench, kind, metric, message):
    bench.log(answers(bench.start(kind), better, visits=20))
    better_if = {"better": "higher"} if metric == "outcome" else {}
    bench.judge(experiment(metric=metric, **better_if), success=False)
    assert message in bench.error


def test_without_a_rollout_there_is_nothing_to_judge(bench):
    assert bench.judge() == {}


def test_what_a_rollout_gained_is_judged_by_the_outcome(bench):
    going = bench.start()
    bench.log(answers(going, better, visits=400))
    table = bench.judge(experiment(metric="outcome", better="lower"))
    rows = answers(going, better, visits=400)
    for arm in table:
        shops = {row["shop"] for row in rows if row["arm"] == arm}
        assert (table[arm]["keys"], table[arm]["mean"]) == (len(shops), 0.5)  # each shop bought every other time


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "roc_auc"}, "by 'roc_auc': a mean over answers is compared"),
        ({"metric": "outcome"}, "say whether better='higher' or better='lower'"),
        ({"better": "lower"}, "compares brier, which says itself what is better"),
        ({"least_keys": 50}, "at least 100 of each arm"),
        ({"looks": 9}, "has looks=9: from 1 to 3"),
        ({"confidence": 95}, "between 0.5 and 1"),
        ({"least_share": 0.7}, "between 0 and 0.5"),
        ({"partitions_def": DAYS}, "cannot be partitioned"),
        ({"model": TOLD, "log": experiment().log}, "give the model's own log"),
    ],
)
def test_an_impossible_experiment_is_refused_when_it_is_declared(options, message):
    with pytest.raises(DeclarationError, match=message):
        experiment(**options)


def test_labels_that_the_log_redacts_are_refused():
    log = fti.prediction_log(name="buyer_log", model=OBEYING, partitions_def=DAYS, redact=["visit_id"])
    with pytest.raises(DeclarationError, match="come by 'visit_id': leave that out of redact of buyer_log_v1"):
        experiment(log=log)


def test_definitions_hold_the_log_and_the_model_of_an_experiment():
    definitions = fti.build_definitions([experiment()])
    keys = {key.to_user_string() for key in definitions.get_repository_def().assets_defs_by_key}
    assert {"buyer_arms_v1", "buyer_log_v1", "buyer_v1", "outcomes_v1"} <= keys
    sensor = next(one for one in definitions.sensors if one.name.endswith("_inference"))
    assert "buyer_arms_v1" in str(sensor.asset_selection)


def test_an_experiment_runs_once_when_answers_have_changed():
    declared = experiment()
    definitions = fti.build_definitions([declared])
    with dg.DagsterInstance.ephemeral() as instance, clock.at(NOW):

        def report(key: dg.AssetKey, version: str) -> None:
            tags = {"dagster/data_version": version}
            instance.report_runless_asset_event(dg.AssetMaterialization(key, partition="2013-01-10", tags=tags))

        def requested(cursor: Any = None) -> tuple[int, Any]:
            selection = dg.AssetSelection.assets(declared.key)
            result = dg.evaluate_automation_conditions(definitions, instance, asset_selection=selection, cursor=cursor)
            return result.total_requested, result.cursor

        report(outcomes.key, "a")
        runs, cursor = requested()
        assert runs == 0  # nothing was logged yet
        report(declared.log.key, "a")
        runs, cursor = requested(cursor)
        assert runs == 1
        runs, cursor = requested(cursor)
        assert runs == 0
        instance.report_runless_asset_event(dg.AssetMaterialization(declared.key))
        report(declared.log.key, "a")
        runs, cursor = requested(cursor)
        assert runs == 0  # run again, and nothing changed
        report(outcomes.key, "b")
        assert requested(cursor)[0] == 1
