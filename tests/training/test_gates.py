import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fti_assets.core.manifest import GateVerdict
from fti_assets.errors import DeclarationError, ModelError
from fti_assets.training.judging.gates.gate import Gate, SlicedGate, verdict_of
from fti_assets.training.judging.gates.rivals import BeatsBaseline, NotWorseThanChampion
from fti_assets.training.judging.gates.slices import SliceGap
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.metrics.classification import brier
from fti_assets.training.judging.resampling.paired import PairedAnswers
from fti_assets.training.judging.scores import BaselineScores, ChampionScores, Scores

BUILD = "v1/20130501T000000Z-1f9ac3d2"


def beside(challenger, champion):
    """A challenger and a champion on the same rows."""
    return Scores(champion=ChampionScores(BUILD, champion, challenger=challenger))


def sliced(overall, slices, *, metric="roc_auc", by="origin"):
    """A challenger's overall score and, by value, a slice's rows and score, None where it is undefined."""
    values = {
        value: {"rows": float(rows)} | ({} if score is None else {metric: score})
        for value, (rows, score) in slices.items()
    }
    return Scores({metric: overall}, slices={by: values})


@pytest.mark.parametrize(
    ("metric", "score", "floor", "passed"),
    [
        ("log_loss", 0.48, 0.57, True),
        ("log_loss", 0.58, 0.57, False),
        ("log_loss", 0.57, 0.57, False),
        ("log_loss", 0.57 - 1e-8, 0.57, False),
        ("roc_auc", 0.6, 0.5, True),
        ("roc_auc", 0.4, 0.5, False),
        ("r2", 0.1, -0.001, True),
    ],
)
def test_a_model_has_to_be_better_than_the_baseline(metric, score, floor, passed):
    verdict = BeatsBaseline(metric).judge(Scores({metric: score}, {metric: floor}))
    assert (verdict.gate, verdict.passed) == (f"beats_baseline_{metric}", passed)
    assert f"{score:.6g}" in verdict.reason
    assert f"{floor:.6g}" in verdict.reason


@pytest.mark.parametrize("when_unsure", ["estimate", "pass", "fail"])
def test_baseline_rounded_to_float32_is_no_better(when_unsure):
    y = np.arange(500.0) % 2
    baseline = Answers(y, np.full(500, 0.1))
    rounded = Answers(y, baseline.predictions.astype(np.float32).astype(np.float64))
    of_baseline, of_rounded = (float(brier(answers)(np.ones((1, 500)))[0]) for answers in (baseline, rounded))
    assert of_rounded < of_baseline
    prior = BaselineScores({"brier": of_baseline}, PairedAnswers(rounded, baseline))
    verdict = BeatsBaseline("brier", when_unsure=when_unsure).judge(
        Scores({"brier": of_rounded}, baselines={"prior": prior})
    )
    assert verdict.interval.low > 0
    assert not verdict.passed
    assert "is not better than the baseline" in verdict.reason


def test_an_undefined_metric_beats_nothing():
    gate = BeatsBaseline("roc_auc")
    assert "of the model is undefined" in gate.judge(Scores({}, {"roc_auc": 0.5})).reason
    assert "of the baseline is undefined" in gate.judge(Scores({"roc_auc": 0.5}, {})).reason
    assert not gate.judge(Scores({"roc_auc": float("nan")}, {"roc_auc": 0.5})).passed


@pytest.mark.parametrize(
    ("metric", "score", "held", "tolerance", "passed", "words"),
    [
        ("roc_auc", 0.76, 0.75, 0.0, True, "0.76 is not worse than 0.75"),
        ("roc_auc", 0.75, 0.75, 0.0, True, "is not worse than"),
        ("roc_auc", 0.748, 0.75, 0.005, True, "by 0.002, within the tolerance 0.005"),
        ("roc_auc", 0.795, 0.8, 0.005, True, "within the tolerance"),
        ("roc_auc", 0.74, 0.75, 0.005, False, "by 0.01, more than the tolerance 0.005"),
        ("log_loss", 0.5, 0.4, 0.0, False, "0.5 is worse than 0.4"),
        ("log_loss", 0.4, 0.5, 0.0, True, "is not worse than"),
    ],
)
def test_model_may_be_worse_than_champion_by_tolerance(metric, score, held, tolerance, passed, words):
    verdict = NotWorseThanChampion(metric, tolerance).judge(beside({metric: score}, {metric: held}))
    assert (verdict.gate, verdict.passed) == (f"not_worse_than_champion_{metric}", passed)
    assert words in verdict.reason
    assert f"champion {BUILD}" in verdict.reason


