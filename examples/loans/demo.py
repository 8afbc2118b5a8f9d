"""A quarter of loans: two models, a person who approves one, a month of decisions with reasons, and which model was better.

    make loans

Everything is materialized in the stores under ``FTI_HOME``. The clock is set: the models are trained on the first of March, the
applications of March are decided, and a month later it is known how they were graded.
"""

import os
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

import fti_assets as fti
from examples.loans.picture import draw
from examples.loans.system import (
    THRESHOLD,
    applications,
    arms,
    decisions,
    grader_alone,
    grader_in_context,
    grades,
    rows_alone,
    rows_in_context,
    state_record,
)
from fti_assets.cli import main as fti_command
from fti_assets.core import clock

JANUARY, MARCH, END = "2018-01-01", "2018-03-01", "2018-03-31"
ARMS = ["arm", "keys", "mean", "improvement", "improvement_low", "improvement_high", "look", "verdict"]
TRAINED, DECIDED, GRADED = datetime(2018, 3, 1, 6), datetime(2018, 3, 1, 9), datetime(2018, 4, 2, 6)


def main() -> None:
    """Run everything and say what came out."""
    with dg.DagsterInstance.get() as instance:
        with clock.at(TRAINED):
            for group in (grades, applications, state_record):
                _materialize(instance, group, JANUARY, MARCH)
            models: list[Any] = [rows_alone, grader_alone, rows_in_context, grader_in_context]
            for declaration in models:
                _materialize(instance, declaration, MARCH, MARCH)
            approve()
        with clock.at(DECIDED):
            decide()
        with clock.at(GRADED):
            for declaration in (grades, decisions):
                _materialize(instance, declaration, MARCH, END)
            _materialize(instance, arms)
            _account_of_arms()


def _materialize(instance: dg.DagsterInstance, declaration: Any, *partitions: str) -> None:
    """One run of an asset, over a range if it is partitioned."""
    started = time.process_time()
    ends = zip(("start", "end"), partitions, strict=False)
    tags = {f"dagster/asset_partition_range_{one}": key for one, key in ends}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    assets, resources = [declaration.assets_def], {"fti": fti.Stores()}
    dg.materialize(assets, instance=instance, resources=resources, run_config=quiet, tags=tags)
    span = " to ".join(dict.fromkeys(partitions)) or "all"
    print(f"{declaration.key.to_user_string():22} {span:26} {time.process_time() - started:5.1f} s of CPU", flush=True)


def approve() -> None:
    """What a person looks at, and the approval: the model of the application alone first, the other one for half of the keys."""
    store = fti.Stores().model_store()
    newest = {build.version: build for build in store.builds("grader")}
    print(
        "\nBuilds that wait for approval, on the test rows of January and February (scikit-learn's logistic regression beside them):"
    )
    for build in newest.values():
        print(f"  {build.reference}  {build.status}")
        for verdict in build.gates:
            print(f"    {'passed' if verdict.passed else 'failed'} {verdict.gate}: {verdict.reason}")
        for column, record in build.fairness.items():
            figures = {name: round(value, 3) for name, value in record.figures.items() if name.endswith("difference")}
            print(f"    fairness by {column}: {figures}")
    champion, challenger = newest[1].reference, newest[2].reference
    print("\n$ fti promote grader ...")
    _fti(
        "promote",
        "grader",
        champion,
        "--by",
        "credit committee",
        "--reason",
        "the model card was read on the first of March",
    )
    print("$ fti rollout start grader ...")
    _fti("rollout", "start", "grader", challenger, "--kind", "ab", "--share", "0.5", "--key", "application_id", "--salt", "march",
         "--reason", "is the state worth looking up")  # fmt: skip


def _fti(*words: str) -> None:
    if fti_command(list(words)):
        raise SystemExit(1)


def requests_of(month: str) -> list[dict[str, Any]]:
    """The applications of a month as an app would send them."""
    rows = fti.read(applications, partitions=[month]).sort_values("application_id")
    plain = rows.drop(columns="applied_at").astype(object)
    requests: list[dict[str, Any]] = plain.where(plain.notna(), None).to_dict("records")
    return requests


def decide() -> None:
    """Ask for each application of March and log the answers; those that a person is to look at first come with their reasons."""
    requests, started = requests_of(MARCH), time.process_time()
    log = os.path.join(os.environ["FTI_HOME"], "log")
    with fti.Predictor.load("grader", log=log) as predictor:
        answers: list[Any] = [predictor.predict(one) for one in requests]
        each = (time.process_time() - started) / len(requests) * 1e3
        first = [one for one, answer in zip(requests, answers, strict=True) if answer.value >= THRESHOLD]
    with fti.Predictor.load("grader") as predictor:
        started = time.process_time()
        explained: list[Any] = [predictor.predict(one, explain="score") for one in first]
        of_reasons = (time.process_time() - started) / len(first) * 1e3
    print(f"\n{len(answers):,} applications of March were decided, {each:.1f} ms of CPU each, by")
    for arm, count in Counter(answer.arm for answer in answers).items():
        ages = next(answer.ages for answer in answers if answer.arm == arm)
        print(f"  {arm}: {count:,}, with the groups {', '.join(ages) or 'none: all stands in the request'}")
    print(f"A person is to look at {len(first):,} first, with reasons, {of_reasons:.0f} ms of CPU each.")
    riskiest = max(explained, key=lambda answer: answer.value)
    print(f"The riskiest, by {riskiest.build}: {riskiest.value:.0%} for D or worse. What moved its log-odds most:")
    reasons = riskiest.explanation.contributions
    for name in sorted(reasons, key=lambda one: -abs(reasons[one]))[:5]:
        print(f"  {name} = {riskiest.features[name]}: {reasons[name]:+.2f}")
    picture = Path(os.environ["FTI_HOME"], "riskiest.svg")
    title = f"The riskiest application of March: {riskiest.value:.0%} for grade D or worse. What moved its log-odds"
    draw(picture, title, riskiest.features, reasons)
    print(f"{picture} has the picture.")


def _account_of_arms() -> None:
    rows = fti.read(arms.table_name)
    print(
        "\nThe arms by the log loss of March, and the verdict, which a person may follow (fti rollout promote, or stop):"
    )
    print(rows[ARMS].round(4).to_string(index=False))
    graded = fti.read(grades, partitions=[END])[["application_id", "is_risky"]]
    logged = fti.read(decisions).merge(graded, on="application_id")
    risky = logged["is_risky"].to_numpy()
    share = fti.read(grades, partitions=["2018-01-31", "2018-02-28"])["is_risky"].mean()
    print(f"\nLog loss on the {len(logged):,} applications of March: served {_log_loss(risky, logged['probability'].to_numpy()):.4f}, "
          f"the share of January and February for all {_log_loss(risky, np.full(len(risky), share)):.4f}")  # fmt: skip


def _log_loss(outcome: np.ndarray, probability: np.ndarray) -> float:
    return float(-np.log(np.where(outcome, probability, 1 - probability)).mean())


if __name__ == "__main__":
    main()
