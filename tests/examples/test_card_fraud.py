"""Fraud by card: the simulator gives the same everywhere, the declarations do what they say on few rows, and stream is batch."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

import fti_assets as fti
from examples.card_fraud import on_demand, system
from examples.card_fraud.archive import AUTHORIZATION, Archive
from examples.card_fraud.replay import as_told, told
from examples.card_fraud.simulator import Bank, bank
from fti_assets import testing
from fti_assets.core import clock
from fti_assets.stores.streams.event import Event
from fti_assets.streaming.service import Settings, over
from fti_assets.streaming.service import stream as run_service
from fti_assets.testing import MemoryStream

FIRST, LIVE = "2024-02-05", "2024-04-01"
DIGEST = "2559e6c0b3ffa601b8fb34548ee042f0f7fea5949b4637542752d614fbcf8a66"


def test_the_declarations_are_at_most_150_lines() -> None:
    files = [Path(str(module.__file__)) for module in (system, on_demand)]
    assert sum(bool(line.strip()) for file in files for line in file.read_text().splitlines()) <= 150


def test_the_simulator_gives_the_same_everywhere() -> None:
    small = bank(days=12, cards=40, terminals=20)
    hashed = hashlib.sha256()
    for rows in (small.cards, small.terminals, small.authorizations, small.chargebacks):
        for name, column in rows.items():
            hashed.update(str(name).encode())
            if name == "kind":
                hashed.update(" ".join(column).encode())
            else:
                numbers = (column * 100).round() if column.dtype.kind == "f" else column
                hashed.update(numbers.to_numpy().astype("<i8").tobytes())
    assert hashed.hexdigest() == DIGEST


def test_what_is_simulated_is_what_is_said() -> None:
    whole = bank()
    rows = whole.authorizations
    assert rows["at"].is_monotonic_increasing
    assert rows["authorization"].tolist() == list(range(1, len(rows) + 1))
    late = rows["stored_at"] - rows["at"]
    assert late.min() >= pd.Timedelta("20ms")
    assert late.max() < pd.Timedelta("400ms")
    frauds = rows[rows["kind"] != "paid"]
    assert 0.02 < len(frauds) / len(rows) < 0.04
    back = whole.chargebacks.merge(rows, on="authorization")
    assert set(back["kind"]) == {"stolen", "compromised"}
    assert 0.88 < len(back) / len(frauds) < 0.92
    days = (back["charged_back_at"] - back["at"]) / pd.Timedelta("1D")
    assert 1 <= days.min() < days.max() < 9


def test_another_seed_is_another_bank() -> None:
    few: dict[str, Any] = {"days": 2, "cards": 20, "terminals": 20}
    assert not bank(**few).cards.equals(bank(**few, seed=1).cards)
    assert bank(**few).cards.equals(bank(**few).cards)


def test_an_event_of_a_replay_has_its_own_stamp() -> None:
    stored_at = datetime(2024, 4, 29, 10, 0, 0, 123456)
    event = Event(0, 7, 1_700_000_000_000_000, told({"card": 3}, stored_at))
    assert as_told(event) == replace(event, payload=b'{"card": 3}', stored_at=1_714_384_800_123_456)
    odd = replace(event, payload=b"no stamp@here")
    assert as_told(odd) == odd


def test_a_payment_is_compared_with_the_card_it_is_of() -> None:
    results = on_demand.payment(
        at=np.array(["2024-04-29T23:59:59"], "datetime64[us]"),
        amount=np.array([30.0]),
        **{name: np.array([value]) for name, value in {"home_x": 1.0, "home_y": 2.0, "x": 4.0, "y": 6.0}.items()},
        card_mean_30d=np.array([10.0]),
        card_terminals_1h=np.array([np.nan]),
        card_paid_1h=np.array([0.0]),
    )
    assert {name: values[0] for name, values in results.items() if name != "new_terminals"} == {
        "hour": 23,
        "kilometres_from_home": 5.0,
        "times_the_usual": 3.0,
    }
    assert np.isnan(results["new_terminals"][0])


def test_a_rule_of_amounts_gives_the_share_of_frauds_among_like_amounts() -> None:
    class Part:
        columns = {"amount": np.arange(100.0)}
        y = (np.arange(100) >= 95).astype(float)

    assert system.amount_rule(Part, Part)[[0, 89, 90, 99]].tolist() == [0.0, 0.0, 0.5, 0.5]


few_payments = fti.training_dataset(
    name="few_payments",
    view=system.asked,
    split=fti.TimeSplit(validation="4d", test="4d"),
    partitions_def=dg.WeeklyPartitionsDefinition(start_date=LIVE, day_offset=1),
)
guess = fti.model(name="guess", dataset=few_payments, task="binary", importance=False)(system.fraud.function)
GROUPS = (system.authorizations, system.chargebacks, system.by_card, system.by_terminal, system.frauds_by_terminal)
MORNING, NIGHT = f"{LIVE}T06:00:00Z", "2024-04-02T06:00:00Z"


@pytest.fixture(scope="module")
def small() -> Bank:
    return bank(days=57, cards=60, terminals=30)


@pytest.fixture(scope="module")
def stores(small: Bank, tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    """The stores in the morning after eight weeks, with a model that learned from them, and a day that a service has taken since."""
    folder = tmp_path_factory.mktemp("card_fraud")
    archive = Archive(folder=str(folder / "archive"))
    archive.write(small)
    stores = testing.stores_in(folder)
    known: dict[str, Any] = {"stores": stores, "resources": {"archive": archive}, "now": MORNING}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(system.SETTINGS, "n_estimators", 10)
        testing.materialize(system.cards, **known)
        testing.materialize(system.terminals, **known)
        testing.materialize(*GROUPS, **known, partition=(FIRST, "2024-03-31"))
        testing.materialize(few_payments, guess, **known, partition=LIVE)
    stream = MemoryStream("authorizations")
    rows = small.authorizations
    for one in rows[rows["at"] >= pd.Timestamp(LIVE)].sort_values("stored_at").to_dict("records"):
        event = {name: one[name] for name in AUTHORIZATION[:4]} | {"at": f"{one['at'].isoformat()}Z"}
        stream.put(event, at=one["stored_at"].value // 1_000)
    group = replace(system.authorizations, stream=stream)
    settings = Settings(until_caught_up=True, flush_seconds=60.0, batch_seconds=0.0, batch_events=7)
    with clock.at(NIGHT):
        places = stores.offline_store(), stores.online_store(), folder / "outbox"
        asyncio.run(run_service([group], *places, settings=settings, windows=over(group, GROUPS)))
    return stores


def test_what_the_model_saw_in_training_it_sees_online_where_a_service_keeps_the_windows(stores: fti.Stores) -> None:
    with clock.at(NIGHT):
        report = testing.assert_parity(guess, stores=stores, partitions=[LIVE], sample=60)
    assert report.rows == 60


def test_the_streamed_day_is_the_day_of_the_archive(stores: fti.Stores, small: Bank) -> None:
    rows = small.authorizations
    day = rows.loc[rows["at"] >= pd.Timestamp(LIVE), AUTHORIZATION].reset_index(drop=True)
    stored = fti.read(system.authorizations, stores=stores)
    stored = stored[stored["at"] >= pd.Timestamp(LIVE)].sort_values("authorization", ignore_index=True)
    pd.testing.assert_frame_equal(stored[AUTHORIZATION], day)
    streamed = _version(stores)
    archive = Archive(folder=str(Path(str(stores.lake)).parent / "archive"))
    testing.materialize(system.authorizations, stores=stores, resources={"archive": archive}, partition=LIVE, now=NIGHT)
    assert _version(stores) == streamed


def test_the_model_learns_from_no_payment_whose_chargeback_could_still_come(stores: fti.Stores) -> None:
    rows = fti.read(few_payments, stores=stores)
    assert rows["at"].max() < pd.Timestamp(LIVE) - pd.Timedelta("11D")
    assert 0 < rows["is_fraud"].mean() < 0.1


def _version(stores: fti.Stores) -> str:
    with stores.offline_store().connect() as lake:
        return lake.ledger(system.authorizations.table)[LIVE].data_version
