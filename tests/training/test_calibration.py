"""Calibrators against scikit-learn's, and the nodes of the graph against the calibrators."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression

from fti_assets.training.calibration.calibrators import calibrated_answers, fit_calibrator, log_odds
from fti_assets.training.calibration.nodes import with_calibration
from tests.support.examples import examples


def identity(classes=0):
    """A graph that gives what it gets, ``[n]`` or ``[n, classes]``."""
    shape = ["n", classes] if classes else ["n"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["p"], ["probability"])],
        "g",
        [onnx.helper.make_tensor_value_info("p", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("probability", onnx.TensorProto.FLOAT, shape)],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 4)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def run(graph, values):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(["probability"], {"p": np.asarray(values, np.float32)})[0]


def drawn(seed, rows, ties=1_000):
    rng = np.random.default_rng(seed)
    probability = (rng.integers(0, ties + 1, rows) / ties).astype(np.float32)
    truth = rng.random(rows) < probability**2
    truth[:2] = True, False
    return probability, truth


@given(seed=st.integers(0, 2**32), rows=st.integers(2, 300), ties=st.sampled_from([3, 50, 10**6]))
@settings(max_examples=examples(36))
@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_graph_answers_as_scikit_learn(method, seed, rows, ties):
    probability, truth = drawn(seed, rows, ties)
    requests = np.concatenate([probability, np.random.default_rng(seed).random(50, dtype=np.float32), [0.0, 1.0]])
    calibrator = fit_calibrator(method, probability, truth)
    if method == "isotonic":
        oracle = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(
            probability.astype(np.float64), truth.astype(np.float64)
        )
        expected = oracle.predict(requests.astype(np.float64))
    else:
        oracle = _SigmoidCalibration().fit(log_odds(probability), truth.astype(int))
        expected = oracle.predict(log_odds(requests))
    assert calibrator(requests) == pytest.approx(expected, abs=2e-4 if method == "platt" else 1e-9)
    assert run(with_calibration(identity(), "probability", [calibrator]), requests) == pytest.approx(
        calibrator(requests), abs=1e-6
    )


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_classes_are_calibrated_each_and_sum_to_one(method):
    rng = np.random.default_rng(0)
    answers = rng.dirichlet([1.0, 2.0, 3.0], 400).astype(np.float32)
    y = np.array([rng.choice(3, p=row / row.sum()) for row in answers.astype(np.float64) ** 2])
    calibrators = [fit_calibrator(method, answers[:, at], y == at) for at in range(3)]
    expected = calibrated_answers(calibrators, answers)
    assert expected.sum(axis=1) == pytest.approx(1)
    assert run(with_calibration(identity(3), "probability", calibrators), answers) == pytest.approx(expected, abs=1e-6)


def test_a_row_without_any_class_left_is_as_likely_each():
    calibrators = [fit_calibrator("isotonic", np.array([0.25, 0.5]), np.array([False, True])) for _ in range(2)]
    answers = np.array([[0.1, 0.25], [0.5, 0.1]], dtype=np.float32)
    graph = with_calibration(identity(2), "probability", calibrators)
    assert calibrated_answers(calibrators, answers).tolist() == [[0.5, 0.5], [1.0, 0.0]]
    assert run(graph, answers).tolist() == [[0.5, 0.5], [1.0, 0.0]]


@pytest.mark.parametrize("method", ["platt", "isotonic"])
@pytest.mark.parametrize("rows", [2, 40])
def test_nan_stays_nan(method, rows):
    graph = with_calibration(identity(), "probability", [fit_calibrator(method, *drawn(1, rows))])
    assert np.isnan(run(graph, [np.nan, 0.5])).tolist() == [True, False]


def test_level_probabilities_become_the_share_that_came_true():
    calibrator = fit_calibrator("isotonic", np.full(4, 0.5), np.array([True, False, False, False]))
    graph = with_calibration(identity(), "probability", [calibrator])
    assert run(graph, [0.1, 0.5, 0.9]).tolist() == [0.25] * 3
