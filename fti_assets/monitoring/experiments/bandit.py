"""A bandit: shares of arms that follow how likely each is the best.

Source: Thompson (1933), as the probability matching of Scott (2010), "A modern Bayesian look at the multi-armed bandit": the share of an
arm is the probability that it is best, under a Beta posterior from a uniform prior.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np

from fti_assets.monitoring.experiments.samples import Sample

DRAWS = 10_000
_PARTS = 1_000
"""What an arm has above the least share is a whole number of thousandths, so that small changes of its chance move no keys."""


def chances(samples: Mapping[str, Sample], *, higher_is_better: bool, salt: str) -> dict[str, float]:
    """The probability that each arm is the best one.

    Each key with a label is one trial, and its mean figure, between 0 and 1, is what it gained. The numbers that the posteriors are drawn
    by depend on the salt alone and are the same under every version of NumPy: the same answers give the same chances.

    Args:
        samples: what each arm has; one without a key is as good as any.
        higher_is_better: of the figure.
        salt: of the rollout.

    >>> samples = {arm: Sample(100, 100, 0, np.repeat([0.0, 1.0], [100 - gains, gains])) for arm, gains in (("a", 10), ("b", 30))}
    >>> round(chances(samples, higher_is_better=True, salt="s")["b"], 2)
    1.0
    """
    from scipy import stats

    seed = int.from_bytes(hashlib.md5(salt.encode(), usedforsecurity=False).digest()[:8], "big")
    # The bits of a generator are fixed for all time, what NumPy makes of them is not.
    bits = np.random.PCG64(seed).random_raw(DRAWS * len(samples)).reshape(len(samples), DRAWS)
    uniform = ((bits >> 11) + 0.5) * 2.0**-53
    draws = []
    for numbers, sample in zip(uniform, samples.values(), strict=True):
        gains = sample.figures if higher_is_better else 1.0 - sample.figures
        total = float(np.sum(gains))
        draws.append(stats.beta.ppf(numbers, 1.0 + total, 1.0 + len(gains) - total))
    best = np.bincount(np.argmax(draws, axis=0), minlength=len(samples)) / DRAWS
    return dict(zip(samples, best.tolist(), strict=True))


def shares_by_chance(chances: Mapping[str, float], *, least_share: float, rest: str) -> dict[str, float]:
    """The share of each arm: at least ``least_share``, and of what that leaves its chance's part.

    Args:
        chances: of all arms; their sum is 1.
        least_share: what each keeps, so that one that was unlucky at first is still measured.
        rest: the arm that gets what rounding leaves.

    >>> shares_by_chance({"champion": 0.25, "challenger": 0.75}, least_share=0.1, rest="champion")
    {'champion': 0.3, 'challenger': 0.7}
    """
    free = 1.0 - least_share * len(chances)
    # Down, so that the rest never falls below what it keeps.
    shares = {
        arm: least_share + math.floor(free * chance * _PARTS + 1e-9) / _PARTS
        for arm, chance in chances.items()
        if arm != rest
    }
    return {arm: round(1.0 - sum(shares.values()), 9) if arm == rest else shares[arm] for arm in chances}
