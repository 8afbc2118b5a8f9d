import pytest

from fti_assets.errors import DeclarationError
from fti_assets.training.gates import BeatsBaseline, ChampionScores, Gate, NotWorseThanChampion


def champion(**metrics):
    return ChampionScores("v1/20130501T000000Z-1f9ac3d2", metrics)


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
    verdict = BeatsBaseline(metric).judge({metric: score}, {metric: floor}, None)
    assert (verdict.gate, verdict.passed) == (f"beats_baseline_{metric}", passed)
    assert f"{score:.6g}" in verdict.reason
    assert f"{floor:.6g}" in verdict.reason


def test_an_undefined_metric_beats_nothing():
    assert "of the model is undefined" in BeatsBaseline("roc_auc").judge({}, {"roc_auc": 0.5}, None).reason
    assert "of the baseline is undefined" in BeatsBaseline("roc_auc").judge({"roc_auc": 0.5}, {}, None).reason
    assert not BeatsBaseline("roc_auc").judge({"roc_auc": float("nan")}, {"roc_auc": 0.5}, None).passed


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
def test_a_model_may_be_worse_than_the_champion_by_the_tolerance(metric, score, held, tolerance, passed, words):
    verdict = NotWorseThanChampion(metric, tolerance).judge({metric: score}, {}, champion(**{metric: held}))
    assert (verdict.gate, verdict.passed) == (f"not_worse_than_champion_{metric}", passed)
    assert words in verdict.reason
    assert "champion v1/20130501T000000Z-1f9ac3d2" in verdict.reason


def test_without_a_champion_its_gate_passes_and_says_so():
    verdict = NotWorseThanChampion("roc_auc").judge({}, {}, None)
    assert verdict.passed
    assert verdict.reason == "there is no champion to compare with"


def test_an_undefined_metric_does_not_hold_against_a_champion():
    gate = NotWorseThanChampion("roc_auc")
    assert "of the model is undefined" in gate.judge({}, {}, champion(roc_auc=0.7)).reason
    verdict = gate.judge({"roc_auc": 0.7}, {}, champion())
    assert not verdict.passed
    assert "of the champion v1/20130501T000000Z-1f9ac3d2 is undefined" in verdict.reason


@pytest.mark.parametrize("gate", [BeatsBaseline, NotWorseThanChampion])
def test_unknown_metrics_are_refused(gate):
    with pytest.raises(DeclarationError, match="no metric 'auc'"):
        gate("auc")


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_tolerances_that_cannot_be_are_refused(tolerance):
    with pytest.raises(DeclarationError, match="tolerance"):
        NotWorseThanChampion("roc_auc", tolerance=tolerance)


def test_both_are_gates():
    gates: list[Gate] = [BeatsBaseline("mae"), NotWorseThanChampion("mae")]
    assert [gate.name for gate in gates] == ["beats_baseline_mae", "not_worse_than_champion_mae"]