def paired(rows, shift, *, seed=0):
    """A challenger and a champion whose errors differ by ``shift`` on each of some rows, give or take 0.3."""
    rng = np.random.default_rng(seed)
    y, champion = np.zeros(rows), 1 + rng.random(rows)
    challenger = champion + shift + rng.normal(0, 0.3, rows)
    scores = (
        {"mae": float(np.abs(champion).mean())},
        {"mae": float(np.abs(challenger).mean())},
    )
    return Scores(
        champion=ChampionScores(
            BUILD, scores[0], challenger=scores[1], answers=PairedAnswers(Answers(y, challenger), Answers(y, champion))
        )
    )


@pytest.mark.parametrize(
    ("rows", "shift", "when_unsure", "passed", "words"),
    [
        (2_000, 0.0, "fail", True, "the whole interval is at most 0.1"),
        (2_000, 0.3, "pass", False, "the whole interval is above 0.1"),
        (20, 0.1, "pass", True, "the interval includes 0.1, and when_unsure is 'pass'"),
        (20, 0.1, "fail", False, "the interval includes 0.1, and when_unsure is 'fail'"),
        (2_000, 0.0, "estimate", True, "95% interval"),
        (2_000, 0.3, "estimate", False, "more than the tolerance 0.1"),
    ],
)
def test_interval_that_includes_the_tolerance_is_decided_as_declared(rows, shift, when_unsure, passed, words):
    scores = paired(rows, shift)
    verdict = NotWorseThanChampion("mae", tolerance=0.1, when_unsure=when_unsure).judge(scores)
    assert verdict.passed == passed
    assert words in verdict.reason
    assert verdict.bound == 0.1
    assert verdict.interval.low <= verdict.value <= verdict.interval.high


def test_a_reason_says_by_how_much_a_model_is_better():
    verdict = NotWorseThanChampion("mae", tolerance=0.1).judge(paired(2_000, -0.2))
    low, high = verdict.interval.low, verdict.interval.high
    assert high < 0
    assert f", better by {-verdict.value:.6g} (95% interval {-high:.4g} to {-low:.4g})" in verdict.reason
    strict = NotWorseThanChampion("mae", tolerance=0.1, when_unsure="fail").judge(paired(2_000, -0.2))
    assert (
        f"worse by {verdict.value:.6g} (95% interval {low:.4g} to {high:.4g}); the whole interval is at most 0.1"
        in strict.reason
    )


def test_interval_is_of_how_much_worse_whichever_way_is_better():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 500)
    good, bad = y * 0.4 + rng.random(500) * 0.6, rng.random(500)
    metrics = [{"roc_auc": roc_auc_score(y, answers)} for answers in (good, bad)]
    champion = ChampionScores(
        BUILD, metrics[0], challenger=metrics[1], answers=PairedAnswers(Answers(y, bad), Answers(y, good))
    )
    verdict = NotWorseThanChampion("roc_auc", 0.01, confidence=0.8).judge(Scores(champion=champion))
    assert 0 < verdict.interval.low < verdict.value < verdict.interval.high
    assert verdict.interval.confidence == 0.8
    difference = champion.difference("roc_auc", 0.8)
    assert (difference.low, difference.high) == (-verdict.interval.high, -verdict.interval.low)


def test_rows_of_one_entity_are_drawn_together():
    entity = np.repeat(np.arange(10), 50)
    own, other = (np.random.default_rng(seed).normal(size=10)[entity] for seed in (0, 1))
    answers = [Answers(np.zeros(500), values) for values in (own, other)]
    alone, together = (PairedAnswers(*answers, clusters).difference("mae") for clusters in (None, entity * 3 + 5))
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_without_an_interval_the_unsure_are_decided_as_declared():
    scores = beside({"mae": 1.0}, {"mae": 1.0})
    assert NotWorseThanChampion("mae", 0.1, when_unsure="pass").judge(scores).passed
    verdict = NotWorseThanChampion("mae", 0.1, when_unsure="fail").judge(scores)
    assert (verdict.passed, verdict.interval) == (False, None)
    assert "no interval can be told" in verdict.reason


