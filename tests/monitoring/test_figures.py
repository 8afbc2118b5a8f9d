"""The figure of an answer is what the metric of the same name makes of that row."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from fti_assets.core.manifest import OUTPUT_NAMES, Task
from fti_assets.errors import DeclarationError
from fti_assets.monitoring.experiments.figures import FIGURES, figure_for, figure_sql
from fti_assets.training.judging.evaluation import evaluate
from fti_assets.training.judging.metrics.registry import METRICS

CLASSES = ("2", "a", "b")
RNG = np.random.Generator(np.random.PCG64(1))


def measured(name: str, task: Task, answers: pa.Array, labels: pa.Array) -> list[float | None]:
    connection = duckdb.connect()
    rows = pa.table({"number": range(len(answers)), OUTPUT_NAMES[task]: answers, "label": labels})
    connection.register("rows", rows)
    kind = str(connection.sql("SELECT label FROM rows").types[0])
    text = figure_sql(name, task, OUTPUT_NAMES[task], "label", kind)
    return [figure for (figure,) in connection.sql(f"SELECT {text} FROM rows ORDER BY number").fetchall()]


@pytest.mark.parametrize("name", [name for name, one in FIGURES.items() if name in METRICS and "binary" in one.tasks])
@pytest.mark.parametrize("kind", [pa.bool_(), pa.int64(), pa.float64()], ids=str)
def test_binary_figures_are_those_of_scikit_learn(name, kind):
    answers = np.concatenate([RNG.random(40), [0.0, 1.0, 0.0, 1.0, 0.5]])
    y = np.concatenate([RNG.integers(0, 2, 40), [0, 1, 1, 0, 0]])
    figures = measured(name, "binary", pa.array(answers), pa.array(y).cast(kind))
    wanted = [evaluate("binary", [name], {"probability": answers[i : i + 1]}, y[i : i + 1])[name] for i in range(45)]
    assert figures == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", ["log_loss", "brier", "accuracy"])
def test_multiclass_figures_are_those_of_scikit_learn(name):
    outputs = RNG.dirichlet([1, 1, 1], 30)
    outputs[:2] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    codes = RNG.integers(0, 3, 30)
    answers = pa.array(
        [list(zip(CLASSES, row, strict=True)) for row in outputs.tolist()], pa.map_(pa.string(), pa.float64())
    )
    figures = measured(name, "multiclass", answers, pa.array([CLASSES[code] for code in codes]))
    inputs = {"probabilities": outputs}
    wanted = [
        evaluate(
            "multiclass", [name], {"probabilities": inputs["probabilities"][i : i + 1]}, codes[i : i + 1], CLASSES
        )[name]
        for i in range(30)
    ]
    assert figures == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_numeric_classes_are_written_as_a_model_writes_them():
    answers = pa.array([[("2", 0.75), ("a", 0.25)]] * 2, pa.map_(pa.string(), pa.float64()))
    assert measured("accuracy", "multiclass", answers, pa.array([2.0, 3.0])) == [1.0, None]


def test_regression_and_outcome_are_plain_numbers():
    answers, labels = pa.array([1.0, 2.5, 3.0]), pa.array([2.0, 2.0, None])
    assert measured("mae", "regression", answers, labels) == [1.0, 0.5, None]
    assert measured("outcome", "binary", answers, pa.array([True, False, None])) == [1.0, 0.0, None]


@pytest.mark.parametrize("name", list(FIGURES))
def test_an_answer_without_a_label_has_no_figure(name):
    for task in FIGURES[name].tasks:
        answer = (
            pa.array([[("a", 1.0)]], pa.map_(pa.string(), pa.float64())) if task == "multiclass" else pa.array([0.5])
        )
        label = pa.array([None], pa.string() if task == "multiclass" else pa.float64())
        assert measured(name, task, answer, label) == [None]


def test_what_is_no_mean_over_answers_is_refused():
    for name in ("roc_auc", "rmse", "nothing"):
        with pytest.raises(DeclarationError, match=r"by '.*': a mean over answers is compared, such as 'outcome'"):
            figure_for(name, "binary")
