"""What metrics are expected to be without labels, beside every way the labels could come."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, precision_score, roc_auc_score

from fti_assets.monitoring.quality.estimate import ESTIMATED, can_estimate, estimates
from fti_assets.training.judging.metrics.answers import Answers

P = np.array([0.05, 0.3, 0.3, 0.55, 0.7, 0.9, 0.97])
ANSWERS = Answers(np.zeros(len(P)), np.array([0.1, 0.2, 0.4, 0.5, 0.4, 0.8, 0.9]), threshold=0.4)


def test_expectations_are_those_over_all_labels_that_could_come() -> None:
    decided = ANSWERS.predictions >= 0.4
    scores: dict[str, Any] = {
        "accuracy": lambda y: accuracy_score(y, decided),
        "precision": lambda y: precision_score(y, decided, zero_division=0),
        "brier": lambda y: brier_score_loss(y, ANSWERS.predictions),
        "log_loss": lambda y: log_loss(y, ANSWERS.predictions, labels=[0, 1]),
    }
    every = [np.array(y) for y in product([0, 1], repeat=len(P))]
    chances = [np.where(y == 1, P, 1 - P).prod() for y in every]
    figures = estimates(list(scores), ANSWERS, P, draws=0)
    for name, score in scores.items():
        assert figures[name].value == pytest.approx(sum(c * score(y) for c, y in zip(chances, every, strict=True))), (
            name
        )


def test_the_expected_confusion_matrix_and_curve_give_ratios() -> None:
    yes, s = ANSWERS.predictions >= 0.4, ANSWERS.predictions
    hits, alarms, misses = P[yes].sum(), (1 - P[yes]).sum(), P[~yes].sum()
    pairs = P[:, None] * (1 - P)[None, :]
    order = (s[:, None] > s[None, :]) + 0.5 * (s[:, None] == s[None, :])
    figures = estimates(["recall", "f1", "roc_auc"], ANSWERS, P, draws=0)
    assert figures["recall"].value == pytest.approx(hits / (hits + misses))
    assert figures["f1"].value == pytest.approx(2 * hits / (2 * hits + alarms + misses))
    assert figures["roc_auc"].value == pytest.approx((pairs * order).sum() / pairs.sum())


@pytest.mark.soak
def test_the_interval_holds_what_labels_of_those_chances_give() -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(1, 2, 400)
    figure = estimates(["roc_auc"], Answers(np.zeros(400), p), p)["roc_auc"]
    values = [roc_auc_score(rng.random(400) < p, p) for _ in range(200)]
    assert figure.interval is not None
    assert (figure.interval.low, figure.interval.high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.015)
    assert figure.value == pytest.approx(np.mean(values), abs=0.006)
    again = estimates(["roc_auc"], Answers(np.zeros(400), p), p)["roc_auc"]
    assert again == figure


def test_several_classes_are_expected_each_by_its_probability() -> None:
    rng = np.random.default_rng(2)
    p = rng.dirichlet([1, 1, 2], 300)
    answers = Answers(np.zeros(300), p)
    figures = estimates(["accuracy", "log_loss", "roc_auc"], answers, p, draws=200)
    assert figures["accuracy"].value == pytest.approx(p.max(axis=1).mean())
    assert figures["log_loss"].value == pytest.approx(-(p * np.log(p)).sum(axis=1).mean(), rel=1e-5)
    labels = [(rng.random(300)[:, None] >= p.cumsum(axis=1)[:, :-1]).sum(axis=1) for _ in range(60)]
    areas = [roc_auc_score(y, p, multi_class="ovr") for y in labels]
    assert figures["roc_auc"].value == pytest.approx(np.mean(areas), abs=0.01)
    interval = figures["accuracy"].interval
    assert interval is not None
    assert interval.low < figures["accuracy"].value < interval.high


def test_only_probabilities_can_be_expected() -> None:
    assert all(can_estimate(name, "binary") and can_estimate(name, "multiclass") for name in ESTIMATED)
    assert not can_estimate("rmse", "regression")
    assert not can_estimate("ece", "binary")
    assert can_estimate("roc_auc", "multilabel") and can_estimate("roc_auc:late", "multilabel")  # noqa: PT018
    assert not can_estimate("exact_match", "multilabel")
    assert not can_estimate("rmse:late", "multioutput")


def test_a_mean_over_labels_is_expected_however_they_come_together() -> None:
    """The second label is the first, or its opposite: an expectation of each, whose mean does not depend on the other's."""
    p = P[:4]
    own = np.stack([ANSWERS.predictions[:4], ANSWERS.predictions[1:5]], axis=1)
    every = [np.array(y) for y in product([0, 1], repeat=len(p))]
    chances = [np.where(y == 1, p, 1 - p).prod() for y in every]
    for opposite in (False, True):
        chance = np.stack([p, 1 - p if opposite else p], axis=1)
        answers = Answers(np.zeros(own.shape), own, (0.4, 0.5), labels=("a", "b"), task="multilabel")
        figures = estimates(["brier", "accuracy", "brier:b"], answers, chance, draws=50)
        scores: dict[str, list[float]] = {"brier": [], "accuracy": [], "brier:b": []}
        for y in every:
            of = (y, 1 - y if opposite else y)
            briers = [brier_score_loss(each, own[:, at], labels=[0, 1]) for at, each in enumerate(of)]
            right = [accuracy_score(each, own[:, at] >= (0.4, 0.5)[at]) for at, each in enumerate(of)]
            for name, score in {"brier": np.mean(briers), "accuracy": np.mean(right), "brier:b": briers[1]}.items():
                scores[name].append(float(score))
        assert {name: one.value for name, one in figures.items()} == {
            name: pytest.approx(np.dot(chances, values)) for name, values in scores.items()
        }
        assert figures["brier"].interval is None
        alone = estimates(["brier"], answers.of_label("b"), chance[:, 1], draws=50)["brier"]
        assert figures["brier:b"] == alone


def test_a_mean_over_labels_is_undefined_where_one_is() -> None:
    answers = Answers(np.zeros((2, 2)), np.array([[0.2, 0.4], [0.6, 0.4]]), labels=("a", "b"), task="multilabel")
    figures = estimates(["roc_auc", "roc_auc:a", "roc_auc:b"], answers, np.array([[0.2, 0.0], [0.6, 0.0]]), draws=0)
    assert list(figures) == ["roc_auc:a"]
