"""Shares that follow the chance of each arm to be best, and what they cost and gain."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from fti_assets.core.rollouts.rollout import Arm, Rollout
from fti_assets.monitoring.experiments.bandit import DRAWS, chances, shares_by_chance
from fti_assets.monitoring.experiments.samples import Sample
from tests.support.examples import examples, repetitions

ARMS = ("champion", "one", "two")


def sample(gains: float, keys: int) -> Sample:
    figures = np.zeros(keys)
    figures[: int(gains)] = 1.0
    return Sample(keys, keys, 0, figures)


def test_chances_are_the_integral_of_the_posteriors():
    counts = {"champion": (10, 100), "one": (14, 100), "two": (3, 20)}
    drawn = chances({arm: sample(*count) for arm, count in counts.items()}, higher_is_better=True, salt="s")
    posteriors = {arm: stats.beta(1 + gains, 1 + keys - gains) for arm, (gains, keys) in counts.items()}
    for arm, own in posteriors.items():
        others = [one for name, one in posteriors.items() if name != arm]
        exact, _ = integrate.quad(
            lambda x, own=own, others=others: own.pdf(x) * math.prod(one.cdf(x) for one in others), 0, 1
        )
        assert abs(drawn[arm] - exact) < 4 * math.sqrt(exact * (1 - exact) / DRAWS)


def test_chances_are_what_they_always_were():
    """These are fixed values: other ones would move the keys of bandits that go on."""
    result = chances({"champion": sample(3, 40), "one": sample(5, 40)}, higher_is_better=True, salt="2026-spring")
    assert result == pytest.approx({"champion": 0.2531, "one": 0.7469}, abs=2e-4)


def test_of_losses_the_lowest_is_best():
    samples = {"champion": sample(30, 100), "one": sample(5, 100)}
    assert chances(samples, higher_is_better=False, salt="s")["one"] > 0.99


def test_arms_without_keys_are_as_good_as_each_other():
    results = chances({arm: sample(0, 0) for arm in ARMS}, higher_is_better=True, salt="s")
    assert all(abs(chance - 1 / 3) < 0.02 for chance in results.values())


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.floats(0.001, 1.0), min_size=2, max_size=6), st.floats(0.0, 1.0))
def test_shares_keep_the_least_and_come_to_one(weights, part):
    names = ["champion", *(f"arm_{place}" for place in range(len(weights) - 1))]
    odds = dict(zip(names, (np.array(weights) / sum(weights)).tolist(), strict=True))
    least = part / len(names)
    shares = shares_by_chance(odds, least_share=least, rest="champion")
    assert min(shares.values()) >= least - 1e-8
    assert sum(shares.values()) == pytest.approx(1.0)
    Rollout(
        "bandit",
        tuple(Arm(name, "v1/b", share) for name, share in shares.items() if name != "champion"),
        ("k",),
        "s",
        "",
        "",
    ).check()


@pytest.mark.soak
def test_a_bandit_finds_the_best_arm_and_loses_less_than_equal_shares():
    """Bandits of 15 rounds with 400 keys each, from fixed seeds."""
    rates = {"champion": 0.10, "one": 0.20, "two": 0.12}
    result, gained, runs = 0, 0, repetitions(20)
    for seed in range(runs):
        rng = np.random.Generator(np.random.PCG64(seed))
        figures: dict[str, list[float]] = {arm: [] for arm in rates}
        shares = dict.fromkeys(rates, 1 / 3)
        for _ in range(15):
            for arm in rng.choice(list(shares), 400, p=list(shares.values())):
                figures[arm].append(float(rng.random() < rates[arm]))
            samples = {arm: Sample(len(own), len(own), 0, np.array(own)) for arm, own in figures.items()}
            shares = shares_by_chance(
                chances(samples, higher_is_better=True, salt=str(seed)), least_share=0.05, rest="champion"
            )
            assert min(shares.values()) >= 0.05 - 1e-9
        result += shares["one"] > 0.8
        gained += sum(sum(own) for own in figures.values())
    assert result >= 0.9 * runs
    assert gained > runs * 15 * 400 * 0.17  # equal shares gain 0.14 a key, the best arm alone 0.2
