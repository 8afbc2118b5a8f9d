"""The trained week of visits, which several modules predict for."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from fti_assets.core import clock
from tests.support.visits import (
    BUYER,
    LEAN,
    NETWORK,
    SCORER,
    SORTER,
    Bench,
    crowds,
    outcomes,
    run,
    shops,
    stores_in,
    visits,
)
from tests.support.worlds import made_once


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with a week, and a champion of each model with the cutoff on the fifth, made once for all processes."""

    def make(root: Path) -> None:
        with clock.at("2013-01-09T00:00:00"), dg.DagsterInstance.ephemeral() as instance:
            run(visits, outcomes, crowds, span=("01", "07"), stores=stores_in(root), instance=instance)
            run(shops, stores=stores_in(root), instance=instance)
            models = (BUYER, SORTER, SCORER, NETWORK, LEAN)
            declared = [one for declaration in models for one in (declaration.dataset, declaration)]
            run(*declared, stores=stores_in(root), instance=instance, partition_key="2013-01-05")

    return made_once(tmp_path_factory, "visits", make)


@pytest.fixture
def bench(trained: Path, tmp_path: Path) -> Iterator[Bench]:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Bench(tmp_path, instance)
