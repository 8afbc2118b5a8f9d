"""Numbers that float32 merges are told of, and kept apart where so declared."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fti_assets.core.manifest import Column
from fti_assets.errors import DeclarationError
from fti_assets.training.encoders.declarations import Encoder
from fti_assets.training.encoders.encoders import fit_encoders
from fti_assets.training.encoders.float32 import float32_warnings
from fti_assets.training.encoders.graph import build_encoder
from fti_assets.training.encoders.kinds.categories import OneHot
from fti_assets.training.encoders.kinds.scales import Passthrough, Standardize

SECONDS = 1.7e9 + np.arange(0.0, 1000.0)
IDS = 2.0**24 + np.arange(0.0, 100.0)


def warnings(values: np.ndarray, encoder: Encoder) -> list[str]:
    feature = Column("since", "number")
    return float32_warnings(fit_encoders([feature], {"since": encoder}, {"since": values}), {"since": values})


@pytest.mark.parametrize("encoder", [Standardize(), Passthrough()])
@pytest.mark.parametrize(
    ("values", "said"),
    [
        (SECONDS, "has 1000 different values in train, of which 9 are left"),
        (IDS, "has 100 different values in train, of which 51 are left"),
        (1e9 + np.linspace(0, 50, 77), "has steps of 64 where its standard deviation is 14.6"),
    ],
)
def test_numbers_that_float32_merges_are_told_of(encoder: Encoder, values: np.ndarray, said: str) -> None:
    (warning,) = warnings(np.append(values, np.nan), encoder)
    assert f"'since' {said} as float32" in warning
    assert "encoders={'since': fti.Standardize(dtype='float64')}" in warning


@pytest.mark.parametrize(
    ("values", "encoder"),
    [
        (SECONDS, Standardize(dtype="float64")),
        (np.random.default_rng(0).normal(size=200_000), Standardize()),
        (np.arange(0.0, 2.0**24, 1000.0), Standardize()),
        (np.array([np.nan, np.inf, 3.0]), Passthrough()),
        (np.array([]), Standardize()),
    ],
)
def test_other_numbers_are_not(values: np.ndarray, encoder: Encoder) -> None:
    assert warnings(values, encoder) == []


SENTINEL = np.append(SECONDS + 0.25, np.zeros(1000))
OUTLIER = np.append(np.arange(0.0, 1000.0), 1e12)
# Numbers over a wide range, of which float32 merges the neighbours at its end.
FAR_APART = np.append(np.arange(0.0, 2.0**34, 2.0**18), 2.0**34 - 511 * np.arange(20_000.0))


@pytest.mark.parametrize(
    ("values", "encoder", "keeps"),
    [
        (SENTINEL, Standardize(), False),  # the deviation is that of the zeros
        (SENTINEL, Passthrough(), False),
        (SENTINEL, Standardize(dtype="float64"), False),
        (
            OUTLIER,
            Standardize(),
            False,
        ),  # float32 keeps the numbers themselves, but not what is left of them by a far mean
        (OUTLIER, Standardize(dtype="float64"), False),
        (FAR_APART, Standardize(dtype="float64"), False),
        (FAR_APART, Passthrough(), False),
        (OUTLIER, Passthrough(), True),
    ],
)
def test_what_an_encoder_merges_is_told_and_no_encoder_named_that_merges_it_too(
    values: np.ndarray, encoder: Encoder, keeps: bool
) -> None:
    feature = Column("since", "number")
    fitted = fit_encoders([feature], {"since": encoder}, {"since": values})
    encoded = build_encoder([feature], fitted).encode({"since": values})["dense"][:, 0]
    before, kept = len(np.unique(values)), len(np.unique(encoded))
    assert (kept == before) == keeps
    texts = [f"has {before} different values in train, of which {kept} are left as float32"] * (not keeps)
    messages = float32_warnings(fitted, {"since": values})
    assert [one for one, what in zip(messages, texts, strict=True) if what not in one] == []
    assert not any("float64" in one for one in messages)
    assert all("fti.Embedding()" in one and "on-demand function" in one for one in messages)


def test_a_category_is_not() -> None:
    feature = Column("since", "integer")
    assert float32_warnings(fit_encoders([feature], {"since": OneHot()}, {"since": IDS}), {"since": IDS}) == []


@given(st.floats(-1e12, 1e12), st.lists(st.integers(0, 10_000), min_size=2, max_size=50, unique=True))
def test_float64_keeps_neighbours_apart(start: float, steps: list[int]) -> None:
    values = np.floor(start) + np.array(steps, dtype=np.float64)
    feature = Column("since", "number")
    fitted = fit_encoders([feature], {"since": Standardize(dtype="float64")}, {"since": values})
    encoded = build_encoder([feature], fitted).encode({"since": np.append(values, np.nan)})["dense"][:, 0]
    assert len(np.unique(encoded[:-1])) == len(steps)
    np.testing.assert_allclose(encoded[:-1], (values - values.mean()) / values.std(), rtol=1e-5, atol=1e-6)
    assert encoded[-1] == 0.0


@given(
    st.integers(0, 40).map(lambda power: 2.0**power),
    st.lists(st.integers(0, 300), min_size=2, max_size=30, unique=True),
    st.sampled_from([Passthrough(), Standardize(), Standardize(dtype="float64")]),
)
def test_whole_numbers_that_merge_are_told_of_and_no_others(start: float, steps: list[int], encoder: Encoder) -> None:
    values, feature = start + np.array(steps, dtype=np.float64), Column("since", "number")
    fitted = fit_encoders([feature], {"since": encoder}, {"since": values})
    encoded = build_encoder([feature], fitted).encode({"since": values})["dense"][:, 0]
    result = float32_warnings(fitted, {"since": values})
    assert bool(result) == (len(np.unique(encoded)) < len(values))


def test_another_dtype_is_refused() -> None:
    with pytest.raises(DeclarationError, match="dtype='float16'.: give 'float32' or 'float64'"):
        Standardize(dtype="float16")  # type: ignore[arg-type]
