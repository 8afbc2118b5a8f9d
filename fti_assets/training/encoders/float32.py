"""What a feature loses as float32, in which a graph joins its numbers: neighbours that differ in training become one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fti_assets.training.encoders.encoders import FittedEncoder, FittedPassthrough, FittedStandardize

_COARSE = 1e-3
"""A step of float32 that is this large a part of the standard deviation is too large for numbers that are not whole."""


def float32_warnings(fitted: Mapping[str, FittedEncoder], columns: Mapping[str, np.ndarray]) -> list[str]:
    """A sentence for each feature whose train values float32 merges, with the encoder that keeps them apart.

    Whole numbers are counted. Others are merged a little anywhere, so for them the step of float32 at their size counts,
    beside their standard deviation.

    Args:
        fitted: the encoders.
        columns: canonical arrays ``[n]`` of the train part.
    """
    losses = {
        name: _loss(columns[name])
        for name, encoder in fitted.items()
        if isinstance(encoder, FittedPassthrough)
        or (isinstance(encoder, FittedStandardize) and encoder.dtype == "float32")
    }
    return [
        f"{name!r} {loss} as float32, in which the model gets its numbers: give it "
        f"encoders={{{name!r}: fti.Standardize(dtype='float64')}}, which subtracts the mean before it rounds"
        for name, loss in losses.items()
        if loss is not None
    ]


def _loss(values: np.ndarray) -> str | None:
    numbers = np.unique(values[np.isfinite(values)])
    if len(numbers) < 2:
        return None
    # Whole numbers are counted: ids that merge are other things, however small the step is beside their deviation.
    if (numbers == np.floor(numbers)).all():
        with np.errstate(over="ignore"):
            kept = len(np.unique(numbers.astype(np.float32)))
        before = len(numbers)
        return f"has {before} different values in train, of which {kept} are left" if kept < before else None
    step, std = float(np.spacing(np.float32(np.abs(numbers).max()))), float(numbers.std())
    return f"has steps of {step:.3g} where its standard deviation is {std:.3g}" if step > _COARSE * std else None
