"""A small watched system: the week of visits, its buyer, its answers, what they are watched by, and a log."""

from pathlib import Path

import dagster as dg

import fti_assets as fti
from fti_assets.core import clock
from tests.support.visits import BUYER, DAYS, LATER, SCORES, make_answered_week, run, stores_in

watch = fti.monitor(name="watch", predictions=SCORES, drift=[fti.Drift("psi", at_most=0.2, min_rows=5)])
log = fti.prediction_log(name="buyer_log", model=BUYER, partitions_def=DAYS, redact=["people"])
same = fti.parity(name="same", log=log)
DEFS = fti.build_definitions([watch, same])


def make_watched_week(root: Path) -> None:
    """The week with its answers to the last day, which are watched."""
    make_answered_week(root)
    with clock.at(LATER), dg.DagsterInstance.ephemeral() as instance:
        run(watch, stores=stores_in(root), instance=instance, partition_key="2013-01-07")