@pytest.mark.parametrize("arguments", [{"confidence": 1.0}, {"confidence": float("nan")}, {"when_unsure": "maybe"}])
def test_impossible_champion_gates_are_refused(arguments):
    with pytest.raises(DeclarationError, match="NotWorseThanChampion"):
        NotWorseThanChampion("roc_auc", **arguments)


def test_a_figure_that_no_json_holds_is_left_out():
    class Odd:
        name = "odd"

        def judge(self, scores):
            return GateVerdict("odd", True, "it is infinite", value=float("inf"), bound=np.float32(1.5))

    verdict = verdict_of(Odd(), Scores())
    assert (verdict.value, verdict.bound) == (None, 1.5)
    assert type(verdict.bound) is float


def test_without_a_champion_its_gate_passes_and_says_so():
    verdict = NotWorseThanChampion("roc_auc").judge(Scores())
    assert verdict.passed
    assert verdict.reason == "there is no champion to compare with"


def test_an_undefined_metric_does_not_hold_against_a_champion():
    gate = NotWorseThanChampion("roc_auc")
    assert "of the model is undefined" in gate.judge(beside({}, {"roc_auc": 0.7})).reason
    verdict = gate.judge(beside({"roc_auc": 0.7}, {}))
    assert not verdict.passed
    assert f"of the champion {BUILD} is undefined" in verdict.reason


def test_model_is_compared_on_champions_rows_and_not_on_all():
    scores = Scores({"roc_auc": 0.9}, champion=ChampionScores(BUILD, {"roc_auc": 0.8}, challenger={"roc_auc": 0.7}))
    verdict = NotWorseThanChampion("roc_auc").judge(scores)
    assert not verdict.passed
    assert verdict.reason.startswith("roc_auc 0.7 is worse than 0.8")


def test_champion_that_cannot_be_compared_with_fails_its_gate_alone():
    champion = ChampionScores(BUILD, problem="has trained on every test row")
    scores = Scores({"roc_auc": 0.9}, {"roc_auc": 0.5}, champion=champion)
    verdict = NotWorseThanChampion("roc_auc").judge(scores)
    assert (verdict.passed, verdict.reason) == (False, f"the champion {BUILD} has trained on every test row")
    assert BeatsBaseline("roc_auc").judge(scores).passed


@pytest.mark.parametrize(
    ("metric", "overall", "worst", "passed", "words"),
    [
        (
            "roc_auc",
            0.75,
            0.65,
            True,
            "0.65 of origin 'LGA' (600 rows) is worse than 0.75 overall by 0.1, at most 0.15",
        ),
        ("roc_auc", 0.75, 0.60, True, "by 0.15, at most 0.15"),
        ("roc_auc", 0.75, 0.59, False, "by 0.16, more than 0.15"),
        ("roc_auc", 0.75, 0.75, True, "the worst slice, is not worse than 0.75 overall"),
        ("log_loss", 0.40, 0.50, True, "0.5 of origin 'LGA' (600 rows) is worse than 0.4 overall by 0.1, at most 0.15"),
        ("log_loss", 0.40, 0.60, False, "by 0.2, more than 0.15"),
        ("r2", -0.5, -0.7, False, "-0.7 of origin 'LGA' (600 rows) is worse than -0.5 overall by 0.2, more than 0.15"),
    ],
)
def test_worst_slice_may_be_worse_than_all_rows_by_so_much(metric, overall, worst, passed, words):
    better = overall - 0.05 if metric == "log_loss" else overall + 0.05
    scores = sliced(overall, {"JFK": (900, better), "LGA": (600, worst)}, metric=metric)
    verdict = SliceGap(metric, by="origin", at_most=0.15, min_rows=500).judge(scores)
    assert (verdict.gate, verdict.passed) == (f"slice_gap_{metric}_by_origin", passed)
    assert words in verdict.reason
    assert "left out" not in verdict.reason


