"""Which rows are from after now: local times that are taken as UTC, and not what is planned or hidden until later."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.core import clock
from tests.features.oracles import START

NOW = START + timedelta(days=3)
HOUR = timedelta(hours=1)


def not_in_future(folder: Path, rows: pd.DataFrame, **times: str) -> dg.AssetCheckEvaluation:
    @fti.feature_group(keys=["flight"], event_time="departs", **times)  # type: ignore[arg-type]
    def flights() -> pd.DataFrame:
        return rows

    with clock.at(NOW.isoformat()):
        done = dg.materialize([flights.assets_def], resources={"fti": fti.Stores(lake=str(folder / "lake"))})
    return next(one for one in done.get_asset_check_evaluations() if one.check_name == "rows_not_in_future")


@pytest.mark.parametrize(
    ("departs", "known", "later"),
    [(24, -24, None), (-1, 2, 3), (-72, -48, None), (-1, 0, None)],
    ids=["planned", "hidden until later", "past", "known now"],
)
def test_rows_that_say_honestly_when_they_are_known_are_no_warning(
    tmp_path: Path, departs: int, known: int, later: int | None
) -> None:
    rows = pd.DataFrame({"flight": [1, 2, 3], "departs": NOW + departs * HOUR, "known": NOW + known * HOUR})
    judged = not_in_future(tmp_path, rows, available_at="known")
    assert judged.passed
    result = judged.metadata.get("rows_available_later")
    assert (result and result.value) == later


def test_rows_true_and_known_only_after_now_are_warning(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {"flight": [1, 2, 3], "departs": NOW + 2 * HOUR, "known": [NOW - HOUR, NOW + HOUR, NOW + 5 * HOUR]}
    )
    judged = not_in_future(tmp_path, rows, available_at="known")
    assert not judged.passed
    assert judged.severity == dg.AssetCheckSeverity.WARN
    assert (judged.description or "").startswith("2 rows of flights_v1 with 'departs' and 'known' after now, up to ")
    stated = not_in_future(tmp_path / "stated", rows[["flight", "departs"]], serving_delay="1h")
    assert (stated.description or "").startswith("3 rows of flights_v1 with 'departs' after now, up to ")
