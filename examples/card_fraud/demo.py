"""Three months of simulated payments by card, a model of frauds, and a day of decisions from a live stream.

    make card_fraud

Everything is materialized in the stores under ``FTI_HOME``. Where JetStream answers at ``CARD_FRAUD_NATS``, the last day is then told to
it in a minute, event by event, while ``fti stream`` runs; else to a stream in memory, while the same service runs in this process.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

import fti_assets as fti
from examples.card_fraud import live
from examples.card_fraud.in_memory import decide_in_memory
from examples.card_fraud.simulator import bank
from examples.card_fraud.system import (
    archive,
    authorizations,
    by_card,
    by_terminal,
    cards,
    chargebacks,
    decisions,
    fraud,
    frauds_by_terminal,
    payments,
    stream,
    terminals,
)
from fti_assets.core.home import home

HISTORY = ("2024-02-05", "2024-04-28")
CUTOFF = LIVE = "2024-04-29"
MORNING, NIGHT = f"{LIVE}T06:00:00Z", "2024-04-30T06:00:00Z"


def main() -> None:
    """Run everything and say what came out."""
    simulated = bank()
    archive.write(simulated)
    os.environ["FTI_NOW"] = MORNING
    with dg.DagsterInstance.get() as instance:
        for lookup in (cards, terminals):
            materialize(instance, lookup)
        for group in (authorizations, chargebacks, by_card, by_terminal, frauds_by_terminal):
            materialize(instance, group, HISTORY)
        for declaration in (payments, fraud):
            materialize(instance, declaration, (CUTOFF, CUTOFF))
        account_of_build()
        day = simulated.authorizations
        day = day[day["at"] >= pd.Timestamp(LIVE)]
        os.environ["FTI_NOW"] = NIGHT
        decided = tell(day)
        account_of_night(instance, decided)


def materialize(instance: dg.DagsterInstance, declaration: Any, partitions: tuple[str, str] | None = None) -> Any:
    """One run of an asset, over a range if it is partitioned."""
    started, tags = time.process_time(), {}
    if partitions is not None:
        tags = dict(zip(("start", "end"), partitions, strict=True))
        tags = {f"dagster/asset_partition_range_{one}": key for one, key in tags.items()}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    resources = {"fti": fti.Stores(), "archive": archive}
    result = dg.materialize(
        [declaration.assets_def], instance=instance, resources=resources, run_config=quiet, tags=tags
    )
    span = " to ".join(partitions or ("all",))
    print(f"{declaration.key.to_user_string():22} {span:26} {time.process_time() - started:5.1f} s of CPU", flush=True)
    return result


def account_of_build() -> None:
    """How good the model is on ten days that it has not seen, beside the rule of amounts."""
    build = list(fti.Stores().model_store().builds("fraud"))[-1]
    print(f"\n{build.build} of {build.dataset.rows['train']:,} payments is {build.status}")
    for verdict in build.gates:
        print(f"    {'passed' if verdict.passed else 'failed'} {verdict.gate}: {verdict.reason}")


def tell(day: pd.DataFrame) -> pd.DataFrame | None:
    """Tell a day to the stream, and say how it went; None where the day is in the lake already."""
    if stored_version() is not None:
        print(f"\n{LIVE} is in the lake already: remove {home()} to tell it to the stream again")
        return None
    log = home() / "stream.log"
    if live.answers():
        asyncio.run(live.make_stream())
        with live.service(log):
            decided = live.decide(day)
        asyncio.run(live.drop_stream())
    else:
        print(f"\nNATS does not answer at {stream.address()}: the day is told to a stream in memory, in this process")
        decided = decide_in_memory(day, log)
    from sklearn.metrics import average_precision_score

    is_fraud = (day["kind"] != "paid").to_numpy()[: len(decided)]
    alerts = decided["probability"] >= 0.5
    print(
        f"\n{len(day):,} payments of {LIVE} were told to the stream {stream.name}, {len(decided):,} of them decided before they were told"
    )
    print(f"    {alerts.sum()} alerts, {(alerts & is_fraud).sum()} of them frauds, of which there are {is_fraud.sum()}")
    for name, scores in (("the model", decided["probability"]), ("the amount", decided["amount"])):
        print(f"    average precision of {name}: {average_precision_score(is_fraud, scores):.3f}")
    for name, column in (("from event to online value", "online_ms"), ("a decision", "decided_ms")):
        p50, p99 = np.percentile(decided[column], [50, 99])
        print(f"    {name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    letters = sum(line["number"] for line in live.said(log, "dead_letters"))
    print(f"    {len(live.said(log, 'flushed'))} flushes, {letters} dead letters")
    return decided


def account_of_night(instance: dg.DagsterInstance, decided: pd.DataFrame | None) -> None:
    """The night's run over the archive beside what the stream had stored, and the decisions beside those of a batch."""
    print()
    streamed = stored_version()
    run = materialize(instance, authorizations, (LIVE, LIVE))
    for group in (chargebacks, by_card, by_terminal, frauds_by_terminal, decisions):
        materialize(instance, group, (LIVE, LIVE))
    batch = stored_version()
    if decided is None:
        return
    verdict = "equal" if streamed == batch else "DIFFERENT"
    print(f"\nThe day's content hash is {streamed} of the stream and {batch} of the night's run: {verdict}")
    for check in run.get_asset_check_evaluations():
        if check.check_name == "equals_stream":
            print(f"The check equals_stream {'passed' if check.passed else f'warned: {check.description}'}")
    offline = fti.read(decisions)[["authorization", "probability"]]
    both = decided.merge(offline, on="authorization", how="left", suffixes=("", "_at_night"))
    same = (both["probability"] == both["probability_at_night"]).sum()
    print(f"{same:,} of {len(both):,} live decisions are, to the last digit, those that a batch makes at night")


def stored_version() -> str | None:
    """The content hash of the day that is told, as it is stored; None before."""
    with fti.Stores().offline_store().connect() as lake:
        record = lake.ledger(authorizations.table).get(LIVE)
    return None if record is None else record.data_version


if __name__ == "__main__":
    main()
