"""Ratings of 21 years, a ranker that learns from six of them, and two years of weekly lists that it has not seen.

    make recommendations

Everything is materialized in the stores under ``FTI_HOME``. The clock stands at the end of the last week.
"""

import os
import time
from pathlib import Path
from typing import Any

import dagster as dg

import fti_assets as fti
from examples.recommendations.app import films_of_the_week
from examples.recommendations.outcome import COLORS, draw, interval, outcome
from examples.recommendations.system import candidates, charts, films, habits, lists, picks, ranker, ratings

FIRST, LEARNED, LAST = "1995-01-05", "2008-10-16", "2016-10-06"
CUTOFFS = ["2014-10-16", "2015-10-15"]


def main() -> None:
    """Run everything and say what came out."""
    with dg.DagsterInstance.get() as instance:
        _materialize(instance, films)
        _materialize(instance, ratings, FIRST, LAST)
        for group in (charts, habits, candidates):
            _materialize(instance, group, LEARNED, LAST)
        for cutoff in CUTOFFS:
            _materialize(instance, lists, cutoff, cutoff)
            _materialize(instance, ranker, cutoff, cutoff)
        _materialize(instance, picks, CUTOFFS[0], LAST)
    _account_of_builds()
    _account_of_lists()
    _account_online()


def _materialize(instance: dg.DagsterInstance, declaration: Any, *partitions: str) -> None:
    """One run of an asset, over a range if it is partitioned."""
    started = time.process_time()
    ends = zip(("start", "end"), partitions, strict=False)
    tags = {f"dagster/asset_partition_range_{one}": key for one, key in ends}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    assets, resources = [declaration.assets_def], {"fti": fti.Stores()}
    dg.materialize(assets, instance=instance, resources=resources, run_config=quiet, tags=tags)
    span = " to ".join(dict.fromkeys(partitions)) or "all"
    print(f"{declaration.key.to_user_string():16} {span:26} {time.process_time() - started:5.1f} s of CPU", flush=True)


def _account_of_builds() -> None:
    print(
        "\nThe ranker on the lists of the year before its cutoff, beside the films by how often they were rated in a year"
    )
    for build in fti.Stores().model_store().builds("ranker"):
        print(f"  {build.cutoff}  {build.status}  {build.metrics}")
        for verdict in build.gates:
            print(f"      {'passed' if verdict.passed else 'failed'} {verdict.gate}: {verdict.reason}")


def _account_of_lists() -> None:
    rows = outcome()
    second = rows["week"] >= CUTOFFS[1]
    for since, year in zip(CUTOFFS, (rows[~second], rows[second]), strict=True):
        print(f"\nThe year from {since} on, of which its ranker has seen nothing: {len(year)} lists of")
        print(f"{year['user_id'].nunique()} users who rated {year['films'].sum():,} films in their weeks.")
        print("One or more of the ten was among these, with 95% intervals over users:")
        for name in (*COLORS, "difference"):
            share, low, high = interval(year, name)
            result = "" if name == "difference" else f", {year[name].sum()} films in all"
            print(f"  {name:10} {share:.1%} ({low:.1%} to {high:.1%}){result}")
    picture = Path(os.environ["FTI_HOME"], "lists.svg")
    draw(picture, rows)
    print(f"{picture} has the picture.")


def _account_online() -> None:
    listed = fti.read(picks, partitions=[LAST])["user_id"].max()
    for user, who in ((listed, f"user {listed}"), (-1, "somebody new")):
        titles = ", ".join(f"{film['title']} ({film['year']})" for film in films_of_the_week(int(user))[:3])
        print(f"\nThe first three of this week for {who}: {titles}")


if __name__ == "__main__":
    main()
