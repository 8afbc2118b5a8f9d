"""The page of whole pictures: every threshold, row and slice, in one file that needs nothing from elsewhere."""

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from fti_assets.training.judging.pictures.curves import reliability, roc, worst_first
from fti_assets.training.judging.pictures.picture_page import picture_page

RNG = np.random.default_rng(5)


class Page(HTMLParser):
    """The texts and the paths of a page; every element is closed as it was opened, but for what HTML leaves open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.paths: list[str] = []
        self.rects = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        inputs = dict(attributes)
        assert not inputs.keys() & {"src", "href", "onload"}
        assert tag not in ("script", "link", "img")
        self.paths += [inputs["d"]] if tag == "path" else []
        self.rects += tag == "rect"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())


def test_a_regression_shows_a_dot_for_every_row() -> None:
    value = np.arange(560, dtype=np.float64)
    page = Page(picture_page("fare v1", "regression", value, value[::-1].copy(), {}, ["rmse"]))
    assert "A dot for each of 560 rows." in page.texts
    assert page.paths[-1].count("h0") == 560
    assert page.paths[-1].startswith("M0.0 0.0h0")  # the least was predicted, and the greatest turned out
    assert page.paths[-1].endswith("M480.0 480.0h0")


def test_a_million_rows_are_counted_in_cells() -> None:
    value = RNG.normal(size=1_000_000)
    page = picture_page("fare v1", "regression", value, value, {}, ["rmse"])
    assert "1,000,000 rows, counted in cells" in page
    assert 50 < Page(page).rects <= 96
    assert len(page) < 100_000


def test_a_roc_curve_has_every_threshold() -> None:
    y, probability = RNG.integers(0, 2, 300), RNG.random(300)
    page = Page(picture_page("net v1", "binary", probability, y, {}, ["roc_auc"]))
    curve = roc(y, probability)
    assert f"ROC curve, area {curve.area:.4f}" in page.texts
    points = re.findall(r"([0-9.]+) ([0-9.]+)", page.paths[1])
    assert len(points) == len(curve.hits) == 301


def test_every_slice_is_there_and_the_worst_is_first() -> None:
    slices = {"origin": {f"o{n}": {"roc_auc": 1 - n / 200, "brier": 0.1, "rows": float(n + 1)} for n in range(100)}}
    slices["origin"][""] = {"rows": 2.0}
    page = Page(picture_page("net v1", "binary", RNG.random(50), RNG.integers(0, 2, 50), slices, ["roc_auc", "brier"]))
    assert "101 values, the worst roc_auc first." in page.texts
    listed = [text for text in page.texts if re.fullmatch(r"o\d+|\(missing\)", text)]
    assert listed == [*(f"o{n}" for n in reversed(range(100))), "(missing)"]


def test_of_more_values_than_are_evaluated_page_says_so() -> None:
    slices = {"user": {f"u{n}": {"rmse": 1.0, "rows": 5.0} for n in range(200)}}
    page = picture_page("m", "regression", np.ones(3), np.ones(3), slices, ["rmse"])
    assert "the 200 values with the most rows" in page


@pytest.mark.parametrize("rows", [1, 2, 11])
def test_names_that_html_would_take_for_its_own_are_text(rows: int) -> None:
    name = "<script>alert('&')</script>\x00"
    slices = {name: {name: {"log_loss": 0.1, "rows": 1.0}}}
    y, outputs = RNG.integers(0, 3, rows), RNG.dirichlet(np.ones(3), rows)
    page = Page(picture_page(name, "multiclass", outputs, y, slices, ["log_loss"]))
    assert page.texts.count("<script>alert('&')</script>") >= 2
    assert "Calibration of the top class" in page.texts


def test_bins_hold_every_row_once() -> None:
    y, probability = RNG.integers(0, 2, 97), RNG.random(97)
    bins = reliability(y, probability)
    assert bins.rows.sum() == 97
    assert bins.observed @ bins.rows == pytest.approx(y.sum())
    assert bins.predicted @ bins.rows == pytest.approx(probability.sum())


def test_of_equal_slices_the_larger_is_worse() -> None:
    slices = {"a": {"rmse": 1.0, "rows": 3.0}, "b": {"rmse": 1.0, "rows": 9.0}, "c": {"rmse": 2.0, "rows": 1.0}}
    assert worst_first(slices, "rmse") == ["c", "b", "a"]
