"""How often an experiment is wrong: simulated with effects that are known, from fixed seeds."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import pytest
from scipy import stats

from fti_assets.monitoring.experiments.comparison import compare
from fti_assets.monitoring.experiments.samples import Sample
from fti_assets.monitoring.experiments.verdict import Terms, Verdict, judge
from tests.support.examples import repetitions

START = datetime(2026, 3, 1)
RUNS = repetitions(250)
"""So many experiments of a kind are simulated, from a fixed seed."""
HALVES = {"champion": 0.5, "challenger": 0.5}


def sample(figures: np.ndarray, keys: int | None = None) -> Sample:
    return Sample(len(figures) if keys is None else keys, len(figures), 0, figures)


def verdict(
    figures: Mapping[str, np.ndarray],
    terms: Terms,
    shares: Mapping[str, float] | None = HALVES,
    *,
    paired: bool = False,
) -> Verdict:
    """One key an arm and hour."""

    def horizon(keys: int) -> datetime | None:
        return START + timedelta(hours=keys) if all(len(one) >= keys for one in figures.values()) else None

    def samples(until: datetime | None) -> dict[str, Sample]:
        hours = None if until is None else int((until - START) / timedelta(hours=1))
        return {arm: sample(one[:hours]) for arm, one in figures.items()}

    return judge(terms, shares, horizon=horizon, samples=samples, is_paired=paired)


def decisions(improvement: float, terms: Terms, *, arms: int = 1, runs: int = RUNS, seed: int = 3) -> Counter[str]:
    rng = np.random.Generator(np.random.PCG64(seed))
    result: Counter[str] = Counter()
    names = [f"arm_{number}" for number in range(arms)]
    shares = dict.fromkeys(["champion", *names], 1 / (arms + 1))
    for _ in range(runs):
        figures = {"champion": rng.exponential(1.0, terms.least_keys)}  # skewed, as a loss is
        figures |= {name: rng.exponential(1.0, terms.least_keys) - improvement for name in names}
        result[verdict(figures, terms, shares).decision] += 1
    return result


def at_most(rate: float, runs: int) -> int:
    """So often something of that rate happens at most, but for one time in 10,000."""
    return int(stats.binom.ppf(0.9999, runs, rate))


ONE_LOOK = Terms(higher_is_better=False, least_keys=300)
FOUR_LOOKS = Terms(higher_is_better=False, least_keys=300, looks=4)


@pytest.mark.parametrize(("terms", "arms"), [(ONE_LOOK, 1), (FOUR_LOOKS, 2)])
def test_an_equal_arm_is_promoted_as_rarely_as_stated(terms, arms):
    counts = decisions(0.0, terms, arms=arms)
    assert counts["promote"] <= at_most(0.025, RUNS)
    assert counts["promote"] + counts["stop"] == RUNS


@pytest.mark.soak
def test_looking_without_a_plan_would_promote_equal_arms():
    """What the plan is for: the same figures, judged day by day until an interval of 95 % lies above 0."""
    rng = np.random.Generator(np.random.PCG64(3))
    promoted = 0
    for _ in range(200):
        champion, challenger = rng.exponential(1.0, 300), rng.exponential(1.0, 300)
        for keys in range(20, 301, 10):
            samples = {"champion": sample(champion[:keys]), "challenger": sample(challenger[:keys])}
            low = compare(samples, HALVES, higher_is_better=False, confidence=0.95)[
                "challenger"
            ].improvement_interval.low
            if low is not None and low > 0:
                promoted += 1
                break
    assert promoted > at_most(0.025, 200)


def test_a_better_arm_is_promoted_with_the_power_of_its_size():
    # Two exponentials of deviation 1 and 300 keys each: the difference has a standard error of 0.0816.
    for improvement, terms in ((0.28, ONE_LOOK), (0.34, FOUR_LOOKS)):
        level = terms.level(1)
        power = 1 - stats.norm.cdf(stats.norm.ppf((1 + level) / 2) - improvement / np.sqrt(2 / 300))
        promoted = decisions(improvement, terms)["promote"]
        assert promoted >= stats.binom.ppf(0.0001, RUNS, power) - 1
        assert power > 0.9


def test_a_worse_arm_is_stopped_before_the_end():
    rng = np.random.Generator(np.random.PCG64(3))
    figures = {"champion": rng.exponential(1.0, 300), "challenger": rng.exponential(1.0, 300) + 1.0}
    results = verdict(figures, FOUR_LOOKS)
    assert (results.decision, results.look, results.until) == ("stop", 1, START + timedelta(hours=75))
    assert "arm 'challenger' improves by -" in results.reason


def test_no_worse_than_a_margin_is_promoted_below_zero():
    rng = np.random.Generator(np.random.PCG64(3))
    figures = {"champion": rng.normal(1.0, 0.1, 300), "challenger": rng.normal(1.02, 0.1, 300)}
    assert verdict(figures, ONE_LOOK).decision == "stop"
    margin = Terms(higher_is_better=False, least_keys=300, at_least=-0.1)
    assert (verdict(figures, margin).decision, verdict(figures, margin).arm) == ("promote", "challenger")


def test_the_best_of_several_arms_is_promoted():
    rng = np.random.Generator(np.random.PCG64(3))
    figures = {
        arm: rng.normal(mean, 0.1, 300) for arm, mean in (("champion", 0.5), ("good", 0.6), ("best", 0.7), ("bad", 0.4))
    }
    result = verdict(figures, Terms(higher_is_better=True, least_keys=300), dict.fromkeys(figures, 0.25))
    assert (result.decision, result.arm) == ("promote", "best")


def test_the_verdict_is_the_same_whenever_it_is_computed():
    rng = np.random.Generator(np.random.PCG64(3))
    figures = {"champion": rng.normal(0.0, 1.0, 5000), "challenger": rng.normal(-0.05, 1.0, 5000)}
    early = verdict({arm: one[:1000] for arm, one in figures.items()}, Terms(False, 1000))
    later = verdict(figures, Terms(False, 1000))
    assert (early.decision, early.until, early.reason) == (later.decision, later.until, later.reason)
    assert early.arms["challenger"].improvement_interval == later.arms["challenger"].improvement_interval


def test_figures_before_the_first_look_are_estimates():
    rng = np.random.Generator(np.random.PCG64(3))
    results = verdict({arm: rng.normal(0.0, 1.0, 70) for arm in HALVES}, FOUR_LOOKS)
    assert (results.decision, results.is_estimate, results.look) == ("wait", True, 0)
    assert "has 70 with a label, the first look is at 75, and the last at 300" in results.reason
    assert results.arms["challenger"].improvement_interval.low is not None


def test_shares_that_are_not_as_planned_decide_nothing():
    rng = np.random.Generator(np.random.PCG64(3))
    figures = {"champion": rng.normal(1.0, 0.1, 1300), "challenger": rng.normal(0.1, 0.1, 1000)}
    results = verdict(figures, Terms(False, 1000), {"champion": 0.6, "challenger": 0.4})
    assert results.decision == "wait"
    assert "arm 'challenger' has 50.00% of the keys where 40.00% are planned" in results.reason


def test_planned_shares_are_rarely_taken_for_others():
    rng = np.random.Generator(np.random.PCG64(3))
    wrong = 0
    for _ in range(repetitions(1000)):
        keys = int(rng.binomial(2000, 0.3))
        counted = {"champion": sample(np.zeros(0), 2000 - keys), "challenger": sample(np.zeros(0), keys)}
        wrong += compare(counted, {"champion": 0.7, "challenger": 0.3}, higher_is_better=True, confidence=0.95)[
            "challenger"
        ].is_mismatched
    assert wrong <= at_most(0.001, repetitions(1000))


def test_labels_that_one_arm_loses_are_a_mismatch():
    figures = np.linspace(0.0, 1.0, 900)
    counted = {"champion": sample(figures, 1000), "challenger": sample(figures[:600], 1000)}
    compared = compare(counted, HALVES, higher_is_better=True, confidence=0.95)
    assert compared["challenger"].is_mismatched
    assert compared["challenger"].share == 0.5


def test_pairs_are_compared_request_by_request():
    rng = np.random.Generator(np.random.PCG64(3))
    hard = rng.normal(0.0, 10.0, 300)  # some requests are hard for both
    figures = {"champion": hard, "challenger": hard - 0.1 + rng.normal(0.0, 0.1, 300)}
    assert verdict(figures, ONE_LOOK, shares=None, paired=True).decision == "promote"
    assert verdict(figures, ONE_LOOK).decision == "stop"


def test_keys_that_are_all_alike_have_no_interval():
    """No dispute among few is no proof that there are none."""
    figures = {"champion": np.zeros(300), "challenger": np.zeros(300)}
    margin = Terms(higher_is_better=False, least_keys=300, at_least=-0.01)
    results = verdict(figures, margin)
    assert results.decision == "stop"
    assert "cannot be told" in results.reason
    assert results.arms["challenger"].improvement == 0.0
