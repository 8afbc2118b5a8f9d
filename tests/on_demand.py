"""On-demand functions that the tests declare views with: a module that an app could ship."""

from datetime import datetime
from typing import Any

import numpy as np

import fti_assets as fti


@fti.on_demand(outputs={"wait": float})
def waiting(predict_at: np.ndarray, gate: np.ndarray) -> Any: ...


@fti.on_demand(outputs={"flight_id": int})
def renamed_key(distance: np.ndarray) -> Any: ...


@fti.on_demand(outputs={"double_spend": float})
def doubled(spend: np.ndarray) -> dict[str, np.ndarray]:
    return {"double_spend": 2 * spend}


@fti.on_demand(outputs={"capped_spend": float})
def capped(spend: np.ndarray) -> dict[str, np.ndarray]:
    spend[spend > 1] = 1  # into its input, which is its own
    return {"capped_spend": spend}


@fti.on_demand(outputs={"share": float})
def share_of_rent(spend: np.ndarray, shop_rent: np.ndarray) -> dict[str, np.ndarray]:
    return {"share": spend / shop_rent}


@fti.on_demand(outputs={"known": bool})
def has_shop(shop: np.ndarray, share: np.ndarray) -> dict[str, np.ndarray]:
    return {"known": shop != ""}


@fti.on_demand(outputs={"hour_of_day": int, "per_size": float})
def calendar(t: np.ndarray, queue: np.ndarray, size: np.ndarray) -> dict[str, np.ndarray]:
    return {"hour_of_day": t.astype("datetime64[h]").astype(np.int64) % 24, "per_size": queue / size}


@fti.on_demand(outputs={"relative_spend": float})
def relative(spend: np.ndarray) -> dict[str, np.ndarray]:
    return {"relative_spend": spend - np.nanmean(spend)}


@fti.on_demand(outputs={"double_wait": float})
def doubled_wait(wait: np.ndarray, temp: np.ndarray) -> Any: ...


@fti.on_demand(outputs={"boards_at": datetime})
def boarding(predict_at: np.ndarray) -> dict[str, np.ndarray]:
    return {"boards_at": predict_at + np.timedelta64(20, "m")}


@fti.on_demand(outputs={"lead_s": float})
def lead(predict_at: np.ndarray, boards_at: np.ndarray) -> dict[str, np.ndarray]:
    return {"lead_s": (boards_at - predict_at) / np.timedelta64(1, "s")}


@fti.on_demand(outputs={"boards_late_rate": datetime})
def boards_late(boards_at: np.ndarray) -> Any: ...


@fti.on_demand(outputs={"hens": int})
def chicken(eggs: np.ndarray) -> Any: ...


@fti.on_demand(outputs={"eggs": int})
def egg(hens: np.ndarray) -> Any: ...


@fti.on_demand(outputs={"chicks": int})
def brood(eggs: np.ndarray) -> Any: ...


@fti.on_demand(outputs={"is_big": bool, "bucket": int})
def big(ratio: np.ndarray) -> dict[str, np.ndarray]:
    return {"is_big": np.where(np.isnan(ratio), np.nan, ratio > 1), "bucket": np.floor(ratio)}


@fti.on_demand(outputs={"ratio": float})
def ratio_of(x: np.ndarray, size: np.ndarray) -> dict[str, np.ndarray]:
    return {"ratio": x / size}


@fti.on_demand(outputs={"doubled": float})
def doubled_sum(f0: np.ndarray, g0: np.ndarray) -> dict[str, np.ndarray]:
    return {"doubled": 2 * (f0 + g0)}


@fti.on_demand(outputs={"digits": int})
def last_digits(card: np.ndarray) -> dict[str, np.ndarray]:
    return {"digits": card % 1000}


@fti.on_demand(outputs={"stake": float, "is_certain": bool, "club": float})
def stake(buyer: np.ndarray, scorer: np.ndarray, sorter_club: np.ndarray, queue: np.ndarray) -> dict[str, np.ndarray]:
    """What a composite of the visits' models makes of their answers and of a feature that may be missing."""
    return {
        "stake": buyer * (1 + scorer) + np.nan_to_num(queue),
        "is_certain": (buyer > 0.9) | (buyer < 0.1),
        "club": sorter_club,
    }


@fti.on_demand(outputs={"stake": float})
def missing_stake(buyer: np.ndarray, queue: np.ndarray) -> dict[str, np.ndarray]:
    return {"stake": buyer * queue}


@fti.on_demand(outputs={"word": str})
def worded(buyer: np.ndarray) -> dict[str, np.ndarray]:
    return {"word": np.where(buyer > 0.5, "yes", "no")}


@fti.on_demand(outputs={"letters": fti.Vector(dim=5, flag=True), "length": int})
def spelled(word: np.ndarray) -> dict[str, np.ndarray]:
    """The first letters of a word by their place in the alphabet; what is no letter is missing."""
    codes = [
        [ord(letter) - 96.0 if "a" <= letter <= "z" else np.nan for letter in text[:5].ljust(5, "`")] for text in word
    ]
    return {"letters": np.array(codes).reshape(len(word), 5), "length": np.array([len(text) for text in word])}


@fti.on_demand(outputs={"first": float})
def first_of(letters: np.ndarray) -> dict[str, np.ndarray]: ...


@fti.on_demand(outputs={"stake": float})
def half_stake(buyer: np.ndarray) -> dict[str, np.ndarray]:
    return {"stake": buyer / 2}
