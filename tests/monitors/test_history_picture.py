"""The history of a column as a picture: short enough to be shown in place, with its peaks where they were."""

import re
from datetime import datetime, timedelta
from xml.etree import ElementTree

import numpy as np
import pytest

from fti_assets.monitors.history_picture import History, history_picture
from fti_assets.monitors.quality.history_picture import QualityHistory, quality_picture
from fti_assets.training.judging.pictures.build_pictures import SHOWN_IN_PLACE, image

START = datetime(2013, 6, 1)


def history(days: int, column: str = "late_rate") -> History:
    rng = np.random.default_rng(days)
    starts = [START + timedelta(days=day) for day in range(days) if day % 13 != 5]
    psi = dict(zip(starts, rng.gamma(2.0, 0.04, len(starts)).tolist(), strict=True))
    return History(column, psi, dict(zip(starts, rng.random(len(starts)).tolist(), strict=True)), 0.2)


def points(svg: str, colour: str) -> list[tuple[int, int]]:
    """The corners of the line of a colour, from its steps."""
    (path,) = re.findall(rf"<path d='(M[^']*)' fill='none' stroke='{colour}'", svg)
    x, y, *steps = map(int, re.findall(r"-?\d+", path))
    result = [(x, y)]
    for dx, dy in zip(steps[::2], steps[1::2], strict=True):
        result.append((result[-1][0] + dx, result[-1][1] + dy))
    return result


@pytest.mark.parametrize("days", [1, 2, 7, 40, 90])
@pytest.mark.parametrize("column", ["x", "a_very_long_name_of_a_feature<&>_that_goes_on"])
def test_a_picture_is_xml_that_is_shown_in_place(days: int, column: str) -> None:
    svg = history_picture(history(days, column))
    ElementTree.fromstring(svg)
    assert len(image(svg, column)) < SHOWN_IN_PLACE


def test_the_largest_psi_is_at_the_top_and_stays_in_few_points() -> None:
    one = history(90)
    peak = START + timedelta(days=45)
    one.psi[peak] = 5.0
    line = points(history_picture(one), "#43d")
    assert min(line, key=lambda point: point[1]) == (pytest.approx(45 / 89 * 240, abs=5), 0)
    assert (line[0][0], line[-1][0]) == (0, 240)


def test_null_rates_are_drawn_from_none_to_all() -> None:
    one = History("x", {}, {START: 0.0, START + timedelta(days=1): 0.5, START + timedelta(days=2): 1.0})
    assert points(history_picture(one), "#999") == [(0, 60), (pytest.approx(120, abs=3), 30), (240, 0)]


def test_the_interval_of_one_day_is_drawn() -> None:
    picture = quality_picture(QualityHistory("roc_auc", {datetime(2013, 1, 1): (0.8, 0.7, 0.9)}))
    (band,) = re.findall(r"<path d='([^']*)' fill='#43d' opacity", picture)
    assert band.startswith("M0 0h")
    assert "V60h" in band
