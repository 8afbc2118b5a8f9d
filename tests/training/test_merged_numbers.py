"""Stored numbers that float64 merges: a model's build tells how many different ones there were."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dagster import Failure
from sklearn.ensemble import HistGradientBoostingClassifier

import fti_assets as fti
from fti_assets.errors import FtiError
from fti_assets.stores.models.store import ModelStore
from fti_assets.testing import materialize, stores_in

ROWS = 40


def warnings_of(folder: Path, values: list[Any], encoder: Any) -> list[str]:
    """The warnings of a build and how many different values its train part had."""

    @fti.feature_group(name="people", keys=["id"])
    def people() -> pd.DataFrame:
        column = pd.Series(values, dtype=object)
        return pd.DataFrame({"id": range(ROWS), "c": column, "y": np.arange(ROWS) % 2})

    seen: list[int] = []

    def train(data: fti.TrainingData) -> Any:
        seen.append(len(data.train.y))
        return HistGradientBoostingClassifier(max_iter=2).fit(data.train.X, data.train.y)

    view = fti.FeatureView(name="v", spine=people, label=fti.Label(people["y"]), features=[people["c"]])
    model = fti.model(name="m", dataset=view, task="binary", encoders={"c": encoder})(train)
    stores = stores_in(str(folder))
    done = materialize(people, model.dataset, model, stores=stores)
    (path,) = (folder / "models").glob("m/v1/*/manifest.json")
    manifest = ModelStore(str(folder / "models")).manifest("m", f"v1/{path.parent.name}")
    card = (path.parent / "card.md").read_text()
    assert all(one in card for one in manifest.warnings)
    told = {name: text for name, text in done.failed_checks.items() if name.startswith("m_v1/")}
    reference = manifest.reference
    assert told == (
        {"m_v1/numbers_kept_apart": f"{reference}: {'; '.join(manifest.warnings)}"} if manifest.warnings else {}
    )
    return [one.replace(f"has {seen[0]} different", "has ALL different") for one in manifest.warnings]


@pytest.mark.parametrize("encoder", [fti.Standardize(dtype="float64"), fti.Standardize(), fti.Passthrough()])
@pytest.mark.parametrize(
    "values",
    [
        [2**60 + n for n in range(ROWS)],
        [2**53 + n for n in range(ROWS)],
        [Decimal(2**60 + n) + Decimal("0.25") for n in range(ROWS)],
    ],
    ids=["2**60", "2**53", "decimal"],
)
def test_numbers_that_float64_merges_are_told_of(tmp_path: Path, values: list[Any], encoder: Any) -> None:
    (warning,) = warnings_of(tmp_path, values, encoder)
    assert warning.startswith("'c' has ALL different values in train, of which ")
    assert "Store it as text and give it fti.Embedding() or fti.OneHot()" in warning
    assert "Standardize" not in warning


def test_numbers_that_float32_merges_are_told_of_with_the_encoder_that_keeps_them(tmp_path: Path) -> None:
    (warning,) = warnings_of(tmp_path, [2**24 + n for n in range(ROWS)], fti.Standardize())
    assert warning.startswith("'c' has ALL different values in train, of which ")
    assert "give it encoders={'c': fti.Standardize(dtype='float64')}" in warning


def test_large_numbers_that_float64_keeps_are_no_warning(tmp_path: Path) -> None:
    values = [2**60 + 2**50 * n for n in range(ROWS)]
    assert warnings_of(tmp_path, values, fti.Standardize(dtype="float64")) == []


def test_refused_category_is_one_that_is_stored(tmp_path: Path) -> None:
    values = [2**63 - 1 - n % 2 for n in range(ROWS)]
    with pytest.raises((FtiError, Failure)) as error:
        warnings_of(tmp_path, values, fti.OneHot())
    told = str(getattr(error.value, "description", None) or error.value)
    assert "has categories such as 9223372036854775807: " in told
    assert "Standardize" not in told