def test_small_slices_are_left_out_and_counted():
    slices = {"JFK": (500, 0.7), "LGA": (499, 0.1), "SWF": (1, 0.0)}
    verdict = SliceGap("roc_auc", by="origin", at_most=0.1, min_rows=500).judge(sliced(0.75, slices))
    assert verdict.passed
    assert "of origin 'JFK' (500 rows)" in verdict.reason
    assert verdict.reason.endswith("; 2 slices of fewer than 500 rows left out")


def test_slices_of_undefined_metric_are_left_out_and_counted():
    slices = {"JFK": (900, 0.7), "LGA": (800, None), "EWR": (700, float("nan")), "SWF": (5, None)}
    verdict = SliceGap("roc_auc", by="origin", at_most=0.1, min_rows=500).judge(sliced(0.75, slices))
    assert verdict.passed
    assert "of origin 'JFK'" in verdict.reason
    assert "; 1 slice of fewer than 500 rows left out; 2 slices without a defined roc_auc left out" in verdict.reason


def test_equally_bad_slices_report_the_first_by_name():
    slices = {"LGA": (900, 0.5), "EWR": (600, 0.5), "JFK": (800, 0.7)}
    for order in (list(slices), list(reversed(slices))):
        scores = sliced(0.75, {value: slices[value] for value in order})
        assert "of origin 'EWR' (600 rows)" in SliceGap("roc_auc", by="origin", at_most=0.1).judge(scores).reason


@pytest.mark.parametrize("slices", [{}, {"JFK": (99, 0.1)}, {"JFK": (900, None)}])
def test_with_no_slice_to_judge_gate_passes(slices):
    verdict = SliceGap("roc_auc", by="origin", at_most=0.1).judge(sliced(0.75, slices))
    assert verdict.passed
    assert verdict.reason.startswith("no slice of origin can be judged")


def test_slice_of_rows_without_value_counts_like_any_other():
    verdict = SliceGap("roc_auc", by="origin", at_most=0.1).judge(sliced(0.75, {"": (900, 0.5), "JFK": (900, 0.8)}))
    assert not verdict.passed
    assert "of origin '' (900 rows)" in verdict.reason


def test_an_undefined_overall_metric_has_no_gap():
    verdict = SliceGap("roc_auc", by="origin", at_most=0.1).judge(sliced(float("nan"), {"JFK": (900, 0.8)}))
    assert not verdict.passed
    assert "of the model is undefined" in verdict.reason


def test_gap_by_column_not_sliced_by_is_error():
    with pytest.raises(ModelError, match="needs the slices of 'carrier': there is 'origin'"):
        SliceGap("roc_auc", by="carrier", at_most=0.1).judge(sliced(0.75, {}))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"at_most": -0.1}, "at_most=-0.1"),
        ({"at_most": float("nan")}, "at_most is nan, which is no finite number"),
        ({"at_most": 0.1, "min_rows": 0}, "min_rows=0"),
        ({"at_most": 0.1, "min_rows": 2.5}, "min_rows=2.5"),
        ({"at_most": 0.1, "min_rows": True}, "min_rows=True"),
    ],
)
def test_slice_gaps_that_cannot_be_are_refused(options, words):
    with pytest.raises(DeclarationError, match=words):
        SliceGap("roc_auc", by="origin", **options)


@pytest.mark.parametrize(
    ("gate", "options"),
    [(BeatsBaseline, {}), (NotWorseThanChampion, {}), (SliceGap, {"by": "origin", "at_most": 0.1})],
)
def test_unknown_metrics_are_refused(gate, options):
    with pytest.raises(DeclarationError, match="no metric 'auc'"):
        gate("auc", **options)


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_tolerances_that_cannot_be_are_refused(tolerance):
    with pytest.raises(DeclarationError, match="tolerance"):
        NotWorseThanChampion("roc_auc", tolerance=tolerance)


def test_all_are_gates_and_one_of_them_looks_at_slices():
    gates: list[Gate] = [BeatsBaseline("mae"), NotWorseThanChampion("mae"), SliceGap("mae", by="kind", at_most=1)]
    assert [gate.name for gate in gates] == [
        "beats_baseline_mae",
        "not_worse_than_champion_mae",
        "slice_gap_mae_by_kind",
    ]
    assert [isinstance(gate, SlicedGate) for gate in gates] == [False, False, True]
