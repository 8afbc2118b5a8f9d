"""A small watched system: the week of visits, its buyer, its answers, what they are watched by, and a log."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets.core import clock
from tests.support.visits import BUYER, DAYS, LATER, SCORES, make_answered_week, run, stores_in
from tests.support.worlds import made_once

watch = fti.monitor(
    name="watch",
    predictions=SCORES,
    drift=[fti.Drift("psi", at_most=0.2, min_rows=5)],
    quality=[fti.Quality("log_loss", at_most=0.9, min_rows=5)],
)
log = fti.prediction_log(name="buyer_log", model=BUYER, partitions_def=DAYS, redact=["people"])
same = fti.parity(name="same", log=log)
DEFS = fti.build_definitions([watch, same])


def watched_week(factory: pytest.TempPathFactory) -> Path:
    """The week with its answers to the last day, which are watched; nobody changes it."""
    answered = made_once(factory, "answered_week", make_answered_week)

    def make(root: Path) -> None:
        shutil.copytree(answered, root, dirs_exist_ok=True)
        with clock.at(LATER), dg.DagsterInstance.ephemeral() as instance:
            run(watch, stores=stores_in(root), instance=instance, partition_key="2013-01-07")

    return made_once(factory, "watched_week", make)
