"""Differences and ratios between the slices of a column, as Fairlearn has them."""

import fairlearn.metrics
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.errors import DeclarationError
from fti_assets.training.judging.evaluation import Evaluation
from fti_assets.training.judging.fairness import FIGURES, fairness
from fti_assets.training.judging.metrics.answers import Answers

BOTH = [(group, label) for group in "abc" for label in (0, 1)]


@settings(max_examples=3)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", ""]), st.integers(0, 1), st.sampled_from([0.1, 0.3, 0.5, 0.9])),
        min_size=10,
        max_size=30,
    ),
    st.sampled_from([0.3, 0.5]),
)
def test_figures_are_fairlearns_where_each_slice_has_both_labels(rows, threshold):
    rows = [*rows, *((group, label, 0.4 + 0.2 * label) for group, label in [*BOTH, ("", 0), ("", 1)])]
    group, y, probability = (np.array(values) for values in zip(*rows, strict=True))
    record = fairness(Answers(y, probability, threshold), ["sex"], {"sex": group})["sex"]
    result = (probability >= threshold).astype(int)
    for name in FIGURES:
        theirs = getattr(fairlearn.metrics, name)(y, result, sensitive_features=group)
        assert record.figures.get(name, np.nan) == pytest.approx(theirs, nan_ok=True), name
    frame = fairlearn.metrics.MetricFrame(
        metrics={
            "rows": fairlearn.metrics.count,
            "selection_rate": fairlearn.metrics.selection_rate,
            "true_positive_rate": fairlearn.metrics.true_positive_rate,
            "false_positive_rate": fairlearn.metrics.false_positive_rate,
        },
        y_true=y,
        y_pred=result,
        sensitive_features=group,
    ).by_group
    for name, rates in record.groups.items():
        for rate in frame:
            assert getattr(rates, rate) == pytest.approx(frame[rate][name]), (name, rate)


def test_a_rate_of_one_slice_alone_gives_no_figure():
    y, group = np.array([1, 1, 0, 0]), np.array(["a", "a", "b", "b"])
    record = fairness(Answers(y, np.array([0.9, 0.1, 0.9, 0.9])), ["g"], {"g": group})["g"]
    assert record.groups["b"].true_positive_rate is None
    assert record.groups["a"].false_positive_rate is None
    assert record.figures == {"demographic_parity_difference": 0.5, "demographic_parity_ratio": 0.5}


def test_a_slice_without_yeses_does_not_count_for_true_positives():
    y, group = np.array([1, 1, 1, 0, 0]), np.array(["a", "a", "c", "b", "c"])
    record = fairness(Answers(y, np.array([0.9, 0.1, 0.9, 0.9, 0.1])), ["g"], {"g": group})["g"]
    assert record.figures["equal_opportunity_difference"] == 0.5
    assert record.figures["equalized_odds_difference"] == 1.0


def test_ratios_of_zeros_are_left_out():
    group = np.array(["a", "a", "b", "b"])
    record = fairness(Answers(np.array([1, 0, 1, 0]), np.zeros(4)), ["g"], {"g": group})["g"]
    assert set(record.figures) == {
        "demographic_parity_difference",
        "equal_opportunity_difference",
        "equalized_odds_difference",
    }


def test_small_slices_are_left_out_and_counted():
    y, group = np.array([1, 0, 1]), np.array(["a", "a", "b"])
    record = fairness(Answers(y, np.ones(3)), ["g"], {"g": group}, min_rows=2)["g"]
    assert (list(record.groups), record.left_out) == (["a"], 1)
    assert (record.slices_left_out, record.largest_left_out, record.min_rows) == (1, {"b": 1}, 2)
    assert record.figures == {}
    assert fairness(Answers(y, np.ones(3)), ["g"], {"g": group}, min_rows=9)["g"].figures == {}


def test_crossed_columns_are_one_slicing():
    columns = {"x": np.array(["a", "a"]), "y": np.array(["b", "c"])}
    record = fairness(Answers(np.array([1, 0]), np.array([0.9, 0.1])), [("x", "y")], columns)["x, y"]
    assert record.groups["a, b"].selection_rate == 1.0


def test_only_a_binary_model_decides():
    with pytest.raises(DeclarationError, match="a regression model decides nothing"):
        Evaluation(metrics=["mae"], fairness=["g"]).check("regression")
