"""What a first tick asks for of a system that was built in part, on recorded events."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.errors import DeclarationError
from tests.automation.test_conditions import launched, report, ticks_of

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_offset=1)
WEEKS = dg.WeeklyPartitionsDefinition(start_date="2024-01-07", end_offset=1)
CUTOFFS = [(datetime(2024, 1, 7) + timedelta(weeks=n)).strftime("%Y-%m-%d") for n in range(15)]
NOW = "2024-04-18T12:00"


def system(*, dataset: int = 1, model: int | None = None, predictions: int | None = None) -> list[Any]:
    @fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
    def seen() -> pd.DataFrame: ...

    view = fti.FeatureView(name="view", spine=seen, label=fti.Label(seen["y"]), features=[seen["x"]])
    rows = fti.training_dataset(
        name="rows",
        view=view,
        partitions_def=WEEKS,
        split=fti.TimeSplit(validation="1d", test="2d"),
        catch_up=dataset,
    )

    @fti.model(dataset=rows, task="binary", catch_up=model)
    def net(data: fti.TrainingData) -> Any: ...

    answers = fti.batch_predictions(name="answers", model=net, partitions_def=DAYS, catch_up=predictions)
    return [seen, rows, net, answers]


def days(first: str, last: str) -> list[str]:
    return [day.strftime("%Y-%m-%d") for day in pd.date_range(first, last)]


def first_tick(declarations: list[Any], instance: dg.DagsterInstance) -> dict[str, list[str]]:
    return ticks_of(fti.build_definitions(declarations), instance, [NOW])[0]


@pytest.mark.parametrize(("catch_up", "asked"), [(1, CUTOFFS[-1:]), (2, CUTOFFS[-2:]), (15, CUTOFFS[3:])])
def test_a_first_tick_asks_for_the_newest_cutoffs_alone(
    catch_up: int, asked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    observed, rows, _net, answers = system(dataset=catch_up)
    with dg.DagsterInstance.ephemeral() as instance, caplog.at_level(logging.INFO):
        report(instance, observed.key, *days("2024-01-01", "2024-04-17"))
        report(instance, rows.key, *CUTOFFS[:3])
        results = first_tick([answers], instance)
    assert results["rows_v1"] == asked
    messages = [record.getMessage() for record in caplog.records if "older missing" in record.getMessage()]
    if catch_up == 15:
        assert not messages
    else:
        assert messages == [
            f"rows_v1 catches up on the newest {'cutoff that is' if catch_up == 1 else '2 cutoffs that are'} ready; "
            f"{12 - catch_up} older missing ones are left: {CUTOFFS[3]} to {CUTOFFS[-1 - catch_up]}. Materialize them as a "
            "backfill, or declare catch_up=15"
        ]


def test_model_is_made_for_newest_cutoffs_of_its_dataset() -> None:
    for options, requests in [({}, CUTOFFS[-1:]), ({"dataset": 3}, CUTOFFS[-3:]), ({"model": 2}, CUTOFFS[-2:])]:
        _seen, rows, net, answers = system(**options)
        with dg.DagsterInstance.ephemeral() as instance:
            report(instance, rows.key, *CUTOFFS)
            report(instance, net.key, *CUTOFFS[:3])
            assert first_tick([answers], instance) == {"net_v1": requests}


def test_days_never_answered_are_answered_from_newest_cutoff_on() -> None:
    for options, since in [({}, CUTOFFS[-1]), ({"predictions": 2}, CUTOFFS[-2]), ({"dataset": 15}, CUTOFFS[2])]:
        observed, rows, net, answers = system(**options)
        with dg.DagsterInstance.ephemeral() as instance:
            report(instance, observed.key, *days("2024-01-01", "2024-04-17"))
            report(instance, rows.key, *CUTOFFS)
            report(instance, net.key, *CUTOFFS[2:])
            assert first_tick([answers], instance).get("answers_v1", []) == days(since, "2024-04-17")


def test_answered_day_is_answered_again_when_its_rows_change_however_old() -> None:
    observed, rows, net, answers = system()
    with dg.DagsterInstance.ephemeral() as instance:
        report(instance, observed.key, *days("2024-01-01", "2024-04-17"))
        report(instance, rows.key, *CUTOFFS)
        report(instance, net.key, *CUTOFFS)
        report(instance, answers.key, "2024-02-01")
        defs = fti.build_definitions([answers])
        cursor = None
        for number in range(2):
            moment = f"2024-04-18T12:0{number}"
            at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
            with clock.at(moment):
                tick = dg.evaluate_automation_conditions(
                    defs, instance, dg.AssetSelection.assets(answers.key), evaluation_time=at, cursor=cursor
                )
            cursor = tick.cursor
            if number == 0:
                launched(instance, {answers.key: set(tick.get_requested_partitions(answers.key))})
                report(instance, observed.key, "2024-02-01", "2024-02-02", early=True)
        assert tick.get_requested_partitions(answers.key) == {"2024-02-01"}


@pytest.mark.parametrize("kind", ["dataset", "model", "predictions"])
def test_cutoffs_to_catch_up_on_are_a_bounded_number(kind: str) -> None:
    whose = {"dataset": "training dataset 'rows'", "model": "model 'net'", "predictions": "batch predictions 'answers'"}
    for catch_up in (0, -1, 1001):
        with pytest.raises(
            DeclarationError, match=rf"{whose[kind]}: catch_up={catch_up} is not from 1 to 1,000: write "
        ):
            system(**{kind: catch_up})
    wrong: list[Any] = [True, "3", 2.5]
    for value in wrong:
        with pytest.raises(DeclarationError, match="catch_up is .* takes a whole number"):
            system(**{kind: value})


def test_model_waits_for_a_pending_newest_cutoff() -> None:
    """Or it would be made first for a cutoff that is old one tick later."""
    observed, rows, _net, answers = system()
    with dg.DagsterInstance.ephemeral() as instance:
        report(instance, observed.key, *days("2024-01-01", "2024-04-17"))
        report(instance, rows.key, *CUTOFFS[:3])
        assert first_tick([answers], instance) == {"rows_v1": CUTOFFS[-1:], "net_v1": CUTOFFS[-1:]}
