import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import ThresholdRecord
from fti_assets.errors import DeclarationError, ModelError
from fti_assets.training.judging.evaluation import Evaluation, evaluate
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.thresholds import chosen_threshold, threshold_of
from tests.support.examples import examples

ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.30000000000000004, 0.5, 0.9, 1.0]), st.booleans()),
    min_size=2,
    max_size=12,
).filter(lambda rows: len({yes for _, yes in rows}) == 2)


def value(goal: str, y: np.ndarray, yes: np.ndarray) -> float:
    hits, misses, alarms = (y & yes).sum(), (y & ~yes).sum(), (~y & yes).sum()
    if goal == "f1":
        return float(2 * hits / (2 * hits + misses + alarms))
    if goal == "accuracy":
        return float((y == yes).mean())
    return float(hits / y.sum() - alarms / (~y).sum())


def said(probability: np.ndarray, threshold: float) -> np.ndarray:
    """What a graph, which answers in float32, says at a threshold."""
    return probability.astype(np.float32) >= np.float32(threshold)


@settings(max_examples=examples(180))
@given(ROWS, st.sampled_from(["f1", "accuracy", "youden"]))
def test_no_other_threshold_does_better(rows, goal):
    probability, y = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    chosen = chosen_threshold(goal, Answers(y, probability), what="d")
    others = [0.0, *probability, *np.nextafter(probability.astype(np.float32), np.float32(2))]
    best = max(value(goal, y, said(probability, other)) for other in others if other <= 1)
    assert value(goal, y, said(probability, chosen.value)) == pytest.approx(best, abs=1e-9)
    assert 0 <= chosen.value <= 1
    assert (chosen.goal, chosen.rows) == (goal, len(rows))


def test_of_equal_thresholds_the_one_nearest_a_half():
    answers = Answers(np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.7]))
    assert chosen_threshold("accuracy", answers, what="d").value == 0.5


@pytest.mark.parametrize(
    ("y", "message"), [([], "has no validation rows"), ([1, 1], "has only 1 as label in its 2 validation rows")]
)
def test_a_threshold_that_nothing_tells_is_refused(y, message):
    with pytest.raises(ModelError, match=f"loans 2024 {message}, so no threshold can be chosen by f1"):
        chosen_threshold("f1", Answers(np.array(y), np.zeros(len(y))), what="loans 2024")


def test_a_declared_threshold_asks_nobody():
    assert threshold_of(0.2, lambda: pytest.fail("asked"), what="d") == ThresholdRecord(float(np.float32(0.2)))


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.7, 0.9, 0.95])
def test_a_probability_of_just_the_threshold_is_a_yes(threshold):
    probability, y = np.full(4, threshold, dtype=np.float32), np.ones(4)
    scores = evaluate("binary", ["accuracy", "recall"], {"probability": probability}, y, threshold=threshold)
    assert scores == {"accuracy": 1.0, "recall": 1.0}
    record = threshold_of(threshold, lambda: pytest.fail("asked"), what="d")
    assert float(probability[0]) >= record.value  # as an app writes it
    below = {"probability": np.nextafter(probability, np.float32(0))}
    assert evaluate("binary", ["accuracy"], below, y, threshold=record.value) == {"accuracy": 0.0}


def test_neighbours_of_float32_are_told_apart():
    low = np.float32(0.3)
    answers = Answers(np.array([0, 1]), np.array([low, np.nextafter(low, np.float32(1))], dtype=np.float64))
    assert said(answers.predictions, chosen_threshold("f1", answers, what="d").value).tolist() == [False, True]


def test_metrics_of_decisions_follow_the_threshold():
    outputs, y = {"probability": np.array([0.2, 0.4, 0.9])}, np.array([1, 0, 1])
    at_half = evaluate("binary", ["accuracy", "recall"], outputs, y)
    assert at_half == pytest.approx({"accuracy": 2 / 3, "recall": 0.5})
    assert evaluate("binary", ["accuracy", "recall"], outputs, y, threshold=0.1) == pytest.approx(
        {"accuracy": 2 / 3, "recall": 1.0}
    )


@pytest.mark.parametrize("threshold", [1.5, float("nan"), "f2"])
def test_thresholds_that_cannot_be_are_refused(threshold):
    with pytest.raises(DeclarationError, match="threshold"):
        Evaluation(metrics=["f1"], threshold=threshold)


def test_only_a_binary_model_has_a_threshold():
    with pytest.raises(DeclarationError, match="a regression model has no threshold"):
        Evaluation(metrics=["mae"], threshold="f1").check("regression")


def test_a_threshold_needs_no_metrics_named():
    evaluation = Evaluation(threshold="f1", slices=["origin"])
    assert evaluation.metric_names == ()
    assert evaluation.for_task("binary") == Evaluation(
        metrics=["roc_auc", "log_loss", "brier"], threshold="f1", slices=["origin"]
    )
    named = Evaluation(metrics=["f1"], threshold=0.3)
    assert named.for_task("binary") is named
