"""What a feature loses as float32, in which a graph gives its numbers to a model: neighbours that differ in training become one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fti_assets.training.encoders.encoders import FittedEncoder, fit
from fti_assets.training.encoders.kinds.scales import FittedScale, FittedStandardize, Standardize

_COARSE = 1e-3
"""A step of float32 that is this large a part of the standard deviation is too large for numbers that are not whole."""
_LEAST_SHARE = 0.5
"""Of numbers that are not whole, float32 merges a few anywhere; more than this share must be left."""


def float32_warnings(
    encoders: Mapping[str, FittedEncoder],
    columns: Mapping[str, np.ndarray],
    exact_counts: Mapping[str, int] | None = None,
) -> list[str]:
    """A sentence for each feature of which the encoder merges train values, with the encoder that keeps them apart, if one does.

    What the encoder makes of whole numbers is counted. Others are merged a little anywhere, so for them the step of float32 at
    their size counts, beside their standard deviation, and whether most of them are left.

    Args:
        encoders: the encoders.
        columns: canonical arrays ``[n]`` of the train part.
        exact_counts: how many different numbers the lake has of a column, where float64 has merged some of them.
    """
    different = exact_counts or {}
    losses = {
        name: _loss(encoder, columns[name], different.get(name))
        for name, encoder in encoders.items()
        if isinstance(encoder, FittedScale)
    }
    return [
        f"{name!r} {loss} as float32, in which the model gets its numbers: {_advice(name, columns[name], different.get(name))}"
        for name, loss in losses.items()
        if loss is not None
    ]


def _loss(encoder: FittedScale, values: np.ndarray, different: int | None) -> str | None:
    numbers = np.unique(values[np.isfinite(values)])
    before = len(numbers) if different is None else different
    if before < 2:
        return None
    is_whole = bool((numbers == np.floor(numbers)).all())
    with np.errstate(over="ignore", invalid="ignore"):
        step, std = float(np.spacing(np.float32(np.abs(numbers).max()))), float(numbers.std())
    if different is None and not (is_whole or _is_double(encoder)) and step > _COARSE * std:
        return f"has steps of {step:.3g} where its standard deviation is {std:.3g}"
    after = len(np.unique(_encode(encoder, numbers)))
    if after < (before if is_whole else before * _LEAST_SHARE):
        return f"has {before} different values in train, of which {after} are left"
    return None


def _encode(encoder: FittedScale, numbers: np.ndarray) -> np.ndarray:
    """What the graph makes of finite numbers."""
    own: Any = np.float64 if _is_double(encoder) else np.float32
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        scaled = ((numbers.astype(own) - own(encoder.shift)) / own(encoder.divisor)).astype(np.float32)
    if encoder.missing is None:
        return np.asarray(scaled)
    return np.where(np.isfinite(scaled), scaled, np.float32(encoder.missing))


def _advice(name: str, values: np.ndarray, different: int | None) -> str:
    double = fit(Standardize(dtype="float64"), values, "number")
    if isinstance(double, FittedStandardize) and _loss(double, values, different) is None:
        return f"give it encoders={{{name!r}: fti.Standardize(dtype='float64')}}, which subtracts the mean before it rounds"
    if different is not None:
        return (
            "float64, in which every encoder gets them, has merged them before. Store it as text and give it fti.Embedding() or "
            "fti.OneHot() if it names something; else store a smaller number in a new version of its group, such as the distance from the "
            "smallest"
        )
    return (
        "no encoder keeps them apart as numbers, since they lie too far apart for that. Store it as text or whole numbers and give it "
        "fti.Embedding() or fti.OneHot() if it names something; else make smaller numbers of it with an on-demand function, "
        "such as the time since an event"
    )


def _is_double(encoder: FittedScale) -> bool:
    return isinstance(encoder, FittedStandardize) and encoder.dtype == "float64"
