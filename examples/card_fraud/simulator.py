"""Three months of a small bank that does not exist: cards, terminals, authorizations, and the chargebacks that come days later.

No data of real cards may be passed on, so these are simulated. All is whole numbers made from the 64-bit words of one PCG64, which numpy
gives alike in every version and on every machine; no distribution of numpy's is used, since those may change. What is simulated:

- a card has a home, a usual level of spending and twelve terminals around its home, and now and then travels;
- people pay by day rather than by night, and sometimes at several terminals within half an hour;
- a **card is stolen**: within half an hour it pays several times, at any terminals, rather more than usual;
- a **terminal is compromised** for three days: many cards pay there that never did, the usual amounts;
- nine of ten frauds are charged back, one to nine days later; the others nobody reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

START = np.datetime64("2024-02-05", "us")
DAYS = 85  # the last one is told live
CARDS, TERMINALS = 500, 200
STOLEN, COMPROMISED = 280, 60
SEED = 20240205

MINUTE = 60_000_000
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
# How many of a hundred payments fall into each hour, and amounts in cents from the smallest to the largest, at equal shares of payments.
HOURS = np.repeat(np.arange(24), [1, 1, 0, 0, 0, 1, 2, 4, 6, 6, 6, 7, 9, 7, 6, 6, 7, 8, 8, 6, 4, 3, 1, 1])
CENTS = np.array(
    [100, 310, 520, 780, 1_080, 1_430, 1_850, 2_360, 3_010, 3_870, 5_060, 6_900, 9_800, 15_200, 31_000, 90_000]
)
STOLEN_CENTS = np.array([100, 900, 2_400, 4_200, 6_300, 8_800, 12_000, 16_500, 24_000, 42_000, 90_000])


class Draws:
    """Whole numbers from the words of a PCG64."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def below(self, ends: int | np.ndarray, number: int) -> np.ndarray:
        """``number`` whole numbers, each from 0 to below its end, which is at most two to the 31st."""
        words = self._bits.random_raw(number) >> np.uint64(33)
        result: np.ndarray = (words.astype(np.int64) * np.asarray(ends, np.int64)) >> 31
        return result

    def long_below(self, end: int, number: int) -> np.ndarray:
        """``number`` microseconds from 0 to below an end of at most nine days."""
        milliseconds = self.below(end // 1_000, number)
        result: np.ndarray = milliseconds * 1_000 + self.below(1_000, number)
        return result

    def along(self, knots: np.ndarray, number: int) -> np.ndarray:
        """``number`` values of which an equal share lies between each two knots."""
        places = self.below((len(knots) - 1) << 10, number)
        low, part = places >> 10, places & 1_023
        result: np.ndarray = knots[low] + ((knots[low + 1] - knots[low]) * part >> 10)
        return result


@dataclass(frozen=True)
class Bank:
    """What is simulated.

    Args:
        cards: ``card``, ``home_x``, ``home_y`` in kilometres, and ``level``, the usual spending in hundredths of the average.
        terminals: ``terminal``, ``x``, ``y`` in kilometres.
        authorizations: ``authorization``, ``card``, ``terminal``, ``amount`` in euros, ``at`` and ``stored_at``, in order of ``at``,
            and ``kind``: ``paid``, ``stolen`` or ``compromised``, which nobody at the bank knows.
        chargebacks: ``authorization``, ``terminal``, ``charged_back_at``, ``is_fraud``, which is always true.
    """

    cards: pd.DataFrame
    terminals: pd.DataFrame
    authorizations: pd.DataFrame
    chargebacks: pd.DataFrame


@cache
def bank(days: int = DAYS, cards: int = CARDS, terminals: int = TERMINALS, seed: int = SEED) -> Bank:
    """The bank over some days; equal arguments give equal rows, everywhere.

    Args:
        days: how many, from ``START`` on.
        cards: how many cards.
        terminals: how many terminals, at least twelve.
        seed: another bank for each.
    """
    draw = Draws(seed)
    homes = np.stack([draw.below(100, cards), draw.below(100, cards)])
    places = np.stack([draw.below(100, terminals), draw.below(100, terminals)])
    level = 40 + draw.below(160, cards)
    apart = ((homes[:, :, None] - places[:, None, :]) ** 2).sum(0)
    near = np.argsort(apart, axis=1, kind="stable")[:, :12]
    share = days * cards / (DAYS * CARDS)
    paid = _paid(draw, days, near, level, terminals)
    stolen = _stolen(draw, days, round(STOLEN * share), cards, terminals)
    compromised = _compromised(draw, days, max(1, round(COMPROMISED * share)), cards, terminals, level)
    kinds = np.repeat(np.arange(3), [part.shape[1] for part in (paid, stolen, compromised)])
    at, card, terminal, cents = np.concatenate([paid, stolen, compromised], axis=1)
    keep = at < days * DAY
    order = np.lexsort([cents, terminal, card, at])
    order = order[keep[order]]
    at, card, terminal, cents, kinds = (column[order] for column in (at, card, terminal, cents, kinds))
    number = len(at)
    stored = at + 20_000 + draw.below(380_000, number)
    authorizations = pd.DataFrame(
        {
            "authorization": np.arange(1, number + 1),
            "card": card,
            "terminal": terminal,
            "amount": cents / 100,
            "at": START + at.astype("timedelta64[us]"),
            "stored_at": START + stored.astype("timedelta64[us]"),
            "kind": np.array(["paid", "stolen", "compromised"], object)[kinds],
        }
    )
    is_reported = (kinds > 0) & (draw.below(10, number) < 9)
    later = DAY + draw.long_below(8 * DAY, number)
    reported = authorizations.loc[is_reported, ["authorization", "terminal"]]
    reported = reported.assign(
        charged_back_at=START + (at + later)[is_reported].astype("timedelta64[us]"), is_fraud=True
    )
    return Bank(
        pd.DataFrame({"card": np.arange(cards), "home_x": homes[0], "home_y": homes[1], "level": level}),
        pd.DataFrame({"terminal": np.arange(terminals), "x": places[0], "y": places[1]}),
        authorizations,
        reported.sort_values(["charged_back_at", "authorization"], ignore_index=True),
    )


def _paid(draw: Draws, days: int, near: np.ndarray, level: np.ndarray, terminals: int) -> np.ndarray:
    """Instants, cards, terminals and cents of what people pay themselves."""
    cards = len(level)
    each = draw.below(5, cards * days)  # 0 to 4 a day
    day, card = np.divmod(np.repeat(np.arange(cards * days), each), cards)
    number = len(card)
    at = day * DAY + HOURS[draw.below(len(HOURS), number)] * HOUR + draw.long_below(HOUR, number)
    # One of eight follows the payment before it within half an hour.
    follows = (draw.below(8, number) == 0) & (np.roll(card, 1) == card) & (np.roll(day, 1) == day)
    at = np.where(follows, np.roll(at, 1) + MINUTE + draw.long_below(29 * MINUTE, number), at)
    terminal = np.where(
        draw.below(100, number) < 6, draw.below(terminals, number), near[card, draw.below(near.shape[1], number)]
    )
    cents = np.maximum(50, draw.along(CENTS, number) * level[card] // 100)
    return np.stack([at, card, terminal, cents])


def _stolen(draw: Draws, days: int, episodes: int, cards: int, terminals: int) -> np.ndarray:
    begins, card = draw.below(days * 24 * 60, episodes) * MINUTE, draw.below(cards, episodes)
    each = 3 + draw.below(5, episodes)
    episode = np.repeat(np.arange(episodes), each)
    number = len(episode)
    at = begins[episode] + draw.long_below(30 * MINUTE, number)
    return np.stack([at, card[episode], draw.below(terminals, number), draw.along(STOLEN_CENTS, number)])


def _compromised(draw: Draws, days: int, episodes: int, cards: int, terminals: int, level: np.ndarray) -> np.ndarray:
    begins, terminal = draw.below(days * 24, episodes) * HOUR, draw.below(terminals, episodes)
    each = 18 + draw.below(16, episodes)
    episode = np.repeat(np.arange(episodes), each)
    number = len(episode)
    at = begins[episode] + draw.below(3, number) * DAY + draw.long_below(6 * HOUR, number)
    card = draw.below(cards, number)
    cents = np.maximum(50, draw.along(CENTS, number) * level[card] // 100)
    return np.stack([at, card, terminal[episode], cents])
