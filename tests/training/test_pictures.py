"""Pictures: small SVGs that show what the numbers say, and stay short enough to be shown in place."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from fti_assets.training.judging.pictures.build_pictures import (
    SHOWN_IN_PLACE,
    bars,
    calibration,
    image,
    pictures,
    predicted_and_actual,
    roc_curve,
)

SVG = "{http://www.w3.org/2000/svg}"
RNG = np.random.default_rng(3)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def points(svg: str) -> list[tuple[int, int]]:
    """Where the drawn line or dots go, with the origin at the lower left and 200 to a side; the axes come first."""
    drawn = [element.attrib["d"] for element in ElementTree.fromstring(svg).iter(f"{SVG}path")][1]
    return [(int(x), 200 - int(y)) for x, y in re.findall(r"(-?\d+) (-?\d+)", drawn)]


def test_roc_curve_of_perfect_order_goes_up_and_then_across() -> None:
    curve = roc_curve(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]))
    assert points(curve)[0] == (0, 0)
    assert points(curve)[-1] == (200, 200)
    assert all(x == 0 or y == 200 for x, y in points(curve))
    assert "ROC, area 1.000" in texts(curve)


def test_the_roc_curve_of_equal_answers_is_the_diagonal() -> None:
    curve = roc_curve(np.array([0, 1, 0, 1]), np.full(4, 0.5))
    assert all(x == y for x, y in points(curve))
    assert "ROC, area 0.500" in texts(curve)


def test_the_area_is_that_of_the_metric() -> None:
    from sklearn.metrics import roc_auc_score

    y, probability = RNG.integers(0, 2, 500), RNG.random(500).round(1)
    assert f"ROC, area {roc_auc_score(y, probability):.3f}" in texts(roc_curve(y, probability))


def test_calibrated_answers_lie_on_diagonal_of_axis_that_fits_them() -> None:
    probability = np.repeat([0.1, 0.2, 0.3, 0.4], 100)
    y = np.concatenate([np.arange(100) < share for share in (10, 20, 30, 40)])
    order = RNG.permutation(400)
    picture = calibration(y[order], probability[order])
    assert "0.5" in texts(picture)
    assert sum(x for x, _ in points(picture)) == pytest.approx(sum(y for _, y in points(picture)), abs=60)
    assert max(x for x, _ in points(picture)) == 160


def test_overconfident_answers_lie_below_the_diagonal() -> None:
    picture = calibration(np.arange(100) % 2, np.full(100, 0.9))
    assert set(points(picture)) == {(180, 100)}


def test_values_that_were_hit_lie_on_the_diagonal() -> None:
    value = RNG.normal(size=300) * 1e5
    picture = predicted_and_actual(value, value)
    assert len(points(picture)) > 10
    assert all(x == y for x, y in points(picture))
    assert "24 of 300 rows" in texts(picture)
    assert predicted_and_actual(np.ones(3), np.ones(3))  # no range at all


def test_bars_are_as_long_as_their_scores_and_say_them() -> None:
    picture = bars("roc_auc by origin", {"": 0.5, "EWR": 1.0})
    [path] = [element.attrib["d"] for element in ElementTree.fromstring(picture).iter(f"{SVG}path")]
    assert [int(length) for length in re.findall(r"h(\d+)", path)] == [58, 116]
    assert texts(picture) == ["(missing) 0.5", "EWR 1", "roc_auc by origin", "the worst first"]


@pytest.mark.parametrize(
    ("metric", "worst"),
    [("roc_auc", ["c0 0.5", "c1 0.51", "c2 0.52"]), ("log_loss", ["c29 0.79", "c28 0.78", "c27 0.77"])],
)
def test_the_worst_slices_are_shown_and_of_how_many(metric: str, worst: list[str]) -> None:
    results = {f"c{number}": {metric: 0.5 + number / 100, "rows": 100.0} for number in range(30)}
    picture = pictures("binary", RNG.random(9), RNG.integers(0, 2, 9), {"carrier": results}, metric)["slices/carrier"]
    *names, title, which = texts(picture)
    assert names[:3] == worst
    assert title == f"{metric} by carrier"
    assert which == f"the worst {len(names)} of 30".replace(" of", ", of")


def test_slices_of_few_rows_are_not_the_worst_ones() -> None:
    results = {"few": {"roc_auc": 0.1, "rows": 29.0}, "a": {"roc_auc": 0.8, "rows": 30.0}, "none": {"rows": 90.0}}
    displayed = pictures("binary", RNG.random(9), RNG.integers(0, 2, 9), {"c": results}, "roc_auc")["slices/c"]
    assert texts(displayed) == ["a 0.8", "roc_auc by c", "the worst 1 with 30 rows or more, of 3"]
    small = {"few": {"roc_auc": 0.1, "rows": 29.0}, "fewer": {"roc_auc": 0.9, "rows": 2.0}}
    displayed = pictures("binary", RNG.random(9), RNG.integers(0, 2, 9), {"c": small}, "roc_auc")["slices/c"]
    assert texts(displayed) == ["few 0.1", "fewer 0.9", "roc_auc by c", "the worst first"]


def test_of_column_with_more_values_largest_slices_are_meant() -> None:
    results = {f"c{number}": {"rmse": float(number), "rows": 9.0} for number in range(200)}
    displayed = pictures("regression", RNG.random(9), RNG.random(9), {"c": results}, "rmse")["slices/c"]
    assert texts(displayed)[0] == "c199 199"
    assert texts(displayed)[-1].endswith(", of the 200 largest")


def test_each_task_has_its_pictures() -> None:
    slices = {"origin": {"EWR": {"roc_auc": 0.7, "rows": 9.0}}, "dest": {"JFK": {"rows": 2.0}}}
    y, probability = RNG.integers(0, 2, 50), RNG.random(50)
    assert list(pictures("binary", probability, y, slices, "roc_auc")) == ["roc_curve", "calibration", "slices/origin"]
    assert list(pictures("binary", probability, np.ones(50), {}, "roc_auc")) == ["calibration"]
    probabilities = RNG.dirichlet(np.ones(3), 50)
    assert list(pictures("multiclass", probabilities, RNG.integers(0, 3, 50), {}, "log_loss")) == ["calibration"]
    assert list(pictures("regression", RNG.normal(size=50), RNG.normal(size=50), {}, "rmse")) == [
        "predicted_and_actual"
    ]


@pytest.mark.parametrize("rows", [1, 2, 3, 20_000])
def test_every_picture_is_short_enough_to_be_shown_in_place(rows: int) -> None:
    y, probability = RNG.integers(0, 2, rows), RNG.random(rows).astype(np.float32)
    names = {"&<é\x00" * 10 + str(number): {"roc_auc": -1.234e-9 * number, "rows": 1.0} for number in range(50)}
    drawn = pictures("binary", probability, y, {"c" * 63: names}, "roc_auc") | pictures(
        "regression", RNG.normal(size=rows) * 1e9, RNG.normal(size=rows) * 1e9, {}, "rmse"
    )
    for name, svg in drawn.items():
        ElementTree.fromstring(svg)
        assert len(image(svg, name)) < SHOWN_IN_PLACE, name
